"""The figure: drawn where there are densities."""

from dataclasses import replace

from experiments.benchmarks.peers.figure import draw
from experiments.benchmarks.peers.workloads import Case
from tests.experiments.benchmarks.peers.test_results import measured


def test_time_against_density_with_the_bound(tmp_path):
    points = [measured(density="0.2"), measured(density="0.05"), measured(density="trained")]
    assert draw(points, tmp_path / "runs" / "peers.svg")
    text = (tmp_path / "runs" / "peers.svg").read_text()
    for label in ("compiled", "slow", "gemm", "event bound, compiled", "W1"):
        assert f"<!-- {label} -->" in text


def test_nothing_to_draw(tmp_path):
    assert not draw([replace(measured(), case=Case("W3", "all"))], tmp_path / "peers.svg")
    assert not (tmp_path / "peers.svg").exists()
