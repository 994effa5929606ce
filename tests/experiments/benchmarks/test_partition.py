"""The networks that partitions are judged by: cores near their bound, the step near what annealing finds."""

import numpy as np
import pytest

from experiments.benchmarks.partition import STEPS, activity, anneal, networks, wire
from neuro.capability import Realisation
from neuro.chip import load
from neuro.partition import bound, partition, step_time

NATIVE = Realisation("native")


@pytest.mark.parametrize("name", networks())
@pytest.mark.parametrize("target", ["generic", "spinnaker2"])
def test_cores_are_near_their_bound(name, target):
    chip = load(target)
    wiring = wire(networks()[name](), chip)
    cuts = partition(wiring, chip, NATIVE)
    assert sum(cut.number for cut in cuts.values()) <= 1.15 * bound(wiring, chip, NATIVE)


@pytest.mark.parametrize(
    ("name", "target", "most"),
    [("pilotnet", "loihi2", 99), ("keywords", "loihi1", 87), ("resnet8", "loihi1", 92), ("mobilenet", "loihi1", 176)],
)
def test_few_cores_where_sending_is_dear(name, target, most):
    """What the rules find today: long searches by annealing found 97 in place of 99 and 85 in place of 92, and nothing
    below 87. A layer at a time it were 118, 107, 99 and 192."""
    chip = load(target)
    cuts = partition(wire(networks()[name](), chip), chip, NATIVE)
    assert sum(cut.number for cut in cuts.values()) <= most


def test_sizes():
    """0.4 million parameters, and 10,000 recurrent neurons."""
    mobile = networks()["mobilenet"]()
    weights = [node.op.weight for node in mobile.nodes if hasattr(node.op, "weight")]
    assert sum(np.size(weight) for weight in weights) == pytest.approx(4e5, rel=0.02)
    sheet = wire(networks()["sheet"](), load("loihi2"))
    assert sheet["sheet"].size == 10_000
    assert "sheet" in sheet["sheet"].sources


@pytest.mark.parametrize("name", ["lenet", "nxtf", "pilotnet", "sheet"])
def test_the_step_is_near_the_annealed_one(name):
    chip = load("loihi2")
    wiring = wire(networks()[name](), chip)
    spikes = activity(wiring)
    cuts = partition(wiring, chip, NATIVE, objective="step", spikes=spikes)
    start = {n: cut.parts for n, cut in partition(wiring, chip, NATIVE).items()}
    found = max(step_time(wiring, chip, NATIVE, spikes, cuts).values())
    assert found <= 1.1 * anneal(wiring, chip, spikes, 128, start, moves=600)
    assert sum(cut.number for cut in cuts.values()) <= 128
    assert set(spikes) == set(wiring.schedule.windows)
    assert wiring.schedule.total == STEPS
