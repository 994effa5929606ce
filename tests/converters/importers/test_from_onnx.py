"""Every operator and option against ONNX Runtime, what is refused, and real networks."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from converters.importers.from_onnx import load, load_named
from neuro.errors import BadInput, Unsupported
from neuro.evaluate import evaluator
from neuro.graph import Graph
from neuro.layers import Add, AvgPool, Conv, Dense, MaxPool, Pad, Relu, Reshape, Scale, Softmax, Transpose

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import helper, numpy_helper  # noqa: E402

from converters.importers.onnx_check import largest_differences  # noqa: E402

TOLERANCE = 1e-5


def weights(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def saved(
    folder: Path, nodes: list, shape: tuple, constants: dict[str, np.ndarray] | None = None, opset: int = 13,
    batch: int | str | None = 1, domains: tuple = (), listed: bool = False,
) -> Path:  # fmt: skip
    """A model from `x` to `y`, written to a file; `listed`: initializers are among the inputs, as in IR 3."""
    tensors = [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()]
    inputs = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [batch, *shape])]
    if listed:
        inputs += [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in tensors]
    output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    output.type.tensor_type.shape.SetInParent()  # the checker wants a shape, and an empty one commits to nothing
    graph = helper.make_graph(nodes, "net", inputs, [output], tensors)
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    path = folder / "net.onnx"
    onnx.save_model(helper.make_model(graph, opset_imports=imports, ir_version=3 if listed else 8), path)
    return path


def node(op: str, inputs: str, output: str = "y", name: str | None = None, **attributes):
    """An ONNX node; `inputs` are separated by blanks, "-" leaves one out."""
    names = ["" if i == "-" else i for i in inputs.split()]
    return helper.make_node(op, names, [output], name=op.lower() if name is None else name, **attributes)


def agreeing(path: Path, samples: int = 3) -> Graph:
    """The imported graph, once every layer with a tensor agrees with ONNX Runtime on normal random inputs."""
    graph, tensors = load_named(path)
    x = weights(samples, *graph.shapes[graph.input.name], seed=7)
    differences = largest_differences(path, graph, tensors, x)
    assert tensors.keys() >= {graph.input.name, graph.output.name}
    assert max(differences.values()) < TOLERANCE, differences
    return graph


def refused(path: Path) -> str:
    with pytest.raises(Unsupported) as caught:
        load(path)
    return str(caught.value)


# Convolutions and pools


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
@pytest.mark.parametrize("kernel", [(3, 3), (2, 4), (5, 2)])
@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
def test_convolution_pads_itself(tmp_path, mode, kernel, stride):
    nodes = [node("Conv", "x w b", auto_pad=mode, kernel_shape=kernel, strides=stride)]
    graph = agreeing(saved(tmp_path, nodes, (2, 9, 8), {"w": weights(4, 2, *kernel), "b": weights(4)}))
    size = {"VALID": [9 - kernel[0] + 1, 8 - kernel[1] + 1], "NOTSET": [9 - kernel[0] + 1, 8 - kernel[1] + 1]}
    expected = [-(-n // s) for n, s in zip(size.get(mode, [9, 8]), stride, strict=True)]
    assert graph.shapes["conv"] == (4, *expected)


def test_convolution_keeps_weights_and_uneven_pads(tmp_path):
    w, b = weights(4, 2, 3, 3), weights(4)
    path = saved(tmp_path, [node("Conv", "x w b", pads=[0, 1, 2, 3], strides=[2, 1])], (2, 6, 5), {"w": w, "b": b})
    op = agreeing(path).output.op
    assert isinstance(op, Conv)
    np.testing.assert_array_equal(op.weight, w)
    np.testing.assert_array_equal(op.bias, b)
    assert (op.stride, op.pads, op.groups) == ((2, 1), ((0, 2), (1, 3)), 1)


def test_grouped_and_depthwise_convolutions(tmp_path):
    nodes = [node("Conv", "x w", "h", "grouped", group=2), node("Conv", "h v", name="depthwise", group=6)]
    graph = agreeing(saved(tmp_path, nodes, (4, 6, 6), {"w": weights(6, 2, 3, 3), "v": weights(6, 1, 2, 2)}))
    assert [n.op.groups for n in graph.nodes[1:]] == [2, 6]
    assert graph["grouped"].op.bias is None


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", "NOTSET"])
def test_one_spatial_axis(tmp_path, mode):
    nodes = [
        node("Conv", "x w b", "h", auto_pad=mode, strides=[2]),
        node("MaxPool", "h", "p", kernel_shape=[2], strides=[2]),
        node("AveragePool", "p", kernel_shape=[3]),
    ]
    graph = agreeing(saved(tmp_path, nodes, (3, 31), {"w": weights(2, 3, 4), "b": weights(2)}))
    assert [type(n.op) for n in graph.nodes[1:]] == [Conv, MaxPool, AvgPool]


def test_max_pool_never_picks_padding(tmp_path):
    path = saved(tmp_path, [node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])], (2, 5, 5))
    graph = agreeing(path)
    (values,) = evaluator(graph, ("maxpool",))(-np.ones((1, 2, 5, 5), np.float32))
    np.testing.assert_array_equal(values, -np.ones((1, 2, 3, 3)))


def test_average_pool_counts_padding_where_it_says_so(tmp_path):
    attributes = {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    graph = agreeing(saved(tmp_path, [node("AveragePool", "x", count_include_pad=1, **attributes)], (1, 2, 2)))
    (values,) = evaluator(graph, ("averagepool",))(np.full((1, 1, 2, 2), 8, np.float32))
    np.testing.assert_array_equal(values, np.full((1, 1, 2, 2), 2))  # one value of 8 and three zeros in each window
    message = refused(saved(tmp_path, [node("AveragePool", "x", **attributes)], (1, 2, 2)))
    assert "AveragePool 'averagepool': padding that is left out of the mean" in message


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_ceil_mode_without_effect_is_read_and_with_effect_refused(tmp_path, op):
    nodes = [node(op, "x", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)]
    assert agreeing(saved(tmp_path, nodes, (1, 6, 8))).shapes[op.lower()] == (1, 3, 4)
    assert "ceil_mode adds windows beyond the edge of (6, 7)" in refused(saved(tmp_path, nodes, (1, 6, 7)))


@pytest.mark.parametrize(
    ("make", "opset"),
    [
        (lambda: node("GlobalAveragePool", "x"), 13),
        (lambda: node("ReduceMean", "x", axes=[2, 3]), 13),
        (lambda: node("ReduceMean", "x", axes=[-1, -2]), 13),
        (lambda: node("ReduceMean", "x axes"), 18),
    ],
)
def test_mean_over_space(tmp_path, make, opset):
    graph = agreeing(saved(tmp_path, [make()], (3, 4, 5), {"axes": ints(3, 2)} if opset == 18 else None, opset))
    assert graph.output.op == AvgPool((4, 5), (4, 5), ((0, 0), (0, 0)))
    assert graph.shapes[graph.output.name] == (3, 1, 1)


def test_mean_over_space_without_its_axes(tmp_path):
    graph = agreeing(saved(tmp_path, [node("ReduceMean", "x", axes=[2, 3], keepdims=0)], (3, 4, 5)))
    assert [(n.name, type(n.op)) for n in graph.nodes[1:]] == [("reducemean", AvgPool), ("reducemean_reshape", Reshape)]
    assert graph.shapes["reducemean_reshape"] == (3,)


@pytest.mark.parametrize(("axes", "shape"), [([1, 2, 3], (3, 4, 5)), ([1, 2], (4, 5, 3)), ([1], (3,))])
def test_other_means_are_refused(tmp_path, axes, shape):
    assert f"mean over axes {axes}" in refused(saved(tmp_path, [node("ReduceMean", "x", axes=axes)], shape))


@pytest.mark.parametrize("keep", [0, 1])
def test_mean_over_rows(tmp_path, keep):
    graph = agreeing(saved(tmp_path, [node("ReduceMean", "x", axes=[1], keepdims=keep)], (3, 4)))
    assert graph.shapes[graph.output.name] == ((1, 4) if keep else (4,))


@st.composite
def windows(draw):
    """Geometry of a convolution or pool of one or two axes, with explicit or derived pads."""
    rank = draw(st.integers(1, 2))
    size = draw(st.lists(st.integers(3, 9), min_size=rank, max_size=rank))
    kernel = [draw(st.integers(1, min(4, n))) for n in size]
    stride = [draw(st.integers(1, 3)) for _ in size]
    mode = draw(st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    pads = [draw(st.integers(0, k - 1)) for k in kernel * 2]
    explicit = {"pads": pads} if mode == "NOTSET" else {}
    return size, {"kernel_shape": kernel, "strides": stride, "auto_pad": mode, **explicit}


@examples(max_examples=30)
@given(windows(), st.sampled_from(["Conv", "MaxPool", "AveragePool"]), st.integers(1, 3))
def test_any_window_agrees(tmp_path_factory, geometry, op, groups):
    size, attributes = geometry
    constants = {}
    if op == "Conv":
        constants = {"w": weights(2 * groups, 2, *attributes["kernel_shape"])}
        attributes = {**attributes, "group": groups}
    elif attributes["auto_pad"].startswith("SAME"):  # the runtime's pools take no stride beyond the kernel here
        strides = [min(s, k) for s, k in zip(attributes["strides"], attributes["kernel_shape"], strict=True)]
        attributes = {**attributes, "strides": strides}
    if op == "AveragePool":
        attributes = {**attributes, "count_include_pad": 1}
    nodes = [node(op, "x w" if op == "Conv" else "x", **attributes)]
    agreeing(saved(tmp_path_factory.mktemp("window"), nodes, (2 * groups, *size), constants), samples=1)


# Matrix products


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("addend", [None, (), (1,), (3,), (1, 3), (1, 1)])
def test_gemm(tmp_path, transposed, addend):
    constants = {"w": weights(3, 5) if transposed else weights(5, 3)}
    if addend is not None:
        constants["c"] = np.asarray(weights(*addend), np.float32)
    nodes = [node("Gemm", "x w" + " c" * (addend is not None), alpha=0.5, beta=3.0, transB=transposed)]
    op = agreeing(saved(tmp_path, nodes, (5,), constants)).output.op
    assert isinstance(op, Dense)
    expected = 0.5 * constants["w"]
    np.testing.assert_array_equal(op.weight, expected if transposed else expected.T)
    assert (op.bias is None) == (addend is None)
    if addend is not None:
        np.testing.assert_allclose(op.bias, np.broadcast_to(3 * constants["c"], (1, 3))[0])


@pytest.mark.parametrize("shape", [(), (1,), (3,), (1, 3)])
def test_matrix_product_takes_the_constant_after_it_as_bias(tmp_path, shape):
    nodes = [node("MatMul", "x w", "h", "product"), node("Add", "c h", "s", "sum"), node("Relu", "s")]
    constants = {"w": weights(5, 3), "c": np.asarray(weights(*shape, seed=1), np.float32)}
    graph = agreeing(saved(tmp_path, nodes, (5,), constants))
    assert [n.name for n in graph.nodes] == ["x", "product", "relu"]
    np.testing.assert_array_equal(graph["product"].op.bias, np.broadcast_to(constants["c"].ravel(), (3,)))


def test_constants_after_a_convolution_join_its_bias_one_after_the_other(tmp_path):
    constants = {"w": weights(2, 1, 2, 2), "b": ints(1, 2).astype(np.float32), "c": np.full((2, 1, 1), 4, np.float32)}
    constants["d"] = np.full((1, 2, 1, 1), 8, np.float32)
    nodes = [node("Conv", "x w b", "h"), node("Add", "h c", "i", "one"), node("Sub", "i d", "y", "two")]
    graph = agreeing(saved(tmp_path, nodes, (1, 4, 4), constants))
    assert len(graph.nodes) == 2
    np.testing.assert_array_equal(graph["conv"].op.bias, [1 + 4 - 8, 2 + 4 - 8])


def test_constant_stays_apart_where_the_product_is_read_twice_or_it_varies_in_space(tmp_path):
    nodes = [node("Conv", "x w", "h"), node("Add", "h c", "i", "shift"), node("Add", "h i", name="both")]
    graph = agreeing(saved(tmp_path, nodes, (1, 4, 4), {"w": weights(2, 1, 1, 1), "c": weights(2, 1, 1)}))
    assert [type(n.op) for n in graph.nodes[1:]] == [Conv, Scale, Add]
    nodes = [nodes[0], node("Add", "h c")]
    graph = agreeing(saved(tmp_path, nodes, (1, 4, 4), {"w": weights(2, 1, 1, 1), "c": weights(4)}))
    assert [type(n.op) for n in graph.nodes[1:]] == [Conv, Scale]


def test_matrix_product_on_leading_axes_of_one(tmp_path):
    nodes = [node("MatMul", "x w", "h"), node("Add", "h c")]
    graph = agreeing(saved(tmp_path, nodes, (1, 1, 5), {"w": weights(5, 3), "c": weights(3)}))
    assert [n.name for n in graph.nodes] == ["x", "matmul_reshape", "matmul", "matmul_reshape_2", "add"]
    assert graph.shapes["add"] == (1, 1, 3)


# Arithmetic and activations


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("shape", [(), (4,), (3, 1, 1), (2, 1), (1, 3, 2, 4)])
@pytest.mark.parametrize("first", [True, False])
def test_arithmetic_with_a_constant(tmp_path, op, shape, first):
    path = saved(tmp_path, [node(op, "c x" if first else "x c")], (3, 2, 4), {"c": np.asarray(weights(*shape) + 3)})
    if op == "Div" and first:
        assert "Div 'div': divides a constant by what it reads" in refused(path)
    else:
        assert isinstance(agreeing(path).output.op, Scale)


def test_batch_norm_by_hand_and_against_the_runtime(tmp_path):
    constants = {"s": weights(3), "b": weights(3, seed=1), "m": weights(3, seed=2), "v": weights(3, seed=3) ** 2}
    nodes = [node("BatchNormalization", "x s b m v", epsilon=0.01)]
    op = agreeing(saved(tmp_path, nodes, (3, 2, 4), constants)).output.op
    factor = constants["s"] / np.sqrt(constants["v"].astype(np.float64) + 0.01)
    np.testing.assert_allclose(op.factor[:, 0, 0], factor, rtol=1e-6)
    np.testing.assert_allclose(op.offset[:, 0, 0], constants["b"] - constants["m"] * factor, rtol=1e-5, atol=1e-7)
    agreeing(saved(tmp_path, nodes, (3,), constants, opset=9))
    training = [helper.make_node("BatchNormalization", list("xsbmv"), ["y", "p", "q"], "norm", training_mode=1)]
    assert "BatchNormalization 'norm': training mode" in refused(saved(tmp_path, training, (3, 2), constants, opset=15))


def test_residual_sum_and_identities(tmp_path):
    nodes = [
        node("Dropout", "x", "d"), node("Relu", "d", "r"), node("Identity", "r", "i"), node("Add", "i x", "s"),
        node("Add", "s s", "t", "double"), node("Identity", "t", name="last"),
    ]  # fmt: skip
    graph = agreeing(saved(tmp_path, nodes, (2, 3)))
    assert [(n.name, n.inputs) for n in graph.nodes[1:]] == [
        ("relu", ("x",)), ("add", ("relu", "x")), ("double", ("add", "add")),
    ]  # fmt: skip
    assert graph["relu"].op == Relu()


@pytest.mark.parametrize(("opset", "attributes"), [(11, {}), (11, {"axis": -1}), (13, {}), (13, {"axis": 1})])
def test_softmax_at_the_end(tmp_path, opset, attributes):
    nodes = [node("Softmax", "x", "s", **attributes), node("Identity", "s")]
    assert agreeing(saved(tmp_path, nodes, (6,), opset=opset)).output.op == Softmax()


# Shapes


@pytest.mark.parametrize(
    ("target", "expected"), [((0, -1), (24,)), ((-1, 24), (24,)), ((1, 6, -1), (6, 4)), ((1, 0, 0, -1), (2, 3, 4))]
)
def test_reshape_keeps_the_batch(tmp_path, target, expected):
    graph = agreeing(saved(tmp_path, [node("Reshape", "x t", "h"), node("Relu", "h")], (2, 3, 4), {"t": ints(*target)}))
    assert graph.shapes["relu"] == expected
    assert len(graph.nodes) == (2 if expected == (2, 3, 4) else 3)


@pytest.mark.parametrize("target", [(24,), (2, 12), (-1, 12)])
def test_reshape_of_the_batch_is_refused(tmp_path, target):
    path = saved(tmp_path, [node("Reshape", "x t")], (2, 3, 4), {"t": ints(*target)})
    assert "does not keep the batch" in refused(path)


@pytest.mark.parametrize("axis", [1, -2])
def test_flatten(tmp_path, axis):
    graph = agreeing(saved(tmp_path, [node("Flatten", "x", axis=axis)], (2, 3)))
    assert graph.output.op == Reshape((6,))
    assert "axis 2; only axis 1 keeps the batch" in refused(saved(tmp_path, [node("Flatten", "x", axis=2)], (2, 3)))


@pytest.mark.parametrize("opset", [11, 13])
def test_squeeze_and_unsqueeze(tmp_path, opset):
    if opset < 13:
        nodes, constants = [node("Squeeze", "x", "h", axes=[3]), node("Unsqueeze", "h", axes=[1, -1])], {}
    else:
        nodes = [node("Squeeze", "x a", "h"), node("Unsqueeze", "h b")]
        constants = {"a": ints(-1), "b": ints(1, 4)}
    graph = agreeing(saved(tmp_path, nodes, (2, 3, 1), constants, opset))
    assert [graph.shapes[n] for n in ("squeeze", "unsqueeze")] == [(2, 3), (1, 2, 3, 1)]


def test_squeezing_or_preceding_the_batch_is_refused(tmp_path):
    assert "names no axes" in refused(saved(tmp_path, [node("Squeeze", "x")], (1, 3)))
    assert "removes the batch axis" in refused(saved(tmp_path, [node("Squeeze", "x a")], (1, 3), {"a": ints(0)}))
    assert "before the batch" in refused(saved(tmp_path, [node("Unsqueeze", "x a")], (1, 3), {"a": ints(0)}))


def test_channels_last_input(tmp_path):
    nodes = [node("Transpose", "x", "h", perm=[0, 3, 1, 2]), node("Conv", "h w")]
    graph = agreeing(saved(tmp_path, nodes, (5, 4, 3), {"w": weights(2, 3, 2, 2)}))
    assert graph["transpose"].op == Transpose((2, 0, 1))
    assert graph.shapes["conv"] == (2, 4, 3)
    for attributes in ({}, {"perm": [1, 0, 2, 3]}):
        assert "moves the batch axis" in refused(saved(tmp_path, [node("Transpose", "x", **attributes)], (5, 4, 3)))


@pytest.mark.parametrize(
    ("opset", "inputs", "attributes", "constants"),
    [
        (9, "x", {"pads": [0, 0, 1, 2, 0, 0, 3, 4]}, {}),
        (13, "x p", {}, {"p": ints(0, 0, 1, 2, 0, 0, 3, 4)}),
        (13, "x p v", {}, {"p": ints(0, 0, 1, 2, 0, 0, 3, 4), "v": np.float32(0)}),
        (18, "x p - a", {}, {"p": ints(2, 1, 4, 3), "a": ints(-1, 2)}),
    ],
)
def test_pad(tmp_path, opset, inputs, attributes, constants):
    constants = {name: np.asarray(value) for name, value in constants.items()}
    graph = agreeing(saved(tmp_path, [node("Pad", inputs, **attributes)], (2, 3, 3), constants, opset))
    assert graph.output.op == Pad(((0, 0), (1, 3), (2, 4)))


def test_other_pads_are_refused(tmp_path):
    def message(**attributes):
        return refused(saved(tmp_path, [node("Pad", "x", **attributes)], (3, 3), opset=9))

    assert "mode reflect" in message(pads=[0, 0, 1, 0, 0, 1], mode="reflect")
    assert "pads with 1.5" in message(pads=[0, 0, 1, 0, 0, 1], value=1.5)
    assert "pads the batch axis" in message(pads=[1, 0, 0, 0, 0, 0])
    assert "negative pads" in message(pads=[0, 0, -1, 0, 0, 0])


# Constants


def test_constants_before_the_first_layer_and_subgraphs_of_constants(tmp_path):
    values = weights(3, 2)
    nodes = [
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(values)),
        node("Transpose", "c", "ct"), node("Mul", "ct two", "w"), node("Reshape", "r t", "bias"),
        node("Sub", "x mean", "h", "centre"), node("Gemm", "h w bias", transB=1),
    ]  # fmt: skip
    constants = {"two": np.full((), 2, np.float32), "r": weights(2, 1, seed=4), "t": ints(-1), "mean": weights(3)}
    graph = agreeing(saved(tmp_path, nodes, (3,), constants))
    assert [n.name for n in graph.nodes] == ["x", "centre", "gemm"]
    np.testing.assert_array_equal(graph["gemm"].op.weight, 2 * values.T)


@pytest.mark.parametrize("opset", [9, 13])
def test_constants_are_folded_by_the_rules_of_their_operator_set(tmp_path, opset):
    """`Slice` took its bounds as attributes before operator set 10, as inputs since."""
    w = weights(4, 3)
    cut = node("Slice", "v", "w", starts=[1], ends=[3], axes=[0]) if opset == 9 else node("Slice", "v s e a", "w")
    constants = {"v": w, **({"s": ints(1), "e": ints(3), "a": ints(0)} if opset == 13 else {})}
    graph = agreeing(saved(tmp_path, [cut, node("MatMul", "x w")], (2,), constants, opset))
    np.testing.assert_array_equal(graph["matmul"].op.weight, w[1:3].T)


@pytest.mark.parametrize("opset", [9, 13])
def test_shape_computed_from_the_input(tmp_path, opset):
    """x.view(x.shape[0], -1) as exporters write it."""
    unsqueeze = node("Unsqueeze", "n", "n1", axes=[0]) if opset == 9 else node("Unsqueeze", "n zero1", "n1")
    nodes = [
        node("Relu", "x", "r"), node("Shape", "r", "s"), node("Gather", "s zero", "n"), unsqueeze,
        node("Concat", "n1 rest", "t", axis=0), node("Reshape", "r t"),
    ]  # fmt: skip
    constants = {"zero": np.asarray(0, np.int64), "zero1": ints(0), "rest": ints(-1)}
    graph = agreeing(saved(tmp_path, nodes, (2, 3), constants, opset, batch="n"))
    assert [n.name for n in graph.nodes] == ["x", "relu", "reshape"]


# Names, edges and inputs


@pytest.mark.parametrize("batch", [1, "N", None])
def test_open_batch(tmp_path, batch):
    assert agreeing(saved(tmp_path, [node("Relu", "x")], (3,), batch=batch)).shapes["x"] == (3,)


def test_names_are_kept_made_up_and_unique(tmp_path):
    nodes = [
        node("Relu", "x", "a", ""), node("Flatten", "a", "b", "x"), node("Relu", "b", "c", "Relu_0"),
        node("Gemm", "c w", "d", "twice"), node("Relu", "d", "y", "twice"), node("Sigmoid", "c", "unused"),
    ]  # fmt: skip
    graph, tensors = load_named(saved(tmp_path, nodes, (2, 3), {"w": weights(6, 6)}))
    assert [n.name for n in graph.nodes] == ["x", "Relu_0_2", "x_2", "Relu_0", "twice", "twice_2"]
    assert list(tensors.values()) == ["x", "a", "b", "c", "d", "y"]
    assert graph.name == "net"


def test_initializers_among_the_inputs_are_not_inputs(tmp_path):
    constants = {"w": weights(2, 3), "b": weights(2)}
    path = saved(tmp_path, [node("Gemm", "x w b", transB=1)], (3,), constants, opset=8, listed=True)
    assert [n.name for n in agreeing(path).nodes] == ["x", "gemm"]


def test_double_precision_is_rounded_to_single(tmp_path):
    path = saved(tmp_path, [node("Gemm", "x w", transB=1)], (3,), {"w": weights(2, 3)})
    model = onnx.load(path)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights(2, 3).astype(np.float64), "w"))
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    onnx.save_model(model, path)
    assert agreeing(path)["gemm"].op.weight.dtype == np.float32


# Refusals and errors


def test_all_unsupported_layers_are_listed_at_once(tmp_path):
    nodes = [
        node("Conv", "x w", "a", "first", auto_pad="SAME_UPPER", group=1), node("Erf", "a", "b", ""),
        helper.make_node("Odd", ["b", "k"], ["c"], "custom", domain="some.vendor"), node("Gemm", "c w", "d", transA=1),
        node("Mul", "d d", "e", "square"), node("MaxPool", "e", "y", "pool", kernel_shape=[2, 2], dilations=[1, 3]),
    ]  # fmt: skip
    constants = {"w": weights(1, 1, 2, 2), "k": weights(1)}
    lines = refused(saved(tmp_path, nodes, (1, 6, 6), constants, domains=("some.vendor",))).splitlines()
    assert lines[0] == "net.onnx: 5 layers cannot be represented:"
    assert lines[1:6] == [
        "  Erf 'Erf_1': no layer here does this",
        "  some.vendor::Odd 'custom': no layer here does this",
        "  Gemm 'gemm': transA=1 moves the batch axis",
        "  Mul 'square': both operands are computed from the network's input",
        "  MaxPool 'pool': dilations [1, 3]",
    ]
    assert "extract_model" in lines[6]


def test_layers_behind_a_refused_one_are_judged_by_its_shape(tmp_path):
    """The error function keeps (4, 5, 3, 2), so that the matrix behind it is known to be applied at too many places."""
    nodes = [node("Erf", "x", "h"), node("MatMul", "h w", "i"), node("Relu", "i")]
    message = refused(saved(tmp_path, nodes, (4, 5, 3, 2), {"w": weights(2, 3)}))
    assert "2 layers" in message
    assert "MatMul 'matmul': one matrix of (2, 3) at every place of an input of (4, 5, 3, 2)" in message


def test_what_follows_from_a_refused_layer_is_not_listed(tmp_path):
    """The matrix is a constant that a vendor's operator computes: that one is at fault, not the product."""
    nodes = [
        helper.make_node("Odd", ["k"], ["v"], "odd", domain="some.vendor"), node("Transpose", "v", "w", perm=[1, 0]),
        node("MatMul", "x w", "h"), node("Shape", "h", "s"), node("Reshape", "h s"),
    ]  # fmt: skip
    message = refused(saved(tmp_path, nodes, (3,), {"k": weights(2, 3)}, domains=("some.vendor",)))
    assert "net.onnx: 1 layer cannot be represented:\n  some.vendor::Odd 'odd': a constant" in message


