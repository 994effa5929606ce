"""What a use of an operator says about its inputs, and ONNX's ways of writing axes and pads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.importers.onnx_call import Call, NotKnown, Refused, Stream, Unknown, pairs, within


def call(*inputs, **attributes) -> Call:
    return Call("Op", attributes, inputs, opset=13, last=False)


def test_inputs_that_are_there_and_those_left_out():
    some = call(Stream("a", (3,)), None, np.ones(2))
    assert [some.has(i) for i in range(4)] == [True, False, True, False]


def test_shape_is_that_of_a_stream():
    some = call(Stream("a", (3, 4)), Stream("b", None), Unknown(), np.ones(2))
    assert some.shape(0) == (3, 4)
    for i in (1, 2):
        with pytest.raises(NotKnown):
            some.shape(i)
    for i in (3, 4):
        with pytest.raises(Refused, match=f"its input {i} is a constant"):
            some.shape(i)


def test_constants_are_given_known_and_single_precision():
    some = call(np.array([1, 2]), Stream("a", (3,)), Unknown())
    assert some.floats(0, "weight").dtype == np.float32
    with pytest.raises(Refused, match="its weight is computed from the network's input"):
        some.constant(1, "weight")
    with pytest.raises(NotKnown):
        some.constant(2, "weight")
    with pytest.raises(ValueError, match="its weight is missing"):
        some.constant(3, "weight")


def test_text_attributes_and_defaults():
    some = call(mode=b"SAME_UPPER", group=2)
    assert (some.get("mode", ""), some.get("group", 1), some.get("absent", 7)) == ("SAME_UPPER", 2, 7)


def test_axes_as_attribute_and_as_input():
    assert call(Stream("a", (3,)), axes=[-1]).axes(4) == [3]
    assert call(Stream("a", (3,)), np.array([1, -2])).axes(4) == [1, 2]
    assert call(Stream("a", (3,))).axes(4) is None


@pytest.mark.parametrize("axes", [[4], [-5], [1, 1], [1, -3]])
def test_axes_out_of_range_or_twice(axes):
    with pytest.raises(ValueError, match="do not fit 4 axes"):
        within(axes, 4)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=4))
def test_pads_are_all_beginnings_then_all_ends(wanted):
    assert pairs([a for a, _ in wanted] + [b for _, b in wanted], len(wanted)) == tuple(wanted)


def test_pads_that_do_not_fit_or_are_negative():
    with pytest.raises(ValueError, match="do not fit 2 axes"):
        pairs([1, 1, 1], 2)
    with pytest.raises(Refused, match="negative pads"):
        pairs([0, -1], 1)


def test_lists_of_numbers_are_short():
    """A shape or list of axes is no array of millions, which would take a Python number each."""
    assert call(np.array([[1, -2]])).numbers(0, "shape") == [1, -2]
    with pytest.raises(ValueError, match="its shape has 1,000,000,000 values; at most 65,536"):
        call(np.broadcast_to(np.int64(1), (10**9,))).numbers(0, "shape")
