"""Networks of calibration cases as activities: structure as published, and no data."""

import pytest

from experiments.replays import simulated
from neuro.constants import leaves
from neuro.errors import BadInput


def test_the_lsnn_as_published(neuro_data):
    """350 compartments on one core, 840 steps; spikes of the network are packets to itself."""
    found = {path: c.value for path, c in leaves(simulated.load("lsnn_smnist"))}
    assert (found["neurons"], found["cores"], found["steps"]) == (350, 1, 840)
    assert found["packets"] == found["spikes"]
    assert found["updates"] <= 350 * 840
    assert 840 * 600 < found["synops"] < 840 * 900


def test_the_keyword_spotter_spans_its_stand_ins(neuro_data):
    activity = simulated.load("kws_spiking")
    assert activity.synops is not None
    assert activity.synops.basis == "assumed"
    assert activity.synops.low < activity.synops.value < activity.synops.high
    assert activity.inputs is not None
    assert activity.inputs.value == 3900


def test_without_data_there_is_a_reason(monkeypatch, tmp_path):
    monkeypatch.delenv("NEURO_DATA", raising=False)
    with pytest.raises(simulated.DataAbsent, match="NEURO_DATA"):
        simulated.load("lsnn_smnist")
    monkeypatch.setenv("NEURO_DATA", str(tmp_path))
    with pytest.raises(simulated.DataAbsent, match="no such file"):
        simulated.load("lsnn_smnist")


def test_items_are_no_workloads_of_their_own(monkeypatch, tmp_path):
    monkeypatch.setenv("NEURO_DATA", str(tmp_path))
    assert simulated.knows("lsnn_smnist:3")
    with pytest.raises(BadInput, match="leave out what follows the colon"):
        simulated.load("lsnn_smnist:3")
