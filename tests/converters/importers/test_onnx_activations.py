"""Pointwise operators, quantisers and what else a quantised network brings, against ONNX Runtime."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from converters.importers.from_onnx import load, load_named
from converters.importers.onnx_activations import is_pointwise
from converters.importers.onnx_check import largest_differences
from neuro.activations import Function
from neuro.errors import Unsupported
from neuro.evaluate import evaluator
from neuro.layers import Activation, Concat, Conv, Dense, Embedding, Relu, Transpose


def saved(tmp_path, nodes, shape, constants=None, opset=20, kind=TensorProto.FLOAT, domains=(), out=None):
    """A model file; the last node gives the output, of shape `out` where it cannot be inferred."""
    inits = [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", kind, ["n", *shape])],
        [
            helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, out)
            if out
            else helper.make_empty_tensor_value_info(nodes[-1].output[0])
        ],
        inits,
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=9)
    path = tmp_path / "net.onnx"
    onnx.save_model(onnx.shape_inference.infer_shapes(model), path)
    return path


def agreeing(path, x=None, tolerance=3e-6):
    graph, tensors = load_named(path)
    if x is None:
        x = np.random.default_rng(0).normal(0, 3, (5, *graph.shapes["x"])).astype(np.float32)
    differences = largest_differences(path, graph, tensors, x)
    assert max(differences.values()) < tolerance, differences
    return graph


@pytest.mark.parametrize(
    ("op", "attributes", "function"),
    [
        ("Sigmoid", {}, "sigmoid"), ("Tanh", {}, "tanh"), ("Softplus", {}, "softplus"), ("Softsign", {}, "softsign"),
        ("HardSwish", {}, "hard_swish"), ("Mish", {}, "mish"), ("Sign", {}, "sign"), ("Elu", {"alpha": 0.7}, "elu"),
        ("Elu", {}, "elu"), ("Selu", {}, "selu"), ("Selu", {"alpha": 1.5, "gamma": 1.2}, "selu"),
        ("LeakyRelu", {}, "leaky_relu"), ("LeakyRelu", {"alpha": 0.3}, "leaky_relu"),
        ("HardSigmoid", {}, "hard_sigmoid"), ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}, "hard_sigmoid"),
        ("Gelu", {}, "gelu"), ("Gelu", {"approximate": "tanh"}, "gelu_tanh"),
    ],
)  # fmt: skip
def test_functions(tmp_path, op, attributes, function):
    opset = 22 if op == "Mish" else 20
    graph = agreeing(saved(tmp_path, [helper.make_node(op, ["x"], ["y"], **attributes)], (7,), opset=opset))
    assert isinstance(graph.output.op, Activation)
    assert graph.output.op.function.name == function


@pytest.mark.parametrize(
    ("op", "constants", "want"),
    [
        ("Clip", {"lo": np.float32(0)}, Relu()),
        ("Clip", {"lo": np.float32(0), "hi": np.float32(6)}, Activation(Function("clip", (0.0, 6.0)))),
        ("Max", {"lo": np.zeros(1, np.float32)}, Relu()),
        ("Min", {"lo": np.full((), 2, np.float32)}, Activation(Function("clip", (-np.inf, 2.0)))),
        ("PRelu", {"lo": np.full((1,), 0.25, np.float32)}, Activation(Function("leaky_relu", (0.25,)))),
    ],
)
def test_functions_with_constants(tmp_path, op, constants, want):
    graph = agreeing(saved(tmp_path, [helper.make_node(op, ["x", *constants], ["y"])], (3, 2), constants))
    assert graph.output.op == want


def test_old_clip_and_negation(tmp_path):
    nodes = [helper.make_node("Clip", ["x"], ["a"], min=-1.0, max=2.0), helper.make_node("Neg", ["a"], ["y"])]
    agreeing(saved(tmp_path, nodes, (4,), opset=9))


@pytest.mark.parametrize(
    ("op", "constants", "message"),
    [
        ("PRelu", {"s": np.array([0.1, 0.2], np.float32)}, "differs from channel to channel"),
        ("Clip", {"lo": np.float32(2), "hi": np.float32(1)}, "out of range"),
        ("LeakyRelu", {}, "out of range"),
    ],
)
def test_refused(tmp_path, op, constants, message):
    extra = {"alpha": -1.0} if op == "LeakyRelu" else {}
    path = saved(tmp_path, [helper.make_node(op, ["x", *constants], ["y"], **extra)], (2,), constants)
    with pytest.raises(Unsupported, match=message) as error:
        load(path)
    assert error.value.refusals[0].op == op


def weights(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
def test_a_quantised_network_in_qdq_form(tmp_path, kind):
    """Weights and activations between two quantisers; scales with which no value is on a border."""
    zero = kind(3)
    constants = {
        "s": np.float32(0.06), "z": zero, "ws": np.float32(0.02), "wz": np.int8(0),
        "w": np.random.default_rng(1).integers(-127, 128, (4, 2, 3, 3)).astype(np.int8), "os": np.float32(0.3137)
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"]),
        helper.make_node("Conv", ["xd", "wd"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("QuantizeLinear", ["r", "os", "z"], ["rq"]),
        helper.make_node("MaxPool", ["rq"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("DequantizeLinear", ["p", "os", "z"], ["y"]),
    ]
    graph = agreeing(saved(tmp_path, nodes, (2, 6, 6), constants), tolerance=2e-5)
    assert [n.op.function.name for n in graph.nodes if isinstance(n.op, Activation)] == ["quantise", "quantise"]


@pytest.mark.parametrize("op", ["conv", "matmul", "matmul of one row", "matmul at every place"])
def test_a_quantised_network_in_operator_form(tmp_path, op):
    rng = np.random.default_rng(2)
    constants = {
        "s": np.float32(0.05), "z": np.uint8(100), "ws": np.float32(0.01), "wz": np.int8(0), "os": np.float32(0.2),
        "oz": np.uint8(90), "b": rng.integers(-500, 500, 4).astype(np.int32),
        "w": rng.integers(-127, 128, (4, 2, 3, 3) if op == "conv" else (6, 4)).astype(np.int8),
    }  # fmt: skip
    linear = helper.make_node("QLinearConv", ["q", "s", "z", "w", "ws", "wz", "os", "oz", "b"], ["c"], strides=[2, 2])
    if op != "conv":
        linear = helper.make_node("QLinearMatMul", ["q", "s", "z", "w", "ws", "wz", "os", "oz"], ["c"])
        constants.pop("b")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        linear,
        helper.make_node("DequantizeLinear", ["c", "os", "oz"], ["y"]),
    ]
    shapes = {"conv": (2, 7, 7), "matmul": (6,), "matmul of one row": (1, 6), "matmul at every place": (5, 6)}
    agreeing(saved(tmp_path, nodes, shapes[op], constants), tolerance=2e-5)


def test_quantisers_of_qonnx(tmp_path):
    """Not known to ONNX Runtime: by hand. Quant with 3 bits and scale 0.5: -4..3 steps; BipolarQuant: two values."""
    constants = {
        "s": np.float32(0.5), "z": np.float32(0), "b": np.float32(3), "one": np.float32(1), "quarter": np.float32(0.25),
        "w": np.array([[-0.3, 0.2], [0.9, -5.0]], np.float32),
    }  # fmt: skip
    domain = "qonnx.custom_op.general"
    nodes = [
        helper.make_node(
            "Quant", ["x", "s", "z", "b"], ["q"], domain=domain, signed=1, narrow=0, rounding_mode="ROUND"
        ),
        helper.make_node(
            "Quant", ["w", "s", "z", "b"], ["wq"], domain=domain, signed=1, narrow=1, rounding_mode="ROUND"
        ),
        helper.make_node("BipolarQuant", ["wq", "quarter"], ["wb"], domain=domain),
        helper.make_node("MatMul", ["q", "wq"], ["m"]),
        helper.make_node("MatMul", ["m", "wb"], ["n"]),
        helper.make_node("BipolarQuant", ["n", "one"], ["y"], domain=domain),
    ]
    graph = load(saved(tmp_path, nodes, (2,), constants, domains=(domain,), out=["n", 2]))
    first, second = (n.op.weight for n in graph.nodes if isinstance(n.op, Dense))
    assert first.T.tolist() == [[-0.5, 0.0], [1.0, -1.5]]  # -0.6 -> -1, 0.4 -> 0, 1.8 -> 2, -10 -> -3 halves
    assert second.T.tolist() == [[-0.25, 0.25], [0.25, -0.25]]
    (q, y) = (n.name for n in graph.nodes if isinstance(n.op, Activation))
    values = evaluator(graph, (q, y))(np.array([[0.2, 0.8], [-9.0, 9.0]], np.float32))
    assert values[0].tolist() == [[0.0, 1.0], [-2.0, 1.5]]  # 0.4 -> 0, 1.6 -> 2; cut at -4 and 3 halves
    # [0, 1] -> [1, -1.5] -> [-0.625, 0.625]; [-2, 1.5] -> [2.5, -2.25] -> [-1.1875, 1.1875]
    assert values[1].tolist() == [[-1.0, 1.0], [-1.0, 1.0]]


def test_joined_dilated_and_at_every_place(tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], dilations=[2, 1], pads=[2, 0, 2, 0]),
        helper.make_node("Concat", ["a", "x"], ["c"], axis=-3),
        helper.make_node("Transpose", ["c"], ["t"], perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["t", "m"], ["y"]),
    ]
    constants = {"w": weights(3, 2, 3, 1), "m": weights(5, 4)}
    graph = agreeing(saved(tmp_path, nodes, (2, 6, 4), constants))
    kinds = [type(n.op) for n in graph.nodes[1:]]
    assert kinds == [Conv, Concat, Transpose, Transpose, Conv, Transpose]
    assert graph.shapes[graph.output.name] == (6, 4, 4)


def test_a_table_of_words(tmp_path):
    nodes = [
        helper.make_node("Gather", ["table", "x"], ["e"]),
        helper.make_node("ReduceMean", ["e", "axes"], ["y"], keepdims=0),
    ]
    path = saved(tmp_path, nodes, (5,), {"table": weights(9, 3), "axes": np.array([1])}, kind=TensorProto.INT64)
    graph = agreeing(path, np.random.default_rng(0).integers(0, 9, (4, 5)).astype(np.float32))
    assert isinstance(graph.nodes[1].op, Embedding)


def test_names():
    assert is_pointwise("Sign")
    assert is_pointwise("onnx.brevitas::BipolarQuant")
    assert not is_pointwise("some.vendor::Quant")
    assert not is_pointwise("Relu")


@pytest.mark.parametrize(
    ("kind", "lowest", "highest"),
    [("INT8", -128, 127), ("UINT8", 0, 255), ("INT16", -32768, 32767), ("UINT16", 0, 65535), ("INT4", -8, 7)],
)
def test_whole_numbers_of_output_dtype(tmp_path, kind, lowest, highest):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s"], ["q"], output_dtype=getattr(TensorProto, kind)),
        helper.make_node("DequantizeLinear", ["q", "s"], ["y"]),
    ]
    graph = load(saved(tmp_path, nodes, (3,), {"s": np.float32(0.5)}, opset=21))
    (found,) = evaluator(graph, (graph.output.name,))(np.array([[-1e6, 2.0, 1e6]], np.float32))
    assert np.asarray(found).tolist() == [[0.5 * lowest, 2.0, 0.5 * highest]]


def test_an_output_dtype_of_no_whole_numbers_is_refused(tmp_path):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s"], ["q"], output_dtype=TensorProto.FLOAT8E4M3FN),
        helper.make_node("DequantizeLinear", ["q", "s"], ["y"]),
    ]
    with pytest.raises(Unsupported, match="quantises to float8e4m3fn"):
        load(saved(tmp_path, nodes, (3,), {"s": np.float32(0.5)}, opset=21))


@pytest.mark.parametrize("size", [(1, 3, 4), (3, 1), (2, 1, 4)])
def test_an_extreme_with_a_larger_constant_is_refused(tmp_path, size):
    path = saved(tmp_path, [helper.make_node("Max", ["x", "c"], ["y"])], (1, 4), {"c": np.zeros(size, np.float32)})
    with pytest.raises(Unsupported, match=r"a constant of .* enlarges an input of \(1, 4\)"):
        load(path)


def test_an_extreme_of_one_tensor_is_that_tensor(tmp_path):
    nodes = [helper.make_node("Max", ["x"], ["a"]), helper.make_node("Relu", ["a"], ["y"])]
    assert [type(n.op) for n in agreeing(saved(tmp_path, nodes, (4,))).nodes[1:]] == [Relu]
