"""Weights of a layer that share a few values: k-means in one dimension, with zero kept apart."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from converters.compression.pruning import weights, with_weights
from neuro.errors import BadInput
from neuro.graph import Graph

BITS = (1, 8)
"""Fewest and most bits of a shared value's index."""
ROUNDS = 300


@dataclass(frozen=True, eq=False)
class Shared:
    """The values of a layer and which of them every weight has: weight = values[index]."""

    values: Float[np.ndarray, "value"]
    index: Int[np.ndarray, "neuron ..."]


def clustered(graph: Graph, bits: int) -> tuple[Graph, dict[str, Shared]]:
    """`graph` with at most 2^bits different weights in each layer, and who shares what.

    Zero is one of the values of a layer that has zeros, and stays exact.

    Raises:
        BadInput: bits out of range.
    """
    if not BITS[0] <= bits <= BITS[1]:
        raise BadInput(f"{graph.name}: {bits} bits for shared weights; give {BITS[0]} to {BITS[1]}.")
    found = {name: shared(weight, 2**bits) for name, weight in weights(graph).items()}
    return with_weights(graph, {name: s.values[s.index] for name, s in found.items()}), found


def moved(found: Shared, weight: Float[np.ndarray, "neuron ..."]) -> Shared:
    """Who shares what, with the values that the weights have by now."""
    values = found.values.astype(np.float64).copy()
    values[found.index.ravel()] = weight.ravel()
    return Shared(values, found.index)


def shared(weight: Float[np.ndarray, "neuron ..."], most: int) -> Shared:
    """At most `most` values for the weights, float64, and the index of each weight's value."""
    flat = weight.astype(np.float64).ravel()
    alive = flat != 0
    if alive.all():
        values = lloyd(flat, most)
    else:
        others = lloyd(flat[alive], most - 1) if alive.any() and most > 1 else np.zeros(0)
        values = np.sort(np.append(others[others != 0], 0.0))
    index = nearest(values, flat)
    if not alive.all() and len(values) > 1:  # a weight that is there stays there, however close to zero
        others = np.flatnonzero(values)
        index = np.where(alive, others[nearest(values[others], flat)], np.flatnonzero(values == 0)[0])
    return Shared(values, index.reshape(weight.shape))


def lloyd(values: Float[np.ndarray, "value"], clusters: int) -> Float[np.ndarray, "cluster"]:
    """Centres of least squared distance by Lloyd's steps, rising, from centres spread evenly over the range.

    Deterministic; ends where nothing changes any more. Even spacing keeps the large weights, which are few and count
    most (Han 2016). A centre without values stays where it is; where there are no more different values than centres,
    these are the centres.
    """
    ordered = np.sort(values)
    distinct = np.unique(ordered)
    if len(distinct) <= clusters:
        return distinct
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    centres = np.linspace(ordered[0], ordered[-1], clusters) if clusters > 1 else ordered[:1]
    for _ in range(ROUNDS):
        edges = np.searchsorted(ordered, (centres[1:] + centres[:-1]) / 2)
        edges = np.concatenate([[0], edges, [len(ordered)]])
        size = np.diff(edges)
        moved = np.where(size > 0, np.diff(sums[edges]) / np.maximum(size, 1), centres)
        if (moved == centres).all():
            break
        centres = moved
    return centres


def nearest(values: Float[np.ndarray, "value"], of: Float[np.ndarray, "weight"]) -> Int[np.ndarray, "weight"]:
    """Index of the nearest of rising `values`; half way between two the upper one."""
    return np.searchsorted((values[1:] + values[:-1]) / 2, of, side="right")
