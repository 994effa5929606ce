"""What each Keras layer becomes. Meanings are those of the Keras API reference, https://keras.io/api/layers."""

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from converters.importers import keras_recurrent
from converters.importers.keras_call import Layer
from converters.importers.keras_functions import LAYERS, of_activation, of_layer
from converters.importers.layout import Builder, Stream, same_pads
from converters.importers.onnx_call import Refused
from neuro.layers import AvgPool, Conv, MaxPool, Op, Pads, Shape, Softmax

IDLE = (
    "Dropout", "SpatialDropout1D", "SpatialDropout2D", "GaussianDropout", "GaussianNoise", "AlphaDropout",
    "ActivityRegularization", "Identity",
)  # fmt: skip
"""Layers that change nothing once trained."""
MERGES = ("Add", "Concatenate")
"""Layers of several inputs."""
CODE = ("Lambda", "TFOpLambda", "SlicingOpLambda")
"""Layers that hold code or stand for it."""


def check(layer: Layer) -> None:
    """Refuse what no input could make fit: an unknown layer or activation function."""
    if layer.kind in CODE:
        raise Refused("it holds code, which is never run")
    if layer.module.startswith("keras.src.ops") and layer.kind != "Add":
        raise Refused("an operation outside of a layer")
    if layer.kind in keras_recurrent.RECURRENT:
        return keras_recurrent.check(layer)
    if layer.kind not in (*IDLE, *LAYERS, *MERGES) and _conversion(layer.kind) is None:
        raise Refused("no layer here does this")
    of_activation(layer)


def convert(build: Builder, layer: Layer, inputs: Sequence[Stream]) -> Stream:
    """The layers that do what `layer` does, added to `build`, and what they give.

    Raises:
        Refused: there are none.
        ValueError: the layer does not fit its inputs, or its options are malformed.
        BadInput: its weights are missing or damaged.
    """
    if layer.kind in MERGES:
        return _merge(build, layer, inputs)
    if len(inputs) != 1:
        raise Refused(f"{len(inputs)} inputs; only one")
    if layer.kind in IDLE:
        return inputs[0]
    if layer.kind in LAYERS:
        return _applied(build, inputs[0], layer.name, of_layer(layer.kind, layer.config))
    if layer.kind in keras_recurrent.RECURRENT:
        return keras_recurrent.convert(build, layer, inputs[0])
    conversion = _conversion(layer.kind)
    assert conversion is not None, "check() comes first"
    return conversion(build, layer, inputs[0])


def _applied(build: Builder, x: Stream, name: str, op: Op | None) -> Stream:
    if op is None:
        return x
    return build.softmax(x, name) if isinstance(op, Softmax) else build.each(x, name, op)


def _activated(build: Builder, layer: Layer, x: Stream) -> Stream:
    op = of_activation(layer)
    return _applied(build, x, f"{layer.name}_{'softmax' if isinstance(op, Softmax) else 'activation'}", op)


def _activation(build: Builder, layer: Layer, x: Stream) -> Stream:
    return _applied(build, x, layer.name, of_activation(layer))


def _merge(build: Builder, layer: Layer, inputs: Sequence[Stream]) -> Stream:
    if layer.kind == "Add":
        if len(inputs) < 2:
            raise Refused(f"{len(inputs)} inputs from the network; at least two are added")
        return build.summed(inputs, layer.name)
    if len(inputs) == 1:
        return inputs[0]
    return build.joined(inputs, layer.name, _axis(layer.whole("axis", -1), inputs[0]))


def _axis(axis: int, x: Stream) -> int:
    """An axis counted with the batch as one of the sample."""
    rank = len(x.shape) + 1
    counted = axis + rank if axis < 0 else axis
    if not 1 <= counted < rank:
        raise Refused(f"axis {axis} of {rank} is the batch or does not exist")
    return counted - 1


def _dense(build: Builder, layer: Layer, x: Stream) -> Stream:
    kernel, *bias = layer.weights("kernel", *(("bias",) if layer.flag("use_bias", True) else ()))
    weight = np.ascontiguousarray(_ranked(kernel, 2).T, np.float32)
    return _activated(build, layer, build.dense(x, layer.name, weight, _first(bias)))


def _first(bias: list[np.ndarray]) -> np.ndarray | None:
    return bias[0].astype(np.float32) if bias else None


def _ranked(array: np.ndarray, axes: int) -> np.ndarray:
    if array.ndim != axes:
        raise ValueError(f"its weight {array.shape} has not {axes} axes")
    return array


