"""Bursts, silenced and shifted neurons: trains worked out by hand, and what a run before guarantees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuro.layers import Threshold
from neuro.rectified import Bursts, Shifted, Silenced, fire


def neuron(threshold: int, levels: int = 4) -> Threshold:
    return Threshold(np.array([threshold]), np.array([0]), levels)


def train(neurons, op: Threshold, currents: list[int]) -> list[int]:
    with jax.disable_jit():
        return np.asarray(neurons(op, jnp.asarray(currents, jnp.int32).reshape(-1, 1, 1))).ravel().tolist()


def test_a_burst_by_hand():
    """th = 2, V starts at 1. 1 + 6 = 7: three would fit, two are sent, 3 left; 3 - 1 = 2: one; 0 + 5: two, 1 left."""
    assert train(Bursts(2), neuron(2), [6, -1, 5, 0]) == [2, 1, 2, 0]
    assert train(Bursts(1), neuron(2), [6, -1, 5, 0]) == [1, 1, 1, 1]  # 7, 4, 7, 5
    assert train(Bursts(4), neuron(2), [6, -1, 5, 0]) == [3, 0, 2, 0]


def test_an_early_spike_is_silenced():
    """th = 4, V starts at 2. Charges 4, -8, 0: a spike at 6, then 2 - 8 = -6: the sum was never worth one.

    The run before ends at -6, so that its neuron is silent; without the last charge it ends at 2 and may fire."""
    assert train(Silenced(3), neuron(4), [4, -8, 0] * 2) == [1, 0, 0, 0, 0, 0]
    assert train(Silenced(1), neuron(4), [4, 4, -8, 0]) == [1, 1, 0, 0]
    assert train(Silenced(1), neuron(4), [-2, 9]) == [0, 0]  # ends at zero
    assert train(Silenced(1), neuron(4), [-1, 9]) == [0, 1]


def test_a_spike_too_many_is_taken_back():
    """th = 4, V starts at 2. Charges 4, -8, 0: V = 6 fires, and the run ends at -6: one too many. The smallest membrane
    that fired is 6, so that the start moves by max(4, 6 - 3) = 4 down, to -2: 2, -6, -6, silence."""
    assert train(Shifted(3), neuron(4), [4, -8, 0]) == [0, 0, 0]


def test_a_spike_too_few_is_added():
    """th = 4, V starts at 2. Charges 0, 0, 6: V = 2, 2, 8: one spike, 4 left, a threshold: one too few. The largest
    silent membrane is 2, so that the start moves by max(4, 4 - 2) = 4 up, to 6: fires, 2, 2, 8 fires, 4 left.

    floor((2 + 6) / 4) = 2 spikes. Charges -5, 0, 13: V = -3, -3, 10: one, 6 left; silent ones lie at -3, so that 7 are
    needed: 9 - 5 = 4 fires, 0, 13 fires: 2 spikes, as floor((2 + 8) / 4)."""
    assert train(Shifted(3), neuron(4), [0, 0, 6]) == [1, 0, 1]
    assert train(Shifted(3), neuron(4), [-5, 0, 13]) == [1, 0, 1]


def test_a_membrane_that_fires_from_far_above_is_taken_back_too():
    """th = 2, V starts at 1. Charges 7, -9, 1, 0: V = 8 fires, -3, -2, -2: one too many. All that fired is 8, so that
    max(2, 8 - 1) = 7 goes: -6 + 7 = 1, -8, -7, -7: silence."""
    assert train(Shifted(4), neuron(2), [7, -9, 1, 0]) == [0, 0, 0, 0]


def test_what_cannot_be_more_is_left_alone():
    """Every step has fired: more charge than a train can carry is cut, as the integer network cuts it."""
    assert train(Shifted(2), neuron(2), [50, 50]) == [1, 1]
    assert train(Shifted(2), neuron(2), [-50, -50]) == [0, 0]


def test_only_the_steps_before_are_looked_at():
    """As above, but the charge that takes the spike's worth back comes after them."""
    assert train(Shifted(1), neuron(4), [4, -8, 0]) == [1, 0, 0]


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1))
def test_one_round_mends_what_one_spike_is_wrong(seed):
    """Random charges: where plain neurons are off by one spike, the shift by a threshold gives the exact number unless
    a membrane that fired lay two thresholds high, or a silent one below zero; rounds never make a sound train wrong."""
    rng = np.random.default_rng(seed)
    threshold, steps = int(rng.integers(1, 20)), int(rng.integers(1, 9))
    op = neuron(threshold, steps)
    charge = rng.integers(-2 * threshold, 2 * threshold + 1, (steps, 64, 1))
    want = np.clip((threshold // 2 + charge.sum(axis=0)) // threshold, 0, steps)
    currents = jnp.asarray(charge, jnp.int32)
    start = jnp.full((64, 1), threshold // 2, jnp.int32)
    with jax.disable_jit():
        plain = fire(op, currents, start)
        mended = np.asarray(Shifted(steps)(op, currents)).sum(axis=0)
    count = np.asarray(plain.spikes).sum(axis=0)
    off = np.abs(count - want)
    np.testing.assert_array_equal(mended[off == 0], want[off == 0])
    fired, before = np.asarray(plain.spikes) > 0, np.asarray(plain.before)
    near = (~fired | (before < 2 * threshold)).all(axis=0) & (fired | (before >= 0)).all(axis=0)
    np.testing.assert_array_equal(mended[near & (off == 1)], want[near & (off == 1)])


@pytest.mark.parametrize("neurons", [Bursts(3), Silenced(4), Shifted(4), Shifted(4, 3)])
def test_an_even_charge_needs_no_correction(neurons):
    """The same charge in every step: count floor((T z + th/2) / th), whatever the neuron."""
    op = neuron(6, 8)
    for z in range(-3, 7):
        spikes = train(neurons, op, [z] * (neurons.prerun + 8))[neurons.prerun :]
        assert sum(spikes) == min(max((8 * z + 3) // 6, 0), 8 * neurons.members)
