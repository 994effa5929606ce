"""What the reading process says of a file; its guards are tried in `test_keras_file`."""

import io
import subprocess
import sys

import h5py
import numpy as np
import pytest

from converters.importers import hdf5_extract
from converters.importers.hdf5_extract import extracted


def written(fill) -> bytes:
    memory = io.BytesIO()
    with h5py.File(memory, "w") as f:
        fill(f)
    return memory.getvalue()


def filled(f) -> None:
    f.attrs["keras_version"] = "2.1"
    f.attrs["other"] = 5
    f["model_weights/a/kernel"] = np.array([[1.5, 2.5]], ">f4")
    f["model_weights/a/count"] = np.int64(3)
    f["model_weights"].attrs["weight_names"] = [b"x", b"y"]
    f["optimizer_weights/m"] = np.ones(3)
    f["model_weights/text"] = "text"
    f["model_weights/soft"] = h5py.SoftLink("/model_weights/a")


def test_entries():
    entries, arrays = extracted(written(filled))
    assert entries[""] == {"kind": "group", "keras_version": "2.1"}
    assert entries["model_weights"]["weight_names"] == ["x", "y"]
    assert entries["model_weights/a/kernel"] == {"kind": "array", "dtype": "<f4", "shape": [1, 2]}
    assert entries["model_weights/text"]["why"] == "is no array of numbers"
    assert "not followed" in entries["model_weights/soft"]["why"]
    assert not any(path.startswith("optimizer") for path in entries)
    assert [a.tolist() for a in arrays] == [3, [[1.5, 2.5]]]


def test_links_to_a_parent_end():
    def circle(f) -> None:
        f["a"] = h5py.SoftLink("/")
        f.create_group("b")["c"] = f["/"]

    with pytest.raises(ValueError, match="levels"):
        extracted(written(circle))


def test_arrays_beyond_the_limit(monkeypatch):
    monkeypatch.setattr(hdf5_extract, "LIMIT", 10)
    entries, _ = extracted(written(filled))
    kinds = [entries[f"model_weights/a/{n}"]["kind"] for n in ("count", "kernel")]
    assert kinds == ["array", "refused"]


def test_the_program_reports_damage():
    command = [sys.executable, "-P", hdf5_extract.__file__]
    done = subprocess.run(command, input=b"none", capture_output=True, check=False)
    assert done.returncode == 1
    assert b"Unable" in done.stderr


def test_texts_and_truth_values():
    def fill(file) -> None:
        file["word"] = "leaf"
        file["words"] = np.array([[b"a", b"bc"], [b"d", b""]], "S4")
        file["yes"] = True
        file.create_dataset("many", data=np.array([b"x" * 200], "S200").repeat(2**17))

    entries, _ = extracted(written(fill))
    told = {"why": "is no array of numbers"}
    assert entries["word"] == told | {"kind": "words", "shape": [], "words": ["leaf"]}
    assert entries["words"] == told | {"kind": "words", "shape": [2, 2], "words": ["a", "bc", "d", ""]}
    assert entries["yes"] == told | {"kind": "flags", "shape": [], "words": [1]}
    assert entries["many"]["kind"] == "refused"