def _conv(build: Builder, layer: Layer, x: Stream) -> Stream:
    """Kernels lie as [*kernel, in / groups, out], depthwise ones as [*kernel, in, multiplier]."""
    axes = 1 if layer.kind.endswith("1D") else 2
    if len(x.shape) != axes + 1:
        raise ValueError(f"{layer.kind} does not fit an input of {x.shape}")
    depthwise = not layer.kind.startswith("Conv")
    separable = layer.kind.startswith("Separable")
    roles = ("depthwise_kernel", "pointwise_kernel") if separable else ("kernel",)
    kernel, *rest = layer.weights(*roles, *(("bias",) if layer.flag("use_bias", True) else ()))
    kernel = _ranked(kernel, axes + 2)
    if kernel.shape[:-2] != layer.wholes("kernel_size", axes):
        raise ValueError(f"kernel_size {layer.config.get('kernel_size')} differs from its weight's {kernel.shape}")
    channels = layer.channels()
    inputs = x.shape[channels]
    groups = inputs if depthwise else layer.whole("groups", 1)
    if groups < 1:
        raise ValueError(f"groups {groups}")
    if depthwise:
        kernel = kernel.reshape(*kernel.shape[:-2], 1, -1)
    stride, dilation = layer.wholes("strides", axes, 1), layer.wholes("dilation_rate", axes, 1)
    if min(*stride, *dilation, *kernel.shape) < 1:
        raise ValueError(f"strides {stride} and dilation_rate {dilation} must be at least 1")
    span = tuple((k - 1) * d + 1 for k, d in zip(kernel.shape[:-2], dilation, strict=True))
    pads = _pads(layer, _map(x, channels), span, stride)
    bias = None if separable else _first(rest)
    op = Conv(_weight(kernel), bias, stride, pads, groups, dilation if max(dilation) > 1 else ())
    y = build.windowed(x, f"{layer.name}_depthwise" if separable else layer.name, op, channels)
    if separable:
        none, ones = ((0, 0),) * axes, (1,) * axes
        y = build.windowed(y, layer.name, Conv(_weight(_ranked(rest[0], axes + 2)), _first(rest[1:]), ones, none))
    return _activated(build, layer, y)


def _weight(kernel: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(kernel, (-1, -2), (0, 1)), np.float32)


def _map(x: Stream, channels: int) -> Shape:
    return tuple(n for i, n in enumerate(x.shape) if i != channels % len(x.shape))


def _pads(layer: Layer, size: Shape, span: Shape, stride: Shape) -> Pads:
    match layer.text("padding", "valid"):
        case "valid":
            return ((0, 0),) * len(size)
        case "same":
            return same_pads(size, span, stride)
        case "causal" if len(size) == 1:
            return ((span[0] - 1, 0),)
        case other:
            raise ValueError(f"padding {other!r} does not exist")


def _pool(build: Builder, layer: Layer, x: Stream) -> Stream:
    axes = 1 if layer.kind.endswith("1D") else 2
    if len(x.shape) != axes + 1:
        raise ValueError(f"{layer.kind} does not fit an input of {x.shape}")
    kernel = layer.wholes("pool_size", axes, 2)
    stride = layer.wholes("strides", axes) if layer.config.get("strides") is not None else kernel
    if min(*kernel, *stride) < 1:
        raise ValueError(f"pool_size {kernel} and strides {stride} must be at least 1")
    channels = layer.channels()
    pads = _pads(layer, _map(x, channels), kernel, stride)
    if layer.kind.startswith("Average") and any(map(any, pads)):
        raise Refused("padding='same' leaves the padding out of the mean; use padding='valid'")
    kind = MaxPool if layer.kind.startswith("Max") else AvgPool
    return build.windowed(x, layer.name, kind(kernel, stride, pads), channels)


def _global_pool(build: Builder, layer: Layer, x: Stream) -> Stream:
    if len(x.shape) != (2 if layer.kind.endswith("1D") else 3):
        raise ValueError(f"{layer.kind} does not fit an input of {x.shape}")
    keep = layer.flag("keepdims", False)
    return build.averaged(x, layer.name, keep, layer.channels(), "Max" in layer.kind)


def _along(values: np.ndarray, axis: int, x: Stream) -> np.ndarray:
    """One value for each entry of an axis of the sample."""
    if values.shape != (x.shape[axis],):
        raise ValueError(f"{values.shape} values do not fit axis {axis} of {x.shape}")
    return values.astype(np.float32).reshape(-1, *(1,) * (len(x.shape) - axis - 1))


def _batch_norm(build: Builder, layer: Layer, x: Stream) -> Stream:
    scale, center = layer.flag("scale", True), layer.flag("center", True)
    roles = (*(("gamma",) if scale else ()), *(("beta",) if center else ()), "moving_mean", "moving_variance")
    arrays = {r: a.astype(np.float64) for r, a in zip(roles, layer.weights(*roles), strict=True)}
    axis = _axis(layer.wholes("axis", 1, -1)[0], x)
    variance = arrays["moving_variance"]
    factor = arrays.get("gamma", np.ones_like(variance)) / np.sqrt(variance + layer.number("epsilon", 1e-3))
    offset = arrays.get("beta", np.zeros_like(variance)) - arrays["moving_mean"] * factor
    return build.scaled(x, layer.name, _along(factor, axis, x), _along(offset, axis, x))


