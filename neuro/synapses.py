"""A graph of operators written out synapse by synapse: the oracle for whatever treats layers as wholes.

Every path from a source neuron to a target neuron through the linear operators between them is one synapse; its
weight is the product along the path. Parallel paths stay apart, as `neuro.reach.fan_out` counts them.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
from jaxtyping import Float, Int

from neuro.dynamics import Dynamics
from neuro.errors import DoesNotFit, Unsupported
from neuro.graph import Graph, Node
from neuro.layers import (
    Add,
    AvgPool,
    Conv,
    Dense,
    Input,
    MaxPool,
    Pad,
    Reshape,
    Scale,
    Shape,
    SumPool,
    Threshold,
    Transpose,
)
from neuro.network import Network, Neurons, Projection
from neuro.stages import is_population, populations, sources, stage

LARGEST = 20_000_000
"""Synapses of one stage that are written out before it is refused: some gigabytes."""


@dataclass(frozen=True, eq=False)
class Synapses:
    """Weighted pairs of values: pre, post (flat indices) and weight, each [synapse]."""

    pre: Int[np.ndarray, "synapse"]
    post: Int[np.ndarray, "synapse"]
    weight: Float[np.ndarray, "synapse"] | Int[np.ndarray, "synapse"]

    def __len__(self) -> int:
        return len(self.weight)


def unroll(graph: Graph) -> Network:
    """The network of an integer or spiking graph: a population for each of its own, a projection for each edge.

    Thresholded neurons integrate, fire at their threshold and reset by subtraction, as under the rate code; a
    max-pool neuron fires in every step in which one of its window does; the read-out never fires, its offset comes in
    every step. With a schedule, skip edges have its delays. Populations run all the time: a bias counts from step 0
    on, not from the beginning of a window.

    Raises:
        Unsupported: an operator with a bias of its own, or one that is not linear, between two populations.
        DoesNotFit: more than `LARGEST` synapses in a stage.
    """
    found, projections = [], []
    delays = graph.schedule.delays if graph.schedule else {}
    for node in populations(graph):
        found.append(Neurons(node.name, graph.shapes[node.name], _model(graph, node)))
        for source in sources(graph, node.name) if not isinstance(node.op, Input) else ():
            s = paths(graph, source, node.name)
            delay = delays.get((source, node.name), 0)
            projections.append(Projection(source, node.name, s.pre, s.post, s.weight, delay))
    return Network(graph.name, tuple(found), tuple(projections))


def paths(graph: Graph, source: str, target: str) -> Synapses:
    """Every path from population `source` to population `target`."""
    size = graph.size(source)
    arriving = {source: _identity(size)}
    inner = stage(graph, target)
    ends = [graph[target]] if is_population(graph[target]) else []
    for node in [*inner, *ends]:
        feeds = [arriving[name] for name in node.inputs if name in arriving]
        if not feeds:
            continue
        before = graph.shapes[node.inputs[0]]
        if isinstance(node.op, Scale) and node.name != target and np.any(node.op.offset):
            raise Unsupported(f"layer {node.name!r} (Scale) has an offset; convert to an integer network first.")
        own = synapses(node, before, graph.shapes[node.name])
        arriving[node.name] = _joined([compose(graph.name, feed, own, prod(before)) for feed in feeds])
    return arriving[target]


def synapses(node: Node, before: Shape, after: Shape) -> Synapses:
    """The synapses of one operator from a value of shape `before` to its own of shape `after`; zeros are none.

    Raises:
        Unsupported: the operator is not linear or has a bias.
    """
    op = node.op
    match op:
        case Conv(bias=None):
            return _convolution(op, before, after)
        case Dense(bias=None):
            post, pre = np.nonzero(op.weight)
            return Synapses(pre, post, _exact(op.weight[post, pre]))
        case SumPool() | AvgPool() | MaxPool():
            pre = _windows(before, op.kernel, op.stride, op.pads)
            channels, positions, _ = pre.shape
            post = np.broadcast_to(np.arange(channels * positions).reshape(channels, positions, 1), pre.shape)
            weight = np.full(pre.shape, 1 / prod(op.kernel)) if isinstance(op, AvgPool) else np.ones(pre.shape, int)
            return _stored(pre, post, weight)
        case Scale():
            return _stored(*_identity_pairs(prod(before)), np.broadcast_to(op.factor, before).ravel())
        case Add() | Reshape() | Threshold():
            return _identity(prod(before))
        case Transpose(order=order):
            pre = np.arange(prod(before)).reshape(before).transpose(order).ravel()
            return Synapses(pre, np.arange(pre.size), np.ones(pre.size, int))
        case Pad(pads=pads):
            pre = np.pad(np.arange(prod(before)).reshape(before), pads, constant_values=-1).ravel()
            return _stored(pre, np.arange(pre.size), np.ones(pre.size, int))
    fault = "has a bias of its own" if isinstance(op, Conv | Dense) else "is not linear"
    raise Unsupported(
        f"layer {node.name!r} ({type(op).__name__}) {fault}; convert the network to an integer one first."
    )


def compose(name: str, first: Synapses, second: Synapses, between: int) -> Synapses:
    """Every path over one synapse of `first` and one of `second`, which meet in `between` values.

    Raises:
        DoesNotFit: more than `LARGEST` of them.
    """
    degree = np.bincount(second.pre, minlength=between)
    starts = np.cumsum(degree) - degree
    repeats = degree[first.post]
    total = int(repeats.sum())
    if total > LARGEST:
        raise DoesNotFit(f"{name}: a stage of {total:,} synapses; at most {LARGEST:,} are written out one by one.")
    order = np.argsort(second.pre, kind="stable")
    left = np.repeat(np.arange(len(first)), repeats)
    within = np.arange(total) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    right = order[starts[first.post[left]] + within]
    return Synapses(first.pre[left], second.post[right], first.weight[left] * second.weight[right])


def _model(graph: Graph, node: Node) -> Dynamics | None:
    op, shape = node.op, graph.shapes[node.name]

    def each(value: np.ndarray) -> np.ndarray:
        return np.broadcast_to(value, shape).ravel().astype(np.float64)

    match op:
        case Input():
            return None
        case Threshold():
            return Dynamics(
                each(op.threshold),
                each(op.bias),
                reset="soft" if op.reset == "subtract" else "hard",
                start=each(op.initial),
            )
        case MaxPool():
            return Dynamics(1.0, decay=0.0)
        case Scale():
            return Dynamics(float("inf"), each(op.offset))
    return Dynamics(float("inf"))


def _convolution(op: Conv, before: Shape, after: Shape) -> Synapses:
    outputs, fan_in = op.weight.shape[:2]
    taken = _windows(before, op.weight.shape[2:], op.stride, op.pads)  # [channel, position, kernel]
    group = np.arange(outputs) // (outputs // op.groups)
    pre = taken.reshape(op.groups, fan_in, *taken.shape[1:])[group]
    positions = prod(after[1:])
    post = np.arange(outputs * positions).reshape(outputs, 1, positions, 1)
    weight = op.weight.reshape(outputs, fan_in, 1, -1)
    return _stored(pre, np.broadcast_to(post, pre.shape), np.broadcast_to(weight, pre.shape))


def _windows(shape: Shape, kernel: Shape, stride: Shape, pads: tuple) -> Int[np.ndarray, "channel position member"]:
    """Flat indices of the members of every window; -1 in the padding."""
    indices = np.arange(prod(shape)).reshape(shape)
    padded = np.pad(indices, ((0, 0), *pads), constant_values=-1)
    space = tuple(range(1, len(shape)))
    taken = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=space)  # pyright: ignore
    taken = taken[(slice(None), *(slice(None, None, s) for s in stride))]
    return taken.reshape(shape[0], -1, prod(kernel))


def _stored(pre: np.ndarray, post: np.ndarray, weight: np.ndarray) -> Synapses:
    """What lies in no padding and weighs something, flat."""
    kept = (pre >= 0) & (weight != 0)
    return Synapses(pre[kept], post[kept], _exact(weight[kept]))


def _exact(weight: np.ndarray) -> np.ndarray:
    """Whole weights as int64, others as float64."""
    return weight.astype(np.int64) if np.array_equal(weight, np.rint(weight)) else weight.astype(np.float64)


def _identity_pairs(size: int) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(size), np.arange(size)


def _identity(size: int) -> Synapses:
    return Synapses(*_identity_pairs(size), np.ones(size, np.int64))


def _joined(parts: list[Synapses]) -> Synapses:
    arrays = (np.concatenate([getattr(p, key) for p in parts]) for key in ("pre", "post", "weight"))
    return Synapses(*arrays)
