"""From what was typed to the data that the network reads."""

from pathlib import Path

import numpy as np
import pytest

from experiments.job import CHIPS, RIVALS, Request, _chosen, _identity, _unique
from experiments.prepared import dataset_for
from neuro import chip
from neuro.errors import BadInput
from neuro.graph import Graph, Node
from neuro.layers import Dense, Input


@pytest.fixture
def flat() -> Graph:
    return Graph("flat", (Node("x", Input((64,))), Node("y", Dense(np.ones((2, 64)), None), ("x",))))


def test_data_are_fitted_to_the_network(flat):
    found = dataset_for(Request("digits-cnn", samples=5), flat)
    assert (found.shape, len(found.x), len(found.x_calibration)) == ((64,), 5, 1000)
    assert found.levels == 16


def test_the_command_line_wins_over_the_sidecar(flat, tmp_path):
    network = tmp_path / "net.onnx"
    (tmp_path / "net.onnx.input.toml").write_text("scale = 0.5\nmean = 1.0\n")
    plain = dataset_for(Request(str(network), data="digits"), flat)
    np.testing.assert_allclose(plain.network_input, plain.counts * 0.5 - 1)
    given = dataset_for(Request(str(network), data="digits", mean=(3.0,)), flat)
    np.testing.assert_allclose(given.network_input, given.counts * 0.5 - 3)


def test_input_levels_coarsen_the_counts(flat):
    found = dataset_for(Request("digits-cnn", input_levels=4), flat)
    assert found.counts.max() == 4
    np.testing.assert_allclose(found.network_input.max(), 16)


def test_calibration_items_may_come_from_elsewhere(flat, tmp_path):
    np.savez(tmp_path / "c.npz", x=np.full((7, 1, 8, 8), 3) + np.eye(8, dtype=int))
    found = dataset_for(Request("digits-cnn", calibration=tmp_path / "c.npz"), flat)
    assert len(found.x_calibration) == 7
    assert set(np.unique(found.calibration_counts)) == {3, 4}
    np.savez(tmp_path / "odd.npz", x=np.arange(14).reshape(2, 7))
    with pytest.raises(BadInput, match=r"items of \(7,\); digits has"):
        dataset_for(Request("digits-cnn", calibration=tmp_path / "odd.npz"), flat)


def test_a_run_is_named_by_its_options_and_by_what_its_files_hold(tmp_path):
    file = tmp_path / "net.onnx"
    file.write_bytes(b"one")
    first = _identity(Request(str(file), out=Path("a.h5")))
    assert first == _identity(Request(str(file), out=Path("b.h5")))
    file.write_bytes(b"two")
    assert first != _identity(Request(str(file)))
    assert first != _identity(Request(str(file), levels=7))


def test_two_machines_of_one_name_are_refused():
    with pytest.raises(BadInput, match="loihi1 is named twice"):
        _unique(["loihi1", "eyeriss_v1", "loihi1"])


def test_chips_are_by_default_those_mapped_core_by_core_and_all_on_request():
    mapped = {name for name in chip.known() if chip.load(name).scope == "mapped"}
    assert set(CHIPS) == mapped - {"generic"}  # which is no chip
    assert _chosen(None, CHIPS, chip.known()) == list(CHIPS)
    assert _chosen(("all",), CHIPS, chip.known()) == chip.known()
    assert _chosen(("odin",), CHIPS, chip.known()) == ["odin"]
    assert len(set(RIVALS)) == len(RIVALS)
