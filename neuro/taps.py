"""How the compiled kernels see a linear stage: which source positions each target position hears, and through what.

Neurons of a population lie at positions, all with the same channels. A convolution, a dense layer behind any reshape,
a pool and a sum of branches are all lists of *taps*: (target position, source position, block of weight rows with a
row for each source channel). Synapses from a channel to the same channel (pools, depthwise kernels, identity branches)
are *points*: (target position, source position, weight by channel).
"""

from dataclasses import dataclass, field, replace
from itertools import product
from math import prod

import numpy as np
from jaxtyping import Int

from neuro.graph import Graph
from neuro.layers import Add, Concat, Conv, Dense, Pad, Reshape, Scale, Shape, SumPool, Transpose
from neuro.stages import is_population, sources, stage

ALIGN = 8
"""Blocks of weight rows begin at whole bytes of a bit row."""


class NoTaps(Exception):
    """The stage has no such form, for the reason given."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Where a population's neurons lie: neuron [position, channel], each an index in the row-major order of `shape`."""

    shape: Shape
    neurons: Int[np.ndarray, "position channel"]

    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Position and channel of every neuron."""
        found = np.empty((2, self.neurons.size), np.int64)
        found[:, self.neurons.ravel()] = np.indices(self.neurons.shape).reshape(2, -1)
        return found[0], found[1]


def by_channel(shape: Shape) -> Layout:
    """The layout of a map [channel, *space], or of a vector, whose neurons are channels of one position."""
    positions = prod(shape[1:])
    return Layout(shape, np.arange(prod(shape)).reshape(shape[0], positions).T)


@dataclass(frozen=True, eq=False)
class Taps:
    """A stage as lists. taps [tap, 4]: target, source, position, first weight row. points [point, 4]: target, source,
    position, row of point_weights. weights [row, channel]; point_weights [row, channel]; layout: of the targets."""

    sources: tuple[str, ...]
    layout: Layout
    taps: Int[np.ndarray, "tap 4"]
    points: Int[np.ndarray, "point 4"]
    weights: np.ndarray
    point_weights: np.ndarray

    @property
    def once(self) -> bool:
        """Whether no target hears a weight row from two places, so that its rows are one string of bits."""
        pairs = self.taps[:, [0, 3]]
        return len(np.unique(pairs, axis=0)) == len(pairs)


@dataclass(frozen=True, eq=False)
class _Plane:
    """A value that is still one source's spikes: ids of its neurons in the value's shape, -1 for none."""

    source: int
    ids: np.ndarray


@dataclass(eq=False)
class _Rows:
    """Weight rows gathered so far, blocks that are equal stored once; blocks begin at multiples of `align`."""

    align: int
    blocks: dict[tuple, int] = field(default_factory=dict)
    parts: list[np.ndarray] = field(default_factory=list)
    number: int = 0

    def add(self, key: tuple, make) -> int:
        """The first row of the block `key`, made if it is new."""
        if key not in self.blocks:
            block = make()
            block = np.pad(block, ((0, -len(block) % self.align), (0, 0)))
            self.blocks[key] = self.number
            self.parts.append(block)
            self.number += len(block)
        return self.blocks[key]


@dataclass(frozen=True, eq=False)
class _Heard:
    """A weighted value: lists as in `Taps`, and where its elements lie."""

    layout: Layout
    taps: np.ndarray
    points: np.ndarray


NONE = np.zeros((0, 4), np.int64)


def taps(graph: Graph, name: str, layouts: dict[str, Layout]) -> Taps:
    """The stage of population `name`, whose sources lie as `layouts` says.

    Raises:
        NoTaps: an operator, or an order of operators, that has no such form.
    """
    feeds = tuple(sources(graph, name))
    values: dict[str, list[_Plane] | _Heard] = {
        s: [_Plane(i, np.arange(graph.size(s)).reshape(graph.shapes[s]))] for i, s in enumerate(feeds)
    }
    places = [layouts[s].places() for s in feeds]
    widths = [layouts[s].neurons.shape[1] for s in feeds]
    rows, pointed = _Rows(ALIGN), _Rows(1)
    for node in stage(graph, name):
        given = [values[i] for i in node.inputs]
        shape = graph.shapes[node.name]
        match node.op, given[0]:
            case Add(), _:
                values[node.name] = _sum(given, places, shape, pointed)
            case Concat(axis=axis), _:
                values[node.name] = _joined(given, [graph.shapes[i] for i in node.inputs], axis)
            case Conv() | Dense(), list() as planes:
                if isinstance(node.op, Dense):
                    values[node.name] = _dense(node.name, node.op, planes, places, widths, rows)
                else:
                    values[node.name] = _conv(node.name, node.op, planes, places, widths, shape, rows, pointed)
            case Scale(factor=factor), _ if (factor == 1).all():
                values[node.name] = given[0]
            case Reshape() | Transpose() | Pad() | SumPool(), list() as planes:
                values[node.name] = [p for plane in planes for p in _moved(node.op, plane, shape)]
            case Reshape(), _Heard() as heard:
                values[node.name] = replace(heard, layout=Layout(shape, heard.layout.neurons))
            case Transpose(order=order), _Heard() as heard:
                index = np.arange(heard.layout.neurons.size).reshape(heard.layout.shape).transpose(order).ravel()
                moved = np.empty_like(index)
                moved[index] = np.arange(len(index))
                values[node.name] = replace(heard, layout=Layout(shape, moved[heard.layout.neurons]))
            case SumPool(), _Heard() as heard:
                values[node.name] = _pooled(node.op, heard, shape)
            case _:
                raise NoTaps(f"{node.name}: {type(node.op).__name__} where it stands has no taps")
    last = values[graph[name].inputs[0] if is_population(graph[name]) else name]
    if isinstance(last, list):
        last = _unit(last, places, graph.shapes[name], pointed)
    layout = Layout(graph.shapes[name], last.layout.neurons)
    channels = layout.neurons.shape[1]
    return Taps(feeds, layout, last.taps, last.points, _stacked(rows, channels), _stacked(pointed, channels))


def windows(graph: Graph, name: str, layouts: dict[str, Layout]) -> tuple[str, Layout, list[np.ndarray]]:
    """A max-pool population: its source, its layout, and the source positions in the window of each position.

    Raises:
        NoTaps: the source is not a map of channels.
    """
    (source,) = sources(graph, name)
    plane = _Plane(0, np.arange(graph.size(source)).reshape(graph.shapes[source]))
    for node in stage(graph, name):
        if not isinstance(node.op, Reshape | Transpose):
            raise NoTaps(f"{node.name}: {type(node.op).__name__} before a max-pool")
        (plane,) = _moved(node.op, plane, graph.shapes[node.name])
    op, shape = graph[name].op, graph.shapes[name]
    layout = by_channel(shape)
    members: list[list[int]] = [[] for _ in layout.neurons]
    for moved in _moved(SumPool(op.kernel, op.stride, op.pads), plane, shape):  # type: ignore[union-attr]
        for target, position in zip(*_aligned(moved, layouts[source].places(), layout), strict=True):
            members[target].append(int(position))
    return source, layout, [np.array(m, np.int64) for m in members]


def _sum(values: list, places, shape: Shape, pointed: _Rows) -> list[_Plane] | _Heard:
    first, second = values
    if isinstance(first, list) and isinstance(second, list):
        return [*first, *second]
    first, second = (_unit(v, places, shape, pointed) if isinstance(v, list) else v for v in values)
    if not np.array_equal(first.layout.neurons, second.layout.neurons):
        raise NoTaps("branches whose neurons lie differently are added")
    taps, points = (np.concatenate(both) for both in ((first.taps, second.taps), (first.points, second.points)))
    return _Heard(first.layout, taps, points)


def _joined(values: list, shapes: list[Shape], axis: int) -> list[_Plane]:
    """Inputs one behind the other: each its own planes, empty where the others are."""
    if not all(isinstance(planes, list) for planes in values):
        raise NoTaps("branches with weights are joined")
    ends = np.cumsum([0, *(shape[axis] for shape in shapes)])
    found = []
    for planes, first, last in zip(values, ends, ends[1:], strict=False):
        around = [(int(first), int(ends[-1] - last)) if i == axis else (0, 0) for i in range(len(shapes[0]))]
        found += [replace(p, ids=np.pad(p.ids, around, constant_values=-1)) for p in planes]
    return found


def _moved(op: Reshape | Transpose | Pad | SumPool, plane: _Plane, shape: Shape) -> list[_Plane]:
    """The planes that a layout operator makes of one; a pool adds up one plane for each place in its window."""
    match op:
        case Reshape():
            return [replace(plane, ids=plane.ids.reshape(shape))]
        case Transpose(order=order):
            return [replace(plane, ids=plane.ids.transpose(order))]
        case Pad(pads=pads):
            return [replace(plane, ids=np.pad(plane.ids, pads, constant_values=-1))]
    padded = np.pad(plane.ids, ((0, 0), *op.pads), constant_values=-1)
    return [
        replace(plane, ids=padded[(slice(None), *_strided(offset, op.stride, shape[1:]))])
        for offset in product(*(range(k) for k in op.kernel))
    ]


def _strided(begin: tuple[int, ...], stride: tuple[int, ...], number: Shape) -> tuple[slice, ...]:
    return tuple(slice(b, b + s * (n - 1) + 1, s) for b, s, n in zip(begin, stride, number, strict=True))


def _column(ids: np.ndarray, places) -> tuple[np.ndarray, np.ndarray]:
    """Source position of every column of ids [channel, column] (-1 for an empty one), and the channels' order."""
    position, channel = places
    inside = ids >= 0
    if not (inside == inside[:1]).all():
        raise NoTaps("channels of one position come from inside and outside a map")
    full = np.flatnonzero(inside[0])
    where, order = position[ids[:, full]], channel[ids[:, full]]
    if (where != where[:1]).any() or (order != order[:, :1]).any():
        raise NoTaps("channels of one position come from several positions")
    result = np.full(ids.shape[1], -1)
    result[full] = where[0]
    return result, order[:, 0] if len(full) else np.arange(len(ids))


