"""The rounds: everyone in turn, with toy runners."""

import sys

import numpy as np
import pytest

from experiments.benchmarks.peers import protocol
from experiments.benchmarks.peers.bed import chosen, measure
from experiments.benchmarks.peers.results import as_json
from experiments.benchmarks.peers.roster import Entry
from experiments.benchmarks.peers.session import launch
from experiments.benchmarks.peers.workloads import CASES, Case

TOY = """
import numpy as np
def prepare(name, path):
    if name == "broken":
        raise ValueError("no such simulator")
    with np.load(path) as f:
        counts = f["counts0"] + (name == "wrong")
    return (lambda: {"ours": 0.1, "right": 1.0, "wrong": 0.01}[name]), (lambda: [counts]), "1"
"""


def test_a_peer_that_differs_gets_no_ratio(tmp_path):
    (tmp_path / "toy_runner.py").write_text(TOY)
    for name in ("W3-all.npz", "W3-all.counts.npz"):
        np.savez(tmp_path / name, counts0=np.arange(4)[None])
    command = [sys.executable, "-P", protocol.__file__, str(tmp_path / "toy_runner.py")]
    entries = tuple(
        Entry(name, "ours" if name == "ours" else "peer", "toy", "", ("W3",))
        for name in ("ours", "right", "wrong", "broken")
    )
    found = measure(
        Case("W3", "all"), tmp_path / "W3-all.npz", entries,
        lambda entry, path, threads: launch(entry, command, path, threads, tmp_path / "work"), rounds=2,
    )  # fmt: skip
    assert found.absent == {"broken": "ValueError: no such simulator"}
    assert [len(t.wall) for t in found.timings] == [2, 2, 2]
    result = as_json([found])["W3"]["all"]
    assert result["peers_ms"] == {"right": 1000.0}
    assert result["ratio_to_fastest_peer"] == pytest.approx(10)


def test_cases_are_chosen_by_name():
    assert chosen(None, None) == list(CASES)
    assert chosen("W1,W3", "0.05,all") == [Case("W1", "0.05"), Case("W3", "all")]
