"""Who takes part in what."""

from pathlib import Path

from experiments.benchmarks.peers import roster
from experiments.benchmarks.peers.workloads import CASES


def test_every_workload_has_ours_and_peers():
    for workload in {case.workload for case in CASES}:
        kinds = {entry.kind for entry in roster.of(workload)}
        assert {"ours", "peer"} <= kinds


def test_names_are_unique_and_scripts_exist():
    assert len({entry.name for entry in roster.ROSTER}) == len(roster.ROSTER)
    folder = Path(roster.__file__).parent
    assert all((folder / entry.script).is_file() for entry in roster.ROSTER)
    assert [entry.name for entry in roster.of("W3") if entry.kind == "peer"] == [
        "brainevent", "brian2_standalone", "brian2_cython",
    ]  # fmt: skip
