"""A folded graph, which reads counts, as a network that reads what the original one did."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np

from neuro.activations import Function
from neuro.graph import Graph, Node
from neuro.layers import (
    Activation,
    AvgPool,
    Conv,
    Dense,
    Op,
    Pad,
    Reshape,
    Scale,
    Slice,
    Transpose,
)
from neuro.stages import is_population, populations, propagate, sources

MOVES = (Reshape, Transpose, Pad, Slice, AvgPool)


def unfolded(folded: Graph, gain: np.ndarray, offset: np.ndarray, last: Function | None = None) -> Graph:
    """`folded` on inputs x = offset + gain * count, as `fold.fold` was given them; folding it again gives it back.

    Where one gain holds for all, it goes into the weights that the input meets first and the offset behind them, so
    that no operation is added; else a `Scale` makes counts of the input. last: the function that `fold` left out.
    """
    shape = folded.shapes[folded.input.name]
    gain, offset = (np.broadcast_to(np.asarray(v, np.float64), shape) for v in (gain, offset))
    met = _met(folded) if np.ptp(gain) == 0 else None
    nodes = _counted(folded, gain, offset) if met is None else _absorbed(folded, met, float(gain.flat[0]), offset)
    if last is not None:
        nodes.append(Node(_free(folded, "last"), Activation(last), (nodes[-1].name,)))
    return Graph(folded.name, tuple(nodes))


def _met(folded: Graph) -> set[str] | None:
    """The weighted layers that the input meets first; None where it meets anything else."""
    reached, found = {folded.input.name}, set()
    for node in folded.nodes[1:]:
        if not reached & set(node.inputs):
            continue
        if isinstance(node.op, Conv | Dense) or (isinstance(node.op, Scale) and not node.op.offset.any()):
            found.add(node.name)
        elif isinstance(node.op, MOVES):
            reached.add(node.name)
        else:
            return None
    return found


def _absorbed(folded: Graph, met: set[str], gain: float, offset: np.ndarray) -> list[Node]:
    """The weights met divided by the gain, and what they make of the offset taken away behind them."""

    def scaled(node: Node) -> Op:
        if node.name not in met:
            return node.op
        if isinstance(node.op, Scale):
            return replace(node.op, factor=node.op.factor / gain)
        assert isinstance(node.op, Conv | Dense)
        return replace(node.op, weight=node.op.weight / gain)

    nodes = {n.name: replace(n, op=scaled(n)) for n in folded.nodes}
    if offset.any():
        bare = {name: _bare(node) for name, node in nodes.items()}
        linear = Graph(folded.name, tuple(bare.values()))
        for population in populations(folded)[1:]:
            if folded.input.name in (feeds := sources(folded, population.name)):
                zeros = {s: jnp.zeros((1, *folded.shapes[s]), jnp.float32) for s in feeds}
                given = zeros | {folded.input.name: jnp.asarray(offset, jnp.float32)[None]}
                moved = np.asarray(propagate(linear, population.name, given), np.float64)[0]
                target = population.inputs[0] if is_population(population) else population.name
                op = nodes[target].op
                assert isinstance(op, Scale)
                nodes[target] = replace(nodes[target], op=replace(op, offset=op.offset - moved))
    return list(nodes.values())


def _bare(node: Node) -> Node:
    """A node without what it adds."""
    return replace(node, op=replace(node.op, offset=0 * node.op.offset)) if isinstance(node.op, Scale) else node


def _counted(folded: Graph, gain: np.ndarray, offset: np.ndarray) -> list[Node]:
    """A `Scale` behind the input, and all else behind it."""
    first, name = folded.input, _free(folded, "counts")
    nodes = [first, Node(name, Scale(1 / gain, -offset / gain), (first.name,))]
    for node in folded.nodes[1:]:
        nodes.append(replace(node, inputs=tuple(name if i == first.name else i for i in node.inputs)))
    return nodes


def _free(graph: Graph, name: str) -> str:
    taken = {n.name for n in graph.nodes}
    while name in taken:
        name += "_"
    return name
