"""Whole channels taken out of a folded graph, with what made them and what read them.

Layers whose channels are added or meet one by one lose the same ones (`spaces`); where these lead to the input, the
output or to an operator that needs them all, none go, and the reason is told.

A channel that receives nothing but its offset always has the same value, which moves into the offsets behind it: the
outputs stay the same. Of any other channel what it gave is lost, and fine-tuning is to make up for it.
"""

from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from converters.compression.spaces import Gone, Spaces, cut, marks, spaces
from neuro.errors import BadInput
from neuro.evaluate import apply
from neuro.graph import Graph
from neuro.layers import Conv, Dense, Input, MaxPool, Scale
from neuro.stages import is_population, populations, propagate, sources


@dataclass(frozen=True, eq=False)
class Thinned:
    """A graph with fewer channels. removed: how many, by layer; kept: by layer that lost none, why."""

    graph: Graph
    removed: dict[str, int]
    kept: dict[str, str]


def thinned(folded: Graph, share: float) -> Thinned:
    """`folded` without the given share of the channels of each layer: those whose incoming weights have the least L2
    norm, over all layers that lose the same. The number is rounded down and at least one channel is left; of equal
    norms the earlier channel goes.

    Raises:
        BadInput: a share outside 0 to below 1.
    """
    if not 0 <= share < 1:
        raise BadInput(f"{folded.name}: {share:g} of the channels cannot be removed; give a share from 0 to below 1.")
    found = spaces(folded)
    gone = {}
    for space, energy in energies(folded, found).items():
        gone[space] = np.zeros(len(energy), bool)
        gone[space][np.argsort(energy, kind="stable")[: int(share * len(energy) + 1e-9)]] = True
    return _without(folded, found, gone)


def dead(folded: Graph) -> Thinned:
    """`folded` without the channels whose incoming weights are all zero; the outputs stay the same."""
    found = spaces(folded)
    gone = {space: energy == 0 for space, energy in energies(folded, found).items()}
    for out in gone.values():
        out[0] &= not out.all()
    return _without(folded, found, gone)


def energies(folded: Graph, found: Spaces) -> dict[str, Float[np.ndarray, "channel"]]:
    """By space that is not fixed, the squared L2 norm of the weights that make each of its channels."""
    total: dict[str, np.ndarray] = {}
    for node in folded.nodes:
        if isinstance(node.op, Conv | Dense) and (space := found.of[node.name]) not in found.fixed:
            own = np.square(node.op.weight.astype(np.float64)).reshape(len(node.op.weight), -1).sum(axis=1)
            total[space] = total.get(space, 0.0) + own
    return total


def _without(folded: Graph, found: Spaces, gone: Gone) -> Thinned:
    offsets = _offsets(folded, found, gone)
    moved = {n.name: replace(n, op=replace(n.op, offset=offsets[n.name])) for n in folded.nodes if n.name in offsets}
    marked = marks(folded, found, gone)
    nodes = (moved.get(n.name, n) for n in folded.nodes)
    graph = Graph(folded.name, tuple(replace(n, op=cut(n, marked)) for n in nodes))
    layers = {n.name: found.of[n.name] for n in folded.nodes if isinstance(n.op, Conv | Dense)}
    removed = {name: int(gone[space].sum()) for name, space in layers.items() if space in gone}
    return Thinned(graph, removed, {name: found.fixed[space] for name, space in layers.items() if space in found.fixed})


def _offsets(folded: Graph, found: Spaces, gone: Gone) -> dict[str, np.ndarray]:
    """The offsets with what constant channels that go add to them, by `Scale` node, where they add anything."""
    energy = energies(folded, found)
    values: dict[str, Array] = {}
    result: dict[str, np.ndarray] = {}
    for population in populations(folded):
        name, shape = population.name, folded.shapes[population.name]
        values[name] = jnp.zeros((1, *shape), jnp.float32)
        if isinstance(population.op, Input):
            continue
        feeds = {s: values[s] for s in sources(folded, name)}
        constant = any(bool(v.any()) for v in feeds.values())
        target = folded[population.inputs[0] if is_population(population) else name]
        if isinstance(population.op, MaxPool):
            values[name] = apply(population.op, propagate(folded, name, feeds)) if constant else values[name]
            continue
        if not isinstance(target.op, Scale):  # groups of neurons, which keep their channels
            continue
        arrives = propagate(folded, name, feeds) if constant else jnp.asarray(_spread(target.op, shape), jnp.float32)
        if constant:
            result[target.name] = np.asarray(arrives, np.float64)[0]
        space = found.of[name]
        if is_population(population) and space in gone:
            out = (gone[space] & (energy[space] == 0)).reshape(1, -1, *(1,) * (len(shape) - 1))
            values[name] = jnp.where(out, apply(population.op, arrives), jnp.float32(0))
    return result


def _spread(op: Scale, shape: tuple[int, ...]) -> np.ndarray:
    return np.broadcast_to(op.offset, shape)[None]
