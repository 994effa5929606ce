"""Products of counts and weights in 16-bit pairs against int64, at every size that leaves something over."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from converters.encode import encode
from neuro import native
from neuro.engine import Program, engine
from neuro.entering import LARGEST, entering
from neuro.graph import Graph, Node
from neuro.layers import Conv, Dense, Input, Reshape, Scale, Threshold


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
    largest=st.sampled_from([1, 127, LARGEST]),
)
@example(seed=0, batch=1, counts=1, neurons=1, largest=LARGEST)
@example(seed=0, batch=6, counts=64, neurons=64, largest=127)
def test_it_is_the_product_in_int64(seed, batch, counts, neurons, largest):
    """Sums reach up to 2^31 - 1: counts are as large as that allows."""
    rng = np.random.default_rng(seed)
    weight = rng.choice([-largest, largest, *rng.integers(-largest, largest + 1, 5)], (neurons, counts))
    levels = min(LARGEST, (2**31 - 1) // (largest * counts))
    x = rng.choice([0, levels, rng.integers(0, levels + 1)], (batch, counts, 1))
    found = entering(dense(weight, levels), "one")
    assert found is not None
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
    conv = Conv(np.ones((2, 1, 1), np.int64), None, (1,), ((0, 0),))
    neurons = Threshold(np.ones((2, 1), np.int64), np.zeros((2, 1), np.int64), 1)
    nodes = (Node("in", Input((1, 4), 3)), Node("w", conv, ("in",)), Node("one", neurons, ("w",)))
    assert entering(Graph("map", nodes), "one") is None
