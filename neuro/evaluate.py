"""Executing float and integer graphs with JAX, a batch at a time; once, where that is all, with NumPy."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from neuro.attention import layer_norm, norm, product, softmax
from neuro.graph import Graph
from neuro.layers import (
    Activation,
    Add,
    AvgPool,
    Concat,
    Conv,
    Dense,
    Embedding,
    LayerNorm,
    MaxPool,
    MultiThreshold,
    NormNeurons,
    Op,
    Pad,
    Product,
    Relu,
    Reshape,
    Scale,
    Slice,
    Softmax,
    SoftmaxNeurons,
    SumPool,
    Threshold,
    Transpose,
)

Batch = TypeVar("Batch", Array, np.ndarray)
"""An array of JAX or of NumPy; what comes out is what went in."""
FEW = 16
"""Thresholds that are compared one at a time."""


def apply(op: Op, *inputs: Float[Batch, "batch ..."]) -> Float[Batch, "batch ..."]:
    """`op` on a batch in float32. With NumPy arrays nothing is compiled that NumPy can do: for what is done once, that
    takes longer than doing it.

    Integer graphs are executed in float32 as well: conversion proves every partial sum below 2^24 in magnitude, so
    each is represented exactly and the order of summation does not matter. `Threshold` divides in int32, since a
    float quotient may round up to the next integer.
    """
    if isinstance(inputs[0], np.ndarray):
        return np.asarray(_applied(op, inputs, np))
    return _applied(op, inputs, jnp)


def _applied(op: Op, inputs: tuple[Any, ...], xp) -> Any:
    """`op` by the functions of `xp`, NumPy's or JAX's, where both have them."""
    x = inputs[0]
    match op:
        case Dense() if xp is np:
            y = np.matmul(x, op.weight.astype(np.float32).T)
            return y if op.bias is None else y + _channelwise(op.bias, y.ndim)
        case Conv() | Dense():
            y = xp.asarray(weighted(op, jnp.asarray(op.weight, np.float32), jnp.asarray(x)))
            return y if op.bias is None else y + _channelwise(op.bias, y.ndim)
        case Scale():
            y = x * _constant(op.factor, x.ndim)
            y += _constant(op.offset, x.ndim)  # in place where NumPy has it
            return y
        case Relu():
            return xp.maximum(x, np.float32(0))
        case Activation():
            return op.function(x)
        case Embedding():
            return xp.asarray(op.table, np.float32)[x.astype(xp.int32)]
        case MaxPool():
            return _reduce(x, op, jax.lax.max, -np.inf)
        case SumPool():
            return _reduce(x, op, jax.lax.add, 0.0)
        case AvgPool():
            return xp.asarray(_reduce(x, op, jax.lax.add, 0.0)) / np.float32(np.prod(op.kernel))
        case Add():
            return x + inputs[1]
        case Concat():
            return xp.concatenate(inputs, axis=op.axis + 1)
        case Reshape():
            return x.reshape(x.shape[0], *op.shape)
        case Transpose():
            return x.transpose(0, *(i + 1 for i in op.order))
        case Pad():
            return xp.pad(x, ((0, 0), *op.pads))
        case Slice(axis=axis, start=start, stop=stop):
            return x[(slice(None),) * (axis + 1) + (slice(start, stop),)]
        case Product():
            return product(op, *(jnp.asarray(side) for side in inputs))
        case LayerNorm():
            return layer_norm(op, jnp.asarray(x))
        case Softmax():
            return jax.nn.softmax(x, axis=-1)
        case Threshold():
            threshold = op.threshold.astype(np.int32)
            membrane = x.astype(np.int32)
            membrane += _constant(op.bias + op.initial, x.ndim, np.int32)
            membrane //= threshold.reshape((1,) * (x.ndim - threshold.ndim) + threshold.shape)
            return xp.clip(membrane, 0, op.levels).astype(np.float32)
        case MultiThreshold() | SoftmaxNeurons() | NormNeurons():
            return waited(op, jnp.asarray(x).astype(jnp.int32)).astype(jnp.float32)
    raise TypeError(f"{type(op).__name__} cannot be executed")


def weighted(op: Conv | Dense, weight: Float[Array, "..."], x: Float[Array, "batch ..."]) -> Float[Array, "batch ..."]:
    """What `op` makes of a batch with other weights of the same shape and no bias; differentiable in both."""
    if isinstance(op, Dense):
        return jnp.matmul(x, weight.T, precision=jax.lax.Precision.HIGHEST)
    return jax.lax.conv_general_dilated(
        x,
        weight,
        window_strides=op.stride,
        padding=op.pads,
        rhs_dilation=op.dilation or None,
        feature_group_count=op.groups,
        precision=jax.lax.Precision.HIGHEST,
    )


def waited(
    op: MultiThreshold | SoftmaxNeurons | NormNeurons, membrane: Int[Array, "batch ..."]
) -> Int[Array, "batch ..."]:
    """The value of neurons that emit once their whole input has added up to `membrane`, which holds no bias yet."""
    match op:
        case SoftmaxNeurons():
            return softmax(op, membrane + _constant(op.bias, membrane.ndim, np.int32))
        case NormNeurons():
            return norm(op, membrane + _constant(op.bias, membrane.ndim, np.int32))
    return stepped(op, membrane)


def stepped(op: MultiThreshold, membrane: Int[Array, "batch ..."]) -> Int[Array, "batch ..."]:
    """The value of multi-threshold neurons whose input has added up to `membrane`.

    Many thresholds that all rise are searched by halves, others are compared one at a time.
    """
    ndim = membrane.ndim
    membrane = membrane + _constant(op.bias, ndim, np.int32)
    value = jnp.broadcast_to(_constant(op.start, ndim, np.int32), membrane.shape)
    by_channel = op.thresholds.shape[0] * op.thresholds.shape[1] == op.thresholds.size
    if len(op.signs) > FEW and by_channel and (op.signs > 0).all():
        return jnp.clip(value + _reached(op.thresholds, membrane), 0, op.levels)
    for threshold, sign in zip(op.thresholds, op.signs, strict=True):
        value = value + jnp.int32(sign) * (membrane >= _constant(threshold, ndim, np.int32)).astype(jnp.int32)
    return jnp.clip(value, 0, op.levels)


def _reached(thresholds: np.ndarray, membrane: Int[Array, "batch channel ..."]) -> Int[Array, "batch channel ..."]:
    """How many thresholds [step, channel or 1, ...] of its channel every membrane has reached."""
    steps, channels = thresholds.shape[:2]
    doublings = steps.bit_length()
    rows = np.full((2**doublings - 1, channels), np.iinfo(np.int32).max)
    rows[:steps] = np.sort(thresholds.reshape(steps, channels), axis=0)
    table = jnp.asarray(rows.ravel(), jnp.int32)
    column = jnp.arange(channels, dtype=jnp.int32).reshape(1, -1, *(1,) * (membrane.ndim - 2))
    found = jnp.zeros_like(membrane)
    for power in range(doublings - 1, -1, -1):
        further = found + jnp.int32(2**power)
        found = jnp.where(membrane >= table[(further - 1) * channels + column], further, found)
    return found


def evaluate(graph: Graph, x: Float[Batch, "batch ..."]) -> dict[str, Float[Batch, "batch ..."]]:
    """Every node's value for a batch of samples; in an integer graph `x` holds input counts."""
    values = {graph.input.name: x}
    for node in graph.nodes[1:]:
        values[node.name] = apply(node.op, *(values[i] for i in node.inputs))
    return values


def evaluator(graph: Graph, names: tuple[str, ...]) -> Callable:
    """A jitted function from a batch of samples to the values of the nodes `names`, in that order."""

    @jax.jit
    def run(x):
        values = evaluate(graph, x)
        return tuple(values[name] for name in names)

    return run


def _constant(array: np.ndarray, ndim: int, dtype: type = np.float32) -> np.ndarray:
    """`array` with leading axes of length one, so that it broadcasts against a batch without rank promotion."""
    return array.astype(dtype).reshape((1,) * (ndim - array.ndim) + array.shape)


def _channelwise(bias: np.ndarray, ndim: int) -> np.ndarray:
    return bias.astype(np.float32).reshape(1, -1, *(1,) * (ndim - 2))


def _reduce(x, op, function, start):
    return jax.lax.reduce_window(
        x,
        np.float32(start),  # a NumPy scalar, so that the reduction is recognised and can be transposed
        function,
        window_dimensions=(1, 1, *op.kernel),
        window_strides=(1, 1, *op.stride),
        padding=((0, 0), (0, 0), *op.pads),
    )
