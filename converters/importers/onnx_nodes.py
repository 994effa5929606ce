"""What each ONNX operator becomes: layers of the float vocabulary, or the reason why not.

The meaning of operators and attributes is the one of the ONNX operator reference, https://onnx.ai/onnx/operators.
"""

from math import prod

import numpy as np

from converters.importers import onnx_attention, onnx_shapes
from converters.importers.chain import Refused, Stream
from converters.importers.onnx_activations import (
    activation,
    dequantize,
    is_pointwise,
    quantize,
    sandwich,
    scaled_weight,
)
from converters.importers.onnx_call import Call, pairs
from neuro.layers import (
    Add,
    AvgPool,
    Conv,
    Dense,
    Embedding,
    MaxPool,
    Op,
    Pads,
    Relu,
    Reshape,
    Scale,
    Shape,
    Transpose,
)  # fmt: skip


def convert(call: Call) -> tuple[Op, ...]:
    """The layers that do what `call` does: a chain, the first reading all streams of `call`; empty if nothing changes.

    Raises:
        Refused: there are none.
        NotKnown: it depends on the result of a refused operator.
        ValueError: the operator does not fit its inputs.
    """
    if is_pointwise(call.op):
        return activation(call)
    match call.op:
        case "Relu":
            return (Relu(),)
        case "QuantizeLinear":
            return quantize(call)
        case "DequantizeLinear":
            return dequantize(call)
        case "QLinearConv":
            return _quantised_conv(call)
        case "QLinearMatMul":
            return _quantised_matmul(call)
        case "Concat":
            return onnx_attention.concat(call)
        case "Gather":
            return _gather(call)
        case "Identity":
            return ()
        case "Dropout":
            return _dropout(call)
        case "Add" | "Sub" | "Mul" | "Div":
            return _arithmetic(call)
        case "Conv":
            return _conv(call)
        case "Gemm":
            return _gemm(call)
        case "MatMul":
            return _matmul(call)
        case "BatchNormalization":
            return _batch_norm(call)
        case "MaxPool" | "AveragePool":
            return _pool(call)
        case "GlobalAveragePool" | "GlobalMaxPool":
            return _global_pool(call)
        case "ReduceMean":
            return _reduce_mean(call)
        case "Flatten":
            return onnx_shapes.flatten(call)
        case "Reshape":
            return onnx_shapes.reshape(call)
        case "Squeeze":
            return onnx_shapes.squeeze(call)
        case "Unsqueeze":
            return onnx_shapes.unsqueeze(call)
        case "Transpose":
            return onnx_shapes.transpose(call)
        case "Pad":
            return onnx_shapes.pad(call)
        case "Softmax" | "LogSoftmax":
            return onnx_attention.softmax(call)
        case "LayerNormalization":
            return onnx_attention.layer_norm(call)
        case "Slice":
            return onnx_attention.sliced(call)
    raise Refused("no layer here does this")


def _dropout(call: Call) -> tuple[Op, ...]:
    if call.has(2) and call.constant(2, "training mode").any():
        raise Refused("training mode")
    return ()


def _conv(call: Call) -> tuple[Op, ...]:
    bias = call.floats(2, "bias") if call.has(2) else None
    return (_convolution(call, call.floats(1, "weight"), bias),)


def _convolution(call: Call, weight: np.ndarray, bias: np.ndarray | None) -> Conv:
    kernel, groups = weight.shape[2:], call.get("group", 1)
    _one_or_two_axes(len(kernel))
    if tuple(call.get("kernel_shape", kernel)) != kernel or groups < 1:
        raise ValueError(f"kernel_shape or group ({groups}) does not fit a weight of {weight.shape}")
    dilation = tuple(call.get("dilations", (1,) * len(kernel)))
    if len(dilation) != len(kernel) or min(dilation) < 1:
        raise ValueError(f"dilations {dilation} do not fit a kernel of {kernel}")
    spans = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    stride, pads = _geometry(call, spans)
    return Conv(weight, bias, stride, pads, groups, dilation if max(dilation) > 1 else ())


def _quantised_conv(call: Call) -> tuple[Op, ...]:
    weight = scaled_weight(call, 3)
    bias = None
    if call.has(8):  # in units of both scales
        units = (
            call.constant(1, "scale").astype(np.float64) * call.constant(4, "weight scale").astype(np.float64).ravel()
        )
        bias = (call.constant(8, "bias").astype(np.float64) * units).astype(np.float32)
    conv = _convolution(call, weight, bias)
    return sandwich(call, (conv,), 6)


def _scales(call: Call, i: int) -> np.ndarray:
    return call.constant(i, "scale").astype(np.float64).ravel()