@pytest.mark.parametrize(
    ("make", "shape", "constants", "reason"),
    [
        (lambda: node("MatMul", "w x"), (3, 2), {"w": weights(4, 3)}, "its left operand is a constant"),
        (lambda: node("MatMul", "x w"), (3,), {"w": weights(3)}, "its right operand has 1 axes"),
        (lambda: node("Conv", "x w"), (1, 3, 3, 3), {"w": weights(1, 1, 2, 2, 2)}, "3 spatial axes"),
        (lambda: node("Conv", "x x"), (1, 3, 3), {}, "its weight is computed from the network's input"),
        (lambda: node("Add", "x c"), (3,), {"c": weights(2, 3)}, "differs from sample to sample"),
        (lambda: node("Add", "x c"), (1, 3), {"c": weights(2, 3)}, "enlarges an input of (1, 3)"),
        (lambda: node("Add", "x c"), (3,), {"c": weights(1, 1, 3)}, "enlarges an input of (3,)"),
        (lambda: node("Dropout", "x r t"), (3,), {"r": np.float32(0.5), "t": np.bool_(True)}, "training mode"),
        (lambda: node("RandomNormalLike", "x"), (3,), {}, "no layer here does this"),
    ],
)
def test_reasons(tmp_path, make, shape, constants, reason):
    constants = {name: np.asarray(value) for name, value in constants.items()}
    assert reason in refused(saved(tmp_path, [make()], shape, constants))


