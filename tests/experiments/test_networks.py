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
    path = tmp_path / "net.h5"
    path.touch()
    with pytest.raises(BadInput, match=r"no importer for '\.h5'"):
        networks.load(str(path))
    with pytest.raises(BadInput, match="Did you mean 'digits-cnn'"):
        networks.load("digit-cnn")
