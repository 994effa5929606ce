"""Files read whole or written whole."""

import os

import pytest

from neuro.errors import BadInput
from neuro.file import check_writable, content, replacing


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "new" / "a.bin"
    with replacing(path) as part:
        part.write_bytes(b"abc")
        assert not path.exists()
    assert content(path) == b"abc"
    assert os.listdir(path.parent) == ["a.bin"]


def half_written(path, error):
    with replacing(path) as part:
        part.write_bytes(b"half")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_fails_leaves_the_older_file(tmp_path, error):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(error):
        half_written(path, error)
    assert content(path) == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BadInput, match=r"a\.bin: cannot be written: .*\. Give another place with --to\."):
        check_writable(tmp_path / "file" / "a.bin", "--to")
    with pytest.raises(BadInput, match="cannot be written"), replacing(tmp_path / "file" / "a.bin"):
        raise AssertionError("the block must not run")
    with pytest.raises(BadInput, match=r"is a folder. Give a file with --out, such as .*run\.h5"):
        check_writable(tmp_path)


def test_the_check_leaves_no_trace(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"old")
    check_writable(tmp_path / "a.bin")
    check_writable(tmp_path / "b" / "a.bin")
    assert content(tmp_path / "a.bin") == b"old"
    assert os.listdir(tmp_path / "b") == []


def test_files_that_are_not_read(tmp_path):
    path = tmp_path / "a.bin"
    with pytest.raises(BadInput, match=r"a\.bin: there is no such file; give the path of an \.onnx file\."):
        content(path, "an .onnx file")
    path.write_bytes(b"12345")
    with pytest.raises(BadInput, match=r"a\.bin has 5 bytes; at most 4 are read"):
        content(path, limit=4)
