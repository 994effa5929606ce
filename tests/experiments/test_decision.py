"""Classes and errors from outputs."""

from dataclasses import replace

import numpy as np
import pytest

from experiments import decision
from experiments.datasets import data
from experiments.datasets.arrays import Arrays
from neuro.activations import Function
from neuro.graph import Graph, Node
from neuro.layers import Activation, Dense, Input


def network(outputs: int, *last) -> Graph:
    nodes = [Node("in", Input((2,))), Node("out", Dense(np.ones((outputs, 2)), None), ("in",))]
    nodes += [Node(f"f{i}", op, (nodes[-1].name,)) for i, op in enumerate(last)]
    return Graph("net", tuple(nodes))


def test_classes():
    values = np.array([[0.2, 0.4], [-1.0, -2.0]])
    assert decision.classes(network(2), values).tolist() == [1, 0]
    one = np.array([[0.3], [0.6], [-0.1]])
    assert decision.classes(network(1), one).tolist() == [1, 1, 0]
    assert decision.classes(network(1, Activation(Function("sigmoid"))), one).tolist() == [0, 1, 0]


def test_accuracy_and_error():
    x = np.random.default_rng(0).random((4, 2)).astype(np.float32)
    classified = data.from_arrays("c", Arrays(x, np.array([0, 1, 1, 0]), x, ""))
    assert decision.accuracy(np.array([0, 1, 0, 0]), classified) == 0.75
    assert decision.error(np.zeros((4, 1)), classified) is None
    regressed = replace(data.from_arrays("r", Arrays(x, np.array([1.0, 2, 3, 4]), x, "")), unit="degree")
    assert decision.accuracy(np.zeros(4), regressed) is None
    found = decision.error(np.array([[1.0], [2.0], [3.0], [2.0]]), regressed)
    assert found == {"rmse": pytest.approx(1.0), "mae": pytest.approx(0.5), "unit": "degree"}


def test_a_paired_interval_by_hand():
    """100 items, 6 lost and 2 won: drop 4 points, variance (8 - 16/100) / 100^2."""
    first = np.array([True] * 90 + [False] * 10)
    second = first.copy()
    second[:6], second[-2:] = False, True
    drop, low, high = decision.paired(first, second)
    assert drop == pytest.approx(4)
    assert (high - low) / 2 == pytest.approx(1.959964 * 7.84**0.5, rel=1e-5)
    assert decision.paired(first, first)[2] == pytest.approx(1.959964, rel=1e-5)
