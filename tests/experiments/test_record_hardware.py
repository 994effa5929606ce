"""Hardware events as labelled arrays, on counts made by hand."""

import jax.numpy as jnp

from experiments.record_hardware import counts
from neuro.counts import Counts, Path


def test_events_by_item_stay_and_waits_are_averaged():
    waits = jnp.asarray([[[[2.0, 0.0]]], [[[4.0, 1.0]]]])  # two items, one stage, one resource, two events
    path = Path(("spike", "barrier"), waits)
    data = counts(Counts({"spike": jnp.asarray([3.0, 5.0])}, path, path, batch=7))
    assert data["events"].sel(event="spike").values.tolist() == [3, 5]
    assert data["events"].dims == ("event", "item")
    assert data["latency_events"].values.tolist() == [[[3.0, 0.5]]]
    assert data["interval_event"].values.tolist() == ["spike", "barrier"]
    assert data.attrs["batch"] == 7


def test_a_machine_that_pays_for_time_alone_has_no_events():
    path = Path(("dense_int8",), jnp.asarray([[[10.0]], [[20.0]]]))
    data = counts(Counts({}, path, path))
    assert "events" not in data
    assert data["latency_events"].values.tolist() == [[[10.0]], [[20.0]]]
