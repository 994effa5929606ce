"""The work of ONNX files: real ones against sums by hand, small ones against the outputs of ones, hostile ones."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from baselines import from_shapes
from baselines.from_onnx import workload
from baselines.onnx_reader import SMALL
from neuro.errors import BadInput, Unsupported

# Multiply-accumulates by hand, layer by layer.
REAL = {
    "acasxu_1_1": 5 * 50 + 5 * 50 * 50 + 50 * 5,
    "cifar10_resnet_4b": 256 * 16 * 27 + 64 * 32 * (144 + 288 + 16 + 288 + 288) + 16 * 32 * (288 + 288 + 32 + 288 + 288)
    + 51_200 + 1000,
    "cifar10_vit_pgd_2_3_16": 4 * 48 * 768 + 2 * (4 * 5 * 48 * 48 + 2 * 3 * 5 * 5 * 16 + 2 * 5 * 48 * 96) + 480,
    "gtsrb_bnn_48": 44**2 * 32 * 75 + 18**2 * 64 * 800 + 7**2 * 64 * 576 + 3136 * 256 + 256 * 43,
    "gtsrb_cnn_marabou": 32**2 * 4 * 12 + 32**2 * 4 * 4 + 4096 * 16 + 16 * 43,
    "mnist_cnn_cntk_mnist-8": 28**2 * 8 * 25 + 14**2 * 16 * 200 + 256 * 10,
    "mnist_convnet_avgpool": 27**2 * 32 * 4 + 1152 * 10,
    "mnist_fc_256x2": 784 * 256 + 256 * 256 + 256 * 10,
    "qonnx_tfc_1w1a": 784 * 64 + 2 * 64 * 64 + 64 * 10,
}  # fmt: skip
ROWS = ("acasxu_1_1", "cifar10_resnet_4b", "mnist_convnet_avgpool", "mnist_fc_256x2")


@pytest.mark.parametrize("name", REAL)
def test_real_files_by_hand(neuro_data, name):
    path = neuro_data / "models" / "onnx" / f"{name}.onnx"
    eager, work = workload(path, mode="eager"), workload(path)
    assert (work.name, work.macs, eager.macs) == (name, REAL[name], REAL[name])
    assert work.weight_count == eager.weight_count
    if name in ROWS:  # here every stored number is a weight, a bias or the mean of an input
        stored = sum(np.prod(t.dims) for t in onnx.load(path).graph.initializer)
        assert work.weight_count == stored


def outcome(path: Path, **options) -> str:
    """priced, or refused with a message that names the file."""
    try:
        return "priced" if workload(path, **options).layers else "empty"
    except (BadInput, Unsupported) as error:
        return "refused" if path.name in str(error) else str(error)


def test_every_real_file_is_priced_or_refused(neuro_data):
    found = sorted((neuro_data / "models" / "onnx").glob("*.onnx"))
    assert {path.stem for path in found} >= set(REAL)
    assert all(outcome(path) in ("priced", "refused") for path in found)


def test_kernels_of_a_real_transformer(neuro_data):
    """Two layers: three products and the two of attention, one behind it, two wide ones; sums and softmax inside."""
    work = workload(neuro_data / "models" / "onnx" / "cifar10_vit_pgd_2_3_16.onnx")
    kinds = [x.operator for x in work.layers if x.macs]
    assert kinds == ["conv", *2 * ["dense", "dense", "dense", "matmul", "matmul", "dense", "dense", "dense"], "dense"]
    scores = next(x for x in work.layers if x.operator == "matmul")
    assert (scores.m, scores.n, scores.k, scores.groups, scores.outputs) == (5, 5, 16, 3, 0)


def save(folder: Path, nodes, inputs, constants, outputs=("y",), opset=17, **extra) -> Path:
    """A model; inputs and constants by name, sizes that are no numbers are symbols."""
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info(n, t, s) for n, (t, s) in inputs.items()],
        [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset), *extra.get("domains", [])])
    model.ir_version = 8
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def products(path: Path, **inputs: np.ndarray) -> int:
    """Products of ones that add up to the outputs of a linear operator."""
    session = pytest.importorskip("onnxruntime").InferenceSession
    return round(float(np.sum(session(path).run(None, inputs)[0])))


F = TensorProto.FLOAT


@given(
    groups=st.integers(1, 3), enter=st.integers(1, 3), leave=st.integers(1, 3), kernel=st.integers(1, 3),
    stride=st.integers(1, 3), dilation=st.integers(1, 2), size=st.integers(5, 8), transposed=st.booleans(),
)  # fmt: skip
def test_convolutions_of_ones(tmp_path_factory, groups, enter, leave, kernel, stride, dilation, size, transposed):
    """Without padding the outputs of ones add up to the products."""
    shape = (enter * groups, leave) if transposed else (leave * groups, enter)
    node = helper.make_node(
        "ConvTranspose" if transposed else "Conv", ["x", "w"], ["y"], group=groups, kernel_shape=[kernel, kernel],
        strides=[stride] * 2, dilations=[1 if transposed else dilation] * 2,
    )  # fmt: skip
    given_x = {"x": (F, ["n", enter * groups, size, size])}
    path = save(tmp_path_factory.mktemp("conv"), [node], given_x, {"w": ones(*shape, kernel, kernel)})
    (layer,) = workload(path).layers
    expected = products(path, x=ones(1, enter * groups, size, size))
    assert layer.macs == layer.groups * layer.m * layer.n * layer.k == expected
    assert layer.weight_count == enter * leave * groups * kernel**2


@given(
    rows=st.integers(1, 4), depth=st.integers(1, 4), columns=st.integers(1, 4),
    batch=st.sampled_from([(), (2,), (3, 2)]), side=st.sampled_from(["left", "right", "none", "stack"]),
)  # fmt: skip
def test_matrix_products_of_ones(tmp_path_factory, rows, depth, columns, batch, side):
    left, right = (*batch, rows, depth), (*batch, depth, columns)
    constants = {}
    if side == "left":
        left = (rows, depth)
        constants["a"] = ones(*left)
    elif side == "right":
        right = (depth, columns)
        constants["b"] = ones(*right)
    elif side == "stack":
        constants["b"] = ones(*right)
    inputs = {n: (F, list(s)) for n, s in (("a", left), ("b", right)) if n not in constants}
    shapes = {n: tuple(s) for n, (_, s) in inputs.items()}
    path = save(tmp_path_factory.mktemp("matmul"), [helper.make_node("MatMul", ["a", "b"], ["y"])], inputs, constants)
    (layer,) = workload(path, shapes=shapes).layers
    assert (
        layer.macs
        == layer.groups * layer.m * layer.n * layer.k
        == products(path, **{n: ones(*s) for n, s in shapes.items()})
    )
    assert layer.operator == ("matmul" if side == "none" else "dense")
    assert layer.weight_count == sum(c.size for c in constants.values())
    assert layer.outputs == int(np.prod(np.broadcast_shapes(left[:-2], right[:-2]))) * rows * columns
    assert layer.inputs == sum(int(np.prod(s)) for s in shapes.values())


@pytest.mark.parametrize(("left", "right"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_gemm(tmp_path, left, right):
    node = helper.make_node("Gemm", ["x", "w", "c"], ["y"], transA=left, transB=right)
    weight = np.array([[1, 0, 0, 2], [0, 3, 4, 0], [5, 0, 6, 0]], np.float32)  # [3 outputs, 4 inputs], half zeros
    given_x = {"x": (F, [4, 2] if left else [2, 4])}
    path = save(tmp_path, [node], given_x, {"w": weight if right else weight.T, "c": ones(3)})
    (layer,) = workload(path).layers
    assert (layer.m, layer.n, layer.k, layer.weight_count) == (2, 3, 4, 15)
    assert (layer.density, layer.pattern) == (0.5, "2:4")


def test_epilogue_of_a_convolution(tmp_path):
    """Batch norm, residual and activation go into the convolution that comes last before them, wherever they stand."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Conv", ["a", "w"], ["b"]),
        helper.make_node("MaxPool", ["x"], ["p"], kernel_shape=[1, 1]),
        helper.make_node("BatchNormalization", ["b", "s", "s", "s", "s"], ["c"]),
        helper.make_node("Add", ["c", "a"], ["d"]),
        helper.make_node("Relu", ["d"], ["e"]),
        helper.make_node("Add", ["e", "p"], ["y"]),
    ]
    given_x = {"x": (F, [1, 4, 3, 3])}
    path = save(tmp_path, nodes, given_x, {"w": ones(4, 4, 1, 1), "s": ones(4)})
    eager = workload(path, mode="eager").layers
    assert [x.operator for x in eager] == ["conv", "conv", "norm", "add", "activation", "pool", "add"]
    first, second, pool, last = workload(path).layers
    assert (first.operator, second.operator, pool.operator, last.operator) == ("conv", "conv", "pool", "add")
    assert (first.inputs, second.inputs, last.inputs) == (36, 72, 72)
    assert workload(path).weight_count == 16 + 8  # both convolutions have the same weights


