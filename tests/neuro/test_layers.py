"""Shapes of operators by hand, and what does not fit."""

import numpy as np
import pytest

from neuro.activations import Function
from neuro.layers import (
    Activation,
    Add,
    AvgPool,
    Concat,
    Conv,
    Dense,
    Embedding,
    Input,
    MaxPool,
    MultiThreshold,
    Pad,
    Relu,
    Reshape,
    Scale,
    Softmax,
    SumPool,
    Threshold,
    Transpose,
    arity,
    output_shape,
)

Z2 = ((0, 0), (0, 0))


def conv(shape, stride=(1, 1), pads=Z2, groups=1, bias=None) -> Conv:
    return Conv(np.zeros(shape), bias, stride, pads, groups)


def threshold(th, bias=0, levels=3) -> Threshold:
    return Threshold(np.asarray(th), np.asarray(bias), levels)


def steps(thresholds, signs, levels=2) -> MultiThreshold:
    zero = np.zeros(1, np.int64)
    return MultiThreshold(np.array(thresholds), np.array(signs), zero, zero, levels)


@pytest.mark.parametrize(
    ("op", "inputs", "shape"),
    [
        (Input((2, 3)), [], (2, 3)),
        (conv((8, 3, 3, 3), pads=((1, 1), (1, 1))), [(3, 5, 7)], (8, 5, 7)),
        (conv((8, 3, 3, 2), (2, 3), ((0, 1), (2, 0))), [(3, 6, 8)], (8, 3, 3)),  # (7-3)//2+1, (10-2)//3+1
        (conv((6, 1, 3, 3), groups=3), [(3, 3, 3)], (6, 1, 1)),
        (Conv(np.zeros((2, 4, 5)), np.zeros(2), (2,), ((0, 0),)), [(4, 9)], (2, 3)),
        (Dense(np.zeros((5, 4)), np.zeros(5)), [(4,)], (5,)),
        (MaxPool((2, 2), (2, 2), Z2), [(3, 5, 4)], (3, 2, 2)),
        (AvgPool((5, 4), (1, 1), Z2), [(3, 5, 4)], (3, 1, 1)),
        (SumPool((3, 3), (2, 2), ((1, 1), (1, 1))), [(3, 5, 4)], (3, 3, 2)),
        (Scale(np.zeros((3, 1, 1)), np.zeros(())), [(3, 5, 4)], (3, 5, 4)),
        (threshold(np.ones((3, 1, 1), int), np.zeros((3, 5, 4), int)), [(3, 5, 4)], (3, 5, 4)),
        (Relu(), [(3,)], (3,)),
        (Softmax(), [(3,)], (3,)),
        (Add(), [(2, 3), (2, 3)], (2, 3)),
        (Conv(np.zeros((2, 1, 3, 2)), None, (2, 1), Z2, 1, (2, 3)), [(1, 9, 6)], (2, 3, 3)),  # spans 5 and 4
        (Activation(Function("elu", (1.0,))), [(2, 3)], (2, 3)),
        (Embedding(np.zeros((7, 4))), [(5,)], (5, 4)),
        (Concat(0), [(2, 3), (1, 3), (4, 3)], (7, 3)),
        (Concat(1), [(2, 3), (2, 1)], (2, 4)),
        (steps([[1], [4]], [1, -1]), [(3, 2)], (3, 2)),
        (Reshape((6, 1)), [(2, 3)], (6, 1)),
        (Transpose((2, 0, 1)), [(2, 3, 4)], (4, 2, 3)),
        (Pad(((0, 0), (1, 2))), [(2, 3)], (2, 6)),
    ],
    ids=lambda v: type(v).__name__,
)
def test_shape(op, inputs, shape):
    assert output_shape(op, inputs) == shape
    fewest, most = arity(op)
    assert fewest <= len(inputs) <= most


@pytest.mark.parametrize(
    ("op", "inputs", "message"),
    [
        (Input(()), [], "is empty"),
        (Input((3, 0)), [], "is empty"),
        (conv((8, 3, 3, 3)), [(4, 5, 5)], "does not fit an input"),
        (conv((8, 3, 3, 3)), [(3, 5)], "does not fit an input"),
        (conv((8, 3, 3, 3)), [(3, 2, 5)], "is empty"),
        (conv((4, 1, 1, 1), groups=3), [(3, 5, 5)], "3 group"),
        (conv((8, 3, 3, 3), bias=np.zeros(7)), [(3, 5, 5)], "bias .7,. does not fit 8"),
        (conv((8, 3, 3, 3), stride=(1,)), [(3, 5, 5)], "do not fit a map"),
        (Dense(np.zeros((5, 4)), None), [(3,)], "does not fit an input"),
        (Dense(np.zeros((5, 4)), None), [(4, 1)], "does not fit an input"),
        (Dense(np.zeros((5, 4)), np.zeros((5, 1))), [(4,)], "does not fit 5"),
        (MaxPool((2,), (2,), ((0, 0),)), [(3, 5, 4)], "do not fit a map"),
        (MaxPool((6, 2), (1, 1), Z2), [(3, 5, 4)], "is empty"),
        (Scale(np.zeros((4, 1, 1)), np.zeros(())), [(3, 5, 4)], "mismatch|do not fit"),
        (Scale(np.zeros((2, 3, 5, 4)), np.zeros(())), [(3, 5, 4)], "do not fit"),
        (threshold(0), [(3,)], "at least 1"),
        (threshold(1, levels=0), [(3,)], "at least 1"),
        (threshold(np.ones((3, 1), int)), [(3,)], "do not fit"),
        (Add(), [(3,), (4,)], "cannot be added"),
        (Reshape((4,)), [(3,)], "cannot be reshaped"),
        (Reshape((-1, -3)), [(3,)], "is empty"),
        (Transpose((0, 0)), [(3, 2)], "does not permute"),
        (Transpose((1, 0)), [(3,)], "does not permute"),
        (Pad(((0, 0),)), [(3, 2)], "do not fit"),
    ],
    ids=lambda v: type(v).__name__ if not isinstance(v, str) else "",
)
def test_misfit_is_refused(op, inputs, message):
    with pytest.raises(ValueError, match=message):
        output_shape(op, inputs)


def test_what_is_no_operator_is_refused():
    with pytest.raises(TypeError):
        output_shape("relu", [(3,)])
