"""The stand-in of the keyword spotter: structure, rates against the rectifiers it was trained with, refusal."""

import numpy as np
import pytest

from experiments.replays import keyword_spotter
from neuro.errors import BadInput
from neuro.trace import simulate, synops


def test_rates_of_the_input():
    """The spikes of a window are its rate to within one, and never two in a step."""
    values = np.tile(np.linspace(-0.5, 1.5, 390), (3, 1))
    spikes = keyword_spotter.stand_in(values, np.random.default_rng(0))
    assert spikes.shape == (3, 10, 390)
    assert (np.abs(spikes.sum(axis=1) - 10 * np.clip(values, 0, 1)) < 1).all()


def test_it_computes_what_the_rectifiers_do(neuro_data):
    """Over a long run, rates of the first layer approach its rectifiers' outputs for the rates that came in."""
    path = neuro_data / "models" / "audio" / "kws_blouw_390_256_256_29.npz"
    network = keyword_spotter.network(path)
    assert [len(p) for p in network.projections] == [390 * 256, 256 * 256]
    steps = 400
    train = np.random.default_rng(1).random((steps, 390)) < 0.1
    trace = simulate(network, {"in": train}, steps)
    with np.load(path) as file:
        expected = np.clip(train.mean(axis=0) @ file["w0"] + file["b0"], 0, 1)
    rates = trace.spikes["hidden0"].mean(axis=0)
    assert np.corrcoef(rates, expected)[0, 1] > 0.97
    first, second = synops(network, trace)
    assert first.sum() == 256 * train.sum()
    assert second.sum() == 256 * trace.spikes["hidden0"].sum()


def test_missing_weights(tmp_path):
    with pytest.raises(BadInput, match="no such file"):
        keyword_spotter.network(tmp_path / "none.npz")
