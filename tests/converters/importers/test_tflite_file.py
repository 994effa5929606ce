"""TFLite files that cannot be used: each error says which file, what is wrong and what to try.

NEURO_FUZZ: how many damaged files each property tries; some hundreds where it is not set.
"""

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from converters.importers import tflite_file
from converters.importers.from_tflite import load
from converters.importers.onnx_call import Refused
from converters.importers.tflite_file import Tensor, read
from neuro.errors import BadInput, NeuroError

pytest.importorskip("tflite")
EXAMPLES = int(os.environ.get("NEURO_FUZZ", "300"))


def parts() -> tuple[dict, list]:
    """A quantised convolution with a fused ReLU, a mean, a matrix product and a softmax."""
    kernel = np.arange(-8, 8, dtype=np.int8).reshape(2, 2, 2, 2)
    tensors = {
        "x": {"shape": (1, 3, 3, 2), "kind": "i1", "scale": 0.5, "zero": 3, "signature": (-1, 3, 3, 2)},
        "k": {"shape": kernel.shape, "kind": "i1", "data": kernel, "scale": [0.25, 0.125], "axis": 0},
        "b": {"shape": (2,), "kind": "i4", "data": np.array([8, -16], np.int32), "scale": [0.125, 0.0625]},
        "c": {"shape": (1, 2, 2, 2), "kind": "i1", "scale": 0.25, "zero": -120},
        "axes": {"shape": (2,), "kind": "i4", "data": np.array([1, 2], np.int32)},
        "m": {"shape": (1, 2), "kind": "i1", "scale": 0.25, "zero": -120},
        "w": {"shape": (3, 2), "kind": "f4", "data": np.ones((3, 2), np.float32)},
        "d": {"shape": (1, 2), "kind": "f4"},
        "e": {"shape": (1, 3), "kind": "f4"},
        "y": {"shape": (1, 3), "kind": "f4"},
    }
    conv = {"Padding": 1, "StrideW": 1, "StrideH": 1, "DilationWFactor": 1, "DilationHFactor": 1}
    operators = [
        ("CONV_2D", ["x", "k", "b"], ["c"], "Conv2DOptions", {**conv, "FusedActivationFunction": 1}),
        ("MEAN", ["c", "axes"], ["m"], "ReducerOptions", {}),
        ("DEQUANTIZE", ["m"], ["d"]),
        ("FULLY_CONNECTED", ["d", "w"], ["e"], "FullyConnectedOptions", {}),
        ("SOFTMAX", ["e"], ["y"], "SoftmaxOptions", {"Beta": 1.0}),
    ]
    return tensors, operators


