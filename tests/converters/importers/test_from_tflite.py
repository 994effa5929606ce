"""Every operator against the interpreter, what is refused, and real networks, float and quantised."""

import gzip
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from converters.importers.from_tflite import load
from neuro.activations import Function
from neuro.errors import BadInput, Unsupported
from neuro.evaluate import evaluator
from neuro.graph import Graph
from neuro.layers import Activation, Conv, Dense, Embedding, Input, MaxPool, Relu, Reshape, Scale, Softmax

pytest.importorskip("tflite")
litert = pytest.importorskip("ai_edge_litert.interpreter")
TOLERANCE = 1e-5


def values(graph: Graph, x: np.ndarray, layer: str = "") -> np.ndarray:
    run = evaluator(graph, (layer or graph.output.name,))
    return np.concatenate([np.asarray(run(np.asarray(x[i : i + 100], np.float32))[0]) for i in range(0, len(x), 100)])


def interpreted(content: bytes, x: np.ndarray) -> np.ndarray:
    """The interpreter's results as stored, a sample at a time."""
    run = litert.Interpreter(model_content=content)
    run.allocate_tensors()
    entry, end = run.get_input_details()[0], run.get_output_details()[0]
    results = []
    for sample in x:
        run.set_tensor(entry["index"], sample[None].astype(entry["dtype"]))
        run.invoke()
        results.append(run.get_tensor(end["index"]).copy())
    return np.stack(results)


