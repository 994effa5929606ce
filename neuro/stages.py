"""Populations of an integer or spiking graph and the linear stages between them.

A population is a set of neurons: the input, a thresholded layer, a max-pool layer or the read-out. Between two
populations there are only linear operators, so that a population's membrane is a sum over paths from its sources, or a
`Product` of two populations, linear in each of them.
"""

from collections.abc import Callable, Container, Mapping
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from neuro.evaluate import Batch, apply
from neuro.graph import Graph, Node
from neuro.layers import (
    FIRING,
    Activation,
    Conv,
    Dense,
    Input,
    LayerNorm,
    MaxPool,
    Product,
    Relu,
    Scale,
    Softmax,
    Threshold,
)

Reach: TypeAlias = Callable[[str, np.ndarray], dict[str, np.ndarray]]
"""From (population, members of groups) to the synapses onto each group; see `neuro.reach`."""


def is_population(node: Node) -> bool:
    """Whether the node's values are those of neurons that emit (the read-out, which does not, is not among them)."""
    return isinstance(node.op, (Input, Relu, Activation, Softmax, LayerNorm, MaxPool, *FIRING))


def populations(graph: Graph) -> list[Node]:
    """Every population in topological order, the read-out last."""
    emitting = [n for n in graph.nodes if is_population(n)]
    return emitting if is_population(graph.output) else [*emitting, graph.output]


def stage(graph: Graph, name: str) -> list[Node]:
    """The linear nodes that feed population `name`, in topological order; the read-out itself is among its own."""
    target = graph[name]
    pending = list(target.inputs) if is_population(target) else [name]
    inside: set[str] = set()
    while pending:
        node = graph[pending.pop()]
        if node.name not in inside and not is_population(node):
            inside.add(node.name)
            pending.extend(node.inputs)
    return [n for n in graph.nodes if n.name in inside]


def sources(graph: Graph, name: str) -> list[str]:
    """The populations that feed population `name`, in topological order."""
    inner = stage(graph, name)
    inside = {n.name for n in inner}
    feeds = {i for n in [*inner, graph[name]] for i in n.inputs if i not in inside}
    return [n.name for n in graph.nodes if n.name in feeds]


def propagate(graph: Graph, name: str, values: Mapping[str, Batch]) -> Batch:
    """What arrives at population `name` when its sources, or nodes on the way, have `values` [batch, *shape]."""
    known = dict(values)
    for node in stage(graph, name):
        if node.name not in known:
            known[node.name] = apply(node.op, *(known[i] for i in node.inputs))
    target = graph[name]
    return known[target.inputs[0] if is_population(target) else name]


def magnitudes(graph: Graph) -> Graph:
    """The graph with every weight replaced by its magnitude and every bias left out: for bounds.

    A count differs from the one that stands for zero by no more than its own largest value, so that zeros go too.
    """
    return _with_weights(graph, np.abs)


def pattern(graph: Graph) -> Graph:
    """The graph with every synapse replaced by one; a zero weight is none."""
    return _with_weights(graph, lambda weight: (weight != 0).astype(np.float32))


def filled(graph: Graph, names: Container[str]) -> Graph:
    """The graph with ones for the zero weights of the convolutions and dense layers among `names`."""

    def fill(node: Node) -> Node:
        if node.name not in names or not isinstance(node.op, Conv | Dense):
            return node
        weight = node.op.weight
        return replace(node, op=replace(node.op, weight=np.where(weight == 0, np.ones((), weight.dtype), weight)))

    return replace(graph, nodes=tuple(fill(node) for node in graph.nodes))


def _with_weights(graph: Graph, change) -> Graph:
    def rewrite(node: Node) -> Node:
        match node.op:
            case Conv() | Dense():
                return replace(node, op=replace(node.op, weight=change(node.op.weight), bias=None))
            case Scale(factor=factor, offset=offset):
                return Node(node.name, Scale(change(factor), np.zeros_like(offset)), node.inputs)
            case Product(factor=factor):
                return Node(node.name, Product(factor=abs(factor)), node.inputs)
        return node

    return Graph(graph.name, tuple(rewrite(n) for n in graph.nodes), graph.schedule)


def bounds(graph: Graph) -> dict[str, int]:
    """Largest magnitude that the state of each thresholded or read-out neuron can take.

    max_c(sum_i |W_ci| L_i + |B_c| + th_c), whatever the input: the proof that integer state does not overflow. From a
    membrane that is compared with several thresholds nothing is subtracted, so that they do not count.
    In a graph scheduled for the rate code L is 1: it bounds what one step can add, and only the run tells the rest.
    Under the code naf it is L + 1: a membrane may stand one threshold above the last level before it sends.
    """
    code = graph.schedule.code if graph.schedule is not None else None

    def most(levels: int) -> int:
        return 1 if code == "rate" else levels + 1 if code == "naf" else levels

    absolute = magnitudes(graph)
    peaks: dict[str, np.ndarray] = {}
    result: dict[str, int] = {}
    for node in populations(graph):
        shape = graph.shapes[node.name]
        if isinstance(node.op, Input):
            peaks[node.name] = np.full((1, *shape), most(node.op.levels), np.float32)
            continue
        if isinstance(node.op, MaxPool):
            peaks[node.name] = np.full((1, *shape), max(peaks[s].max() for s in sources(graph, node.name)))
            continue
        reach = propagate(absolute, node.name, peaks)[0].astype(np.float64)
        if isinstance(node.op, FIRING):
            reach = reach + np.abs(node.op.bias) + (node.op.threshold if isinstance(node.op, Threshold) else 0)
            peaks[node.name] = np.full((1, *shape), most(node.op.levels), np.float32)
        elif isinstance(node.op, Scale):
            reach = reach + np.abs(node.op.offset)
        result[node.name] = int(np.ceil(reach.max() * 1.001))  # float32 rounds sums of up to 10^4 positive terms
    return result
