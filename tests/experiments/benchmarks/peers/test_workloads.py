"""Workload files: names, caching, and a perceptron without ties."""

import numpy as np

from experiments.benchmarks.peers import workloads
from experiments.benchmarks.peers.reference import run
from experiments.benchmarks.peers.workloads import CASES, Case, counts, counts_path, make, perceptron


def test_the_dvs_network_is_named_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("NEURO_DATA", str(tmp_path))
    path = make(Case("W4", "all"), tmp_path / "cache")
    assert counts(counts_path(path))[0].tolist() == [[workloads.DVS_SPIKES]]
    monkeypatch.delenv("NEURO_DATA")
    assert make(Case("W4", "all"), tmp_path / "cache") == path


def test_cases_are_unique():
    assert len(set(CASES)) == len(CASES)
    assert Case("W1", "0.05") in CASES


def test_the_perceptron_fires_alike_on_and_above_the_threshold():
    network = perceptron()
    found = run(network).counts
    assert all((weight % 2 == 0).all() for weight in network.weights)
    v, total = np.zeros((1, 256)), np.zeros((1, 256))
    first = network.x.astype(float) @ network.weights[0].T.astype(float)
    for _ in range(network.steps):
        v += first
        spikes = v > network.thresholds[0]
        v -= spikes * network.thresholds[0]
        total += spikes
    np.testing.assert_array_equal(total, found[0])
