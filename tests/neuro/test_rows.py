"""Rows of synapses: what is unpacked is what was packed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro import rows


def unpacked(found: rows.Rows, sources: int, places: int, kind: type) -> np.ndarray:
    """The matrix [source, place] that rows stand for."""
    number = kind if found.weight in ("row", "number") else np.dtype(found.weight)
    ends, weights = np.asarray(found.ends), np.asarray(found.weights).view(number).astype(kind)
    at = np.asarray(found.places).view(found.place).astype(int)
    matrix = np.zeros((sources, places), kind)
    for source in range(sources):
        for entry in range(ends[source], ends[source + 1]):
            if found.wide:
                matrix[source, 8 * at[entry] : 8 * at[entry] + 8] += weights[8 * entry : 8 * entry + 8]
            else:
                matrix[source, at[entry]] += weights[source if found.weight == "row" else entry]
    return matrix


@given(st.integers(0, 2**32 - 1), st.sampled_from([np.int32, np.float32, np.float64]), st.sampled_from([0.05, 0.5, 2]))
def test_rows_are_the_matrix(seed, kind, share):
    """Any order, the same synapse several times, sources without synapses."""
    rng = np.random.default_rng(seed)
    sources, places = int(rng.integers(1, 20)), 8 * int(rng.integers(1, 20))
    number = int(rng.integers(0, 1 + share * sources * places))
    source, place = rng.integers(0, sources, number), rng.integers(0, places, number)
    weight = rng.integers(-9, 9, number) if rng.random() < 0.7 else np.full(number, 70_000)
    expected = np.zeros((sources, places), kind)
    np.add.at(expected, (source, place), weight)
    found = rows.pack(source * places + place, weight.astype(kind), sources, places)
    np.testing.assert_array_equal(unpacked(found, sources, places, kind), expected)


@pytest.mark.parametrize(("held", "wide"), [(range(8), True), ((0, 3, 6), True), ((2, 5), False)])
def test_rows_are_wide_where_synapses_stand_together(held, wide):
    """Three of eight places are enough; each eight once, whatever their number."""
    place = np.concatenate([8 * k + np.array(held) for k in (1, 4, 9)])
    found = rows.pack(place, np.arange(1.0, 1 + len(place)), 1, 80)
    assert found.wide == wide
    assert np.asarray(found.ends).tolist() == [0, 3 if wide else len(place)]
    if wide:
        assert np.asarray(found.places).view(found.place).tolist() == [1, 4, 9]


def test_places_that_need_32_bits():
    """65,536 places in all are one too many for 16 bits, unless they are taken in eights."""
    for place, wide in ((np.array([65_528]), False), (np.arange(65_528, 65_536), True)):
        found = rows.pack(place, np.ones(len(place)), 1, 2**16)
        assert (found.place, found.wide) == ("uint16" if wide else "uint32", wide)


def test_no_synapses():
    none = np.zeros(0, int)
    found = rows.pack(none, np.zeros(0), 3, 64)
    assert np.asarray(found.ends).tolist() == [0, 0, 0, 0]
    assert not found.wide
