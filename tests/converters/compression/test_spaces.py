"""Which channels go together, on a graph that holds every case."""

import numpy as np
import pytest

from converters.compression.spaces import cut, marks, spaces
from neuro.graph import Graph, Node
from neuro.layers import Conv, Dense, Input, Reshape, Slice, Transpose


def test_sums_depthwise_layers_and_functions_tie_channels(folded):
    of = spaces(folded(0)).of
    assert of["first"] == of["second"] == of["sum.relu"] == of["deep"] == of["deep.relu"]
    assert len({of["first"], of["wide"], of["other"], of["hidden"], of["last"], of["in"]}) == 6


def test_the_ends_are_fixed_and_nothing_else_is(folded):
    found = spaces(folded(0))
    assert set(found.fixed) == {found.of["in"], found.of["last"]}


def test_channels_are_followed_through_concatenation_and_flattening(folded):
    graph = folded(0)
    found = spaces(graph)
    gone = {found.of["other"]: np.array([False, True, False, False])}
    marked = marks(graph, found, gone)
    # the joined map has 5 + 4 channels of 3 x 3; the second of the other branch is the seventh
    np.testing.assert_array_equal(np.flatnonzero(marked["flat"]), np.arange(54, 63))
    op = cut(graph["hidden"], marked)
    np.testing.assert_array_equal(op.weight, np.delete(graph["hidden"].op.weight, np.arange(54, 63), axis=1))
    assert cut(graph["flat"], marked).shape == (72,)


def test_channels_last_before_flattening():
    weight = np.arange(24.0).reshape(2, 12)
    nodes = (
        Node("in", Input((1, 2, 2))),
        Node("conv", Conv(np.ones((3, 1, 1, 1)), None, (1, 1), ((0, 0), (0, 0))), ("in",)),
        Node("last", Transpose((1, 2, 0)), ("conv",)),
        Node("flat", Reshape((12,)), ("last",)),
        Node("dense", Dense(weight, None), ("flat",)),
    )
    graph = Graph("last", nodes)
    found = spaces(graph)
    marked = marks(graph, found, {found.of["conv"]: np.array([True, False, False])})
    np.testing.assert_array_equal(cut(graph["dense"], marked).weight, np.delete(weight, [0, 3, 6, 9], axis=1))


@pytest.mark.parametrize(
    ("op", "why"),
    [
        (Conv(np.ones((4, 2, 1, 1)), None, (1, 1), ((0, 0), (0, 0)), 2), "needs all of them"),
        (Slice(0, 1, 3), "needs all of them"),
        (Reshape((2, 2, 9)), "makes a map of them"),
    ],
)
def test_what_mixes_channels_fixes_them(op, why):
    nodes = (
        Node("in", Input((1, 3, 3))),
        Node("conv", Conv(np.ones((4, 1, 1, 1)), None, (1, 1), ((0, 0), (0, 0))), ("in",)),
        Node("op", op, ("conv",)),
    )
    found = spaces(Graph("mix", nodes))
    assert why in found.fixed[found.of["conv"]]
