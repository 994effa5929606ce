"""Pieces of Brian2 code taken apart."""

from converters.brian2_neurons import _after
from converters.brian2_values import names, statements


def test_statements_and_names():
    code = "v = 0  # reset\nw += 2*b; g -= c"
    assert list(statements(code)) == [("v", "=", "0"), ("w", "+=", "2*b"), ("g", "-=", "c")]
    assert list(statements("v + 1")) == [("v + 1", "", "")]
    assert names("a * exp(-t / tau)") == {"a", "exp", "t", "tau"}


def test_a_step_of_two_linear_equations():
    """x' = -x + y, y' = -2 y by Euler's method over a tenth: 0.9 of x, 0.1 of y, and 0.8 of y are kept."""
    assert [round(float(each[0]), 12) for each in _after(-1.0, 1.0, -2.0, 0.1, 1, "euler")] == [0.9, 0.1, 0.8]
