"""Integer networks: ranges, bits, agreement with the float network, and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.fold import fold
from converters.quantise import EXACT_FLOAT32, rate, reference
from neuro.errors import BadInput, Unsupported
from neuro.evaluate import evaluate
from neuro.graph import Graph, Node
from neuro.layers import Add, AvgPool, Conv, Dense, Input, MaxPool, Relu, Reshape, Scale, Threshold
from neuro.stages import bounds, populations

NO_PADS = ((0, 0), (0, 0))
KINDS = ["plain", "identity", "projection", "max", "mean", "strided mean", "global"]


def network(kind: str, seed: int = 0) -> tuple[Graph, np.ndarray]:
    """A folded network on maps of 2 x 4 x 4 and calibration counts of 0..16."""
    rng = np.random.default_rng(seed)

    def conv(enter: int, leave: int, kernel: int = 3) -> Conv:
        weight = rng.normal(size=(leave, enter, kernel, kernel)) / (enter * kernel**2) ** 0.5
        return Conv(
            weight.astype(np.float32),
            rng.normal(size=leave).astype(np.float32) * 0.1,
            (1, 1),
            ((kernel // 2,) * 2,) * 2,
        )

    nodes = [Node("in", Input((2, 4, 4))), Node("c1", conv(2, 4), ("in",)), Node("r1", Relu(), ("c1",))]
    x, size = "r1", 64
    if kind in ("identity", "projection"):
        side = [Node("side", conv(4, 4, 1), ("r1",))] if kind == "projection" else []
        nodes += [Node("c2", conv(4, 4), ("r1",)), *side, Node("sum", Add(), ("c2", "side" if side else "r1"))]
        nodes.append(Node("r2", Relu(), ("sum",)))
        x = "r2"
    elif kind != "plain":
        op, size = {
            "max": (MaxPool((2, 2), (2, 2), NO_PADS), 16),
            "mean": (AvgPool((3, 3), (1, 1), ((1, 1), (1, 1))), 64),
            "strided mean": (AvgPool((2, 2), (2, 2), NO_PADS), 16),
            "global": (AvgPool((4, 4), (1, 1), NO_PADS), 4),
        }[kind]
        nodes.append(Node("pool", op, (x,)))
        x = "pool"
    dense = Dense(
        (rng.normal(size=(5, size)) / size**0.5).astype(np.float32), rng.normal(size=5).astype(np.float32) * 0.1
    )
    nodes += [Node("flat", Reshape((size,)), (x,)), Node("fc", dense, ("flat",))]
    counts = rng.integers(0, 17, (40, 2, 4, 4))
    return fold(Graph(kind, tuple(nodes)), np.array(1 / 16), np.array(-0.2)), counts


@pytest.mark.parametrize(("kind", "levels", "bits"), [*((kind, 15, 8) for kind in KINDS), ("identity", 3, 4)])
def test_reference_is_integer_and_agrees_with_an_integer_executor(kind, levels, bits, numpy_evaluate):
    folded, counts = network(kind)
    graph = reference(folded, counts, 16, levels, bits).graph
    assert graph.vocabulary == "integer"
    for node in graph.nodes:
        for array in vars(node.op).values():
            assert not isinstance(array, np.ndarray) or array.dtype == np.int64
        if isinstance(node.op, Conv | Dense):
            assert np.abs(node.op.weight).max() <= 2 ** (bits - 1) - 1
        if isinstance(node.op, Threshold):
            assert node.op.threshold.min() >= 1
            assert node.op.levels == levels
    want = numpy_evaluate(graph, counts)
    with jax.disable_jit():
        got = evaluate(graph, jnp.asarray(counts, jnp.float32))
    for name, value in got.items():
        np.testing.assert_array_equal(np.asarray(value), want[name], err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_more_levels_come_closer_to_the_float_network(kind, numpy_evaluate):
    """Logits are the float ones times one factor, but for rounding: share of their variance that is left."""
    folded, counts = network(kind, seed=1)
    want = numpy_evaluate(folded, counts.astype(np.float64))[folded.output.name]

    def unexplained(levels: int, bits: int) -> float:
        graph = reference(folded, counts, 16, levels, bits).graph
        got = numpy_evaluate(graph, counts)[graph.output.name]
        return 1 - np.corrcoef(want.ravel(), got.ravel())[0, 1] ** 2

    fine, coarse = unexplained(63, 8), unexplained(3, 4)
    assert fine < 0.003
    assert fine < coarse / 4


@pytest.mark.parametrize("kind", KINDS)
def test_scales_say_what_a_count_stands_for(kind, numpy_evaluate):
    folded, counts = network(kind, seed=2)
    quantised = reference(folded, counts, 16, 63, 8)
    real, got = numpy_evaluate(folded, counts.astype(np.float64)), numpy_evaluate(quantised.graph, counts)
    for node in populations(quantised.graph)[:-1]:
        want = real[node.name]
        error = got[node.name] * quantised.scales[node.name] - want
        assert np.sqrt(np.mean(error**2)) < 0.03 * np.sqrt(np.mean(want**2)), node.name


def test_a_rate_network_has_one_threshold_a_layer(numpy_evaluate):
    for kind in KINDS:
        folded, counts = network(kind)
        quantised = rate(folded, counts, 16, 32)
        values = numpy_evaluate(folded, counts.astype(np.float64))
        for node in populations(quantised.graph)[1:-1]:
            if isinstance(node.op, Threshold):
                assert len(np.unique(node.op.threshold)) == 1
                assert node.op.levels == 32
                percentile = np.percentile(values[node.name], 99.9)
                np.testing.assert_allclose(quantised.scales[node.name], percentile, rtol=1e-4)


def test_rate_neurons_fire_in_proportion_to_their_activation(numpy_evaluate):
    """A spike stands for the percentile: weight sums per threshold times input rates are the activation's share."""
    folded, counts = network("plain", seed=3)
    quantised = rate(folded, counts, 16, 32)
    graph, scale = quantised.graph, quantised.scales["r1"].flat[0]
    op = graph["r1"].op
    drive = numpy_evaluate(Graph("stage", graph.nodes[:2]), counts / 16)["r1/c1"]
    share = np.maximum((drive + op.bias) / op.threshold, 0)
    want = numpy_evaluate(folded, counts.astype(np.float64))["r1"] / scale
    np.testing.assert_allclose(share, want, atol=0.02)


