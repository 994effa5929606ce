"""The state of rewriting a float graph: nodes of the new one, and what every layer's value is in terms of them."""

from dataclasses import dataclass, replace
from math import inf

import numpy as np

from neuro.activations import Function
from neuro.errors import Refusal
from neuro.graph import Graph, Node
from neuro.layers import (
    Activation,
    Add,
    AvgPool,
    Concat,
    Conv,
    Dense,
    Input,
    LayerNorm,
    MaxPool,
    Op,
    Pad,
    Product,
    Relu,
    Reshape,
    Scale,
    Shape,
    Slice,
    Softmax,
    Transpose,
)
from neuro.stages import is_population

SAME = Function("clip", (-inf, inf))
"""The function of neurons that only round: each level stands for a value itself, one of them for zero."""
LAYOUT = (Reshape, Transpose, Slice)
"""Operators that move single values, or leave some away."""


@dataclass(frozen=True)
class Value:
    """factor * node + offset; factor and offset float64 of the sample's shape."""

    node: str
    factor: np.ndarray
    offset: np.ndarray


class Fault(Exception):
    """Why one layer cannot be rewritten."""


def attends(graph: Graph) -> bool:
    """Whether neurons that only round may be put between layers: attention needs them anyway."""
    return any(isinstance(n.op, Product | LayerNorm | Softmax) for n in graph.nodes[:-1])


class Rewriter:
    """Builds the new graph node by node; local to one call of `converters.fold.fold`."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Node] = []
        self.values: dict[str, Value] = {}
        self.faults: list[Refusal] = []
        self.done: set[str] = set()  # layers that were moved before a pool
        self.attends = attends(graph)

    def emit(self, name: str, op: Op, *inputs: str) -> str:
        """A new node; its name has a number behind it where `name` is taken."""
        taken = {n.name for n in self.nodes}
        unique, k = name, 1
        while unique in taken:
            unique, k = f"{name}.{k}", k + 1
        self.nodes.append(Node(unique, op, inputs))
        return unique

    def find(self, name: str) -> Node:
        """The new node of that name."""
        return next(n for n in self.nodes if n.name == name)

    def is_chain(self, name: str) -> bool:
        """Whether node `name` is read once at most, so that its weights may still be scaled."""
        behind = [layer for layer, value in self.values.items() if value.node == name]
        return all(sum(n.inputs.count(layer) for n in self.graph.nodes) <= 1 for layer in behind)

    def weighted(self, value: Value, layer: str) -> str:
        """The node that stands for factor * u, with weights behind it: the factor goes into those that give u.

        Where u has none (a skip edge, a pool of a population), or they serve others too, a `Scale` holds the factor:
        the weights of a unit synapse per neuron. In networks with attention there are copies of the weights instead,
        or neurons before that synapse.
        """
        node = self.find(value.node)
        if (value.factor == 1).all() and not self.carries_counts(value.node):
            return value.node
        if isinstance(node.op, Conv | Dense) and self.is_chain(value.node):
            factor = value.factor if isinstance(node.op, Dense) else channels(value.factor)
            if factor is not None:
                weight = node.op.weight * factor.reshape(-1, *(1,) * (node.op.weight.ndim - 1))
                self.nodes[self.nodes.index(node)] = replace(node, op=replace(node.op, weight=weight))
                return node.name
        if isinstance(node.op, Product) and self.is_chain(value.node) and (factor := _one(value.factor)) is not None:
            self.nodes[self.nodes.index(node)] = replace(node, op=replace(node.op, factor=node.op.factor * factor))
            return node.name
        if self.attends:
            if (scaled := self.scaled(value.node, value.factor)) is not None:
                return scaled
            value = replace(value, node=self.fired(f"{layer}.neurons", Activation(SAME), unscaled(value)).node)
        return self.emit(f"{layer}.synapse", Scale(value.factor, np.zeros(value.factor.shape)), value.node)

    def scaled(self, name: str, factor: np.ndarray) -> str | None:
        """A copy of the weights behind node `name` that gives factor times its value; None where they cannot."""
        node = self.find(name)
        if isinstance(node.op, Transpose) and isinstance((before := self.find(node.inputs[0])).op, Transpose):
            order = [before.op.order[i] for i in node.op.order]
            if order == sorted(order):  # one undoes the other
                return self.scaled(before.inputs[0], factor)
        if self.carries_counts(name) and not isinstance(node.op, LAYOUT):
            return self.emit(f"{name}.synapse", Scale(factor, np.zeros(factor.shape)), name)
        match node.op:
            case Dense() | Conv():
                each = factor if isinstance(node.op, Dense) else channels(factor)
                if each is None:
                    return None
                weight = node.op.weight * each.reshape(-1, *(1,) * (node.op.weight.ndim - 1))
                return self.emit(name, replace(node.op, weight=weight), *node.inputs)
            case Scale():
                return self.emit(name, Scale(node.op.factor * factor, node.op.offset), *node.inputs)
            case Product():
                if (one := _one(factor)) is None:
                    return None
                return self.emit(name, replace(node.op, factor=node.op.factor * one), *node.inputs)
            case Add():
                parts = [self.scaled(i, factor) for i in node.inputs]
            case Reshape() | Transpose() | Slice() | Pad() | AvgPool():
                if isinstance(node.op, AvgPool) and channels(factor) is None:
                    return None
                shape = self.shape(node.inputs[0])
                parts = [self.scaled(node.inputs[0], _before(node.op, factor, shape))]
            case _:
                return None
        return None if None in parts else self.emit(name, node.op, *(p for p in parts if p is not None))

    def shape(self, name: str) -> Shape:
        """The shape of a new node."""
        first = self.nodes[0]
        kept, pending = {first.name}, [name]
        while pending:
            if (found := pending.pop()) not in kept:
                kept.add(found)
                pending.extend(self.find(found).inputs)
        return Graph("part", tuple(n for n in self.nodes if n.name in kept)).shapes[name]

    def carries_counts(self, name: str) -> bool:
        """Whether there is no weight between the node and the populations behind it."""
        node = self.find(name)
        while isinstance(node.op, Reshape | Transpose | Slice | AvgPool | Pad | Concat):
            node = self.find(node.inputs[0])  # of a concatenation: all or none
        return is_population(node)

    def root(self, name: str) -> Node:
        """The node whose values `name` moves."""
        node = self.find(name)
        while isinstance(node.op, LAYOUT):
            node = self.find(node.inputs[0])
        return node

    def lowest(self, name: str) -> float:
        """The smallest value of a population, reshaped or not; minus infinity for anything else."""
        node = self.find(name)
        match node.op:
            case Reshape() | Transpose() | Slice() | MaxPool():
                return self.lowest(node.inputs[0])
            case Concat():
                return min(self.lowest(i) for i in node.inputs)
            case Relu() | Input() | Softmax():
                return 0.0
            case Activation(function=function):
                return function.low
        return -inf

    def fired(self, name: str, op: Relu | Activation | Softmax | LayerNorm, value: Value) -> Value:
        """The value behind a layer's function: a population of its own."""
        shape = value.offset.shape
        offset = self.offset_node(f"{name}.offset", value)
        return Value(self.emit(name, op, offset), np.ones(shape), np.zeros(shape))

    def offset_node(self, name: str, value: Value) -> str:
        """The value as a `Scale` of factor one behind weights."""
        weighted = self.weighted(value, name)
        return self.emit(name, Scale(np.ones(value.offset.shape), value.offset), weighted)


