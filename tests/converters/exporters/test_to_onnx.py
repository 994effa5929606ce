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
from neuro.layers import Activation, Add, AvgPool, Concat, Conv, Dense, Input, MaxPool, Pad, Relu, Reshape, Threshold

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