def _quantised_matmul(call: Call) -> tuple[Op, ...]:
    weight = call.constant(3, "right operand")
    if weight.ndim != 2:
        raise Refused(f"its right operand has {weight.ndim} axes; only a matrix is supported")
    turned = Call(call.op, {}, (*call.inputs[:3], weight.T, *call.inputs[4:]), call.opset, call.last)
    ops = _dense(np.ascontiguousarray(scaled_weight(turned, 3)), None, call.shape())
    return sandwich(call, ops, 6)


def _gather(call: Call) -> tuple[Op, ...]:
    if isinstance(call.inputs[0], Stream):
        return onnx_attention.picked(call)
    table = call.floats(0, "table")
    if call.get("axis", 0) != 0 or table.ndim != 2:
        raise Refused(f"axis {call.get('axis', 0)} of a table of {table.shape}; only rows of a matrix")
    call.shape(1)
    return (Embedding(table),)


def _pool(call: Call) -> tuple[Op, ...]:
    kernel = tuple(call.get("kernel_shape", ()))
    _one_or_two_axes(len(kernel))
    stride, pads = _geometry(call, kernel)
    if call.op == "AveragePool" and not call.get("count_include_pad", 0) and any(map(any, pads)):
        raise Refused("padding that is left out of the mean (count_include_pad=0)")
    if any(d != 1 for d in call.get("dilations", ())):
        raise Refused(f"dilations {list(call.get('dilations', ()))}")
    if call.get("ceil_mode", 0):
        size = call.shape()[1:]
        if any((n + sum(p) - k) % s for n, k, s, p in zip(size, kernel, stride, pads, strict=True)):
            raise Refused(f"ceil_mode adds windows beyond the edge of {size}")
    return (MaxPool(kernel, stride, pads) if call.op == "MaxPool" else AvgPool(kernel, stride, pads),)


def _global_pool(call: Call) -> tuple[Op, ...]:
    kernel = call.shape()[1:]
    _one_or_two_axes(len(kernel))
    pool = MaxPool if call.op == "GlobalMaxPool" else AvgPool
    return (pool(kernel, kernel, ((0, 0),) * len(kernel)),)


def _reduce_mean(call: Call) -> tuple[Op, ...]:
    shape = call.shape()
    rank = len(shape) + 1
    axes = sorted(call.axes(rank) or [])
    if axes == [1] and rank == 3:
        return _mean_of_rows(shape, call.get("keepdims", 1))
    if not axes or axes != list(range(2, rank)):
        raise Refused(f"mean over axes {axes or 'all'} of {rank}; only over all axes after batch and channels")
    return (*_global_pool(call), *(() if call.get("keepdims", 1) else (Reshape(shape[:1]),)))


def _mean_of_rows(shape: Shape, keep: int) -> tuple[Op, ...]:
    """The mean over the first axis of a sample of two, such as words or patches."""
    rows, columns = shape
    return (
        Transpose((1, 0)),
        AvgPool((rows,), (rows,), ((0, 0),)),
        Reshape((1, columns) if keep else (columns,)),
    )


def _gemm(call: Call) -> tuple[Op, ...]:
    if call.get("transA", 0):
        raise Refused("transA=1 moves the batch axis")
    weight = call.floats(1, "matrix") * call.get("alpha", 1.0)
    weight = weight if call.get("transB", 0) else weight.T
    if weight.ndim != 2:
        raise ValueError(f"its matrix has {weight.ndim} axes")
    bias = None
    if call.has(2):
        addend = call.floats(2, "addend") * call.get("beta", 1.0)
        bias = np.ascontiguousarray(np.broadcast_to(addend, (1, len(weight)))[0], np.float32)
    return _dense(np.ascontiguousarray(weight), bias, call.shape())


def _matmul(call: Call) -> tuple[Op, ...]:
    if onnx_attention.is_product(call):
        return onnx_attention.product(call)
    if isinstance(call.inputs[0], np.ndarray):
        raise Refused("its left operand is a constant; only the right one may be")
    weight = call.floats(1, "right operand")
    if weight.ndim != 2:
        raise Refused(f"its right operand has {weight.ndim} axes; only a matrix is supported")
    return _dense(np.ascontiguousarray(weight.T), None, call.shape())


def _dense(weight: np.ndarray, bias: np.ndarray | None, shape: Shape) -> tuple[Op, ...]:
    if prod(shape[:-1]) != 1:
        return _at_every_place(weight, bias, shape)
    dense = Dense(weight, bias)
    return (dense,) if len(shape) == 1 else (Reshape(shape[-1:]), dense, Reshape((*shape[:-1], len(weight))))


