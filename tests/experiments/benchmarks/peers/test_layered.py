"""Every layer fires as often as it should, and float32 loses nothing."""

import numpy as np
import pytest

from experiments.benchmarks.peers.layered import GRID, Form, draw, threshold_at
from experiments.benchmarks.peers.reference import densities, run

DENSE = Form((100,), ((200, 100), (200, 200), (10, 200)), (), 64, 32)
PICTURES = Form((2, 8, 8), ((8, 2, 3, 3), (16, 8, 3, 3), (10, 256)), (1,), 24, 16)


@pytest.mark.parametrize("density", [0.002, 0.01, 0.05, 0.2])
@pytest.mark.parametrize("kind", ["int8", "float32"])
@pytest.mark.parametrize("form", [DENSE, PICTURES])
def test_hidden_layers_fire_at_the_density_asked_for(form, kind, density):
    network = draw(form, kind, density)
    found = run(network)
    for share in densities(found.counts, form.steps)[:-1]:
        assert share == pytest.approx(density, rel=0.05)


@pytest.mark.parametrize("kind", ["int8", "float32"])
def test_every_neuron_fires_in_every_step(kind):
    """Many hear several thresholds in every step, which 24 bits hold on a coarser grid only: on GRID it is refused."""
    form = Form((3, 16, 16), ((32, 3, 3, 3), (32, 32, 3, 3), (10, 8192)), (), 8, 16)
    network = draw(form, kind, 1.0)
    assert densities(run(network).counts, form.steps) == [1, 1, 1]


@pytest.mark.parametrize("kind", ["int8", "float32"])
def test_float32_in_any_order_gives_the_same_spikes(kind):
    """Sums backwards and in float32 against the reference, which sums forwards in float64."""
    network = draw(DENSE, kind, 0.05)
    weights = [weight.astype(np.float32) for weight in network.weights]
    first = np.add.reduce((network.x[:, None] * weights[0])[..., ::-1], axis=-1, dtype=np.float32)
    v, counts = [np.zeros((64, len(w)), np.float32) for w in weights], [0] * 3
    for _ in range(network.steps):
        h = np.zeros(0)
        for i, (weight, threshold) in enumerate(zip(weights, network.thresholds, strict=True)):
            v[i] += first if i == 0 else (h[:, ::-1] @ weight[:, ::-1].T)
            h = (v[i] >= np.float32(threshold)).astype(np.float32)
            v[i] -= h * np.float32(threshold)
            counts[i] = counts[i] + h
    for ours, theirs in zip(counts, run(network).counts, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_numbers_are_those_of_their_kind():
    whole, fractions = draw(PICTURES, "int8", 0.05), draw(PICTURES, "float32", 0.05)
    assert all(weight.dtype == np.int8 and weight.min() >= -127 for weight in whole.weights)
    assert all(isinstance(threshold, int) and threshold > 0 for threshold in whole.thresholds)
    for number in (*fractions.weights, *fractions.thresholds):
        np.testing.assert_array_equal(np.asarray(number) / GRID, np.rint(np.asarray(number) / GRID))
    assert all(0.95 < threshold < 1.05 for threshold in fractions.thresholds)


def test_the_same_arguments_give_the_same_network():
    one, other = draw(DENSE, "int8", 0.05), draw(DENSE, "int8", 0.05)
    np.testing.assert_array_equal(one.weights[1], other.weights[1])
    assert one.thresholds == other.thresholds
    assert (draw(DENSE, "int8", 0.05, seed=1).weights[1] != one.weights[1]).any()


def test_threshold_of_a_constant_current():
    """100 neurons with currents 1..100 and one step: one in twenty fires when the threshold lies between 95 and 96."""
    current = np.arange(1, 101, dtype=np.float32)[None, None]
    assert threshold_at(current, 0.05) in (95, 96)
