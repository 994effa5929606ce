"""Rewriting a float graph into normal form: weights, pools and adds, one offset map and a ReLU per layer.

Every value of the original network is carried as ``factor · u + offset`` with u a node of the new graph, factor and
offset maps of the sample's shape. Batch norm, biases, input scaling and constant arithmetic end in the factor or the
offset; the factor is then folded into weights, and the offset becomes one `Scale` node before each ReLU. An offset is
a map, not a number per channel, because zero padding happens after normalisation: at the border a constant input
does not give a constant output.
"""

from dataclasses import dataclass, replace
from math import inf

import jax.numpy as jnp
import numpy as np

from converters.simplify import ahead, simplify
from neuro.activations import ODD, STRICT, Function
from neuro.errors import BadInput, Refusal, unsupported
from neuro.evaluate import apply, evaluate
from neuro.graph import Graph, Node
from neuro.layers import (
    Activation,
    Add,
    AvgPool,
    Concat,
    Conv,
    Dense,
    Input,
    MaxPool,
    Op,
    Pad,
    Relu,
    Reshape,
    Scale,
    Softmax,
    Transpose,
)
from neuro.stages import is_population


@dataclass(frozen=True)
class _Value:
    """factor * node + offset; factor and offset float64 of the sample's shape."""

    node: str
    factor: np.ndarray
    offset: np.ndarray


