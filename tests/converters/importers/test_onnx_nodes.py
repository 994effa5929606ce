"""Operators one by one, with results derived by hand; `test_from_onnx.py` holds them against ONNX Runtime."""

import numpy as np
import pytest

from converters.importers.onnx_call import Call, NotKnown, Refused, Stream, Unknown
from converters.importers.onnx_nodes import convert
from neuro.layers import Add, AvgPool, Conv, Dense, MaxPool, Relu, Reshape, Scale


def call(op: str, *inputs, opset: int = 13, last: bool = True, **attributes) -> Call:
    return Call(op, attributes, inputs, opset, last)


MAP = Stream("before", (2, 5, 6))
WEIGHT = np.ones((4, 2, 3, 2), np.float32)


@pytest.mark.parametrize(
    ("mode", "pads"),
    [
        # Rows: 5 by strides of 2 make 3 windows, which need 2·2 + 3 = 7 of them: one on either side.
        # Columns: 6 by strides of 1 make 6 windows, which need 5 + 2 = 7: one, at the end or at the start.
        (b"SAME_UPPER", ((1, 1), (0, 1))),
        (b"SAME_LOWER", ((1, 1), (1, 0))),
        (b"VALID", ((0, 0), (0, 0))),
    ],
)
def test_derived_pads(mode, pads):
    (op,) = convert(call("Conv", MAP, WEIGHT, auto_pad=mode, strides=[2, 1]))
    assert isinstance(op, Conv)
    assert (op.pads, op.stride, op.groups, op.bias) == (pads, (2, 1), 1, None)


def test_derived_pads_are_never_negative():
    (op,) = convert(call("MaxPool", MAP, kernel_shape=[1, 1], strides=[3, 3], auto_pad=b"SAME_UPPER"))
    assert op == MaxPool((1, 1), (3, 3), ((0, 0), (0, 0)))


def test_attributes_are_judged_where_the_input_is_not_known():
    lost = Stream("refused", None)
    with pytest.raises(Refused, match="dilations"):
        convert(call("MaxPool", lost, kernel_shape=[2, 2], dilations=[1, 2]))
    with pytest.raises(NotKnown):
        convert(call("Conv", lost, WEIGHT, auto_pad=b"SAME_UPPER"))
    with pytest.raises(NotKnown):
        convert(call("MatMul", Stream("a", (3,)), Unknown()))
    assert convert(call("MaxPool", lost, kernel_shape=[2, 2])) == (MaxPool((2, 2), (1, 1), ((0, 0), (0, 0))),)


@pytest.mark.parametrize(
    "attributes", [{"strides": [0, 1]}, {"strides": [1]}, {"kernel_shape": [2, 2]}, {"group": 0}, {"auto_pad": b"ODD"}]
)
def test_convolutions_that_contradict_themselves(attributes):
    with pytest.raises(ValueError, match=r"fit|exist"):
        convert(call("Conv", MAP, WEIGHT, **attributes))


def test_gemm_scales_matrix_and_addend():
    matrix, addend = np.array([[1, 2], [3, 4], [5, 6]], np.float32), np.array([1, 1], np.float32)
    (op,) = convert(call("Gemm", Stream("a", (3,)), matrix, addend, alpha=2.0, beta=3.0))
    assert isinstance(op, Dense)
    np.testing.assert_array_equal(op.weight, [[2, 6, 10], [4, 8, 12]])
    np.testing.assert_array_equal(op.bias, [3, 3])


def test_matrix_product_between_reshapes():
    first, middle, last = convert(call("MatMul", Stream("a", (1, 3)), np.ones((3, 2), np.float32)))
    assert (first, last) == (Reshape((3,)), Reshape((1, 2)))
    assert isinstance(middle, Dense)


@pytest.mark.parametrize(
    ("op", "inputs", "factor", "offset"),
    [
        ("Add", (MAP, 3.0), 1, 3), ("Add", (3.0, MAP), 1, 3), ("Sub", (MAP, 3.0), 1, -3), ("Sub", (3.0, MAP), -1, 3),
        ("Mul", (MAP, 4.0), 4, 0), ("Div", (MAP, 4.0), 0.25, 0),
    ],
)  # fmt: skip
def test_arithmetic(op, inputs, factor, offset):
    (scale,) = convert(call(op, *(np.asarray(i) if isinstance(i, float) else i for i in inputs)))
    assert isinstance(scale, Scale)
    assert (scale.factor, scale.offset) == (factor, offset)


def test_a_division_of_whole_numbers_is_refused():
    """7 / 2 is 3 in ONNX where both are whole, and no layer drops a remainder."""
    with pytest.raises(Refused, match="division of whole numbers"):
        convert(call("Div", Stream("before", (4,)), np.array([2])))
    (scale,) = convert(call("Mul", Stream("before", (4,)), np.array([2])))
    assert isinstance(scale, Scale)
    assert scale.factor.tolist() == [2]


def test_sums_means_and_activations():
    assert convert(call("Add", MAP, MAP)) == (Add(),)
    assert convert(call("Relu", MAP)) == (Relu(),)
    assert convert(call("Identity", MAP)) == convert(call("Dropout", MAP)) == ()
    assert convert(call("GlobalAveragePool", MAP)) == (AvgPool((5, 6), (5, 6), ((0, 0), (0, 0))),)


def test_batch_norm():
    gain, shift, mean, variance = (np.full(2, v, np.float32) for v in (6, 1, 2, 8))
    (op,) = convert(call("BatchNormalization", MAP, gain, shift, mean, variance, epsilon=1.0))
    assert isinstance(op, Scale)
    np.testing.assert_array_equal(op.factor, np.full((2, 1, 1), 6 / 3))
    np.testing.assert_array_equal(op.offset, np.full((2, 1, 1), 1 - 2 * 6 / 3))


@pytest.mark.parametrize("op", ["Erf", "ArgMax", "vendor::Relu", "Split"])
def test_unknown_operators(op):
    with pytest.raises(Refused, match="no layer here does this"):
        convert(call(op, MAP))
