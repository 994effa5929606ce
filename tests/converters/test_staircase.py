"""Neurons of any function, against the nearest level of the function itself, membrane by membrane."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.staircase import Grid, function_of, grid, is_straight, neurons, straight
from neuro.activations import PARAMETERS, Function
from neuro.evaluate import apply
from neuro.layers import Activation, MultiThreshold, Relu, Threshold
from tests.neuro.test_activations import EXAMPLES

EVERY = [Function(name, EXAMPLES.get(name, ())) for name in PARAMETERS]
RELU = function_of(Relu())


def nearest(function: Function, levels: Grid, x: np.ndarray) -> np.ndarray:
    """The level nearest to f(x), halves upwards; x [value, channel]."""
    return np.clip(np.floor((function.exact(x) - levels.low) / levels.unit + 0.5), 0, levels.levels)


def fired(op, membrane: np.ndarray) -> np.ndarray:
    return np.asarray(apply(op, jnp.asarray(membrane, jnp.float32)))


@pytest.mark.parametrize("function", EVERY, ids=lambda f: f.name)
@pytest.mark.parametrize("levels", [1, 2, 15, 40])
def test_every_membrane_gives_the_nearest_level(function, levels):
    rng = np.random.default_rng(levels)
    bottom = max(function.low, -2.0)
    own = Grid(np.array([bottom, bottom + 0.01, bottom]), np.array([0.9, 0.05, 0.31]) * min(4, 1) / levels * 4, levels)
    scale, shift = np.array([0.011, 0.02, 0.037]), rng.normal(size=3)
    if is_straight(function, own):
        pytest.skip("rounded to equal steps: see below")
    membrane = np.arange(-600, 601)[:, None] * np.ones(3, np.int64)
    op = neurons(function, own, scale, shift, 600)
    x = shift + scale * membrane
    want = nearest(function, own, x)
    edge = np.abs((function.exact(x) - own.low) / own.unit + 0.5) % 1  # a value on the border may go either way
    clear = np.minimum(edge, 1 - edge) > 1e-6
    assert clear.mean() > 0.5
    np.testing.assert_array_equal(fired(op, membrane)[clear], want[clear])
    bound = np.abs(op.thresholds if isinstance(op, MultiThreshold) else op.bias).max()
    assert bound <= 601  # no threshold needs more bits than the membrane


@given(
    st.floats(-3, 3), st.floats(0.02, 0.5), st.integers(2, 63), st.floats(-2, 0), st.sampled_from([RELU, EVERY[0]])
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_straight_functions_are_off_by_the_rounding_of_the_threshold_alone(shift, unit, levels, low, function):
    low = max(low, function.low)
    own = Grid(np.array([low]), np.array([unit]), levels)
    scale = np.array([0.004])
    op = neurons(function, own, scale, np.array([shift]), 10**6)
    assert isinstance(op, Threshold)
    membrane = np.arange(-2000, 2001)[:, None]
    want = np.clip(np.floor((shift + scale * membrane - low) / unit + 0.5), 0, levels)
    threshold = op.threshold.item()
    off, bias = abs(threshold * scale.item() / unit - 1), (shift - low) / unit  # in levels
    farthest = max(abs(bias), abs(levels - bias))  # of a membrane without its bias
    rounding = off * farthest + (1 + off) / (2 * threshold)  # of the threshold, and of the bias to whole numbers
    assert np.abs(fired(op, membrane) - want).max() < rounding + 1 + 1e-9


def test_a_map_of_shifts_becomes_a_map_of_biases():
    own = Grid(np.array([-1.0, -1.0]), np.array([0.25, 0.25]), 8)
    shift = np.array([[0.0, 0.5, -0.5], [0.1, 0.1, 0.1]])
    op = neurons(Function("tanh"), own, np.array([0.01, 0.01]), shift, 500)
    assert isinstance(op, MultiThreshold)
    assert op.bias.tolist() == [[0, 50, -50], [10, 10, 10]]
    values = fired(op, np.zeros((1, 2, 3)))
    np.testing.assert_array_equal(values[0], np.floor((np.tanh(shift) + 1) / 0.25 + 0.5))


def test_by_hand():
    """x = V / 2: bipolar turns at V = 0, sign at 0 and 1; round(0.5) = 0, round(1.5) = 2 and round(2.5) = 2."""
    half, zero = np.array([0.5]), np.array([0.0])
    op = neurons(Function("bipolar", (3.0,)), Grid(np.array([-3.0]), np.array([6.0]), 1), half, zero, 9)
    assert fired(op, np.array([[-1], [0], [1]])).ravel().tolist() == [0, 1, 1]
    op = neurons(Function("sign"), Grid(np.array([-1.0]), np.array([1.0]), 2), half, zero, 9)
    assert fired(op, np.array([[-1], [0], [1]])).ravel().tolist() == [0, 1, 2]
    own = Function("quantise", (1.0, 0.0, 0.0, 3.0))
    op = neurons(own, Grid(np.array([0.0]), np.array([1.0]), 3), half, zero, 9)
    assert isinstance(op, MultiThreshold)
    assert op.thresholds.ravel().tolist() == [2, 3, 6]


def test_levels_are_the_networks_own_or_chosen():
    rng = np.random.default_rng(0)
    x = np.asarray(rng.normal(size=(200, 2, 3)) * np.array([1, 5])[None, :, None], np.float32)
    own = Function("quantise", (0.5, 2.0, 0.0, 7.0))
    kept = grid(own, own(x), 15, keep=True)
    assert (kept.low == -1.0).all()
    assert (kept.unit == 0.5).all()
    assert kept.levels == 7
    chosen = grid(own, own(x), 3, keep=False)
    assert chosen.levels == 3
    assert (chosen.low + 3 * chosen.unit <= own.high + 1e-9).all()
    elu = Function("elu", (1.0,))
    found = grid(elu, elu(x), 15, keep=True)
    assert (found.low >= -1).all()
    assert found.low[1] < -0.95
    assert found.unit[1] > 2 * found.unit[0]
    assert (grid(RELU, np.maximum(x, 0), 15, keep=True).low == 0).all()


def test_straight_is_the_papers_rule():
    """th = round(s_out / s_w), B = round(b / s_out th)."""
    op = straight(Grid(np.array([0.0]), np.array([0.3]), 15), np.array([0.01]), np.array([0.45]))
    assert (op.threshold.item(), op.bias.item()) == (30, 45)
    assert function_of(Activation(Function("tanh"))) == Function("tanh")
