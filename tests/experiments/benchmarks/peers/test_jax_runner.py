"""The scan that other simulators on JAX are held beside: spikes of the reference, pictures channels last."""

import numpy as np
import pytest

from experiments.benchmarks.peers import jax_runner
from experiments.benchmarks.peers.layered import Form, draw
from experiments.benchmarks.peers.network import save
from experiments.benchmarks.peers.reference import run

PICTURES = Form((2, 8, 8), ((4, 2, 3, 3), (6, 4, 3, 3), (5, 96)), (1,), 3, 12)


@pytest.mark.parametrize("pool", ["max", "average"])
def test_the_scan_gives_the_spikes_of_the_reference(tmp_path, pool):
    network = draw(PICTURES, "int8", 0.1, pool)
    save(network, tmp_path / "W.npz")
    once, counts, _ = jax_runner.prepare("jax_scan", str(tmp_path / "W.npz"))
    once()
    for found, wanted in zip(counts(), run(network).counts, strict=True):
        np.testing.assert_array_equal(found, wanted)
