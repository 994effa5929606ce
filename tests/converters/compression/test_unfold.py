"""A folded graph on the network's own inputs: the same outputs, and folding gives it back."""

import jax.numpy as jnp
import numpy as np
import pytest

from converters.compression.unfold import unfolded
from converters.fold import fold, last_function
from neuro.activations import Function
from neuro.evaluate import evaluate
from neuro.graph import Graph, Node
from neuro.layers import Activation, Dense, Input, MaxPool, Relu, Reshape, Scale


def output(graph: Graph, x: np.ndarray) -> np.ndarray:
    return np.asarray(evaluate(graph, jnp.asarray(x, jnp.float32))[graph.output.name])


@pytest.mark.parametrize("offset", [0.0, -0.4])
def test_outputs_and_the_way_back(folded, offset):
    graph, gain = folded(3), np.full((1, 1, 1), 0.02)
    network = unfolded(graph, gain, np.array(offset))
    counts = np.random.default_rng(0).integers(0, 16, (4, 2, 6, 6))
    want = output(graph, counts)
    size = np.abs(want).max()
    np.testing.assert_allclose(output(network, offset + 0.02 * counts), want, atol=1e-5 * size)
    again = fold(network, gain, np.array(offset))
    np.testing.assert_allclose(output(again, counts), want, atol=1e-5 * size)
    assert [type(n.op) for n in again.nodes] == [type(n.op) for n in graph.nodes]
    assert len(network.nodes) == len(graph.nodes)  # nothing was added
    kept = [np.asarray(n.op.weight) == 0 for n in again.nodes if isinstance(n.op, Dense)]
    assert not any(k.any() for k in kept)


def test_channels_of_different_gain_are_scaled_first(folded):
    graph = folded(4)
    gain, offset = np.array([0.1, 0.3]).reshape(2, 1, 1), np.array([0.5, -1.0]).reshape(2, 1, 1)
    network = unfolded(graph, gain, offset)
    counts = np.random.default_rng(1).integers(0, 16, (4, 2, 6, 6))
    np.testing.assert_allclose(output(network, offset + gain * counts), output(graph, counts), atol=1e-4)
    assert isinstance(network.nodes[1].op, Scale)


def test_a_pool_of_the_input_takes_counts():
    nodes = (
        Node("in", Input((1, 4, 4))),
        Node("pool", MaxPool((2, 2), (2, 2), ((0, 0), (0, 0))), ("in",)),
        Node("flat", Reshape((4,)), ("pool",)),
        Node("dense", Dense(np.ones((2, 4)), np.array([1.0, 2.0])), ("flat",)),
        Node("relu", Relu(), ("dense",)),
        Node("last", Dense(np.eye(2), None), ("relu",)),
    )
    graph = fold(Graph("pooled", nodes), np.array(0.5), np.array(0.0))
    counts = np.random.default_rng(2).integers(0, 9, (3, 1, 4, 4))
    network = unfolded(graph, np.array(0.5), np.array(0.0))
    np.testing.assert_allclose(output(network, 0.5 * counts), output(graph, counts), atol=1e-5)


def test_the_last_function_comes_back(mlp):
    network = unfolded(mlp(0), np.array(0.1), np.array(0.0), Function("sigmoid"))
    assert isinstance(network.output.op, Activation)
    assert last_function(network) == Function("sigmoid")
