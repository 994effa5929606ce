"""The network that NxTF compiled for Loihi: partition, decisions and step times against the published ones."""

import numpy as np
import pytest

from experiments.replays.nxtf import (
    FILE,
    MEASURED,
    NAMES,
    Quantised,
    Replay,
    decisions,
    graph,
    quantised,
    replay,
    simulator,
)
from neuro.blocks import Parts
from neuro.capability import Realisation
from neuro.chip import load
from neuro.errors import BadInput
from neuro.partition import partition
from neuro.wiring import of_graph

COMPILED = {
    "input": Parts(1, 1, 1),
    "conv1": Parts(rows=1, columns=4, channels=1),
    "conv2": Parts(rows=1, columns=1, channels=7),
    "conv3": Parts(rows=1, columns=1, channels=3),
    "conv4": Parts(1, 1, 1),
}
"""The 16 cores that the compiler's trace in the published notebook tells of: it accepts the first cut of conv4, the
fifth of conv3, the seventeenth of conv2, the fourth of conv1, the first of the input."""

SHOWN = np.array([50.3, 61.4, 39.0, 77.1, 55.2, 44.0, 53.8, 54.5]) * 1e-6
MEAN = 57.364e-6


def made_up(zeros: float = 0.0) -> Quantised:
    """Random weights of the shapes, and biases of nought."""
    rng = np.random.default_rng(0)
    weights = []
    for out, into, side in ((16, 1, 5), (32, 16, 3), (64, 32, 3), (10, 64, 4)):
        weight = rng.integers(1, 256, (out, into, side, side)) * rng.choice([-1, 1], (out, into, side, side))
        weights.append(weight * (rng.random(weight.shape) >= zeros))
    return Quantised(tuple(weights), tuple(np.zeros(len(w), int) for w in weights))


def test_the_rule_cuts_the_shapes_as_the_compiler_did():
    """Without its trained weights: what decides is their number."""
    wiring = of_graph(graph(made_up()), load("loihi1"), Realisation("native"))
    cuts = partition(wiring, load("loihi1"), Realisation("native"))
    assert {name: cut.parts for name, cut in cuts.items()} == COMPILED


def test_spikes_and_decisions_by_hand():
    """A pixel of 200 reaches 512 in the third step and is reset: steps 2, 5, 8. The read-out gains 256 from a spike of
    the step before and keeps 15/16: 256, then 240; then 225 + 256 = 481."""
    run = simulator(made_up(), 9)
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, 3, 4] = 200
    spikes = run(image)
    assert list(np.flatnonzero(np.asarray(spikes["input"])[:, 0, 0, 3, 4])) == [2, 5, 8]
    assert int(np.asarray(spikes["input"]).sum()) == 3
    network = Quantised((*made_up().weights[:3], np.zeros((10, 64, 4, 4), int)), made_up().biases)
    network.weights[3][7, 5, 1, 2] = 256
    given = np.zeros((5, 1, 64, 4, 4), bool)
    given[[0, 3], 0, 5, 1, 2] = True
    assert decisions(network, given).tolist() == [7]


@pytest.fixture(scope="module")
def measured(neuro_data) -> Replay:
    """The whole run, once."""
    return replay(neuro_data)


def test_partition_of_the_trained_network(measured):
    assert (measured.parts, measured.cores) == (COMPILED, 16)


def test_decisions_are_those_of_the_chip(measured):
    """126 of 128."""
    assert (measured.correct, len(measured.labels)) == (126, MEASURED)
    assert np.flatnonzero(measured.decided != measured.labels).tolist() == [8, 78]
    assert list(measured.activity) == list(NAMES)
    assert measured.activity["conv4"] == 0


def test_step_times_are_those_of_the_chip(measured):
    """57.364 us on average; over the eight images shown correlation and logarithmic slope in both directions."""
    seconds = measured.step_time
    assert seconds.mean() == pytest.approx(MEAN, rel=0.12)
    first = seconds[: len(SHOWN)]
    assert np.corrcoef(first, SHOWN)[0, 1] >= 0.9
    for one, two in ((first, SHOWN), (SHOWN, first)):
        assert 0.75 <= np.polyfit(np.log(one), np.log(two), 1)[0] <= 1.25
    assert measured.others.min() < MEAN < measured.others.max()
    assert len(measured.others) > 100


def test_files_that_are_not_there_or_not_it(tmp_path):
    with pytest.raises(BadInput, match="no such file; it holds the network of calibration case N-A3"):
        quantised(tmp_path / FILE)
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(BadInput, match="holds no layer conv2d_1"):
        quantised(tmp_path / "other.h5")
