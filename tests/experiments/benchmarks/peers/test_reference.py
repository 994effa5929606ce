"""The reference against loops over single neurons, and against what constant currents give by hand."""

import numpy as np
import pytest

from experiments.benchmarks.peers.network import Network
from experiments.benchmarks.peers.reference import currents, densities, pooled, run, spikes_of
from neuro.errors import BadInput


def by_loops(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """A convolution as the sum that defines it."""
    batch, channels, height, width = x.shape
    out = np.zeros((batch, len(weight), height, width))
    for b, o, r, c in np.ndindex(out.shape):
        for i, dr, dc in np.ndindex(channels, 3, 3):
            row, column = r + dr - 1, c + dc - 1
            if 0 <= row < height and 0 <= column < width:
                out[b, o, r, c] += x[b, i, row, column] * weight[o, i, dr, dc]
    return out


def test_convolution_is_the_sum_that_defines_it():
    rng = np.random.default_rng(0)
    x, weight = rng.integers(0, 5, (2, 3, 4, 6)), rng.integers(-9, 9, (5, 3, 3, 3)).astype(np.float64)
    np.testing.assert_array_equal(currents(x, weight), by_loops(x, weight))


def test_constant_currents_by_hand():
    """N = clip(floor(T I / threshold), 0, T) of one layer."""
    current = np.array([[-3, 0, 1, 4, 5, 9, 10, 11, 40]])
    network = Network(np.array([[1]], np.uint8), 20, (current.T.astype(np.int8),), (10,))
    found = run(network)
    np.testing.assert_array_equal(found.counts[0], np.clip(20 * current // 10, 0, 20))
    assert found.events == [found.counts[0].sum()]
    assert densities(found.counts, 20) == [found.counts[0].mean() / 20]


@pytest.mark.parametrize("pool", ["max", "average"])
def test_two_layers_neuron_by_neuron(pool):
    rng = np.random.default_rng(1)
    weights = (rng.integers(-9, 12, (3, 1, 3, 3)).astype(np.int8), rng.integers(-9, 12, (4, 12)).astype(np.int8))
    network = Network(rng.integers(0, 4, (2, 1, 4, 4)).astype(np.uint8), 9, weights, (25, 8), (0,), pool)
    first = by_loops(network.x, weights[0])
    v, u, counts, events = np.zeros_like(first), np.zeros((2, 4)), [0, 0], 0
    for _ in range(9):
        v += first
        spikes = v >= 25
        v[spikes] -= 25
        h = np.zeros((2, 3, 2, 2))
        for b, c, i, j in np.ndindex(h.shape):
            four = spikes[b, c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
            h[b, c, i, j] = four.any() if pool == "max" else four.sum() / 4
        events += (h > 0).sum()
        u += h.reshape(2, 12) @ weights[1].T
        late = u >= 8
        u[late] -= 8
        counts = [counts[0] + spikes.reshape(2, -1), counts[1] + late]
    found = run(network)
    for ours, theirs in zip(found.counts, counts, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert found.events[0] == events
    assert 0 < found.counts[1].sum() < 9 * 8


def test_spikes_of_a_layer_are_those_of_the_network():
    rng = np.random.default_rng(2)
    network = Network(rng.integers(0, 9, (5, 6)), 12, (rng.integers(-5, 9, (7, 6)).astype(np.int8),), (30,))
    current = np.broadcast_to(currents(network.x, network.weights[0].astype(np.float32)), (12, 5, 7))
    np.testing.assert_array_equal(spikes_of(current, 30).sum(axis=0), run(network).counts[0])


def test_pooling():
    spikes = np.array([[[[1, 0, 0, 0], [1, 1, 0, 0]]]], bool)
    np.testing.assert_array_equal(pooled(spikes, "max"), [[[[True, False]]]])
    np.testing.assert_array_equal(pooled(spikes, "average"), [[[[0.75, 0]]]])


def test_what_float32_would_round_is_refused():
    network = Network(np.array([[255]], np.uint8), 2000, (np.array([[-127]], np.int8),), (10,))
    with pytest.raises(BadInput, match="coarser grid"):
        run(network)