def floats(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def real(*shape: int, **more) -> dict:
    return {"shape": shape, "kind": "f4", **more}


def held(array: np.ndarray) -> dict:
    array = np.asarray(array)
    return {"shape": array.shape, "kind": array.dtype.str[1:], "data": array}


def ints(*numbers: int) -> dict:
    return held(np.array(numbers, np.int32))


def agreeing(folder: Path, content: bytes, x: np.ndarray) -> Graph:
    (folder / "net.tflite").write_bytes(content)
    graph = load(folder / "net.tflite")
    wanted = interpreted(content, x)
    wanted = wanted.reshape(len(x), -1)
    got = values(graph, x).reshape(len(x), -1)
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() <= TOLERANCE * max(1, np.abs(wanted).max())
    return graph


CONV = {"Padding": 0, "StrideW": 2, "StrideH": 1, "DilationWFactor": 1, "DilationHFactor": 1}
VALID = {"Padding": 1, "StrideW": 1, "StrideH": 1, "DilationWFactor": 2, "DilationHFactor": 1}
POOL = {"Padding": 1, "StrideW": 2, "StrideH": 1, "FilterWidth": 2, "FilterHeight": 3}
KERNEL, DEPTHWISE = held(floats(1, 4, 3, 2, 2)), held(floats(2, 1, 3, 2, 4))
BIAS = held(floats(3, 4))
MATRIX = held(floats(4, 4, 6))

# name: input shape, result shape, constants, operators
ONE = {
    "conv same": ((5, 6, 2), (5, 3, 4), {"k": KERNEL, "b": BIAS}, ("CONV_2D", "xkb", "Conv2DOptions", CONV)),
    "conv dilated": ((5, 6, 2), (3, 4, 4), {"k": KERNEL, "b": BIAS}, ("CONV_2D", "xkb", "Conv2DOptions", VALID)),
    "conv relu": (
        (5, 6, 2), (5, 3, 4), {"k": KERNEL, "b": BIAS},
        ("CONV_2D", "xkb", "Conv2DOptions", {**CONV, "FusedActivationFunction": 1}),
    ),
    "depthwise": (
        (5, 6, 2), (3, 4, 4), {"k": DEPTHWISE, "b": BIAS},
        ("DEPTHWISE_CONV_2D", "xkb", "DepthwiseConv2DOptions", {**VALID, "DepthMultiplier": 2}),
    ),
    "dense": ((6,), (4,), {"k": MATRIX, "b": BIAS}, ("FULLY_CONNECTED", "xkb", "FullyConnectedOptions", {})),
    "dense of a map": ((3, 2), (4,), {"k": MATRIX}, ("FULLY_CONNECTED", "xk", "FullyConnectedOptions", {})),
    "dense relu6": (
        (6,), (4,), {"k": MATRIX, "b": BIAS},
        ("FULLY_CONNECTED", "xkb", "FullyConnectedOptions", {"FusedActivationFunction": 3}),
    ),
    "dense at places": (
        (5, 6), (5, 4), {"k": MATRIX, "b": BIAS},
        ("FULLY_CONNECTED", "xkb", "FullyConnectedOptions", {"KeepNumDims": True}),
    ),
    "max pool": ((5, 6, 2), (3, 3, 2), {}, ("MAX_POOL_2D", "x", "Pool2DOptions", POOL)),
    "max pool same": ((5, 5, 2), (5, 3, 2), {}, ("MAX_POOL_2D", "x", "Pool2DOptions", {**POOL, "Padding": 0})),
    "average pool": ((5, 6, 2), (3, 3, 2), {}, ("AVERAGE_POOL_2D", "x", "Pool2DOptions", POOL)),
    "add": ((5, 2), (5, 2), {"k": held(floats(5, 2))}, ("ADD", "xk", "AddOptions", {})),
    "add relu": (
        (5, 2), (5, 2), {"k": held(floats(5, 2))}, ("ADD", "xk", "AddOptions", {"FusedActivationFunction": 1}),
    ),
    "sub": ((5, 2), (5, 2), {"k": held(floats(5, 2))}, ("SUB", "xk", "SubOptions", {})),
    "sub from": ((5, 2), (5, 2), {"k": held(floats(5, 1, 5, 2))}, ("SUB", "kx", "SubOptions", {})),
    "mul": ((5, 2), (5, 2), {"k": held(floats(5, 5, 1))}, ("MUL", "kx", "MulOptions", {"FusedActivationFunction": 2})),
    "div": ((5, 2), (5, 2), {"k": held(floats(5, 1))}, ("DIV", "xk", "DivOptions", {})),
    "twice": ((5, 2), (5, 2), {}, ("ADD", "xx", "AddOptions", {})),
    "reshape": ((5, 2, 3), (10, 3), {"k": ints(-1, 10, 3)}, ("RESHAPE", "xk")),
    "reshape option": ((5, 2, 3), (10, 3), {}, ("RESHAPE", "x", "ReshapeOptions", {"NewShape": [1, 10, 3]})),
    "squeeze": ((5, 1, 3), (5, 3), {}, ("SQUEEZE", "x", "SqueezeOptions", {"SqueezeDims": [2]})),
    "expand": ((5, 3), (5, 1, 3), {"k": ints(2)}, ("EXPAND_DIMS", "xk", "ExpandDimsOptions", {})),
    "transpose": ((5, 2, 3), (3, 5, 2), {"k": ints(0, 3, 1, 2)}, ("TRANSPOSE", "xk", "TransposeOptions", {})),
    "pad": ((2, 3, 2), (3, 5, 2), {"k": held(np.array([[0, 0], [1, 0], [0, 2], [0, 0]], np.int32))}, ("PAD", "xk")),
    "concatenation": ((2, 3), (2, 6), {}, ("CONCATENATION", "xx", "ConcatenationOptions", {"Axis": -1})),
    "mean": ((4, 3, 2), (2,), {"k": ints(1, 2)}, ("MEAN", "xk", "ReducerOptions", {})),
    "mean kept": ((4, 3, 2), (1, 1, 2), {"k": ints(1, 2)}, ("MEAN", "xk", "ReducerOptions", {"KeepDims": True})),
    "mean of features": ((4, 2), (4,), {"k": ints(-1)}, ("MEAN", "xk", "ReducerOptions", {})),
    "softmax": ((5,), (5,), {}, ("SOFTMAX", "x", "SoftmaxOptions", {"Beta": 1.0})),
    "leaky": ((5,), (5,), {}, ("LEAKY_RELU", "x", "LeakyReluOptions", {"Alpha": 0.25})),
    "gelu": ((5,), (5,), {}, ("GELU", "x", "GeluOptions", {})),
    "gelu tanh": ((5,), (5,), {}, ("GELU", "x", "GeluOptions", {"Approximate": True})),
    **{k: ((5,), (5,), {}, (k, "x")) for k in ("RELU", "RELU6", "RELU_N1_TO_1", "ELU", "LOGISTIC", "TANH")},
    "HARD_SWISH": ((5,), (5,), {}, ("HARD_SWISH", "x")),
}  # fmt: skip


def single(tflite_model, name: str) -> bytes:
    shape, result, constants, (kind, reads, *options) = ONE[name]
    tensors = {"x": real(1, *shape), **constants, "y": real(1, *result)}
    return tflite_model(tensors, [(kind, list(reads), ["y"], *options)], ["x"], ["y"])


@pytest.mark.parametrize("name", ONE)
def test_operators_compute_what_the_interpreter_does(tflite_model, tmp_path, name):
    x = 3 * floats(0, 4, *ONE[name][0])
    agreeing(tmp_path, single(tflite_model, name), x)


def test_a_network_of_many_layers(tflite_model, tmp_path):
    """conv, branch, pool, flatten, dense, softmax: the columns of the dense layer are permuted."""
    tensors = {
        "x": real(1, 5, 6, 2), "k": KERNEL, "b": BIAS, "c;more": real(1, 5, 3, 4), "k2": held(floats(7, 1, 1, 1, 4)),
        "e": real(1, 5, 3, 4), "s": real(1, 5, 3, 4), "shape": ints(-1, 60), "f": real(1, 60),
        "m": held(floats(8, 3, 60)), "d": real(1, 3), "y": real(1, 3),
    }  # fmt: skip
    plain = {"StrideW": 1, "StrideH": 1}
    operators = [
        ("CONV_2D", ["x", "k", "b"], ["c;more"], "Conv2DOptions", {**CONV, "FusedActivationFunction": 1}),
        ("DEPTHWISE_CONV_2D", ["c;more", "k2", "b"], ["e"], "DepthwiseConv2DOptions", {**plain, "DepthMultiplier": 1}),
        ("ADD", ["c;more", "e"], ["s"], "AddOptions", {}),
        ("RESHAPE", ["s", "shape"], ["f"]),
        ("FULLY_CONNECTED", ["f", "m"], ["d"], "FullyConnectedOptions", {}),
        ("SOFTMAX", ["d"], ["y"], "SoftmaxOptions", {"Beta": 1.0}),
    ]
    graph = agreeing(tmp_path, tflite_model(tensors, operators, ["x"], ["y"]), floats(0, 4, 5, 6, 2))
    names = ["x", "x_transpose", "c", "c_relu", "e", "s", "f", "d", "y"]
    assert [n.name for n in graph.nodes] == names
    assert graph.input.op.shape == (5, 6, 2)


def test_places_as_rows(tflite_model, tmp_path):
    """Tokens as rows of a matrix, which takes the batch axis away and brings it back."""
    tensors = {
        "x": real(1, 5, 6), "rows": ints(5, 6), "r": real(5, 6), "k": MATRIX, "d": real(5, 4), "back": ints(1, 5, 4),
        "y": real(1, 5, 4),
    }  # fmt: skip
    operators = [
        ("RESHAPE", ["x", "rows"], ["r"]),
        ("FULLY_CONNECTED", ["r", "k"], ["d"], "FullyConnectedOptions", {}),
        ("RESHAPE", ["d", "back"], ["y"]),
    ]
    agreeing(tmp_path, tflite_model(tensors, operators, ["x"], ["y"]), floats(0, 3, 5, 6))


def test_rows_of_a_table(tflite_model, tmp_path):
    tensors = {"x": {"shape": (1, 5), "kind": "i4"}, "t": held(floats(1, 7, 3)), "e": real(1, 5, 3), "axis": ints(1)}
    operators = [
        ("GATHER", ["t", "x"], ["e"], "GatherOptions", {"Axis": 0}),
        ("MEAN", ["e", "axis"], ["y"], "ReducerOptions", {}),
    ]
    content = tflite_model({**tensors, "y": real(1, 3)}, operators, ["x"], ["y"])
    graph = agreeing(tmp_path, content, np.random.default_rng(0).integers(0, 7, (4, 5)))
    assert [type(n.op).__name__ for n in graph.nodes] == ["Input", "Embedding", "Transpose", "AvgPool", "Reshape"]
    assert isinstance(graph.nodes[1].op, Embedding)


def quantised(shape: tuple, scale: float, zero: int = 0, kind: str = "i1", **more) -> dict:
    return {"shape": (1, *shape), "kind": kind, "scale": scale, "zero": zero, **more}


def test_quantised_layers_by_hand(tflite_model, tmp_path):
    """x = 0.5 (q - 3); y = w x + b on steps of 0.25 from -2, relu: everything a power of two, so exact."""
    weight = np.array([[[[2, -1]]], [[[4, 3]]]], np.int8)
    tensors = {
        "x": quantised((2, 1, 2), 0.5, 3),
        "k": {"shape": weight.shape, "kind": "i1", "data": weight, "scale": [0.25, 0.125], "zero": [0, 0], "axis": 0},
        "b": {"shape": (2,), "kind": "i4", "data": np.array([8, -16], np.int32), "scale": [0.125, 0.0625]},
        "y": quantised((2, 1, 2), 0.25, -120),
    }
    fused = {"StrideW": 1, "StrideH": 1, "DilationWFactor": 1, "DilationHFactor": 1, "FusedActivationFunction": 1}
    content = tflite_model(tensors, [("CONV_2D", ["x", "k", "b"], ["y"], "Conv2DOptions", fused)], ["x"], ["y"])
    (tmp_path / "net.tflite").write_bytes(content)
    graph = load(tmp_path / "net.tflite")
    assert [n.name for n in graph.nodes[1:]] == [
        "x_scale",
        "x_scale_transpose",
        "y",
        "y_quantise",
        "y_quantise_transpose",
    ]
    scale, conv = graph["x_scale"].op, graph["y"].op
    assert isinstance(scale, Scale)
    assert (float(scale.factor), float(scale.offset)) == (0.5, -1.5)
    assert isinstance(conv, Conv)
    assert conv.weight[:, :, 0, 0].tolist() == [[0.5, -0.25], [0.5, 0.375]]
    assert conv.bias is not None
    assert conv.bias.tolist() == [1.0, -1.0]
    assert graph["y_quantise"].op == Activation(Function("quantise", (0.25, -120.0, -120.0, 127.0)))
    x = np.random.default_rng(0).integers(-128, 128, (50, 2, 1, 2))
    assert ((interpreted(content, x)[:, 0] + 120.0) / 4 - values(graph, x)).tolist() == np.zeros((50, 2, 1, 2)).tolist()


QUANTISED = {
    "relu6": ("RELU6", quantised((8,), 6 / 255, -128), (), (6 / 255, -128.0, -128.0, 127.0)),
    "narrow relu6": ("RELU6", quantised((8,), 0.1, -100), (), (0.1, -100.0, -100.0, -40.0)),
    "relu": ("RELU", quantised((8,), 0.1, -100), (), (0.1, -100.0, -100.0, 127.0)),
    "unsigned": ("RELU", quantised((8,), 0.1, 100, "u1"), (), (0.1, 100.0, 100.0, 255.0)),
    "logistic": ("LOGISTIC", quantised((8,), 1 / 256, -128), (), (1 / 256, -128.0, -128.0, 127.0)),
    "tanh": ("TANH", quantised((8,), 1 / 128, 0), (), (1 / 128, 0.0, -128.0, 127.0)),
    "requantise": ("QUANTIZE", quantised((8,), 0.2, 5), (), (0.2, 5.0, -128.0, 127.0)),
}


@pytest.mark.parametrize("name", QUANTISED)
def test_quantised_functions(tflite_model, tmp_path, name):
    """Within one step of the interpreter, which rounds in fixed point (QUANTIZE with a factor of 8 bits)."""
    kind, result, options, wanted = QUANTISED[name]
    unsigned = result["kind"] == "u1"
    tensors = {"x": quantised((8,), 0.1037, 100 if unsigned else -28, result["kind"]), "y": result}
    content = tflite_model(tensors, [(kind, ["x"], ["y"], *options)], ["x"], ["y"])
    (tmp_path / "net.tflite").write_bytes(content)
    graph = load(tmp_path / "net.tflite")
    function = graph.output.op.function
    assert function.name == "quantise"
    assert function.parameters == pytest.approx(wanted, rel=1e-6)
    x = (np.arange(256) + (0 if unsigned else -128)).reshape(32, 8)
    steps = values(graph, x) / result["scale"] + result["zero"]
    off = np.abs(steps - interpreted(content, x)[:, 0].astype(int))
    assert off.max() < 1.01
    assert (off > 0.01).mean() < (0.1 if kind == "QUANTIZE" else 0.02)


def test_moves_are_not_rounded_again(tflite_model, tmp_path):
    """Max-pool, reshape, padding and concatenation of one grid add no rounding; another grid does."""
    tensors = {
        "x": quantised((4, 4, 1), 0.1, 7), "m": quantised((2, 2, 1), 0.1, 7), "s": ints(1, 4),
        "r": quantised((4,), 0.1, 7), "c": quantised((8,), 0.1, 7), "y": {"shape": (1, 8), "kind": "f4"},
    }  # fmt: skip
    pool = {"StrideW": 2, "StrideH": 2, "FilterWidth": 2, "FilterHeight": 2, "Padding": 1}
    operators = [
        ("MAX_POOL_2D", ["x"], ["m"], "Pool2DOptions", pool),
        ("RESHAPE", ["m", "s"], ["r"]),
        ("CONCATENATION", ["r", "r"], ["c"], "ConcatenationOptions", {"Axis": -1}),
        ("DEQUANTIZE", ["c"], ["y"]),
    ]
    x = np.random.default_rng(0).integers(-128, 128, (5, 4, 4, 1))
    graph = agreeing(tmp_path, tflite_model(tensors, operators, ["x"], ["y"]), x)
    assert not any(isinstance(n.op, Activation) for n in graph.nodes)
    assert any(isinstance(n.op, MaxPool) for n in graph.nodes)
    tensors["c"] = quantised((8,), 0.2, 7)
    (tmp_path / "net.tflite").write_bytes(tflite_model(tensors, operators, ["x"], ["y"]))
    graph = load(tmp_path / "net.tflite")  # no kernel of the interpreter does this
    assert sum(isinstance(n.op, Activation) for n in graph.nodes) == 1


def test_half_precision_weights(tflite_model, tmp_path):
    half = held(floats(1, 4, 6).astype(np.float16))
    tensors = {"x": real(1, 6), "h": half, "k": real(4, 6), "y": real(1, 4)}
    operators = [("DEQUANTIZE", ["h"], ["k"]), ("FULLY_CONNECTED", ["x", "k"], ["y"], "FullyConnectedOptions", {})]
    graph = agreeing(tmp_path, tflite_model(tensors, operators, ["x"], ["y"]), floats(0, 3, 6))
    assert [type(n.op) for n in graph.nodes] == [Input, Dense]


def refusal(folder: Path, content: bytes) -> str:
    (folder / "net.tflite").write_bytes(content)
    with pytest.raises(Unsupported) as caught:
        load(folder / "net.tflite")
    return str(caught.value)


def test_all_that_is_refused_is_listed(tflite_model, tmp_path):
    tensors = {n: real(1, 4, 4, 2) for n in "xabcdefy"}
    pool = {"StrideW": 1, "StrideH": 1, "FilterWidth": 2, "FilterHeight": 2, "Padding": 0}
    operators = [
        ("AVERAGE_POOL_2D", ["x"], ["a"], "Pool2DOptions", pool),
        ("CUSTOM Flex", ["a"], ["b"]),
        ("SIN", ["b"], ["c"]),
        ("MUL", ["x", "x"], ["d"], "MulOptions", {}),
        ("SOFTMAX", ["x"], ["e"], "SoftmaxOptions", {"Beta": 1.0}),
        ("LEAKY_RELU", ["x"], ["f"], "LeakyReluOptions", {"Alpha": 2.0}),
        ("CONCATENATION", ["c", "d", "e", "f"], ["y"], "ConcatenationOptions", {"Axis": 3}),
    ]
    assert refusal(tmp_path, tflite_model(tensors, operators, ["x"], ["y"])) == (
        "net.tflite: 6 layers cannot be represented:\n"
        "  AVERAGE_POOL_2D 'a': padding SAME leaves the padding out of the mean; use VALID\n"
        "  CUSTOM Flex 'b': no layer here does this\n"
        "  SIN 'c': no layer here does this\n"
        "  MUL 'd': both operands are computed from the network's input\n"
        "  SOFTMAX 'e': a softmax at 16 places of (4, 4, 2); only over a flat sample\n"
        "  LEAKY_RELU 'f': leaky_relu: parameters (2.0,) are out of range\n"
        "Replace them in the network and convert it again."
    )


def test_more_that_is_refused(tflite_model, tmp_path):
    def one(kind, result, *options, x=None, **constants) -> str:
        tensors = {"x": x or real(1, 4, 2), **constants, "y": result}
        return refusal(tmp_path, tflite_model(tensors, [(kind, ["x", *constants], ["y"], *options)], ["x"], ["y"]))

    assert "beta 2.0" in one("SOFTMAX", real(1, 4, 2), "SoftmaxOptions", {"Beta": 2.0})
    assert "one axis must be left" in one("MEAN", real(1), "ReducerOptions", {}, k=ints(1, 2))
    assert "batch axis" in one("MEAN", real(4, 2), "ReducerOptions", {}, k=ints(0))
    assert "moves the batch" in one("TRANSPOSE", real(4, 1, 2), "TransposeOptions", {}, k=ints(1, 0, 2))
    assert "only GATHER" in one("RELU", {"shape": (1, 4), "kind": "i4"}, x={"shape": (1, 4), "kind": "i4"})
    assert "quantised as INT32" in one("QUANTIZE", {"shape": (1, 4, 2), "kind": "i4", "scale": 1.0})
    softmax = [("SOFTMAX", ["x"], ["s"], "SoftmaxOptions", {"Beta": 1.0}), ("RELU", ["s"], ["y"])]
    content = tflite_model({n: real(1, 4) for n in "xsy"}, softmax, ["x"], ["y"])
    assert "'s': only the last layer" in refusal(tmp_path, content)


def test_inputs_that_cannot_be_fed(tflite_model, tmp_path):
    def complaint(x: dict) -> str:
        content = tflite_model({"x": x, "y": real(1, 4)}, [("RELU", ["x"], ["y"])], ["x"], ["y"])
        (tmp_path / "net.tflite").write_bytes(content)
        with pytest.raises(BadInput) as caught:
            load(tmp_path / "net.tflite")
        return str(caught.value)

    assert "batch of 2" in complaint(real(2, 4))
    assert "fixed sizes" in complaint(real(1, 1, signature=(-1, -1)))
    assert "fixed sizes" in complaint(real(4))
    assert "type INT8" in complaint({"shape": (1, 4), "kind": "i1"})
    assert "exceed the limit" in complaint(real(1, 10**9, 10**9))
    assert "the file says (1, 4)" in complaint(real(1, 5))


def samples(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    data = np.load(folder / "image" / "cifar10" / "cifar10_lossless_subset.npz")
    return data["x_test"].astype(np.float32), data["y_test"]


def test_residual_network(neuro_data):
    path = neuro_data / "models" / "mlperf_tiny" / "ic_resnet8_float.tflite"
    x, y = samples(neuro_data)
    got = values(load(path), x)
    assert (got.argmax(1) == y).mean() == 0.89
    assert np.abs(got - interpreted(path.read_bytes(), x)[:, 0]).max() < TOLERANCE


def test_quantised_residual_network(neuro_data):
    """The interpreter rounds halves of the 8 x 8 mean away from zero: some decisions may differ."""
    path = neuro_data / "models" / "mlperf_tiny" / "ic_resnet8_int8.tflite"
    x, y = samples(neuro_data)
    got, wanted = values(load(path), x - 128), interpreted(path.read_bytes(), x - 128)[:, 0]
    assert abs((got.argmax(1) == y).mean() - (wanted.argmax(1) == y).mean()) <= 0.004
    assert (got.argmax(1) != wanted.argmax(1)).sum() <= 6


def test_quantised_keyword_network(neuro_data):
    """All 500 decisions are the interpreter's; without the last rounding one is not, as it makes ties."""
    path = neuro_data / "models" / "mlperf_tiny" / "kws_dscnn_int8.tflite"
    data = np.load(neuro_data / "audio" / "mlperf_tiny_kws01_first500.npz")
    graph = load(path)
    got, wanted = values(graph, data["x"]), interpreted(path.read_bytes(), data["x"])[:, 0]
    assert (got.argmax(1) == data["y"]).mean() == 0.898
    assert (got.argmax(1) != wanted.argmax(1)).sum() == 0
    assert np.abs(got - (wanted + 128.0) / 256).max() < 1.01 / 256


def test_keyword_network_with_quantised_weights(neuro_data):
    path = neuro_data / "models" / "mlperf_tiny" / "kws_dscnn_float.tflite"
    data = np.load(neuro_data / "audio" / "mlperf_tiny_kws01_first500.npz")
    x = (data["x"].astype(np.float32) - 83) * np.float32(0.5847029)
    got, wanted = values(load(path), x), interpreted(path.read_bytes(), x)[:, 0]
    assert (got.argmax(1) == data["y"]).mean() == 0.898
    assert (got.argmax(1) != wanted.argmax(1)).sum() <= 4  # the interpreter rounds what it multiplies


def test_text_network(neuro_data):
    path = neuro_data / "models" / "text" / "sst2_avgword_nlclassifier.tflite"
    with zipfile.ZipFile(path) as archive:
        words = dict(line.split() for line in archive.read("vocab.txt").decode().splitlines())
    with gzip.open(neuro_data / "text" / "sst2" / "test.tsv.gz", "rt") as f:
        rows = [line.split("\t") for line in f.read().splitlines()]

    def ids(text: str) -> list[int]:
        found = [1, *(int(words.get(w, 2)) for w in re.sub(r"[^\w']+", " ", text.lower()).split())]
        return (found + [0] * 256)[:256]

    x, y = np.array([ids(r[0]) for r in rows]), np.array([int(r[1]) for r in rows])
    got, wanted = values(load(path), x), interpreted(path.read_bytes(), x)[:, 0]
    assert (got.argmax(1) == y).sum() == 1503  # of 1821: 82.5 %
    assert np.abs(got - wanted).max() < TOLERANCE


def test_kinds_of_layers(neuro_data):
    graph = load(neuro_data / "models" / "mlperf_tiny" / "ic_resnet8_float.tflite")
    kinds = [type(n.op) for n in graph.nodes]
    assert (kinds.count(Conv), kinds.count(Relu), kinds.count(Reshape), kinds[-1]) == (9, 7, 1, Softmax)
