"""k-means in one dimension by hand, against the least error that any division has, and what must be kept."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.compression.clusters import clustered, lloyd, moved, nearest, shared
from converters.compression.pruning import pruned, weights, zero_share
from neuro.errors import BadInput


def test_two_centres_by_hand():
    """Centres 0 and 10 at first; {0, 1, 2} and {9, 10} gather; means 1 and 9.5."""
    np.testing.assert_allclose(lloyd(np.array([9.0, 0.0, 10.0, 2.0, 1.0]), 2), [1.0, 9.5])


def test_a_centre_moves_across_its_neighbours():
    """From 0, 3, 6: {0, 1}, {2, 3, 4}, {6} give 0.5, 3, 6, and nothing moves any more."""
    np.testing.assert_allclose(lloyd(np.array([0.0, 1.0, 2.0, 3.0, 4.0, 6.0]), 3), [0.5, 3.0, 6.0])


def test_few_values_are_kept_as_they_are():
    np.testing.assert_array_equal(lloyd(np.array([2.0, -1.0, 2.0]), 4), [-1.0, 2.0])


@settings(max_examples=30)
@given(st.lists(st.integers(-20, 20), min_size=3, max_size=8, unique=True), st.integers(2, 3))
def test_each_value_has_its_nearest_centre_and_each_centre_is_a_mean(values, clusters):
    values = np.array(values, np.float64)
    centres = lloyd(values, clusters)
    of = nearest(centres, values)
    for k in set(of.tolist()):
        assert centres[k] == pytest.approx(values[of == k].mean())
    error = ((values - centres[of]) ** 2).sum()
    ordered = np.sort(values)
    best = min(
        sum(((part - part.mean()) ** 2).sum() for part in np.split(ordered, cuts))
        for cuts in combinations(range(1, len(values)), min(clusters, len(values)) - 1)
    )
    assert error >= best - 1e-9
    assert error <= ((values - values.mean()) ** 2).sum() + 1e-9


def test_zero_stays_zero_and_nothing_else_becomes_zero():
    weight = np.array([[0.0, 0.01, -0.01, 1.0], [0.0, -1.0, 0.02, 0.98]])
    found = shared(weight, 4)
    got = found.values[found.index]
    np.testing.assert_array_equal(got == 0, weight == 0)
    assert len(np.unique(got)) <= 4


def test_a_graph_has_at_most_so_many_weights_a_layer(folded):
    graph = pruned(folded(1), 0.5)
    result, found = clustered(graph, 3)
    for name, w in weights(result).items():
        assert len(np.unique(w)) <= 8
        np.testing.assert_array_equal(w, found[name].values[found[name].index])
    assert zero_share(result) == zero_share(graph)
    again = moved(found["wide"], 2 * weights(result)["wide"])
    np.testing.assert_array_equal(again.values[again.index], 2 * weights(result)["wide"])


@pytest.mark.parametrize("bits", [0, 9])
def test_bits_out_of_range(folded, bits):
    with pytest.raises(BadInput, match="give 1 to 8"):
        clustered(folded(0), bits)
