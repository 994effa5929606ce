"""What each TFLite operator becomes.

Meanings are those of TensorFlow's operator definitions (tensorflow/compiler/mlir/lite/ir/tfl_ops.td); quantisation is
that of https://ai.google.dev/edge/litert/models/quantization_spec. Where a result is quantised, its rounding follows as
a `quantise` activation, and a fused ReLU is a bound of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, prod
from typing import TypeAlias

import numpy as np

from converters.layout import Builder, Stream, same_pads
from converters.onnx_call import NotKnown, Refused
from converters.tflite_file import Operator, Tensor
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
MOVES = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "CAST")
"""Operators that leave whole numbers what they are."""
KNOWN = (
    *FUNCTIONS, *CLIPS, *MOVES, "ADD", "SUB", "MUL", "DIV", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED",
    "AVERAGE_POOL_2D", "MAX_POOL_2D", "SOFTMAX", "LEAKY_RELU", "GELU", "PAD", "CONCATENATION", "MEAN", "GATHER",
    "QUANTIZE", "DEQUANTIZE",
)  # fmt: skip
"""All operators that have an equal here."""


@dataclass(frozen=True)
class Held:
    """A tensor that depends on the input. batched: its first axis is the batch, which `stream` leaves out.

    ids: whole numbers that choose rows of a table.
    """

    stream: Stream
    batched: bool = True
    ids: bool = False

    @property
    def full(self) -> Shape:
        """The shape in the file for a batch of 1."""
        return (1, *self.stream.shape) if self.batched else self.stream.shape


Value: TypeAlias = Held | np.ndarray | None
"""A tensor of the network, a constant's real values computed from others, or what a refused operator would give."""


@dataclass(frozen=True, eq=False)
class Call:
    """One operator: its inputs' tensors and values (None for a stored constant or what is not known), its result."""

    operator: Operator
    name: str
    tensors: tuple[Tensor | None, ...]
    values: tuple[Value, ...]
    result: Tensor

    def option(self, name: str, default: int) -> int:
        """An option that is a whole number."""
        return int(self.operator.options.get(name, default))

    def held(self, i: int = 0) -> Held:
        """Input `i`, which must depend on the network's input and be real."""
        if i >= len(self.values) or self.tensors[i] is None:
            raise ValueError(f"its input {i} is missing")
        value, tensor = self.values[i], self.tensors[i]
        if isinstance(value, Held):
            if value.ids and self.operator.kind not in (*MOVES, "GATHER"):
                raise Refused("it computes with the whole numbers of the input; only GATHER may read them")
            return value
        if value is not None or (tensor is not None and tensor.data is not None):
            raise Refused(f"its input {i} is a constant")
        raise NotKnown

    def constant(self, i: int) -> np.ndarray | None:
        """The real values of input `i` in float32, None where it is left out."""
        tensor, value = self._constant(i)
        if isinstance(value, np.ndarray):
            return value
        return None if tensor is None else tensor.real()

    def wholes(self, i: int) -> list[int]:
        """Input `i` as a list of whole numbers."""
        tensor, _ = self._constant(i)
        if tensor is None or tensor.kind not in ("INT32", "INT64"):
            raise ValueError(f"its input {i} is no list of whole numbers")
        if prod(tensor.shape) > 64:
            raise ValueError(f"its input {i} is a list of {prod(tensor.shape)}")
        return [int(n) for n in tensor.stored().ravel()]

    def _constant(self, i: int) -> tuple[Tensor | None, Value]:
        if i >= len(self.tensors) or self.tensors[i] is None:
            return None, None
        tensor, value = self.tensors[i], self.values[i]
        if isinstance(value, Held):
            raise Refused(f"its input {i} is computed from the network's input")
        if value is None and (tensor is None or tensor.data is None):
            raise NotKnown
        return tensor, value


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
            return _finished(build, call, _pad(build, call), 0, True)
        case kind if kind in CLIPS:
            return _finished(build, call, call.held(), CLIPS[kind])
        case "RESHAPE" | "SQUEEZE" | "EXPAND_DIMS":
            return _finished(build, call, _reshaped(build, call), 0, True)
        case "TRANSPOSE":
            return _finished(build, call, _transpose(build, call), 0, True)
        case "CAST":
            return _cast(call)
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


