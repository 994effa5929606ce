"""Zeros in the weights of a float graph: the smallest ones, or two of every four.

Weights of several layers are compared by what they are among those of their own layer that are left (Lee 2021, LAMP),

    score(w) = w^2 / sum of v^2 over the weights v of the layer with |v| >= |w|,

since the weights of a layer on pixel counts are a hundred times smaller than those of the next.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np

from neuro.errors import BadInput
from neuro.graph import Graph
from neuro.layers import Conv, Dense

Scope = Literal["global", "layer"]
"""Whether one share holds for all layers together or for each of them."""
GROUP, KEPT = 4, 2


def weights(graph: Graph) -> dict[str, np.ndarray]:
    """The weights of every `Conv` and `Dense`, by layer; one synapse per neuron (`Scale`) is no weight of these."""
    return {n.name: n.op.weight for n in graph.nodes if isinstance(n.op, Conv | Dense)}


def with_weights(graph: Graph, changed: Mapping[str, np.ndarray]) -> Graph:
    """`graph` with other weights in the layers named."""
    nodes = (
        replace(n, op=replace(n.op, weight=changed[n.name]))
        if n.name in changed and isinstance(n.op, Conv | Dense)
        else n
        for n in graph.nodes
    )
    return Graph(graph.name, tuple(nodes))


def size(graph: Graph, zeros: bool = True) -> int:
    """How many weights there are, or how many that are not zero."""
    return sum(int(w.size if zeros else (w != 0).sum()) for w in weights(graph).values())


def zero_share(graph: Graph) -> float:
    """Share of the weights that are zero."""
    return 1 - size(graph, zeros=False) / max(size(graph), 1)


def pruned(graph: Graph, share: float, scope: Scope = "global") -> Graph:
    """`graph` with the given share of its weights set to zero, those of the smallest score; zeros count as pruned.

    Of equal scores the earlier weight goes first. Within a layer the largest are kept; no layer loses all.

    Raises:
        BadInput: a share outside 0 to below 1.
    """
    if not 0 <= share < 1:
        raise BadInput(f"{graph.name}: {share:g} of the weights cannot be pruned; give a share from 0 to below 1.")
    found = weights(graph)
    scores = {name: _scores(w) for name, w in found.items()}
    if scope == "layer":
        cut = {name: _smallest(score, share) for name, score in scores.items()}
    else:
        every = _smallest(np.concatenate([s.ravel() for s in scores.values()]), share) if scores else np.zeros(0, bool)
        ends = np.cumsum([w.size for w in found.values()])[:-1]
        parts = np.split(every, ends)
        cut = {name: part.reshape(w.shape) for (name, w), part in zip(found.items(), parts, strict=True)}
    return with_weights(graph, {name: np.where(cut[name], 0, w).astype(w.dtype) for name, w in found.items()})


def two_of_four(graph: Graph) -> Graph:
    """`graph` with the two smallest of every four weights along the inputs set to zero, where four divide the inputs.

    The pattern that tensor units skip. Of equal weights the earlier are kept; layers of one to three inputs a group
    stay as they are.
    """
    return with_weights(graph, {name: _fours(w) for name, w in weights(graph).items() if w.shape[1] % GROUP == 0})


def _scores(weight: np.ndarray) -> np.ndarray:
    squares = np.square(weight.astype(np.float64)).ravel()
    order = np.argsort(squares, kind="stable")
    left = np.cumsum(squares[order][::-1])[::-1]
    scores = np.empty_like(squares)
    scores[order] = squares[order] / np.maximum(left, np.finfo(np.float64).tiny)
    return scores.reshape(weight.shape)


def _smallest(scores: np.ndarray, share: float) -> np.ndarray:
    """Which are the smallest, as many as the share says to the nearest whole number, but never all."""
    flat = scores.ravel()
    chosen = np.zeros(flat.size, bool)
    chosen[np.argsort(flat, kind="stable")[: min(round(share * flat.size), flat.size - 1)]] = True
    return chosen.reshape(scores.shape)


def _fours(weight: np.ndarray) -> np.ndarray:
    moved = np.moveaxis(weight, 1, -1)
    fours = moved.reshape(-1, GROUP)
    kept = np.argsort(-np.abs(fours), axis=1, kind="stable")[:, :KEPT]
    result = np.zeros_like(fours)
    np.put_along_axis(result, kept, np.take_along_axis(fours, kept, axis=1), axis=1)
    return np.moveaxis(result.reshape(moved.shape), -1, 1)
