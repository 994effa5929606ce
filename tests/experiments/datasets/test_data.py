import gzip

import numpy as np
import pytest

from experiments.datasets.arrays import Arrays
from experiments.datasets.data import KNOWN, Preprocessing, from_arrays, load, sidecar, take
from neuro.errors import BadInput


def saved(path, **content):
    np.savez(path, **content)
    return path


def test_digits_are_counts_split_as_the_reference_says():
    from sklearn.datasets import load_digits

    raw, labels = load_digits(return_X_y=True)
    data = load("digits")
    assert (data.levels, data.step, data.origin, data.shape) == (16, 1.0, 0.0, (1, 8, 8))
    assert (data.counts.reshape(797, 64) == raw[1000:]).all()
    assert (data.calibration_counts.reshape(1000, 64) == raw[:1000]).all()
    assert (data.y == labels[1000:]).all()
    assert (data.network_input == data.x).all()


def test_mnist(neuro_data):
    data = load("mnist", neuro_data)
    assert (len(data.x), len(data.x_calibration), data.shape, data.levels) == (10_000, 1_000, (1, 28, 28), 255)
    assert np.bincount(data.y)[:3].tolist() == [980, 1135, 1032]  # as published for the test set
    raw = gzip.decompress((neuro_data / "image/mnist/t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    assert (data.counts.ravel() == np.frombuffer(raw, np.uint8)).all()
    np.testing.assert_allclose(data.network_input, data.x, atol=1e-7)


def test_cifar10_has_channels_first(neuro_data):
    data = load("cifar10", neuro_data)
    with np.load(neuro_data / "image/cifar10/cifar10_lossless_subset.npz", allow_pickle=False) as raw:
        x, y, training = raw["x_test"], raw["y_test"], raw["x_train"]
    assert data.shape == (3, 32, 32)
    assert (data.counts[:, 1] == x[..., 1]).all()
    assert (data.calibration_counts[:, 2] == training[:1000, ..., 2]).all()
    assert (data.y == y).all()


def test_neuro_data_is_read_from_the_environment(neuro_data, monkeypatch):
    monkeypatch.setenv("NEURO_DATA", str(neuro_data))
    assert load("cifar10").sha256 == load("cifar10", neuro_data).sha256


@pytest.mark.parametrize(
    ("x", "levels", "step", "origin"),
    [
        (np.array([[0, 3], [7, 1]], np.int16), 7, 1.0, 0.0),
        (np.array([[-128, 3], [7, 126]], np.int8), 254, 1.0, -128.0),
        (np.array([[True, False]]), 1, 1.0, 0.0),
        (np.array([[0.0, 4.0, 16.0]]), 16, 1.0, 0.0),
        (np.array([[0, 51, 102]]) / 255, 255, 1 / 255, 0.0),
        (np.array([[-1.0, 0.5, 4.1]]), 255, 5.1 / 255, -1.0),
    ],
)
def test_range_of_counts(tmp_path, x, levels, step, origin):
    data = load(saved(tmp_path / "d.npz", x=x))
    assert data.levels == levels
    assert data.step == pytest.approx(step)
    assert data.origin == origin
    assert np.abs(origin + step * data.counts - x).max() <= step / 2 * 1.001
    exact = step == 1.0 or origin == 0.0
    np.testing.assert_allclose(data.network_input, x, atol=1e-7 if exact else step / 2 * 1.001)


def test_sidecar(tmp_path):
    network = tmp_path / "net.onnx"
    assert sidecar(network) == Preprocessing()
    (tmp_path / "net.onnx.input.toml").write_text(
        'scale = 0.00392\nmean = 0.5\nstd = [0.25, 0.2, 0.1]\nlayout = "NHWC"\n'
    )
    assert sidecar(network) == Preprocessing(scale=0.00392, mean=(0.5,), std=(0.25, 0.2, 0.1), layout="NHWC")


@pytest.mark.parametrize(
    ("text", "match"),
    [("scale = ", "TOML"), ("sclae = 1.0", "sclae"), ('layout = "HWC"', "layout"), ('mean = ["a"]', "mean")],
)
def test_sidecar_refuses(tmp_path, text, match):
    (tmp_path / "n.input.toml").write_text(text)
    with pytest.raises(BadInput, match=match) as error:
        sidecar(tmp_path / "n")
    assert "n.input.toml" in str(error.value)


@pytest.mark.parametrize("y", [np.array([0.5, -2.0, 3.0]), np.array([[0.5, 1], [2, 3], [4, 5]], np.float32)])
def test_real_targets(tmp_path, y):
    x = np.arange(6, dtype=np.uint8).reshape(3, 2)
    data = load(saved(tmp_path / "d.npz", x=x, y=y))
    assert data.y is None
    assert (data.targets == y.reshape(3, -1)).all()
    assert data.sha256 != load(saved(tmp_path / "e.npz", x=x, y=y + 1)).sha256
    assert (take(data, 2).targets == data.targets[:2]).all()
    assert take(data, 2).y is None
    assert load(saved(tmp_path / "f.npz", x=x, y=np.array([0, 1, 2]))).targets is None


def test_whole_numbers_reach_as_far_as_they_can():
    x = np.array([[0, 3]], np.uint8)
    assert from_arrays("d", Arrays(x, None, x, "", largest=9)).levels == 9
    assert from_arrays("d", Arrays(x, None, x, "", largest=2)).levels == 3
    signed = np.array([[-4, 3]], np.int8)
    assert from_arrays("d", Arrays(signed, None, signed, "", largest=9)).levels == 13


@pytest.mark.parametrize("name", [name for name in KNOWN if name not in ("digits", "mnist", "cifar10")])
def test_without_a_folder_the_source_is_named(name, monkeypatch, tmp_path):
    monkeypatch.delenv("NEURO_DATA", raising=False)
    with pytest.raises(BadInput, match=r"NEURO_DATA names no folder.*official files: https://") as error:
        load(name)
    assert "docs/data.md" in str(error.value)
    with pytest.raises(BadInput, match=f"{tmp_path} holds no "):
        load(name, tmp_path)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ({"data": np.zeros((2, 2))}, "no array 'x'"),
        ({"x": np.zeros((0, 4))}, r"x has shape \(0, 4\)"),
        ({"x": np.zeros((4, 0))}, r"x has shape \(4, 0\)"),
        ({"x": np.zeros(4)}, r"x has shape \(4,\)"),
        ({"x": np.array([[1, 2], [3, NAN], [INF, 1]])}, r"x\[1, 1\] is nan, the first of 2"),
        ({"x": np.array([[1.0, 1e300]])}, r"x\[0, 1\] is 1e\+300"),
        ({"x": np.eye(2), "x_calibration": np.array([[INF, 0]])}, r"x_calibration\[0, 0\] is inf"),
        ({"x": np.eye(2), "x_calibration": np.eye(3)}, r"\(2,\).*\(3,\)"),
        ({"x": np.eye(2), "y": np.arange(3)}, r"y has shape \(3,\), x has 2 items"),
        ({"x": np.eye(2), "y": np.array([True, False])}, "whole numbers"),
        ({"x": np.eye(2), "y": np.array([0.0, 1.0, 2.0])}, r"targets of shape \(3,\), x has 2 items"),
        ({"x": np.eye(2), "y": np.zeros((2, 0))}, r"targets of shape \(2, 0\)"),
        ({"x": np.eye(2), "y": np.zeros((2, 1, 1))}, r"targets of shape \(2, 1, 1\)"),
        ({"x": np.eye(2), "y": np.array([[0.0, 1.0], [INF, 1.0]])}, r"target y\[1, 0\] is inf"),
        ({"x": np.eye(2), "y": np.array([-1, 1])}, "whole numbers from 0"),
        ({"x": np.array([["a", "b"]])}, "only real numbers"),
        ({"x": np.eye(2) * 1j}, "only real numbers"),
        ({"x": np.array([[{}, {}]], dtype=object)}, "d.npz: not a readable .npz"),
        ({"x": np.full((2, 2), 0.3)}, "all values are 0.3"),
        ({"x": np.zeros((2, 2), np.uint8)}, "all values are 0"),
        ({"x": np.array([[0, 2**24 + 1]])}, "the limit is 16,777,216"),
    ],
)
def test_unusable_arrays_are_refused(tmp_path, content, match):
    path = saved(tmp_path / "d.npz", **content)
    with pytest.raises(BadInput, match=match):
        load(path)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("minst", "unknown data set 'minst'. Did you mean 'mnist'?"),
        ("there/is/none.npz", "no such file"),
        ("pyproject.toml", "no such file|read from .npz"),
    ],
)
def test_unknown_names(name, match):
    with pytest.raises(BadInput, match=match):
        load(name)


def test_the_first_label_below_zero_is_named():
    x = np.arange(6).reshape(3, 2)
    with pytest.raises(BadInput, match=r"n: label y\[1\] is -3; classes are whole numbers from 0 on"):
        from_arrays("n", Arrays(x, np.array([0, -3, -1]), x, ""))
