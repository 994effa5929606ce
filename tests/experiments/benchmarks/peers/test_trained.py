"""Training and quantising on a toy problem."""

import jax
import numpy as np

from experiments.benchmarks.peers.layered import Form
from experiments.benchmarks.peers.reference import run
from experiments.benchmarks.peers.trained import Data, accuracy, spiking, train

FORM = Form((2, 4, 4), ((8, 2, 3, 3), (3, 32)), (0,), 60, 32)


def test_a_toy_problem_is_learnt_and_survives_as_spikes():
    """Three classes: bright above, below, or in the second channel: the same when mirrored."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 400)
    x = rng.integers(0, 4, (400, 2, 4, 4))
    x[y == 0, 0, :2] += 11
    x[y == 1, 0, 2:] += 11
    x[y == 2, 1] += 11
    data = Data(x[:300].astype(np.uint8), y[:300], x[300:].astype(np.uint8), y[300:])
    with jax.numpy_dtype_promotion("standard"):  # Adam raises a float to the power of an integer
        weights = train(FORM, data, steps=300, batch=50, rate=3e-3)
    assert accuracy(weights, FORM, data.x_test, data.y_test) > 0.95
    network = spiking(weights, FORM, data)
    assert all(weight.dtype == np.int8 for weight in network.weights)
    assert (run(network).counts[-1].argmax(axis=1) == data.y_test[:60]).mean() > 0.9
