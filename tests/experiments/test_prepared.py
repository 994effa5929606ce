"""A network and its data, fitted to each other; what the host does taken off the front."""

import numpy as np
import pytest

from experiments.datasets import data
from experiments.datasets.arrays import Arrays
from experiments.datasets.dataset import resize
from experiments.prepared import Asked, judged, prepared
from neuro.errors import BadInput


def test_bundled():
    found = prepared(Asked("digits-cnn", samples=7))
    assert (len(found.dataset.x), found.format, found.host, found.converted) == (7, "bundled", None, None)


def test_text_by_the_networks_own_words(neuro_data):
    path = neuro_data / "models" / "text" / "sst2_avgword_nlclassifier.tflite"
    found = prepared(Asked(str(path), data="sst2", samples=50))
    assert found.host is not None
    assert found.dataset.shape == found.network.shapes[found.network.input.name] == (16, 1)
    assert found.dataset.levels == 255
    fewer = prepared(Asked(str(path), data="sst2", samples=50, input_levels=15))
    assert fewer.dataset.levels == 15


def images(layout: str) -> data.DataSet:
    x = np.arange(2 * 3 * 4).reshape(1, 2, 3, 4).astype(np.float32)  # 4 rows and columns are taken from the last axes
    x = x if layout == "NCHW" else x.transpose(0, 2, 3, 1)
    return data.from_arrays("images", Arrays(x, None, x, ""))


def test_resizing_takes_the_nearest_pixel():
    """3 rows as 6: each twice; 4 columns as 2: the second and the fourth."""
    found = resize(images("NCHW"), (6, 2))
    assert found.shape == (2, 6, 2)
    assert found.x[0, 0].tolist() == [[1, 3], [1, 3], [5, 7], [5, 7], [9, 11], [9, 11]]
    last = resize(images("NHWC"), (6, 2))
    np.testing.assert_array_equal(last.x[0].transpose(2, 0, 1), found.x[0])
    assert "resized to 6x2" in found.description


@pytest.mark.parametrize("size", [(0, 3), (5000, 3)])
def test_sizes_out_of_range(size):
    with pytest.raises(BadInput, match="cannot be resized"):
        resize(images("NCHW"), size)


def test_what_is_no_image_keeps_its_size():
    x = np.zeros((3, 5), np.float32) + np.arange(5, dtype=np.float32)
    with pytest.raises(BadInput, match=r"items of \(5,\) cannot be resized"):
        resize(data.from_arrays("rows", Arrays(x, None, x, "")), (2, 2))


def test_classes_beyond_the_outputs_are_refused_where_decisions_count(tmp_path):
    """The digits network has ten outputs."""
    x = np.random.default_rng(0).integers(0, 17, (4, 1, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "d.npz", x=x, y=np.array([0, 9, 13, 1]))
    asked = Asked(network="digits-cnn", data=str(tmp_path / "d.npz"))
    assert len(prepared(asked).dataset.counts) == 4
    with pytest.raises(BadInput, match=r"d\.npz: y holds class 13; the network has 10 outputs"):
        judged(asked)
