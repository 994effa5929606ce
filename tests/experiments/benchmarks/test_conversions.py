"""The table of real networks: one row converted, one refused."""

import json

from experiments.benchmarks import conversions
from experiments.benchmarks.conversions import CASES, Case, row, scores, table


def test_every_case_names_a_file(neuro_data):
    assert all((neuro_data / "models" / case.file).is_file() for case in CASES)


def test_a_row(neuro_data, monkeypatch, tmp_path, capsys):
    good = Case("keras/nxtf_mnist_cnn.h5", "mnist")
    bad = Case("lava/lava_pilotnet_sdnn.net", "mnist")
    monkeypatch.setattr(conversions, "CASES", (good, bad))
    monkeypatch.setenv("NEURO_DATA", str(neuro_data))
    rows = conversions.main(tmp_path / "rows.json", samples=30, levels=7, say=lambda text: None)
    assert rows[0]["equivalence"]["mismatches"] == 0
    assert rows[0]["levels"] == [7]
    assert len(rows[1]["unsupported"]) == 10
    assert len(json.loads((tmp_path / "rows.json").read_text())) == 2
    assert "nxtf_mnist_cnn.h5" in capsys.readouterr().out


def test_scores():
    found = {"accuracy": {"float": 0.9, "integer": 0.89, "spiking": 0.885}}
    assert scores(found) == ["90.00 %", "88.50 %", "+1.50"]
    error = {form: {"rmse": 2.0, "mae": mae, "unit": "degree"} for form, mae in (("float", 1.0), ("spiking", 1.5))}
    assert scores({"error": error}) == ["1.00 degree", "1.50", "+0.50"]
    assert scores({"accuracy": {"float": None, "spiking": None}}) == ["unknown"] * 3
    refused = {"network": "n", "unsupported": [{"layer": "a", "op": "Lstm", "reason": "r"}]}
    assert table([refused]).row_count == 1


def test_a_missing_file_is_a_row_too(tmp_path):
    assert "no such file" in row(Case("none.onnx", "digits"), tmp_path, None, None)["error_message"]
