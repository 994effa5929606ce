"""Hardware events as labelled arrays, on counts made by hand."""

import jax.numpy as jnp
import numpy as np

from converters.encode import encode
from experiments.records.record_hardware import counts, placement
from neuro.capability import realise
from neuro.chip import load
from neuro.constants import Number
from neuro.counts import Counts, Path
from neuro.placement import place
from neuro.wiring import of_graph


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


def test_a_placement_says_where_cores_lie_and_what_does_not_hold(tiny_integer):
    loihi2 = load("loihi2")
    two = Number(value="2", source="intel2021", basis="datasheet")  # pyright: ignore
    cores = loihi2.limits.model_copy(update={"cores": two, "chips": None})
    graph = encode(tiny_integer, "bits")
    way = realise(loihi2, "bits", graph)
    small = loihi2.model_copy(update={"limits": cores})
    placed = place(of_graph(graph, small, way), small, way, allow=True)
    data = placement(placed)
    # Each of the three layers takes a core: two chips where there is one.
    assert data.attrs["violations"].startswith("tiny needs 3 cores; loihi2 has 2.")
    assert data.attrs["violations"].splitlines() == list(placed.violations)
    assert (data.attrs["chips"], data.sizes["core"]) == (2, 3)
    np.testing.assert_array_equal(data["site"], np.arange(3))
    np.testing.assert_array_equal(data["used"].sel(limit="compartments"), [4, 6, 4])  # two membranes a neuron
    np.testing.assert_array_equal(data["allowed"].sel(limit="compartments"), np.full(3, 8192))
    assert np.isinf(data["allowed"].sel(limit="fan_in")).all()
