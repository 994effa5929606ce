"""Axes moved only where a layer needs them elsewhere, by hand and as properties against NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from converters.importers.layout import Builder, few_axes, plain, same_pads, unique
from converters.importers.onnx_call import Refused
from neuro.errors import BadInput, Unsupported
from neuro.evaluate import evaluator
from neuro.layers import Input, MaxPool, Relu, Reshape, Softmax, Transpose

RNG = np.random.default_rng(0)


def values(build: Builder, stream, x: np.ndarray) -> np.ndarray:
    graph = build.graph("net", stream, {}, "")
    return np.asarray(evaluator(graph, (graph.output.name,))(x.astype(np.float32))[0])


def kinds(build: Builder, stream) -> list[type]:
    return [type(n.op) for n in build.graph("net", stream, {}, "").nodes]


@pytest.mark.parametrize(
    ("size", "span", "stride", "pads"),
    [(5, 3, 1, (1, 1)), (6, 3, 2, (0, 1)), (7, 3, 2, (1, 1)), (8, 4, 3, (1, 1)), (5, 1, 2, (0, 0)), (10, 4, 1, (1, 2))],
)
def test_same_padding_by_hand(size, span, stride, pads):
    """k + (⌈n/s⌉ - 1)s - n: 3 + 4 - 5 = 2; 3 + 4 - 6 = 1; 3 + 6 - 7 = 2; 4 + 6 - 8 = 2; below 0; 4 + 9 - 10 = 3."""
    assert same_pads((size,), (span,), (stride,)) == (pads,)


def test_names_are_numbered():
    assert unique("a", {"a", "a_2"}) == "a_3"
    assert unique("b", {"a"}) == "b"


def first(shape: tuple[int, ...]):
    """A map of `shape` whose node has its channels first."""
    build = Builder("x", shape)
    return build, build.arranged(build.entrance, (len(shape) - 1, *range(len(shape) - 1)))


def test_arranging_twice_makes_one_node():
    build = Builder("x", (4, 3, 2))
    a, b = (build.arranged(build.entrance, (2, 0, 1)) for _ in range(2))
    assert a == b
    assert [n.name for n in build.nodes] == ["x", "x_transpose"]
    assert build.arranged(a, (2, 0, 1)) is a


def test_there_and_back_is_nothing():
    build, x = first((4, 3, 2))
    assert kinds(build, x) == [Input]
    assert kinds(build, build.each(x, "r", Relu())) == [Input, Transpose, Relu, Transpose]


def test_reshape_of_reshapes_is_one():
    build = Builder("x", (4, 3))
    x = build.reshaped(build.reshaped(build.entrance, "a", (2, 6)), "b", (12,))
    assert kinds(build, x) == [Input, Reshape]
    assert kinds(build, build.reshaped(x, "c", (4, 3))) == [Input]


@examples(max_examples=60)
@given(st.data())
def test_any_chain_of_moves_is_numpys(data):
    """Transposes, reshapes, pads, scales, sums and joins, from a channels-first node, against NumPy."""
    shape = tuple(data.draw(st.lists(st.integers(1, 3), min_size=2, max_size=4)))
    build, x = first(shape)
    given_x = RNG.integers(-9, 9, (2, *shape)).astype(np.float64)
    wanted = given_x
    for i in range(data.draw(st.integers(1, 4))):
        rank = wanted.ndim - 1
        match data.draw(st.integers(0, 5)):
            case 0:
                order = data.draw(st.permutations(range(rank)))
                x, wanted = build.permuted(x, order), wanted.transpose(0, *(o + 1 for o in order))
            case 1:
                size = wanted[0].size
                rows = data.draw(st.sampled_from([n for n in range(1, size + 1) if size % n == 0]))
                target = data.draw(st.sampled_from([(size,), (rows, size // rows), (1, rows, size // rows)]))
                x, wanted = build.reshaped(x, f"r{i}", target), wanted.reshape(2, *target)
            case 2:
                pads = tuple(data.draw(st.tuples(st.integers(0, 1), st.integers(0, 1))) for _ in range(rank))
                x, wanted = build.padded(x, f"p{i}", pads), np.pad(wanted, ((0, 0), *pads))
            case 3:
                factor = RNG.integers(1, 4, wanted.shape[data.draw(st.integers(1, rank)) :]).astype(np.float32)
                x, wanted = build.scaled(x, f"s{i}", factor, np.ones((), np.float32)), wanted * factor + 1
            case 4:
                x, wanted = build.summed([x, build.settled(x), x], f"a{i}"), 3 * wanted
            case 5:
                axis = data.draw(st.integers(0, rank - 1))
                x = build.joined([x, build.settled(x)], f"j{i}", axis)
                wanted = np.concatenate([wanted, wanted], axis + 1)
        assert x.shape == wanted.shape[1:]
    assert values(build, x, given_x).tolist() == wanted.tolist()


@pytest.mark.parametrize("shape", [(6,), (5, 6), (4, 5, 6), (2, 3, 2, 6), (1, 1, 6)])
def test_matrix_along_the_last_axis(shape):
    weight, bias = RNG.integers(-3, 3, (4, 6)).astype(np.float32), np.arange(4, dtype=np.float32)
    x = RNG.integers(-3, 3, (2, *shape)).astype(np.float32)
    build = Builder("x", shape)
    assert values(build, build.dense(build.entrance, "d", weight, bias), x).tolist() == (x @ weight.T + bias).tolist()


def test_means_and_largest_values():
    x = RNG.integers(-9, 9, (2, 4, 3, 2)).astype(np.float64)
    build = Builder("x", (4, 3, 2))
    assert values(build, build.averaged(build.entrance, "m", False), x) == pytest.approx(x.mean((1, 2)))
    assert values(build, build.averaged(build.entrance, "k", True, 0), x) == pytest.approx(
        x.mean((2, 3), keepdims=True)
    )
    largest = build.averaged(build.entrance, "l", False, largest=True)
    assert values(build, largest, x).tolist() == x.max((1, 2)).tolist()


def test_what_does_not_fit():
    build = Builder("x", (4, 3))
    x = build.entrance
    with pytest.raises(ValueError, match="cannot be reshaped"):
        build.reshaped(x, "r", (5,))
    with pytest.raises(ValueError, match="does not permute"):
        build.permuted(x, (0, 0))
    with pytest.raises(ValueError, match="cannot be joined"):
        build.joined([x, x], "j", 2)
    with pytest.raises(ValueError, match="does not fit"):
        build.dense(x, "d", np.ones((2, 4), np.float32), None)
    with pytest.raises(ValueError, match="exceed the limit"):
        build.padded(x, "p", ((0, 2**28), (0, 0)))
    with pytest.raises(Refused, match="enlarges"):
        build.scaled(x, "s", np.ones((2, 1, 3)), np.zeros(()))
    with pytest.raises(Refused, match="only equal shapes"):
        build.summed([x, build.permuted(x, (1, 0))], "a")
    with pytest.raises(Refused, match="3 spatial axes"):
        few_axes(3)
    with pytest.raises(ValueError, match="exceed the limit"):
        Builder("x", (2**15, 2**15))


def test_softmax_comes_last():
    build = Builder("x", (1, 3))
    x = build.softmax(build.entrance, "s")
    assert kinds(build, build.reshaped(x, "f", (3,))) == [Input, Reshape, Softmax]
    with pytest.raises(Unsupported, match="SOFTMAX 's': only the last"):
        build.graph("net", build.each(x, "r", Relu()), {"s": "SOFTMAX"}, "")
    with pytest.raises(Refused, match="2 places"):
        build.softmax(plain("x", (2, 3)), "s2")


def test_unused_layers_are_left_out_and_nan_is_bad():
    build = Builder("x", (4, 2))
    build.windowed(build.entrance, "unused", MaxPool((2,), (2,), ((0, 0),)))
    y = build.scaled(build.entrance, "y", np.full((), 2.0), np.zeros(()))
    assert [n.name for n in build.graph("net", y, {}, "").nodes] == ["x", "y"]
    bad = build.scaled(build.entrance, "bad", np.full((), np.nan), np.zeros(()))
    with pytest.raises(BadInput, match="'bad' has NaN"):
        build.graph("net", bad, {}, "")


def test_constants_and_columns_of_a_flattened_map():
    """Value 2 y + c of a map of 2 x 2 channels lies at 2 c + y."""
    build, x = first((2, 2))
    flat = build.reshaped(x, "f", (4,))
    scaled = build.scaled(flat, "s", np.array([1, 2, 3, 4], np.float32), np.zeros(()))
    build.dense(scaled, "d", np.array([[5, 6, 7, 8]], np.float32), None)
    ops = {n.name: n.op for n in build.nodes}
    assert ops["s"].factor.tolist() == [1, 3, 2, 4]
    assert ops["d"].weight.tolist() == [[5, 7, 6, 8]]
