import gzip
import http.server
import threading
import zipfile
from hashlib import sha256

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.datasets import arrays
from experiments.datasets.data import load
from neuro.errors import BadInput


def saved(path, **content):
    np.savez(path, **content)
    return path


def test_hdf5_equals_npz(tmp_path):
    x, y = np.arange(24, dtype=np.uint8).reshape(4, 6), np.array([0, 1, 1, 0])
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["x"], file["y"], file["x_calibration"] = x, y, x[:2]
    one, two = load(tmp_path / "d.h5"), load(saved(tmp_path / "d.npz", x=x, y=y, x_calibration=x[:2]))
    assert one.sha256 == two.sha256
    assert (one.counts == two.counts).all()
    assert (one.y == y).all()
    assert len(one.x_calibration) == 2
    assert one.sha256 != load(saved(tmp_path / "e.npz", x=x, y=1 - y, x_calibration=x[:2])).sha256


def test_calibration_on_test_items_is_said(tmp_path):
    x = np.arange(6, dtype=np.uint8).reshape(3, 2)
    assert load(saved(tmp_path / "d.npz", x=x)).description.endswith(
        "no x_calibration: calibrated on the first 3 items"
    )
    assert load(saved(tmp_path / "e.npz", x=x[:1])).description.endswith("calibrated on the first item")
    many = load(saved(tmp_path / "f.npz", x=np.arange(2004, dtype=np.uint16).reshape(1002, 2)))
    assert many.description.endswith("calibrated on the first 1,000 items")


def test_a_single_number_is_no_item(tmp_path):
    with pytest.raises(BadInput, match=r"d\.npz: x is a single number; .* \[item, value\]"):
        load(saved(tmp_path / "d.npz", x=np.float32(3)))


def test_a_directory_is_named_as_one(tmp_path):
    (tmp_path / "d.npz").mkdir()
    with pytest.raises(BadInput, match=r"d\.npz: this is a directory, not a file"):
        load(tmp_path / "d.npz")


@pytest.mark.parametrize(
    ("y", "told"),
    [
        ([0, -1, 2], r"y_train\[1\] is -1;"),
        ([0, 1, 0.5], r"y_train\[2\] is 0\.5;"),
        ([0.0, 1, 2], "y_train is float64;"),
    ],
)
def test_training_labels_that_are_no_classes(tmp_path, y, told):
    path = saved(tmp_path / "d.npz", x_train=np.ones((3, 2), np.float32), y_train=np.array(y))
    with pytest.raises(BadInput, match=told):
        arrays.labelled(path)


@pytest.mark.parametrize(("name", "content"), [("d.npz", b"PK\3\4rubbish"), ("d.npz", b""), ("d.h5", b"rubbish")])
def test_damaged_files_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match="not a readable"):
        load(tmp_path / name)


def test_a_bare_pickle_is_not_loaded(tmp_path):
    """Numbers saved as .npz by name only; loading it would run the code in it."""
    import pickle

    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was loaded",))

    (tmp_path / "d.npz").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(BadInput, match="not a readable"):
        load(tmp_path / "d.npz")


def test_an_hdf5_group_is_no_array(tmp_path):
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.create_group("x")
    with pytest.raises(BadInput, match="no array 'x'"):
        load(tmp_path / "d.h5")


def test_other_formats_are_named(tmp_path):
    (tmp_path / "d.csv").write_text("1,2")
    with pytest.raises(BadInput, match=r"not \.csv"):
        load(tmp_path / "d.csv")


@pytest.mark.parametrize("content", [b"\0\0\x0d\1\0\0\0\2ab", b"\0\0\x08\1\0\0\0\3ab", b"\0\0\x08"])
def test_damaged_idx_files(tmp_path, content):
    (tmp_path / "d.gz").write_bytes(gzip.compress(content))
    with pytest.raises(BadInput, match="not a readable gzipped IDX"):
        arrays.idx(tmp_path / "d.gz")


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A local server of one file; yields its address."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "d.gz").write_bytes(b"content")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path / "served"))

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def test_fetch_checks_the_hash(server, tmp_path):
    known = f"sha256:{sha256(b'content').hexdigest()}"
    path = arrays.fetch(f"{server}/d.gz", known, tmp_path / "cache")
    assert path.read_bytes() == b"content"
    with pytest.raises(BadInput, match=r"cannot be downloaded.*NEURO_DATA"):
        arrays.fetch(f"{server}/d.gz", f"sha256:{'0' * 64}", tmp_path / "other")
    with pytest.raises(BadInput, match="cannot be downloaded"):
        arrays.fetch(f"{server}/none.gz", known, tmp_path / "other")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ({"x": np.zeros((2, 3), np.uint8)}, "no array 'y'"),
        ({"x": np.zeros((2, 4), np.uint8), "y": np.zeros(2, int)}, r"x is uint8 of shape \(2, 4\).*\(2, 3\)"),
        ({"x": np.zeros((2, 3)), "y": np.zeros(2, int)}, "x is float64"),
        ({"x": np.zeros((2, 3), np.uint8), "y": np.zeros(5, int)}, r"y is int64 of shape \(5,\).*\(2,\)"),
        ({"x": np.zeros(3, np.uint8), "y": np.zeros(3, int)}, r"x is uint8 of shape \(3,\)"),
    ],
)
def test_members_have_the_shapes_that_were_asked_for(tmp_path, content, match):
    with pytest.raises(BadInput, match=match):
        arrays.members(saved(tmp_path / "d.npz", **content), {"x": ("n", 3), "y": ("n",)})