@pytest.fixture(scope="module")
def content(tflite_model) -> bytes:
    return tflite_model(*parts(), ["x"], ["y"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("tflite")


def complaint(folder: Path, content: bytes) -> str:
    (folder / "net.tflite").write_bytes(content)
    with pytest.raises(BadInput) as caught:
        load(folder / "net.tflite")
    assert str(caught.value).startswith("net.tflite")
    return str(caught.value)


def test_what_a_file_says(folder, content):
    (folder / "net.tflite").write_bytes(content)
    source = read(folder / "net.tflite")
    assert [o.kind for o in source.operators] == ["CONV_2D", "MEAN", "DEQUANTIZE", "FULLY_CONNECTED", "SOFTMAX"]
    assert source.operators[0].options["FusedActivationFunction"] == 1
    assert (source.tensors[source.input].name, source.tensors[source.output].name) == ("x", "y")
    assert source.tensors[2].real().tolist() == [1.0, -1.0]
    assert source.tensors[1].real()[:, 0, 0, 0].tolist() == [-2.0, 0.0]
    assert source.tensors[0].grid() == (0.5, 3.0, -128.0, 127.0)
    assert load(folder / "net.tflite").output.name == "y"


def tensor(kind: str, data: np.ndarray, scales=(), zeros=(), axis: int = 0) -> Tensor:
    stored = np.frombuffer(data.tobytes(), np.uint8)
    return Tensor("t", data.shape, True, kind, stored, np.array(scales, np.float32), np.array(zeros, np.int64), axis)


def test_real_values_are_rounded_once():
    """(q - zero) · scale in float64, by hand for one scale, for one along the last axis, and without."""
    q = np.array([[-128, 127], [0, 5]], np.int8)
    assert tensor("INT8", q, [0.1], [-3]).real().tolist() == [
        [np.float32(-125 * float(np.float32(0.1))), np.float32(130 * float(np.float32(0.1)))],
        [np.float32(3 * float(np.float32(0.1))), np.float32(8 * float(np.float32(0.1)))],
    ]
    assert tensor("INT8", q, [0.5, 2.0], [0, 1], axis=1).real().tolist() == [[-64.0, 252.0], [0.0, 8.0]]
    assert tensor("FLOAT16", np.array([0.5], np.float16)).real().tolist() == [0.5]
    assert tensor("INT8", q).real().tolist() == q.tolist()


def test_values_that_do_not_fit():
    q = np.array([[-128, 127], [0, 5]], np.int8)
    with pytest.raises(ValueError, match="3 scales do not fit axis 0"):
        tensor("INT8", q, [1, 1, 1], [0, 0, 0]).real()
    with pytest.raises(ValueError, match="does not hold 4 bytes"):
        tensor("INT16", q).real()
    with pytest.raises(ValueError, match="3 zero points do not fit 2 scales"):
        tensor("INT8", q, [1, 1], [0, 0, 0]).real()
    with pytest.raises(Refused, match="type INT4"):
        tensor("INT4", q).real()
    with pytest.raises(Refused, match="with 2 scale"):
        tensor("INT8", q, [1, 1], [0, 0]).grid()


def test_missing_files_and_files_of_other_kinds(folder, tmp_path, content):
    for path in (tmp_path, tmp_path / "nothing.tflite"):
        with pytest.raises(BadInput, match=r"no such file|is a directory"):
            load(path)
    assert "not a TFLite file" in complaint(folder, b"")
    assert "not a TFLite file" in complaint(folder, content.replace(b"TFL3", b"TFL2"))
    assert "damaged or cut short" in complaint(folder, content[: len(content) // 2])


def test_networks_of_other_shapes(folder, tflite_model):
    tensors, operators = parts()
    assert "has 2 inputs" in complaint(folder, tflite_model(tensors, operators, ["x", "d"], ["y"]))
    assert "has 0 outputs" in complaint(folder, tflite_model(tensors, operators, ["x"], []))
    assert "does not depend" in complaint(folder, tflite_model(tensors, [], ["x"], ["y"]))
    for change, text in (
        ({"w": {**tensors["w"], "data": np.ones(5, np.float32)}}, "does not hold 20 bytes"),
        ({"w": {**tensors["w"], "shape": (10**9, 10**9)}}, "does not hold 24 bytes"),
        ({"w": {**tensors["w"], "shape": (-3, -2)}}, "has the shape"),
        ({"w": {**tensors["w"], "shape": (1,) * 9}}, "claims 9 axes"),
        ({"w": {**tensors["w"], "data": np.full((3, 2), np.nan, np.float32)}}, "NaN"),
        ({"k": {**tensors["k"], "scale": [0.0, 1.0]}}, "no positive numbers"),
        ({"k": {**tensors["k"], "scale": [np.inf, 1.0]}}, "no positive numbers"),
        ({"x": {**tensors["x"], "zero": 2**40}}, "beyond 32 bits"),
        ({"e": {**tensors["e"], "shape": (1, 4)}}, "but the file says"),
    ):
        (folder / "net.tflite").write_bytes(tflite_model({**tensors, **change}, operators, ["x"], ["y"]))
        with pytest.raises(BadInput, match=text):
            load(folder / "net.tflite")


def test_without_the_package(folder, content, monkeypatch):
    monkeypatch.setattr(tflite_file, "find_spec", lambda name: None)
    assert "install neuro-verdict[formats]" in complaint(folder, content)


def test_counts_beyond_the_limit(folder, content, monkeypatch):
    monkeypatch.setattr(tflite_file, "COUNT_LIMIT", 9)
    assert "claims 11 parts" in complaint(folder, content)


def usable_or_refused(folder: Path, content: bytes) -> None:
    (folder / "damaged.tflite").write_bytes(content)
    with suppress(NeuroError):
        assert load(folder / "damaged.tflite").nodes


@examples(max_examples=EXAMPLES)
@given(st.floats(0, 1, exclude_max=True))
@example(0.999)
def test_fuzz_files_cut_short(folder, content, place):
    usable_or_refused(folder, content[: int(place * len(content))])


@examples(max_examples=3 * EXAMPLES)
@given(st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=4))
def test_fuzz_replaced_bytes(folder, content, changes):
    data = bytearray(content)
    for place, value in changes:
        data[place % len(data)] = value
    usable_or_refused(folder, bytes(data))


@examples(max_examples=EXAMPLES)
@given(st.integers(0, 2**16), st.sampled_from([0, 1, 4, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32 - 8]))
def test_fuzz_replaced_words(folder, content, place, word):
    """Offsets and counts as far off as they can be."""
    data = bytearray(content)
    start = 4 * (place % (len(data) // 4))
    data[start : start + 4] = word.to_bytes(4, "little")
    usable_or_refused(folder, bytes(data))