class _Rewriter:
    """Builds the new graph node by node; local to one call of `fold`."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Node] = []
        self.values: dict[str, _Value] = {}
        self.faults: list[Refusal] = []
        self.done: set[str] = set()  # layers that were moved before a pool

    def emit(self, name: str, op: Op, *inputs: str) -> str:
        taken = {n.name for n in self.nodes}
        unique, k = name, 1
        while unique in taken:
            unique, k = f"{name}.{k}", k + 1
        self.nodes.append(Node(unique, op, inputs))
        return unique

    def find(self, name: str) -> Node:
        return next(n for n in self.nodes if n.name == name)

    def is_chain(self, name: str) -> bool:
        """Whether node `name` is read once at most, so that its weights may still be scaled."""
        behind = [layer for layer, value in self.values.items() if value.node == name]
        return all(sum(n.inputs.count(layer) for n in self.graph.nodes) <= 1 for layer in behind)

    def weighted(self, value: _Value, layer: str) -> str:
        """The node that stands for factor * u, with weights behind it: the factor goes into those that give u.

        Where u has none (a skip edge, a pool of a population), or they serve others too, a `Scale` holds the factor:
        the weights of a unit synapse per neuron.
        """
        node = self.find(value.node)
        if (value.factor == 1).all() and not self.carries_counts(value.node):
            return value.node
        if isinstance(node.op, Conv | Dense) and self.is_chain(value.node):
            factor = value.factor if isinstance(node.op, Dense) else _channels(value.factor)
            if factor is not None:
                weight = node.op.weight * factor.reshape(-1, *(1,) * (node.op.weight.ndim - 1))
                self.nodes[self.nodes.index(node)] = replace(node, op=replace(node.op, weight=weight))
                return node.name
        return self.emit(f"{layer}.synapse", Scale(value.factor, np.zeros(value.factor.shape)), value.node)

    def carries_counts(self, name: str) -> bool:
        """Whether there is no weight between the node and the populations behind it."""
        node = self.find(name)
        while isinstance(node.op, Reshape | Transpose | AvgPool | Pad | Concat):
            node = self.find(node.inputs[0])  # of a concatenation: all or none
        return is_population(node)

    def lowest(self, name: str) -> float:
        """The smallest value of a population, reshaped or not; minus infinity for anything else."""
        node = self.find(name)
        match node.op:
            case Reshape() | Transpose() | MaxPool():
                return self.lowest(node.inputs[0])
            case Concat():
                return min(self.lowest(i) for i in node.inputs)
            case Relu() | Input():
                return 0.0
            case Activation(function=function):
                return function.low
        return -inf


def fold(graph: Graph, gain: np.ndarray, offset: np.ndarray) -> Graph:
    """The normal form of a float graph whose input is ``offset + gain * count``, as a graph on the counts.

    gain, offset: broadcastable to the input's shape. A final softmax, sigmoid or the like is left out: it does not
    change the decision, and `last_function` has it for whoever needs the output itself.
    The result has `Conv` and `Dense` without bias, `AvgPool`, `MaxPool`, `Add`, `Concat`, `Reshape`, `Transpose`,
    `Pad`, and for every layer ``Scale(1, offset map)`` followed by `Relu` or `Activation`; the last node is such a
    `Scale`. On every path from a population to the next there are weights: `Conv`, `Dense`, or a ``Scale(factor, 0)``
    of one synapse per neuron.

    Raises:
        Unsupported: constructions that have no such form, all of them listed.
    """
    graph = simplify(graph)
    state = _Rewriter(graph)
    shape = graph.shapes[graph.input.name]
    name = state.emit(graph.input.name, Input(shape))
    state.values[graph.input.name] = _Value(
        name, np.broadcast_to(np.float64(gain), shape), np.broadcast_to(np.float64(offset), shape)
    )
    for node in graph.nodes[1:]:
        try:
            state.values[node.name] = _rewrite(state, node)
        except _Fault as fault:
            state.faults.append(Refusal(node.name, type(node.op).__name__, str(fault)))
            size = graph.shapes[node.name]  # go on with a placeholder, so that all faults are found
            state.values[node.name] = _Value(state.emit(node.name, Input(size)), np.ones(size), np.zeros(size))
    if state.faults:
        advice = "Move the scale, or put an activation between, and export again."
        raise unsupported(graph.name, "have no spiking form", state.faults, advice)
    last = state.values[graph.output.name]
    _offset_node(state, "output", last)
    used = _reachable(state.nodes)
    return Graph(graph.name, tuple(n for n in state.nodes if n.name in used))


def last_function(network: Graph) -> Function | None:
    """The function behind the last layer that `fold` leaves out, a softmax aside."""
    op = network.output.op
    return op.function if isinstance(op, Activation) and op.function.name in STRICT else None


class _Fault(Exception):
    """Why one layer cannot be rewritten."""


def _rewrite(state: _Rewriter, node: Node) -> _Value:
    op, shape = node.op, state.graph.shapes[node.name]
    values = [state.values[i] for i in node.inputs]
    value = values[0]
    match op:
        case Conv() | Dense():
            weight = _scaled_weight(op, value)
            source = state.find(value.node)
            pads = op.pads if isinstance(op, Conv) else ()
            if isinstance(op, Conv) and isinstance(source.op, Pad) and source.op.pads[0] == (0, 0):
                pads = tuple((a + c, b + d) for (a, b), (c, d) in zip(op.pads, source.op.pads[1:], strict=True))
                value = replace(value, node=source.inputs[0])
            bare = replace(op, weight=weight, bias=None, **({"pads": pads} if isinstance(op, Conv) else {}))
            offset = _execute(op, state.values[node.inputs[0]].offset)
            return _Value(state.emit(node.name, bare, value.node), np.ones(shape), offset)
        case Scale() if node.name in state.done:
            return value
        case Scale(factor=factor, offset=offset):
            return _Value(value.node, value.factor * factor, value.offset * factor + offset)
        case AvgPool():
            factor = _channels(value.factor)
            if factor is None:
                raise _Fault("a scale that differs within its windows cannot be moved past the pool")
            pooled = _Value(state.emit(node.name, op, value.node), _spread(factor, shape), _execute(op, value.offset))
            # a mean of spike counts has its own neurons: composed with the next weights it would multiply synapses
            fires = _non_negative(state, value) and not _is_pointwise(state.graph.readers(node.name))
            return _fired(state, f"{node.name}.neurons", Relu(), pooled) if fires else pooled
        case Pad():
            if not any(map(any, op.pads)):
                return value
            factor = _channels(value.factor)
            if factor is None or op.pads[0] != (0, 0):
                raise _Fault("zeros may be put around space only, and the scale must be one per channel")
            return _Value(state.emit(node.name, op, value.node), _spread(factor, shape), _execute(op, value.offset))
        case Add():
            first, second = (state.weighted(v, f"{node.name}.{k}") for k, v in enumerate(values))
            total = state.emit(node.name, Add(), first, second)
            return _Value(total, np.ones(shape), values[0].offset + values[1].offset)
        case Reshape() | Transpose():
            moved = state.emit(node.name, op, value.node)
            return _Value(moved, _execute(op, value.factor), _execute(op, value.offset))
        case Concat(axis=axis):
            parts = values
            if not all(state.carries_counts(v.node) for v in values):
                nodes = [state.weighted(v, f"{node.name}.{k}") for k, v in enumerate(values)]
                parts = [replace(v, node=n, factor=np.ones_like(v.factor)) for v, n in zip(values, nodes, strict=True)]
            joined = (np.concatenate(maps, axis) for maps in zip(*((v.factor, v.offset) for v in parts), strict=True))
            return _Value(state.emit(node.name, op, *(v.node for v in parts)), *joined)
        case Activation() if node.name == state.graph.output.name and last_function(state.graph) is not None:
            return value
        case Relu() | Activation():
            if node.name in state.done or (isinstance(op, Relu) and _non_negative(state, value)):
                return value
            return _fired(state, node.name, op, value)
        case MaxPool():
            sign = np.ones(shape[0])
            if not _is_counts(state, value):
                value, sign = _before_pool(state, node, value)
            factor, offset = _channels(value.factor), _channels(value.offset)
            if factor is None or offset is None:
                raise _Fault("a scale that differs within its windows cannot be moved past the pool")
            pooled = state.emit(node.name, op, value.node)
            return _Value(pooled, _spread(factor * sign, shape), _spread(offset, shape))
        case Softmax():
            if node.name != state.graph.output.name:
                raise _Fault("softmax inside the network")
            return value
    raise _Fault("unknown operator")


def _fired(state: _Rewriter, name: str, op: Relu | Activation, value: _Value) -> _Value:
    """The value behind a layer's function: a population of its own."""
    shape = value.offset.shape
    return _Value(state.emit(name, op, _offset_node(state, f"{name}.offset", value)), np.ones(shape), np.zeros(shape))


