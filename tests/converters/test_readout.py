import numpy as np
import pytest

from converters.quantise import Quantised
from converters.readout import check_classes, real
from neuro.activations import Function
from neuro.errors import BadInput
from neuro.graph import Graph, Node
from neuro.layers import Activation, Dense, Input, Scale


def test_membranes_become_outputs():
    nodes = (Node("in", Input((2,))), Node("w", Dense(np.eye(2), None), ("in",)))
    integer = Graph("n", (*nodes, Node("out", Scale(np.ones(2, np.int64), np.zeros(2, np.int64)), ("w",))))
    form = Quantised(integer, {"out": np.array([0.5, 0.5])}, {"out": np.array([0.0, 1.0])})
    assert real(Graph("n", nodes), form, np.array([[4, -2]])).tolist() == [[2.0, 0.0]]
    squashed = Graph("n", (*nodes, Node("s", Activation(Function("sigmoid")), ("w",))))
    np.testing.assert_allclose(real(squashed, form, np.array([[0, -2]])), [[0.5, 0.5]])


@pytest.mark.parametrize(
    ("labels", "outputs", "told"),
    [
        ([0, 13, 99], 4, "y holds class 13; the network has 4 outputs, which tell 0 to 3 apart"),
        ([0, 2], 1, "y holds class 2; the network has 1 output, which tells 0 to 1 apart"),
        ([-1], 3, "y holds class -1; the network has 3 outputs"),
    ],
)
def test_classes_beyond_the_outputs(labels, outputs, told):
    with pytest.raises(BadInput, match=told):
        check_classes(np.array(labels), outputs, "y")


def test_classes_that_the_outputs_tell_apart():
    check_classes(np.array([0, 1]), 1, "y")
    check_classes(np.arange(4), 4, "y")
    check_classes(np.zeros(0, np.int64), 4, "y")
