import io
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.datasets.arrays import CALIBRATION
from experiments.datasets.digits import EPSILON, Training, digits_cnn, graph, train
from experiments.datasets.images import digit_images
from neuro.evaluate import evaluate
from neuro.graph import digest

SHORT = Training(channels=(4, 6, 8), epochs=1, batch=250)


@pytest.fixture(scope="module")
def weights():
    return train(SHORT, progress=False)


def convolve(x, weight):
    """3x3 cross-correlation with one pixel of zeros around, by a sum over the nine shifts."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    height, width = x.shape[2:]
    return sum(
        np.einsum("oc,bchw->bohw", weight[:, :, i, j], padded[:, :, i : i + height, j : j + width])
        for i in range(3)
        for j in range(3)
    )


def halve(x):
    return (x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]) / 4


def logits(w, x):
    """The network in float64 NumPy, batch norm written out."""
    w = {name: array.astype(np.float64) for name, array in w.items()}

    def norm(h, layer):
        mean, variance, scale, bias = (
            w[f"{layer}.{key}"][:, None, None] for key in ("mean", "variance", "scale", "bias")
        )
        return scale * (h - mean) / np.sqrt(variance + EPSILON) + bias

    h = np.maximum(norm(convolve(x / 16, w["conv1.weight"]), "conv1"), 0)
    h = halve(np.maximum(norm(convolve(h, w["conv2.weight"]), "conv2"), 0))
    h = halve(np.maximum(convolve(h, w["conv3.weight"]) + w["conv3.bias"][:, None, None], 0))
    return h.reshape(len(x), -1) @ w["dense.weight"].T + w["dense.bias"]


def test_two_trainings_give_the_same_weights(weights):
    again = train(SHORT, progress=False)
    assert weights.keys() == again.keys()
    assert all((weights[name] == again[name]).all() for name in weights)


def test_another_seed_gives_other_weights(weights):
    other = train(replace(SHORT, seed=1), progress=False)
    assert (weights["conv1.weight"] != other["conv1.weight"]).any()


def test_graph_agrees_with_an_independent_forward_pass(weights):
    x = digit_images()[0][:40]
    ours = np.asarray(evaluate(graph(weights), jnp.asarray(x))["dense"])
    np.testing.assert_allclose(ours, logits(weights, x.astype(np.float64)), rtol=1e-4, atol=1e-4)


def test_batch_norms_keep_the_statistics_of_the_training_set(weights):
    x = digit_images()[0][:CALIBRATION].astype(np.float64)
    first = convolve(x / 16, weights["conv1.weight"].astype(np.float64))
    np.testing.assert_allclose(weights["conv1.mean"], first.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(weights["conv1.variance"], first.var((0, 2, 3)), rtol=1e-4, atol=1e-5)


def test_cache_returns_the_same_network_and_survives_damage(tmp_path, weights):
    expected = digest(graph(weights))
    assert digest(digits_cnn(progress=False, cache=tmp_path, training=SHORT)) == expected
    (file,) = tmp_path.iterdir()
    with np.load(file, allow_pickle=False) as stored:
        assert all((stored[name] == weights[name]).all() for name in weights)

    marked = dict(weights) | {"dense.bias": weights["dense.bias"] + 1}
    np.savez(file, allow_pickle=False, **marked)
    assert digest(digits_cnn(progress=False, cache=tmp_path, training=SHORT)) == digest(graph(marked)), "not read"

    file.write_bytes(file.read_bytes()[:300])
    assert digest(digits_cnn(progress=False, cache=tmp_path, training=SHORT)) == expected
    with np.load(file, allow_pickle=False) as stored:
        assert (stored["dense.bias"] == weights["dense.bias"]).all()


@pytest.mark.parametrize("damage", [{"dense.bias": np.zeros(9, np.float32)}, {"dense.bias": np.full(10, np.nan)}])
def test_a_cached_file_of_wrong_content_is_replaced(tmp_path, weights, damage):
    digits_cnn(progress=False, cache=tmp_path, training=SHORT)
    (file,) = tmp_path.iterdir()
    np.savez(file, allow_pickle=False, **(weights | damage))
    assert digest(digits_cnn(progress=False, cache=tmp_path, training=SHORT)) == digest(graph(weights))


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path, weights):
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert digest(digits_cnn(progress=False, cache=blocked, training=SHORT)) == digest(graph(weights))


def test_progress_is_silent_when_not_a_terminal(capfd, monkeypatch):
    monkeypatch.setattr("sys.stderr", io.StringIO())
    train(SHORT, progress=True)
    assert capfd.readouterr() == ("", "")


def test_reference_network_classifies_held_out_digits(tmp_path_factory):
    x, y = digit_images()
    network = digits_cnn(progress=False)
    decisions = np.asarray(evaluate(network, jnp.asarray(x[CALIBRATION:]))["dense"]).argmax(1)
    assert (decisions == y[CALIBRATION:]).mean() >= 0.97
    assert [network.shapes[n] for n in ("input", "pool2", "pool3", "dense")] == [
        (1, 8, 8),
        (32, 4, 4),
        (32, 2, 2),
        (10,),
    ]