def _axis(axis: int, x: Held) -> int:
    """An axis of the file as one of the sample."""
    rank = len(x.full)
    counted = axis + rank if axis < 0 else axis
    if not 0 <= counted < rank:
        raise ValueError(f"axis {axis} of {x.full} does not exist")
    if x.batched and counted == 0:
        raise Refused("it works along the batch axis")
    return counted - x.batched


def _mean(build: Builder, call: Call) -> Held:
    x = call.held()
    axes = {_axis(a, x) for a in call.wholes(1)}
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
    axis = _axis(call.option("Axis", 0), parts[0])
    return replace(parts[0], stream=build.joined([p.stream for p in parts], call.name, axis))


def _pad(build: Builder, call: Call) -> Held:
    x = call.held()
    wholes = call.wholes(1)
    if len(wholes) != 2 * len(x.full) or min(wholes, default=0) < 0:
        raise ValueError(f"pads {wholes} do not fit an input of {x.full}")
    pads = tuple(zip(wholes[::2], wholes[1::2], strict=True))
    if x.batched and any(pads[0]):
        raise Refused("pads the batch axis")
    return replace(x, stream=build.padded(x.stream, call.name, pads[x.batched :]))


def _reshaped(build: Builder, call: Call) -> Held:
    """Every axis of the file counts; a leading one of size 1 with others behind it is the batch."""
    x = call.held()
    full = _target(call, x)
    batched = len(full) > 1 and full[0] == 1
    shape = full[1:] if batched else full
    return replace(x, stream=build.reshaped(x.stream, call.name, shape), batched=batched)


def _target(call: Call, x: Held) -> Shape:
    match call.operator.kind:
        case "SQUEEZE":
            dims: Sequence[int] = call.operator.options.get("SqueezeDims") or []
            axes = {d + len(x.full) if d < 0 else d for d in dims} or {i for i, n in enumerate(x.full) if n == 1}
            if any(not 0 <= a < len(x.full) or x.full[a] != 1 for a in axes):
                raise ValueError(f"axes {sorted(axes)} of {x.full} are not all of size 1")
            return tuple(n for i, n in enumerate(x.full) if i not in axes)
        case "EXPAND_DIMS":
            (axis,) = call.wholes(1) or (0,)
            axis = axis + len(x.full) + 1 if axis < 0 else axis
            return (*x.full[:axis], 1, *x.full[axis:])
    stored = len(call.tensors) > 1 and (t := call.tensors[1]) is not None and t.data is not None
    target = call.wholes(1) if stored else call.operator.options.get("NewShape") or list(call.result.shape)
    rest = prod(n for n in target if n != -1)
    if target.count(-1) > 1 or any(n < 1 and n != -1 for n in target):
        raise ValueError(f"shape {target}")
    return tuple(prod(x.full) // rest if n == -1 else n for n in target)


def _transpose(build: Builder, call: Call) -> Held:
    x = call.held()
    order = call.wholes(1)
    if sorted(order) != list(range(len(x.full))):
        raise ValueError(f"order {order} does not fit an input of {x.full}")
    if x.batched and order[0] != 0:
        raise Refused(f"order {order} moves the batch axis")
    return replace(x, stream=build.permuted(x.stream, [o - x.batched for o in order[x.batched :]]))


def _cast(call: Call) -> Held:
    x = call.held()
    if not x.ids or call.result.kind not in ("INT32", "INT64"):
        raise Refused(f"casts to {call.result.kind}")
    return x


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
