"""Input counts times weights in integers, for a first stage that is one dense layer or convolution."""

from dataclasses import dataclass
from functools import partial
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy.lib.stride_tricks import sliding_window_view

from neuro import native
from neuro.graph import Graph
from neuro.layers import Conv, Dense, Input, Reshape, Shape
from neuro.stages import sources, stage
from neuro.trains import WORD

VECTORS = 4
"""Vectors of 32-bit lanes in a panel of weights; see kernels/product.cc."""
LARGEST = {"int8": 2**7 - 1, "int16": 2**15 - 1}
"""Of counts and weights, by what holds them: two products of bytes have to fit in 16 bits, so -128 is none of them."""
HEARD = 64
"""Counts that a neuron of a convolution hears, at most: they are copied for every position."""


@partial(jax.tree_util.register_dataclass, data_fields=["weights", "heard"], meta_fields=[])
@dataclass(frozen=True, eq=False)
class Entering:
    """Weights as the `product` kernels read them: of so many counts at a time as fill 32 bits; lanes beyond the neurons
    are zero. heard: which counts each position hears, beyond the last where there is none; None where the only position
    hears all."""

    weights: Int[Array | np.ndarray, "panel word lane each"]
    heard: Int[Array | np.ndarray, "position count"] | None = None

    def __call__(self, counts: Float[Array, "batch ..."]) -> Int[Array, "batch position lane"]:
        """What `counts` bring to every neuron."""
        panels, words, width, each = self.weights.shape
        batch, kind = counts.shape[0], str(self.weights.dtype)
        rows = counts.reshape(batch, -1).astype(kind)
        if self.heard is not None:
            rows = jnp.pad(rows, ((0, 0), (0, 1)))[:, jnp.asarray(self.heard)].reshape(batch * len(self.heard), -1)
        rows = jnp.pad(rows, ((0, 0), (0, each * words - rows.shape[1])))
        shape = jax.ShapeDtypeStruct((len(rows), 1, panels * width), jnp.int32)
        call = jax.ffi.ffi_call(native.target(f"product_{kind}", native.kernels().isa), shape)
        found = call(rows, jnp.asarray(self.weights))
        return found.reshape(batch, -1, panels * width)


def entering(graph: Graph, name: str) -> Entering | None:
    """The stage in front of population `name`, if it is one dense layer or one small convolution of the input's counts,
    without bias, and its numbers have 16 bits; None if it is anything else.

    Raises:
        NoKernels: there are none.
    """
    inner = [node for node in stage(graph, name) if not isinstance(node.op, Reshape)]
    if sources(graph, name) != [graph.input.name] or len(inner) != 1 or not isinstance(graph.input.op, Input):
        return None
    op, shape, levels = inner[0].op, graph.shapes[inner[0].inputs[0]], graph.input.op.levels
    if not isinstance(op, Dense | Conv) or op.bias is not None or levels is None:
        return None
    if not np.issubdtype(op.weight.dtype, np.integer):
        return None
    largest = max(levels, np.abs(op.weight.astype(np.int64)).max())
    kind = next((kind for kind, most in LARGEST.items() if largest <= most), None)
    if kind is None:
        return None
    if isinstance(op, Dense):
        return Entering(_panels(op.weight, kind)) if op.weight.shape[1] == prod(shape) else None
    if op.groups != 1 or prod(op.weight.shape[1:]) > HEARD:
        return None
    return Entering(_panels(op.weight.reshape(len(op.weight), -1), kind), _windows(op, shape))


def _windows(op: Conv, shape: Shape) -> Int[np.ndarray, "position count"]:
    """The counts that each position of a convolution hears, in the order of its weights."""
    size, kernel = prod(shape), op.weight.shape[2:]
    dilation = op.dilation or (1,) * len(kernel)
    ids = np.pad(np.arange(size).reshape(shape), ((0, 0), *op.pads), constant_values=size)
    spans = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    windows = sliding_window_view(ids, (len(ids), *spans))[0]  # [*place, channel, *span]
    every = (*(slice(None, None, s) for s in op.stride), slice(None), *(slice(None, None, d) for d in dilation))
    windows = windows[every]
    return windows.reshape(prod(windows.shape[: len(kernel)]), -1)


def _panels(weight: Int[np.ndarray, "neuron count"], kind: str) -> Int[np.ndarray, "panel word lane each"]:
    each, width = 4 // np.dtype(kind).itemsize, VECTORS * native.lane_bytes() // 4
    padded = np.pad(weight.astype(kind), ((0, -len(weight) % WORD), (0, -weight.shape[1] % each)))
    return np.ascontiguousarray(padded.reshape(-1, width, padded.shape[1] // each, each).swapaxes(1, 2))
