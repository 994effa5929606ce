"""Bands and rows as plain data."""

from dataclasses import replace
from functools import partial

import numpy as np

from experiments.arm import Arm, Machine
from experiments.records.record_rows import held_against
from experiments.summary import band, basis, waits_for
from neuro import chip
from neuro.counts import Counts, Path


def test_band_by_hand():
    assert band(np.arange(101.0)) == {"p5": 5.0, "p50": 50.0, "p95": 95.0}


def arm(name: str = "loihi2", kind: str = "neuromorphic") -> Arm:
    found = chip.load(name)
    machine = Machine(kind, found, partial(chip.prices, found))
    # Two items with one stage and two cores; the second core is the slower one.
    waits = np.zeros((2, 1, 2, 3), np.float32)
    waits[:, 0, 0] = [10, 0, 0]
    waits[:, 0, 1] = [0, 1000, 30]
    path = Path(("host_write", "synop_conv", "barrier"), waits)
    return Arm(machine, "spiking", "single", "spikes", 0.9, "bits", Counts({}, path, path))


def test_what_an_arm_waits_for_by_hand():
    time = chip.load("loihi2").time
    seconds = 1000 * time.synop_conv.value, 30 * time.barrier.value
    assert seconds[1] > seconds[0] > 10 * time.host_write.value / 2
    share = max(seconds) / sum(seconds)
    assert waits_for(arm(), "chip") == f"bound by the barrier ({share:.0%} of the time)"
    counts = arm().counts
    much = Path(counts.latency.names, counts.latency.counts * np.float32([1000, 1, 1]))
    busy = replace(arm(), counts=replace(counts, latency=much))
    assert waits_for(busy, "chip") == "I/O-bound: the host takes 100% of the time"
    assert waits_for(replace(arm(), counts=None), "chip") is None


def test_a_chip_that_is_only_priced_or_undisclosed_says_so():
    assert held_against(basis(arm("loihi2"))) == ("undisclosed", "same family")
    assert held_against(basis(arm("loihi1"))) == ("3 measurements of 1 machine", "12 measurements of 1 machine")
    assert held_against(basis(arm("akida"))) == ("priced, not mapped", "undisclosed")
    assert held_against("measured on this machine") == ("measured on this machine",)
