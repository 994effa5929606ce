"""Functions that several operators make up: executed, cut, and recognised."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from converters.importers.pointwise import Expression, View, cuts, execute, numbers, parts, recognised
from neuro.activations import PARAMETERS, Function
from neuro.layers import Activation, Relu, Scale

X = View("x", (0,), (4,))


def expression(op: str, *operands) -> Expression:
    return Expression(op, operands, X, op)


def test_execution_by_hand():
    """max(2x + 1, 0) - x at -1, 0, 3 is 0 + 1, 1 - 0, 7 - 3."""
    line = expression("add", expression("mul", X, 2.0), 1.0)
    whole = expression("sub", expression("max", line, 0.0), X)
    assert execute(whole, X, np.array([-1.0, 0.0, 3.0])).tolist() == [1, 1, 4]
    assert [p.op for p in parts(whole)] == ["mul", "add", "max", "sub"]


def test_execution_from_a_part_on():
    line = expression("add", expression("mul", X, 2.0), 1.0)
    assert execute(expression("max", line, 0.0), line, np.array([-5.0, 5.0])).tolist() == [0, 5]


def test_cuts_are_the_parts_that_all_ways_lead_through():
    line = expression("mul", X, 2.0)
    gate = expression("logistic", line)
    product = expression("mul", line, gate)
    assert list(cuts(expression("add", product, 1.0))) == [X, line, product]
    assert list(cuts(expression("add", product, X))) == [X]


FUNCTIONS = {
    "clip": (-1.0, 2.5), "leaky_relu": (0.2,), "elu": (0.7,), "selu": (1.6732632, 1.050701), "bipolar": (0.3,),
    "hard_sigmoid": (0.2, 0.5),
}  # fmt: skip


@pytest.mark.parametrize("name", [n for n in PARAMETERS if n != "quantise"])
def test_every_function_is_told_from_the_others(name):
    function = Function(name, FUNCTIONS.get(name, ()))
    (found,) = recognised(function.exact)
    assert isinstance(found, Activation)
    assert found.function.name == name
    assert found.function.parameters == pytest.approx(function.parameters, rel=1e-6)


@examples(max_examples=30, deadline=None)
@given(st.floats(0.01, 0.99), st.floats(0.1, 4), st.floats(0.1, 4))
def test_parameters_are_read_off(slope, alpha, gain):
    for function in (Function("leaky_relu", (slope,)), Function("elu", (alpha,)), Function("selu", (alpha, gain)),
                     Function("clip", (-alpha, gain))):  # fmt: skip
        (found,) = recognised(function.exact)
        assert found.function.exact(np.linspace(-9, 9, 50)) == pytest.approx(
            function.exact(np.linspace(-9, 9, 50)), abs=1e-5
        )


def test_lines_and_relu():
    assert recognised(lambda x: x * 1.0) == ()
    (scale,) = recognised(lambda x: 3 - 2 * x)
    assert isinstance(scale, Scale)
    assert (scale.factor, scale.offset) == (-2, 3)
    assert recognised(lambda x: np.maximum(x, 0)) == (Relu(),)
    with np.errstate(over="ignore"):  # infinite from 710 on
        assert recognised(lambda x: np.log(1 + np.exp(x))) == (Activation(Function("softplus")),)


@pytest.mark.parametrize(
    "function",
    [np.sin, lambda x: x**2, lambda x: np.maximum(x, 0) * 1.001, lambda x: x * Function("sigmoid").exact(1.702 * x),
     lambda x: np.where(x > 0, x, -0.1 * x), lambda x: 1 / x, lambda x: np.tanh(x) + 1e-5, np.sqrt],
)  # fmt: skip
def test_what_is_no_such_function(function):
    with np.errstate(all="ignore"):
        assert recognised(function) is None


@pytest.mark.parametrize("step", [1 / 40, 1 / 80, 1 / 200, 1 / 16, 0.1, 1 / 255])
def test_steps_do_not_hide_between_the_points(step):
    assert recognised(lambda x: np.clip(np.round(x / step) * step, 0, 1)) is None
    assert recognised(lambda x: np.maximum(np.floor(x / step + 0.5) * step, 0)) is None


def test_jumps_and_bounds_at_written_numbers_are_seen():
    small = expression("where", expression("gt", X, 1e-3), X, 0.0)  # x where it is above 0.001, else 0
    scaled = expression("where", expression("gt", expression("mul", X, 50.0), 1e-3), X, 0.0)
    single = expression("add", X, expression("eq", X, 0.123))  # one value alone is changed
    for part in (small, scaled, single):
        assert recognised(lambda x, part=part: execute(part, X, x), numbers(part, X)) is None
    far = expression("min", X, 20000.0)
    assert numbers(far, X) == [20000.0]
    (found,) = recognised(lambda x: execute(far, X, x), numbers(far, X))
    assert found == Activation(Function("clip", (-np.inf, 20000.0)))
