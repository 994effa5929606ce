"""Tables of effects hold every neuron's effects, whole, whatever they are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro.grouped import MOST, UNIT, Grouped, grouped
from neuro.taps import Layout


def rebuilt(tables: Grouped, layout: Layout, columns: int, block: int) -> np.ndarray:
    """What each neuron causes in each column, as the kernel adds it up."""
    found = np.zeros((layout.neurons.size, columns))
    for (position, word, first, last, differ, no_more), row_of in zip(tables.units, tables.row_of, strict=True):
        for lane, neuron in enumerate(layout.neurons[position, UNIT * word : UNIT * (word + 1)]):
            sums = np.zeros(len(tables.order))
            for b in range(first, last):
                sums[tables.blocks[b] :][:block] += tables.common[b]
            for k, b in enumerate(range(differ, no_more)):
                sums[tables.blocks[b] :][:block] += tables.rows[row_of[lane] + k * block :][:block]
            np.add.at(found[neuron], tables.order, sums)
    return found


@given(
    seed=st.integers(0, 2**32 - 1),
    positions=st.integers(1, 5),
    channels=st.sampled_from([1, 3, 63, 64, 65, 130]),
    effects=st.integers(1, 40),
    largest=st.sampled_from([1, 9, MOST, MOST + 1, 5 * MOST, 4000]),
    block=st.sampled_from([8, 32]),
    alike=st.booleans(),
)
def test_tables_hold_what_every_neuron_causes(seed, positions, channels, effects, largest, block, alike):
    """Positions with effects of their own, neurons that differ from the others of their position or do not."""
    rng = np.random.default_rng(seed)
    layout = Layout((positions * channels,), rng.permutation(positions * channels).reshape(positions, channels))
    of_position = rng.integers(0, largest + 1, (positions, 1, effects)) * (rng.random((positions, 1, effects)) < 0.5)
    of_neuron = rng.integers(0, largest + 1, (positions, channels, effects)) * (rng.random(effects) < 0.3) * (not alike)
    matrix = np.zeros((positions * channels, effects), np.float32)
    matrix[layout.neurons] = of_position + of_neuron
    columns = rng.permutation(2 * effects)[:effects]
    tables = grouped(matrix, columns, layout, block)
    want = np.zeros((len(matrix), 2 * effects))
    want[:, columns] = matrix
    np.testing.assert_array_equal(rebuilt(tables, layout, 2 * effects, block), want)
    if alike:
        assert (tables.units[:, 4] == tables.units[:, 5]).all()
        assert tables.rows.size == 0


def test_equal_neurons_are_stored_once_and_positions_take_few_blocks():
    """Two kinds of neurons at 100 positions that lie on ten cores. They differ in one effect of each core, of which
    eight are in one block: rows in which one of its places is two more, and one in which none is."""
    layout = Layout((64, 100), np.arange(6400).reshape(64, 100).T)
    matrix = np.zeros((64, 100, 10 * 8), np.float32)
    for position in range(100):
        matrix[:, position, position // 10 * 8 : position // 10 * 8 + 8] = 1
        matrix[::2, position, position // 10 * 8] = 3
    tables = grouped(matrix.reshape(6400, -1), np.arange(80), layout, 8)
    assert tables.rows.size == (8 + 1) * 8
    spans = tables.units[:, 3] - tables.units[:, 2]
    assert spans.max() <= 3  # eight effects, one of which is among those that differ


def test_parts_of_an_effect_are_refused():
    layout = Layout((2,), np.array([[0, 1]]))
    with pytest.raises(ValueError, match="whole numbers"):
        grouped(np.array([[1.0], [0.5]], np.float32), np.array([0]), layout, 8)