def test_quantised_network_is_the_same_work(tmp_path):
    byte, word = np.uint8(0), np.int8(3)
    scale = np.float32(1)
    weight = np.full((2, 4, 1, 1), 3, np.int8)
    weight[0, :2] = 5
    plain = [helper.make_node("Conv", ["x", "w"], ["y"])]
    dequantised = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "s", "o"], ["v"]),
        helper.make_node("Conv", ["d", "v"], ["y"]),
    ]
    integer = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("QLinearConv", ["q", "s", "z", "w", "s", "o", "s", "z"], ["y"]),
    ]
    given_x = {"x": (F, ["batch", 4, 3, 3])}
    constants = {"s": scale, "z": byte, "o": word, "w": weight}
    rows = []
    for nodes, used in ((plain, {"w": ones(2, 4, 1, 1)}), (dequantised, constants), (integer, constants)):
        path = save(tmp_path, nodes, given_x, used)
        layer = workload(path).layers[-1]
        rows.append((layer.operator, layer.m, layer.n, layer.k, layer.macs, layer.weight_count))
    assert rows == [("conv", 9, 2, 4, 72, 8)] * 3
    for nodes in (dequantised, integer):  # an integer weight of the zero point is a zero
        assert workload(save(tmp_path, nodes, given_x, constants)).layers[-1].density == 0.25


