"""The benchmark of draws: what it prices, against the cost of a single draw."""

import numpy as np
import pytest

from experiments.arm import item_events
from experiments.benchmarks.draws import ITEMS, arms, measure, network
from neuro.chip import load, prices
from neuro.constants import leaves
from neuro.cost import cost
from neuro.counts import average


@pytest.fixture(scope="module")
def found():
    return tuple(arms(load("loihi2"), network(side=8)))


def test_arms_are_those_of_a_mapped_network(found):
    assert [(arm.regime, arm.code) for arm in found] == [("single", "bits"), ("stream", "bits")]
    assert all(float(np.asarray(arm.counts.events["synop_conv"]).min()) > 0 for arm in found)
    assert item_events(found, ITEMS).shape[0] == ITEMS


def test_all_draws_are_priced(found):
    spent = measure(found, 64, rounds=2)
    assert len(spent.rounds) == 2
    assert min(spent.drawing, *spent.rounds) > 0


def test_a_stream_is_cheaper(found):
    chip = load("loihi2")
    table = prices(chip, {path: c.value for path, c in leaves(chip)}, "chip")
    single, stream = (cost(average(arm.counts, np.ones(ITEMS, np.float32)), table) for arm in found)
    assert float(stream.total) < float(single.total)
