"""What each ATen operator becomes.

The meaning of operators and arguments is the one of PyTorch's documentation of `torch.nn.functional`; the names of
arguments are those of ATen's schemas.
"""

from math import prod

import numpy as np

from converters.importers import torch_functions, torch_shapes
from converters.importers.builder import spatial
from converters.importers.chain import Refused
from converters.importers.pointwise import Expression, View
from converters.importers.torch_call import Call
from converters.importers.torch_functions import ONE, TWO
from neuro.layers import AvgPool, Conv, MaxPool, Shape, span

SAME = (
    "alias", "clone", "contiguous", "detach", "detach_", "dropout", "feature_dropout", "alpha_dropout",
    "lift_fresh_copy", "type_as",
)  # fmt: skip
"""Operators that change no value in evaluation mode."""


def convert(call: Call) -> View | Expression:
    """What `call` gives, its layers emitted.

    Raises:
        Refused: there are none.
        NotKnown: it depends on the result of a refused operator.
        ValueError: the operator does not fit its inputs.
    """
    op, step, build = call.step.op, call.step, call.builder
    op = op.rstrip("_")
    if op in SAME:
        if any(step.arguments.get(k) is True for k in ("train", "training")):
            raise Refused("training mode")
        return call.stream("input" if "input" in step.arguments else "self")
    if op in ONE:
        return build.pointwise(step.layer, ONE[op], [call.stream("self")])
    if op in TWO:
        return torch_functions.arithmetic(call, op)
    match op:
        case "relu" | "relu6" | "hardtanh" | "clamp" | "clip" | "clamp_min" | "clamp_max":
            return torch_functions.clamped(call, op)
        case "leaky_relu" | "elu" | "selu" | "prelu" | "softplus" | "gelu" | "softsign" | "hardsigmoid" | "where":
            return torch_functions.function(call, op)
        case "to" | "_to_copy":
            return torch_functions.cast(call)
        case "conv1d" | "conv2d" | "convolution":
            return _conv(call)
        case "linear" | "addmm" | "mm" | "matmul":
            return _matrix(call, op)
        case "batch_norm" | "_native_batch_norm_legit_no_training" | "native_batch_norm" | "_native_batch_norm_legit":
            return _batch_norm(call)
        case "max_pool1d" | "max_pool2d" | "max_pool2d_with_indices" | "avg_pool1d" | "avg_pool2d":
            return _pool(call, op)
        case "adaptive_avg_pool1d" | "adaptive_avg_pool2d" | "_adaptive_avg_pool2d":
            return _adaptive(call, AvgPool)
        case "adaptive_max_pool1d" | "adaptive_max_pool2d":
            return _adaptive(call, MaxPool)
        case "mean" | "sum" | "amax":
            return _reduce(call, op)
        case "cat" | "concat" | "concatenate":
            return torch_shapes.concat(call)
        case "pad" | "constant_pad_nd":
            return torch_shapes.pad(call)
        case "embedding":
            return build.embedding(step.layer, call.stream("indices"), call.constant("weight"))
        case "softmax" | "_softmax" | "log_softmax" | "_log_softmax":
            return _softmax(call)
    return torch_shapes.moved(call, op)


