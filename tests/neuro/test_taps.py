"""Stages as lists of taps, against the linear operators that they stand for."""

import jax.numpy as jnp
import numpy as np
import pytest

from neuro.graph import Graph, Node
from neuro.layers import (
    Add,
    Concat,
    Conv,
    Dense,
    Input,
    MaxPool,
    Op,
    Pad,
    Reshape,
    Scale,
    SumPool,
    Threshold,
    Transpose,
)
from neuro.stages import populations, propagate
from neuro.taps import Layout, NoTaps, by_channel, taps, windows

NONE = ((0, 0), (0, 0))


def arriving(found, layouts: dict[str, Layout], values: dict[str, np.ndarray]) -> np.ndarray:
    """What the lists bring to every target when neurons have `values`, entry by entry."""
    total = np.zeros(found.layout.neurons.shape)
    for lists, dense in ((found.taps, True), (found.points, False)):
        for target, source, position, row in lists:
            name = found.sources[source]
            sent = values[name].ravel()[layouts[name].neurons[position]]
            total[target] += sent @ found.weights[row : row + len(sent)] if dense else sent * found.point_weights[row]
    result = np.zeros(found.layout.neurons.size)
    result[found.layout.neurons] = total
    return result.reshape(found.layout.shape)


def check(graph: Graph, rng: np.random.Generator) -> None:
    layouts: dict[str, Layout] = {}
    for node in populations(graph):
        if isinstance(node.op, Input):
            layouts[node.name] = by_channel(node.op.shape)
            continue
        found = taps(graph, node.name, layouts)
        layouts[node.name] = found.layout
        values = {s: rng.integers(0, 5, graph.shapes[s]) for s in found.sources}
        batch = {s: jnp.asarray(v[None], jnp.float32) for s, v in values.items()}
        want = np.asarray(propagate(graph, node.name, batch))[0]
        np.testing.assert_array_equal(arriving(found, layouts, values), want, node.name)


def one(*ops: Op, shape=(2, 5, 4)) -> Graph:
    """Operators in a row between an input and neurons."""
    nodes = [Node("in", Input(shape, 7))]
    for i, op in enumerate(ops):
        nodes.append(Node(f"op{i}", op, (nodes[-1].name,)))
    nodes.append(Node("out", Threshold(np.ones(1, np.int64), np.zeros(1, np.int64), 7), (nodes[-1].name,)))
    return Graph("one", tuple(nodes))


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-9, 10, shape)


@pytest.mark.parametrize(
    "ops",
    [
        (Conv(weights(3, 2, 3, 2), None, (2, 1), ((1, 0), (0, 1))),),
        (Conv(weights(3, 2, 2, 2), None, (2, 1), ((1, 0), (0, 1)), 1, (3, 2)),),
        (Conv(weights(2, 1, 3, 3), None, (1, 1), ((1, 1), (1, 1)), 2),),
        (Conv(weights(4, 1, 3, 3), None, (1, 1), ((1, 1), (1, 1)), 2),),
        (SumPool((2, 2), (1, 2), ((1, 0), (0, 0))), Conv(weights(3, 2, 2, 1), None, (1, 1), NONE)),
        (Conv(weights(3, 2, 2, 2), None, (1, 1), NONE), SumPool((2, 2), (2, 1), NONE)),
        (Reshape((40,)), Dense(weights(7, 40), None)),
        (SumPool((5, 4), (5, 4), NONE), Reshape((2,)), Dense(weights(7, 2), None)),
        (Transpose((0, 2, 1)), Pad(((0, 0), (1, 0), (0, 2))), Conv(weights(3, 2, 3, 3), None, (1, 1), NONE)),
        (Transpose((1, 2, 0)), Reshape((40,)), Dense(weights(7, 40), None)),
        (Conv(weights(3, 2, 1, 1), None, (1, 1), NONE), Reshape((60,))),
        (SumPool((2, 2), (2, 2), NONE),),
    ],
)
def test_lists_bring_what_the_operators_do(ops):
    check(one(*ops), np.random.default_rng(1))