def _aligned(plane: _Plane, places, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (target, source position) of a plane that goes from channels to the same channels."""
    ids = plane.ids.ravel()[layout.neurons].T
    where, order = _column(ids, places)
    if (order != np.arange(len(order))).any():
        raise NoTaps("channels are permuted")
    target = np.flatnonzero(where >= 0)
    return target, where[target]


def _unit(planes: list[_Plane], places, shape: Shape, pointed: _Rows) -> _Heard:
    """Spikes that arrive as they are, each with weight one."""
    layout = by_channel(shape)
    channels = layout.neurons.shape[1]
    row = pointed.add(("one",), lambda: np.ones((1, channels), np.int64))
    found = [
        np.stack(np.broadcast_arrays(target, plane.source, where, row), axis=1)
        for plane in planes
        for target, where in [_aligned(plane, places[plane.source], layout)]
    ]
    return _Heard(layout, NONE, np.concatenate(found))


def _dense(name: str, op: Dense, planes: list[_Plane], places, widths, rows: _Rows) -> _Heard:
    found = []
    for plane in planes:
        position, channel = (p[plane.ids] for p in places[plane.source])
        if (plane.ids < 0).any():
            position = np.where(plane.ids < 0, -1, position)
        order = np.argsort(position, kind="stable")
        edges = np.flatnonzero(np.diff(position[order], prepend=position[order[0]] - 1))
        for members in np.split(order, edges[1:]):
            if position[members[0]] < 0:
                continue

            def block(members=members, channel=channel, width=widths[plane.source]):
                weight = np.zeros((width, len(op.weight)), op.weight.dtype)
                np.add.at(weight, channel[members], op.weight[:, members].T)
                return weight

            key = (name, plane.source, members.tobytes(), channel[members].tobytes())
            found.append((0, plane.source, position[members[0]], rows.add(key, block)))
    return _Heard(by_channel((len(op.weight),)), np.array(found, np.int64).reshape(-1, 4), NONE)


def _conv(
    name: str, op: Conv, planes: list[_Plane], places, widths, shape: Shape, rows: _Rows, pointed: _Rows
) -> _Heard:
    layout = by_channel(shape)
    out, into = op.weight.shape[:2]
    depthwise = op.groups == out and into == 1 and op.groups > 1
    found = []
    apart = op.dilation or (1,) * (op.weight.ndim - 2)
    for plane in planes:
        used = np.flatnonzero((plane.ids >= 0).reshape(len(plane.ids), -1).any(axis=1))
        if len(used) < len(plane.ids) and op.groups > 1:
            raise NoTaps(f"{name}: a grouped kernel over branches that are joined")
        padded = np.pad(plane.ids[used], ((0, 0), *op.pads), constant_values=-1)
        for tap in product(*(range(k) for k in op.weight.shape[2:])):
            begin = tuple(t * a for t, a in zip(tap, apart, strict=True))
            seen = padded[(slice(None), *_strided(begin, op.stride, shape[1:]))].reshape(len(padded), -1)
            where, order = _column(seen, places[plane.source])
            weight = op.weight[(slice(None), slice(None) if op.groups > 1 else used, *tap)]
            if depthwise:
                if (order != np.arange(len(order))).any():
                    raise NoTaps(f"{name}: a depthwise kernel behind permuted channels")
                row = pointed.add((name, tap), lambda weight=weight: weight.T)
            else:

                def block(weight=weight, order=order, width=widths[plane.source]):
                    full = np.zeros((width, out), weight.dtype)
                    for g in range(op.groups):
                        mine = slice(g * (out // op.groups), (g + 1) * (out // op.groups))
                        full[order[g * weight.shape[1] : (g + 1) * weight.shape[1]], mine] = weight[mine].T
                    return full

                row = rows.add((name, plane.source, tap, used.tobytes(), order.tobytes()), block)
            target = np.flatnonzero(where >= 0)
            found.append(np.stack(np.broadcast_arrays(target, plane.source, where[target], row), axis=1))
    lists = np.concatenate([NONE, *found])
    return _Heard(layout, NONE, lists) if depthwise else _Heard(layout, lists, NONE)


def _pooled(op: SumPool, heard: _Heard, shape: Shape) -> _Heard:
    """What the members of every window hear, together."""
    layout = by_channel(shape)
    plane = _Plane(0, np.arange(heard.layout.neurons.size).reshape(heard.layout.shape))
    pairs = [_aligned(moved, heard.layout.places(), layout) for moved in _moved(op, plane, shape)]

    def spread(lists: np.ndarray) -> np.ndarray:
        order = np.argsort(lists[:, 0], kind="stable")
        ends = np.searchsorted(lists[order, 0], np.arange(len(heard.layout.neurons) + 1))
        parts: list[np.ndarray] = [NONE]
        for target, member in pairs:
            number = ends[member + 1] - ends[member]
            inner = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number)
            mine = lists[order[np.repeat(ends[member], number) + inner]]
            mine[:, 0] = np.repeat(target, number)
            parts.append(mine)
        return np.concatenate(parts)

    return _Heard(layout, spread(heard.taps), spread(heard.points))


def _stacked(rows: _Rows, channels: int) -> np.ndarray:
    return np.concatenate(rows.parts) if rows.parts else np.zeros((0, channels), np.int64)
