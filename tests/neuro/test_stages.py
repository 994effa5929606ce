"""Populations and stages by hand; bounds that no input exceeds; synapses counted by an explicit Jacobian."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.encode import encode
from neuro.graph import Graph, Node
from neuro.layers import Add, Conv, Dense, Input, MaxPool, Reshape, Scale, SumPool, Threshold
from neuro.reach import fan_out
from neuro.stages import bounds, magnitudes, pattern, populations, sources, stage

ONE = np.ones((1, 1, 1), np.int64)
Z2 = ((0, 0), (0, 0))


def branching() -> Graph:
    """in -> c -> r ; (r through d) + (in bare) -> s ; max-pool of the reshaped s -> read-out."""
    conv = Conv(np.ones((1, 1, 1, 1), np.int64), None, (1, 1), Z2)
    th = Threshold(ONE, 0 * ONE, 3)
    return Graph(
        "branching",
        (
            Node("in", Input((1, 2, 2), 3)),
            Node("c", conv, ("in",)),
            Node("r", th, ("c",)),
            Node("d", conv, ("r",)),
            Node("a", Add(), ("d", "in")),
            Node("s", th, ("a",)),
            Node("turn", Reshape((1, 4, 1)), ("s",)),
            Node("m", MaxPool((2, 1), (2, 1), Z2), ("turn",)),
            Node("f", Reshape((2,)), ("m",)),
            Node("w", Dense(np.array([[5, -6]]), None), ("f",)),
            Node("out", Scale(np.ones(1, np.int64), np.array([7])), ("w",)),
        ),
    )


def test_populations_and_their_stages():
    graph = branching()
    assert [n.name for n in populations(graph)] == ["in", "r", "s", "m", "out"]
    stages = {n.name: [m.name for m in stage(graph, n.name)] for n in populations(graph)}
    assert stages == {"in": [], "r": ["c"], "s": ["d", "a"], "m": ["turn"], "out": ["f", "w", "out"]}
    feeds = {n.name: sources(graph, n.name) for n in populations(graph)[1:]}
    assert feeds == {"r": ["in"], "s": ["in", "r"], "m": ["s"], "out": ["m"]}


def test_bounds_by_hand():
    """r: 1 x 3 + 0 + 1. s: 3 + 3 + 1. out: (5 + 6) x 3 + 7. A tenth of a per cent is added and rounded up."""
    assert bounds(branching()) == {"r": 5, "s": 8, "out": 41}
    # A step of the rate code brings one spike a synapse: 1 + 1, 1 + 1 + 1, 11 + 7.
    assert bounds(encode(branching(), "rate", 9)) == {"r": 3, "s": 4, "out": 19}
    # Signed digits: one level more. 4 + 1, 4 + 4 + 1, 11 x 4 + 7.
    assert bounds(encode(branching(), "naf")) == {"r": 6, "s": 10, "out": 52}
    for code in ("unary", "bits", "ttfs", "graded"):
        assert bounds(encode(branching(), code)) == bounds(branching())


STRUCTURES = 8


@settings(max_examples=16)
@given(seed=st.integers(0, 2**32 - 1))
def test_no_input_exceeds_the_bound(seed, random_network, numpy_evaluate):
    rng = np.random.default_rng(seed)
    graph = random_network(seed % STRUCTURES, rng)
    with jax.disable_jit():
        proved = bounds(graph)
    extremes = np.array([0, 7])[rng.integers(0, 2, (40, 2, 6, 5))]
    values = numpy_evaluate(graph, np.concatenate([extremes, rng.integers(0, 8, (40, 2, 6, 5))]))
    for node in populations(graph)[1:]:
        if isinstance(node.op, MaxPool):
            assert node.name not in proved
        elif isinstance(node.op, Threshold):
            reached = values[node.inputs[0]] + node.op.bias + node.op.threshold // 2
            assert np.abs(reached).max() <= proved[node.name]
        else:
            assert np.abs(values[node.name]).max() <= proved[node.name]


def test_a_bound_is_reached_but_for_the_threshold():
    """One neuron, weights of one sign: sum |W| L + B is what a full input gives; the bound adds th and rounding."""
    graph = Graph(
        "one",
        (
            Node("in", Input((3,), 10)),
            Node("d", Dense(np.array([[20, 30, 50]]), None), ("in",)),
            Node("t", Threshold(np.array([100]), np.array([40]), 5), ("d",)),
        ),
    )
    assert 1000 + 40 + 100 <= bounds(graph)["t"] <= 1142


def connections(graph: Graph, target: str, source: str, numpy_apply) -> np.ndarray:
    """Synapses [target neuron, source neuron]: one source neuron at a time through the stage with ones for weights."""
    shape = graph.shapes[source]
    number = int(np.prod(shape))
    values = {s: np.zeros((number, *graph.shapes[s])) for s in sources(graph, target)}
    values[source] = np.eye(number).reshape(number, *shape)
    node = graph[target]
    for inner in stage(graph, target):
        op = inner.op
        if isinstance(op, Conv):
            op = Conv((op.weight != 0).astype(float), None, op.stride, op.pads, op.groups)
        elif isinstance(op, Dense):
            op = Dense((op.weight != 0).astype(float), None)
        elif isinstance(op, Scale):
            op = Scale(np.ones(()), np.zeros(()))
        values[inner.name] = numpy_apply(op, *(values[i] for i in inner.inputs))
    arriving = values[node.inputs[0] if isinstance(node.op, Threshold | MaxPool) else target]
    if isinstance(node.op, MaxPool):
        arriving = numpy_apply(SumPool(node.op.kernel, node.op.stride, node.op.pads), arriving)
    return arriving.reshape(number, -1).T


@pytest.mark.parametrize("structure", range(4))
def test_fan_out_counts_the_synapses_of_an_explicit_jacobian(structure, random_network, numpy_apply):
    graph = random_network(structure, np.random.default_rng(structure))
    reach = fan_out(graph)
    for node in populations(graph)[1:]:
        size = graph.size(node.name)
        groups = np.random.default_rng(1).integers(0, 3, size)
        members = (np.arange(3)[:, None] == groups).astype(float).reshape(3, *graph.shapes[node.name])
        got = reach(node.name, members)
        assert list(got) == sources(graph, node.name)
        for source, synapses in got.items():
            each = connections(graph, node.name, source, numpy_apply)
            want = np.stack([each[groups == g].sum(axis=0) for g in range(3)])
            np.testing.assert_array_equal(synapses, want)


def test_zero_weights_are_not_stored():
    graph = Graph("z", (Node("in", Input((3,), 1)), Node("d", Dense(np.array([[0, 2, -3]]), None), ("in",))))
    assert fan_out(graph)("d", np.ones((1, 1)))["in"].tolist() == [[0, 1, 1]]
    assert pattern(graph)["d"].op.weight.tolist() == [[0, 1, 1]]
    assert magnitudes(graph)["d"].op.weight.tolist() == [[0, 2, 3]]
    assert graph["d"].op.weight.tolist() == [[0, 2, -3]]
