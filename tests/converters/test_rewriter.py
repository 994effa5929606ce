"""Factors that go back into copies of weights."""

import jax.numpy as jnp
import numpy as np
import pytest

from converters.rewriter import Rewriter, attends
from neuro.evaluate import evaluate
from neuro.graph import Graph, Node
from neuro.layers import Add, AvgPool, Conv, Dense, Input, LayerNorm, Pad, Product, Relu, Reshape, Softmax, Transpose

RNG = np.random.default_rng(0)
KERNEL = Conv(RNG.normal(size=(4, 3, 1)), None, (1,), ((0, 0),))


def rewriter(*nodes: Node) -> Rewriter:
    state = Rewriter(Graph("g", (Node("in", Input((3, 5))), Node("out", Relu(), ("in",)))))
    state.nodes = [Node("in", Input((3, 5))), *nodes]
    return state


@pytest.mark.parametrize(
    ("ops", "shape", "varies"),
    [
        ((KERNEL,), (4, 5), 0),
        ((KERNEL, Transpose((1, 0))), (5, 4), 1),
        ((KERNEL, Reshape((2, 2, 5))), (2, 2, 5), None),
        ((KERNEL, Pad(((1, 2), (0, 1)))), (7, 6), 0),
        ((KERNEL, AvgPool((5,), (5,), ((0, 0),))), (4, 1), 0),
        ((Reshape((15,)), Dense(RNG.normal(size=(6, 15)), None)), (6,), 0),
    ],
)
def test_a_factor_goes_into_a_copy_of_the_weights(ops, shape, varies):
    names = ["in", *(f"n{i}" for i in range(len(ops)))]
    state = rewriter(*(Node(names[i + 1], op, (names[i],)) for i, op in enumerate(ops)))
    if varies is None:
        factor = np.full(shape, 1.7)
    else:
        factor = np.broadcast_to(RNG.normal(size=[n if i == varies else 1 for i, n in enumerate(shape)]), shape)
    before = list(state.nodes)
    name = state.scaled(names[-1], factor)
    assert name is not None
    assert state.nodes[: len(before)] == before  # the originals stay
    values = evaluate(Graph("g", tuple(state.nodes)), jnp.asarray(RNG.normal(size=(2, 3, 5)), jnp.float32))
    assert np.abs(np.asarray(values[name]) - factor * np.asarray(values[names[-1]])).max() < 1e-5


def test_sums_are_scaled_in_both_branches():
    sum_ = Node("s", Add(), ("a", "b"))
    state = rewriter(Node("a", KERNEL, ("in",)), Node("b", KERNEL, ("in",)), sum_)
    factor = np.broadcast_to(RNG.normal(size=(4, 1)), (4, 5))
    name = state.scaled("s", factor)
    values = evaluate(Graph("g", tuple(state.nodes)), jnp.asarray(RNG.normal(size=(2, 3, 5)), jnp.float32))
    assert np.abs(np.asarray(values[name]) - factor * np.asarray(values["s"])).max() < 1e-5


def test_factors_that_no_weights_can_take():
    state = rewriter(
        Node("a", KERNEL, ("in",)), Node("t", Transpose((1, 0)), ("in",)), Node("p", Product(), ("in", "t"))
    )
    assert state.scaled("a", RNG.normal(size=(4, 5))) is None  # differs over the map
    assert state.scaled("p", RNG.normal(size=(3, 3))) is None
    assert state.scaled("p", np.full((3, 3), -1.0)) is None  # scales are positive
    assert state.find(state.scaled("p", np.full((3, 3), 0.5))).op == Product(factor=0.5)


def test_only_networks_with_attention_get_neurons_that_round():
    first = Node("in", Input((3, 5)))
    norm = LayerNorm(np.ones(5), np.zeros(5), 1e-5)
    assert not attends(Graph("g", (first, Node("s", Softmax(), ("in",)))))
    assert attends(Graph("g", (first, Node("n", norm, ("in",)), Node("r", Relu(), ("n",)))))
