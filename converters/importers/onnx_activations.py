"""ONNX operators that work value by value, quantisers among them, as functions of `neuro.activations`."""

from math import inf
from typing import Any

import numpy as np

from converters.importers.chain import NotKnown, Refused, Stream, Unknown
from converters.importers.onnx_call import Call
from neuro.activations import Function
from neuro.layers import Activation, Op, Relu, Reshape, Scale, Transpose
from neuro.steps import Steps

QONNX = ("onnx.brevitas", "qonnx.custom_op.general", "finn.custom_op.general")
"""Domains of the operators of QONNX and FINN: `Quant` (or `IntQuant`), `BipolarQuant` and `MultiThreshold`."""
QUANTISERS = ("Quant", "IntQuant", "BipolarQuant", "MultiThreshold")
SIMPLE = {
    "Sigmoid": "sigmoid", "Tanh": "tanh", "Softplus": "softplus", "Softsign": "softsign", "HardSwish": "hard_swish",
    "Mish": "mish", "Sign": "sign",
}  # fmt: skip
"""Operators without parameters."""
RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767), "uint16": (0, 65535),
          "int4": (-8, 7), "uint4": (0, 15)}  # fmt: skip


def is_pointwise(op: str) -> bool:
    """Whether `activation` knows the operator."""
    return op in (*SIMPLE, "Clip", "Elu", "Selu", "LeakyRelu", "PRelu", "HardSigmoid", "Gelu", "Max", "Min", "Neg") or (
        op.rpartition("::")[0] in QONNX and op.rpartition("::")[2] in QUANTISERS
    )


def activation(call: Call) -> tuple[Op, ...]:
    """The layers that do what a pointwise operator does.

    Raises:
        Refused, NotKnown, ValueError: as `converters.importers.onnx_nodes.convert`.
    """
    match call.op:
        case op if op in SIMPLE:
            return _made(SIMPLE[op])
        case "Neg":
            return (Scale(np.full((), -1, np.float32), np.zeros((), np.float32)),)
        case "Clip":
            low = _bound(call, "min", 1, -inf)
            high = _bound(call, "max", 2, inf)
            return (Relu(),) if (low, high) == (0, inf) else _made("clip", low, high)
        case "Max" | "Min":
            return _extreme(call)
        case "Elu":
            return _made("elu", call.get("alpha", 1.0))
        case "Selu":
            return _made("selu", call.get("alpha", 1.6732632423543772), call.get("gamma", 1.0507009873554805))
        case "LeakyRelu":
            return _made("leaky_relu", call.get("alpha", 0.01))
        case "PRelu":
            slopes = np.unique(call.floats(1, "slope"))
            if len(slopes) != 1:
                raise Refused("its slope differs from channel to channel")
            return _made("leaky_relu", float(slopes[0]))
        case "HardSigmoid":
            return _made("hard_sigmoid", call.get("alpha", 0.2), call.get("beta", 0.5))
        case "Gelu":
            return _made("gelu_tanh" if call.get("approximate", "none") == "tanh" else "gelu")
    if call.op.endswith("MultiThreshold"):
        return _multi_threshold(call)
    if call.op.endswith("BipolarQuant"):
        return _made("bipolar", _scalar(call, 1, "scale"))
    scale, zero, bits = (_scalar(call, i, role) for i, role in enumerate(("scale", "zero point", "bit width"), 1))
    if (mode := call.get("rounding_mode", "ROUND").upper()) != "ROUND":
        raise Refused(f"rounding mode {mode}; only ROUND, which rounds halves to even")
    return _made("quantise", scale, zero, *_whole_range(bits, call.get("signed", 1), call.get("narrow", 0)))


