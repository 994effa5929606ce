"""``neuro export``: files, vectors and losses of a converted network."""

import json
import sys

import numpy as np
import pytest

from converters import network_file
from converters.exporters import replay
from experiments import cli
from experiments.conversion import convert
from experiments.conversion.convert import Task
from experiments.conversion.export import Export, carry_out
from experiments.conversion.export_command import show
from experiments.prepared import Prepared
from neuro.errors import BadInput, Unsupported
from neuro.graph import Graph, Node
from neuro.layers import MaxPool


@pytest.fixture(scope="module")
def folder(network, dataset, tmp_path_factory):
    """Files of the same network under an exact code, under firing rates, and with a max-pool."""
    folder = tmp_path_factory.mktemp("export")
    pooled = tuple(
        Node(n.name, MaxPool((2, 2), (2, 2), ((0, 0), (0, 0))), n.inputs) if n.name == "pool" else n
        for n in network.nodes
    )
    for name, graph, method in (
        ("exact", network, "exact"), ("rate", network, "percentile"), ("pooled", Graph("pooled", pooled), "exact"),
    ):  # fmt: skip
        done = convert.convert(Prepared(graph, dataset, "test"), Task("tiny", method=method, steps=16))
        network_file.save(done.converted, folder / f"{name}.h5")
    return folder


@pytest.mark.parametrize(
    ("source", "ending"),
    [("exact", "nir"), ("exact", "onnx"), ("exact", "h5"), ("rate", "nir"), ("rate", "h5"), ("pooled", "onnx")],
)
def test_every_format_replays_without_a_difference(folder, source, ending, tmp_path, capsys):
    if ending == "onnx":
        pytest.importorskip("onnxruntime")
    found = carry_out(Export(str(folder / f"{source}.h5"), to=tmp_path / f"n.{ending}", items=9))
    assert found["replay"]["replayed"]
    assert found["replay"]["first_difference"] is None
    vectors = replay.load(tmp_path / f"n.{ending}.replay.npz")
    assert len(vectors.counts) == 9
    assert vectors.network == found["digest"]
    assert found["replay"]["values"] == sum(v.size for v in vectors.values.values())
    assert bool(found["lost"]) == (ending != "h5")
    show(found)
    assert ("nothing is lost" in capsys.readouterr().out) == (ending == "h5")


def test_items_of_given_data_are_replayed(folder, dataset, tmp_path):
    np.savez(tmp_path / "d.npz", x=dataset.x.astype(np.int64), x_calibration=dataset.x.astype(np.int64))
    carry_out(Export(str(folder / "exact.h5"), data=str(tmp_path / "d.npz"), to=tmp_path / "n.h5", items=5))
    np.testing.assert_array_equal(replay.load(tmp_path / "n.h5.replay.npz").counts, dataset.counts[:5])
    np.savez(tmp_path / "d.npz", x=dataset.x / 7, x_calibration=dataset.x / 7)
    with pytest.raises(BadInput, match="stand for other values"):  # real values make counts 0..255
        carry_out(Export(str(folder / "exact.h5"), data=str(tmp_path / "d.npz"), to=tmp_path / "n.h5", items=5))


@pytest.mark.parametrize(
    ("source", "to", "told"),
    [
        ("rate.h5", "n.onnx", "firing rates"),
        ("exact.h5", "n.txt", r"\.onnx, \.nir, \.h5"),
        ("none.h5", "n.nir", "no such file"),
    ],
)
def test_what_cannot_be_written(folder, source, to, told, tmp_path):
    with pytest.raises(BadInput, match=told):
        carry_out(Export(str(folder / source), to=tmp_path / to))
    assert list(tmp_path.iterdir()) == []


def test_layers_that_nir_has_not_are_named(folder, tmp_path):
    with pytest.raises(Unsupported) as error:
        carry_out(Export(str(folder / "pooled.h5"), to=tmp_path / "n.nir"))
    assert [r.op for r in error.value.refusals] == ["MaxPool"]


def test_command(folder, tmp_path, monkeypatch, capsys):
    words = ["neuro", "export", str(folder / "exact.h5"), "--to", str(tmp_path / "n.nir"), "--items", "3", "--json"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    assert json.loads(capsys.readouterr().out)["replay"]["items"] == 3
    (tmp_path / "x.h5").write_bytes(b"no network")
    for network in (tmp_path / "x.h5", folder / "exact.h5"):
        monkeypatch.setattr(sys, "argv", ["neuro", "export", str(network), "--to", str(folder / "exact.h5")])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 2
