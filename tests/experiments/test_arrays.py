import gzip
import http.server
import io
import tarfile
import threading
from hashlib import sha256

import h5py
import numpy as np
import pytest

from experiments import arrays
from experiments.data import load
from neuro.errors import BadInput


def saved(path, **content):
    np.savez(path, **content)
    return path


def test_cifar10_records():
    pixels = np.arange(2 * 3072, dtype=np.uint32).astype(np.uint8).reshape(2, 3072)
    data = b"".join(bytes([label]) + row.tobytes() for label, row in zip((7, 2), pixels, strict=True))
    x, y = arrays.records(data)
    assert y.tolist() == [7, 2]
    assert x[1, 2, 0, 1] == pixels[1, 2 * 1024 + 1]


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
    assert "no x_calibration" in load(saved(tmp_path / "d.npz", x=x)).description


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


def test_mnist_is_downloaded_where_no_folder_has_it(tmp_path, monkeypatch):
    def idx(array):
        head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
        return gzip.compress(head + array.astype(np.uint8).tobytes())

    pixels = np.arange(3 * 28 * 28).reshape(3, 28, 28) % 256
    content = {"train-images": pixels[::-1], "t10k-images": pixels, "t10k-labels": np.array([5, 0, 4])}

    def fetch(url, known):
        name = url.rsplit("/", 1)[-1]
        assert known == arrays.MNIST_FILES[name]
        path = tmp_path / name
        path.write_bytes(idx(content[name.rsplit("-", 2)[0]]))
        return path

    monkeypatch.setattr(arrays, "fetch", fetch)
    data = load("mnist", tmp_path)
    assert (data.counts[:, 0] == pixels).all()
    assert (data.calibration_counts[:, 0] == pixels[::-1]).all()
    assert data.y.tolist() == [5, 0, 4]


def test_cifar10_is_read_from_its_archive(tmp_path, monkeypatch):
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz") as archive:
        for name, label in (("test_batch", 3), ("data_batch_1", 6)):
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            data = bytes([label]) + (np.arange(3072) % 256).astype(np.uint8).tobytes()
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    monkeypatch.setattr(arrays, "fetch", lambda url, known: tmp_path / "c.tar.gz")
    data = load("cifar10", tmp_path)
    assert data.y.tolist() == [3]
    assert (data.counts.ravel() == np.arange(3072) % 256).all()
    assert data.x_calibration.shape == (1, 3, 32, 32)
