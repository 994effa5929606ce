"""What holds for every network on every chip: a mapping changes no spike, and more work never costs less."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from converters.encode import encode
from neuro import topology
from neuro.activity import activity, fan_outs
from neuro.capability import realise
from neuro.chip import load, prices
from neuro.constants import leaves
from neuro.cost import cost
from neuro.counts import Counts
from neuro.effects import effects, load_events
from neuro.errors import DoesNotFit
from neuro.graph import Graph, Node
from neuro.layers import Dense, Input, Scale, Threshold
from neuro.network import Network
from neuro.placement import Placement, place
from neuro.search import LIMITS
from neuro.synapses import unroll
from neuro.wiring import as_stored, of_graph

STRUCTURES = 4
PACES = ("serial", "overlap", "tick", "event")
ARMS = [("generic", "bits"), ("generic", "rate"), ("loihi1", "unary"), ("loihi1", "rate"), ("loihi2", "bits")]
ARMS += [("spinnaker2", "unary"), ("loihi1", "ttfs"), ("generic", "graded"), ("generic", "naf")]
EXACT = 1e-6
"""Rounding of float32 sums."""


@dataclass(frozen=True)
class Case:
    """A spiking network, and its synapses one by one as a chip stores them (`network`)."""

    graph: Graph
    network: Network


@pytest.fixture(scope="module")
def case(random_network) -> Callable[[int, str], Case]:
    """By structure, code and chip; synapses are written out once for all chips that store the same."""
    known = {}

    def get(structure: int, code, chip) -> Case:
        kind = structure, chip.memory is not None
        if kind not in known:
            graph = random_network(structure, np.random.default_rng(structure), 3, 4)
            known[kind] = graph, unroll(as_stored(graph, chip))
        graph, network = known[kind]
        return Case(encode(graph, code, 5 if code == "rate" else None), network)

    return get


def trains(graph: Graph, seed: int, batch: int = 2, density: float = 0.3) -> dict[str, jnp.ndarray]:
    """Random spikes in the windows of all populations: counting takes any."""
    assert graph.schedule is not None
    rng = np.random.default_rng(seed)
    return {
        name: jnp.asarray(rng.random((window.steps, batch, *graph.shapes[name])) < density)
        for name, window in graph.schedule.windows.items()
    }


def spent(placement: Placement, counts: Counts) -> np.ndarray:
    """J and s of every sample at nominal prices: [(energy, latency, interval), item]."""
    chip = placement.chip
    found = cost(counts, prices(chip, {path: c.value for path, c in leaves(chip)}, "chip"))
    return np.stack([np.asarray(value) for value in (found.total, found.latency, found.interval)])


def never_less(before: dict[str, Counts], after: dict[str, Counts], one: Placement, other: Placement) -> None:
    for regime in before:
        low, high = spent(one, before[regime]), spent(other, after[regime])
        assert (high >= low * (1 - EXACT)).all(), (regime, low, high)


@settings(max_examples=20)
@given(
    structure=st.integers(0, STRUCTURES - 1),
    arm=st.sampled_from(ARMS),
    compartments=st.sampled_from([40, 96, 1024]),
    axons=st.sampled_from([60, 200, 4096]),
    memory=st.sampled_from([6000, 20000, 768000]),
    cores=st.sampled_from([3, 128]),
    weight_bits=st.sampled_from([4, 8]),
)
@example(  # a neuron that hears 250 axons
    structure=1, arm=("loihi1", "ttfs"), compartments=1024, axons=200, memory=768000, cores=3, weight_bits=4
)
def test_every_synapse_is_placed_once_and_no_limit_exceeded(
    structure, arm, compartments, axons, memory, cores, weight_bits, case, altered_chip
):
    """Synapses one by one, each on the core of its target, against what the placement keeps by source and core; and
    what one spike of each neuron causes, in which counting is linear: itself, and an operation at each synapse."""
    name, code = arm
    chip = altered_chip(
        name, compartments=compartments, axons_in=axons, axons_out=axons, synapse_memory=memory, cores=cores,
        weight_bits=weight_bits,
    )  # fmt: skip
    known = case(structure, code, chip)
    way = realise(chip, code, known.graph)
    try:
        placement = place(of_graph(known.graph, chip, way), chip, way)
    except DoesNotFit:
        assert compartments < 1024 or axons < 4096 or memory < 768000  # the chip as it is takes all of these
        return
    assert set(LIMITS) <= set(placement.used)
    for limit, used in placement.used.items():
        assert (used <= placement.limits[limit]).all(), limit
    assert placement.chips <= chip.chips
    assert len(np.unique(placement.site)) == placement.number
    kept = {(fan.source, fan.target): fan for fan in placement.fans}
    assert len(kept) == len(placement.fans) == len(known.network.projections)
    heard = np.zeros(placement.number)
    for p in known.network.projections:
        fan = kept[p.source, p.target]
        on = np.zeros((placement.number, known.network.size(p.source)))
        np.add.at(on, (placement.core[p.target][p.post], p.pre), 1)
        assert not np.delete(on, fan.cores, axis=0).any()
        np.testing.assert_array_equal(on[fan.cores], fan.synapses)
        heard += (on > 0).sum(axis=1)
    for source in known.network.populations[:-1]:
        caused, fanned = effects(placement, source.name), np.zeros(source.size)
        for p in known.network.projections:
            fanned += known.network.fan_out(p) if p.source == source.name else 0
        of_event = dict.fromkeys(load_events(placement), np.zeros(source.size))
        for _, column, first, last in caused.core_columns:
            event = load_events(placement)[column]
            of_event[event] = of_event[event] + caused.matrix[:, first:last].sum(axis=1)
        assert (of_event["spike"] == 1).all()
        np.testing.assert_array_equal(sum(n for e, n in of_event.items() if e.startswith("synop")), fanned)
        packets = of_event["axon_in"] > 0 if chip.mesh.multicast else of_event["axon_in"]
        np.testing.assert_array_equal(of_event["axon_out"], packets)
    if not way.clock and name != "loihi1":  # clock axons, and axons that channels share, come on top
        np.testing.assert_array_equal(placement.used["axons_in"], heard)


@pytest.mark.parametrize(
    ("name", "code", "structure", "limits"),
    [
        ("generic", "bits", 0, {"cores": 4, "compartments": 48}),
        ("loihi1", "unary", 0, {"cores": 4}),
        ("loihi1", "ttfs", 0, {"cores": 6}),
        ("generic", "graded", 0, {}),
        ("speck", "rate", 0, {}),
        ("spinnaker2", "rate", 2, {}),
    ],
)
def test_a_mapped_network_has_the_spikes_of_the_unmapped_one(
    name, code, structure, limits, case, altered_chip, counter
):
    """Spikes and synaptic operations are the network's, clock apart, however it is cut and over how many chips; twice
    those where every spike is taken back at the end of its window."""
    chip = altered_chip(name, **limits) if limits else load(name)
    known = case(structure, code, chip)
    way = realise(chip, code, known.graph)
    placement = place(of_graph(known.graph, chip, way), chip, way, allow=name == "speck")
    spikes = trains(known.graph, structure)
    network = activity(fan_outs(as_stored(known.graph, chip)), spikes)
    clock = [(3 * way.clock + way.clock_bias) * np.array([len(placement.cores_of(n)), len(placement.core[n])])
             for n in placement.gated]  # fmt: skip
    lines, synapses = map(float, np.sum(clock, axis=0) if clock else (0, 0))
    for counts in counter(placement)(spikes).values():
        got = {event: np.asarray(n) / counts.batch for event, n in counts.events.items()}
        np.testing.assert_allclose(got["spike"], way.sends * sum(network.spikes.values()) + lines, rtol=EXACT)
        synops = sum(n for event, n in got.items() if event.startswith("synop"))
        np.testing.assert_allclose(synops, way.sends * sum(network.synops.values()) + synapses, rtol=EXACT)


def two_layers(hidden: int) -> Graph:
    """6 inputs, `hidden` neurons, 3 outputs."""
    first = np.arange(1, 1 + 6 * hidden).reshape(hidden, 6) % 7 - 3
    first[first == 0] = 1
    nodes = (
        Node("in", Input((6,), 3)),
        Node("w1", Dense(first, None), ("in",)),
        Node("hidden", Threshold(np.full(hidden, 4), np.zeros(hidden, np.int64), 3), ("w1",)),
        Node("w2", Dense(np.ones((3, hidden), np.int64), None), ("hidden",)),
        Node("out", Scale(np.ones(3, np.int64), np.zeros(3, np.int64)), ("w2",)),
    )
    return Graph("two", nodes)


@dataclass(frozen=True)
class Placed:
    """A network on a chip, ready to be counted."""

    graph: Graph
    placement: Placement
    count: Callable


@pytest.fixture(scope="module")
def placed(paced_chip, counter) -> Callable[..., Placed]:
    """6 inputs, a hidden layer and 3 outputs under the bit code at a pace; each placed and compiled once."""
    known = {}

    def get(pace: str, hidden: int = 9, **limits: float) -> Placed:
        key = (pace, hidden, *limits.items())
        if key not in known:
            chip, graph = paced_chip(pace, **limits), encode(two_layers(hidden), "bits")
            way = realise(load(chip.name), "bits", graph)  # as with steps: what is counted without them holds too
            placement = place(of_graph(graph, chip, way), chip, way)
            known[key] = Placed(graph, placement, counter(placement))
        return known[key]

    return get


@pytest.mark.parametrize(("pace", "limits"), [(p, {}) for p in PACES] + [("serial", {"cores": 3, "compartments": 8})])
@settings(max_examples=12)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_spike_more_never_costs_less(pace, limits, seed, placed):
    on = placed(pace, **limits)
    rng = np.random.default_rng(seed)
    spikes = trains(on.graph, seed)
    name = str(rng.choice(list(spikes)))
    silent = np.argwhere(~np.asarray(spikes[name]))
    more = spikes | {name: spikes[name].at[tuple(rng.choice(silent))].set(True)}
    before, after = on.count(spikes), on.count(more)
    never_less(before, after, on.placement, on.placement)
    for regime in before:
        energy = [spent(on.placement, counts[regime])[0].sum() for counts in (before, after)]
        assert energy[1] > energy[0]


@pytest.mark.parametrize("pace", PACES)
def test_a_wider_layer_never_costs_less(pace, placed):
    """The same cut (one core a layer) and the same spikes of the neurons that were there before; spikes of the one
    that is new, or none. On more cores a step can be shorter: that is what cores are for."""
    narrow, wide = placed(pace), placed(pace, hidden=10)
    assert narrow.placement.number == wide.placement.number == 3
    for seed in range(5):
        spikes = trains(wide.graph, seed)
        few = narrow.count(spikes | {"hidden": spikes["hidden"][..., :9]})
        more = wide.count(spikes | {"hidden": spikes["hidden"].at[..., 9].set(False)})
        most = wide.count(spikes | {"hidden": spikes["hidden"].at[..., 9].set(True)})
        never_less(few, more, narrow.placement, wide.placement)
        never_less(more, most, wide.placement, wide.placement)
        if pace != "event":  # without sweeps a silent neuron costs nothing but the synapses that reach it
            energy = [spent(p.placement, c["single"])[0] for p, c in ((narrow, few), (wide, more))]
            assert (energy[1] > energy[0]).all()


@pytest.mark.parametrize(("pace", "link"), [("serial", None), ("event", None), ("overlap", 1e-6)])
def test_a_longer_way_never_costs_less(pace, link, placed, counter):
    """The last core moves away along its row, then over the border of a chip: all its routes grow.

    The time can stay as it is: a packet takes no longer over more hops, and no link is busier.
    """
    on = placed(pace, compartments=8)
    near = replace(on.placement, topology=replace(on.placement.topology, chip_columns=2))
    if link:
        slow = near.chip.time.link.model_copy(update={"value": link})
        time = near.chip.time.model_copy(update={"link": slow})
        near = replace(near, chip=near.chip.model_copy(update={"time": time}))
    spikes, others = trains(on.graph, 3), np.arange(near.number - 1)
    found = []
    for site in (near.number - 1, 15, 128 + 3) if link else (near.number - 1, 128 + 3):
        moved = replace(near, site=np.append(others, site))
        way = topology.hops(near.topology, np.full_like(others, site), others)
        found.append(
            (moved, counter(moved)(spikes), way + topology.chip_hops(near.topology, np.full_like(others, site), others))
        )
    for (here, before, short), (there, after, long) in pairwise(found):
        assert (long > short).all()
        never_less(before, after, here, there)
        crossed = [
            np.asarray(c["single"].events["hop"]) + c["single"].events.get("chip_hop", 0.0) for c in (before, after)
        ]
        assert (crossed[1] > crossed[0]).all()
