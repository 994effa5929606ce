"""ONNX exports, executed by onnxruntime: the same integers everywhere."""

from pathlib import Path

import numpy as np
import pytest

from converters import fold, network_file, quantise
from converters.exporters import replay, to_onnx
from converters.network_file import Converted
from converters.quantise import Quantised
from neuro.activations import Function
from neuro.divergence import first_divergence
from neuro.errors import BadInput
from neuro.graph import Graph, Node
from neuro.layers import (
    Activation,
    Add,
    AvgPool,
    Concat,
    Conv,
    Dense,
    Input,
    MaxPool,
    NormNeurons,
    Pad,
    Product,
    Relu,
    Reshape,
    Slice,
    SoftmaxNeurons,
    Threshold,
)
from tests.converters import test_attention as attention
from tests.neuro.test_attention import norm_by_hand, softmax_by_hand

pytest.importorskip("onnxruntime")
NONE = ((0, 0), (0, 0))
ONE = ((1, 1), (1, 1))


def wrapped(graph: Graph, levels: int = 7) -> Converted:
    """An integer graph as if it had been converted; its outputs are its membranes."""
    shape = graph.shapes[graph.output.name]
    maps = {graph.output.name: np.ones(shape)}, {graph.output.name: np.zeros(shape)}
    one = np.ones((1,) * len(graph.shapes[graph.input.name]))
    return Converted(graph, Quantised(graph, *maps), "exact", "bits", 64, levels, one, 0 * one, {})


def mixed(function: Function) -> Graph:
    """Depthwise, dilated and 1x1 convolutions, a residual, a concatenation, pads and both pools."""
    rng = np.random.default_rng(3)

    def weight(*shape: int) -> np.ndarray:
        return rng.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape)

    return Graph(
        "mixed",
        (
            Node("in", Input((2, 8, 8))),
            Node("depth", Conv(weight(4, 1, 3, 3), rng.normal(0, 0.1, 4), (1, 1), ONE, 2), ("in",)),
            Node("a", Relu(), ("depth",)),
            Node("wide", Conv(weight(4, 4, 3, 3), None, (1, 1), ((2, 2), (2, 2)), 1, (2, 2)), ("a",)),
            Node("sum", Add(), ("wide", "a")),
            Node("b", Activation(function), ("sum",)),
            Node("pool", MaxPool((3, 3), (2, 2), ((1, 0), (0, 1))), ("a",)),
            Node("mean", AvgPool((2, 2), (2, 2), NONE), ("b",)),
            Node("c", Conv(weight(3, 4, 1, 1), rng.normal(0, 0.1, 3), (1, 1), NONE), ("mean",)),
            Node("d", Relu(), ("c",)),
            Node("cat", Concat(0), ("pool", "d")),
            Node("pad", Pad(((0, 0), (1, 0), (0, 1))), ("cat",)),
            Node("e", Conv(weight(2, 7, 2, 2), None, (1, 1), NONE), ("pad",)),
            Node("f", Relu(), ("e",)),
            Node("flat", Reshape((32,)), ("f",)),
            Node("out", Dense(weight(3, 32), rng.normal(size=3)), ("flat",)),
            Node("last", Activation(Function("sigmoid")), ("out",)),
        ),
    )


def converted_mixed(function: Function, code: str = "bits") -> tuple[Converted, np.ndarray]:
    graph, counts = mixed(function), np.random.default_rng(4).integers(0, 16, (30, 2, 8, 8))
    gain, offset = np.full((1, 1, 1), 0.1), np.full((1, 1, 1), -0.5)
    folded = fold.fold(graph, gain, offset)
    form = (quantise.rate if code == "rate" else quantise.reference)(folded, counts, 15, 7)
    return Converted(graph, form, "exact", code, 7, 15, gain, offset, {}), counts  # pyright: ignore


def run(path: Path, counts: np.ndarray) -> dict[str, np.ndarray]:
    found = to_onnx.execute(path, counts)
    assert found is not None
    return found


@pytest.mark.parametrize("structure", range(12))
def test_random_networks_give_the_same_integers(structure, random_network, tmp_path):
    rng = np.random.default_rng(100 + structure)
    converted = wrapped(random_network(structure, rng))
    assert len(to_onnx.export(converted, tmp_path / "n.onnx")) == 1
    vectors = replay.record(converted, rng.integers(0, 8, (20, 2, 6, 5)))
    assert first_divergence(vectors.values, run(tmp_path / "n.onnx", vectors.counts)) is None


@pytest.mark.parametrize("function", [Function("gelu"), Function("tanh"), Function("silu")], ids=str)
def test_multi_thresholds_residual_concat_depthwise_and_pools(function, tmp_path):
    converted, counts = converted_mixed(function)
    to_onnx.export(converted, tmp_path / "n.onnx")
    vectors = replay.record(converted, counts)
    found = run(tmp_path / "n.onnx", counts)
    assert first_divergence(vectors.values, found) is None
    np.testing.assert_allclose(found[to_onnx.OUTPUT], vectors.outputs, atol=1e-6)
    assert {"a", "b", "pool", "d", "f", "output"} <= set(vectors.values)


