"""Packed trains say the same as booleans, whoever asks."""

import jax.numpy as jnp
import numpy as np
import pytest

from neuro import native
from neuro.taps import Layout, by_channel
from neuro.trains import packed, placed, spikes, unpacked, unplaced, value

SHAPES = [(1,), (64,), (70,), (3, 4, 5), (65, 2, 2)]


@pytest.fixture(autouse=True)
def compiled():
    if native.kernels().library is None:
        pytest.skip(f"no compiled kernels: {native.kernels().reason}")


def drawn(shape: tuple[int, ...], steps: int = 4, batch: int = 3) -> np.ndarray:
    return np.random.default_rng(sum(shape)).random((steps, batch, *shape)) < 0.3


@pytest.mark.parametrize("shape", SHAPES)
def test_packing_loses_nothing(shape):
    trains = drawn(shape)
    bits = packed(jnp.asarray(trains), by_channel(shape))
    assert bits.shape == trains.shape
    np.testing.assert_array_equal(np.asarray(unpacked(bits)), trains)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("code", ["unary", "bits", "rate"])
def test_values_and_spikes(shape, code):
    trains = drawn(shape)
    bits = packed(jnp.asarray(trains), by_channel(shape))
    weight = [8, 4, 2, 1] if code == "bits" else [1, 1, 1, 1]
    np.testing.assert_array_equal(np.asarray(value(bits, code)), np.tensordot(weight, trains, 1))
    np.testing.assert_array_equal(np.asarray(value(jnp.asarray(trains), code)), np.tensordot(weight, trains, 1))
    for form in (bits, jnp.asarray(trains)):
        np.testing.assert_array_equal(np.asarray(spikes(form)), trains.sum(axis=0).reshape(3, -1))


def test_a_spike_that_carries_a_value_is_one_spike():
    """Graded 0 5 3 and signed digits 1 0 -1: two events each, whatever they carry; their values are 0 5 3 and 3."""
    graded = jnp.asarray([[[0, 5, 3]]])
    np.testing.assert_array_equal(np.asarray(spikes(graded)), [[0, 1, 1]])
    np.testing.assert_array_equal(np.asarray(value(graded, "graded")), [[0, 5, 3]])
    signed = jnp.asarray([1, 0, -1], jnp.int8).reshape(3, 1, 1)
    np.testing.assert_array_equal(np.asarray(spikes(signed)), [[2]])
    np.testing.assert_array_equal(np.asarray(value(signed, "naf")), [[3]])


def test_a_layout_of_ones_own():
    """Six neurons as two positions of three channels, in an order of their own."""
    layout = Layout((6,), np.array([[5, 0, 3], [2, 4, 1]]))
    values = jnp.arange(12.0).reshape(2, 6)
    there = unplaced(values, layout)
    assert there.shape == (2, 2, 64)
    np.testing.assert_array_equal(np.asarray(there[0, 0, :3]), [5, 0, 3])
    np.testing.assert_array_equal(np.asarray(placed(there, layout)), np.asarray(values))
