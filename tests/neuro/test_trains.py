"""Packed trains say the same as booleans, whoever asks."""

import jax.numpy as jnp
import numpy as np
import pytest

from neuro import native
from neuro.taps import Layout, by_channel
from neuro.trains import Cause, Trains, caused, packed, placed, spikes, unpacked, unplaced, value

SHAPES = [(1,), (64,), (70,), (3, 4, 5), (65, 2, 2)]


@pytest.fixture(autouse=True)
def compiled():
    if native.kernels().library is None:
        pytest.skip(f"no compiled kernels: {native.kernels().reason}")


def drawn(shape: tuple[int, ...], steps: int = 4, batch: int = 3) -> np.ndarray:
    return np.random.default_rng(sum(shape)).random((steps, batch, *shape)) < 0.3


def sums(trains: Trains, matrix: np.ndarray) -> np.ndarray:
    """What the spikes of one population cause, each effect in a column of its own."""
    cause = Cause(matrix, np.arange(matrix.shape[1]), 0)
    return np.asarray(caused({"a": trains}, {"a": cause}, (trains.shape[0], matrix.shape[1])))


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
    matrix = np.array([[1, 7], [1, 0], [1, 2]], np.float32)
    np.testing.assert_array_equal(sums(graded, matrix), [[[2, 2]]])
    signed = jnp.asarray([1, 0, -1], jnp.int8).reshape(3, 1, 1)
    np.testing.assert_array_equal(np.asarray(spikes(signed)), [[2]])
    np.testing.assert_array_equal(np.asarray(value(signed, "naf")), [[3]])
    np.testing.assert_array_equal(sums(signed, np.ones((1, 1), np.float32))[:, 0, 0], [1, 0, 1])


@pytest.mark.parametrize("shape", SHAPES)
def test_sums_of_effects(shape):
    """A matrix of few distinct rows, as of neurons on cores, and one in which all differ."""
    trains, size = drawn(shape), int(np.prod(shape))
    rng = np.random.default_rng(5)
    for matrix in (rng.integers(0, 2, (size, 3)), rng.permutation(size)[:, None] * [1, 2]):
        want = trains.reshape(4, 3, size) @ matrix
        bits = packed(jnp.asarray(trains), by_channel(shape))
        for form in (bits, jnp.asarray(trains)):
            np.testing.assert_array_equal(sums(form, matrix.astype(np.float32)), want)


def test_populations_add_up_where_and_when_they_spike():
    """Two populations, one behind the other, in one column and in columns of their own; a repetition after each."""
    shapes, size = {"a": (130, 1, 2), "b": (3,)}, {"a": 260, "b": 3}
    rng = np.random.default_rng(3)
    causes = {
        "a": Cause(rng.integers(0, 3, (260, 2)).astype(np.float32), np.array([4, 1]), 0),
        "b": Cause(rng.integers(0, 3, (3, 3)).astype(np.float32), np.array([4, 0, 4]), 2),  # one column twice
    }
    trains = {name: drawn(shape) for name, shape in shapes.items()}
    for again in (False, True):
        want = np.zeros((7, 3, 5))
        for name, cause in causes.items():
            found = trains[name].reshape(4, 3, size[name]) @ cause.matrix
            for effect, column in enumerate(cause.columns):
                want[cause.start : cause.start + 4, :, column] += found[..., effect]
                want[cause.start + 4, :, column] += found[..., effect].sum(axis=0) * again
        plain = {name: jnp.asarray(spikes) for name, spikes in trains.items()}
        bits = {name: packed(spikes, by_channel(shapes[name])) for name, spikes in plain.items()}
        for form in (plain, bits, plain | {"b": bits["b"]}):
            np.testing.assert_array_equal(np.asarray(caused(form, causes, (7, 5), again)), want)


def test_a_layout_of_ones_own():
    """Six neurons as two positions of three channels, in an order of their own."""
    layout = Layout((6,), np.array([[5, 0, 3], [2, 4, 1]]))
    values = jnp.arange(12.0).reshape(2, 6)
    there = unplaced(values, layout)
    assert there.shape == (2, 2, 64)
    np.testing.assert_array_equal(np.asarray(there[0, 0, :3]), [5, 0, 3])
    np.testing.assert_array_equal(np.asarray(placed(there, layout)), np.asarray(values))
