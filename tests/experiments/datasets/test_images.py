import gzip
import io
import tarfile

import numpy as np
import pytest

from experiments.datasets import images
from experiments.datasets.data import Preprocessing, fit, load, preprocess
from experiments.regression import errors
from neuro.errors import BadInput


def test_cifar10_records():
    pixels = np.arange(2 * 3072, dtype=np.uint32).astype(np.uint8).reshape(2, 3072)
    data = b"".join(bytes([label]) + row.tobytes() for label, row in zip((7, 2), pixels, strict=True))
    x, y = images.records(data)
    assert y.tolist() == [7, 2]
    assert x[1, 2, 0, 1] == pixels[1, 2 * 1024 + 1]


def test_mnist_is_downloaded_where_no_folder_has_it(tmp_path, monkeypatch):
    def idx(array):
        head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
        return gzip.compress(head + array.astype(np.uint8).tobytes())

    pixels = np.arange(3 * 28 * 28).reshape(3, 28, 28) % 256
    content = {"train-images": pixels[::-1], "t10k-images": pixels, "t10k-labels": np.array([5, 0, 4])}

    def fetch(url, known):
        name = url.rsplit("/", 1)[-1]
        assert known == images.MNIST_FILES[name]
        path = tmp_path / name
        path.write_bytes(idx(content[name.rsplit("-", 2)[0]]))
        return path

    monkeypatch.setattr(images, "fetch", fetch)
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
    monkeypatch.setattr(images, "fetch", lambda url, known: tmp_path / "c.tar.gz")
    data = load("cifar10", tmp_path)
    assert data.y.tolist() == [3]
    assert (data.counts.ravel() == np.arange(3072) % 256).all()
    assert data.x_calibration.shape == (1, 3, 32, 32)


def test_gtsrb(neuro_data):
    data = load("gtsrb", neuro_data)
    with np.load(neuro_data / "driving/gtsrb_32x32.npz", allow_pickle=False) as raw:
        x, y, training = raw["x_test"], raw["y_test"], raw["x_train"]
    assert (data.x.shape, data.layout, data.levels, data.step, data.origin) == (x.shape, "NHWC", 255, 1, 0)
    assert x.shape == (2000, 32, 32, 3)
    assert data.y.tolist() == y.tolist()
    assert np.bincount(data.y)[:3].tolist() == [10, 118, 113]
    assert (data.counts == x).all()
    assert (data.calibration_counts[[0, 1, 999]] == training[[0, 9430 // 1000, 999 * 9430 // 1000]]).all()


def test_marabous_network_reads_gtsrb(neuro_data):
    """The published network in its own runtime: 72.3 % of the 2,000 images, as measured by others."""
    onnxruntime = pytest.importorskip("onnxruntime")
    data = preprocess(load("gtsrb", neuro_data), Preprocessing(scale=1 / 255))
    session = onnxruntime.InferenceSession(neuro_data / "models/onnx/gtsrb_cnn_marabou.onnx")
    (scores,) = session.run(None, {session.get_inputs()[0].name: fit(data, (32, 32, 3)).network_input})
    assert (scores.argmax(1) == data.y).mean() == pytest.approx(0.723, abs=0.001)


def test_deeppicar_has_real_targets(neuro_data):
    data = load("deeppicar", neuro_data)
    with np.load(neuro_data / "driving/deeppicar_lane_150.npz", allow_pickle=False) as raw:
        x, names = raw["x"], raw["name"]
    assert data.y is None
    assert (data.shape, data.layout, data.levels, data.unit) == ((66, 200, 3), "NHWC", 255, "degree")
    assert data.targets.shape == (100, 1)
    assert data.targets[:, 0].tolist() == [int(name[-7:-4]) for name in names[50:]]  # video01_050_070.png: 70 degrees
    assert (data.counts == x[50:]).all()
    assert (data.calibration_counts == x[:50]).all()
    assert "1 real target(s) in degree" in repr(data)
    assert load("deeppicar", neuro_data).sha256 == data.sha256


def test_pilotnet_steers_by_deeppicar(neuro_data):
    """The published network in float64 NumPy on our frames: mean error of the whole drive is 1.84 degrees."""
    h5py = pytest.importorskip("h5py")
    data = preprocess(load("deeppicar", neuro_data), Preprocessing(scale=1 / 255))
    x = fit(data, (66, 200, 3)).network_input.astype(np.float64)
    found = {}
    with h5py.File(neuro_data / "models/keras/deeppicar_lane_navigation.h5") as file:
        file["model_weights"].visititems(
            lambda name, item: (
                found.update({name: item[()]} if item.shape else {}) if isinstance(item, h5py.Dataset) else None
            )
        )
    layers = sorted({name.rsplit("/", 1)[0] for name in found}, key=order)
    weights = [(found[f"{name}/kernel:0"], found[f"{name}/bias:0"]) for name in layers]
    assert [w.ndim for w, _ in weights] == [4] * 5 + [2] * 4
    for (w, b), stride in zip(weights[:5], (2, 2, 2, 1, 1), strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[:2], (1, 2))[:, ::stride, ::stride]
        x = elu(np.tensordot(windows, w, ((4, 5, 3), (0, 1, 2))) + b)
    x = x.reshape(len(x), -1)
    for w, b in weights[5:-1]:
        x = elu(x @ w + b)
    angle = x @ weights[-1][0] + weights[-1][1]
    assert errors(angle, data).mae[0] < 2.5


def order(name):
    """Convolutions before dense layers, each by the number in its name."""
    last = name.rsplit("/", 1)[-1]
    return last.startswith("dense"), int(last.rsplit("_", 1)[-1]) if last[-1].isdigit() else 0


def elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("gtsrb", "driving/gtsrb_32x32.npz"),
        ("deeppicar", "driving/deeppicar_lane_150.npz"),
        ("cifar10", "image/cifar10/cifar10_lossless_subset.npz"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, file):
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PK\3\4rubbish")
    with pytest.raises(BadInput, match=path.name):
        load(name, tmp_path)
    np.savez(path, x=np.zeros((2, 5)))
    with pytest.raises(BadInput, match=path.name):
        load(name, tmp_path)
