"""The mapped network of SANA-FE on our kernel: its published totals."""

from pathlib import Path

import numpy as np
import pytest

from experiments.benchmarks.peers import ours_w4
from experiments.benchmarks.peers.sanafe_files import read_architecture, read_network
from neuro import native

STEPS, SPIKES, ENERGY, SECONDS = 128, 38_081, 331.8e-6, 14.24e-6
"""Of SANA-FE's own run with its simple model of time: J in all, s a step."""


@pytest.fixture(autouse=True)
def compiled():
    if native.kernels().library is None:
        pytest.skip(f"no compiled kernels: {native.kernels().reason}")


def test_totals_are_those_of_sanafe(neuro_data):
    folder: Path = neuro_data / "models" / "event"
    if not (folder / "sanafe_dvs.yaml").is_file():
        pytest.skip("the DVS network of SANA-FE is not in NEURO_DATA")
    network = read_network(folder / "sanafe_dvs.yaml")
    engine = ours_w4.mapped(network, read_architecture(folder / "sanafe_loihi_arch.yaml"), STEPS)
    energy, seconds = engine.prices()
    assert engine.counts()[0].item() == SPIKES
    assert energy.shape == seconds.shape == (STEPS,)
    assert energy.sum() == pytest.approx(ENERGY, rel=1e-3)
    assert seconds.mean() == pytest.approx(SECONDS, rel=0.01)
    assert np.isfinite(seconds).all()
