"""Our own runners: the products that are timed, and an engine that is absent."""

import numpy as np
import pytest

from experiments.benchmarks.peers import ours, runner, workloads
from experiments.benchmarks.peers.layered import Form, draw
from experiments.benchmarks.peers.network import save
from experiments.benchmarks.peers.reference import run

PICTURES = Form((2, 8, 8), ((4, 2, 3, 3), (6, 4, 3, 3), (5, 96)), (1,), 3, 12)


def test_the_products_are_run_and_give_no_spikes(tmp_path):
    network = draw(PICTURES, "int8", 0.1, "max")
    save(network, tmp_path / "W.npz")
    expected = run(network)
    workloads.store(tmp_path / "W.npz", expected.counts, events=np.asarray(expected.events))
    products, nothing, version, _ = runner.prepare("gemm", str(tmp_path / "W.npz"))
    products()
    assert list(nothing()) == []
    assert version == f"numpy {np.__version__}"


def test_the_compiled_engine_says_that_it_is_absent(tmp_path, monkeypatch):
    monkeypatch.setenv("NEURO_ISA", "none")
    with pytest.raises(NotImplementedError, match="switched off by NEURO_ISA=none"):
        ours.prepare(tmp_path, 1)
    assert ours.rates() is None
