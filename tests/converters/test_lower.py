"""One stage in integers: scales behind pools and pads, weights that meet, and what cannot be lowered."""

import numpy as np
import pytest

from converters.lower import Values, lower, uniform
from converters.staircase import Grid, along, straight
from neuro.errors import Unsupported
from neuro.graph import Graph, Node
from neuro.layers import Add, AvgPool, Conv, Dense, Input, Pad, Relu, Reshape, Scale, SumPool, Threshold

NO_PADS = ((0, 0), (0, 0))


def conv(weight) -> Conv:
    """A 1x1 convolution of two channels."""
    return Conv(np.asarray(weight, np.float64).reshape(2, 2, 1, 1), None, (1, 1), NO_PADS)


def folded(*nodes: Node, offset: float = 0.0) -> Graph:
    """A stage in normal form: `nodes` on maps of 2 x 3 x 3, then an offset in the second channel and a ReLU."""
    inner = (Node("in", Input((2, 3, 3))), *nodes)
    shape = Graph("inner", inner).shapes[nodes[-1].name]
    shift = np.zeros(shape)
    shift[1] = offset
    after = Node("o", Scale(np.ones(shape), shift), (nodes[-1].name,))
    return Graph("net", (*inner, after, Node("r", Relu(), ("o",))))


def lowered(graph: Graph, scale=1.0, unit=1.0, bits=8, **options) -> dict[str, object]:
    scale = np.broadcast_to(np.float64(scale), (2, 3, 3))
    units = np.full(2, unit)
    found = lower(graph, "r", values(scale), bits, units, **options)
    fires = straight(Grid(np.zeros(2), units, 15), found.scale, found.shift)
    return {n.name: n.op for n in (*found.nodes, Node("r", fires, (found.last,)))}


def values(scale: np.ndarray, origin: float = 0.0) -> Values:
    return Values({"in": scale}, {"in": np.full_like(scale, origin)})


def gain(ops: dict) -> np.ndarray:
    """Output counts for one input count, before rounding down: weight / threshold."""
    threshold = ops["r"].threshold.reshape(2, 1, 1, 1)
    return next(op.weight for op in ops.values() if isinstance(op, Conv)) / threshold


@pytest.mark.parametrize(("scale", "unit"), [(1.0, 1.0), (0.25, 2.0), (3.0, 1.0)])
def test_weights_over_thresholds_are_the_ratio_of_scales(scale, unit):
    """A count of value `scale` times the weight is so many output counts of value `unit`: half a step of the weight's
    64 to 127 and half a step of the threshold away."""
    weight = np.array([[1.0, -0.5], [0.1, 0.02]])
    ops = lowered(folded(Node("c", conv(weight), ("in",))), scale, unit)
    want = weight * scale / unit
    rounding = np.abs(weight).max(axis=1, keepdims=True) * scale / unit * 0.5 / 63
    error = np.abs(gain(ops)[..., 0, 0] - want)
    assert (error <= rounding + np.abs(want) * 0.5 / ops["r"].threshold[:, :, 0]).all()
    assert ops["r"].levels == 15


def test_a_threshold_of_its_own_for_each_channel_or_one_for_all():
    graph = folded(Node("c", conv([[1.0, 0.5], [0.1, 0.02]]), ("in",)))
    assert len(np.unique(lowered(graph)["r"].threshold)) == 2
    assert len(np.unique(lowered(graph, per_channel=False)["r"].threshold)) == 1


@pytest.mark.parametrize("pads", [NO_PADS, ((1, 1), (1, 1)), ((1, 0), (0, 1))])
def test_a_mean_is_a_sum_whose_size_goes_into_the_weights(pads):
    """Zeros of the padding count in the mean and carry no scale: every position has the same 1/4."""
    pool = AvgPool((2, 2), (1, 1), pads)
    before = folded(Node("p", pool, ("in",)), Node("c", conv([[1.0, 0.5], [0.1, 0.02]]), ("p",)))
    behind = folded(Node("c", conv([[1.0, 0.5], [0.1, 0.02]]), ("in",)), Node("p", pool, ("c",)))
    alone = folded(Node("c", conv([[0.25, 0.125], [0.025, 0.005]]), ("in",)))
    want = lowered(alone, unit=0.01)
    for graph in (before, behind):
        ops = lowered(graph, unit=0.01)
        assert [op for op in ops.values() if isinstance(op, SumPool)] == [SumPool((2, 2), (1, 1), pads)]
        np.testing.assert_array_equal(gain(ops), gain(want))


def test_padding_has_no_scale():
    pad, weighted = Pad(((0, 0), (1, 0), (0, 0))), conv([[1.0, 0.5], [0.1, 0.02]])
    ops = lowered(folded(Node("pad", pad, ("in",)), Node("c", weighted, ("pad",))), scale=0.5)
    assert ops["r/pad"] == pad
    np.testing.assert_array_equal(gain(ops), gain(lowered(folded(Node("c", weighted, ("in",))), scale=0.5)))


