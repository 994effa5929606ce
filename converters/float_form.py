"""The float network that does what an integer network does: for files that bring the integer one alone."""

import numpy as np

from converters.quantise import Quantised
from neuro.errors import BadInput
from neuro.graph import Graph, Node
from neuro.layers import Activation, Add, AvgPool, Conv, Dense, Input, Op, Reshape, Scale, SumPool, Threshold
from neuro.steps import Steps


def float_form(integer: Quantised, gain: np.ndarray, offset: np.ndarray) -> Graph:
    """A float graph of the same layers, whose values are the counts: neurons are steps at the multiples of their
    threshold, and the read-out gives what its membrane stands for.

    gain, offset: broadcastable to the input's shape; a count n stands for offset + gain n. Membranes are whole numbers,
    so that steps lie half a unit below them, where float32 decides nothing else.

    Raises:
        BadInput: thresholds that differ within a channel, or a layer that none of the float vocabulary equals.
    """
    graph = integer.graph
    nodes: list[Node] = []
    names: dict[str, str] = {}
    for node in graph.nodes:
        feeds = tuple(names[i] for i in node.inputs)
        for k, (own, op) in enumerate(_forms(integer, node, gain, offset)):
            nodes.append(Node(own, op, feeds if not k else (nodes[-1].name,)))
            names[node.name] = own
            feeds = (own,)
    return Graph(graph.name, tuple(nodes))


def _forms(integer: Quantised, node: Node, gain: np.ndarray, offset: np.ndarray) -> list[tuple[str, Op]]:
    """The layers that do what an integer one does, each with its name, one behind the other."""
    op, name, shape = node.op, node.name, integer.graph.shapes[node.name]
    match op:
        case Input():
            return [(name, Input(op.shape)), (f"{name}.counts", Scale(1 / gain, -offset / gain))]
        case Conv() | Dense() | Add() | Reshape():
            return [(name, op)]
        case SumPool():
            whole = np.full((), float(np.prod(op.kernel)))
            mean = AvgPool(op.kernel, op.stride, op.pads)
            return [(f"{name}.mean", mean), (name, Scale(whole, np.zeros(())))]
        case Threshold():
            start = (op.bias + op.initial).astype(np.float64)
            steps = Activation(Steps(thresholds=_multiples(name, op, shape)))
            return [(f"{name}.start", Scale(np.ones(()), start)), (name, steps)]
        case Scale():
            scale, origin = integer.scales[name], integer.origins[name]
            return [(name, Scale(op.factor * scale, op.offset * scale + origin))]
    raise BadInput(f"{integer.graph.name}: layer {name!r} ({type(op).__name__}) has no float form; export it as .h5.")


def _multiples(name: str, op: Threshold, shape: tuple[int, ...]) -> np.ndarray:
    """Half below the multiples of the threshold, [step], or [step, channel] where channels differ."""
    each = np.broadcast_to(op.threshold, shape).reshape(shape[0], -1)
    if (each != each[:, :1]).any():
        raise BadInput(f"layer {name!r} has thresholds that differ within a channel; export the network again.")
    channel = each[:, 0]
    whole = np.arange(1, op.levels + 1)
    return whole * channel[0] - 0.5 if (channel == channel[0]).all() else np.outer(whole, channel) - 0.5
