"""The command and what it prints."""

import json
import sys
from contextlib import suppress

import pytest

from experiments import cli
from experiments.conversion import compress
from experiments.conversion.compress_command import show


@pytest.mark.parametrize(
    ("typed", "prune"), [(["--levels", "7"], None), (["--prune", "0.8"], 0.8), (["--prune", "2:4"], "2:4")]
)
def test_a_share_is_a_number_or_a_pattern(typed, prune, monkeypatch):
    tasks = []
    monkeypatch.setattr(compress, "carry_out", lambda task, progress: (tasks.append(task), {})[1:] * 2)
    cli.app(["compress", "digits-cnn", "--json", *typed], exit_on_error=False, result_action="return_value")
    assert tasks[0].prune == prune


def test_a_share_that_is_none(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["neuro", "compress", "digits-cnn", "--prune", "most"])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    assert "--prune" in capsys.readouterr().err


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
