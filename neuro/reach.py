"""How many synapses lead from every source neuron onto groups of neurons, and what arrives over them.

A stage of linear operators is walked in NumPy, backwards from the members of a group or forwards from the sources'
values; only the part of each value that is not zero is touched, so that disjoint groups together cost one walk.
"""

from math import prod

import numpy as np
from jaxtyping import Float

from neuro.graph import Graph, Node
from neuro.layers import (
    Add,
    AvgPool,
    Concat,
    Conv,
    Dense,
    MaxPool,
    Pad,
    Product,
    Reshape,
    Scale,
    Shape,
    Slice,
    SumPool,
    Transpose,
)
from neuro.stages import Reach, is_population, pattern, sources, stage


def fan_out(graph: Graph) -> Reach:
    """A function from (population, members [group, *shape]) to the synapses from every source neuron onto each group.

    members: how often each neuron of the population belongs to the group, 1 or 0. The result is, by source population,
    [group, source neuron]: the transposed stage applied to `members`, with ones for stored synapses. Parallel paths
    count separately.
    """
    ones = pattern(graph)

    def reach(name: str, members: Float[np.ndarray, "group ..."]) -> dict[str, Float[np.ndarray, "group neuron"]]:
        found = {s: np.zeros((len(members), graph.size(s)), np.float32) for s in sources(graph, name)}
        ends = [graph[name]] if is_population(graph[name]) else []
        for group, mine in enumerate(members):
            leaving = {name: np.asarray(mine, np.float32)}
            for node in reversed([*stage(ones, name), *ends]):
                if (value := leaving.pop(node.name, None)) is None:
                    continue
                shares = _shares(node, value, [graph.shapes[i] for i in node.inputs])
                for feed, share in zip(node.inputs, shares, strict=True):
                    back = _backwards(node, share, graph.shapes[feed])
                    leaving[feed] = leaving[feed] + back if feed in leaving else back
            for source, counts in found.items():
                counts[group] = leaving[source].reshape(-1)
        return found

    return reach


def arrivals(graph: Graph, name: str, values: dict[str, np.ndarray]) -> Float[np.ndarray, "neuron"]:
    """What arrives at each neuron of population `name` if every synapse hands on its source's value.

    values: by source population, of its neurons in order. With ones it is the fan-in, with spike counts the synaptic
    operations.
    """
    ones = pattern(graph)
    reached = {s: np.asarray(values[s], np.float32).reshape(graph.shapes[s]) for s in sources(graph, name)}
    for node in [*stage(ones, name), *([graph[name]] if is_population(graph[name]) else [])]:
        each = [_forwards(node, reached[feed], graph.shapes[node.name]) for feed in node.inputs]
        if isinstance(node.op, Product):  # a membrane hears a row of one side and a column of the other
            reached[node.name] = each[0].sum(axis=-1, keepdims=True) + each[1].sum(axis=-2, keepdims=True)
        elif isinstance(node.op, Concat):
            reached[node.name] = np.concatenate(each, axis=node.op.axis)
        else:
            reached[node.name] = np.sum(each, axis=0)
    return reached[name].reshape(-1)


def _shares(node: Node, y: np.ndarray, shapes: list[Shape]) -> list[np.ndarray]:
    """What of a node's value goes back to each of its inputs: its part of a concatenation, else all of it.

    A value of a product's one side acts on all membranes of its row or column, times what the other side has sent.
    """
    if isinstance(node.op, Product):
        rows, columns = y.sum(axis=-1, keepdims=True), y.sum(axis=-2, keepdims=True)
        return [np.broadcast_to(share, shape) for share, shape in zip((rows, columns), shapes, strict=True)]
    if not isinstance(node.op, Concat):
        return [y] * len(shapes)
    axis = node.op.axis
    return np.split(y, np.cumsum([shape[axis] for shape in shapes])[:-1], axis=axis)


def _forwards(node: Node, x: np.ndarray, shape: Shape) -> np.ndarray:
    match node.op:
        case Conv(weight=weight, groups=groups):
            first = np.pad(x, ((0, 0), *node.op.pads))
            kernels = _taps(weight, groups)  # [group, out, in, tap]
            total = np.zeros((groups, kernels.shape[1], prod(shape[1:])), np.float32)
            for tap, offset in enumerate(_offsets(node.op)):
                seen = first[(slice(None), *_strided(offset, node.op.stride, shape[1:]))]
                total += kernels[..., tap] @ seen.reshape(groups, kernels.shape[2], -1)
            return total.reshape(shape)
        case SumPool() | AvgPool() | MaxPool():  # a pooling compartment has one synapse from each of its window
            first, total = np.pad(x, ((0, 0), *node.op.pads)), np.zeros(shape, np.float32)
            for offset in _offsets(node.op):
                total += first[(slice(None), *_strided(offset, node.op.stride, shape[1:]))]
            return total
        case Dense(weight=weight):
            return np.asarray(weight, np.float32) @ x
        case Scale(factor=factor):
            return x * (factor != 0)
        case Transpose(order=order):
            return x.transpose(order)
        case Pad(pads=pads):
            return np.pad(x, pads)
        case Slice(axis=axis, start=start, stop=stop):
            return x[(slice(None),) * axis + (slice(start, stop),)]
        case Reshape():
            return x.reshape(shape)
    return x


