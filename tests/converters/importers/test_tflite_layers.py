"""What is refused without a look at its inputs; the rest is compared with the interpreter in `test_from_tflite`."""

import pytest

from converters.importers.onnx_call import Refused
from converters.importers.tflite_layers import BOUNDS, CLIPS, KNOWN, check


def test_unknown_operators():
    check("CONV_2D")
    with pytest.raises(Refused, match="no layer"):
        check("LSTM")


def test_every_known_operator_passes():
    for kind in KNOWN:
        check(kind)
    assert [BOUNDS[CLIPS[k]] for k in ("RELU_N1_TO_1", "RELU6")] == [(-1.0, 1.0), (0.0, 6.0)]
