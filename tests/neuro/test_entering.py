"""Products of counts and weights of 8 and 16 bits against int64, at every size that leaves something over."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from converters.encode import encode
from neuro import native
from neuro.engine import Program, engine
from neuro.entering import HEARD, entering
from neuro.graph import Graph, Node
from neuro.layers import Conv, Dense, Input, Reshape, Scale, Threshold

LARGEST = 2**15 - 1


@pytest.fixture(autouse=True)
def compiled():
    if native.kernels().library is None:
        pytest.skip(f"no compiled kernels: {native.kernels().reason}")


def dense(weight: np.ndarray, levels: int, bias: np.ndarray | None = None) -> Graph:
    """A map of counts, flattened, onto as many neurons as `weight` has rows."""
    size = len(weight)
    nodes = (
        Node("in", Input((weight.shape[1], 1), levels)),
        Node("flat", Reshape((weight.shape[1],)), ("in",)),
        Node("w", Dense(weight, bias), ("flat",)),
        Node("one", Threshold(np.full(size, 7), np.zeros(size, np.int64), 3), ("w",)),
        Node("out", Dense(np.eye(size, dtype=np.int64), None), ("one",)),
        Node("read", Scale(np.ones(size, np.int64), np.zeros(size, np.int64)), ("out",)),
    )
    return Graph("dense", nodes)


@given(
    seed=st.integers(0, 2**32 - 1),
    batch=st.integers(1, 27),
    counts=st.integers(1, 70),
    neurons=st.integers(1, 150),
    largest=st.sampled_from([1, 127, 128, LARGEST]),
    most=st.sampled_from([1, 127, 128, LARGEST]),
)
@example(seed=0, batch=1, counts=1, neurons=1, largest=LARGEST, most=LARGEST)
@example(seed=0, batch=6, counts=64, neurons=64, largest=127, most=127)
def test_it_is_the_product_in_int64(seed, batch, counts, neurons, largest, most):
    """Sums reach up to 2^31 - 1: counts are as large as that allows. Two products of bytes reach 2 x 127 x 127."""
    rng = np.random.default_rng(seed)
    weight = rng.choice([-largest, largest, *rng.integers(-largest, largest + 1, 5)], (neurons, counts))
    levels = min(most, (2**31 - 1) // (largest * counts))
    x = rng.choice([0, levels, rng.integers(0, levels + 1)], (batch, counts, 1))
    found = entering(dense(weight, levels), "one")
    assert found is not None
    assert found.weights.dtype == (np.int8 if max(levels, np.abs(weight).max()) <= 127 else np.int16)
    got = np.asarray(found(jnp.asarray(x, jnp.float32)))
    assert got.shape[:2] == (batch, 1)
    np.testing.assert_array_equal(got[:, 0, :neurons], x[:, :, 0] @ weight.astype(np.int64).T)
    assert not got[:, 0, neurons:].any()


def test_the_engine_takes_it(numpy_evaluate):
    rng = np.random.default_rng(1)
    graph = dense(rng.integers(-9, 10, (40, 30)), 7)
    counts = rng.integers(0, 8, (5, 30, 1))
    program, _ = engine(encode(graph, "bits"))
    assert isinstance(program, Program)
    assert [stage.entering is not None for stage in program.stages] == [False, True, False]
    run = program(jnp.asarray(counts, jnp.float32))
    np.testing.assert_array_equal(np.asarray(run.output), numpy_evaluate(graph, counts)["read"])


def test_all_else_is_left_to_others():
    """A bias, weights or counts of more than 16 bits, weights that are no integers, another operator."""
    weight = np.full((2, 3), 5)
    assert entering(dense(weight, 7), "one") is not None
    assert entering(dense(weight, 7, np.ones(2, np.int64)), "one") is None
    assert entering(dense(weight, LARGEST + 1), "one") is None
    assert entering(dense(np.full((2, 3), LARGEST + 1), 7), "one") is None
    assert entering(dense(np.full((2, 3), 0.5), 7), "one") is None
    assert entering(dense(weight, 7), "read") is None  # it hears spikes
    kernel = np.ones((2, 1, 3), np.int64)
    for conv in (
        Conv(np.ones((2, HEARD + 1, 1), np.int64), None, (1,), ((0, 0),)),
        Conv(kernel, np.ones(2, np.int64), (1,), ((0, 0),)),
        Conv(np.ones((2, 1, 3), np.int64), None, (1,), ((0, 0),), groups=2),
    ):
        channels = conv.weight.shape[1] * conv.groups
        nodes = (Node("in", Input((channels, 4), 3)), Node("w", conv, ("in",)), Node("one", along(2, 2), ("w",)))
        assert entering(Graph("map", nodes), "one") is None


def along(channels: int, ndim: int) -> Threshold:
    """Neurons of a map with `ndim` axes."""
    ones = np.ones((channels,) + (1,) * (ndim - 1), np.int64)
    return Threshold(ones, 0 * ones, 1)


@given(
    seed=st.integers(0, 2**32 - 1),
    sides=st.lists(st.integers(5, 9), min_size=1, max_size=2),
    channels=st.integers(1, 3),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    pads=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    batch=st.integers(1, 7),
)
def test_convolutions_are_those_of_int64(seed, sides, channels, stride, dilation, pads, batch):
    rng = np.random.default_rng(seed)
    kernel = rng.integers(1, 4, len(sides))
    largest = rng.choice([127, LARGEST])
    weight = rng.integers(-largest, largest + 1, (int(rng.integers(1, 70)), channels, *kernel))
    op = Conv(weight, None, (stride,) * len(sides), (pads,) * len(sides), dilation=(dilation,) * len(sides))
    neurons = along(len(weight), len(sides) + 1)
    nodes = (Node("in", Input((channels, *sides), 7)), Node("w", op, ("in",)), Node("one", neurons, ("w",)))
    graph, x = Graph("map", nodes), rng.integers(0, 8, (batch, channels, *sides))
    found = entering(graph, "one")
    assert found is not None
    padded = np.pad(x, ((0, 0), (0, 0), *(pads for _ in sides)))
    out = graph.shapes["w"][1:]
    want = np.zeros((batch, len(weight), *out), np.int64)
    for place in np.ndindex(*kernel):
        ends = [p * dilation + (n - 1) * stride + 1 for p, n in zip(place, out, strict=True)]
        cut = tuple(slice(p * dilation, end, stride) for p, end in zip(place, ends, strict=True))
        want += np.tensordot(weight[(..., *place)], padded[(slice(None), slice(None), *cut)], (1, 1)).swapaxes(0, 1)
    got = np.asarray(found(jnp.asarray(x, jnp.float32)))
    np.testing.assert_array_equal(got[..., : len(weight)].swapaxes(1, 2).reshape(want.shape), want)
    assert not got[..., len(weight) :].any()
