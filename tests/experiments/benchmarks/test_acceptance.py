"""The acceptance benchmark: its interval, and a run on a network trained for two epochs."""

import numpy as np
import pytest

from experiments.benchmarks.acceptance import CNN, Row, paired, small, table


def test_a_paired_interval_by_hand():
    """100 items, 6 lost and 2 won: drop 4 points, variance (8 - 16/100) / 100^2."""
    first = np.array([True] * 90 + [False] * 10)
    second = first.copy()
    second[:6], second[-2:] = False, True
    drop, low, high = paired(first, second)
    assert drop == pytest.approx(4)
    assert (high - low) / 2 == pytest.approx(1.959964 * 7.84**0.5, rel=1e-5)
    assert paired(first, first)[2] == pytest.approx(1.959964, rel=1e-5)  # no change seen is not no change possible


def test_bounds_are_judged():
    row = Row("n", "m", 1.0, 0.5, 1.5, 1.0, 0.1)
    assert row.passed
    assert Row("n", "m", 1.1, 0.5, 1.5, 1.0, 0.1).passed is False
    assert Row("n", "m", 1.1, 0.5, 1.5, None, 0.1).passed is None
    assert table([row]).row_count == 1


def test_a_network_of_two_epochs_runs_exactly():
    (row,) = small("mlp", CNN[:1], 1, epochs=2)
    assert abs(row.drop) < 10
    assert row.events > 0