def quantised(node: Any, inputs: tuple) -> dict[str, np.ndarray]:
    """The output of a QONNX quantiser of constants.

    Raises:
        Refused: an operator other than these, or another rounding. NotKnown: it depends on a refused one.
    """
    from onnx.helper import get_attribute_value

    if any(isinstance(i, Stream | Unknown) for i in inputs):
        raise NotKnown
    call = Call(
        f"{node.domain}::{node.op_type}", {a.name: get_attribute_value(a) for a in node.attribute}, inputs, 0, False
    )
    if not is_pointwise(call.op) or node.op_type == "MultiThreshold":
        raise Refused("a constant that only a non-standard operator can compute")
    value, scale = call.floats(0, "value").astype(np.float64), call.floats(1, "scale").astype(np.float64)
    if node.op_type == "BipolarQuant":
        return {node.output[0]: np.where(value >= 0, scale, -scale).astype(np.float32)}
    zero, bits = call.floats(2, "zero point"), _scalar(call, 3, "bit width")
    if call.get("rounding_mode", "ROUND").upper() != "ROUND":
        raise Refused("weights that are not rounded to the nearest")
    low, high = _whole_range(bits, call.get("signed", 1), call.get("narrow", 0))
    whole = np.clip(np.round(value / scale + zero), low, high)
    return {node.output[0]: ((whole - zero) * scale).astype(np.float32)}


def quantize(call: Call) -> tuple[Op, ...]:
    """`QuantizeLinear`: a quantiser of real values, then the whole numbers that they are."""
    scale, zero = _scalar(call, 1, "scale"), 0.0
    kind = _output_kind(call)
    if call.get("block_size", 0):
        raise Refused("scales by blocks")
    if call.has(2):
        zero, kind = _scalar(call, 2, "zero point"), str(call.constant(2, "zero point").dtype)
    if kind not in RANGES:
        raise Refused(f"quantises to {kind}")
    return (*_made("quantise", scale, zero, *map(float, RANGES[kind])), _affine(1 / scale, zero))


def _output_kind(call: Call) -> str:
    """The whole numbers that `QuantizeLinear` gives without a zero point: those of `output_dtype`, uint8 without."""
    from onnx import TensorProto

    given = call.get("output_dtype", 0)
    return TensorProto.DataType.Name(given).lower() if given in TensorProto.DataType.values() and given else "uint8"


def dequantize(call: Call) -> tuple[Op, ...]:
    """`DequantizeLinear`: scale (q - zero point)."""
    scale = _scalar(call, 1, "scale")
    return (_affine(scale, -scale * (_scalar(call, 2, "zero point") if call.has(2) else 0.0)),)


def dequantised(node: Any, inputs: tuple) -> dict[str, np.ndarray]:
    """`DequantizeLinear` of constants, for the whole tensor or along one axis, by every operator set alike: scale (q -
    zero point) in float32.

    Raises:
        Refused: scales by blocks, or of sizes that do not fit.
    """
    given = {a.name: a.i for a in node.attribute}
    value, scale = (np.asarray(i) for i in inputs[:2])
    zero = np.asarray(inputs[2]) if len(inputs) > 2 and inputs[2] is not None else np.zeros((), value.dtype)
    if given.get("block_size", 0) or value.dtype.kind not in "iu" or zero.dtype.kind not in "iu":
        raise Refused("constants of scales by blocks, or that are no whole numbers")
    axis = given.get("axis", 1)
    if scale.size > 1:
        if not -value.ndim <= axis < value.ndim or scale.shape != (value.shape[axis],):
            raise Refused(f"a constant of {value.shape} with scales of {scale.shape} along axis {axis}")
        scale, zero = (_along(part, value.ndim, axis) for part in (scale, zero))
    whole = value.astype(np.int64) - zero.astype(np.int64)
    return {node.output[0]: whole.astype(np.float32) * scale.astype(np.float32)}


def _along(values: np.ndarray, ndim: int, axis: int) -> np.ndarray:
    sizes = [1] * ndim
    sizes[axis] = -1
    return values.reshape(sizes)


def scaled_weight(call: Call, first: int) -> np.ndarray:
    """The float weights in inputs `first`, with scales and zero points behind it, output channel first."""
    weight = call.constant(first, "weight").astype(np.float64)
    scale = call.constant(first + 1, "weight scale").astype(np.float64).ravel()
    zero = call.constant(first + 2, "weight zero point").astype(np.float64).ravel()
    column = (-1, *(1,) * (weight.ndim - 1))
    return ((weight - zero.reshape(column)) * scale.reshape(column)).astype(np.float32)


