"""Lists and weights in the kernel's order, and both ways through the kernel, against products in int64."""

import jax.numpy as jnp
import numpy as np
import pytest

from neuro import native
from neuro.synaptic import CROSSOVER, MATRIX, WAYS, fire, synapses
from neuro.taps import NONE, NoTaps, Taps, by_channel
from neuro.trains import Packed, packed, placed, unpacked

RATE, UNARY, SUM = 0, 2, 4


@pytest.fixture(autouse=True)
def compiled():
    if native.kernels().library is None:
        pytest.skip(f"no compiled kernels: {native.kernels().reason}")


def dense(weight: np.ndarray) -> Taps:
    """weight [in, out] as one position that hears one."""
    padded = np.pad(weight, ((0, -len(weight) % 8), (0, 0)))
    lists = np.array([[0, 0, 0, 0]])
    return Taps(("in",), by_channel((weight.shape[1],)), lists, NONE, padded, np.zeros((0, weight.shape[1]), np.int64))


def neurons(size: int, threshold: int) -> np.ndarray:
    found = np.zeros((3, 1, size), np.int32)
    found[0] = threshold
    return found


@pytest.mark.parametrize("storage", ["int8", "int16", "float32"])
@pytest.mark.parametrize(("crossover", "matrix"), [(2.0, 2.0), (-1.0, 2.0), (-1.0, -1.0)])  # lists, tables, products
@pytest.mark.parametrize(("size", "out", "steps"), [(1, 1, 1), (63, 65, 3), (200, 129, 40)])
def test_fire_against_int64(storage, crossover, matrix, size, out, steps):
    rng = np.random.default_rng(size)
    weight = rng.integers(-127, 128, (size, out))
    trains = rng.random((steps, 5, size)) < 0.4
    made = synapses(
        dense(weight.astype(np.float32) if storage == "float32" else weight), [by_channel((size,))], native.lane_bytes()
    )
    made = made if storage == "float32" else made.stored(storage)
    inputs = {"in": packed(jnp.asarray(trains), by_channel((size,)))}
    at_rest, way = neurons(made.lanes, 1), {"crossover": crossover, "matrix": matrix}
    at_rest[0, 0, :out] = 300
    fired = fire(made, at_rest, False, inputs, RATE, steps, 0, watched=False, **way)
    expected = "products" if matrix < 0 and native.matrix_units() else "tables" if crossover < 0 else "lists"
    assert {WAYS[w] for w in np.asarray(fired.way)} == {expected}
    v, want = np.zeros((5, out), np.int64), np.zeros((steps, 5, out), bool)
    for t in range(steps):
        v += trains[t].astype(np.int64) @ weight
        want[t] = v >= 300
        v -= 300 * want[t]
    np.testing.assert_array_equal(np.asarray(unpacked(Packed(fired.bits, made_layout(out)))), want)
    read = fire(made, neurons(made.lanes, 1), False, inputs, SUM, 0, 0, watched=False, **way)
    want_sum = trains.sum(axis=0).astype(np.int64) @ weight
    np.testing.assert_array_equal(np.asarray(placed(read.membrane, made_layout(out))), want_sum)


@pytest.mark.parametrize("storage", ["int8", "int16", "float32"])
def test_the_way_goes_by_the_spikes_that_are_there(storage):
    """32 steps are whole tiles of the matrix units, so that the crossovers hold as they stand; 20 fill 20 of 32."""
    weight = np.ones((512, 64), np.int64)
    made = synapses(
        dense(weight.astype(np.float32) if storage == "float32" else weight), [by_channel((512,))], native.lane_bytes()
    )
    made = made if storage == "float32" else made.stored(storage)

    def way(share: float, steps: int) -> str:
        spikes = np.diff(np.floor(share * np.arange(steps * 512 + 1))) > 0  # spread evenly
        inputs = {"in": packed(jnp.asarray(spikes.reshape(steps, 1, 512)), by_channel((512,)))}
        found = fire(made, neurons(made.lanes, 10**6), False, inputs, RATE, steps, 0, watched=False)
        return WAYS[int(np.asarray(found.way)[0])]

    tables, products = CROSSOVER[storage], MATRIX[storage]
    units = native.matrix_units()
    assert way(0.0, 32) == way(min(tables, products) - 0.02, 32) == "lists"
    assert way(max(tables, products) + 0.02, 32) == ("products" if units else "tables")
    if units:
        assert way(products + 0.02, 32) == "products"
        assert way(products + 0.02, 20) == ("lists" if products + 0.02 < tables else "tables")
        assert way(products * 32 / 20 + 0.02, 20) == "products"


def made_layout(out: int):
    return by_channel((out,))


def test_blocks_waste_little():
    """1,200 channels, vectors of 16 lanes: ten blocks of 128 rather than 75 of 16."""
    made = synapses(dense(np.ones((8, 1200), np.int64)), [by_channel((8,))], 32)
    assert made.weights.shape == (10, 8, 128)
    assert synapses(dense(np.ones((8, 10), np.int64)), [by_channel((8,))], 32).weights.shape == (1, 8, 16)


def test_rows_keep_their_weights():
    weight = np.random.default_rng(0).integers(-9, 10, (16, 40))
    made = synapses(dense(weight), [by_channel((16,))], 32)
    back = np.asarray(made.weights).swapaxes(0, 1).reshape(16, -1)
    np.testing.assert_array_equal(back[:, :40], weight)
    assert not back[:, 40:].any()
    assert made.weights.dtype == np.int8


@pytest.mark.parametrize(("largest", "kind"), [(127, np.int8), (128, np.int16), (2**15 - 1, np.int16)])
def test_weights_are_stored_in_the_fewest_bits(largest, kind):
    made = synapses(dense(np.full((8, 8), -largest)), [by_channel((8,))], 32)
    assert made.weights.dtype == kind
    assert made.largest == largest


def test_what_cannot_be_stored_is_refused():
    with pytest.raises(NoTaps, match="beyond 16 bits"):
        synapses(dense(np.full((8, 8), 2**15)), [by_channel((8,))], 32)
    with pytest.raises(NoTaps, match="65,544 weight rows"):
        synapses(dense(np.ones((2**16 + 1, 1), np.int64)), [by_channel((2**16 + 1,))], 32)
