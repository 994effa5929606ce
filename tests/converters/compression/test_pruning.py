"""Which weights go: by hand, and the share and order that must hold for any graph."""

import numpy as np
import pytest

from converters.compression.pruning import pruned, two_of_four, weights, zero_share
from neuro.errors import BadInput
from neuro.graph import Graph, Node
from neuro.layers import Conv, Dense, Input


def two_layers(first, second) -> Graph:
    first, second = np.array(first), np.array(second)
    nodes = (
        Node("in", Input((first.shape[1],))),
        Node("a", Dense(first, None), ("in",)),
        Node("b", Dense(second, None), ("a",)),
    )
    return Graph("two", nodes)


def test_the_largest_of_a_layer_are_kept():
    graph = two_layers([[0.1, -0.5], [0.3, 0.2]], [[1.0, -2.0]])
    found = weights(pruned(graph, 0.5, "layer"))
    np.testing.assert_array_equal(found["a"], [[0, -0.5], [0.3, 0]])
    np.testing.assert_array_equal(found["b"], [[0, -2.0]])
    np.testing.assert_array_equal(weights(graph)["a"], [[0.1, -0.5], [0.3, 0.2]])  # the graph itself is left alone


def test_layers_are_compared_by_shares_of_their_own_squares():
    """Scores by hand: a: 1/14, 4/13, 1; b, a hundred times smaller and flatter: 1/3, 1/2, 1. Three of the six go."""
    graph = two_layers([[1.0], [2.0], [3.0]], [[0.01, 0.01, 0.01]])
    found = weights(pruned(graph, 0.5))
    np.testing.assert_array_equal(found["a"].ravel(), [0, 0, 3])
    np.testing.assert_array_equal(found["b"].ravel(), [0, 0.01, 0.01])


def test_share_order_and_what_was_zero(folded):
    graph = folded(0)
    once = pruned(graph, 0.6)
    total = sum(w.size for w in weights(graph).values())
    assert zero_share(once) == pytest.approx(0.6, abs=1 / total)
    for name, w in weights(graph).items():
        left = weights(once)[name]
        assert (left != 0).any()
        np.testing.assert_array_equal(left[left != 0], w[left != 0])
        if (left == 0).any():
            assert np.abs(w[left == 0]).max() <= np.abs(left[left != 0]).min()
    twice = pruned(once, 0.6)
    for name, w in weights(once).items():
        np.testing.assert_array_equal(weights(twice)[name], w)


def test_two_of_every_four_inputs():
    graph = two_layers([[1.0, -4.0, 3.0, 2.0, 0.5, 0.5, 0.5, 0.1]], [[1.0]])
    found = weights(two_of_four(graph))
    np.testing.assert_array_equal(found["a"], [[0, -4, 3, 0, 0.5, 0.5, 0, 0]])
    np.testing.assert_array_equal(found["b"], [[1.0]])  # one input cannot lose half of four


def test_two_of_four_runs_along_the_inputs_of_a_convolution():
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(3, 8, 2, 2))
    graph = Graph("c", (Node("in", Input((8, 4, 4))), Node("c", Conv(weight, None, (1, 1), ((0, 0), (0, 0))), ("in",))))
    kept = weights(two_of_four(graph))["c"] != 0
    assert (kept.reshape(3, 2, 4, 2, 2).sum(axis=2) == 2).all()


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_out_of_range(folded, share):
    with pytest.raises(BadInput, match="cannot be pruned"):
        pruned(folded(0), share)
