"""What each TFLite operator becomes.

Meanings are those of TensorFlow's operator definitions (tensorflow/compiler/mlir/lite/ir/tfl_ops.td); quantisation is
that of https://ai.google.dev/edge/litert/models/quantization_spec. Where a result is quantised, its rounding follows as
a `quantise` activation, and a fused ReLU is a bound of it.
"""

from dataclasses import replace
from math import inf, prod

import numpy as np

from converters.importers import tflite_shapes
from converters.importers.layout import Builder, same_pads
from converters.importers.onnx_call import Refused
from converters.importers.tflite_call import MOVES, Call, Held, Value
from converters.importers.tflite_file import Tensor
from neuro.activations import Function
from neuro.layers import Activation, AvgPool, Conv, MaxPool, Pads, Relu, Shape

BOUNDS = {0: (-inf, inf), 1: (0.0, inf), 2: (-1.0, 1.0), 3: (0.0, 6.0)}
"""Lowest and highest result of the fused activations NONE, RELU, RELU_N1_TO_1 and RELU6."""
FUNCTIONS = {
    "ELU": Function("elu", (1.0,)),
    "LOGISTIC": Function("sigmoid"),
    "TANH": Function("tanh"),
    "HARD_SWISH": Function("hard_swish"),
}
"""Operators that are functions without options."""
CLIPS = {"RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}
"""Operators that do what a fused activation does, and its number."""
KNOWN = (
    *FUNCTIONS, *CLIPS, *MOVES, "ADD", "SUB", "MUL", "DIV", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED",
    "AVERAGE_POOL_2D", "MAX_POOL_2D", "SOFTMAX", "LEAKY_RELU", "GELU", "PAD", "CONCATENATION", "MEAN", "GATHER",
    "QUANTIZE", "DEQUANTIZE",
)  # fmt: skip
"""All operators that have an equal here."""


def check(kind: str) -> None:
    """Refuse an operator that nothing here stands for."""
    if kind not in KNOWN:
        raise Refused("no layer here does this")


def convert(build: Builder, call: Call) -> Value:
    """The layers that do what `call` does, added to `build`, and what they give.

    Raises:
        Refused: there are none.
        NotKnown: it reads what a refused operator gives.
        ValueError: the operator does not fit its inputs.
    """
    match call.operator.kind:
        case "DEQUANTIZE" if call.values[:1] == (None,) and call.tensors[0] is not None:
            return call.constant(0)
        case "CONV_2D" | "DEPTHWISE_CONV_2D":
            return _finished(build, call, _conv(build, call), call.option("FusedActivationFunction", 0))
        case "FULLY_CONNECTED":
            return _finished(build, call, _dense(build, call), call.option("FusedActivationFunction", 0))
        case "ADD" | "SUB" | "MUL" | "DIV":
            return _finished(build, call, _arithmetic(build, call), call.option("FusedActivationFunction", 0))
        case "AVERAGE_POOL_2D" | "MAX_POOL_2D":
            same = call.operator.kind == "MAX_POOL_2D"
            return _finished(build, call, _pool(build, call), call.option("FusedActivationFunction", 0), same)
        case "MEAN":
            return _finished(build, call, _mean(build, call))
        case "SOFTMAX":
            return _softmax(build, call)
        case "GATHER":
            return _finished(build, call, _gather(build, call), 0, True)
        case "CONCATENATION":
            x = _concatenation(build, call)
            return _finished(build, call, x, call.option("FusedActivationFunction", 0), True)
        case "QUANTIZE" | "DEQUANTIZE":
            return _finished(build, call, call.held(), 0, True)
        case "PAD":
            return _finished(build, call, tflite_shapes.pad(build, call), 0, True)
        case kind if kind in CLIPS:
            return _finished(build, call, call.held(), CLIPS[kind])
        case "RESHAPE" | "SQUEEZE" | "EXPAND_DIMS":
            return _finished(build, call, tflite_shapes.reshaped(build, call), 0, True)
        case "TRANSPOSE":
            return _finished(build, call, tflite_shapes.transpose(build, call), 0, True)
        case "CAST":
            return tflite_shapes.cast(call)
        case _:
            x = call.held()
            y = replace(x, stream=build.each(x.stream, call.name, Activation(_function(call))))
            return _finished(build, call, y)


def _finished(build: Builder, call: Call, x: Held, fused: int = 0, moved: bool = False) -> Held:
    """A fused activation and, for a quantised result, its rounding; none where `moved` values are rounded already."""
    if fused not in BOUNDS:
        raise Refused(f"fused activation number {fused}")
    low, high = BOUNDS[fused]
    grid = call.result.grid()
    if grid is None:
        if fused == 0:
            return x
        op = Relu() if fused == 1 else Activation(Function("clip", (low, high)))
        name = f"{call.name}_relu" if call.operator.kind not in CLIPS else call.name
        return replace(x, stream=build.each(x.stream, name, op))
    if x.ids:
        raise Refused("the input's whole numbers are quantised")
    scale, zero, lowest, highest = grid
    if moved and fused == 0 and all(_steps(t.grid()) == _steps(grid) for t in _data(call)):
        return x
    lowest = max(lowest, zero + np.round(low / scale))
    highest = min(highest, zero + np.round(high / scale))
    if not lowest < highest:
        raise Refused(f"its result has no steps between {lowest} and {highest}")
    function = Function("quantise", (scale, zero, float(lowest), float(highest)))
    return replace(x, stream=build.each(x.stream, f"{call.name}_quantise", Activation(function)))


def _steps(grid: tuple[float, float, float, float] | None) -> tuple[float, float, float] | None:
    """The real values of a grid: its scale, and its ends counted from zero."""
    return None if grid is None else (grid[0], grid[2] - grid[1], grid[3] - grid[1])


def _data(call: Call) -> list[Tensor]:
    """The tensors whose values the result may hold."""
    kind = call.operator.kind
    used = call.tensors if kind == "CONCATENATION" else call.tensors[:1]
    return [t for t in used if t is not None]


def _conv(build: Builder, call: Call) -> Held:
    """Weights lie as [out, height, width, in / groups], depthwise ones as [1, height, width, out]."""
    x = call.held()
    weight, bias = call.constant(1), call.constant(2)
    if weight is None or weight.ndim != 4 or not x.batched or len(x.stream.shape) != 3:
        raise ValueError(f"weight {None if weight is None else weight.shape} does not fit an input of {x.full}")
    inputs = x.stream.shape[-1]
    if call.operator.kind == "DEPTHWISE_CONV_2D":
        if weight.shape[0] != 1:
            raise ValueError(f"a depthwise weight of {weight.shape}")
        weight, groups = weight.transpose(3, 0, 1, 2), inputs
    else:
        weight = weight.transpose(0, 3, 1, 2)
        groups = inputs // max(weight.shape[1], 1)
    weight = np.ascontiguousarray(weight)
    stride = call.option("StrideH", 0), call.option("StrideW", 0)
    dilation = call.option("DilationHFactor", 1), call.option("DilationWFactor", 1)
    if min(*weight.shape, *stride, *dilation, groups) < 1:
        raise ValueError(f"weight {weight.shape}, stride {stride} and dilation {dilation} must be at least 1")
    span = tuple((k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilation, strict=True))
    op = Conv(weight, bias, stride, _pads(call, x, span, stride), groups, dilation if max(dilation) > 1 else ())
    return replace(x, stream=build.windowed(x.stream, call.name, op))


def _pads(call: Call, x: Held, span: Shape, stride: Shape) -> Pads:
    match call.option("Padding", 0):
        case 0:
            return same_pads(x.stream.shape[:2], span, stride)
        case 1:
            return ((0, 0), (0, 0))
        case other:
            raise ValueError(f"padding number {other} does not exist")


def _pool(build: Builder, call: Call) -> Held:
    x = call.held()
    kernel = call.option("FilterHeight", 0), call.option("FilterWidth", 0)
    stride = call.option("StrideH", 0), call.option("StrideW", 0)
    if not x.batched or len(x.stream.shape) != 3 or min(*kernel, *stride) < 1:
        raise ValueError(f"kernel {kernel} and stride {stride} do not fit an input of {x.full}")
    pads = _pads(call, x, kernel, stride)
    if call.operator.kind == "MAX_POOL_2D":
        return replace(x, stream=build.windowed(x.stream, call.name, MaxPool(kernel, stride, pads)))
    if any(map(any, pads)):
        raise Refused("padding SAME leaves the padding out of the mean; use VALID")
    return replace(x, stream=build.windowed(x.stream, call.name, AvgPool(kernel, stride, pads)))


def _dense(build: Builder, call: Call) -> Held:
    x = call.held()
    weight, bias = call.constant(1), call.constant(2)
    if call.option("WeightsFormat", 0):
        raise Refused("weights in a shuffled order")
    if weight is None or weight.ndim != 2 or 0 in weight.shape:
        raise ValueError(f"weight {None if weight is None else weight.shape} is no matrix")
    inputs, shape = weight.shape[1], x.stream.shape
    if call.option("KeepNumDims", 0) and len(x.full) > 2:
        return replace(x, stream=build.dense(x.stream, call.name, weight, bias))
    if prod(shape) % inputs:
        raise ValueError(f"weight {weight.shape} does not fit an input of {x.full}")
    rows = prod(shape) // inputs
    wanted = (inputs,) if rows == 1 else (rows, inputs)
    flat = build.reshaped(x.stream, f"{call.name}_reshape", wanted)
    return Held(build.dense(flat, call.name, weight, bias), rows == 1)


def _arithmetic(build: Builder, call: Call) -> Held:
    kind = call.operator.kind
    held = [i for i, v in enumerate(call.values[:2]) if isinstance(v, Held)]
    if len(held) == 2:
        if kind != "ADD":
            raise Refused("both operands are computed from the network's input")
        left, right = call.held(0), call.held(1)
        if left.batched != right.batched:
            raise Refused(f"operands of {left.full} and {right.full}")
        return replace(left, stream=build.summed([left.stream, right.stream], call.name))
    first = held == [0]
    x, constant = call.held(0 if first else 1), call.constant(1 if first else 0)
    if constant is None:
        raise ValueError("an operand is missing")
    if x.batched and constant.ndim == len(x.full):
        if constant.shape[0] != 1:
            raise Refused(f"a constant of {constant.shape} differs from sample to sample")
        constant = constant[0]
    one, zero = np.ones((), np.float32), np.zeros((), np.float32)
    match kind:
        case "ADD":
            factor, offset = one, constant
        case "SUB":
            factor, offset = (one, -constant) if first else (-one, constant)
        case "MUL":
            factor, offset = constant, zero
        case _:
            if not first:
                raise Refused("divides a constant by what it reads")
            factor, offset = 1 / constant.astype(np.float64), zero
    scaled = build.scaled(x.stream, call.name, np.asarray(factor), np.asarray(offset))
    return replace(x, stream=scaled)


def _mean(build: Builder, call: Call) -> Held:
    x = call.held()
    axes = {tflite_shapes.axis(a, x) for a in call.wholes(1)}
    left = [i for i in range(len(x.stream.shape)) if i not in axes]
    if len(left) != 1 or not axes:
        raise Refused(f"mean over axes {sorted(axes)} of a sample of {x.stream.shape}; one axis must be left")
    keep = bool(call.option("KeepDims", 0))
    return replace(x, stream=build.averaged(x.stream, call.name, keep, left[0]))


def _softmax(build: Builder, call: Call) -> Held:
    """Without the rounding that follows: it would make unequal results equal."""
    if (beta := call.operator.options.get("Beta", 1.0)) != 1:
        raise Refused(f"beta {beta}; only 1")
    x = call.held()
    return replace(x, stream=build.softmax(x.stream, call.name))


def _gather(build: Builder, call: Call) -> Held:
    x = call.held(1)
    if not x.ids:
        raise Refused("its positions are computed; only whole numbers from the input choose rows")
    table = call.constant(0)
    if table is None or table.ndim != 2 or call.option("Axis", 0) or call.option("BatchDims", 0):
        raise Refused("only rows of a constant table of two axes can be chosen")
    return Held(build.looked_up(x.stream, call.name, table), x.batched)


def _concatenation(build: Builder, call: Call) -> Held:
    parts = [call.held(i) for i in range(len(call.values))]
    if not parts or len({p.batched for p in parts}) > 1:
        raise Refused(f"inputs of {[p.full for p in parts]}")
    axis = tflite_shapes.axis(call.option("Axis", 0), parts[0])
    return replace(parts[0], stream=build.joined([p.stream for p in parts], call.name, axis))


def _function(call: Call) -> Function:
    match call.operator.kind:
        case "LEAKY_RELU":
            try:
                return Function("leaky_relu", (float(call.operator.options.get("Alpha", 0.0)),))
            except ValueError as error:
                raise Refused(str(error)) from None
        case "GELU":
            return Function("gelu_tanh" if call.operator.options.get("Approximate") else "gelu")
    return FUNCTIONS[call.operator.kind]
