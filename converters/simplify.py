"""Pointwise functions that follow each other, merged into one where one of `neuro.activations` does the same; those
behind a concatenation moved into its branches; those behind a max-pool found."""

from collections import Counter
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from neuro.activations import Function
from neuro.graph import Graph, Node
from neuro.layers import Activation, AvgPool, Concat, MaxPool, Op, Relu, Reshape, Scale, Shape, Transpose
from neuro.steps import Steps

POSITIVE = Function("clip", (0.0, inf))


def simplify(graph: Graph) -> Graph:
    """`graph` with pointwise functions merged that are read by each other alone, and those that change nothing dropped.

    ReLU or clip next to clip or quantise; a sign, shifted and signed again, as trained binary networks have it.
    Functions, scales and pools behind a concatenation work on its branches, so that these can be quantised apart.
    """
    graph = _before_layout(_apart(_turned_back(graph)))
    kept: dict[str, Node] = {}
    moved: dict[str, str] = {}
    for node in graph.nodes:
        own = replace(node, inputs=tuple(moved.get(i, i) for i in node.inputs))
        if (found := _merged(graph, kept, own)) is not None:
            before, function = found
            if own.inputs != (before.name,):
                del kept[own.inputs[0]]  # the scale between them
            kept[before.name] = replace(before, op=_op(function))
            moved[node.name] = before.name
        elif _function(own) is not None and _function(own) == Function("clip", (-inf, inf)):
            moved[node.name] = own.inputs[0]
        else:
            kept[own.name] = own
    if graph.output.name in moved:  # the last layer gives the result
        last = kept.pop(moved[graph.output.name])
        kept[last.name] = last
    return replace(graph, nodes=tuple(kept.values()))


def _turned_back(graph: Graph) -> Graph:
    """`graph` without transpositions that undo the one they read."""
    kept: dict[str, Node] = {}
    moved: dict[str, str] = {}
    for node in graph.nodes:
        own = replace(node, inputs=tuple(moved.get(i, i) for i in node.inputs))
        before = kept[own.inputs[0]] if own.inputs else own
        if node is not graph.output and _undoes(own.op, before.op):
            moved[own.name] = before.inputs[0]
        else:
            kept[own.name] = own
    read = {i for node in kept.values() for i in node.inputs} | {graph.output.name, graph.input.name}
    return Graph(graph.name, tuple(n for n in kept.values() if n.name in read or not isinstance(n.op, Transpose)))


def _undoes(second: Op, first: Op) -> bool:
    """Whether both together leave every axis where it was."""
    if not (isinstance(first, Transpose) and isinstance(second, Transpose)):
        return False
    return [first.order[i] for i in second.order] == sorted(second.order)


def _apart(graph: Graph) -> Graph:
    """`graph` with functions, scales and pools behind a concatenation moved into its branches."""
    nodes: list[Node] = []
    taken = {n.name for n in graph.nodes}
    for node in graph.nodes:
        joined = next((n for n in nodes if n.name in node.inputs and isinstance(n.op, Concat)), None)
        if joined is None or not _splits(graph, joined, node):
            nodes.append(node)
            continue
        assert isinstance(joined.op, Concat)
        nodes.remove(joined)
        ends = np.cumsum([0, *(graph.shapes[i][joined.op.axis] for i in joined.inputs)]).tolist()
        parts = []
        for k, feed in enumerate(joined.inputs):
            name = f"{node.name}.{k}"
            while name in taken:
                name += "_"
            taken.add(name)
            parts.append(
                Node(name, _part(node.op, joined.op.axis, ends[k], ends[k + 1], graph.shapes[node.name]), (feed,))
            )
        nodes += [*parts, replace(node, op=joined.op, inputs=tuple(p.name for p in parts))]
        graph = Graph(graph.name, (*nodes, *graph.nodes[graph.nodes.index(node) + 1 :]))
    return graph


def _before_layout(graph: Graph) -> Graph:
    """`graph` with functions and scales moved before the reshapes and transpositions that they alone read: there the
    channels of the layer before are their channels too."""
    nodes: list[Node] = []
    renamed: dict[str, str] = {}
    reads = Counter(i for node in graph.nodes for i in node.inputs)
    for node in graph.nodes:
        own = replace(node, inputs=tuple(renamed.get(i, i) for i in node.inputs))
        place = len(nodes)
        while place and reads[nodes[place - 1].name] == 1 and (op := _moved_before(nodes[place - 1], own)) is not None:
            place -= 1
            own = replace(own, op=op, inputs=nodes[place].inputs)
        if place < len(nodes):
            nodes[place] = replace(nodes[place], inputs=(own.name,))
        nodes.insert(place, own)
        if nodes[-1] is not own:  # what reads the function now reads the last layout behind it
            renamed[own.name] = nodes[-1].name
            reads[nodes[-1].name] = reads[own.name]
    return Graph(graph.name, tuple(nodes))


def _moved_before(layout: Node, node: Node) -> Op | None:
    """The operator of `node` in front of the layout operator it reads; None if it cannot be moved there."""
    if node.inputs != (layout.name,) or not isinstance(layout.op, Reshape | Transpose):
        return None
    match node.op:
        case Activation(function=Steps(channels=int())):
            return None  # its channels are those behind
        case Relu() | Activation():
            return node.op
        case Scale() if isinstance(layout.op, Transpose):
            ndim = len(layout.op.order)
            back = np.argsort(layout.op.order)
            arrays = (a.reshape((1,) * (ndim - a.ndim) + a.shape).transpose(back) for a in vars(node.op).values())
            return Scale(*arrays)
        case Scale(factor=factor, offset=offset) if factor.size == offset.size == 1:
            return Scale(factor.reshape(()), offset.reshape(()))
    return None