def test_members(tmp_path):
    path = saved(tmp_path / "d.npz", x=np.ones((2, 3), np.int8), y=np.array(["a", "b"]), z=np.zeros(1))
    x, y = arrays.members(path, {"x": ("n", 3), "y": ("n",)})
    assert x.tolist() == [[1, 1, 1]] * 2
    assert y.tolist() == ["a", "b"]


def test_a_header_that_promises_more_than_the_file_holds(tmp_path):
    """2**60 bytes announced, three there: refused, not allocated."""
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1152921504606846976,), }".ljust(117) + b"\n"
        archive.writestr("x.npy", b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + b"abc")
    with pytest.raises(BadInput, match="not a readable"):
        load(tmp_path / "d.npz")


@pytest.mark.parametrize("fault", [b"{'descr': '|u1', 'shape': (3,", b"{'descr': 1 2}", b"(" * 100])
def test_headers_that_are_no_table(tmp_path, fault):
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        header = fault.ljust(117) + b"\n"
        archive.writestr("x.npy", b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + b"abc")
    with pytest.raises(BadInput, match="not a readable"):
        load(tmp_path / "d.npz")


def test_an_hdf5_file_that_promises_more_than_memory(tmp_path):
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file.create_dataset("x", (2**20, 2**20), "u1", chunks=(1, 2**20))  # nothing written: the file stays small
    with pytest.raises(BadInput, match=r"1,099,511,627,776 bytes; the limit is 4,294,967,296"):
        load(tmp_path / "d.h5")


def test_arrays_too_large_to_unpack(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "LARGEST_FILE", 1000)
    with pytest.raises(BadInput, match="the limit is 1,000"):
        load(saved(tmp_path / "d.npz", x=np.zeros((2, 1000), np.uint8)))


def test_unzipped(tmp_path):
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        archive.writestr("a", b"12345")
    assert arrays.unzipped(tmp_path / "d.zip", 5) == {"a": b"12345"}
    with pytest.raises(BadInput, match="a takes 5 bytes; the limit is 4"):
        arrays.unzipped(tmp_path / "d.zip", 4)
    (tmp_path / "d.zip").write_bytes(b"PK\3\4")
    with pytest.raises(BadInput, match="not a readable zip"):
        arrays.unzipped(tmp_path / "d.zip", 5)


def test_place_says_where_to_get_the_file(tmp_path):
    with pytest.raises(BadInput, match=r"names no folder.*image/a.npz.*official files: there.*NEURO_DATA"):
        arrays.place(None, "image/a.npz", "there")
    with pytest.raises(BadInput, match=r"holds no image/a.npz"):
        arrays.place(tmp_path, "image/a.npz", "there")


@given(st.integers(0, 5000))
def test_spread_is_even(items):
    chosen = arrays.spread(items)
    assert len(chosen) == min(items, 1000)
    gaps = np.diff(chosen, append=items)
    assert (chosen[:1] == 0).all()
    assert len(chosen) == 0 or (gaps.min() >= 1 and gaps.max() - gaps.min() <= 1)


@given(st.lists(st.integers(0, 4), max_size=30))
def test_mixed_takes_one_of_each_class_in_turn(labels):
    y = np.array(labels, np.int64)
    expected, left = [], list(range(len(y)))
    while left:
        firsts = {int(y[i]): i for i in reversed(left)}  # the first of each class that is left
        expected += [firsts[k] for k in sorted(firsts)]
        left = [i for i in left if i not in firsts.values()]
    assert arrays.mixed(y).tolist() == expected
