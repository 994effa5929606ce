"""What is saved is what is loaded, and a half file is never left."""

import numpy as np
import pytest

from experiments.benchmarks.peers.network import Network, load, save, write


@pytest.mark.parametrize("accuracy", [None, 0.5])
def test_what_is_saved_is_loaded(tmp_path, accuracy):
    weights = (np.ones((3, 2, 3, 3), np.int8), np.full((4, 12), 0.25, np.float32))
    network = Network(np.ones((2, 2, 4, 4), np.uint8), 7, weights, (3, 1.5), (0,), "average", 0.25, accuracy)
    save(network, tmp_path / "net.npz")
    found = load(tmp_path / "net.npz")
    for ours, theirs in zip(network.weights, found.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(found.x, network.x)
    assert (found.steps, found.thresholds, found.pooled, found.pool) == (7, (3, 1.5), (0,), "average")
    assert (found.grid, found.accuracy) == (0.25, accuracy)


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path):
    write(tmp_path / "a.npz", x=np.arange(3))
    with pytest.raises(ValueError, match="Object arrays"):
        write(tmp_path / "a.npz", x=np.array([object()]))
    with np.load(tmp_path / "a.npz") as found:
        np.testing.assert_array_equal(found["x"], np.arange(3))
