"""Compiled kernels against pure JAX and int64 NumPy: the same spikes, bit for bit, whatever the network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.encode import encode
from neuro import native
from neuro.codes import CODES, is_exact
from neuro.engine import COMPILED, Plain, Program, engine, prepare
from neuro.errors import BadInput
from neuro.graph import Graph, Node
from neuro.layers import Add, Conv, Dense, Input, MaxPool, Reshape, Scale, SumPool, Threshold
from neuro.simulate import simulate
from neuro.stages import populations
from neuro.taps import NoTaps
from neuro.trains import Packed, unpacked, value

STRUCTURES, SHAPE = 10, (2, 6, 5)


@pytest.fixture(autouse=True)
def compiled():
    if native.kernels().library is None:
        pytest.skip(f"no compiled kernels: {native.kernels().reason}")


def same(spiking: Graph, batch: np.ndarray, limit: float = float("inf")) -> int:
    """Compared spikes, after asserting that both engines agree on them, on the read-out and on the largest membrane."""
    program = prepare(spiking)
    assert isinstance(program, Program)
    x = jnp.asarray(batch, jnp.float32)
    ours = jax.jit(lambda p, b: p(b, limit))(program, x)
    with jax.disable_jit():  # compiled once an operator and shape, not once a network
        want = simulate(spiking, x, limit)
    assert ours.spikes.keys() == want.spikes.keys()
    compared = 0
    for name, trains in ours.spikes.items():
        assert isinstance(trains, Packed)
        np.testing.assert_array_equal(np.asarray(unpacked(trains)), np.asarray(want.spikes[name]), name)
        compared += np.asarray(want.spikes[name]).size
    np.testing.assert_array_equal(np.asarray(ours.output), np.asarray(want.output))
    np.testing.assert_array_equal(np.asarray(ours.peak), np.asarray(want.peak))
    return compared


@pytest.mark.parametrize("structure", range(STRUCTURES))
def test_engines_agree_with_branches_and_steps(structure, random_network):
    """Neurons of several thresholds and joined branches; what the kernels have no form for is left to JAX."""
    rng = np.random.default_rng(structure)
    graph = random_network(structure, rng, 7, 7, rich=True)
    spiking = encode(graph, "unary" if structure % 2 else "bits")
    if isinstance(engine(spiking)[0], Plain):
        with pytest.raises(NoTaps, match=r"grouped|joined|lie differently|channels"):
            prepare(spiking)
        return
    assert same(spiking, rng.integers(0, 8, (5, *SHAPE))) > 500


@pytest.mark.parametrize("structure", range(STRUCTURES))
def test_engines_agree_on_random_networks(structure, random_network):
    rng, code = np.random.default_rng(structure), [*COMPILED][structure % len(COMPILED)]
    graph = random_network(structure, rng, 15, 7)
    spiking = encode(graph, code, 20 if code == "rate" else None)
    assert same(spiking, rng.integers(0, 8, (5, *SHAPE))) > 1000


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), code=st.sampled_from([c for c in COMPILED if is_exact(c)]))
def test_values_are_those_of_int64(seed, code, random_network, numpy_evaluate):
    rng = np.random.default_rng(seed)
    graph = random_network(seed % STRUCTURES, rng, int(rng.choice([1, 3, 7, 15])), 7)
    counts = rng.integers(0, 8, (int(rng.integers(1, 6)), *SHAPE))
    want = numpy_evaluate(graph, counts)
    ours = prepare(encode(graph, code))(jnp.asarray(counts, jnp.float32))
    for node in populations(graph)[:-1]:
        np.testing.assert_array_equal(np.asarray(value(ours.spikes[node.name], code)), want[node.name], node.name)
    np.testing.assert_array_equal(np.asarray(ours.output), want[graph.output.name])


def convolutional(rng: np.random.Generator, largest: int = 9) -> Graph:
    """Strides, asymmetric pads, groups, a depthwise kernel, a residual, all pools, a flattened dense layer."""

    def weights(*shape):
        return rng.integers(-largest, largest + 1, shape)

    def neurons(channels, ndim):
        along = (channels,) + (1,) * (ndim - 1)
        return Threshold(rng.integers(1, 60, along), rng.integers(-20, 20, along), 7)

    none = ((0, 0), (0, 0))
    nodes = (
        Node("in", Input((3, 9, 8), 7)),
        Node("w1", Conv(weights(10, 3, 3, 3), None, (1, 1), ((1, 1), (1, 1))), ("in",)),
        Node("one", neurons(10, 3), ("w1",)),
        Node("max", MaxPool((2, 2), (2, 2), none), ("one",)),
        Node("w2", Conv(weights(12, 10, 3, 3), None, (1, 1), ((1, 1), (1, 1))), ("max",)),
        Node("skip", Conv(weights(12, 10, 1, 1), None, (1, 1), none), ("max",)),
        Node("add", Add(), ("w2", "skip")),
        Node("two", neurons(12, 3), ("add",)),
        Node("depth", Conv(weights(12, 1, 3, 3), None, (1, 1), ((1, 1), (1, 1)), 12), ("two",)),
        Node("three", neurons(12, 3), ("depth",)),
        Node("groups", Conv(weights(8, 6, 2, 3), None, (1, 2), ((0, 1), (1, 0)), 2), ("three",)),
        Node("pooled", SumPool((2, 1), (1, 1), none), ("groups",)),
        Node("four", neurons(8, 3), ("pooled",)),
        Node("before", SumPool((2, 1), (2, 1), none), ("four",)),
        Node("flat", Reshape((16,)), ("before",)),
        Node("w5", Dense(weights(70, 16), None), ("flat",)),
        Node("five", neurons(70, 1), ("w5",)),
        Node("w6", Dense(weights(10, 70), None), ("five",)),
        Node("out", Scale(np.ones(10, np.int64), rng.integers(-9, 9, 10)), ("w6",)),
    )
    return Graph("convolutional", nodes)


@pytest.mark.parametrize(("code", "batch", "largest"), [("unary", 1, 9), ("bits", 5, 127), ("rate", 3, 900)])
def test_every_kind_of_layer(code, batch, largest):
    rng = np.random.default_rng(batch)
    spiking = encode(convolutional(rng, largest), code, 13 if code == "rate" else None)
    assert same(spiking, rng.integers(0, 8, (batch, 3, 9, 8)))


def dense(weight: np.ndarray, threshold: int, levels: int) -> Graph:
    hidden, size = weight.shape
    nodes = (
        Node("in", Input((size,), levels)),
        Node("w1", Dense(weight, None), ("in",)),
        Node("hidden", Threshold(np.full(hidden, threshold), np.zeros(hidden, np.int64), levels), ("w1",)),
        Node("w2", Dense(weight.T, None), ("hidden",)),
        Node("again", Threshold(np.full(size, threshold), np.zeros(size, np.int64), levels), ("w2",)),
        Node("w3", Dense(weight, None), ("again",)),
        Node("out", Scale(np.ones(hidden, np.int64), np.zeros(hidden, np.int64)), ("w3",)),
    )
    return Graph("dense", nodes)


@pytest.mark.parametrize("code", COMPILED)
@pytest.mark.parametrize(
    ("weight", "threshold", "levels", "counts"),
    [
        (np.zeros((40, 30), np.int64), 1, 7, np.full((3, 30), 7)),  # silent
        (np.full((40, 30), 127), 1, 7, np.full((3, 30), 7)),  # every neuron in every step, through the tables
        (np.full((1, 1), -127), 1, 1, np.ones((1, 1), np.int64)),  # one neuron, one sample, one step
        (np.full((700, 600), 127), 1, 3, np.full((2, 600), 3)),  # 16-bit sums would overflow unless emptied
        (np.full((130, 129), -127), 3, 15, np.arange(2 * 129).reshape(2, 129) % 16),  # never reached
    ],
)
def test_extremes(code, weight, threshold, levels, counts):
    assert same(encode(dense(weight, threshold, levels), code, levels if code == "rate" else None), counts)


def test_membranes_saturate_alike():
    rng = np.random.default_rng(3)
    spiking = encode(dense(rng.integers(-60, 127, (33, 31)), 20, 7), "rate", 25)
    assert same(spiking, rng.integers(0, 8, (4, 31)), limit=500.0)


def test_a_state_beyond_32_bits_is_refused():
    graph = dense(np.full((300, 300), 30_000), 2**16, 255)
    with pytest.raises(BadInput, match="beyond 32 bits"):
        prepare(encode(graph, "unary"))


def test_what_the_kernels_cannot_do_is_done_by_jax_and_said(random_network):
    wide = dense(np.full((2, 2), 2**17), 5, 3)
    program, how = engine(encode(wide, "rate", 3))
    assert isinstance(program, Plain)
    assert "a weight of 131072 is beyond 16 bits" in how
    x = jnp.ones((1, 2), jnp.float32)
    np.testing.assert_array_equal(program(x).output, simulate(encode(wide, "rate", 3), x).output)


def test_activity_does_not_compile_again():
    rng = np.random.default_rng(0)
    program = prepare(encode(dense(rng.integers(-9, 9, (20, 30)), 5, 7), "unary"))
    traced = []

    @jax.jit
    def run(program, counts):
        traced.append(counts.shape)
        return program(counts).output

    for counts in (np.zeros((2, 30)), np.full((2, 30), 7), rng.integers(0, 8, (2, 30))):
        run(program, jnp.asarray(counts, jnp.float32))
    assert traced == [(2, 30)]


@pytest.mark.parametrize("code", [c for c in CODES if c not in COMPILED])
def test_codes_without_a_kernel_run_on_jax_and_the_reason_says_so(code, random_network, numpy_evaluate):
    graph = random_network(2, np.random.default_rng(2))
    counts = np.random.default_rng(0).integers(0, 8, (4, *SHAPE))
    program, why = engine(encode(graph, code))
    assert isinstance(program, Plain)
    assert why == f"pure JAX: no compiled kernel runs the {code} code; unary, bits, rate have one"
    run, want = program(jnp.asarray(counts, jnp.float32)), numpy_evaluate(graph, counts)
    np.testing.assert_array_equal(np.asarray(run.output), want[graph.output.name])
    for name, spikes in run.spikes.items():
        np.testing.assert_array_equal(np.asarray(value(spikes, code)), want[name])
