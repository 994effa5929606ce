"""What every importer does with the layers it has found: name them, join them, drop the dead ones, list refusals."""

from collections import Counter
from dataclasses import dataclass, replace
from math import prod
from typing import TypeAlias

import numpy as np

from neuro.errors import Refusal, Unsupported, unsupported
from neuro.graph import Node
from neuro.layers import Conv, Dense, Op, Reshape, Scale, Shape, Transpose, output_shape

LARGEST = 2**26
"""Most values that a layer may give for each sample."""


@dataclass(frozen=True)
class Stream:
    """A tensor computed from the network's input: the layer that gives it, its shape per sample or None if unknown.

    batch: which axis of the tensor the batch is, where the file does not have it first.
    """

    layer: str
    shape: Shape | None
    batch: int = 0


@dataclass(frozen=True)
class Unknown:
    """A constant that cannot be computed here."""


Value: TypeAlias = np.ndarray | Stream | Unknown


class Refused(Exception):
    """The operator, as configured, has no equal here; the message is the reason."""


class NotKnown(Exception):
    """The operator reads something that an earlier, refused one gives: nothing more can be said about it."""


def listed(file: str, problems: list[tuple[str, str, str]], remedy: str) -> Unsupported:
    """The error about refused layers (operator, name, reason) of `file`, with what to try."""
    refusals = [Refusal(name, op, reason) for op, name, reason in problems]
    return unsupported(file, "cannot be represented", refusals, remedy)


def check_size(shape: Shape) -> None:
    """Refuses layers that give more than `LARGEST` values for each sample."""
    if prod(shape) > LARGEST:
        raise Refused(f"it gives {prod(shape):,} values for each sample; the limit is {LARGEST:,}")


def unique(name: str, taken: set[str]) -> str:
    """`name`, with a number behind it where it is taken."""
    count, free = 2, name
    while free in taken:
        free, count = f"{name}_{count}", count + 1
    return free


def chain(name: str, ops: tuple[Op, ...], streams: list[Stream], taken: set[str]) -> tuple[list[Node], Stream]:
    """`ops` one behind the other, and what they give. The one that counts is called `name`, not the layouts beside it.

    Without `ops`, the first stream passes through.
    """
    named = next((i for i, op in enumerate(ops) if not isinstance(op, Reshape | Transpose)), 0)
    nodes: list[Node] = []
    for i, op in enumerate(ops):
        shapes = [s.shape for s in streams if s.shape is not None]
        shape = output_shape(op, shapes) if len(shapes) == len(streams) else None
        check_size(shape or ())
        layer = name if i == named else unique(f"{name}_reshape", taken | {n.name for n in nodes})
        nodes.append(Node(layer, op, tuple(s.layer for s in streams)))
        streams = [Stream(layer, shape)]
    return nodes, streams[0]


def reaching(nodes: list[Node], last: str) -> list[Node]:
    """The nodes that `last` depends on, itself and the input included."""
    needed, kept = {last, nodes[0].name}, []
    for node in reversed(nodes):
        if node.name in needed:
            kept.append(node)
            needed.update(node.inputs)
    return kept[::-1]


def with_biases(nodes: list[Node], tensors: dict[str, str]) -> tuple[list[Node], dict[str, str]]:
    """Constants added per channel to a convolution or matrix product that nobody else reads, moved into its bias.

    tensors: what each layer computes in the file; the layer takes over the one of the addition.
    """
    readers = Counter(i for n in nodes for i in n.inputs)
    kept: dict[str, Node] = {}
    moved: dict[str, str] = {}
    tensors = dict(tensors)
    for node in nodes:
        merged = None
        if isinstance(node.op, Scale) and readers[node.inputs[0]] == 1:
            before = kept[moved.get(node.inputs[0], node.inputs[0])]
            merged = _biased(before.op, node.op)
            if merged is not None:
                kept[before.name] = replace(before, op=merged)
                moved[node.name] = before.name
                if node.name in tensors:
                    tensors[before.name] = tensors[node.name]
        if merged is None:
            kept[node.name] = replace(node, inputs=tuple(moved.get(i, i) for i in node.inputs))
    return list(kept.values()), tensors


def _biased(op: Op, scale: Scale) -> Op | None:
    """`op` followed by `scale` as one layer, if `op` has a bias and `scale` only adds one value per channel."""
    if not isinstance(op, Conv | Dense) or scale.factor.ndim or scale.factor != 1:
        return None
    channels, rank = len(op.weight), op.weight.ndim - 1
    offset = scale.offset.reshape((1,) * (rank - scale.offset.ndim) + scale.offset.shape)
    if prod(offset.shape[1:]) != 1:
        return None
    bias = np.broadcast_to(offset.ravel(), (channels,))
    return replace(op, bias=bias.copy() if op.bias is None else op.bias + bias)


def with_scales_joined(nodes: list[Node]) -> list[Node]:
    """Scales behind each other made one, where nobody else reads the first; those that change nothing dropped.

    The first keeps its name.
    A factor within 1e-6 of one counts as one: such is the size of a window times its inverse in float32.
    """
    readers = Counter(i for n in nodes for i in n.inputs)
    kept: dict[str, Node] = {}
    moved: dict[str, str] = {}
    for node in nodes:
        node = replace(node, inputs=tuple(moved.get(i, i) for i in node.inputs))
        if isinstance(node.op, Scale):
            before = kept[node.inputs[0]]
            if isinstance(before.op, Scale) and readers[before.name] == 1:
                del kept[before.name]
                moved[node.name] = before.name
                readers[before.name] = readers[node.name]
                node = replace(before, op=_joined(before.op, node.op))
            if isinstance(node.op, Scale) and not node.op.offset.any() and (np.abs(node.op.factor - 1) < 1e-6).all():
                moved |= {k: node.inputs[0] for k, v in moved.items() if v == node.name}
                moved[node.name] = node.inputs[0]
                readers[node.inputs[0]] += readers[node.name] - 1
                continue
        kept[node.name] = node
    return list(kept.values())


def _joined(first: Scale, second: Scale) -> Scale:
    factor, offset = second.factor.astype(np.float64), second.offset.astype(np.float64)
    return Scale(
        np.asarray(first.factor * factor).astype(np.float32),
        np.asarray(first.offset * factor + offset).astype(np.float32),
    )
