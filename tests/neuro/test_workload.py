"""Events of a known activity: by hand, and equal to those of a placed network that did the same."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.encode import encode
from neuro.capability import realise
from neuro.chip import load, prices
from neuro.constants import leaves
from neuro.cost import cost, unpriced
from neuro.count import count
from neuro.errors import BadInput
from neuro.graph import Graph, Node
from neuro.layers import Dense, Input, Scale, Threshold
from neuro.placement import place
from neuro.simulate import simulate
from neuro.wiring import of_graph
from neuro.workload import Core, Workload, borders, counts

SECONDS = {path.removeprefix("time."): c.value for path, c in leaves(load("loihi1")) if path.startswith("time.")}


def priced(name: str, work: Workload):
    chip = load(name)
    charged = prices(chip, {path: c.value for path, c in leaves(chip)}, "chip")
    found = counts(chip, work)
    assert unpriced(found, charged) == []
    return cost(found, charged)


WORK = Workload(
    "made up", steps=10.0, neurons=200.0, updates=500.0, spikes=30.0, packets=60.0, synops=900.0, cores=2.0,
    inputs=7.0, outputs=3.0, format="sparse", management=True,
)  # fmt: skip


def test_energy_events_by_hand():
    assert {name: float(n) for name, n in counts(load("loihi1"), WORK).events.items()} == {
        "neuron_access": 2000, "neuron_update": 500, "spike": 30, "axon_out": 60, "synop_sparse": 900,
        "host_write": 7, "host_read": 3, "management": 10,
    }  # fmt: skip


def test_time_is_the_sum_of_both_sides_of_the_busiest_core_and_of_what_every_step_adds():
    """Even: 100 neurons, 15 spikes in 30 packets, 30 heard, 450 operations a core; one tile."""
    s = SECONDS
    sending = 1000 * (s["neuron_access"] + s["neuron_update"]) + 15 * s["spike"] + 30 * s["axon_out"]
    receiving = 30 * s["axon_in"] + 450 * s["synop_sparse"]
    added = 10 * (s["barrier"] + s["management"]) + 7 * s["host_write"] + 3 * s["host_read"]
    assert float(priced("loihi1", WORK).latency) == pytest.approx(sending + receiving + added, rel=1e-6)


def test_the_slowest_of_the_named_cores_counts():
    busy = (Core(neurons=10.0, synops=1000.0), Core(neurons=500.0))
    work = Workload("two", neurons=510.0, synops=1000.0, cores=2.0, busiest=busy)
    sides = (10 * 9.7e-9 + 1000 * 3.8e-9, 500 * 9.7e-9)
    added = SECONDS["barrier"]
    assert float(priced("loihi1", work).latency) == pytest.approx(max(sides) + added, rel=1e-6)


def test_ticks_hide_the_work_of_cores():
    found = priced("truenorth", Workload("t", steps=5.0, neurons=2.0**20, synops=1e6, cores=4096.0))
    assert float(found.latency) == pytest.approx(5e-3, rel=1e-6)
    assert float(found.energy["synop_dense"]) == pytest.approx(2.297e-6, rel=1e-4)


def test_a_chip_without_steps_sweeps_nothing():
    found = counts(load("odin"), Workload("o", neurons=256.0, synops=1000.0))
    assert set(found.events) == {"synop_dense"}
    assert set(found.latency.names) == {"synop_dense", "layer"}


def test_power_is_that_of_the_chips_or_of_the_cores_in_use():
    assert counts(load("loihi1"), Workload("a", cores=200.0, chips=2.0)).machines == 2
    assert counts(load("truenorth_eedn"), Workload("b", cores=1024.0)).machines == 0.25


def test_borders_between_chips_in_rows():
    assert [borders(load("loihi1"), n) for n in (1.0, 4.0, 32.0)] == [0, 3, 3 + 7]


def test_several_chips_wait_for_each_other():
    one, many = (
        priced("loihi1", Workload("c", steps=4.0, neurons=100.0, cores=64.0, chips=c, span=b))
        for c, b in ((1.0, 0.0), (32.0, 10.0))
    )
    levels = 3  # 64 cores are 16 tiles on one chip, on 32 chips one tile each
    expected = 4 * 10 * SECONDS["barrier_chip"] - 4 * levels * SECONDS["barrier_level"]
    assert float(many.latency) - float(one.latency) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("changes", [{"steps": 0.0}, {"cores": 0.0}, {"chips": 0.0}, {"cores": 129.0}])
def test_what_cannot_be(changes):
    with pytest.raises(BadInput, match=r"must be above zero|129 cores; 1 x loihi1 have 128"):
        counts(load("loihi1"), Workload("d", **changes))


@given(st.lists(st.floats(1.0, 1e6), min_size=6, max_size=6), st.integers(0, 5))
def test_more_of_anything_never_costs_less(numbers, which):
    names = ("neurons", "spikes", "packets", "synops", "inputs", "steps")
    base = dict(zip(names, numbers, strict=True))
    more = base | {names[which]: 2 * numbers[which]}
    less_cost, more_cost = (priced("loihi2", Workload("e", **amounts)) for amounts in (base, more))
    assert float(more_cost.total) >= float(less_cost.total) * (1 - 1e-6)
    assert float(more_cost.latency) >= float(less_cost.latency) * (1 - 1e-6)


def test_draws_are_counted_one_by_one():
    chip, synops = load("loihi1"), np.array([100.0, 900.0, 50.0])
    together = counts(chip, Workload("f", neurons=10.0, synops=synops))
    for i, n in enumerate(synops):
        alone = counts(chip, Workload("f", neurons=10.0, synops=float(n)))
        assert float(together.events["synop_dense"][i]) == float(alone.events["synop_dense"])
        np.testing.assert_array_equal(together.latency.counts[i], alone.latency.counts)


@pytest.mark.parametrize("name", ["loihi1", "loihi2"])
def test_the_same_as_a_placed_network_on_one_core_a_layer(name):
    """A dense network run and counted by ``neuro.count``; its totals stated as an activity cost the same."""
    rng = np.random.default_rng(0)
    graph = Graph(
        "small",
        (
            Node("in", Input((12,), 7)),
            Node("dense", Dense(rng.integers(1, 5, (9, 12)), None), ("in",)),
            Node("fire", Threshold(np.full(9, 20), np.zeros(9, int), 7), ("dense",)),
            Node("last", Dense(rng.integers(1, 5, (4, 9)), None), ("fire",)),
            Node("out", Scale(np.ones(4, np.int64), np.zeros(4, np.int64)), ("last",)),
        ),
    )
    chip, spiking = load(name), encode(graph, "rate", 8)
    realisation = realise(chip, "rate", spiking)
    placement = place(of_graph(spiking, chip, realisation), chip, realisation)
    x = jnp.asarray(rng.integers(0, 8, (1, 12)), jnp.float32)
    spikes = simulate(spiking, x).spikes
    expected = count(placement, spikes)["single"]
    events = {event: float(n[0]) for event, n in expected.events.items()}
    steps = float(placement.schedule.total)
    formats = [event for event in events if event.startswith("synop_")]
    assert formats == ["synop_dense"]
    work = Workload(
        "stated", steps=steps, neurons=float(placement.swept.sum()), spikes=events["spike"], packets=events["axon_out"],
        hops=events["hop"], synops=events["synop_dense"], cores=float(placement.number), inputs=events["host_write"],
        outputs=events["host_read"], resets=events["reset"], management="management" in events,
    )  # fmt: skip
    found = {event: float(n) for event, n in counts(chip, work).events.items()}
    assert found == pytest.approx({event: n for event, n in events.items() if n})
