"""The compiled engine on the benchmark's networks, against the benchmark's own reference."""

import numpy as np
import pytest

from experiments.benchmarks.peers import ours, reference
from experiments.benchmarks.peers.network import Network
from neuro import native


@pytest.fixture(autouse=True)
def compiled():
    if native.kernels().library is None:
        pytest.skip(f"no compiled kernels: {native.kernels().reason}")


def convolutional(pool: str) -> Network:
    rng = np.random.default_rng(0)
    weights = (
        rng.integers(-9, 10, (5, 3, 3, 3)),
        rng.integers(-9, 10, (6, 5, 3, 3)),
        rng.integers(-9, 10, (10, 24)),
    )
    return Network(rng.integers(0, 16, (3, 3, 4, 4)), 6, weights, (200, 40, 30), (1,), pool)  # type: ignore[arg-type]


@pytest.mark.parametrize(("storage", "pool"), [("int8", "max"), ("int16", "max"), ("int8", "average")])
def test_spikes_are_those_of_the_reference(storage, pool):
    network = convolutional(pool)
    engine = ours.layered(network, storage)
    for mine, want in zip(engine.counts(), reference.run(network).counts, strict=True):
        np.testing.assert_array_equal(mine, np.asarray(want).reshape(mine.shape))
    engine()
    assert engine.bytes_per_weight == (1 if storage == "int8" else 2)


def test_rates_are_those_of_a_machine():
    found = ours.rates()
    assert found is not None
    assert 1e8 < found.bandwidth < 1e13
    assert 1e-13 < found.update < 1e-6
