"""Input counts times weights in integers, for a stage in which every neuron hears every count."""

from dataclasses import dataclass
from functools import partial
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Int16

from neuro import native
from neuro.graph import Graph
from neuro.layers import Dense, Input, Reshape
from neuro.stages import sources, stage
from neuro.trains import WORD

VECTORS = 4
"""Vectors of 32-bit lanes in a panel of weights; see kernels/product.cc."""
LARGEST = 2**15 - 1


@partial(jax.tree_util.register_dataclass, data_fields=["weights"], meta_fields=[])
@dataclass(frozen=True, eq=False)
class Entering:
    """Weights as the `product` kernel reads them, two counts at a time; lanes beyond the neurons are zero."""

    weights: Int16[Array | np.ndarray, "panel pair lane 2"]

    def __call__(self, counts: Float[Array, "batch ..."]) -> Int[Array, "batch 1 lane"]:
        """What `counts` bring to every neuron, in one position."""
        panels, pairs, width, _ = self.weights.shape
        flat = counts.reshape(counts.shape[0], -1).astype(jnp.int16)
        flat = jnp.pad(flat, ((0, 0), (0, 2 * pairs - flat.shape[1])))
        shape = jax.ShapeDtypeStruct((len(flat), 1, panels * width), jnp.int32)
        call = jax.ffi.ffi_call(native.target("product", native.kernels().isa), shape)
        return call(flat, jnp.asarray(self.weights))


def entering(graph: Graph, name: str) -> Entering | None:
    """The stage in front of population `name`, if it is one dense layer without bias that hears the input's counts and
    its numbers have 16 bits; None if it is anything else.

    Raises:
        NoKernels: there are none.
    """
    ops = [node.op for node in stage(graph, name) if not isinstance(node.op, Reshape)]
    hears = [graph[source].op for source in sources(graph, name)]
    match ops, hears:
        case [Dense(weight=weight, bias=None)], [Input(shape=shape, levels=int(levels))] if levels <= LARGEST:
            whole = np.issubdtype(weight.dtype, np.integer) and np.abs(weight.astype(np.int64)).max() <= LARGEST
            return Entering(_panels(weight)) if whole and weight.shape[1] == prod(shape) else None
    return None


def _panels(weight: Int[np.ndarray, "neuron count"]) -> Int16[np.ndarray, "panel pair lane 2"]:
    neurons, counts = weight.shape
    width = VECTORS * native.lane_bytes() // 4
    padded = np.pad(weight.astype(np.int16), ((0, -neurons % WORD), (0, counts % 2)))
    return np.ascontiguousarray(padded.reshape(-1, width, padded.shape[1] // 2, 2).swapaxes(1, 2))