def _splits(graph: Graph, joined: Node, node: Node) -> bool:
    """Whether a node can be moved into the branches of a concatenation, which it alone reads."""
    assert isinstance(joined.op, Concat)
    if len(graph.readers(joined.name)) != 1:
        return False
    return isinstance(node.op, Relu | Activation | Scale) or (
        isinstance(node.op, MaxPool | AvgPool) and joined.op.axis == 0
    )


def _part(op: Op, axis: int, first: int, last: int, shape: Shape) -> Op:
    """A node's operator on one branch."""
    if isinstance(op, Activation) and isinstance(op.function, Steps) and axis == 0:
        return Activation(op.function.part(first, last))
    if not isinstance(op, Scale):
        return op
    ndim = len(shape)

    def cut(array: np.ndarray) -> np.ndarray:
        full = array.reshape((1,) * (ndim - array.ndim) + array.shape)
        return full if full.shape[axis] == 1 else full[(slice(None),) * axis + (slice(first, last),)]

    return Scale(cut(op.factor), cut(op.offset))


@dataclass(frozen=True, eq=False)
class Ahead:
    """A rising function behind a max-pool and the scale of each channel before it; names: of these layers."""

    op: Relu | Activation
    factor: np.ndarray
    offset: np.ndarray
    names: tuple[str, ...]


def ahead(graph: Graph, pool: Node) -> Ahead | None:
    """The function that values pass next after `pool`, if there is no other way and a scale per channel leads to it."""
    channels = graph.shapes[pool.name][0]
    factor, offset, names, moved = np.ones(channels), np.zeros(channels), [], False
    node = pool
    while len(readers := graph.readers(node.name)) == 1:
        (node,) = readers
        match node.op:
            case Reshape() | Transpose():
                moved = True
            case Scale():
                scales = [_by_channel(a, len(graph.shapes[node.name]), channels, moved) for a in vars(node.op).values()]
                if scales[0] is None or scales[1] is None:
                    return None
                factor, offset = factor * scales[0], offset * scales[0] + scales[1]
                names.append(node.name)
            case Relu() | Activation():
                rises = isinstance(node.op, Relu) or node.op.function.turn is None
                if moved and isinstance(node.op, Activation) and isinstance(node.op.function, Steps):
                    rises = node.op.function.channels is None  # its channels may be others than those of the pool
                return Ahead(node.op, factor, offset, (*names, node.name)) if rises else None
            case _:
                return None
    return None


def _by_channel(array: np.ndarray, ndim: int, channels: int, moved: bool) -> np.ndarray | None:
    """A constant of a scale as one value per channel, None if it is not."""
    if array.size == 1:
        return np.full(channels, float(array.ravel()[0]))
    full = array.reshape((1,) * (ndim - array.ndim) + array.shape)
    return None if moved or full.size != full.shape[0] else full.ravel().astype(np.float64)


def _function(node: Node) -> Function | None:
    if isinstance(node.op, Relu):
        return POSITIVE
    return node.op.function if isinstance(node.op, Activation) else None


def _op(function: Function) -> Relu | Activation:
    return Relu() if function == POSITIVE else Activation(function)


def _merged(graph: Graph, kept: dict[str, Node], node: Node) -> tuple[Node, Function] | None:
    """The function node that `node` can be merged into, and the function of both."""
    second = _function(node)
    if second is None or node.inputs[0] not in kept:
        return None
    before = kept[node.inputs[0]]
    shift = 0.0
    if isinstance(before.op, Scale) and before.inputs[0] in kept and _alone(graph, before):
        factor, offset = np.unique(before.op.factor), np.unique(before.op.offset)
        source = kept[before.inputs[0]]
        if len(factor) != 1 or len(offset) != 1 or factor[0] != 1 or _function(source) is None:
            return None
        before, shift = source, float(offset[0])
    first = _function(before)
    if first is None or not _alone(graph, before):
        return None
    function = _composed(first, shift, second)
    return None if function is None else (before, function)


def _alone(graph: Graph, node: Node) -> bool:
    """Whether one layer alone reads the node."""
    return len(graph.readers(node.name)) == 1


def _composed(first: Function, shift: float, second: Function) -> Function | None:
    """x -> second(first(x) + shift) as one function."""
    if first.name in ("sign", "bipolar"):
        values = np.array([-1.0, 0.0, 1.0]) if first.name == "sign" else np.array([first.low, first.high, first.high])
        low, middle, high = second.exact(values + shift).tolist()
        if high > 0 and low == -high and middle == high:
            return Function("bipolar", (high,))
        return Function("sign") if (low, middle, high) == (-1, 0, 1) else None
    if shift:
        return None
    match first, second:
        case Function("clip", (a, b)), Function("clip", (c, d)) if max(a, c) < min(b, d):
            return Function("clip", (max(a, c), min(b, d)))
        case (Function("clip", (a, b)), Function("quantise", (scale, zero, low, high))) | (
            Function("quantise", (scale, zero, low, high)),
            Function("clip", (a, b)),
        ):
            bottom, top = _step(a, scale, zero), _step(b, scale, zero)
            if None not in (bottom, top) and max(low, bottom) < min(high, top):  # type: ignore[type-var]
                return Function("quantise", (scale, zero, max(low, bottom), min(high, top)))  # type: ignore[type-var]
    return None


def _step(value: float, scale: float, zero: float) -> float | None:
    """The step of a quantiser that `value` is, None where it lies between steps."""
    if value in (-inf, inf):
        return value
    step = value / scale + zero
    return float(round(step)) if abs(step - round(step)) < 1e-6 else None
