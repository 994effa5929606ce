import numpy as np

from converters.quantise import Quantised
from converters.readout import real
from neuro.activations import Function
from neuro.graph import Graph, Node
from neuro.layers import Activation, Dense, Input, Scale


def test_membranes_become_outputs():
    nodes = (Node("in", Input((2,))), Node("w", Dense(np.eye(2), None), ("in",)))
    integer = Graph("n", (*nodes, Node("out", Scale(np.ones(2, np.int64), np.zeros(2, np.int64)), ("w",))))
    form = Quantised(integer, {"out": np.array([0.5, 0.5])}, {"out": np.array([0.0, 1.0])})
    assert real(Graph("n", nodes), form, np.array([[4, -2]])).tolist() == [[2.0, 0.0]]
    squashed = Graph("n", (*nodes, Node("s", Activation(Function("sigmoid")), ("w",))))
    np.testing.assert_allclose(real(squashed, form, np.array([[0, -2]])), [[0.5, 0.5]])