def _before_pool(state: _Rewriter, node: Node, value: _Value) -> tuple[_Value, np.ndarray]:
    """The function behind a max-pool moved before it, with the scale between them; and the sign of each channel.

    max and a rising function may be swapped. Where the scale turns a channel around, an odd function turns back:
    f(a x + b) = -f(-a x - b), and the pool is over the latter.
    """
    found = ahead(state.graph, node)
    if found is None:
        raise _Fault("max-pool of values that may be negative; put a rising function right behind the pool")
    if (found.factor < 0).any() and not (isinstance(found.op, Activation) and found.op.function.name in ODD):
        raise _Fault("max-pool of values that a negative scale turns around; fold the scale into the layer before")
    sign = np.where(found.factor < 0, -1.0, 1.0)
    column = (-1, *(1,) * (len(value.offset.shape) - 1))
    factor, offset = (sign * v for v in (found.factor, found.offset))
    scaled = _Value(
        value.node,
        value.factor * factor.reshape(column),
        value.offset * factor.reshape(column) + offset.reshape(column),
    )
    state.done.update(found.names)
    return _fired(state, f"{node.name}.{'relu' if isinstance(found.op, Relu) else 'neurons'}", found.op, scaled), sign


def _offset_node(state: _Rewriter, name: str, value: _Value) -> str:
    weighted = state.weighted(value, name)
    return state.emit(name, Scale(np.ones(value.offset.shape), value.offset), weighted)


def _is_counts(state: _Rewriter, value: _Value) -> bool:
    """Whether factor * u + offset rises with the counts of one population."""
    name = value.node
    while isinstance(state.find(name).op, Reshape | Transpose):
        name = state.find(name).inputs[0]
    return bool(is_population(state.find(name)) and (value.factor > 0).all())


def _non_negative(state: _Rewriter, value: _Value) -> bool:
    """Whether factor * u + offset is a scaled population that is never below zero."""
    return bool(state.lowest(value.node) >= 0 and (value.factor > 0).all() and (value.offset == 0).all())


def _is_pointwise(readers: list[Node]) -> bool:
    return len(readers) == 1 and isinstance(readers[0].op, Relu | Activation)


def _scaled_weight(op: Conv | Dense, value: _Value) -> np.ndarray:
    """`op`'s weight times the factor of its input, float64."""
    weight = op.weight.astype(np.float64)
    if isinstance(op, Dense):
        return weight * value.factor
    factor = _channels(value.factor)
    if factor is None:
        raise _Fault("a scale that differs over the map cannot be folded into a convolution")
    per_group = factor.reshape(op.groups, 1, -1).repeat(weight.shape[0] // op.groups, axis=1)
    return weight * per_group.reshape(weight.shape[0], -1, *(1,) * (weight.ndim - 2))


def _channels(factor: np.ndarray) -> np.ndarray | None:
    """The factor of each channel, None if it differs within one."""
    flat = factor.reshape(factor.shape[0], -1)
    return flat[:, 0] if (flat == flat[:, :1]).all() else None


def _spread(channels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.broadcast_to(channels.reshape(-1, *(1,) * (len(shape) - 1)), shape)


def _execute(op: Op, sample: np.ndarray) -> np.ndarray:
    return np.asarray(apply(op, jnp.asarray(sample, jnp.float32)[None]))[0].astype(np.float64)


def _reachable(nodes: list[Node]) -> set[str]:
    used = {nodes[-1].name, nodes[0].name}
    for node in reversed(nodes):
        if node.name in used:
            used.update(node.inputs)
    return used


def check(original: Graph, folded: Graph, network_input: np.ndarray, counts: np.ndarray) -> float:
    """Largest difference between both graphs' outputs, relative to the largest output, without what `fold` omits.

    Rounding may tip a function that jumps: with such layers it is the median over the items.

    Raises:
        BadInput: the two differ by more than float32 rounding explains.
    """
    left_out = isinstance(original.output.op, Softmax) or last_function(original) is not None
    body = original.nodes[:-1] if left_out else original.nodes
    want = np.asarray(evaluate(Graph(original.name, body), jnp.asarray(network_input))[body[-1].name])
    got = np.asarray(evaluate(folded, jnp.asarray(counts, jnp.float32))[folded.output.name])
    each = np.abs(want - got.reshape(want.shape)).reshape(len(want), -1).max(axis=1)
    jumps = any(isinstance(n.op, Activation) and n.op.function.steps for n in folded.nodes)
    difference = float((np.median if jumps else np.max)(each) / max(np.abs(want).max(), 1e-30))
    if not difference < 1e-3:
        raise BadInput(
            f"{original.name}: folding changed the output by {difference:.2g} of its largest value; "
            "the weights span too many orders of magnitude for float32."
        )
    return difference
