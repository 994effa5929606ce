"""Building a graph, channels first, from a file whose tensors keep their channels last.

A stream is what the file says of a tensor, and how the layer that gives it has it. Axes are moved only where a layer
needs them elsewhere; a flattened map keeps its order, and the columns of the matrix that reads it are moved instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from converters.importers.onnx_call import Refused
from neuro.errors import Unsupported, printable
from neuro.graph import Graph, Node
from neuro.layers import (
    Add,
    AvgPool,
    Concat,
    Conv,
    Dense,
    Embedding,
    Input,
    MaxPool,
    Op,
    Pad,
    Pads,
    Reshape,
    Scale,
    Shape,
    Softmax,
    Transpose,
    output_shape,
)

SIZE_LIMIT = 2**28
"""Most values that a layer may give per sample."""


@dataclass(frozen=True)
class Stream:
    """A tensor computed from the input. shape: per sample, as the file has it; layer: the node that gives it.

    order: for each axis of the node's output the axis of `before` that lies there; before: `shape`, or, where the node
    gives it flat, the shape that it had when it was flattened.
    """

    layer: str
    shape: Shape
    order: tuple[int, ...]
    before: Shape

    @property
    def in_order(self) -> bool:
        """Whether the node's values come in the file's order; axes of size 1 do not matter."""
        moving = [o for o in self.order if self.before[o] != 1]
        return moving == sorted(moving)

    @property
    def flat(self) -> bool:
        """Whether the node gives one axis."""
        return len(self.shape) == 1


def plain(layer: str, shape: Shape) -> Stream:
    """A stream that its node gives just as the file has it."""
    return Stream(layer, shape, tuple(range(len(shape))), shape)


def same_pads(size: Shape, span: Shape, stride: Shape) -> Pads:
    """TensorFlow's `same` padding: k + (⌈n/s⌉ - 1)s - n for each axis, the smaller half before."""
    wanted = [max(k + (-(-n // s) - 1) * s - n, 0) for n, k, s in zip(size, span, stride, strict=True)]
    return tuple((n // 2, n - n // 2) for n in wanted)


def listed(file: str, problems: list[tuple[str, str, str]], remedy: str) -> str:
    """The message about refused layers (operator, name, reason)."""
    count = len(problems)
    lines = "\n".join(f"  {printable(op)} {name!r}: {printable(reason, 1000)}" for op, name, reason in problems)
    return f"{file}: {count} layer{'s' * (count > 1)} cannot be represented:\n{lines}\n{remedy}"


def unique(name: str, taken: set[str]) -> str:
    """`name`, numbered if it is taken."""
    count, free = 2, name
    while free in taken:
        free, count = f"{name}_{count}", count + 1
    return free


class Builder:
    """The nodes of a graph in the making. All methods raise ValueError where shapes do not fit."""

    def __init__(self, name: str, shape: Shape) -> None:
        """Begin with an input of the given name and sample shape."""
        self.nodes: list[Node] = []
        self.shapes: dict[str, Shape] = {}
        self.moved: dict[tuple[str, tuple[int, ...]], str] = {}
        self.add(name, Input(shape))

    @property
    def entrance(self) -> Stream:
        """The input."""
        return plain(self.nodes[0].name, self.shapes[self.nodes[0].name])

    def add(self, name: str, op: Op, *layers: str) -> str:
        """A node that reads `layers`; its name, numbered if need be."""
        shape = output_shape(op, [self.shapes[i] for i in layers])
        if prod(shape) > SIZE_LIMIT:
            raise ValueError(f"{prod(shape)} values {shape} exceed the limit of {SIZE_LIMIT}")
        name = unique(name, set(self.shapes)) if name in self.shapes else name
        self.nodes.append(Node(name, op, layers))
        self.shapes[name] = shape
        return name

    def each(self, x: Stream, name: str, op: Op) -> Stream:
        """A function of every value."""
        return replace(x, layer=self.add(name, op, x.layer))

    def scaled(self, x: Stream, name: str, factor: np.ndarray, offset: np.ndarray) -> Stream:
        """factor · x + offset, both broadcast against the sample as the file has it."""
        return self.each(x, name, Scale(self._turned(x, factor), self._turned(x, offset)))

    def _turned(self, x: Stream, constant: np.ndarray) -> np.ndarray:
        constant = np.asarray(constant, np.float32)
        if constant.size == 1:
            return constant.reshape(())
        if constant.ndim > len(x.shape) or np.broadcast_shapes(constant.shape, x.shape) != x.shape:
            raise Refused(f"a constant of {constant.shape} enlarges an input of {x.shape}")
        if x.flat:
            return constant[np.argsort(_places(x))]
        return constant.reshape((1,) * (len(x.shape) - constant.ndim) + constant.shape).transpose(x.order)

    def arranged(self, x: Stream, order: tuple[int, ...]) -> Stream:
        """The same tensor from a node that has the file's axes in the given order."""
        if x.before != x.shape:
            x = self.settled(x)
        if x.order == order:
            return x
        key = (x.layer, order)
        if key not in self.moved:
            turn = Transpose(tuple(x.order.index(o) for o in order))
            self.moved[key] = self.add(f"{x.layer}_transpose", turn, x.layer)
        return replace(x, layer=self.moved[key], order=order)

    def settled(self, x: Stream) -> Stream:
        """The same tensor from a node that has it as the file has it."""
        if x.before == x.shape:
            return self.arranged(x, tuple(range(len(x.shape))))
        if not x.in_order:
            inner = self.add(f"{x.layer}_reshape", Reshape(tuple(x.before[o] for o in x.order)), x.layer)
            back = self.arranged(Stream(inner, x.before, x.order, x.before), tuple(range(len(x.before))))
            x = replace(x, layer=self.add(f"{x.layer}_reshape", Reshape(x.shape), back.layer))
        return plain(x.layer, x.shape)

    def reshaped(self, x: Stream, name: str, shape: Shape) -> Stream:
        """The values in the file's order under another shape."""
        if shape == x.shape:
            return x
        if prod(shape) != prod(x.shape):
            raise ValueError(f"{x.shape} cannot be reshaped to {shape}")
        if x.before != x.shape:
            x = self.settled(x)
        if x.in_order:
            return plain(self.add(name, Reshape(shape), x.layer), shape)
        if len(shape) == 1:
            return replace(x, layer=self.add(name, Reshape(shape), x.layer), shape=shape)
        old, new = ([i for i, n in enumerate(s) if n != 1] for s in (x.shape, shape))
        if [x.shape[i] for i in old] == [shape[i] for i in new]:  # only axes of size 1 come or go
            kept = [new[old.index(o)] for o in x.order if o in old]
            order = (*kept, *(i for i in range(len(shape)) if i not in kept))
            return Stream(self.add(name, Reshape(tuple(shape[o] for o in order)), x.layer), shape, order, shape)
        x = self.settled(x)
        return plain(self.add(name, Reshape(shape), x.layer), shape)

    def permuted(self, x: Stream, order: Sequence[int]) -> Stream:
        """The file's axes in another order; nothing is moved yet."""
        if sorted(order) != list(range(len(x.shape))):
            raise ValueError(f"order {tuple(order)} does not permute the axes of {x.shape}")
        if x.flat:
            return x
        shape = tuple(x.shape[i] for i in order)
        return Stream(x.layer, shape, tuple(list(order).index(o) for o in x.order), shape)

    def padded(self, x: Stream, name: str, pads: Pads) -> Stream:
        """Zeros around; one pair for each axis of the file."""
        if not any(map(any, pads)):
            return x
        x = self.settled(x) if x.flat else x
        if len(pads) != len(x.shape):
            raise ValueError(f"pads {pads} do not fit {x.shape}")
        shape = tuple(n + a + b for n, (a, b) in zip(x.shape, pads, strict=True))
        return Stream(self.add(name, Pad(tuple(pads[o] for o in x.order)), x.layer), shape, x.order, shape)

    def windowed(self, x: Stream, name: str, op: Conv | MaxPool | AvgPool, channels: int = -1) -> Stream:
        """A convolution or pool over the axes other than `channels`."""
        rank = len(x.shape)
        channels %= rank
        order = (channels, *(i for i in range(rank) if i != channels))
        layer = self.add(name, op, self.arranged(x, order).layer)
        sizes = dict(zip(order, self.shapes[layer], strict=True))
        shape = tuple(sizes[i] for i in range(rank))
        return Stream(layer, shape, order, shape)

    def averaged(self, x: Stream, name: str, keep: bool, channels: int = -1, largest: bool = False) -> Stream:
        """The mean (or the largest) over all axes but `channels`, which stay as axes of size 1 if asked."""
        kernel = tuple(n for i, n in enumerate(x.shape) if i != channels % len(x.shape))
        few_axes(len(kernel))
        kind = MaxPool if largest else AvgPool
        y = self.windowed(x, name, kind(kernel, kernel, ((0, 0),) * len(kernel)), channels)
        return y if keep else self.reshaped(y, f"{name}_reshape", (x.shape[channels],))

    def dense(self, x: Stream, name: str, weight: np.ndarray, bias: np.ndarray | None) -> Stream:
        """A matrix [out, in] applied along the file's last axis; over several places a convolution of size 1."""
        if weight.ndim != 2 or x.shape[-1] != weight.shape[1]:
            raise ValueError(f"weight {weight.shape} does not fit an input of {x.shape}")
        if x.flat:
            moved = weight if x.in_order else np.ascontiguousarray(weight[:, np.argsort(_places(x))])
            return plain(self.add(name, Dense(moved, bias), x.layer), (len(weight),))
        outside = x.shape[:-1]
        if prod(outside) == 1 or len(outside) > 2:
            flat = self.reshaped(x, f"{name}_reshape", (*((prod(outside),) if prod(outside) > 1 else ()), x.shape[-1]))
            return self.reshaped(self.dense(flat, name, weight, bias), f"{name}_reshape", (*outside, len(weight)))
        ones = (1,) * len(outside)
        op = Conv(weight.reshape(*weight.shape, *ones), bias, ones, ((0, 0),) * len(ones))
        return self.windowed(x, name, op)

    def summed(self, streams: Sequence[Stream], name: str) -> Stream:
        """The sum of streams of one shape."""
        if len({s.shape for s in streams}) != 1:
            raise Refused(f"operands of {' and '.join(str(s.shape) for s in streams)}; only equal shapes can be added")
        first, *others = self._alike(streams)
        for i, other in enumerate(others, start=1):
            inner = name if i == len(others) else f"{name}_part"
            first = replace(first, layer=self.add(inner, Add(), first.layer, other.layer))
        return first

    def joined(self, streams: Sequence[Stream], name: str, axis: int) -> Stream:
        """The streams one behind the other along an axis of the file."""
        if not 0 <= axis < len(streams[0].shape) or len({len(s.shape) for s in streams}) > 1:
            raise ValueError(f"inputs of {[s.shape for s in streams]} cannot be joined along axis {axis}")
        parts = [self.settled(s) for s in streams] if streams[0].flat else self._alike(streams)
        layer = self.add(name, Concat(parts[0].order.index(axis)), *(p.layer for p in parts))
        shape = tuple(sum(p.shape[i] for p in parts) if i == axis else n for i, n in enumerate(parts[0].shape))
        return Stream(layer, shape, parts[0].order, shape)

    def _alike(self, streams: Sequence[Stream]) -> list[Stream]:
        first = streams[0]
        if all((s.order, s.before) == (first.order, first.before) for s in streams):
            return list(streams)
        if first.flat:
            return [self.settled(s) for s in streams]
        return [self.arranged(s, first.order) for s in streams]

    def looked_up(self, x: Stream, name: str, table: np.ndarray) -> Stream:
        """Rows of a table by whole numbers; they become a last axis."""
        shape = (*x.shape, *table.shape[-1:])
        return plain(self.add(name, Embedding(table), self.settled(x).layer), shape)

    def softmax(self, x: Stream, name: str) -> Stream:
        """Softmax along the file's last axis, which must be the only one of more than one value."""
        if prod(x.shape[:-1]) != 1:
            raise Refused(f"a softmax at {prod(x.shape[:-1])} places of {x.shape}; only over a flat sample")
        flat = self.settled(self.reshaped(x, f"{name}_reshape", x.shape[-1:]))
        return self.reshaped(self.each(flat, name, Softmax()), f"{name}_reshape", x.shape)

    def graph(self, name: str, output: Stream, kinds: dict[str, str], remedy: str) -> Graph:
        """All that `output` depends on, as a graph; reshapes and transposes of each other are merged.

        kinds: the file's operator of each softmax, for the message.

        Raises:
            BadInput: NaN or infinite weights.
            Unsupported: a softmax that is not the last layer.
        """
        last = self.settled(output).layer
        nodes, last = _merged(self.nodes, self.shapes, last)
        nodes = reaching(nodes, last)
        early = [n.name for n in nodes if isinstance(n.op, Softmax) and n.name != last]
        if early:
            reason = "only the last layer may be a softmax"
            raise Unsupported(listed(name, [(kinds.get(n, "Softmax"), n, reason) for n in early], remedy))
        return Graph(name, tuple(nodes))


def few_axes(count: int) -> None:
    """Refuse maps of more than two axes."""
    if count not in (1, 2):
        raise Refused(f"{count} spatial axes; only 1 or 2")


def reaching(nodes: Sequence[Node], last: str) -> list[Node]:
    """The nodes that `last` depends on, itself and the input included."""
    needed, kept = {last, nodes[0].name}, []
    for node in reversed(nodes):
        if node.name in needed:
            kept.append(node)
            needed.update(node.inputs)
    return kept[::-1]


def _places(x: Stream) -> np.ndarray:
    """For each value of a flat stream, in the file's order, its place in what the node gives."""
    moved = np.arange(prod(x.before)).reshape([x.before[o] for o in x.order])
    return moved.transpose(np.argsort(x.order)).ravel()


def _merged(nodes: Sequence[Node], shapes: dict[str, Shape], last: str) -> tuple[list[Node], str]:
    """Reshapes of reshapes and transposes of transposes made one, and those that change nothing left out."""
    kept: dict[str, Node] = {}
    instead: dict[str, str] = {}
    for node in nodes:
        node = replace(node, inputs=tuple(instead.get(i, i) for i in node.inputs))
        before = kept[node.inputs[0]] if node.inputs else None
        if before is not None and isinstance(node.op, Reshape) and isinstance(before.op, Reshape):
            node = replace(node, inputs=before.inputs)
        elif before is not None and isinstance(node.op, Transpose) and isinstance(before.op, Transpose):
            node = Node(node.name, Transpose(tuple(before.op.order[i] for i in node.op.order)), before.inputs)
        idle = isinstance(node.op, Reshape) and shapes[node.inputs[0]] == node.op.shape
        idle = idle or (isinstance(node.op, Transpose) and list(node.op.order) == sorted(node.op.order))
        if idle:
            instead[node.name] = node.inputs[0]
        kept[node.name] = node
    return [n for n in kept.values() if n.name not in instead], instead.get(last, last)
