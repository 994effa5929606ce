"""Ratios by hand, the JSON object's shape, and the file of all times."""

import json
from dataclasses import replace

import h5py
import pytest

from experiments.benchmarks.peers.bound import Rates
from experiments.benchmarks.peers.results import Measured, Timing, as_json, store, table
from experiments.benchmarks.peers.roster import Entry
from experiments.benchmarks.peers.workloads import Case
from experiments.terminal import screen


def timed(name: str, kind, *wall: float, cpu: float = 9.0, differs: str | None = None, own: bool = False) -> Timing:
    entry = Entry(name, kind, None, "x", ("W1",), counts=kind != "floor")
    return Timing(entry, wall, (cpu,) * len(wall), 10.0, {"load_s": 1.0, "own_clock": own}, differs)


def measured(*more: Timing, density: str = "0.05") -> Measured:
    timings = (
        timed("compiled", "ours", 0.010, 0.012, 0.050), timed("jax", "ours", 0.2), timed("gemm", "floor", 0.048),
        timed("slow", "peer", 0.3, 0.24, 0.5), timed("fast", "peer", 0.12, 0.11, 0.2), *more,
    )  # fmt: skip
    return Measured(Case("W1", density), 1, timings, {"norse": "no such version"}, {"compiled": 0.009})


def test_ratios_are_of_medians_and_of_the_fastest():
    found = as_json([measured(), measured(density="0.2")])
    assert set(found) == {"W1"}
    assert set(found["W1"]) == {"0.05", "0.2"}
    assert found["W1"]["0.05"] == {
        "ours_ms": {"compiled": pytest.approx(12), "jax": pytest.approx(200)},
        "peers_ms": {"slow": pytest.approx(300), "fast": pytest.approx(120)},
        "ratio_to_fastest_peer": pytest.approx(10),
        "share_of_bound": pytest.approx(0.75),
        "ratio_to_gemm": pytest.approx(0.25),
    }
    assert json.loads(json.dumps(found)) == found


def test_the_ratio_is_that_of_bytes_and_the_share_that_of_16_bits():
    """Though the others are faster: 0.12 s over 12 ms, and 8 of 10 ms."""
    found = measured(timed("compiled_int16", "ours", 0.010))
    both = replace(found, bounds=found.bounds | {"compiled_int16": 0.008}).ratios()
    assert both["ratio_to_fastest_peer"] == pytest.approx(10)
    assert both["share_of_bound"] == pytest.approx(0.8)
    assert both["ratio_to_gemm"] == pytest.approx(0.25)


def test_who_gives_other_spikes_gets_no_ratio():
    cheat = timed("cheat", "peer", 1e-6, differs="layer 0: 1 of 2 counts differ, by up to 1")
    (found,) = as_json([measured(cheat)])["W1"].values()
    assert "cheat" not in found["peers_ms"]
    assert found["ratio_to_fastest_peer"] == pytest.approx(10)


def test_ours_that_gives_other_spikes_leaves_no_ratio():
    alone = Measured(Case("W3", "all"), 1, (timed("compiled", "ours", 1.0, differs="x"), timed("b", "peer", 1.0)))
    found = as_json([alone])["W3"]["all"]
    assert found["ours_ms"] == {}
    assert [found[k] for k in ("ratio_to_fastest_peer", "share_of_bound", "ratio_to_gemm")] == [None] * 3


def test_a_simulator_with_its_own_clock_keeps_it():
    assert timed("a", "peer", 1.0, 2.0, 4.0).seconds("cpu") == 9.0
    assert timed("a", "peer", 1.0, 2.0, 4.0, own=True).seconds("cpu") == 2.0


def test_all_times_are_stored(tmp_path):
    store([measured()], tmp_path / "runs" / "peers.h5", Rates(1e11, 1e-10))
    with h5py.File(tmp_path / "runs" / "peers.h5") as file:
        runner = file["W1/0.05/1/slow"]
        assert isinstance(runner, h5py.Group)
        assert runner["wall"][:].tolist() == [0.3, 0.24, 0.5]
        assert runner["wall"].attrs["unit"] == "s"
        assert runner.attrs["kind"] == "peer"
        assert json.loads(file["W1/0.05/1"].attrs["absent"]) == {"norse": "no such version"}
        assert file.attrs["l2_bytes_per_s"] == 1e11


def test_the_table_shows_who_differs_and_who_is_absent(capsys):
    screen().print(table(measured(timed("cheat", "peer", 1e-6, differs="layer 0 differs"))))
    text = capsys.readouterr().out
    assert "no such version" in text
    assert "layer 0 differs" in text
    assert "not compared" in text