def test_a_wrong_threshold_would_be_seen(random_network, tmp_path):
    graph = random_network(2, np.random.default_rng(0))
    to_onnx.export(wrapped(graph), tmp_path / "n.onnx")
    nodes = list(graph.nodes)
    at = next(i for i, n in enumerate(nodes) if isinstance(n.op, Threshold))
    op = nodes[at].op
    nodes[at] = Node(nodes[at].name, Threshold(op.threshold + 1, op.bias, op.levels), nodes[at].inputs)
    other = wrapped(Graph("other", tuple(nodes)))
    vectors = replay.record(other, np.random.default_rng(1).integers(0, 8, (20, 2, 6, 5)))
    found = first_divergence(vectors.values, run(tmp_path / "n.onnx", vectors.counts))
    assert found is not None
    assert found.layer == nodes[at].name


def test_thresholds_beyond_float32_divide_exactly(tmp_path):
    """(2^23 - 1) / 2^16 and its like: a float32 quotient is not needed to be right."""
    one = np.ones(1, np.int64)
    weight, threshold = np.array([[65535]]), np.array([65536])
    graph = Graph(
        "edge",
        (
            Node("in", Input((1,), 255)),
            Node("w", Dense(weight, None), ("in",)),
            Node("n", Threshold(threshold, -threshold // 2, 255), ("w",)),
            Node("v", Dense(np.array([[1]]), None), ("n",)),
            Node("out", quantise.Scale(one, 0 * one), ("v",)),
        ),
    )
    to_onnx.export(wrapped(graph, 255), tmp_path / "n.onnx")
    counts = np.arange(256).reshape(-1, 1)
    found = run(tmp_path / "n.onnx", counts)["n"][:, 0]
    assert found.tolist() == [max(0, (65535 * n) // 65536) for n in range(256)]


@pytest.mark.parametrize("seed", range(4))
def test_attention_gives_the_same_integers(seed, tmp_path):
    """Products with zeros, softmax, layer norm, slices and class tokens, against whole numbers in NumPy."""
    graph = attention.block(seed, 3, 2, 3, bool(seed % 2), seed > 1)
    counts = attention.counted(graph, seed)
    folded, integer = attention.converted(graph, counts, 15)
    one = np.ones((1, 1))
    converted = Converted(folded, integer, "exact", "bits", 64, attention.LEVELS, one, 0 * one, {})
    to_onnx.export(converted, tmp_path / "n.onnx")
    found, wanted = run(tmp_path / "n.onnx", counts), attention.whole_numbers(integer.graph, counts)
    kinds = {type(n.op) for n in integer.graph.nodes}
    assert kinds >= {Product, SoftmaxNeurons, NormNeurons}
    assert (Slice in kinds) == (seed > 1)
    assert any(isinstance(n.op, Product) and any(n.op.zeros) for n in integer.graph.nodes)
    told = [name for name in found if name != to_onnx.OUTPUT]
    assert len(told) > 10
    for name in told:
        np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)


def test_slices_begin_and_end_where_they_say(tmp_path):
    nodes = (
        Node("in", Input((3, 4), 9)),
        Node("part", Slice(1, 1, 3), ("in",)),
        Node("out", quantise.Scale(np.ones((1, 1), np.int64), np.array([[10], [20], [30]])), ("part",)),
    )
    to_onnx.export(wrapped(Graph("cut", nodes)), tmp_path / "n.onnx")
    found = run(tmp_path / "n.onnx", np.arange(12).reshape(1, 3, 4))
    assert found["out"].tolist() == [[[11, 12], [25, 26], [39, 40]]]


@pytest.mark.parametrize("reach", [3, 1000, 2**19])
def test_softmax_and_layer_norm_on_membranes_small_and_large(reach, tmp_path):
    rng, members = np.random.default_rng(reach), 5
    bias = rng.integers(-reach, reach, (1, members))
    table = np.sort(rng.integers(0, 1000, 40))[::-1] + 1
    soft = SoftmaxNeurons(bias, table, 7, 200, 180)
    gain, offset = rng.integers(-40, 40, members), rng.integers(0, 2**20, members)
    norm = NormNeurons(bias, gain, offset, np.full(32, 3), 12, 14, 255)
    nodes = (
        Node("in", Input((4, members), reach)),
        Node("soft", soft, ("in",)),
        Node("norm", norm, ("in",)),
        Node("out", Add(), ("soft", "norm")),
    )
    to_onnx.export(wrapped(Graph("groups", nodes)), tmp_path / "n.onnx")
    counts = rng.integers(0, reach + 1, (6, 4, members))
    found = run(tmp_path / "n.onnx", counts)
    for name, op, by_hand in (("soft", soft, softmax_by_hand), ("norm", norm, norm_by_hand)):
        rows = (counts + bias).reshape(-1, members).tolist()
        wanted = np.array([by_hand(op, row) for row in rows]).reshape(counts.shape)
        np.testing.assert_array_equal(found[name], wanted)
        assert len(np.unique(wanted)) > 1


def test_a_rate_code_is_refused(tmp_path):
    converted, _ = converted_mixed(Function("clip", (0.0, 1.0)), "rate")
    with pytest.raises(BadInput, match=r"\.nir"):
        to_onnx.export(converted, tmp_path / "n.onnx")
    assert list(tmp_path.iterdir()) == []


def test_an_export_of_a_stored_network_is_the_same(tmp_path):
    converted, counts = converted_mixed(Function("gelu"))
    again = network_file.load(network_file.save(converted, tmp_path / "n.h5"))
    assert to_onnx.model(again).SerializeToString() == to_onnx.model(converted).SerializeToString()
    assert replay.check(replay.record(again, counts), converted.integer.graph) is None
