"""Placements: every neuron once, no limit exceeded, every synapse somewhere, and what does not fit."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.encode import encode
from neuro.activity import fan_outs
from neuro.capability import realise
from neuro.chip import load
from neuro.errors import DoesNotFit
from neuro.graph import Graph, Node
from neuro.layers import Conv, Dense, Input, MaxPool, Reshape, Scale, Threshold
from neuro.placement import Placement, place
from neuro.stages import populations
from neuro.wiring import as_stored, of_graph

STRUCTURES = 6


@pytest.fixture(scope="module")
def compiled(random_network):
    """Spiking graphs by (structure, code) with their synapse counts, compiled once."""
    graphs = {}

    def get(structure: int, code: str):
        if structure not in graphs:
            graph = random_network(structure, np.random.default_rng(structure))
            graphs[structure] = graph
        return encode(graphs[structure], code, 9 if code == "rate" else None)

    return get


def assert_sound(graph: Graph, placement: Placement) -> None:
    chip = placement.chip
    taken = []
    for node in populations(graph):
        core = placement.core[node.name]
        assert core.shape == (graph.size(node.name),)
        own = set(core.tolist())
        assert own == set(range(min(own), max(own) + 1))  # consecutive, none of them empty
        taken += sorted(own)
    clock = 1 if placement.realisation.clock else 0
    assert taken == list(range(placement.number - clock))  # no core holds two populations
    assert placement.number <= chip.limits.cores.value
    for limit, used in placement.used.items():
        assert used.shape == (placement.number,)  # the clock neurons' core is the last one
        assert (used <= placement.limits[limit]).all(), limit
    slots = np.zeros(len(taken))
    for node in populations(graph):
        r = placement.realisation
        each = 1 if isinstance(node.op, MaxPool) else r.compartments * r.membranes
        slots += each * np.bincount(placement.core[node.name], minlength=len(taken))
    np.testing.assert_array_equal(slots, placement.used["compartments"][: len(taken)])
    if clock:
        lines = 2 * placement.realisation.clock + placement.realisation.clock_bias
        assert placement.used["compartments"][-1] == lines


@settings(max_examples=25)
@given(
    structure=st.integers(0, STRUCTURES - 1),
    arm=st.sampled_from([("loihi1", "rate"), ("loihi1", "unary"), ("loihi2", "rate"), ("loihi2", "bits")]),
    compartments=st.sampled_from([17, 30, 40, 96, 1024]),
    axons=st.sampled_from([60, 200, 4096]),
    memory=st.sampled_from([4000, 20000, 768000]),
)
def test_limits_hold(structure, arm, compartments, axons, memory, compiled, altered_chip):
    name, code = arm
    graph = compiled(structure, code)
    chip = altered_chip(name, compartments=compartments, axons_in=axons, axons_out=axons, synapse_memory=memory)
    try:
        way = realise(chip, code, graph)
        placement = place(of_graph(graph, chip, way), chip, way)
    except DoesNotFit:
        assert min(compartments, axons) < 99 or memory < 768000  # the chip as it is holds all of them
    else:
        assert_sound(graph, placement)


@pytest.mark.parametrize("structure", range(STRUCTURES))
@pytest.mark.parametrize("compartments", [8192, 40])
def test_every_synapse_is_on_a_core(structure, compartments, compiled, altered_chip):
    """Over the cores of all targets the synapses of a neuron are its fan-out, however the network is cut."""
    graph = compiled(structure, "bits")
    chip = altered_chip("loihi2", compartments=compartments)
    way = realise(chip, "bits", graph)
    placement = place(of_graph(graph, chip, way), chip, way)
    want = fan_outs(as_stored(graph, chip))
    got = {name: np.zeros_like(total) for name, total in want.items()}
    for fan in placement.fans:
        assert fan.synapses.shape == (len(placement.cores_of(fan.target)), graph.size(fan.source))
        got[fan.source] += fan.synapses.sum(axis=0)
    for name, total in want.items():
        np.testing.assert_array_equal(got[name], total, err_msg=name)


def test_smaller_cores_are_more_cores(compiled, altered_chip):
    graph = compiled(1, "bits")
    numbers = []
    for compartments in (8192, 60, 30, 16):
        chip = altered_chip("loihi2", compartments=compartments)
        way = realise(chip, "bits", graph)
        numbers.append(place(of_graph(graph, chip, way), chip, way).number)
    assert numbers == sorted(numbers)
    assert numbers[-1] > numbers[0]


def dense(inputs: int, outputs: int, th: np.ndarray | None = None, weight: int = 1) -> Graph:
    th = np.ones(outputs, np.int64) if th is None else th
    nodes = (
        Node("in", Input((inputs,), 3)),
        Node("w", Dense(np.full((outputs, inputs), weight), None), ("in",)),
        Node("t", Threshold(th, np.zeros(outputs, np.int64), 3), ("w",)),
        Node("v", Dense(np.ones((2, outputs), np.int64), None), ("t",)),
        Node("out", Scale(np.ones(2, np.int64), np.zeros(2, np.int64)), ("v",)),
    )
    return Graph("dense", nodes)


def placed(graph: Graph, chip, code: str = "bits") -> Placement:
    spiking = encode(graph, code)
    way = realise(chip, code, spiking)
    return place(of_graph(spiking, chip, way), chip, way)


def test_use_of_a_dense_layer_by_hand(altered_chip):
    """20 inputs onto 10 neurons of 8-bit weights, two state slots each; every input is heard on both target cores."""
    placement = placed(dense(20, 10), altered_chip("loihi2", compartments=10))
    # The inputs take 40 slots on 4 cores, the layer 20 on 2, the read-out 4 on 1.
    assert [len(placement.cores_of(n)) for n in ("in", "t", "out")] == [4, 2, 1]
    assert placement.used["compartments"].tolist() == [10, 10, 10, 10, 10, 10, 4]
    assert placement.used["axons_in"].tolist() == [0, 0, 0, 0, 20, 20, 10]
    assert placement.used["axons_out"].tolist() == [10, 10, 10, 10, 5, 5, 0]
    assert placement.used["synapse_memory"].tolist() == [0, 0, 0, 0, 800, 800, 160]
    assert placement.used["thresholds"].tolist() == [1] * 7
    assert placement.formats == {"in": "sparse", "t": "dense", "out": "dense"}


def test_sparse_weights_carry_their_index(altered_chip):
    """4 of 10 synapses stored: 4 x (8 + 13) bits instead of 10 x 8."""
    graph = dense(10, 1)
    weight = np.array([[1, 0, 2, 0, 0, 0, 3, 0, 0, 4]])
    nodes = tuple(n if n.name != "w" else Node("w", Dense(weight, None), ("in",)) for n in graph.nodes)
    placement = placed(Graph("sparse", nodes), load("loihi2"))
    assert placement.formats["t"] == "sparse"
    assert placement.used["synapse_memory"][1] == 4 * (8 + 13)


def test_a_kernel_is_stored_once_on_a_core(altered_chip):
    """A 3x3 kernel of 2 x 4 channels with one zero: 72 weights of 8 bits, on one core or on each of two bands."""
    weight = np.ones((4, 2, 3, 3), np.int64)
    weight[0, 0, 0, 0] = 0
    one = np.ones((4, 1, 1), np.int64)
    nodes = (
        Node("in", Input((2, 8, 8), 3)),
        Node("c", Conv(weight, None, (1, 1), ((1, 1), (1, 1))), ("in",)),
        Node("t", Threshold(one, 0 * one, 3), ("c",)),
        Node("f", Reshape((256,)), ("t",)),
        Node("w", Dense(np.ones((2, 256), np.int64), None), ("f",)),
        Node("out", Scale(np.ones(2, np.int64), np.zeros(2, np.int64)), ("w",)),
    )
    graph = Graph("conv", nodes)
    placement = placed(graph, load("loihi2"))
    layer = placement.cores_of("t")
    assert (len(layer), placement.formats["t"]) == (1, "conv")
    assert placement.used["synapse_memory"][layer[0]] == 72 * 8
    two = placed(graph, altered_chip("loihi2", compartments=256))
    layer = two.cores_of("t")
    assert len(layer) == 2
    total = two.used["synapse_memory"][layer].sum()
    assert total in (72 * 8, 2 * 72 * 8)  # cut between channels, or into bands that both need every kernel


def test_distinct_thresholds_are_limited(altered_chip):
    """Ten thresholds, four a core: three cores."""
    placement = placed(dense(4, 10, np.arange(1, 11)), altered_chip("loihi1", thresholds=4), "unary")
    assert len(placement.cores_of("t")) == 3


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"cores": 2, "chips": 1}, r"dense needs 3 cores; loihi2 has 2\. Layer"),
        ({"compartments": 3, "cores": 2, "chips": 1}, r"layer 't' fills 7 cores; loihi2 has 2\. Use a smaller layer"),
        ({"axons_in": 15}, r"layer 't'.* 20 axons in.*loihi2 allows 15"),
        ({"axons_out": 0.5}, r"layer 't' needs \d+ axons out on one core however it is split; loihi2 allows"),
        ({"synapse_memory": 100}, r"layer 't' needs 160 synapse memory on one core.*; loihi2 allows 100"),
        ({"compartments": 1}, r"layer 'out' needs \d compartments on one core.*; loihi2 allows 1"),
        ({"state_bits": 4}, r"layer 't' needs 7 bits of state; loihi2 has 4\. Lower --input-levels"),
        ({"weight_bits": 1}, r"layer 't' has 2-bit weights; loihi2 stores 1\. Lower --weight-bits"),
    ],
)
def test_what_does_not_fit_is_named(limits, message, altered_chip):
    with pytest.raises(DoesNotFit, match=message):
        placed(dense(20, 10), altered_chip("loihi2", **limits))


def test_a_second_chip_of_which_nothing_is_known_is_refused(altered_chip):
    """Too many cores are noted where that is allowed, unless nothing says what crossing between chips costs."""
    graph = encode(dense(20, 10), "bits")
    chip = altered_chip("loihi2", cores=2, chips=1)
    way = realise(chip, "bits", graph)
    (violation,) = place(of_graph(graph, chip, way), chip, way, allow=True).violations
    assert "needs 3 cores; loihi2 has 2" in violation
    alone = chip.model_copy(update={"energy": chip.energy.model_copy(update={"chip_hop": None})})
    alone = alone.model_copy(update={"limits": alone.limits.model_copy(update={"chips": None})})
    with pytest.raises(DoesNotFit, match=r"has 2.*What crossing to a second chip would cost is not known"):
        place(of_graph(graph, alone, way), alone, way, allow=True)


def test_long_delays_are_refused(altered_chip, random_network):
    for structure in range(20):
        graph = encode(random_network(structure, np.random.default_rng(0), 15, 16), "unary")
        longest = max(graph.schedule.delays.values())
        if longest > 5:
            break
    chip = altered_chip("loihi2", delay=longest - 1)
    way = realise(chip, "unary", graph)
    wiring = of_graph(graph, chip, way)
    with pytest.raises(DoesNotFit, match=rf"waits {longest} steps; loihi2 delays at most {longest - 1}"):
        place(wiring, chip, way)


def test_cores_fill_one_router_after_another(tiny_network):
    placement = placed(tiny_network, load("loihi2"))
    assert (placement.number, placement.tiles, placement.copies, placement.chips) == (3, 1, 42, 1)


def test_the_clock_has_a_core_of_its_own(tiny_network):
    placement = placed(tiny_network, load("loihi1"), "unary")
    assert placement.number == 4
    with jax.disable_jit():
        assert_sound(encode(tiny_network, "unary"), placement)


def test_destinations_are_limited(altered_chip):
    """20 inputs feed two cores of the layer: one more than this chip's cores can address."""
    placed(dense(20, 10), altered_chip("loihi2", compartments=10, destinations=2))
    with pytest.raises(DoesNotFit, match=r"a core of layer 'in' sends to 2 cores; loihi2 allows 1\. Use a network"):
        placed(dense(20, 10), altered_chip("loihi2", compartments=10, destinations=1))