def _at_every_place(weight: np.ndarray, bias: np.ndarray | None, shape: Shape) -> tuple[Op, ...]:
    """One matrix at every place of a map whose channels come last: a convolution with a kernel of one."""
    *space, channels = shape
    if len(space) > 2 or channels != weight.shape[1]:
        raise Refused(f"one matrix of {weight.shape[::-1]} at every place of an input of {shape}")
    axes = len(space)
    conv = Conv(weight.reshape(*weight.shape, *(1,) * axes), bias, (1,) * axes, ((0, 0),) * axes)
    return Transpose((axes, *range(axes))), conv, Transpose((*range(1, axes + 1), 0))


def _batch_norm(call: Call) -> tuple[Op, ...]:
    if call.get("training_mode", 0):
        raise Refused("training mode")
    if not call.get("spatial", 1):
        raise Refused("spatial=0 (statistics for every position)")
    gain, shift, mean, variance = (
        call.constant(i, role).astype(np.float64) for i, role in enumerate(("scale", "bias", "mean", "variance"), 1)
    )
    factor = gain / np.sqrt(variance + call.get("epsilon", 1e-5))
    column = (-1, *(1,) * (len(call.shape()) - 1))
    offset = shift - mean * factor
    return (Scale(factor.astype(np.float32).reshape(column), offset.astype(np.float32).reshape(column)),)


def _arithmetic(call: Call) -> tuple[Op, ...]:
    left, right = call.inputs
    if isinstance(left, Stream) and isinstance(right, Stream):
        if call.op != "Add":
            raise Refused("both operands are computed from the network's input")
        if call.shape(0) != call.shape(1):
            raise Refused(f"operands of {call.shape(0)} and {call.shape(1)}; only equal shapes can be added")
        return (Add(),)
    streams_left = isinstance(left, Stream)
    if call.op == "Div" and not streams_left:
        raise Refused("divides a constant by what it reads")
    place = 1 if streams_left else 0
    if call.op == "Div" and call.constant(place, "operand").dtype.kind in "iu":
        raise Refused("a division of whole numbers, whose remainder is dropped")
    constant = call.floats(place, "operand")
    constant = _per_sample(constant, call.shape(0 if streams_left else 1))
    factor, offset = np.ones((), np.float32), np.zeros((), np.float32)
    match call.op:
        case "Add":
            offset = constant
        case "Sub" if streams_left:
            offset = np.asarray(-constant)
        case "Sub":
            factor, offset = np.full((), -1, np.float32), constant
        case "Mul":
            factor = constant
        case _:
            factor = np.asarray(1 / constant)
    return (Scale(factor, offset),)


def _per_sample(constant: np.ndarray, shape: Shape) -> np.ndarray:
    """A constant operand without its batch axis."""
    rank = len(shape) + 1
    if constant.ndim == rank and constant.shape[0] != 1:
        raise Refused(f"a constant of {constant.shape} differs from sample to sample")
    inner = constant[0] if constant.ndim == rank else constant
    if inner.ndim > len(shape) or np.broadcast_shapes(inner.shape, shape) != shape:
        raise Refused(f"a constant of {constant.shape} enlarges an input of {shape}")
    return inner


def _geometry(call: Call, kernel: Shape) -> tuple[Shape, Pads]:
    """Stride and padding of a convolution or pool; SAME splits k + (⌈n/s⌉ - 1)s - n between both sides."""
    stride = tuple(call.get("strides", (1,) * len(kernel)))
    if len(stride) != len(kernel) or min(*stride, *kernel) < 1:
        raise ValueError(f"kernel {kernel} and strides {stride} do not fit each other")
    match call.get("auto_pad", "NOTSET"):
        case "NOTSET":
            return stride, pairs(call.get("pads", (0, 0) * len(kernel)), len(kernel))
        case "VALID":
            return stride, ((0, 0),) * len(kernel)
        case "SAME_UPPER" | "SAME_LOWER" as mode:
            size = call.shape()[1:]
            if len(size) != len(kernel):
                raise ValueError(f"kernel {kernel} does not fit a map of {size}")
            wanted = [max(k + (-(-n // s) - 1) * s - n, 0) for n, k, s in zip(size, kernel, stride, strict=True)]
            halves = [(n // 2, n - n // 2) for n in wanted]
            return stride, tuple((a, b) if mode == "SAME_UPPER" else (b, a) for a, b in halves)
        case other:
            raise ValueError(f"auto_pad {other!r} does not exist")


def _one_or_two_axes(count: int) -> None:
    if count not in (1, 2):
        raise Refused(f"{count} spatial axes; only 1 or 2")
