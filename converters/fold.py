"""Rewriting a float graph into normal form: weights, pools and adds, one offset map and a ReLU per layer.

Every value of the original network is carried as ``factor · u + offset`` with u a node of the new graph, factor and
offset maps of the sample's shape. Batch norm, biases, input scaling and constant arithmetic end in the factor or the
offset; the factor is then folded into weights, and the offset becomes one `Scale` node before each ReLU. An offset is
a map, not a number per channel, because zero padding happens after normalisation: at the border a constant input
does not give a constant output.
"""

from dataclasses import replace

import numpy as np

from converters.layouts import behind_sums, rows_apart
from converters.rewriter import LAYOUT, SAME, Fault, Rewriter, Value, attends, channels, spread, unscaled
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
    LayerNorm,
    MaxPool,
    Op,
    Pad,
    Product,
    Relu,
    Reshape,
    Scale,
    Slice,
    Softmax,
    Transpose,
)
from neuro.stages import is_population

CARRIED = 1e18
"""Largest value of a layer with which float32 arithmetic goes on: sums of squares stay finite."""


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
    graph = simplify(rows_apart(graph))
    if attends(graph):
        graph = simplify(behind_sums(graph))
    state = Rewriter(graph)
    shape = graph.shapes[graph.input.name]
    name = state.emit(graph.input.name, Input(shape))
    state.values[graph.input.name] = Value(
        name, np.broadcast_to(np.float64(gain), shape), np.broadcast_to(np.float64(offset), shape)
    )
    for node in graph.nodes[1:]:
        try:
            for layer in node.inputs:
                if state.attends and len(graph.readers(layer)) > 1:  # a residual stream, rounded once for all
                    _settled(state, layer)
            state.values[node.name] = _rewrite(state, node)
        except Fault as fault:
            state.faults.append(Refusal(node.name, type(node.op).__name__, str(fault)))
            size = graph.shapes[node.name]  # go on with a placeholder, so that all faults are found
            state.values[node.name] = Value(state.emit(node.name, Input(size)), np.ones(size), np.zeros(size))
    if state.faults:
        advice = "Move the scale, or put an activation between, and export again."
        raise unsupported(graph.name, "have no spiking form", state.faults, advice)
    last = state.values[graph.output.name]
    state.offset_node("output", last)
    used = _reachable(state.nodes)
    return Graph(graph.name, tuple(n for n in state.nodes if n.name in used))


def last_function(network: Graph) -> Function | None:
    """The function behind the last layer that `fold` leaves out, a softmax aside."""
    op = network.output.op
    return op.function if isinstance(op, Activation) and op.function.name in STRICT else None