def test_unequal_sums_and_second_outputs_are_refused(tmp_path):
    nodes = [node("GlobalAveragePool", "x", "p"), node("Add", "x p")]
    assert "operands of (2, 3, 3) and (2, 1, 1)" in refused(saved(tmp_path, nodes, (2, 3, 3)))
    nodes = [helper.make_node("MaxPool", ["x"], ["p", "y"], "pool", kernel_shape=[2, 2])]
    assert "MaxPool 'pool': only its first output can be used" in refused(saved(tmp_path, nodes, (2, 3, 3)))


def test_constants_that_are_huge_random_or_looped_are_not_computed(tmp_path):
    huge = [node("ConstantOfShape", "s", "c"), node("Add", "x c")]
    message = refused(saved(tmp_path, huge, (3,), {"s": ints(1 << 30, 1 << 10)}))
    assert "ConstantOfShape 'constantofshape': a constant of shape (1073741824, 1024); the limit is 1 GiB" in message
    drawn = [helper.make_node("RandomNormal", [], ["c"], "noise", shape=[3]), node("Add", "x c")]
    assert "RandomNormal 'noise': a constant that is drawn at random" in refused(saved(tmp_path, drawn, (3,)))


def test_layers_that_do_not_fit_are_named(tmp_path):
    with pytest.raises(BadInput, match=r"net\.onnx: layer 'gemm' \(Gemm\): weight \(2, 4\) does not fit"):
        load(saved(tmp_path, [node("Gemm", "x w", transB=1)], (3,), {"w": weights(2, 4)}))
    with pytest.raises(BadInput, match="layer 'gemm' has NaN or infinite weights"):
        load(saved(tmp_path, [node("Gemm", "x w", transB=1)], (3,), {"w": np.full((2, 3), np.nan, np.float32)}))
    with pytest.raises(BadInput, match="layer 'div' has NaN or infinite weights"):
        load(saved(tmp_path, [node("Div", "x w")], (3,), {"w": np.zeros(3, np.float32)}))
    with pytest.raises(BadInput, match="'y' does not depend on the input"):
        load(saved(tmp_path, [node("Relu", "w")], (3,), {"w": weights(1, 3)}))


