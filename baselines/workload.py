"""What a network asks of a conventional machine: per layer the matrix product, the values moved and the zeros."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Literal, TypeAlias

from neuro.errors import BadInput, Unsupported, nearest
from neuro.graph import Graph, Node
from neuro.layers import (
    Add,
    AvgPool,
    Conv,
    Dense,
    Input,
    MaxPool,
    Pad,
    Relu,
    Reshape,
    Scale,
    Softmax,
    SumPool,
    Threshold,
    Transpose,
)

Operator: TypeAlias = Literal["conv", "depthwise", "dense", "pool", "add", "scale"]


@dataclass(frozen=True)
class LayerWork:
    """One kernel: a weighted layer with what is fused into it, or a pool, addition or scale of its own.

    As a matrix product of one sample: `groups` products of [m, k] and [k, n], m output positions, n output channels
    and k = inputs per output within a group. inputs, outputs: values read and written. zeros, zero_outputs: share
    of zeros among them. kernel, stride, input_map (padded), output_map: geometry of a convolution.
    """

    name: str
    operator: Operator
    m: int
    n: int
    k: int
    groups: int
    macs: int
    weight_count: int
    inputs: int
    outputs: int
    zeros: float = 0.0
    zero_outputs: float = 0.0
    kernel: tuple[int, ...] = (1,)
    stride: tuple[int, ...] = (1,)
    input_map: tuple[int, ...] = (1,)
    output_map: tuple[int, ...] = (1,)


@dataclass(frozen=True)
class Workload:
    """The kernels of a network in the order in which they run."""

    name: str
    layers: tuple[LayerWork, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates per sample."""
        return sum(layer.macs for layer in self.layers)

    @property
    def weight_count(self) -> int:
        """Weights and biases."""
        return sum(layer.weight_count for layer in self.layers)


def convolution(
    name: str,
    channels: tuple[int, int],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    input_map: tuple[int, ...],
    output_map: tuple[int, ...],
    groups: int = 1,
    inputs: int | None = None,
) -> LayerWork:
    """The work of a convolution with (in, out) `channels`; `input_map` is padded, `inputs` counts what is read."""
    enter, leave = channels
    m, n, k = prod(output_map), leave // groups, enter // groups * prod(kernel)
    return LayerWork(
        name=name,
        operator="depthwise" if groups == enter > 1 else "conv",
        m=m,
        n=n,
        k=k,
        groups=groups,
        macs=groups * m * n * k,
        weight_count=groups * n * k + leave,
        inputs=enter * prod(input_map) if inputs is None else inputs,
        outputs=leave * m,
        kernel=kernel,
        stride=stride,
        input_map=input_map,
        output_map=output_map,
    )


def dense(name: str, inputs: int, outputs: int) -> LayerWork:
    """The work of a fully connected layer."""
    return LayerWork(
        name=name,
        operator="dense",
        m=1,
        n=outputs,
        k=inputs,
        groups=1,
        macs=inputs * outputs,
        weight_count=inputs * outputs + outputs,
        inputs=inputs,
        outputs=outputs,
    )


def elementwise(name: str, operator: Operator, inputs: int, outputs: int) -> LayerWork:
    """The work of a pool, addition or scale: values in and out, no multiply-accumulates counted."""
    return LayerWork(
        name, operator, m=outputs, n=1, k=1, groups=1, macs=0, weight_count=0, inputs=inputs, outputs=outputs
    )


def workload(graph: Graph, zeros: Mapping[str, float] | None = None) -> Workload:
    """The kernels of a float or integer `graph`.

    Activations, thresholds, scales and residual additions are fused into the layer that produces their input;
    padding, reshaping, transposition and the softmax are free. `zeros` gives, by layer name, the measured share of
    zeros among the layer's inputs (default none).

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
            case Input() | Reshape() | Transpose() | Softmax() | Pad():
                source[node.name] = home
                continue
            case Relu() | Scale() | Threshold() if home is not None:
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
        layers.append(replace(_kernel(graph, node), zeros=share))
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
            return convolution(
                node.name, (enter, leave), weight.shape[2:], stride, padded, tuple(out), groups, inputs=read
            )
        case Dense(weight=weight):
            return dense(node.name, weight.shape[1], weight.shape[0])
        case MaxPool() | AvgPool() | SumPool():
            return elementwise(node.name, "pool", read, written)
        case Add():
            return elementwise(node.name, "add", read, written)
        case Scale() | Relu() | Threshold():
            return elementwise(node.name, "scale", read, written)
    raise Unsupported(f"{graph.name}: no cost model for layer {node.name!r} ({type(node.op).__name__}).")