def _rewrite(state: Rewriter, node: Node) -> Value:
    op, shape = node.op, state.graph.shapes[node.name]
    values = [state.values[i] for i in node.inputs]
    value = values[0]
    match op:
        case Conv() | Dense():
            if state.attends and not state.carries_counts(value.node):
                value = _settled(state, node.inputs[0])
            weight = _scaled_weight(op, value)
            source = state.find(value.node)
            pads = op.pads if isinstance(op, Conv) else ()
            if isinstance(op, Conv) and isinstance(source.op, Pad) and source.op.pads[0] == (0, 0):
                pads = tuple((a + c, b + d) for (a, b), (c, d) in zip(op.pads, source.op.pads[1:], strict=True))
                value = replace(value, node=source.inputs[0])
            bare = replace(op, weight=weight, bias=None, **({"pads": pads} if isinstance(op, Conv) else {}))
            offset = _execute(op, state.values[node.inputs[0]].offset)
            return Value(state.emit(node.name, bare, value.node), np.ones(shape), offset)
        case Scale() if node.name in state.done:
            return value
        case Scale(factor=factor, offset=offset):
            return Value(value.node, value.factor * factor, value.offset * factor + offset)
        case AvgPool():
            value = _apart(state, value, node.name)
            factor = channels(value.factor)
            if factor is None:
                raise Fault("a scale that differs within its windows cannot be moved past the pool")
            pooled = Value(state.emit(node.name, op, value.node), spread(factor, shape), _execute(op, value.offset))
            # a mean of spike counts has its own neurons: composed with the next weights it would multiply synapses
            fires = _non_negative(state, value) and not _is_pointwise(state.graph.readers(node.name))
            return state.fired(f"{node.name}.neurons", Relu(), pooled) if fires else pooled
        case Pad():
            if not any(map(any, op.pads)):
                return value
            padded = state.emit(node.name, op, value.node)
            factor = channels(value.factor)
            if factor is None or op.pads[0] != (0, 0):  # zeros have any factor
                return Value(padded, np.pad(value.factor, op.pads, mode="edge"), _execute(op, value.offset))
            return Value(padded, spread(factor, shape), _execute(op, value.offset))
        case Add():
            first, second = _summands(state, values, node.name)
            total = state.emit(node.name, Add(), first, second)
            return Value(total, np.ones(shape), values[0].offset + values[1].offset)
        case Product():
            left, right = (_operand(state, i) for i in node.inputs)
            return Value(state.emit(node.name, op, left.node, right.node), np.full(shape, 1.0), np.zeros(shape))
        case Reshape() | Transpose() | Slice():
            moved = state.emit(node.name, op, value.node)
            return Value(moved, _execute(op, value.factor), _execute(op, value.offset))
        case Concat(axis=axis):
            parts = values = [_apart(state, v, f"{node.name}.{k}") for k, v in enumerate(values)]
            if not all(state.carries_counts(v.node) for v in values):
                nodes = [state.weighted(v, f"{node.name}.{k}") for k, v in enumerate(values)]
                parts = [replace(v, node=n, factor=np.ones_like(v.factor)) for v, n in zip(values, nodes, strict=True)]
            joined = (np.concatenate(maps, axis) for maps in zip(*((v.factor, v.offset) for v in parts), strict=True))
            return Value(state.emit(node.name, op, *(v.node for v in parts)), *joined)
        case Activation() if node.name == state.graph.output.name and last_function(state.graph) is not None:
            return value
        case Relu() | Activation():
            if node.name in state.done or (isinstance(op, Relu) and _non_negative(state, value)):
                return value
            return state.fired(node.name, op, value)
        case MaxPool():
            sign = np.ones(shape[0])
            if not _is_counts(state, value):
                value, sign = _before_pool(state, node, value)
            factor, offset = channels(value.factor), channels(value.offset)
            if factor is None or offset is None:
                raise Fault("a scale that differs within its windows cannot be moved past the pool")
            pooled = state.emit(node.name, op, value.node)
            return Value(pooled, spread(factor * sign, shape), spread(offset, shape))
        case Softmax() if node.name == state.graph.output.name:
            return value
        case Softmax() | LayerNorm():
            return state.fired(node.name, op, value)
    raise Fault("unknown operator")


def _settled(state: Rewriter, layer: str) -> Value:
    """The value of `layer` as counts of neurons that only round, put before what moves values, where others read."""
    node = state.graph[layer]
    if state.carries_counts(state.values[layer].node):
        return state.values[layer]
    if isinstance(node.op, LAYOUT):
        _settled(state, node.inputs[0])
        state.values[layer] = _rewrite(state, node)
    else:
        state.values[layer] = state.fired(f"{layer}.neurons", Activation(SAME), state.values[layer])
    return state.values[layer]


def _operand(state: Rewriter, layer: str) -> Value:
    """The value of `layer` as counts of which a whole number stands for zero, and each for the same: a product's side.

    Those of a softmax are, those of neurons that only round, and those of functions without steps of their own.
    """
    value = state.values[layer]
    op = state.root(value.node).op
    plain = (value.factor == 1).all() and (value.offset == 0).all()
    if plain and (isinstance(op, Softmax | Relu) or (isinstance(op, Activation) and op.function.steps is None)):
        return value
    node = state.graph[layer]
    if isinstance(node.op, LAYOUT):
        _operand(state, node.inputs[0])
        state.values[layer] = _rewrite(state, node)
    else:
        state.values[layer] = state.fired(f"{layer}.operand", Activation(SAME), value)
    return state.values[layer]


def _summands(state: Rewriter, values: list[Value], name: str) -> list[str]:
    """The nodes that stand for factor * u of each in a sum. Products come over a synapse for each of their values.

    A product beside anything else has neurons of its own: its unit is that of two counts, so small that no weight of a
    few bits would do for both.
    """
    names = [f"{name}.{k}" for k in range(len(values))]
    if all(isinstance(state.root(v.node).op, Product) for v in values):
        zeros = [np.zeros(v.factor.shape) for v in values]
        each = zip(names, values, zeros, strict=True)
        return [state.emit(f"{own}.synapse", Scale(v.factor, zero), v.node) for own, v, zero in each]
    apart = [_apart(state, v, own) for own, v in zip(names, values, strict=True)]
    return [state.weighted(v, own) for own, v in zip(names, apart, strict=True)]


