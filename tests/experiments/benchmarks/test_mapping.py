"""The benchmark of floorplans: its traffic by hand, and its annealing against all placements."""

from itertools import permutations

import numpy as np
import pytest

from experiments.benchmarks.mapping import Layer, anneal, cases, layered, recurrent, sheet
from neuro.floorplan import traffic_hops
from neuro.topology import Topology


def test_bands_talk_to_the_bands_they_overlap():
    """Two bands of one layer feed four of the next: each reaches its two halves and, by the halo, one beyond."""
    traffic = layered([Layer(1, 2, 3.0), Layer(1, 4)])
    np.testing.assert_array_equal(traffic[:2, 2:] / 3, [[1, 1, 1, 0], [0, 1, 1, 1]])
    assert traffic[2:].sum() == 0
    skipped = layered([Layer(2, 1), Layer(1, 1), Layer(1, 1, hears=(-1, -2))])
    np.testing.assert_array_equal(skipped, [[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]])


def test_a_neuron_sends_one_packet_to_every_other_core_it_reaches():
    """With every connection there, each of 12 neurons sends one packet to each of the two other cores."""
    np.testing.assert_array_equal(recurrent(12, 3, 1.1, 0), 4 * (1 - np.eye(3)))
    assert sheet(8, 4, 0.1, 5, 0).sum() <= 64


def test_cases_fit_their_chips_and_are_large():
    for name, (traffic, topology) in cases().items():
        assert 64 <= len(traffic) <= topology.sites, name


def test_annealing_finds_the_best_of_all_placements():
    topology = Topology("mesh", columns=3, rows=2)
    rng = np.random.default_rng(0)
    traffic = rng.integers(0, 9, (5, 5)).astype(float)
    np.fill_diagonal(traffic, 0)
    least = min(traffic_hops(traffic, topology, np.array(p)) for p in permutations(range(6), 5))
    assert anneal(traffic, topology, runs=3, proposals=20_000).min() == pytest.approx(least)
