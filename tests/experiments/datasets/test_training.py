"""Labelled training items: none of the test items, prepared like them, and refused where there are none."""

import numpy as np
import pytest

from experiments.datasets import data
from experiments.datasets.training import KNOWN, training_items
from neuro.errors import BadInput


def test_digits_are_apart_from_the_test_items():
    x, y = training_items("digits")
    test = data.load("digits")
    assert (x.shape, y.shape) == ((1000, 1, 8, 8), (1000,))
    np.testing.assert_array_equal(x, test.x_calibration)
    seen = {item.tobytes() for item in x.astype(np.float32)}
    assert not seen & {item.tobytes() for item in test.x}


def test_a_file_with_both_kinds(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {
        "x": rng.random((5, 3)),
        "y": np.arange(5) % 2,
        "x_train": rng.random((7, 3)),
        "y_train": np.arange(7) % 2,
    }
    np.savez(tmp_path / "own.npz", **arrays)
    x, y = training_items(str(tmp_path / "own.npz"))
    np.testing.assert_array_equal(x, arrays["x_train"])
    np.testing.assert_array_equal(y, arrays["y_train"])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((4, 2)), "y": np.zeros(4, int)}, "no x_train"),
        ({"x_train": np.zeros((4, 2)), "y_train": np.zeros(3, int)}, "a whole number"),
        ({"x_train": np.zeros((4, 2)), "y_train": np.zeros(4)}, "a whole number"),
        ({"x_train": np.full((4, 2), np.nan), "y_train": np.zeros(4, int)}, "finite"),
    ],
)
def test_a_file_that_cannot_be_trained_on(tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(BadInput, match=message):
        training_items(str(tmp_path / "bad.npz"))


@pytest.mark.parametrize("name", ["kws01", "no_such_set"])
def test_sets_without_labels_are_refused_with_advice(name):
    with pytest.raises(BadInput, match="without --finetune"):
        training_items(name)


@pytest.mark.parametrize("name", KNOWN)
def test_real_sets(neuro_data, name):
    x, y = training_items(name, neuro_data)
    test = data.load(name, neuro_data)
    assert x.shape[1:] == test.shape
    assert len(x) == len(y)
    assert set(np.unique(y)) == set(np.unique(test.y))
    assert (x.min(), x.max()) == (test.x_calibration.min(), test.x_calibration.max())
    known = {item.tobytes() for item in test.x[:200]}
    assert not known & {item.tobytes() for item in x.astype(np.float32)}
