import h5py
import numpy as np
import pytest

from converters.importers import hdf5_file
from converters.importers.hdf5_file import content
from neuro.errors import BadInput


def test_arrays_and_texts_by_path(tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["a/b"] = np.arange(6, dtype=">i2").reshape(2, 3)
        file["a/c"] = np.float32([0.5])
        file["t"] = "word"
    found = content(tmp_path / "f.h5")
    assert found["a/b"]["values"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["a/c"]["values"].tolist() == [0.5]
    assert found["t"]["words"] == ["word"]
    assert found["a"]["kind"] == "group"


def test_what_is_no_file(tmp_path):
    with pytest.raises(BadInput, match="no such file"):
        content(tmp_path / "f.h5")
    (tmp_path / "f.h5").write_bytes(b"\x89HDF")
    with pytest.raises(BadInput, match="not an HDF5 file"):
        content(tmp_path / "f.h5")


def test_too_little_memory_is_said(monkeypatch):
    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr(hdf5_file.subprocess, "run", full)
    with pytest.raises(BadInput, match="has 9 bytes, for which there is too little memory"):
        hdf5_file.store("net.nir", b"x" * 9)
