"""Networks by name and by file."""

import pytest

from experiments import networks
from neuro.errors import BadInput


def test_every_bundled_network_has_its_data_set():
    assert {networks.default_data(name) for name in networks.BUNDLED} == {"digits"}
    with pytest.raises(BadInput, match=r"net\.onnx needs data: give --data"):
        networks.default_data("net.onnx")


def test_the_bundled_network_reads_digits():
    graph = networks.load("digits-cnn")
    assert graph.vocabulary == "float"
    assert (graph.shapes[graph.input.name], graph.shapes[graph.output.name]) == ((1, 8, 8), (10,))


def test_a_file_without_importer_and_a_name_that_is_none(tmp_path):
    path = tmp_path / "net.pth"
    path.touch()
    with pytest.raises(BadInput, match=r"no importer for '\.pth'; those are \.onnx, \.h5"):
        networks.load(str(path))
    with pytest.raises(BadInput, match="Did you mean 'digits-cnn'"):
        networks.load("digit-cnn")


@pytest.mark.parametrize("ending", networks.ENDINGS)
def test_files_of_every_ending(tmp_path, ending):
    path = tmp_path / f"net{ending}"
    with pytest.raises(BadInput, match="there is no such file"):
        networks.open_network(str(path))
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(BadInput, match=r"net\."):
        networks.open_network(str(path))


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("onnx/mnist_fc_256x2.onnx", "onnx"), ("keras/nxtf_mnist_cnn.h5", "keras"),
        ("mlperf_tiny/kws_dscnn_int8.tflite", "tflite"),
    ],
)  # fmt: skip
def test_formats(neuro_data, file, kind):
    found = networks.open_network(str(neuro_data / "models" / file))
    assert (found.format, found.network.vocabulary, found.converted) == (kind, "float", None)