@settings(max_examples=8)
@given(levels=st.integers(1, 63), bits=st.integers(2, 8), seed=st.integers(0, 99))
def test_any_option_in_range_gives_a_sound_network(levels, bits, seed, numpy_evaluate):
    folded, counts = network("identity", seed)
    graph = reference(folded, counts, 16, levels, bits).graph
    values = numpy_evaluate(graph, counts)
    for name, bound in bounds(graph).items():
        assert bound < EXACT_FLOAT32
        if name in ("r1", "r2"):
            assert values[name].min() >= 0
            assert values[name].max() <= levels


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": 0}, "--levels 0 is out of range; give 1 to 255"),
        ({"levels": 256}, "--levels 256"),
        ({"weight_bits": 1}, "--weight-bits 1 is out of range; give 2 to 8"),
        ({"weight_bits": 9}, "--weight-bits 9"),
        ({"input_levels": 0}, "--input-levels 0"),
        ({"input_levels": 65536}, "--input-levels 65536 is out of range; give 1 to 65535"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    folded, counts = network("plain")
    with pytest.raises(BadInput, match=message):
        reference(folded, counts, **({"input_levels": 16} | options))


@pytest.mark.parametrize(("options", "message"), [({"steps": 0}, "--steps 0"), ({"weight_bits": 9}, "--weight-bits 9")])
def test_rate_options_out_of_range_are_refused(options, message):
    folded, counts = network("plain")
    with pytest.raises(BadInput, match=message):
        rate(folded, counts, 16, **options)


def test_sums_beyond_float32_are_refused_with_the_layer():
    weight = np.full((1, 300), 1.0)
    graph = Graph(
        "wide", (Node("in", Input((300,))), Node("d", Dense(weight, None), ("in",)),
                 Node("output", Scale(np.ones(1), np.zeros(1)), ("d",))),
    )  # fmt: skip
    # 300 inputs of 65,535 times a weight of 127 is 2.5e9.
    with pytest.raises(BadInput, match=r"layer 'output' may reach 2,49.*beyond 16,777,216"):
        reference(graph, np.ones((2, 300)), 65535)


def test_a_map_of_unlike_scales_before_a_pool_is_refused():
    """A dense layer has a scale for each neuron; reshaped to a map, the largest count is not the largest value."""
    rng = np.random.default_rng(0)
    nodes = (
        Node("in", Input((6,))),
        Node("d", Dense(rng.normal(size=(16, 6)) * np.arange(1, 17)[:, None], None), ("in",)),
        Node("r", Relu(), ("d",)),
        Node("map", Reshape((1, 4, 4)), ("r",)),
        Node("pool", MaxPool((2, 2), (2, 2), NO_PADS), ("map",)),
        Node("flat", Reshape((4,)), ("pool",)),
        Node("fc", Dense(rng.normal(size=(3, 4)), None), ("flat",)),
    )
    folded = fold(Graph("decoder", nodes), np.array(1.0), np.array(0.0))
    with pytest.raises(Unsupported, match="different scales"):
        reference(folded, rng.integers(0, 8, (20, 6)), 7)


def test_a_spike_stands_for_what_the_rule_says(numpy_evaluate):
    folded, counts = network("plain")
    largest = numpy_evaluate(folded, counts.astype(np.float64))["r1"]
    quantised = rate(folded, counts, 16, 8, rule="max", start="zero", reset="zero")
    np.testing.assert_allclose(quantised.scales["r1"], largest.max(), rtol=1e-4)
    assert (quantised.graph["r1"].op.start, quantised.graph["r1"].op.reset) == ("zero", "zero")
    each = rate(folded, counts, 16, 255, rule="mse").scales["r1"][:, 0, 0]
    np.testing.assert_allclose(each, largest.max(axis=(0, 2, 3)), rtol=0.06)  # many levels need no clipping