def test_branches_that_meet_share_a_scale():
    """Weights 1 and 0.25 of one channel keep their ratio: 127 and 32 (31.75 rounded), or the like on a finer grid."""
    skip = Scale(np.full((2, 3, 3), 0.25), np.zeros((2, 3, 3)))
    graph = folded(Node("c", conv(np.eye(2)), ("in",)), Node("s", skip, ("in",)), Node("a", Add(), ("c", "s")))
    ops = lowered(graph, unit=0.01)
    main, side = ops["r/c"].weight[:, :, 0, 0], ops["r/s"].weight[:, 0, 0, 0]
    assert ops["r/s"].groups == 2
    assert main.tolist() == [[main[0, 0], 0], [0, main[0, 0]]]
    assert side / main[0, 0] == pytest.approx([0.25, 0.25], abs=0.5 / 64)


def test_a_layer_added_to_itself_and_pooled_is_divided_once():
    pool = AvgPool((3, 3), (1, 1), ((1, 1), (1, 1)))
    weights = conv([[1.0, 0.5], [0.1, 0.02]])
    twice = folded(Node("c", weights, ("in",)), Node("a", Add(), ("c", "c")), Node("p", pool, ("a",)))
    once = folded(Node("c", weights, ("in",)), Node("p", pool, ("c",)))
    np.testing.assert_array_equal(gain(lowered(twice, unit=0.01)), gain(lowered(once, unit=0.01)))


def test_a_layer_read_pooled_and_not_is_refused():
    pool = AvgPool((3, 3), (1, 1), ((1, 1), (1, 1)))
    graph = folded(Node("c", conv(np.eye(2)), ("in",)), Node("p", pool, ("c",)), Node("a", Add(), ("p", "c")))
    with pytest.raises(Unsupported, match="Add 'a': the same layer arrives pooled and not pooled"):
        lowered(graph)


def test_all_layers_without_activation_are_listed():
    graph = folded(*(Node(f"c{k}", conv(np.eye(2)), (f"c{k - 1}" if k else "in",)) for k in range(3)))
    with pytest.raises(Unsupported, match=r"2 layers(?s:.)*Conv 'c1'(?s:.)*Conv 'c2'"):
        lowered(graph)


def test_scales_that_differ_within_a_channel_are_refused():
    graph = folded(Node("c", conv(np.eye(2)), ("in",)))
    with pytest.raises(Unsupported, match="different scales"):
        lowered(graph, np.arange(1.0, 19).reshape(2, 3, 3))
    with pytest.raises(Unsupported, match="different scales"):
        uniform(np.arange(1.0, 19).reshape(2, 3, 3))
    assert uniform(np.ones((2, 3, 3)) * [[[2]], [[3]]]).tolist() == [2, 3]


def test_a_flattened_map_takes_scales_of_any_kind():
    """Each input of a dense layer brings its own scale: weights of 1, 1/2, ... become 1 after it."""
    scale = np.arange(1.0, 5)
    graph = Graph(
        "net",
        (
            Node("in", Input((1, 2, 2))),
            Node("f", Reshape((4,)), ("in",)),
            Node("d", Dense(np.array([1 / scale]), None), ("f",)),
            Node("o", Scale(np.ones(1), np.zeros(1)), ("d",)),
        ),
    )
    found = lower(graph, "o", values(scale.reshape(1, 2, 2)), 8)
    weight = next(n.op.weight for n in found.nodes if isinstance(n.op, Dense))
    assert len(np.unique(weight)) == 1


def test_the_read_out_has_one_scale():
    """Logits 4 n + 8 and 1 n - 1: the larger weight sets the scale of both; counts of 3 and more shift them."""
    graph = Graph(
        "net",
        (
            Node("in", Input((1,))),
            Node("d", Dense(np.array([[4.0], [1.0]]), None), ("in",)),
            Node("o", Scale(np.ones(2), np.array([8.0, -1.0])), ("d",)),
        ),
    )
    found = lower(graph, "o", values(np.ones(1), origin=3.0), 8)
    weight = found.nodes[0].op.weight[:, 0]
    assert weight.tolist() == [127, round(127 / 4)]
    assert found.scale.tolist() == pytest.approx([4 / 127, 4 / 127])
    assert found.shift.tolist() == [8 + 4 * 3, -1 + 3]


def test_biases_are_in_threshold_units():
    """th = round(unit / s) absorbs the rounding: a bias of two units is exactly two thresholds."""
    op = lowered(folded(Node("c", conv(np.eye(2) * 0.3), ("in",)), offset=1.4), unit=0.7)["r"]
    assert isinstance(op, Threshold)
    assert op.bias.ravel().tolist() == [0, 2 * op.threshold[1, 0, 0]]
    assert op.bias.shape == (2, 1, 1)  # the same over the map: one a channel


def test_thresholds_have_a_cap():
    """Weights of 1e-9 would ask for thresholds of 10^9 and more; they become zero instead."""
    ops = lowered(folded(Node("c", conv([[1.0, 0.5], [1e-9, 1e-9]]), ("in",))))
    assert ops["r"].threshold.max() <= 2**16
    assert (ops["r/c"].weight[1] == 0).all()


def test_along_puts_channels_first():
    assert along(np.arange(3), 3).shape == (3, 1, 1)