def _normalization(build: Builder, layer: Layer, x: Stream) -> Stream:
    """(x - mean) / max(√variance, 1e-7), the statistics given as options or learned."""
    if layer.flag("invert", False):
        raise Refused("invert=True")
    mean, variance = layer.numbers("mean"), layer.numbers("variance")
    if mean is None or variance is None:
        mean, variance, _ = (a.astype(np.float64) for a in layer.weights("mean", "variance", "count"))
    factor = np.asarray(1 / np.maximum(np.sqrt(variance), 1e-7))
    offset = np.asarray(-mean * factor)
    if factor.size == offset.size == 1:
        return build.scaled(x, layer.name, factor.reshape(()), offset.reshape(()))
    axis = _axis(layer.wholes("axis", 1, -1)[0], x)
    return build.scaled(x, layer.name, _along(factor.ravel(), axis, x), _along(offset.ravel(), axis, x))


def _rescaling(build: Builder, layer: Layer, x: Stream) -> Stream:
    factor, offset = layer.numbers("scale"), layer.numbers("offset")
    if factor is None:
        raise ValueError("its scale is missing")
    return build.scaled(x, layer.name, factor, np.zeros(()) if offset is None else offset)


def _embedding(build: Builder, layer: Layer, x: Stream) -> Stream:
    if layer.flag("mask_zero", False):
        raise Refused("mask_zero=True hides tokens from later layers")
    (table,) = layer.weights("embeddings")
    return build.looked_up(x, layer.name, table.astype(np.float32))


def _flatten(build: Builder, layer: Layer, x: Stream) -> Stream:
    if layer.channels() == 0 and len(x.shape) > 1:
        raise Refused("data_format channels_first, whose order differs between versions; use Reshape")
    return build.reshaped(x, layer.name, (prod(x.shape),))


def _reshape(build: Builder, layer: Layer, x: Stream) -> Stream:
    target = layer.wholes("target_shape", None)
    rest = prod(n for n in target if n != -1)
    if target.count(-1) > 1 or any(n < 1 and n != -1 for n in target):
        raise ValueError(f"target_shape {target}")
    return build.reshaped(x, layer.name, tuple(prod(x.shape) // rest if n == -1 else n for n in target))


def _permute(build: Builder, layer: Layer, x: Stream) -> Stream:
    return build.permuted(x, [n - 1 for n in layer.wholes("dims", None)])


def _zero_padding(build: Builder, layer: Layer, x: Stream) -> Stream:
    axes = 1 if layer.kind.endswith("1D") else 2
    if len(x.shape) != axes + 1:
        raise ValueError(f"{layer.kind} does not fit an input of {x.shape}")
    value = layer.config.get("padding", 1)
    sides = [value] * axes if isinstance(value, int) else [value] if axes == 1 else value
    pairs = [(s, s) if isinstance(s, int) else tuple(s) for s in sides]
    if len(pairs) != axes or any(len(p) != 2 or any(type(n) is not int or n < 0 for n in p) for p in pairs):
        raise ValueError(f"padding {value!r}")
    pairs.insert(axes if layer.channels() else 0, (0, 0))
    return build.padded(x, layer.name, tuple((p[0], p[1]) for p in pairs))


def _conversion(kind: str) -> Callable[[Builder, Layer, Stream], Stream] | None:
    """What converts a layer of one input."""
    match kind:
        case "Activation":
            return _activation
        case "Dense":
            return _dense
        case "Conv1D" | "Conv2D" | "DepthwiseConv1D" | "DepthwiseConv2D" | "SeparableConv1D" | "SeparableConv2D":
            return _conv
        case "MaxPooling1D" | "MaxPooling2D" | "AveragePooling1D" | "AveragePooling2D":
            return _pool
        case "GlobalMaxPooling1D" | "GlobalMaxPooling2D" | "GlobalAveragePooling1D" | "GlobalAveragePooling2D":
            return _global_pool
        case "BatchNormalization" | "BatchNormalizationV1" | "BatchNormalizationV2":
            return _batch_norm
        case "Normalization":
            return _normalization
        case "Rescaling":
            return _rescaling
        case "Embedding":
            return _embedding
        case "Flatten":
            return _flatten
        case "Reshape":
            return _reshape
        case "Permute":
            return _permute
        case "ZeroPadding1D" | "ZeroPadding2D":
            return _zero_padding
    return None