def _conv(call: Call) -> View:
    x, weight = call.view("input"), call.constant("weight")
    kernel = weight.shape[2:]
    spatial(len(kernel))
    if call.get("transposed", False):
        raise Refused("a transposed convolution")
    if len(x.shape) != weight.ndim - 1:
        raise Refused("an input without a batch axis")
    bias = call.constant("bias") if call.has("bias") else None
    dilation, stride = (call.ints(name, len(kernel), 1) for name in ("dilation", "stride"))
    groups, padding = call.get("groups", 1), call.get("padding", 0)
    bare = Conv(weight, bias, stride, (), groups, dilation if set(dilation) != {1} else ())
    if padding == "same":
        wanted = [n - 1 for n in span(bare)]
        pads = tuple((n // 2, n - n // 2) for n in wanted)
    elif isinstance(padding, str):
        pads = ((0, 0),) * len(kernel)
    else:
        pads = tuple((n, n) for n in call.ints("padding", len(kernel), 0))
    return call.builder.conv(call.step.layer, x, Conv(weight, bias, stride, pads, groups, bare.dilation))


def _matrix(call: Call, op: str) -> View:
    first, second = {"linear": ("input", "weight"), "addmm": ("mat1", "mat2")}.get(
        op, ("self", "other" if op == "matmul" else "mat2")
    )
    if isinstance(call.value(first), np.ndarray):
        raise Refused("its left operand is a constant; only the right one may be")
    x, weight = call.view(first), call.constant(second)
    if weight.ndim != 2:
        raise Refused(f"its right operand has {weight.ndim} axes; only a matrix is supported")
    weight = np.ascontiguousarray(weight if op == "linear" else weight.T) * np.float32(call.get("alpha", 1))
    bias = None
    if op == "addmm":
        addend = call.constant("self") * np.float32(call.get("beta", 1))
        bias = np.ascontiguousarray(np.broadcast_to(addend, (1, len(weight)))[0])
    elif call.has("bias"):
        bias = call.constant("bias")
    return call.builder.matrix(call.step.layer, x, len(x.shape) - 1, weight, bias)


def _batch_norm(call: Call) -> View:
    if call.get("training", False):
        raise Refused("training mode: statistics of the batch")
    if not call.has("running_mean") or not call.has("running_var"):
        raise Refused("no running statistics; train it with track_running_stats=True")
    x = call.view("input")
    mean, variance = (call.constant(name).astype(np.float64) for name in ("running_mean", "running_var"))
    gain = call.constant("weight").astype(np.float64) if call.has("weight") else np.ones(len(mean))
    shift = call.constant("bias").astype(np.float64) if call.has("bias") else np.zeros(len(mean))
    factor = gain / np.sqrt(variance + call.get("eps", 1e-5))
    column = (-1, *(1,) * (len(x.shape) - 1))
    return call.builder.scale(call.step.layer, x, factor.reshape(column), (shift - mean * factor).reshape(column))


def _pool(call: Call, op: str) -> View:
    x, axes = call.view("self"), 1 if "1d" in op else 2
    if len(x.shape) != axes + 1:
        raise Refused("an input without a batch axis")
    kernel = call.ints("kernel_size", axes)
    stride = call.ints("stride", axes) if call.get("stride") else kernel
    padding = call.ints("padding", axes, 0)
    if set(call.ints("dilation", axes, 1)) != {1}:
        raise Refused("windows with dilation")
    size = x.shape[1:]
    if call.get("ceil_mode", False) and any(
        (n + 2 * p - k) % s for n, k, s, p in zip(size, kernel, stride, padding, strict=True)
    ):
        raise Refused(f"ceil_mode adds windows beyond the edge of {size}")
    pads = tuple((p, p) for p in padding)
    kind, build, layer = (AvgPool if op.startswith("avg") else MaxPool), call.builder, call.step.layer
    y = build.pool(layer, x, kind, (1, *kernel), (1, *stride), ((0, 0), *pads))
    if kind is AvgPool and (divisor := call.get("divisor_override")):
        return build.scale(f"{layer}_divisor", y, prod(kernel) / divisor, 0.0)
    if kind is AvgPool and any(padding) and not call.get("count_include_pad", True):
        return build.scale(f"{layer}_count", y, prod(kernel) / _counts(size, kernel, stride, pads), 0.0)
    return y


def _counts(size: Shape, kernel: Shape, stride: Shape, pads: tuple) -> np.ndarray:
    """How many values of each window are not padding."""
    result = np.ones((), np.float64)
    for n, k, s, (a, b) in zip(size, kernel, stride, pads, strict=True):
        begins = np.arange(0, n + a + b - k + 1, s)
        result = result[..., None] * (np.minimum(begins + k, n + a) - np.maximum(begins, a))
    return result


def _adaptive(call: Call, kind: type) -> View:
    x = call.view("self")
    size = x.shape[1:]
    given = call.get("output_size")
    wanted = given if isinstance(given, list) else [given]
    wanted = [
        n if w is None else w for n, w in zip(size, wanted * len(size) if len(wanted) == 1 else wanted, strict=True)
    ]
    if any(n % w for n, w in zip(size, wanted, strict=True)):
        raise Refused(f"a map of {size} cannot be cut into {wanted} equal parts")
    kernel = (1, *(n // w for n, w in zip(size, wanted, strict=True)))
    return call.builder.pool(call.step.layer, x, kind, kernel, kernel, ((0, 0),) * len(kernel))


def _reduce(call: Call, op: str) -> View:
    x, build, layer = call.view("self"), call.builder, call.step.layer
    rank = len(x.shape) + 1
    dims = call.get("dim")
    axes = call.axes(dims if isinstance(dims, list) else [dims], rank) if dims not in (None, []) else list(range(rank))
    if 0 in axes:
        raise Refused("it reduces the batch axis")
    inner = [a - 1 for a in axes]
    kind = MaxPool if op == "amax" else AvgPool
    y = build.reduce(layer, x, kind, inner, bool(call.get("keepdim", False)))
    return build.scale(f"{layer}_count", y, float(prod(x.shape[a] for a in inner)), 0.0) if op == "sum" else y


def _softmax(call: Call) -> View:
    x = call.view("self")
    if not call.last:
        raise Refused("only the last layer may be a softmax")
    if len(x.shape) != 1 or call.axis("dim", 2) != 1:
        raise Refused(f"axis {call.get('dim')} of an input of {x.shape}; only over a flat sample")
    return call.builder.softmax(call.step.layer, x)
