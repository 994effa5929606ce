"""Pieces of Brian2 code taken apart."""

from types import SimpleNamespace

import pytest

from converters.brian2_neurons import _after
from converters.brian2_values import NotConstant, Scope, names, statements

brian2 = pytest.importorskip("brian2")
pytestmark = [
    pytest.mark.timeout(300),  # importing Brian2 takes long
    pytest.mark.filterwarnings("ignore::DeprecationWarning:brian2"),  # it calls pyparsing by names of old
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyparsing"),
]


def test_statements_and_names():
    code = "v = 0  # reset\nw += 2*b; g -= c"
    assert list(statements(code)) == [("v", "=", "0"), ("w", "+=", "2*b"), ("g", "-=", "c")]
    assert list(statements("v + 1")) == [("v + 1", "", "")]
    assert names("a * exp(-t / tau)") == {"a", "exp", "t", "tau"}


def test_a_step_of_two_linear_equations():
    """x' = -x + y, y' = -2 y by Euler's method over a tenth: 0.9 of x, 0.1 of y, and 0.8 of y are kept."""
    assert [round(float(each[0]), 12) for each in _after(-1.0, 1.0, -2.0, 0.1, 1, "euler")] == [0.9, 0.1, 0.8]


def test_what_is_no_expression_is_said():
    for code in ("(w +", "w = 2", ""):
        with pytest.raises(NotConstant, match="is no expression; write each statement on one line"):
            names(code)


def test_names_mean_what_they_mean_to_brian2():
    """Constants and units come before the user's names, functions are none, the group's own come before others."""
    group = SimpleNamespace(variables={}, namespace={"a": 2.0, "ms": 7.0})
    scope = Scope(group, {"a": 3.0, "b": 5.0, "e": 1.0, "pi": 3.0, "mV": 1.0, "tan": 4.0})
    assert float(scope.of("a * b")) == 10
    assert float(scope.of("e")) == pytest.approx(2.718281828459045)
    assert float(scope.of("pi * ms * mV")) == pytest.approx(3.141592653589793e-6)
    with pytest.raises(NotConstant, match="tan is Function, no constant"):
        scope.of("tan")


def test_numbers_of_neurons_are_values():
    cells = brian2.NeuronGroup(5, "v : 1", threshold="v > 1", reset="v = 0")
    edge = brian2.Synapses(cells[:2], cells, on_pre="v_post += 1")
    edge.connect()
    assert float(Scope(cells, {}).of("1 / N")) == 0.2
    assert float(Scope(edge, {}).of("N + N_pre / N_post")) == 10.4
    brian2.Network(cells, edge)
