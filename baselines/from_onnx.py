"""The work of a network in an ONNX file: shapes and node kinds only, so that anything with a cost model is priced.

Nothing is converted or executed. Large constants are taken out before shapes are inferred; external data is not
opened. One run of the model with the shapes of its inputs is one sample.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from baselines.onnx_reader import Reading, read
from baselines.workload import (
    LayerWork,
    Mode,
    Operator,
    Workload,
    compiled,
    convolution,
    dense,
    elementwise,
    product,
    pruned,
)
from neuro.errors import BadInput

FREE = frozenset((
    "Constant", "ConstantOfShape", "Dropout", "Flatten", "Identity", "Range", "Reshape", "Shape", "Size",
    "Squeeze", "Unsqueeze",
))  # fmt: skip
MOVES = frozenset((
    "CenterCropPad", "Compress", "Concat", "DepthToSpace", "Expand", "EyeLike", "GatherElements", "GatherND",
    "OneHot", "Pad", "Resize", "ReverseSequence", "ScatterElements", "ScatterND", "Slice", "SpaceToDepth",
    "Split", "Tile", "Transpose", "Trilu", "Upsample",
))  # fmt: skip
ACTIVATIONS = frozenset((
    "Abs", "Acos", "Acosh", "And", "Asin", "Asinh", "Atan", "Atanh", "BiasGelu", "BipolarQuant", "BitShift",
    "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "Cast", "CastLike", "Ceil", "Celu", "Clip", "Cos",
    "Cosh", "DequantizeLinear", "DynamicQuantizeLinear", "Elu", "Equal", "Erf", "Exp", "FastGelu", "Floor",
    "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "IntQuant", "IsInf", "IsNaN", "LeakyRelu",
    "Less", "LessOrEqual", "Log", "Max", "Mean", "Min", "Mish", "Mod", "MultiThreshold", "Neg", "Not", "Or",
    "PRelu", "Pow", "QLinearLeakyRelu", "QLinearSigmoid", "Quant", "QuantizeLinear", "QuickGelu", "Reciprocal",
    "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Sum",
    "Swish", "Tan", "Tanh", "ThresholdedRelu", "Trunc", "Where", "Xor",
))  # fmt: skip
ADDITIONS = frozenset(("Add", "QLinearAdd", "Sub"))
SCALES = frozenset(("Div", "Mul", "QLinearMul"))
NORMS = frozenset((
    "GroupNormalization", "InstanceNormalization", "LRN", "LayerNormalization", "LpNormalization",
    "MeanVarianceNormalization", "RMSNormalization", "SimplifiedLayerNormalization",
))  # fmt: skip
REDUCTIONS = frozenset((
    "ArgMax", "ArgMin", "CumSum", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax",
    "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "TopK",
))  # fmt: skip
POOLS = frozenset((
    "AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool", "MaxRoiPool",
    "RoiAlign",
))  # fmt: skip
RESAMPLED = frozenset(("Resize", "Upsample"))
SOFTMAXES = frozenset(("Hardmax", "LogSoftmax", "Softmax"))
EPILOGUE = ("conv", "depthwise", "dense", "matmul", "add", "scale", "activation", "norm", "softmax")


@dataclass(frozen=True)
class Call:
    """One node. name; op: its kind. read, written: shapes of inputs and outputs ("" inputs are None)."""

    name: str
    op: str
    node: Any
    reading: Reading

    def get(self, key: str, default: Any = None) -> Any:
        """An attribute."""
        from onnx.helper import get_attribute_value

        return next((get_attribute_value(a) for a in self.node.attribute if a.name == key), default)

    def has(self, index: int) -> bool:
        """Whether input `index` is given."""
        return index < len(self.node.input) and bool(self.node.input[index])

    def shape(self, index: int) -> tuple[int, ...]:
        """Shape of input `index`."""
        return self.reading.shape(self.node.input[index], self.name)

    def constant(self, index: int) -> bool:
        """Whether input `index` is known before a sample comes."""
        return self.node.input[index] in self.reading.constants

    def values(self, index: int) -> np.ndarray | None:
        """The constant at input `index` where it is at hand."""
        return self.reading.values(self.node.input[index])

    @property
    def result(self) -> tuple[int, ...]:
        """Shape of the first output."""
        return self.reading.shape(next(o for o in self.node.output if o), self.name)

    @property
    def inputs(self) -> int:
        """Values read that depend on the sample."""
        given = [i for i in range(len(self.node.input)) if self.has(i) and not self.constant(i)]
        return sum(prod(self.shape(i)) for i in given)

    @property
    def outputs(self) -> int:
        """Values written to the first output."""
        return prod(self.result)

    @property
    def weights(self) -> int:
        """Constants among the inputs of an elementwise operation; single numbers cost nothing."""
        sizes = [prod(self.shape(i)) for i in range(len(self.node.input)) if self.has(i) and self.constant(i)]
        return sum(size for size in sizes if size > 1)


WEIGHTED = frozenset((
    "Conv", "ConvInteger", "ConvTranspose", "GRU", "Gemm", "LSTM", "MatMul", "MatMulInteger", "QLinearConv",
    "QLinearMatMul", "RNN",
))  # fmt: skip
OTHERS = frozenset(("BatchNormalization", "Gather", "SkipLayerNormalization"))
SUPPORTED = (
    FREE | MOVES | ACTIVATIONS | ADDITIONS | SCALES | NORMS | REDUCTIONS | POOLS | SOFTMAXES | WEIGHTED | OTHERS
)  # fmt: skip
SAME = ACTIVATIONS | ADDITIONS | SCALES | NORMS | {"SkipLayerNormalization"}


def workload(
    path: str | Path,
    name: str | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    mode: Mode = "compiled",
) -> Workload:
    """The kernels of the network in an ONNX file; `shapes` sets those of inputs by name (an open batch is 1).

    Activations, batch norms, biases, residual additions and changes of layout behind a kernel are fusable, and so is
    a softmax between two products of activations. What depends on no input is computed beforehand and free. Zeros of
    weights stored in the file are counted.

    Raises:
        BadInput: no such file, damaged, invalid or too large, or a shape that does not follow from the inputs.
        Unsupported: kinds of nodes without a cost model, all listed with the nodes' names.
    """
    reading = read(Path(path), SUPPORTED, shapes or {}, SAME)
    groups: list[list[LayerWork]] = []
    home: dict[str, int] = {}
    used: set[str] = set()
    for index, node in enumerate(reading.nodes):
        if all(not o or o in reading.constants for o in node.output):
            continue
        call = Call(node.name or f"{node.op_type}_{index}", node.op_type, node, reading)
        feeds = [home[i] for i in node.input if i in home]
        before = max(feeds, default=None)
        if call.op in FREE:
            made: list[LayerWork] = []
        else:
            try:
                made = _kernels(call)
            except (IndexError, ValueError, ZeroDivisionError) as error:
                raise BadInput(
                    f"{reading.file}: node {call.name} ({call.op}): its shapes do not fit together ({error})."
                ) from None
            if _again(call, used):  # weights are held once
                made = [replace(layer, stored=0) for layer in made]
        if made and before is not None and _fusable(call, made[0], groups[before][0]):
            groups[before] += [replace(layer, fusable=True) for layer in made]
        elif made:
            before = len(groups)
            groups.append([replace(made[0], fusable=False), *made[1:]])
        if before is not None:
            home |= {o: before for o in node.output if o}
    work = Workload(name or Path(path).stem, tuple(layer for group in groups for layer in group), "eager")
    if not work.layers:
        raise BadInput(f"{reading.file} computes nothing from its inputs.")
    return compiled(work) if mode == "compiled" else work


def _again(call: Call, used: set[str]) -> bool:
    """Whether earlier nodes of this kind have all constants of this one; they are noted in `used`."""
    mine = {f"{call.op} {i}" for i in call.node.input if i in call.reading.constants}
    seen = bool(mine) and mine <= used
    used |= mine
    return seen


def _fusable(call: Call, layer: LayerWork, kernel: LayerWork) -> bool:
    """Whether a compiler makes `layer` part of the kernel that gives its last input."""
    match layer.operator:
        case "activation" | "scale":
            return True
        case "copy":
            return call.op not in RESAMPLED
        case "add":
            return kernel.operator in EPILOGUE
        case "softmax":
            return kernel.operator == "matmul"
        case "norm" if call.op == "BatchNormalization":
            return kernel.operator in ("conv", "depthwise", "dense")
        case "norm":
            return call.op in REDUCTIONS and kernel.operator == "norm"
    return False


def _kernels(call: Call) -> list[LayerWork]:
    match call.op:
        case "Conv" | "ConvInteger" | "QLinearConv":
            return [_convolution(call, 3 if call.op == "QLinearConv" else 1)]
        case "ConvTranspose":
            return [_transposed(call)]
        case "Gemm":
            return _gemm(call)
        case "MatMul" | "MatMulInteger" | "QLinearMatMul":
            return _matmul(call, 0, 3 if call.op == "QLinearMatMul" else 1)
        case "LSTM" | "GRU" | "RNN":
            return _recurrent(call)
        case "Gather" if call.constant(0) and not call.constant(1):
            rows = elementwise(call.name, "embedding", call.outputs, call.outputs)
            return [replace(rows, stored=prod(call.shape(0)))]
        case "BatchNormalization":
            return [replace(_plain(call, "norm"), weight_count=2 * prod(call.shape(1)))]
        case op if op in MOVES or op == "Gather":
            return [elementwise(call.name, "copy", call.outputs, call.outputs)]
        case op if op in POOLS:
            return [_plain(call, "pool")]
        case op if op in REDUCTIONS:
            return [replace(_plain(call, "norm" if _last_axis(call) else "pool"), weight_count=0)]
        case op if op in NORMS or op == "SkipLayerNormalization":
            return [_plain(call, "norm")]
        case op if op in SOFTMAXES:
            return [_plain(call, "softmax")]
        case op if op in ADDITIONS:
            return [_plain(call, "add")]
        case op if op in SCALES:
            return [_plain(call, "scale")]
    return [replace(_plain(call, "activation"), weight_count=0)]


def _last_axis(call: Call) -> bool:
    """Whether a reduction runs over the last axis alone, as that of a norm; else it is a pool."""
    axes = call.get("axes")
    if axes is None and call.has(1):
        given = call.values(1)
        axes = None if given is None else given.ravel().tolist()
    axis = call.get("axis") if axes is None else axes[0] if len(axes) == 1 else None
    return axis in (-1, len(call.shape(0)) - 1)


def _plain(call: Call, operator: Operator) -> LayerWork:
    return elementwise(call.name, operator, call.inputs, call.outputs, weights=call.weights)


def _convolution(call: Call, at: int) -> LayerWork:
    weight, (batch, enter, *space), out = call.shape(at), call.shape(0), call.result
    rank, groups = len(space), call.get("group", 1)
    if len(weight) != rank + 2 or len(out) != rank + 2 or groups < 1 or weight[1] * groups != enter or out[1] % groups:
        raise BadInput(f"{call.reading.file}: node {call.name!r}: weights of {list(weight)} do not fit its input.")
    kernel, stride = tuple(weight[2:]), tuple(call.get("strides", [1] * rank))
    dilation = call.get("dilations", [1] * rank)
    padded = [
        max(size, (o - 1) * s + (k - 1) * d + 1)
        for size, o, s, k, d in zip(space, out[2:], stride, kernel, dilation, strict=True)
    ]
    pads = call.get("pads")
    if pads and len(pads) == 2 * rank:
        padded = [size + before + after for size, before, after in zip(space, pads[:rank], pads[rank:], strict=True)]
    bias = call.has(8) if call.op == "QLinearConv" else call.op == "Conv" and call.has(2)
    made = convolution(
        call.name, (enter, out[1]), kernel, stride, tuple(padded), tuple(out[2:]), groups,
        inputs=batch * enter * prod(space), bias=bias,
    )  # fmt: skip
    return _repeated(_counted(call, made, at), batch)


def _repeated(layer: LayerWork, batch: int) -> LayerWork:
    """`layer` on `batch` maps of each sample, which lie one after another."""
    if batch == 1:
        return layer
    return replace(layer, m=layer.m * batch, macs=layer.macs * batch, outputs=layer.outputs * batch)


def _counted(call: Call, layer: LayerWork, at: int, order: tuple[int, ...] | None = None) -> LayerWork:
    """`layer` with its zeros, from weights that `order` brings into [out, in, ...]."""
    weight = call.values(at)
    if weight is None or weight.ndim < 2 or not weight.size:
        return layer
    zero = {"QLinearConv": 5, "QLinearMatMul": 5, "ConvInteger": 3, "MatMulInteger": 3}.get(call.op)
    offset = call.values(zero) if zero is not None and call.has(zero) else None
    if offset is not None and offset.size == 1:
        weight = weight.astype(np.int64) - int(offset.ravel()[0])
    return pruned(layer, weight if order is None else weight.transpose(order))


def _transposed(call: Call) -> LayerWork:
    """As a product [positions of the input, in] x [in, out x kernel], whose results are added up."""
    weight, (batch, enter, *space) = call.shape(1), call.shape(0)
    groups, out = call.get("group", 1), call.result
    leave = weight[1] * groups
    made = convolution(
        call.name, (enter, weight[1] * prod(weight[2:]) * groups), (1,) * len(space), (1,) * len(space),
        tuple(space), tuple(space), groups, inputs=batch * enter * prod(space), bias=False,
    )  # fmt: skip
    made = replace(_repeated(made, batch), operator="conv", outputs=prod(out))
    return replace(made, weight_count=prod(weight) + (leave if call.has(2) else 0))


def _gemm(call: Call) -> list[LayerWork]:
    left, right = call.shape(0), call.shape(1)
    rows, depth = reversed(left) if call.get("transA", 0) else left
    columns, meets = right if call.get("transB", 0) else reversed(right)
    _check_product(left, right, depth, meets)
    bias = prod(call.shape(2)) if call.has(2) else 0
    if call.constant(1):
        order = None if call.get("transB", 0) else (1, 0)
        made = _counted(call, dense(call.name, depth, columns, rows=rows, bias=False), 1, order)
    else:
        made = product(call.name, rows, columns, depth)
    return [replace(made, weight_count=made.weight_count + bias)]


def _check_product(left: tuple[int, ...], right: tuple[int, ...], depth: int, meets: int) -> None:
    """Raises ValueError if two factors do not meet in the same number of values, or are empty."""
    if depth != meets or not prod(left) * prod(right):
        raise ValueError(f"{left} by {right}")


def _matmul(call: Call, a: int, b: int) -> list[LayerWork]:
    """Weights on either side, or a product of activations; leading axes of both are separate products."""
    left, right = call.shape(a), call.shape(b)
    left = (1, *left) if len(left) == 1 else left
    right = (*right, 1) if len(right) == 1 else right
    rows, depth, columns = left[-2], left[-1], right[-1]
    _check_product(left, right, depth, right[-2])
    if call.constant(b) and prod(right[:-2]) == 1:
        made = dense(call.name, depth, columns, rows=prod(left[:-1]), bias=False)
        return [_counted(call, made, b, (1, 0) if len(right) == 2 else None)]
    if call.constant(a) and prod(left[:-2]) == 1:
        made = dense(call.name, depth, rows, rows=prod(right[:-2]) * columns, bias=False)
        return [_counted(call, made, a)]
    groups = prod(np.broadcast_shapes(left[:-2], right[:-2]))
    made = product(call.name, rows, columns, depth, groups)
    fixed = prod(left) if call.constant(a) else prod(right) if call.constant(b) else 0
    read = prod(left) * (not call.constant(a)) + prod(right) * (not call.constant(b))
    return [replace(made, operator="dense" if fixed else "matmul", weight_count=fixed, inputs=read)]


def _recurrent(call: Call) -> list[LayerWork]:
    """Per direction: gates of the input for all steps at once, those of the hidden state in turn, the update."""
    x, weight, recurrent = call.shape(0), call.shape(1), call.shape(2)
    steps, batch = (x[1], x[0]) if call.get("layout", 0) else (x[0], x[1])
    gates, hidden = weight[1], recurrent[2]
    made: list[LayerWork] = []
    for direction in range(weight[0]):
        name, values = f"{call.name}.{direction}", steps * batch
        update = elementwise(f"{name}.update", "activation", values * (2 * gates + hidden), values * hidden)
        made += [
            dense(f"{name}.input", x[2], gates, rows=values, bias=call.has(3)),
            dense(f"{name}.recurrent", hidden, gates, rows=batch, steps=steps, bias=call.has(3)),
            replace(update, steps=steps, fusable=True),
        ]
    return made
