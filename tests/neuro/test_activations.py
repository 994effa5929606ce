"""Functions against their textbook form in float64, their declared shape, and where they cross a value."""

from math import erf, exp, inf, log1p, sqrt, tanh

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro.activations import ODD, PARAMETERS, TURNS, Function

EXAMPLES = {
    "clip": (-1.0, 6.0), "leaky_relu": (0.2,), "elu": (1.5,), "selu": (1.67, 1.05), "hard_sigmoid": (0.2, 0.5),
    "bipolar": (0.5,), "quantise": (0.25, 3.0, -4.0, 11.0),
}  # fmt: skip
FORMULAS = {
    "clip": lambda x: min(max(x, -1), 6),
    "leaky_relu": lambda x: x if x > 0 else 0.2 * x,
    "elu": lambda x: x if x > 0 else 1.5 * (exp(x) - 1),
    "selu": lambda x: 1.05 * (x if x > 0 else 1.67 * (exp(x) - 1)),
    "sigmoid": lambda x: 1 / (1 + exp(-x)),
    "tanh": tanh,
    "hard_sigmoid": lambda x: min(max(0.2 * x + 0.5, 0), 1),
    "softplus": lambda x: log1p(exp(-abs(x))) + max(x, 0),
    "softsign": lambda x: x / (1 + abs(x)),
    "hard_swish": lambda x: x * min(max(x + 3, 0), 6) / 6,
    "silu": lambda x: x / (1 + exp(-x)),
    "gelu": lambda x: x * (1 + erf(x / sqrt(2))) / 2,
    "gelu_tanh": lambda x: x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x**3))) / 2,
    "mish": lambda x: x * tanh(log1p(exp(-abs(x))) + max(x, 0)),
    "sign": lambda x: int(x > 0) - int(x < 0),
    "bipolar": lambda x: 0.5 if x >= 0 else -0.5,
    "quantise": lambda x: 0.25 * (min(max(round(x / 0.25) + 3, -4), 11) - 3),
}
EVERY = [Function(name, EXAMPLES.get(name, ())) for name in PARAMETERS]
GRID = np.linspace(-20, 20, 4001)


@pytest.mark.parametrize("function", EVERY, ids=lambda f: f.name)
def test_values(function):
    want = np.array([FORMULAS[function.name](x) for x in GRID])
    np.testing.assert_allclose(function.exact(GRID), want, atol=1e-13)
    off = GRID + 0.0031 if function.steps else GRID  # float32 may fall on the other side of a jump
    got = np.asarray(function(jnp.asarray(off, jnp.float32)))
    np.testing.assert_allclose(got, function.exact(off.astype(np.float32)), atol=4e-6, rtol=4e-6)


@pytest.mark.parametrize("function", EVERY, ids=lambda f: f.name)
def test_declared_shape(function):
    y = function.exact(GRID)
    assert y.min() >= function.low - 1e-12
    assert y.max() <= function.high + 1e-12
    if function.low > -inf:
        assert function.exact(function.turn or -9e3) == pytest.approx(function.low, abs=2e-4)
    falling = GRID[1:] <= (function.turn or -inf)
    assert (np.diff(y)[~falling & (GRID[:-1] >= (function.turn or -inf))] >= -1e-12).all()
    assert (np.diff(y)[falling] <= 1e-12).all()
    assert falling.any() == (function.name in TURNS)
    if function.name in ODD:
        np.testing.assert_allclose(function.exact(-GRID[GRID != 0]), -function.exact(GRID[GRID != 0]), atol=1e-14)
    if function.steps:
        assert len(np.unique(y.round(9))) == function.steps + 1


@pytest.mark.parametrize("function", EVERY, ids=lambda f: f.name)
def test_crossings_are_where_the_value_is_reached(function):
    low, high = function.exact(GRID).min(), function.exact(GRID).max()
    values = np.linspace(low, high, 17)[1:-1] + 1e-3
    x = function.crossings(values)
    assert (function.exact(x + 1e-12 * bool(function.steps)) >= values - 1e-9).all()
    assert (function.exact(x - 1e-6) <= values + 1e-5).all()


def test_crossings_by_hand():
    assert Function("elu", (1.0,)).crossings(np.array([-2.0, 3.0])).tolist() == pytest.approx([-inf, 3.0])
    assert Function("tanh").crossings(np.array([1.5]))[0] == inf
    assert Function("sign").crossings(np.array([-0.5, 0.5, 1.5])).tolist() == [0, 0, inf]
    assert Function("quantise", (0.5, 1.0, 0.0, 3.0)).crossings(np.array([0.25]))[0] == pytest.approx(0.25)
    falls = Function("silu").crossings(np.array([-0.1, 0.1]), rising=False)
    assert falls[0] / (1 + np.exp(-falls[0])) == pytest.approx(-0.1)
    assert falls[0] < TURNS["silu"]
    assert falls[1] == -inf  # the falling branch stays below zero


@given(st.floats(-50, 50))
def test_turns_are_minima(x):
    for name, turn in TURNS.items():
        function = Function(name)
        assert function.exact(x) >= function.exact(turn) - 1e-15


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("swoosh", (), "unknown function 'swoosh'"),
        ("elu", (), "takes 1 parameter"),
        ("elu", (-1.0,), "out of range"),
        ("clip", (6.0, 0.0), "out of range"),
        ("leaky_relu", (1.5,), "out of range"),
        ("bipolar", (0.0,), "out of range"),
        ("hard_sigmoid", (inf, 0.0), "finite"),
        ("elu", (float("nan"),), "takes 1 parameter"),
        ("quantise", (1.0, 0.0, 4.0, 4.0), "out of range"),
    ],
)
def test_refused(name, parameters, message):
    with pytest.raises(ValueError, match=message):
        Function(name, parameters)
