"""Operators on shapes, by hand; `test_from_onnx.py` holds them against ONNX Runtime."""

import numpy as np
import pytest

from converters.importers.onnx_call import Call, Refused, Stream
from converters.importers.onnx_shapes import flatten, pad, reshape, squeeze, transpose, unsqueeze
from neuro.layers import Pad, Reshape, Transpose


def call(shape: tuple, *constants, opset: int = 13, **attributes) -> Call:
    return Call("", attributes, (Stream("before", shape), *map(np.array, constants)), opset, False)


def test_flatten_counts_negative_axes_with_the_batch():
    assert flatten(call((2, 3))) == flatten(call((2, 3), axis=-2)) == (Reshape((6,)),)
    with pytest.raises(Refused, match="axis -1"):
        flatten(call((2, 3), axis=-1))


@pytest.mark.parametrize("target", [[0, 0, 0], [1, 2, 3], [-1, 2, 3]])
def test_what_changes_nothing_is_nothing(target):
    assert reshape(call((2, 3), target)) == ()
    assert transpose(call((2, 3), perm=[0, 1, 2])) == ()
    assert pad(call((2, 3), [0] * 6)) == ()
    assert flatten(call((6,))) == ()


def test_a_zero_copies_an_axis_unless_zeros_are_allowed():
    assert reshape(call((2, 3), [1, 0, 1, -1])) == (Reshape((2, 1, 3)),)
    with pytest.raises(Refused, match="does not keep the batch"):
        reshape(call((2, 3), [0, 6], allowzero=1))
    with pytest.raises(ValueError, match="copies more axes than there are"):
        reshape(call((6,), [1, 2, 0]))


def test_axes_of_one_go_and_come():
    assert squeeze(call((1, 3, 1), [1, -1])) == (Reshape((3,)),)
    assert unsqueeze(call((3,), [1, -1])) == (Reshape((1, 3, 1)),)
    assert unsqueeze(call((3,), axes=[2], opset=11)) == (Reshape((3, 1)),)
    with pytest.raises(ValueError, match="not all of size 1"):
        squeeze(call((1, 3, 1), [2]))


def test_a_sample_without_axes_is_refused():
    with pytest.raises(Refused, match="does not keep the batch"):
        squeeze(call((1,), [1]))


def test_transpose_counts_from_the_first_axis_after_the_batch():
    assert transpose(call((4, 5, 3), perm=[0, 3, 1, 2])) == (Transpose((2, 0, 1)),)
    with pytest.raises(ValueError, match="does not fit"):
        transpose(call((4, 5), perm=[0, 3, 1, 2]))
    with pytest.raises(ValueError, match="does not fit"):
        transpose(call((4, 5, 3), perm=[0, 1, 1, 3]))  # an axis twice, another never


def test_pads_of_named_axes():
    assert pad(call((2, 3), [1, 2], 0.0, [-1], opset=18)) == (Pad(((0, 0), (1, 2))),)
    assert pad(call((2, 3), opset=10, pads=[0, 1, 2, 0, 3, 4])) == (Pad(((1, 3), (2, 4))),)