def test_random_networks(random_network):
    for structure in range(10):
        graph = random_network(structure, np.random.default_rng(structure))
        if not any(isinstance(n.op, MaxPool) for n in graph.nodes):
            linear = Graph(graph.name, tuple(n for n in graph.nodes))
            readout = linear.output.op
            if isinstance(readout, Scale) and not readout.offset.any():
                check(linear, np.random.default_rng(structure))


def test_a_branch_without_weights_joins_one_with():
    nodes = (
        Node("in", Input((2, 4, 4), 7)),
        Node("w", Conv(weights(2, 2, 3, 3), None, (1, 1), ((1, 1), (1, 1))), ("in",)),
        Node("add", Add(), ("w", "in")),
        Node("out", Threshold(np.ones(1, np.int64), np.zeros(1, np.int64), 7), ("add",)),
    )
    check(Graph("skip", nodes), np.random.default_rng(2))


def test_equal_rows_are_stored_once():
    """Every position of a pool hands the same rows on: 2 channels, 1 of 20 places, 8 rows with their filling."""
    graph = one(SumPool((5, 4), (5, 4), NONE), Reshape((2,)), Dense(weights(7, 2), None))
    found = taps(graph, "out", {"in": by_channel((2, 5, 4))})
    assert found.weights.shape == (8, 7)
    assert len(found.taps) == 20
    assert not found.once


def test_two_weighted_layers_in_a_row_have_no_taps():
    graph = one(Conv(weights(3, 2, 1, 1), None, (1, 1), NONE), Conv(weights(3, 3, 1, 1), None, (1, 1), NONE))
    with pytest.raises(NoTaps, match="op1: Conv"):
        taps(graph, "out", {"in": by_channel((2, 5, 4))})


def test_windows_of_a_pool():
    """A 3-wide pool with one column of padding: first window {0, 1}, second {1, 2, 3}."""
    nodes = (
        Node("in", Input((1, 1, 4), 7)),
        Node("pool", MaxPool((1, 3), (1, 2), ((0, 0), (1, 0))), ("in",)),
        Node("w", Conv(weights(1, 1, 1, 1), None, (1, 1), NONE), ("pool",)),
        Node("out", Threshold(np.ones(1, np.int64), np.zeros(1, np.int64), 7), ("w",)),
    )
    source, layout, members = windows(Graph("pool", nodes), "pool", {"in": by_channel((1, 1, 4))})
    assert source == "in"
    assert layout.shape == (1, 1, 2)
    assert [m.tolist() for m in members] == [[0, 1], [1, 2, 3]]


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("behind", ["conv", "dense"])
def test_joined_branches(axis, behind):
    th = Threshold(np.ones(1, np.int64), np.zeros(1, np.int64), 7)
    joined = (5, 5, 4) if axis == 0 else (2, 10, 4)
    conv = Conv(weights(2 if axis else 3, 2, 3, 3), None, (1, 1), ((1, 1), (1, 1)))
    last = [
        Node("flat", Reshape((100 if axis == 0 else 80,)), ("cat",)),
        Node("last", Dense(weights(4, 100 if axis == 0 else 80), None), ("flat",)),
    ]
    if behind == "conv":
        last = [Node("last", Conv(weights(3, joined[0], 3, 3), None, (2, 1), ((1, 1), (0, 1))), ("cat",))]
    graph = Graph(
        "joined",
        (
            Node("in", Input((2, 5, 4), 7)), Node("w", conv, ("in",)), Node("a", th, ("w",)),
            Node("cat", Concat(axis), ("a", "in")), *last, Node("out", th, ("last",)),
        ),
    )  # fmt: skip
    check(graph, np.random.default_rng(1))


def test_grouped_kernels_over_joined_branches_are_left_to_the_plain_engine():
    th = Threshold(np.ones(1, np.int64), np.zeros(1, np.int64), 7)
    graph = Graph(
        "joined",
        (
            Node("in", Input((2, 5, 4), 7)), Node("a", th, ("in",)), Node("cat", Concat(0), ("a", "in")),
            Node("last", Conv(weights(4, 2, 3, 3), None, (1, 1), NONE, 2), ("cat",)), Node("out", th, ("last",)),
        ),
    )  # fmt: skip
    with pytest.raises(NoTaps, match="grouped"):
        taps(graph, "out", {"in": by_channel((2, 5, 4)), "a": by_channel((2, 5, 4))})