def test_the_comparison_notices_a_wrong_weight_and_a_wrong_shape(tmp_path):
    nodes = [node("Gemm", "x w", "h", transB=1), node("Relu", "h")]
    path = saved(tmp_path, nodes, (3,), {"w": weights(4, 3)})
    graph, tensors = load_named(path)
    other = load(saved(tmp_path, nodes, (3,), {"w": weights(4, 3) + np.float32(0.01)}))
    saved(tmp_path, nodes, (3,), {"w": weights(4, 3)})
    x = np.ones((2, 3), np.float32)
    unit = np.abs(weights(4, 3).sum(1)).max()
    assert unit > 1
    assert largest_differences(path, other, tensors, x)["gemm"] == pytest.approx(0.03 / unit, rel=1e-3)
    assert largest_differences(path, graph, {"gemm": "x"}, x)["gemm"] == float("inf")


# Real networks


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("mnist_cnn_cntk_mnist-8", 9), ("mnist_fc_256x2", 7), ("mnist_convnet_avgpool", 6), ("cifar10_resnet_4b", 29),
        ("acasxu_1_1", 16), ("gtsrb_cnn_marabou", 11), ("gtsrb_bnn_48", 32), ("cifar10_vit_pgd_2_3_16", 102),
    ],
)  # fmt: skip
def test_real_networks_agree_layer_by_layer(neuro_data, name, layers):
    graph = agreeing(neuro_data / "models" / "onnx" / f"{name}.onnx", samples=2)
    assert (graph.name, len(graph.nodes)) == (name, layers)
