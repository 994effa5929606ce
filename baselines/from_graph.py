"""The work of a network that we hold as a graph: its kernels, with the zeros of its weights and activations."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from baselines.workload import LayerWork, Workload, convolution, dense, elementwise, pruned
from neuro.errors import BadInput, Unsupported, nearest
from neuro.graph import Graph, Node
from neuro.layers import (
    Activation,
    Add,
    AvgPool,
    Concat,
    Conv,
    Dense,
    Embedding,
    Input,
    MaxPool,
    MultiThreshold,
    Pad,
    Relu,
    Reshape,
    Scale,
    Softmax,
    SumPool,
    Threshold,
    Transpose,
)


def workload(graph: Graph, zeros: Mapping[str, float] | None = None, weight_bits: int | None = None) -> Workload:
    """The kernels of a float or integer `graph`.

    Activations, thresholds, scales and residual additions are fused into the layer that produces their input;
    padding, reshaping, transposition, concatenation and the softmax are free. `zeros` gives, by layer name, the
    measured share of zeros among the layer's inputs (default none). weight_bits: in which weights are stored, where
    that is less than the precision of the machine.

    Raises:
        BadInput: a share outside 0..1 or for a layer that does not exist.
        Unsupported: an operator without a model.
    """
    zeros = {} if zeros is None else zeros
    _check(graph, zeros)
    layers: list[LayerWork] = []
    source: dict[str, int | None] = {}
    for node in graph.nodes:
        feeds = [source[i] for i in node.inputs]
        home = max((i for i in feeds if i is not None), default=None)
        match node.op:
            case Input() | Reshape() | Transpose() | Softmax() | Pad() | Concat():
                source[node.name] = home
                continue
            case Relu() | Activation() | Scale() | Threshold() | MultiThreshold() if home is not None:
                source[node.name] = home
                continue
            case Add() if home is not None and layers[home].operator in ("conv", "depthwise", "dense"):
                layers[home] = replace(layers[home], inputs=layers[home].inputs + graph.size(node.name))
                source[node.name] = home
                continue
        share = float(zeros.get(node.name, 0.0))
        for feed in feeds:
            if feed is not None and layers[feed].zero_outputs == 0.0:
                layers[feed] = replace(layers[feed], zero_outputs=share)
        source[node.name] = len(layers)
        layers.append(replace(_kernel(graph, node), zeros=share, weight_bits=weight_bits))
    return Workload(graph.name, tuple(layers))


def _check(graph: Graph, zeros: Mapping[str, float]) -> None:
    names = [node.name for node in graph.nodes]
    for name, share in zeros.items():
        if name not in names:
            raise BadInput(f"zeros for an unknown layer {name!r}.{nearest(name, names)}")
        if not 0.0 <= share <= 1.0:
            raise BadInput(f"layer {name!r}: a share of {share} zeros lies outside 0..1; count zeros over values.")


def _kernel(graph: Graph, node: Node) -> LayerWork:
    read, written = sum(graph.size(i) for i in node.inputs), graph.size(node.name)
    match node.op:
        case Conv(weight=weight, stride=stride, pads=pads, groups=groups):
            enter, *space = graph.shapes[node.inputs[0]]
            leave, *out = graph.shapes[node.name]
            padded = tuple(size + before + after for size, (before, after) in zip(space, pads, strict=True))
            made = convolution(
                node.name, (enter, leave), weight.shape[2:], stride, padded, tuple(out), groups, inputs=read
            )
            return pruned(made, np.asarray(weight))
        case Dense(weight=weight):
            return pruned(dense(node.name, weight.shape[1], weight.shape[0]), np.asarray(weight))
        case MaxPool() | AvgPool() | SumPool():
            return elementwise(node.name, "pool", read, written)
        case Add():
            return elementwise(node.name, "add", read, written)
        case Scale() | Relu() | Activation() | Threshold() | MultiThreshold() | Embedding():
            return elementwise(node.name, "scale", read, written)
    raise Unsupported(f"{graph.name}: no cost model for layer {node.name!r} ({type(node.op).__name__}).")
