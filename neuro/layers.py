"""The operators a graph is made of, and the shape each gives.

Shapes are per sample: channels first, then space. Weights are NumPy arrays; an operator is a value, never changed.
Float graphs use all but `SumPool` and those in `FIRING`; integer and spiking graphs use `Input`, `Conv`, `Dense`,
`SumPool`, `MaxPool`, `Add`, `Concat`, `Reshape`, `Transpose`, `Pad`, `Slice`, `Product` and `FIRING`, with integers.
"""

from dataclasses import dataclass
from math import prod
from typing import Literal, TypeAlias

import numpy as np

from neuro.activations import Function

Shape: TypeAlias = tuple[int, ...]
Pads: TypeAlias = tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class Input:
    """Where samples enter. `levels`: the largest input count (integer and spiking graphs)."""

    shape: Shape
    levels: int = 0


@dataclass(frozen=True, eq=False)
class Conv:
    """Cross-correlation. weight [out, in/groups, *kernel], bias [out] or None; pads (before, after) per axis.

    dilation: distance of a kernel's values on the map, by axis; empty for neighbours.
    """

    weight: np.ndarray
    bias: np.ndarray | None
    stride: tuple[int, ...]
    pads: Pads
    groups: int = 1
    dilation: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Dense:
    """Matrix product. weight [out, in], bias [out] or None; the input must be flat."""

    weight: np.ndarray
    bias: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Scale:
    """factor · x + offset; both broadcast against the sample's shape (batch norm, mean and scale)."""

    factor: np.ndarray
    offset: np.ndarray


@dataclass(frozen=True)
class Relu:
    """max(x, 0)."""


@dataclass(frozen=True)
class Activation:
    """Another function of each value: see `neuro.activations`."""

    function: Function


@dataclass(frozen=True, eq=False)
class Embedding:
    """Rows of a table [entry, feature] by whole numbers: features become a last axis. Done before the first spike."""

    table: np.ndarray


@dataclass(frozen=True)
class MaxPool:
    """Largest value of each window; padding never wins."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pads: Pads


@dataclass(frozen=True)
class AvgPool:
    """Mean of each window; padded zeros count (``count_include_pad``)."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pads: Pads