def _apart(state: Rewriter, value: Value, name: str) -> Value:
    """The value with neurons of its own if it is a product, which has no weights of its own."""
    if not isinstance(state.root(value.node).op, Product):
        return value
    fired = state.fired(f"{name}.neurons", Activation(SAME), unscaled(value))
    return replace(value, node=fired.node)


def _before_pool(state: Rewriter, node: Node, value: Value) -> tuple[Value, np.ndarray]:
    """The function behind a max-pool moved before it, with the scale between them; and the sign of each channel.

    max and a rising function may be swapped. Where the scale turns a channel around, an odd function turns back:
    f(a x + b) = -f(-a x - b), and the pool is over the latter.
    """
    found = ahead(state.graph, node)
    if found is None:
        what = "that may be negative" if not _non_negative(state, value) else "that no one layer of neurons sends"
        raise Fault(f"max-pool of values {what}; put a rising function right behind the pool")
    if (found.factor < 0).any() and not (isinstance(found.op, Activation) and found.op.function.name in ODD):
        raise Fault("max-pool of values that a negative scale turns around; fold the scale into the layer before")
    sign = np.where(found.factor < 0, -1.0, 1.0)
    column = (-1, *(1,) * (len(value.offset.shape) - 1))
    factor, offset = (sign * v for v in (found.factor, found.offset))
    scaled = Value(
        value.node,
        value.factor * factor.reshape(column),
        value.offset * factor.reshape(column) + offset.reshape(column),
    )
    state.done.update(found.names)
    return state.fired(f"{node.name}.{'relu' if isinstance(found.op, Relu) else 'neurons'}", found.op, scaled), sign


def _is_counts(state: Rewriter, value: Value) -> bool:
    """Whether factor * u + offset rises with the counts of one population."""
    name = value.node
    while isinstance(state.find(name).op, Reshape | Transpose):
        name = state.find(name).inputs[0]
    return bool(is_population(state.find(name)) and (value.factor > 0).all())


def _non_negative(state: Rewriter, value: Value) -> bool:
    """Whether factor * u + offset is a scaled population that is never below zero."""
    return bool(state.lowest(value.node) >= 0 and (value.factor > 0).all() and (value.offset == 0).all())


def _is_pointwise(readers: list[Node]) -> bool:
    return len(readers) == 1 and isinstance(readers[0].op, Relu | Activation)


def _scaled_weight(op: Conv | Dense, value: Value) -> np.ndarray:
    """`op`'s weight times the factor of its input, float64."""
    weight = op.weight.astype(np.float64)
    if isinstance(op, Dense):
        return weight * value.factor
    factor = channels(value.factor)
    if factor is None:
        raise Fault("a scale that differs over the map cannot be folded into a convolution")
    per_group = factor.reshape(op.groups, 1, -1).repeat(weight.shape[0] // op.groups, axis=1)
    return weight * per_group.reshape(weight.shape[0], -1, *(1,) * (weight.ndim - 2))


def _execute(op: Op, sample: np.ndarray) -> np.ndarray:
    return apply(op, sample.astype(np.float32)[None])[0].astype(np.float64)


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
        BadInput: data or a layer with values that float32 arithmetic does not carry, the first one named; or the two
            differ by more than float32 rounding explains.
    """
    left_out = isinstance(original.output.op, Softmax) or last_function(original) is not None
    body = original.nodes[:-1] if left_out else original.nodes
    every = evaluate(Graph(original.name, body), network_input)
    for node in body:
        largest = float(np.abs(every[node.name]).max())
        if not largest < CARRIED:
            where = "the input" if isinstance(node.op, Input) else f"layer {node.name!r}"
            raise BadInput(
                f"{original.name}: values of {where} reach {largest:.3g}; float32 arithmetic carries up to "
                f"{CARRIED:g}, whose squares it still holds. Scale the data (--scale) or the weights."
            )
    want = every[body[-1].name]
    got = evaluate(folded, counts.astype(np.float32))[folded.output.name]
    each = np.abs(want - got.reshape(want.shape)).reshape(len(want), -1).max(axis=1)
    jumps = any(isinstance(n.op, Activation) and n.op.function.steps for n in folded.nodes)
    difference = float((np.median if jumps else np.max)(each) / max(np.abs(want).max(), 1e-30))
    if not difference < 1e-3:
        raise BadInput(
            f"{original.name}: folding changed the output by {difference:.2g} of its largest value; "
            "the weights span too many orders of magnitude for float32."
        )
    return difference