@pytest.mark.parametrize(("kind", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_recurrent_operators(tmp_path, kind, gates):
    hidden, steps, enter = 6, 5, 3
    constants = {
        "w": ones(2, gates * hidden, enter),
        "r": ones(2, gates * hidden, hidden),
        "b": ones(2, 2 * gates * hidden),
    }
    node = helper.make_node(kind, ["x", "w", "r", "b"], ["y"], hidden_size=hidden, direction="bidirectional")
    path = save(tmp_path, [node], {"x": (F, [steps, "batch", enter])}, constants)
    work = workload(path)
    assert work.macs == 2 * steps * gates * hidden * (enter + hidden)
    assert work.weight_count == sum(c.size for c in constants.values())
    assert [x.steps for x in work.layers] == [1, steps] * 2


def test_same_as_the_shapes_of_an_lstm(tmp_path):
    """784 pixels through 128 units, as in the bundled description."""
    constants = {"w": ones(1, 512, 1), "r": ones(1, 512, 128), "b": ones(1, 1024)}
    node = helper.make_node("LSTM", ["x", "w", "r", "b"], ["y"], hidden_size=128)
    mine = workload(save(tmp_path, [node], {"x": (F, [784, 1, 1])}, constants)).layers
    theirs = from_shapes.load("lstm_smnist").layers
    for a, b in zip(mine, theirs[:2], strict=True):
        assert (a.m, a.n, a.k, a.steps, a.macs, a.weight_count) == (b.m, b.n, b.k, b.steps, b.macs, b.weight_count)


def attention(folder: Path) -> Path:
    """Embedding, layer norm from its parts, one head with shape arithmetic, an output product."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["e"]),
        helper.make_node("ReduceMean", ["e"], ["mean"], axes=[-1]),
        helper.make_node("Sub", ["e", "mean"], ["centred"]),
        helper.make_node("Pow", ["centred", "two"], ["square"]),
        helper.make_node("ReduceMean", ["square"], ["variance"], axes=[-1]),
        helper.make_node("Sqrt", ["variance"], ["deviation"]),
        helper.make_node("Div", ["centred", "deviation"], ["h"]),
        helper.make_node("MatMul", ["h", "w"], ["q"]),
        helper.make_node("Shape", ["q"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["length"]),
        helper.make_node("Unsqueeze", ["length", "zero"], ["lengths"]),
        helper.make_node("Concat", ["minus", "lengths", "heads", "four"], ["target"], axis=0),
        helper.make_node("Reshape", ["q", "target"], ["r"]),
        helper.make_node("Transpose", ["r"], ["t"], perm=[0, 2, 1, 3]),
        helper.make_node("Transpose", ["r"], ["k"], perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["t", "k"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["p"]),
        helper.make_node("MatMul", ["p", "t"], ["y"]),
    ]
    constants = {
        "table": ones(100, 8), "w": ones(8, 8), "two": np.float32(2), "one": np.int64(1), "zero": np.array([0]),
        "minus": np.array([-1]), "heads": np.array([2]), "four": np.array([4]),
    }  # fmt: skip
    return save(folder, nodes, {"ids": (TensorProto.INT64, ["batch", "tokens"])}, constants)


def test_attention_with_computed_shapes(tmp_path):
    work = workload(attention(tmp_path), shapes={"ids": (1, 7)})
    assert work.macs == 7 * 64 + 2 * 2 * 7 * 7 * 4
    assert work.weight_count == 800 + 64
    assert [x.operator for x in work.layers] == ["embedding", "norm", "dense", "matmul", "matmul"]
    table, _, _, scores, last = work.layers
    assert (table.weight_count, table.stored, table.outputs) == (0, 800, 56)
    assert (scores.m, scores.n, scores.k, scores.groups, scores.outputs) == (7, 7, 4, 2, 0)
    assert (last.inputs, last.outputs) == (56, 56)
    assert from_shapes.load("net.onnx:ids=1x7", folder=tmp_path).layers == work.layers


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({}, "'ids': size 1 is 'tokens'.*net.onnx:ids=1x"),
        ({"ids": (1, 7, 2)}, "2 axes, not 3"),
        ({"idx": (1, 7)}, "no input 'idx'; it has ids"),
    ],
)
def test_open_sizes_are_asked_for(tmp_path, shapes, message):
    with pytest.raises(BadInput, match=message):
        workload(attention(tmp_path), shapes=shapes)


def test_batch_of_images_is_refused(tmp_path):
    path = save(tmp_path, [helper.make_node("Relu", ["x"], ["y"])], {"x": (F, [8, 3, 4, 4])}, {})
    with pytest.raises(BadInput, match=r"batch of 8.*x=1x3x4x4"):
        workload(path)
    assert workload(path, shapes={"x": (1, 3, 4, 4)}).layers[0].outputs == 48


def test_operators_without_a_model_are_all_listed(tmp_path):
    nodes = [
        helper.make_node("Det", ["x"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Strange", ["b"], ["c"], name="second", domain="com.somebody"),
        helper.make_node("NotYetInvented", ["c"], ["y"]),
    ]
    with pytest.raises(Unsupported, match=r"Det \(first\); NotYetInvented \(node 3\); Strange \(second\)"):
        workload(save(tmp_path, nodes, {"x": (F, [1, 2, 2])}, {}))


def test_foreign_quantisers_keep_the_shape(tmp_path):
    nodes = [
        helper.make_node("Quant", ["w", "s"], ["v"], domain="qonnx.custom_op.general"),
        helper.make_node("MatMul", ["x", "v"], ["a"]),
        helper.make_node("BipolarQuant", ["a", "s"], ["y"], domain="onnx.brevitas"),
    ]
    work = workload(save(tmp_path, nodes, {"x": (F, ["batch", 8])}, {"w": ones(8, 3), "s": np.float32(1)}))
    assert [(x.operator, x.macs, x.weight_count) for x in work.layers] == [("dense", 24, 24)]


def external(path: Path, location: str, size: int) -> None:
    """The weights of a product, said to lie in another file."""
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.dims[:] = [size, size]
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("location", ["/etc/passwd", "../../secret", "absent.bin", "\0"])
@pytest.mark.parametrize("size", [8, 4096])
def test_external_weights_are_never_opened(tmp_path, location, size):
    path = save(tmp_path, [helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": (F, [1, size])}, {"w": ones(2, 2)})
    external(path, location, size)
    (layer,) = workload(path).layers
    assert (layer.weight_count, layer.density) == (size**2, 1.0)


def test_external_constant_of_a_node_is_refused(tmp_path):
    tensor = numpy_helper.from_array(ones(2, 2))
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    nodes = [helper.make_node("Constant", [], ["w"], value=tensor), helper.make_node("MatMul", ["x", "w"], ["y"])]
    with pytest.raises(BadInput, match="not a valid ONNX model"):
        workload(save(tmp_path, nodes, {"x": (F, [1, 2])}, {}))


def test_cycles_are_refused(tmp_path):
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    with pytest.raises(BadInput, match="not a valid ONNX model"):
        workload(save(tmp_path, nodes, {"x": (F, [1, 2])}, {}, outputs=("b",)))


def test_giant_shapes_are_refused(tmp_path):
    relu = [helper.make_node("Relu", ["x"], ["y"])]
    with pytest.raises(BadInput, match="exceeds the limit"):
        workload(save(tmp_path, relu, {"x": (F, [1, 2**31, 2**31])}, {}))
    grown = [
        helper.make_node("ConstantOfShape", ["s"], ["c"]),
        helper.make_node("Expand", ["c", "s"], ["d"]),
        helper.make_node("Add", ["x", "d"], ["y"]),
    ]
    with pytest.raises(BadInput, match="exceeds the limit"):
        workload(save(tmp_path, grown, {"x": (F, [1, 1])}, {"s": np.array([2**30, 2**30])}))


def test_weights_that_are_not_there_are_refused(tmp_path):
    """A tensor of 64 × 128 values with eight bytes of data."""
    path = save(tmp_path, [helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": (F, [1, 64])}, {"w": ones(2, 2)})
    model = onnx.load(path)
    model.graph.initializer[0].dims[:] = [64, 128]
    assert SMALL < 64 * 128
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BadInput, match="'w' do not fit its shape"):
        workload(path)


def test_damaged_files_are_refused(tmp_path):
    path = attention(tmp_path)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    with pytest.raises(BadInput, match="no such file"):
        workload(tmp_path / "absent.onnx")
    (tmp_path / "text.onnx").write_text("not a network")
    with pytest.raises(BadInput, match=r"text\.onnx"):
        workload(tmp_path / "text.onnx")
    for _ in range(150):  # whatever is cut or flipped: an error of ours or a result, never anything else
        broken = bytearray(data[: rng.integers(1, len(data))] if rng.random() < 0.3 else data)
        for at in rng.integers(0, len(broken), rng.integers(1, 4)):
            broken[at] = rng.integers(256)
        path.write_bytes(broken)
        assert outcome(path, shapes={"ids": (1, 7)}) in ("priced", "refused")


def test_what_depends_on_no_input_is_refused(tmp_path):
    path = save(tmp_path, [helper.make_node("Relu", ["c"], ["y"])], {"x": (F, [1, 2])}, {"c": ones(2)})
    with pytest.raises(BadInput, match="computes nothing"):
        workload(path)