@dataclass(frozen=True)
class SumPool:
    """Sum of each window: the average pool of integer graphs, its 1/k folded into a scale."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pads: Pads


@dataclass(frozen=True)
class Add:
    """Sum of two inputs of one shape."""


@dataclass(frozen=True)
class Concat:
    """Two or more inputs one behind the other along an axis of the sample, counted from 0."""

    axis: int


@dataclass(frozen=True)
class Reshape:
    """The same values in row-major order under another shape."""

    shape: Shape


@dataclass(frozen=True)
class Transpose:
    """Axes of the sample permuted; `order` counts them from 0, the batch axis not among them."""

    order: tuple[int, ...]


@dataclass(frozen=True)
class Pad:
    """Zeros around the sample, (before, after) for every axis."""

    pads: Pads


@dataclass(frozen=True)
class Slice:
    """The values from `start` up to `stop` along an axis of the sample, counted from 0."""

    axis: int
    start: int
    stop: int


@dataclass(frozen=True)
class Product:
    """Matrix product of two inputs over their last two axes, pair by pair of those before.

    factor · Σ_k (A_ik - zeros[0]) (B_kj - zeros[1]). Integer graphs have the factor 1, and in `zeros` the counts that
    stand for zero; float graphs have no zeros.
    """

    zeros: tuple[int, int] = (0, 0)
    factor: float = 1.0


@dataclass(frozen=True, eq=False)
class LayerNorm:
    """(x - mean) / sqrt(variance + epsilon) · gain + offset over the last axis; gain, offset [last axis]."""

    gain: np.ndarray
    offset: np.ndarray
    epsilon: float


@dataclass(frozen=True)
class Softmax:
    """Softmax over the last axis; behind the last layer it does not change the decision."""


@dataclass(frozen=True, eq=False)
class Threshold:
    """Integer activation clip(⌊(V + bias + ⌊th/2⌋) / th⌋, 0, levels) of `reference` networks and of neurons.

    threshold, bias: int64, broadcastable to the sample's shape, threshold >= 1. start: the membrane at the beginning,
    ⌊th/2⌋ or 0 (then in place of ⌊th/2⌋ in the equation). reset: what a spike leaves of the membrane under the rate
    code, V - th or 0; exact codes know subtraction alone.
    """

    threshold: np.ndarray
    bias: np.ndarray
    levels: int
    start: Literal["half", "zero"] = "half"
    reset: Literal["subtract", "zero"] = "subtract"

    @property
    def initial(self) -> np.ndarray:
        """The membrane at the beginning, without the bias; shape of `threshold`."""
        return self.threshold // 2 if self.start == "half" else np.zeros_like(self.threshold)


@dataclass(frozen=True, eq=False)
class MultiThreshold:
    """Integer activation clip(start + Σ_k sign_k [V + bias ≥ threshold_k], 0, levels) of `reference` networks.

    thresholds: int64 [step, *shape], broadcastable to [step, *sample]; signs: int64 [step], each 1 or -1; start: the
    value below all thresholds, and bias, both int64 and broadcastable to the sample's shape. Any function of one value
    with `levels` steps has this form; the neuron emits its value once its input is complete.
    """

    thresholds: np.ndarray
    signs: np.ndarray
    start: np.ndarray
    bias: np.ndarray
    levels: int


@dataclass(frozen=True, eq=False)
class SoftmaxNeurons:
    """Integer softmax over the last axis: clip(⌊(E · whole + ⌊S/2⌋) / S⌋, 0, levels), S = Σ E of the group.

    E = table[⌊(max - V + ⌊divisor/2⌋) / divisor⌋], max over the group, V with its bias; beyond the table its last entry
    counts. table: int64 [entry], falling; bias: int64, broadcastable to the sample's shape; whole: the value of one.
    The neurons emit once the input of their whole group is complete.
    """

    bias: np.ndarray
    table: np.ndarray
    divisor: int
    whole: int
    levels: int


@dataclass(frozen=True, eq=False)
class NormNeurons:
    """Integer layer norm over the last axis: clip(⌊(gain · R + offset) / 2^shift⌋, 0, levels).

    R: each difference from the group's mean over the root of their sum of squares, see `neuro.attention.norm`. gain,
    offset: int64 [last axis]; bias: int64, broadcastable to the sample's shape; bits: those that differences are
    brought to; extra: int64 [32], what epsilon adds to the squares, by the bits that the largest difference had. The
    neurons emit once the input of their whole group is complete.
    """

    bias: np.ndarray
    gain: np.ndarray
    offset: np.ndarray
    extra: np.ndarray
    bits: int
    shift: int
    levels: int


Op: TypeAlias = (
    Input | Conv | Dense | Scale | Relu | Activation | Embedding | MaxPool | AvgPool | SumPool | Add | Concat | Reshape
    | Transpose | Pad | Slice | Product | LayerNorm | Softmax
    | Threshold | MultiThreshold | SoftmaxNeurons | NormNeurons
)  # fmt: skip
GROUPED = (SoftmaxNeurons, NormNeurons)
"""The operators of integer graphs whose neurons need the membranes of their whole group, the last axis."""
FIRING = (Threshold, MultiThreshold, *GROUPED)
"""The operators of integer graphs that stand for neurons with a membrane."""


def arity(op: Op) -> tuple[int, int]:
    """How many inputs `op` takes: the fewest and the most."""
    match op:
        case Input():
            return 0, 0
        case Add() | Product():
            return 2, 2
        case Concat():
            return 2, 2**16
    return 1, 1


def span(op: Conv) -> Shape:
    """The size of a kernel on the map, dilation included."""
    kernel = op.weight.shape[2:]
    return tuple((k - 1) * d + 1 for k, d in zip(kernel, op.dilation or (1,) * len(kernel), strict=True))


def output_shape(op: Op, inputs: list[Shape]) -> Shape:
    """Shape of `op`'s result per sample.

    Raises:
        ValueError: the inputs do not fit the operator, or nothing would be left.
    """
    if isinstance(op, Input):
        return _positive(op.shape)
    first = inputs[0]
    match op:
        case Conv(weight=weight):
            if len(first) != weight.ndim - 1 or first[0] != weight.shape[1] * op.groups or weight.shape[0] % op.groups:
                raise ValueError(f"weight {weight.shape} with {op.groups} group(s) does not fit an input of {first}")
            _bias_fits(op.bias, weight.shape[0])
            if op.dilation and (len(op.dilation) != weight.ndim - 2 or min(op.dilation) < 1):
                raise ValueError(f"dilation {op.dilation} does not fit a kernel of {weight.shape[2:]}")
            return (weight.shape[0], *_windows(first[1:], span(op), op.stride, op.pads))
        case Dense(weight=weight):
            if weight.ndim != 2 or first != (weight.shape[1],):
                raise ValueError(f"weight {weight.shape} does not fit an input of {first}")
            _bias_fits(op.bias, weight.shape[0])
            return (weight.shape[0],)
        case MaxPool() | AvgPool() | SumPool():
            return (first[0], *_windows(first[1:], op.kernel, op.stride, op.pads))
        case Scale():
            if np.broadcast_shapes(first, op.factor.shape, op.offset.shape) != first:
                raise ValueError(f"factor {op.factor.shape} and offset {op.offset.shape} do not fit {first}")
            return first
        case Threshold():
            if np.broadcast_shapes(first, op.threshold.shape, op.bias.shape) != first:
                raise ValueError(f"threshold {op.threshold.shape} and bias {op.bias.shape} do not fit {first}")
            if (op.threshold < 1).any() or op.levels < 1:
                raise ValueError("thresholds and levels must be at least 1")
            return first
        case MultiThreshold():
            shapes = (op.thresholds.shape[1:], op.start.shape, op.bias.shape)
            if np.broadcast_shapes(first, *shapes) != first or op.signs.shape != op.thresholds.shape[:1]:
                raise ValueError(f"thresholds {op.thresholds.shape}, start and bias {shapes[1:]} do not fit {first}")
            if op.levels < 1 or not len(op.signs) or not np.isin(op.signs, (-1, 1)).all():
                raise ValueError("levels must be at least 1, and every sign 1 or -1")
            return first
        case Embedding(table=table):
            if table.ndim != 2 or 0 in table.shape:
                raise ValueError(f"a table of {table.shape} has no entries or features")
            return (*first, table.shape[1])
        case Concat(axis=axis):
            others = [tuple(n for i, n in enumerate(shape) if i != axis) for shape in inputs]
            if not 0 <= axis < len(first) or any(len(s) != len(first) for s in inputs) or len(set(others)) > 1:
                raise ValueError(f"inputs of {inputs} cannot be joined along axis {axis}")
            return tuple(sum(s[axis] for s in inputs) if i == axis else n for i, n in enumerate(first))
        case Add():
            if inputs[0] != inputs[1]:
                raise ValueError(f"inputs of {inputs[0]} and {inputs[1]} cannot be added")
            return first
        case Reshape(shape=shape):
            if prod(shape) != prod(first):
                raise ValueError(f"{first} cannot be reshaped to {shape}")
            return _positive(shape)
        case Transpose(order=order):
            if sorted(order) != list(range(len(first))):
                raise ValueError(f"order {order} does not permute the axes of {first}")
            return tuple(first[i] for i in order)
        case Pad(pads=pads):
            if len(pads) != len(first):
                raise ValueError(f"pads {pads} do not fit {first}")
            return _positive(tuple(n + a + b for n, (a, b) in zip(first, pads, strict=True)))
        case Slice(axis=axis, start=start, stop=stop):
            if not 0 <= axis < len(first) or not 0 <= start < stop <= first[axis]:
                raise ValueError(f"{first} has no values {start} to {stop} along axis {axis}")
            return tuple(stop - start if i == axis else n for i, n in enumerate(first))
        case Product():
            left, right = inputs
            if len(left) < 2 or len(left) != len(right) or left[:-2] != right[:-2] or left[-1] != right[-2]:
                raise ValueError(f"inputs of {left} and {right} have no matrix product")
            return (*left[:-1], right[-1])
        case LayerNorm():
            if not op.gain.shape == op.offset.shape == first[-1:] or op.epsilon < 0:
                raise ValueError(f"gain {op.gain.shape} and offset {op.offset.shape} do not fit {first}")
            return first
        case SoftmaxNeurons():
            if np.broadcast_shapes(first, op.bias.shape) != first or op.table.ndim != 1 or not len(op.table):
                raise ValueError(f"bias {op.bias.shape} and table {op.table.shape} do not fit {first}")
            if min(op.divisor, op.whole, op.levels, op.table[0]) < 1 or op.table.min() < 0:
                raise ValueError("divisor, value of one, levels and first entry of the table must be at least 1")
            return first
        case NormNeurons():
            if np.broadcast_shapes(first, op.bias.shape) != first or not op.gain.shape == op.offset.shape == first[-1:]:
                raise ValueError(f"bias {op.bias.shape}, gain {op.gain.shape} and offset do not fit {first}")
            if op.levels < 1 or op.extra.shape != (32,) or op.extra.min() < 0 or not 1 <= op.bits <= 14:
                raise ValueError("levels must be at least 1, bits 1 to 14, and epsilon given for 32 sizes")
            return first
        case Relu() | Softmax() | Activation():
            return first
    raise TypeError(op)


def _positive(shape: Shape) -> Shape:
    if not shape or min(shape) < 1:
        raise ValueError(f"shape {shape} is empty")
    return shape


def _bias_fits(bias: np.ndarray | None, channels: int) -> None:
    if bias is not None and bias.shape != (channels,):
        raise ValueError(f"bias {bias.shape} does not fit {channels} output(s)")


def _windows(size: Shape, kernel: Shape, stride: Shape, pads: Pads) -> Shape:
    if not len(size) == len(kernel) == len(stride) == len(pads):
        raise ValueError(f"kernel {kernel}, stride {stride} and pads {pads} do not fit a map of {size}")
    if min((*kernel, *stride), default=1) < 1:
        raise ValueError(f"kernel {kernel} and stride {stride} must be at least 1")
    return _positive(
        tuple((n + a + b - k) // s + 1 for n, k, s, (a, b) in zip(size, kernel, stride, pads, strict=True))
    )
