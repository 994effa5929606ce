"""Axes of the file and of the sample; the moves are compared with the interpreter in `test_from_tflite`."""

import pytest

from converters.importers.layout import plain
from converters.importers.onnx_call import Refused
from converters.importers.tflite_call import Held
from converters.importers.tflite_shapes import axis


def test_axes_are_counted_without_the_batch():
    x = Held(plain("x", (4, 3)))
    assert [axis(a, x) for a in (1, 2, -1, -2)] == [0, 1, 1, 0]
    assert [axis(a, Held(plain("x", (4, 3)), False)) for a in (0, 1, -2)] == [0, 1, 0]
    for a in (0, -3):
        with pytest.raises(Refused, match="batch axis"):
            axis(a, x)
    for a in (3, -4):
        with pytest.raises(ValueError, match="does not exist"):
            axis(a, x)
