"""What the doctor finds is so, and is said."""

import json
import os
import sys
from contextlib import suppress

import jax

from experiments import cli
from experiments.doctor import cores, examination, print_examination
from neuro import native


def test_what_is_found_is_what_the_engine_uses():
    found = examination()
    here = native.kernels()
    assert found["kernels"]["reason"] == here.reason
    assert found["kernels"]["engine"] == ("compiled" if here.library else "pure JAX")
    assert found["jax"]["version"] == jax.__version__
    assert 1 <= found["cores"] == cores() <= (os.cpu_count() or 1)
    assert set(found["optional"]) == {"brian2", "onnxruntime"}
    if here.library:
        assert found["kernels"]["vector_bytes"] == native.lane_bytes()
        assert found["kernels"]["matrix_units"] == native.matrix_units()
        mine = [c for c in found["caches"] if c["folder"] == str(here.library.parent)]
        assert mine[0]["libraries"] >= 1
        assert mine[0]["bytes"] >= here.library.stat().st_size


def test_the_command_says_why_pure_jax_runs(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("NEURO_ISA", "none")
    monkeypatch.setenv("NEURO_CACHE", str(tmp_path / "mine"))
    monkeypatch.setenv("NEURO_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setattr(sys, "argv", ["neuro", "doctor", "--json"])
    with suppress(SystemExit):
        cli.main()
    found = json.loads(capsys.readouterr().out)
    assert found["kernels"] == {
        "engine": "pure JAX",
        "library": None,
        "instruction_set": "none",
        "vector_bytes": None,
        "matrix_units": False,
        "reason": "switched off by NEURO_ISA=none",
    }
    mine = {"folder": str(tmp_path / "mine"), "libraries": 0, "programs": 0, "bytes": 0, "writable": True}
    assert found["caches"][0] == mine
    assert found["data"] == {"folder": str(tmp_path / "nowhere"), "exists": False}
    print_examination(found)
    out = capsys.readouterr().out
    assert "switched off by NEURO_ISA=none" in out
    assert "nowhere, which is no folder" in out


def test_a_cache_below_a_file_cannot_be_written_to(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NEURO_ISA", "none")
    monkeypatch.setenv("NEURO_CACHE", str(tmp_path / "file" / "cache"))
    assert not examination()["caches"][0]["writable"]
