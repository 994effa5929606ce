"""Rows of synapses by hand: words, shared columns, gaps of the numbering, shared axons."""

import numpy as np
import pytest

from neuro.blocks import WHOLE, Parts
from neuro.chip import load
from neuro.layers import Conv
from neuro.packing import convolution, heard_axons, rows, shared_axons
from neuro.wiring import Kept, Layer

MEMORY = load("loihi1").memory


def line(width: int, weights: list[list[int]]) -> tuple[Conv, tuple, tuple]:
    """A 1 x 2 kernel for each output channel over a row of `width` pixels, with source and target shapes."""
    kernel = np.array(weights).reshape(len(weights), 1, 1, 2)
    return Conv(kernel, None, (1, 1), ((0, 0), (0, 0))), (1, 1, width), (len(weights), 1, width - 1)


def test_words_of_a_tiny_layer():
    """Three targets over four pixels. Target columns form the groups [0] and [1, 2]: four numbers for three neurons.

    Pixels 0 and 3 have one synapse: 10 + (8 + 6) + 6 = 30 bits. Pixels 1 and 2 have two of unlike sign, in two entries:
    20 + 28 + 6 = 54 bits. A word each, and no two pixels land alike.
    """
    packed = convolution(MEMORY, *line(4, [[3, -5]]), WHOLE)
    assert (packed.words.tolist(), packed.compartments.tolist(), packed.groups.tolist()) == ([4], [4], [2])


def test_entries_by_group_and_sign():
    """Three channels, all weights positive: pixels 0 and 3 take 10 + 3 x 14 + 6 = 58 bits, pixel 2 10 + 6 x 14 + 6 =
    100 in one entry, pixel 1, which touches both groups, 20 + 84 + 6 = 110: 1 + 2 + 2 + 1 words."""
    packed = convolution(MEMORY, *line(4, [[1, 1]] * 3), WHOLE)
    assert (packed.words.tolist(), packed.compartments.tolist()) == ([6], [12])


def test_columns_that_land_alike_share_their_rows():
    """Six targets in the groups [0], [1, 2], [3, 4], [5]: pixels 4 and 5 repeat pixels 2 and 3. Five words, not 7."""
    packed = convolution(MEMORY, *line(7, [[3, -5]]), WHOLE)
    assert (packed.words.tolist(), packed.groups.tolist()) == ([5], [4])


def test_rows_of_a_column_are_as_long_as_its_longest():
    """A column of three pixels under a 2 x 1 kernel of nine channels: ends 10 + 9 x 14 + 6 = 142 bits, 3 words; the
    middle pixel has 18 synapses: 10 + 252 + 6 = 268 bits, 5 words. Three rows of 5."""
    op = Conv(np.ones((9, 1, 2, 1), int), None, (1, 1), ((0, 0), (0, 0)))
    assert convolution(MEMORY, op, (1, 3, 1), (9, 2, 1), WHOLE).words.tolist() == [15]
    # cut by channels, 5 and 4: 5 x 14 + 16 = 86 and 10 x 14 + 16 = 156 bits; 4: 72 and 128 bits
    assert convolution(MEMORY, op, (1, 3, 1), (9, 2, 1), Parts(1, 1, 2)).words.tolist() == [9, 6]


def test_zeros_and_foreign_groups_take_nothing():
    """Depthwise: a channel's row holds its own kernel alone. Two channels of one weight, a word each."""
    op = Conv(np.array([2, 0, 7]).reshape(3, 1, 1, 1), None, (1, 1), ((0, 0), (0, 0)), groups=3)
    assert convolution(MEMORY, op, (3, 1, 1), (3, 1, 1), WHOLE).words.tolist() == [2]


@pytest.mark.parametrize(("format", "words"), [("sparse", [16]), ("dense", [28])])
def test_rows_that_nobody_shares(format, words):
    """100 targets: indices of 7 bits. One synapse: 10 + 15 + 6 bits; 61, of both signs: 30 + 61 x 15 + 6 = 951 bits, 15
    words. Dense rows hold all 100 without an index: 30 + 800 + 6 = 836 bits, 14 words, both of them."""
    layer = Layer("l", (100,), format, np.zeros(100), Kept(np.zeros(100), np.zeros(100)))
    packed = rows(MEMORY, layer, np.array([[1.0, 61.0, 0.0]]), np.array([100.0]))
    assert packed.words.tolist() == words


def test_shared_axons():
    """2 channels x 3 rows x 2 columns. Neurons with two target cores take two entries, the others of a column and
    channel two together, or one if alone."""
    reached = np.array([[[1, 2], [1, 1], [1, 0]], [[0, 0], [1, 2], [0, 2]]], float).reshape(-1)
    assert shared_axons(MEMORY, reached, (2, 3, 2), WHOLE).tolist() == [2 + (2 + 1) + 1 + 4]
    assert shared_axons(MEMORY, reached, (2, 3, 2), Parts(1, 2, 1)).tolist() == [3, 7]
    heard = np.array([[1, 1, 1, 0], [0, 0, 1, 0]], bool)  # one channel, two rows, two columns
    assert heard_axons(heard, (1, 2, 2)).tolist() == [1 + 2, 1]  # neuron 2 by itself; 0 and 1 for their columns
