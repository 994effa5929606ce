"""What counting costs, on a network small enough to count by hand."""

import numpy as np
import pytest

from experiments.benchmarks.accounting import Spent, measure, placed
from experiments.benchmarks.peers.network import Network
from neuro import native


def test_the_cost_is_that_of_the_medians():
    assert Spent((1.0, 2.0, 9.0), (3.0, 3.0, 3.0)).cost == pytest.approx(0.5)


def test_both_runs_take_time_and_counting_adds_to_it():
    if native.kernels().library is None:
        pytest.skip(f"no compiled kernels: {native.kernels().reason}")
    rng = np.random.default_rng(0)
    weights = tuple(rng.integers(-9, 10, shape).astype(np.int8) for shape in ((30, 20), (4, 30)))
    network = Network(rng.integers(0, 16, (3, 20)).astype(np.uint8), 6, weights, (40, 20))
    placement = placed(network)
    assert placement.schedule.windows["0"].steps == 6
    assert {fan.source for fan in placement.fans} == {"in", "0", "1"}
    spent = measure(network, placement, rounds=2)
    assert len(spent.alone) == len(spent.counted) == 2
    assert min(spent.alone + spent.counted) > 0