def _backwards(node: Node, y: np.ndarray, shape: Shape) -> np.ndarray:
    """The transpose of `_forwards`: from a value of the node to its part in an input of `shape`."""
    match node.op:
        case Conv() | SumPool() | AvgPool() | MaxPool():
            return _spread(node.op, y, shape)
        case Dense(weight=weight):
            mine = np.flatnonzero(y)
            return y[mine] @ np.asarray(weight[mine], np.float32)
        case Scale(factor=factor):
            return y * (factor != 0)
        case Transpose(order=order):
            return y.transpose(np.argsort(order))
        case Pad(pads=pads):
            return y[tuple(slice(a, a + n) for (a, _), n in zip(pads, shape, strict=True))]
        case Slice(axis=axis, start=start, stop=stop):
            return np.pad(y, [(start, n - stop) if i == axis else (0, 0) for i, n in enumerate(shape)])
        case Reshape():
            return y.reshape(shape)
        case Add():
            return y
    return y


def _spread(op: Conv | SumPool | AvgPool | MaxPool, y: np.ndarray, shape: Shape) -> np.ndarray:
    """From the box of `y` that is not zero back over the windows of a convolution or pool."""
    result = np.zeros(tuple(n + a + b for n, (a, b) in zip(shape, ((0, 0), *op.pads), strict=True)), np.float32)
    inner = tuple(slice(a, a + n) for n, (a, _) in zip(shape, ((0, 0), *op.pads), strict=True))
    places = np.nonzero(y)
    if not len(places[0]):
        return result[inner]
    (first, last), *space = [(int(p.min()), int(p.max()) + 1) for p in places]
    if isinstance(op, Conv):
        kernels = _taps(op.weight, op.groups)
        outputs, inputs = kernels.shape[1:3]
        if op.groups == 1:
            kernels, hears = kernels[:, first:last], slice(0, inputs)
        else:  # whole groups, of which the others' members are zero
            low, high = first // outputs, -(-last // outputs)
            first, last, kernels = low * outputs, high * outputs, kernels[low:high]
            hears = slice(low * inputs, high * inputs)
        box = y[(slice(first, last), *(slice(*edge) for edge in space))]
        flat = box.reshape(len(kernels), kernels.shape[1], -1)
        each = np.swapaxes(kernels.reshape(*kernels.shape[:2], -1), 1, 2) @ flat  # [group, in x tap, position]
        taps = each.reshape(hears.stop - hears.start, -1, *box.shape[1:])
    else:
        hears = slice(first, last)
        taps = y[(hears, None, *(slice(*edge) for edge in space))]
        taps = np.broadcast_to(taps, (taps.shape[0], prod(op.kernel), *taps.shape[2:]))
    for tap, offset in enumerate(_offsets(op)):
        begin = tuple(o + low * s for o, (low, _), s in zip(offset, space, op.stride, strict=True))
        result[(hears, *_strided(begin, op.stride, tuple(high - low for low, high in space)))] += taps[:, tap]
    return result[inner]


def _offsets(op: Conv | SumPool | AvgPool | MaxPool) -> list[Shape]:
    """Where each value of a window lies, counted from its first."""
    if not isinstance(op, Conv):
        return list(np.ndindex(*op.kernel))
    steps = op.dilation or (1,) * (op.weight.ndim - 2)
    return [tuple(o * d for o, d in zip(place, steps, strict=True)) for place in np.ndindex(*op.weight.shape[2:])]


def _taps(weight: np.ndarray, groups: int) -> Float[np.ndarray, "group out in tap"]:
    """Stored synapses of grouped kernels."""
    out, into = weight.shape[:2]
    return np.asarray(weight, np.float32).reshape(groups, out // groups, into, -1)


def _strided(begin: Shape, stride: Shape, number: Shape) -> tuple[slice, ...]:
    return tuple(slice(b, b + s * (n - 1) + 1, s) for b, s, n in zip(begin, stride, number, strict=True))
