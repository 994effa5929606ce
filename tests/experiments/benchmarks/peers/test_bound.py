"""The event bound and the plain products, counted by hand."""

import numpy as np

from experiments.benchmarks.peers.bound import Rates, inside, seconds, work
from experiments.benchmarks.peers.network import Network
from experiments.benchmarks.peers.reference import run


def test_dense_layers_by_hand():
    network = Network(np.zeros((2, 5), np.uint8), 3, (np.zeros((7, 5)), np.zeros((4, 7))), (1, 1))
    found = work(network, [10, 6])
    assert found.products == 2 * 5 * 7 + 2 * 3 * 7 * 4
    assert found.operations == 10 * 4
    assert found.updates == 2 * 3 * (7 + 4)
    assert found.rows == ((2, 5, 7), (6, 7, 4))


def test_convolution_reaches_as_many_as_lie_inside():
    """Every neuron of a 4x6 picture fires once: the number of taps that fall inside, counted one by one."""
    one = np.ones((1, 1, 4, 6))
    taps = sum(
        0 <= r + i < 4 and 0 <= c + j < 6
        for r in range(4) for c in range(6) for i in (-1, 0, 1) for j in (-1, 0, 1)
    )  # fmt: skip
    assert round(9 * inside((1, 4, 6)) * 24) == taps
    weights = (np.eye(9)[4].reshape(1, 1, 3, 3), np.ones((5, 1, 3, 3)), np.ones((2, 5 * 6)))
    network = Network(one, 1, weights, (1, 1, 1), (1,))
    found = work(network, run(network).events)
    assert found.operations == taps * 5 + 30 * 2
    assert found.rows == ((24, 9, 1), (24, 9, 5), (1, 30, 2))


def test_seconds():
    network = Network(np.zeros((2, 5), np.uint8), 3, (np.zeros((7, 5)), np.zeros((4, 7))), (1, 1))
    assert seconds(work(network, [10, 6]), 2, Rates(bandwidth=100.0, update=0.5)) == 40 * 2 / 100 + 66 * 0.5
