"""Files that cannot be used: each error says which file, what is wrong and what to try."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from converters.importers.from_onnx import load
from converters.importers.onnx_file import read
from neuro.errors import BadInput, NeuroError

onnx = pytest.importorskip("onnx")

from onnx import helper, numpy_helper  # noqa: E402
from onnx.external_data_helper import set_external_data  # noqa: E402


def info(name: str, *shape: int | str | None):
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, list(shape))


def model(inputs: list | None = None, outputs: list | None = None, opset: int = 13):
    """y = relu(x w), with 3 inputs and 2 outputs."""
    w = numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(3, 2), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"], "m"), helper.make_node("Relu", ["h"], ["y"], "r")]
    graph = helper.make_graph(nodes, "net", inputs or [info("x", 1, 3)], outputs or [info("y", 1, 2)], [w])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def written(folder: Path, content) -> Path:
    path = folder / "net.onnx"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return path


def complaint(path: Path) -> str:
    with pytest.raises(BadInput) as caught:
        load(path)
    return str(caught.value)


def test_missing_file(tmp_path):
    path = tmp_path / "none.onnx"
    assert complaint(path) == f"{path}: there is no such file; give the path of an .onnx file."
    assert "this is a directory, not a file" in complaint(tmp_path)


@pytest.mark.parametrize("content", [b"this is not a network", bytes(100)])
def test_garbage(tmp_path, content):
    assert "net.onnx is not an ONNX file, or is cut short" in complaint(written(tmp_path, content))


def test_cut_and_empty_files(tmp_path):
    whole = model().SerializeToString()
    assert "net.onnx is not an ONNX file, or is cut short" in complaint(written(tmp_path, whole[: len(whole) // 2]))
    assert "net.onnx is not a valid ONNX model: The model does not have an ir_version" in complaint(
        written(tmp_path, b"")
    )


def test_invalid_model(tmp_path):
    broken = model()
    broken.graph.node[0].input[1] = "elsewhere"
    message = complaint(written(tmp_path, broken))
    assert message.startswith("net.onnx is not a valid ONNX model:")
    assert "elsewhere" in message
    assert message.endswith("export it again.")


def test_names_that_are_not_text(tmp_path):
    content = model().SerializeToString().replace(b"Relu", b"Re\x84u")
    assert "net.onnx is damaged: the name b'Re\\x84u' is no text" in complaint(written(tmp_path, content))
    named = model()
    named.graph.node[1].attribute.append(helper.make_attribute("attr", 1))
    content = named.SerializeToString().replace(b"attr", b"\x84ttr")
    assert "net.onnx is not a valid ONNX model: 'utf-8' codec can't decode" in complaint(written(tmp_path, content))


def test_old_operator_set(tmp_path):
    message = complaint(written(tmp_path, model(opset=6)))
    assert "net.onnx uses operator set 6; at least 7 is needed" in message
    assert "convert_version" in message


def test_operator_set_that_nobody_knows_yet(tmp_path):
    newest = onnx.defs.onnx_opset_version()
    assert read(written(tmp_path, model(opset=newest))).opset == newest
    message = complaint(written(tmp_path, model(opset=newest + 1)))
    assert f"net.onnx uses operator set {newest + 1}, and the onnx library here knows them up to {newest}" in message


@pytest.mark.parametrize(
    ("inputs", "outputs", "words"),
    [
        ([info("x", 1, 3), info("z", 1, 3)], None, "2 inputs ('x', 'z'); exactly one is needed"),
        (None, [info("y", 1, 2), info("h", 1, 2)], "2 outputs ('y', 'h'); exactly one is needed"),
        ([info("x", 16, 3)], None, "input 'x' has a batch of 16; export the model with batch 1"),
        ([info("x", 1, "width")], None, "dimension 1 is symbolic ('width')"),
        ([info("x", "N", None)], None, "dimension 1 is open"),
        ([info("x", 3)], None, "needs a batch axis and at least one more"),
    ],
)
def test_inputs_and_outputs(tmp_path, inputs, outputs, words):
    message = complaint(written(tmp_path, model(inputs, outputs)))
    assert message.startswith("net.onnx")
    assert words in message


def test_no_real_input(tmp_path):
    constant = model()
    constant.graph.initializer.append(numpy_helper.from_array(np.ones((1, 3), np.float32), "x"))
    assert "0 inputs (none)" in complaint(written(tmp_path, constant))


def test_undeclared_size_of_a_constant(tmp_path):
    large = model()
    del large.graph.initializer[0].dims[:]
    large.graph.initializer[0].dims.extend([1 << 20, 1 << 11])
    message = complaint(written(tmp_path, large))
    assert "tensor 'w' of [1048576, 2048], 4 bytes each, exceeds the limit of 4 GiB" in message
    large.graph.initializer[0].dims[0] = -1
    assert "tensor 'w' has a negative size" in complaint(written(tmp_path, large))
    large.graph.initializer[0].data_type = 99
    assert "tensor 'w' has no known element type" in complaint(written(tmp_path, large))


def external(location: str, offset: int = 0, length: int = 24):
    apart = model()
    set_external_data(apart.graph.initializer[0], location, offset, length)
    apart.graph.initializer[0].ClearField("raw_data")
    return apart


DATA = np.arange(6, dtype=np.float32).tobytes()


def test_external_data_beside_the_model_is_read(tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "w.bin").write_bytes(b"1234" + DATA)
    op = load(written(tmp_path, external("weights/w.bin", offset=4)))["m"].op
    np.testing.assert_array_equal(op.weight, np.arange(6).reshape(3, 2).T)


@pytest.mark.parametrize("location", ["../w.bin", "inner/../../w.bin", "{outside}", "link.bin", ""])
def test_external_data_elsewhere_is_refused(tmp_path, location):
    folder = tmp_path / "model"
    (folder / "inner").mkdir(parents=True)
    outside = tmp_path / "w.bin"
    outside.write_bytes(DATA)
    (folder / "link.bin").symlink_to(outside)
    message = complaint(written(folder, external(location.format(outside=outside))))
    assert "net.onnx: tensor 'w' keeps its data in" in message
    assert "outside the model's folder" in message


def test_external_data_missing_or_short(tmp_path):
    assert "net.onnx: tensor 'w' keeps its data in 'w.bin', which cannot be read" in complaint(
        written(tmp_path, external("w.bin"))
    )
    (tmp_path / "w.bin").write_bytes(DATA[:-4])
    assert "which cannot be read: External data length (24)" in complaint(written(tmp_path, external("w.bin")))
    assert "net.onnx" in complaint(written(tmp_path, external("w.bin", length=12)))


def test_damaged_external_data_entries(tmp_path):
    strange = external("w.bin")
    strange.graph.initializer[0].external_data[0].value = "w\0.bin"
    assert "net.onnx: the name 'w\\x00.bin' of its external data is damaged" in complaint(written(tmp_path, strange))
    strange = external("w.bin")
    strange.graph.initializer[0].external_data.add(key="colour", value="red")
    assert "in 'w.bin', with unknown entries ['colour']" in complaint(written(tmp_path, strange))


@examples(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
@example([(0, 255)])
def test_a_damaged_file_never_gives_another_kind_of_error(tmp_path_factory, changes):
    content = bytearray(model().SerializeToString())
    for place, value in changes:
        content[place % len(content)] = value
    path = written(tmp_path_factory.getbasetemp(), bytes(content))
    with suppress(NeuroError):
        assert load(path).input.op.shape
