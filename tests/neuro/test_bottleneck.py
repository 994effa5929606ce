"""What a run waits for: every timed event has one cause, causes add up, and the word is that of the longest."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro.bottleneck import CAUSES, bound, causes
from neuro.chip import Time
from neuro.counts import Path

NAMES = tuple(name for events in CAUSES.values() for name in events)


def path(names: tuple[str, ...], *stages: list[list[float]]) -> Path:
    return Path(names, np.array(stages, float))


def test_every_timed_event_has_one_cause():
    assert sorted(NAMES) == sorted(Time.model_fields)


def test_by_hand():
    """Two stages of two resources: 3 x 2 = 6 s of sweeps against 4 s of links; 5 s of links against 2 s."""
    both = path(("neuron_update", "link"), [[3, 0], [0, 4]], [[1, 0], [0, 5]])
    time = {"neuron_update": 2.0, "link": 1.0}
    assert causes(both, time) == {"neuron sweep": 6.0, "links": 5.0}
    assert bound(both, time) == "bound by the neuron sweep (55% of the time)"
    assert bound(both, time | {"link": 3.0}) == "bound by the links (100% of the time)"


def test_a_host_that_takes_most_of_the_time_is_the_verdict():
    run = path(("host_write", "management", "synop_conv"), [[1, 1, 3]])
    time = {"host_write": 1.0, "management": 2.5, "synop_conv": 1.0}
    assert bound(run, time) == "I/O-bound: the host takes 54% of the time"
    assert bound(run, time | {"management": 2.0}) == "bound by the synapses (50% of the time)"


def test_items_are_averaged():
    items = Path(("tick", "barrier"), np.array([[[[4.0, 0.0]]], [[[0.0, 2.0]]]]))
    assert causes(items, {"tick": 1.0, "barrier": 3.0}) == {"barrier": 3.0, "tick": 2.0}


@given(
    seed=st.integers(0, 2**32 - 1), items=st.integers(1, 3), stages=st.integers(1, 3), resources=st.integers(1, 3),
    events=st.integers(1, len(NAMES)),
)  # fmt: skip
def test_causes_add_up_to_the_duration(seed, items, stages, resources, events):
    rng = np.random.default_rng(seed)
    names = tuple(rng.permutation(NAMES)[:events].tolist())
    some = Path(names, rng.integers(0, 9, (items, stages, resources, events)).astype(float))
    time = {name: float(rng.integers(0, 9)) for name in names}
    found = causes(some, time)
    seconds = np.asarray(some.counts) @ np.array([time[name] for name in names])
    assert sum(found.values()) == pytest.approx(seconds.max(axis=2).sum(axis=1).mean(), rel=1e-9)
    assert all(t > 0 for t in found.values())
    if found:
        assert any(word in bound(some, time) for word in found)
