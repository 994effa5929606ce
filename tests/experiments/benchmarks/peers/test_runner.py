"""Our own runners: spikes of the scan, and the products that are timed."""

import numpy as np
import pytest

from experiments.benchmarks.peers import ours, runner, workloads
from experiments.benchmarks.peers.layered import Form, draw
from experiments.benchmarks.peers.network import save
from experiments.benchmarks.peers.reference import run

PICTURES = Form((2, 8, 8), ((4, 2, 3, 3), (6, 4, 3, 3), (5, 96)), (1,), 3, 12)


@pytest.mark.parametrize("pool", ["max", "average"])
def test_the_scan_gives_the_spikes_of_the_reference(tmp_path, pool):
    network = draw(PICTURES, "int8", 0.1, pool)
    save(network, tmp_path / "W.npz")
    expected = run(network)
    workloads.store(tmp_path / "W.npz", expected.counts, events=np.asarray(expected.events))
    once, counts, version, _ = runner.prepare("jax", str(tmp_path / "W.npz"))
    once()
    for found, wanted in zip(counts(), expected.counts, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert version.startswith("jax")
    products, nothing, _, _ = runner.prepare("gemm", str(tmp_path / "W.npz"))
    products()
    assert list(nothing()) == []


def test_the_compiled_engine_says_that_it_is_absent(tmp_path, monkeypatch):
    monkeypatch.setenv("NEURO_ISA", "none")
    with pytest.raises(NotImplementedError, match="switched off by NEURO_ISA=none"):
        ours.prepare(tmp_path, 1)
    assert ours.rates() is None