def _one(factor: np.ndarray) -> float | None:
    """The factor of all values, None if it differs or is not positive: the scale of a product."""
    first = float(factor.flat[0])
    return None if first <= 0 or (factor != first).any() else first


def unscaled(value: Value) -> Value:
    """The node of a value by itself."""
    return Value(value.node, np.ones_like(value.factor), np.zeros_like(value.offset))


def channels(factor: np.ndarray) -> np.ndarray | None:
    """The factor of each channel, None if it differs within one."""
    flat = factor.reshape(factor.shape[0], -1)
    return flat[:, 0] if (flat == flat[:, :1]).all() else None


def spread(channel: np.ndarray, shape: Shape) -> np.ndarray:
    """Values of channels as a map."""
    return np.broadcast_to(channel.reshape(-1, *(1,) * (len(shape) - 1)), shape)


def _before(op: Reshape | Transpose | Slice | Pad | AvgPool, factor: np.ndarray, shape: Shape) -> np.ndarray:
    """The part of `factor` that belongs to each value before the operator."""
    match op:
        case AvgPool():
            return spread(factor.reshape(len(factor), -1)[:, 0], shape)
        case Transpose(order=order):
            return factor.transpose(np.argsort(order))
        case Slice(axis=axis, start=start, stop=stop):  # what is left away has any factor
            around = [(start, n - stop) if i == axis else (0, 0) for i, n in enumerate(shape)]
            return np.pad(factor, around, mode="edge")
        case Pad(pads=pads):
            return factor[tuple(slice(a, a + n) for (a, _), n in zip(pads, shape, strict=True))]
    return factor.reshape(shape)
