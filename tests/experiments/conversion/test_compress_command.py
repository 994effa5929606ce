"""The command and what it prints."""

import json
import sys
from contextlib import suppress

import pytest

from experiments import cli
from experiments.conversion.compress_command import share, show
from neuro.errors import BadInput


def test_a_share_is_a_number_or_a_pattern():
    assert (share(None), share("0.8"), share("2:4")) == (None, 0.8, "2:4")
    with pytest.raises(BadInput, match="no share"):
        share("most")


def test_the_command(tmp_path, monkeypatch, capsys):
    out = tmp_path / "net.h5"
    line = f"neuro compress digits-cnn --samples 40 --prune 0.5 --prune-channels 0.2 --out {out} --json"
    monkeypatch.setattr(sys, "argv", line.split())
    with suppress(SystemExit):
        cli.main()
    found = json.loads(capsys.readouterr().out)
    assert out.is_file()
    assert found["steps"][1]["removed"]["conv3"] == 6
    show(found)
    printed = capsys.readouterr().out
    assert "channels removed" in printed
    assert "dense keeps its channels: they are the output" in printed
    assert "50.0 %" in printed


def test_what_is_shown_without_labels(capsys):
    step = {"step": "float", "weights": 4, "zeros": 0.0, "accuracy": None}
    show({
        "network": "n", "format": "onnx", "data": {"items": 1, "name": "d"}, "steps": [step],
        "integer": {"zeros": 0.0, "error": {"rmse": 0.5, "mae": 0.4, "unit": "degree"}}, "parameters": {"after": 4},
        "levels": [], "weight_bits": 8, "values_per_layer": 2, "file": "f",
        "weight_storage_bits": {"before": 128, "after": 32},
    })  # fmt: skip
    printed = capsys.readouterr().out
    assert "unknown" in printed
    assert "RMSE 0.5 degree" in printed
    assert "no levels" in printed
