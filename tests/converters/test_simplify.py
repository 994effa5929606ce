"""Merged, moved and looked-ahead functions: the same network before and after, and what is left alone."""

from math import inf

import jax.numpy as jnp
import numpy as np
import pytest

from converters.simplify import ahead, simplify
from neuro.activations import Function
from neuro.evaluate import evaluate
from neuro.graph import Graph, Node
from neuro.layers import (
    Activation,
    AvgPool,
    Concat,
    Conv,
    Dense,
    Input,
    MaxPool,
    Op,
    Relu,
    Reshape,
    Scale,
    Transpose,
)
from neuro.steps import Steps

ONE, ZERO = np.ones(()), np.zeros(())
NONE = ((0, 0), (0, 0))


def f(name: str, *parameters: float) -> Activation:
    return Activation(Function(name, parameters))


def chain(*ops: Op, shape=(4,)) -> Graph:
    nodes = [Node("in", Input(shape))]
    for i, op in enumerate(ops):
        nodes.append(Node(f"l{i}", op, (nodes[-1].name,)))
    return Graph("chain", tuple(nodes))


def same(graph: Graph, seed: int = 0) -> Graph:
    """The simplified graph, checked to give the same output."""
    x = np.random.default_rng(seed).normal(0, 3, (50, *graph.shapes["in"])).astype(np.float32)
    x.reshape(50, -1)[:, 0] = np.linspace(-4, 4, 50)
    found = simplify(graph)
    want, got = (np.asarray(evaluate(g, jnp.asarray(x))[g.output.name]) for g in (graph, found))
    np.testing.assert_allclose(got, want, atol=2e-6)
    return found


@pytest.mark.parametrize(
    ("ops", "left"),
    [
        ((Relu(), Relu()), [Relu()]),
        ((Relu(), f("clip", -1.0, 6.0)), [f("clip", 0.0, 6.0)]),
        ((f("clip", 0.0, 6.0), Relu()), [f("clip", 0.0, 6.0)]),
        ((f("clip", -inf, inf), Relu()), [Relu()]),
        ((Relu(), f("quantise", 0.5, 2.0, 0.0, 15.0)), [f("quantise", 0.5, 2.0, 2.0, 15.0)]),
        ((f("quantise", 0.5, 2.0, 0.0, 15.0), f("clip", 0.0, 3.0)), [f("quantise", 0.5, 2.0, 2.0, 8.0)]),
        ((f("sign"), Scale(ONE, np.full((), 0.1)), f("sign")), [f("bipolar", 1.0)]),
        ((f("bipolar", 0.5), f("bipolar", 2.0)), [f("bipolar", 2.0)]),
        ((f("sign"), f("sign")), [f("sign")]),
        # left alone
        ((f("quantise", 0.5, 2.0, 0.0, 15.0), f("clip", 0.0, 3.3)), None),
        ((f("tanh"), Relu()), None),
        ((Relu(), Scale(ONE, np.full((), -1.0)), Relu()), None),
        ((f("clip", 0.0, 1.0), f("clip", 2.0, 3.0)), None),
    ],
)
def test_functions_that_follow_each_other(ops, left):
    found = [n.op for n in same(chain(*ops)).nodes[1:]]
    assert found == (list(ops) if left is None else left)


def test_a_function_that_others_read_too_is_kept():
    graph = Graph(
        "forked",
        (
            Node("in", Input((4,))), Node("a", Relu(), ("in",)), Node("b", f("clip", 0.0, 1.0), ("a",)),
            Node("c", Concat(0), ("a", "b")),
        ),
    )  # fmt: skip
    assert [n.name for n in same(graph).nodes] == ["in", "a", "b", "c"]


def joined(*ops: Op, axis: int = 0) -> Graph:
    convs = [Conv(np.random.default_rng(k).normal(size=(2, 3, 1, 1)), None, (1, 1), NONE) for k in (0, 1)]
    nodes = [Node("in", Input((3, 4, 4))), Node("a", convs[0], ("in",)), Node("b", convs[1], ("in",))]
    nodes.append(Node("cat", Concat(axis), ("a", "b")))
    for i, op in enumerate(ops):
        nodes.append(Node(f"l{i}", op, (nodes[-1].name,)))
    return Graph("joined", tuple(nodes))


@pytest.mark.parametrize("axis", [0, 1])
def test_functions_behind_a_concatenation_work_on_its_branches(axis):
    channels = 4 if axis == 0 else 2
    scale = Scale(np.arange(1.0, channels + 1).reshape(-1, 1, 1), np.full((), 0.5))
    found = same(joined(scale, f("tanh"), axis=axis))
    assert isinstance(found.output.op, Concat)
    assert [type(n.op).__name__ for n in found.nodes].count("Activation") == 2


