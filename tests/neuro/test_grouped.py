"""Tables of effects hold every neuron's effects, whole, whatever they are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro.grouped import OFTEN, WORD, Grouped, grouped
from neuro.taps import Layout


def rebuilt(tables: Grouped, layout: Layout) -> np.ndarray:
    """What each neuron causes, as the kernel adds it up."""
    words = -(-layout.neurons.shape[1] // WORD)
    sums = np.zeros((layout.neurons.size, tables.causes.shape[0]))
    first = 0
    for total, amount, last in tables.runs:
        for of, low, high in tables.units[first:last]:
            position, word = divmod(of, words)
            mask = (int(high) % 2**32) << 32 | int(low) % 2**32
            for lane, neuron in enumerate(layout.neurons[position, WORD * word : WORD * (word + 1)]):
                sums[neuron, total] += amount * (mask >> lane & 1)
        first = last
    assert first == len(tables.units)
    return sums @ tables.causes.toarray()


@given(
    seed=st.integers(0, 2**32 - 1),
    positions=st.integers(1, 5),
    channels=st.sampled_from([1, 3, 63, 64, 65, 130]),
    effects=st.integers(1, 40),
    largest=st.sampled_from([1, 9, 255, 256, 4000]),
    alike=st.booleans(),
)
def test_tables_hold_what_every_neuron_causes(seed, positions, channels, effects, largest, alike):
    """Positions with effects of their own, neurons that differ from the others of their position or do not."""
    rng = np.random.default_rng(seed)
    layout = Layout((positions * channels,), rng.permutation(positions * channels).reshape(positions, channels))
    of_position = rng.integers(0, largest + 1, (positions, 1, effects)) * (rng.random((positions, 1, effects)) < 0.5)
    of_neuron = rng.integers(0, largest + 1, (positions, channels, effects)) * (rng.random(effects) < 0.3) * (not alike)
    matrix = np.zeros((positions * channels, effects), np.float32)
    matrix[layout.neurons] = of_position + of_neuron
    tables = grouped(matrix, layout)
    np.testing.assert_array_equal(rebuilt(tables, layout), matrix)
    if alike:
        assert tables.causes.shape[0] == len(np.unique(matrix, axis=0))
        assert (tables.runs[:, 1] == 1).all()


def test_neurons_of_two_cores_are_two_groups():
    """100 channels at each of three positions, of which the first 30 lie on one core: a word of both, one of one."""
    layout = Layout((300,), np.arange(300).reshape(3, 100))
    matrix = np.zeros((3, 100, 2), np.float32)
    matrix[:, :30, 0] = matrix[:, 30:, 1] = 1
    tables = grouped(matrix.reshape(300, 2), layout)
    np.testing.assert_array_equal(tables.causes.toarray(), np.eye(2))
    np.testing.assert_array_equal(tables.runs, [[0, 1, 3], [1, 1, 9]])
    np.testing.assert_array_equal(tables.units[:3], [[0, 2**30 - 1, 0], [2, 2**30 - 1, 0], [4, 2**30 - 1, 0]])


def test_an_effect_that_changes_often_is_counted_by_its_digits():
    """5, 6, 7, 5, 6, 7, ... synapses: five of all in common, and a unit for each of two digits of the rest."""
    layout = Layout((64,), np.arange(64)[None])
    synapses = 5 + np.arange(64) % 3
    assert np.count_nonzero(np.diff(synapses)) > OFTEN
    tables = grouped(np.column_stack([np.ones(64), synapses]).astype(np.float32), layout)
    np.testing.assert_array_equal(tables.causes.toarray(), [[1, 5], [0, 1]])
    np.testing.assert_array_equal(tables.runs, [[0, 1, 1], [1, 1, 2], [1, 2, 3]])
    digits = [sum(1 << lane for lane in range(64) if lane % 3 == rest) for rest in (1, 2)]
    masks = [(int(high) % 2**32) << 32 | int(low) % 2**32 for _, low, high in tables.units]
    assert masks == [2**64 - 1, *digits]


def test_parts_of_an_effect_are_refused():
    layout = Layout((2,), np.array([[0, 1]]))
    with pytest.raises(ValueError, match="whole numbers"):
        grouped(np.array([[1.0], [0.5]], np.float32), layout)
