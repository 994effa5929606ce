"""Levels fitted to membranes: biases taken out, ranges that drift, levels that keep within the function."""

import numpy as np
import pytest

from converters.grids import fitted, widest
from converters.staircase import LINEAR
from neuro.activations import Function


def test_a_shift_of_what_arrives_is_taken_out():
    rng = np.random.default_rng(0)
    wanted = np.maximum(rng.normal(size=(400, 2)), 0).astype(np.float32)
    arriving = (wanted - np.array([0.2, 0.0])).astype(np.float32)
    wanted = wanted + np.float32(0.5)  # always on, so that the shift is seen everywhere
    arriving = arriving + np.float32(0.5)
    grid, added = fitted(LINEAR, arriving, wanted, widest(LINEAR, wanted, 31))
    assert added == pytest.approx([0.2, 0.0], abs=0.03)
    assert (grid.low == 0).all()


def test_outliers_are_cut_off_with_few_levels():
    wanted = np.concatenate([np.full((500, 1), 0.2), np.ones((1, 1)), np.full((499, 1), 0.2)]).astype(np.float32)
    grid, _ = fitted(LINEAR, wanted, wanted, widest(LINEAR, wanted, 1))
    assert grid.low[0] + grid.unit[0] < 0.5


def test_a_range_that_moves_is_widened_by_as_much():
    """Values up to 1 in the first half of the items and up to 2 in the second: 3 may come if items are few."""
    ramp = np.linspace(0, 1, 50, dtype=np.float32)
    still, moving = (np.concatenate([ramp, k * ramp])[:, None] for k in (np.float32(1), np.float32(2)))
    tops = [fitted(LINEAR, v, v, widest(LINEAR, v, 63))[0] for v in (still, moving)]
    assert (tops[0].unit * 63)[0] == pytest.approx(1, abs=0.05)
    assert (tops[1].unit * 63)[0] == pytest.approx(3, abs=0.1)


def test_a_single_item_shows_no_drift():
    """As far as it is known, its values are the range: the largest stays the highest level."""
    wanted = np.array([[1.0, 2.0]])
    function = Function("clip", (0.0, 3.0))
    grid, added = fitted(function, wanted, wanted, widest(function, wanted, 15))
    np.testing.assert_allclose(grid.low, 0)
    np.testing.assert_allclose(grid.low + 15 * grid.unit, [1.0, 2.0], rtol=0.1)
    assert np.abs(added).max() < 0.1


def test_a_signed_function_starts_at_its_lowest_value():
    function = Function("elu", (1.0,))
    values = np.linspace(3, 5, 200, dtype=np.float32)[:, None]
    grid = widest(function, values, 15)
    assert grid.low[0] == pytest.approx(3)
    assert grid.low[0] + 15 * grid.unit[0] == pytest.approx(5)
    assert widest(LINEAR, values, 15).low[0] == 0
    silent = widest(LINEAR, np.concatenate([values, 0 * values], axis=1), 15)
    assert silent.unit[1] == silent.unit[0]