def test_pools_move_into_branches_along_channels_alone():
    pool = MaxPool((2, 2), (2, 2), NONE)
    assert isinstance(same(joined(Relu(), pool)).output.op, Concat)
    assert isinstance(same(joined(Relu(), AvgPool((2, 2), (2, 2), NONE))).output.op, Concat)
    assert isinstance(same(joined(Relu(), pool, axis=1)).output.op, MaxPool)


def test_functions_move_before_layouts():
    """In front of a flattening, channels are still those of the convolution."""
    found = same(
        chain(
            Conv(np.random.default_rng(0).normal(size=(2, 3, 1, 1)), None, (1, 1), NONE),
            Transpose((1, 2, 0)),
            Scale(np.array([1.0, 2.0]), np.array([0.5, 0.0])),
            Reshape((32,)),
            f("sign"),
            Scale(ONE, np.full((), 0.1)),
            f("sign"),
            Dense(np.random.default_rng(1).normal(size=(5, 32)), None),
            shape=(3, 4, 4),
        )
    )
    kinds = [type(n.op).__name__ for n in found.nodes]
    assert kinds == ["Input", "Conv", "Scale", "Activation", "Transpose", "Reshape", "Dense"]
    assert found.nodes[3].op == f("bipolar", 1.0)


def test_ahead_of_a_pool():
    pool = MaxPool((2, 2), (2, 2), NONE)
    graph = chain(pool, Scale(np.array([[[2.0]], [[-1.0]]]), ZERO), Transpose((1, 2, 0)), f("sign"), shape=(2, 4, 4))
    found = ahead(graph, graph["l0"])
    assert found is not None
    assert (found.op, found.names) == (f("sign"), ("l1", "l3"))
    assert found.factor.tolist() == [2, -1]
    for last in (f("gelu"), Reshape((8,)), Scale(np.ones((2, 2, 2)), ZERO)):
        other = chain(pool, last, shape=(2, 4, 4))
        assert ahead(other, other["l0"]) is None


def test_transpositions_that_undo_each_other_go():
    steps = Steps(thresholds=np.array([[0.0, 1.0, -1.0]]))
    nodes = (
        Node("in", Input((3, 2, 4))),
        Node("last", Transpose((1, 2, 0)), ("in",)),
        Node("first", Transpose((2, 0, 1)), ("last",)),
        Node("s", Activation(steps), ("first",)),
        Node("again", Transpose((1, 2, 0)), ("s",)),
        Node("other", Transpose((1, 2, 0)), ("again",)),  # the same one twice turns on
        Node("out", Relu(), ("other",)),
    )
    graph = Graph("net", nodes)
    made = simplify(graph)
    assert {"last", "first"}.isdisjoint(n.name for n in made.nodes)
    assert {"again", "other"} <= {n.name for n in made.nodes}
    assert made["s"].inputs == ("in",)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3, 2, 4)), jnp.float32)
    np.testing.assert_array_equal(evaluate(made, x)[made.output.name], evaluate(graph, x)["out"])


@pytest.mark.parametrize("axis", [0, 1])
def test_thresholds_by_channel_follow_the_branches(axis):
    """Behind a concatenation of channels each branch keeps its own; they do not move before a transposition."""
    steps = Steps(thresholds=np.random.default_rng(1).normal(size=(2, 4 if axis == 0 else 2)))
    nodes = (
        Node("in", Input((2, 3))),
        Node("a", Scale(np.full((), 2.0), np.zeros(())), ("in",)),
        Node("b", Scale(np.full((), -1.0), np.zeros(())), ("in",)),
        Node("cat", Concat(axis), ("a", "b")),
        Node("s", Activation(steps), ("cat",)),
        Node("t", Transpose((1, 0)), ("s",)),
        Node(
            "u", Activation(Steps(thresholds=np.random.default_rng(2).normal(size=(3, 3 if axis == 0 else 6)))), ("t",)
        ),
    )
    graph = Graph("net", nodes)
    made = simplify(graph)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(50, 2, 3)), jnp.float32)
    np.testing.assert_array_equal(evaluate(made, x)[made.output.name], evaluate(graph, x)["u"])
    assert made.output.name == "u"
    assert any(isinstance(n.op, Concat) and {i[:1] for i in n.inputs} == {"s"} for n in made.nodes)
