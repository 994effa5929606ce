"""Cuts into blocks: every neuron in one, parts as even as the rule says, sums and masks of the same blocks."""

from math import ceil

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from neuro.blocks import WHOLE, Parts, axes, core_of, finest, masks, options, parts, sums

SHAPES = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)


@given(st.integers(1, 400))
def test_options_are_those_that_the_rule_keeps(length):
    """k = ceil(n / ceil(n / k)), tried out on every k."""
    assert options(length) == [k for k in range(1, length + 1) if k == ceil(length / ceil(length / k))]


@given(SHAPES, st.data())
def test_blocks_hold_every_neuron_once(shape, data):
    cut = data.draw(st.sampled_from(list(parts(shape))))
    core = core_of(shape, cut)
    assert np.unique(core).tolist() == list(range(cut.number))
    own = masks(shape, cut).reshape(cut.number, -1)
    np.testing.assert_array_equal(own, np.arange(cut.number)[:, None] == core)
    values = np.arange(core.size) + 0.5
    np.testing.assert_allclose(sums(values, shape, cut), own @ values)
    sizes = [ceil(n / k) for n, k in zip(axes(shape), (cut.channels, cut.rows, cut.columns), strict=True)]
    assert own.sum(axis=1).max() == np.prod(sizes)
    np.testing.assert_array_equal(masks(shape, cut, [cut.number - 1])[0], masks(shape, cut)[-1])


def test_order_of_cuts():
    """Fewest blocks, then fewest channel groups, then fewest row bands: columns are cut before rows."""
    order = list(parts((2, 2, 2)))
    assert order == [
        Parts(rows, columns, channels)
        for rows, columns, channels in [
            (1, 1, 1), (1, 2, 1), (2, 1, 1), (1, 1, 2), (2, 2, 1), (1, 2, 2), (2, 1, 2), (2, 2, 2),
        ]
    ]  # fmt: skip
    assert (order[0], order[-1]) == (WHOLE, finest((2, 2, 2)))
    assert list(parts((2, 2, 2), 3, 4)) == order[4:7]
    assert axes((5,)) == (5, 1, 1)
    assert axes((5, 7)) == (5, 1, 7)  # a sequence is a row, so that its places share kernels
    assert axes((5, 7, 2, 3)) == (5, 7, 6)
