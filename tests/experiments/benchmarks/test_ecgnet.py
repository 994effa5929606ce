"""ECGNet built from its published weights: parameters, accuracy, and its way through the conversion."""

import numpy as np
import pytest

from experiments.benchmarks import conversions, ecgnet
from experiments.benchmarks.conversions import CASES, row
from experiments.datasets.data import load
from neuro.errors import BadInput

torch = pytest.importorskip("torch")
(CASE,) = (case for case in CASES if case.export is not None)


@pytest.fixture(scope="module")
def weights(request):
    return request.getfixturevalue("neuro_data") / "models" / CASE.file


def test_the_network_has_its_published_size(weights):
    made = ecgnet.module(weights)
    assert sum(p.numel() for p in made.parameters()) == 80_973
    assert not made.training


def test_a_row_has_the_accuracy_of_pytorch(weights, neuro_data, monkeypatch):
    monkeypatch.setenv("NEURO_DATA", str(neuro_data))
    found = row(CASE, neuro_data / "models", 40, 63)
    data = load("ecg17", neuro_data)
    x = torch.tensor((data.counts[:40] - 967.1) / 91.9, dtype=torch.float32)[:, None]
    with torch.no_grad():
        decisions = ecgnet.module(weights)(x).argmax(1).numpy()
    assert data.y is not None
    assert found["accuracy"]["float"] == (decisions == data.y[:40]).mean()
    assert found["accuracy"]["spiking"] >= found["accuracy"]["float"] - 0.05
    assert found["equivalence"]["mismatches"] == 0
    assert found["network"] == CASE.file


def test_other_weights_and_no_pytorch(tmp_path, monkeypatch):
    with pytest.raises(BadInput, match="no weights of ECGNet"):
        ecgnet.module(tmp_path / "none.npz")
    np.savez(tmp_path / "w.npz", a=np.ones(3))
    with pytest.raises(BadInput, match="no weights of ECGNet"):
        ecgnet.module(tmp_path / "w.npz")
    without = conversions.Case("w.npz", "ecg17", {}, lambda path, folder: __import__("no_such_framework"))
    assert "needs PyTorch" in row(without, tmp_path, 3, None)["error_message"]