def sandwich(call: Call, ops: tuple[Op, ...], output: int) -> tuple[Op, ...]:
    """The layers of `QLinearConv` or `QLinearMatMul` on whole numbers: real values around it, its output quantised."""
    scale, zero = _scalar(call, 1, "scale"), _scalar(call, 2, "zero point")
    out = Call("QuantizeLinear", {}, (None, call.inputs[output], call.inputs[output + 1]), call.opset, call.last)
    head, tail = (ops, ()) if not isinstance(ops[-1], Reshape) else (ops[:-1], ops[-1:])
    return (_affine(scale, -scale * zero), *head, *quantize(out), *tail)


def _multi_threshold(call: Call) -> tuple[Op, ...]:
    """FINN's `MultiThreshold`: y = out_bias + out_scale Σ_k [x >= thresholds_ck], thresholds [channel or 1, step].

    The channel is the second axis of the tensor, or the last one where `data_layout` ends in C, as NHWC does. out_dtype
    says how whole numbers are stored, and changes no value.
    """
    thresholds = call.constant(1, "thresholds").astype(np.float64)
    scale, start = float(call.get("out_scale", 1.0)), float(call.get("out_bias", 0.0))
    layout, shape = call.get("data_layout", "NCHW").upper(), call.shape()
    if thresholds.ndim != 2 or not thresholds.size:
        raise ValueError(f"its thresholds have shape {thresholds.shape}, not channels and steps")
    if scale <= 0:
        raise Refused(f"out_scale {scale:g}; steps must go up: turn the sign of the layers beside it")
    if "C" not in layout or layout.index("C") not in (1, len(layout) - 1):
        raise Refused(f"data_layout {layout}; the channel must be the second axis or the last")
    try:
        if len(thresholds) == 1:
            return (Activation(Steps(thresholds=thresholds[0], unit=scale, start=start)),)
        made = Activation(Steps(thresholds=thresholds.T, unit=scale, start=start))
    except ValueError as error:
        raise Refused(str(error)) from None
    last = layout.index("C") == len(layout) - 1 and len(shape) > 1
    if len(thresholds) != shape[-1 if last else 0]:
        raise ValueError(f"thresholds of {len(thresholds)} channels do not fit a sample of {shape} in {layout}")
    if not last:
        return (made,)
    axes = tuple(range(len(shape)))
    return (Transpose((axes[-1], *axes[:-1])), made, Transpose((*axes[1:], 0)))


def _affine(factor: float, offset: float) -> Scale:
    return Scale(np.full((), factor, np.float32), np.full((), offset, np.float32))


def _made(name: str, *parameters: float) -> tuple[Op, ...]:
    try:
        return (Activation(Function(name, tuple(float(p) for p in parameters))),)
    except ValueError as error:
        raise Refused(str(error)) from None


def _scalar(call: Call, i: int, role: str) -> float:
    value = np.unique(call.constant(i, role).astype(np.float64))
    if value.size != 1:
        raise Refused(f"its {role} differs from channel to channel")
    return float(value[0])


def _bound(call: Call, name: str, i: int, default: float) -> float:
    return _scalar(call, i, name) if call.has(i) else float(call.get(name, default))


def _extreme(call: Call) -> tuple[Op, ...]:
    """Max or min of a stream with constants."""
    if sum(isinstance(i, Stream) for i in call.inputs) != 1:
        raise Refused("several of its operands are computed from the network's input")
    constants = [i for i, value in enumerate(call.inputs) if not isinstance(value, Stream)]
    if not constants:
        return ()
    bounds = [_scalar(call, i, "operand") for i in constants]
    shape = (1, *call.shape(next(i for i in range(len(call.inputs)) if i not in constants)))
    for i in constants:
        size = call.constant(i, "operand").shape
        if np.broadcast_shapes(size, shape) != shape:
            raise Refused(f"a constant of {size} enlarges an input of {shape[1:]}")
    if call.op == "Min":
        return _made("clip", -inf, min(bounds))
    return (Relu(),) if max(bounds) == 0 else _made("clip", max(bounds), inf)


def _whole_range(bits: float, signed: int, narrow: int) -> tuple[float, float]:
    if signed:
        return -(2.0 ** (bits - 1)) + narrow, 2.0 ** (bits - 1) - 1
    return 0.0, 2.0**bits - 1 - narrow
