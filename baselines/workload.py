"""What a network asks of a conventional machine: per layer the matrix product, the values moved and the zeros."""

from dataclasses import dataclass, replace
from math import prod
from typing import Literal, TypeAlias

import numpy as np

from baselines.description import WIDTH, Need

Operator: TypeAlias = Literal[
    "conv", "depthwise", "dense", "matmul", "pool", "add", "scale", "activation", "norm", "softmax", "embedding", "copy"
]
Pattern: TypeAlias = Literal["dense", "unstructured", "2:4"]
Mode: TypeAlias = Literal["compiled", "eager"]


@dataclass(frozen=True)
class LayerWork:
    """One kernel: a weighted layer with what is fused into it, a product of activations, or an operation of its own.

    As a matrix product of one sample: `groups` products of [m, k] and [k, n], m output positions, n output channels
    and k = inputs per output within a group; `steps` of them one after another with the same weights (a recurrent
    layer). macs, inputs, outputs: multiply-accumulates, values read and values written, of all groups and steps.
    weight_count: weights and biases that the kernel reads. stored: parameters held for it, where these are others:
    a lookup table, of which only rows are read (counted in `inputs`), or 0 for weights that another kernel has too.
    zeros, zero_outputs: share of zeros among the values. kernel, stride, input_map (padded), output_map: geometry of
    a convolution. density, pattern: share of the weights that are not zero, and how they lie. weight_bits: where
    weights are stored in fewer bits than values. fusable: a compiler makes it part of the kernel before it.
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
    density: float = 1.0
    pattern: Pattern = "dense"
    weight_bits: int | None = None
    steps: int = 1
    fusable: bool = False
    stored: int | None = None

    @property
    def parameters(self) -> int:
        """Parameters that a network holds for this kernel."""
        return self.weight_count if self.stored is None else self.stored


@dataclass(frozen=True)
class Workload:
    """The kernels of a network in the order in which they run, as its compiler or its framework launches them."""

    name: str
    layers: tuple[LayerWork, ...]
    mode: Mode = "compiled"

    @property
    def macs(self) -> int:
        """Multiply-accumulates per sample."""
        return sum(layer.macs for layer in self.layers)

    @property
    def weight_count(self) -> int:
        """Parameters that the network holds, each counted once."""
        return sum(layer.parameters for layer in self.layers)


def compiled(work: Workload) -> Workload:
    """`work` as a compiler runs it: what is fusable is part of the kernel before it.

    What a fused operation reads besides that kernel's result (a residual, a mask) the kernel reads; its parameters are
    the kernel's. A softmax between two products of activations takes the scores with it: they never leave the chip.
    """
    kept: list[LayerWork] = []
    scores = 0
    for layer in work.layers:
        if layer.fusable and kept:
            if layer.operator == "softmax" and kept[-1].operator == "matmul":
                scores = layer.outputs
            kept[-1] = _fused(kept[-1], layer)
            continue
        if scores and layer.operator == "matmul":
            kept[-1] = replace(kept[-1], outputs=max(kept[-1].outputs - scores, 0))
            layer = replace(layer, inputs=max(layer.inputs - scores, 0))
        scores = 0
        kept.append(replace(layer, fusable=False))
    return Workload(work.name, tuple(kept), "compiled")


def _fused(kernel: LayerWork, layer: LayerWork) -> LayerWork:
    """`kernel` with `layer`, which follows it, inside."""
    weights = kernel.weight_count + layer.weight_count
    held = None if kernel.stored is layer.stored is None else kernel.parameters + layer.parameters
    kernel = replace(kernel, weight_count=weights, stored=held)
    if layer.operator == "dense":  # another product of the same values, side by side with the first
        return replace(
            kernel, n=kernel.n + layer.n, macs=kernel.macs + layer.macs, outputs=kernel.outputs + layer.outputs
        )
    if layer.operator == "copy":  # the kernel writes to where the copy would have gone
        return kernel
    others = max(layer.inputs - kernel.outputs, 0)
    return replace(kernel, inputs=kernel.inputs + others, outputs=layer.outputs, zero_outputs=layer.zero_outputs)


def weight_bytes(layer: LayerWork, precision: str, packed: tuple[Pattern, ...] = ()) -> float:
    """Bytes of the weights that a layer reads. packed: patterns of zeros that the machine unpacks as it computes; on
    others zeros travel like any weight."""
    return layer.weight_count * _bits(layer, precision, layer.pattern in packed) / 8


def stored_bytes(layer: LayerWork, precision: str) -> float:
    """Bytes of the parameters held for a layer, its zeros packed: a bit for each weight says where they are."""
    return layer.parameters * _bits(layer, precision, True) / 8


def _bits(layer: LayerWork, precision: str, packed: bool) -> float:
    """Bits of a weight. 2:4 keeps half of the weights, with two bits each for its place among four."""
    bits = 8 * WIDTH[precision]
    if layer.weight_bits is not None:
        bits = min(bits, layer.weight_bits)
    if not packed or layer.pattern == "dense":
        return float(bits)
    share = 0.5 if layer.pattern == "2:4" else layer.density
    return float(min(bits, share * bits + 1))


def value_bytes(layer: LayerWork, precision: str) -> float:
    """Bytes of the values that one sample reads and writes in a layer."""
    return float(WIDTH[precision] * (layer.inputs + layer.outputs))


def memory_need(work: Workload, precision: str, batch: int, capacity: float) -> Need:
    """All weights, and the values of the layer with the most of them, against a memory of `capacity` bytes."""
    weights = sum(stored_bytes(layer, precision) for layer in work.layers)
    values = batch * max(value_bytes(layer, precision) for layer in work.layers)
    return Need("weights and values", weights + values, capacity, "bytes of memory")


def convolution(
    name: str,
    channels: tuple[int, int],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    input_map: tuple[int, ...],
    output_map: tuple[int, ...],
    groups: int = 1,
    inputs: int | None = None,
    bias: bool = True,
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
        weight_count=groups * n * k + leave * bias,
        inputs=enter * prod(input_map) if inputs is None else inputs,
        outputs=leave * m,
        kernel=kernel,
        stride=stride,
        input_map=input_map,
        output_map=output_map,
    )


def dense(name: str, inputs: int, outputs: int, rows: int = 1, steps: int = 1, bias: bool = True) -> LayerWork:
    """The work of a fully connected layer on `rows` positions of each sample at once, `steps` times in turn."""
    return LayerWork(
        name=name,
        operator="dense",
        m=rows,
        n=outputs,
        k=inputs,
        groups=1,
        macs=steps * rows * inputs * outputs,
        weight_count=inputs * outputs + outputs * bias,
        inputs=steps * rows * inputs,
        outputs=steps * rows * outputs,
        steps=steps,
    )


def product(name: str, m: int, n: int, k: int, groups: int = 1) -> LayerWork:
    """The work of `groups` products of two activations, [m, k] and [k, n]."""
    return LayerWork(
        name, "matmul", m=m, n=n, k=k, groups=groups, macs=groups * m * n * k, weight_count=0,
        inputs=groups * (m * k + k * n), outputs=groups * m * n,
    )  # fmt: skip


def elementwise(
    name: str, operator: Operator, inputs: int, outputs: int, fusable: bool = False, weights: int = 0
) -> LayerWork:
    """The work of a pool, addition, scale or the like: values in and out, no multiply-accumulates counted."""
    return LayerWork(
        name, operator, m=outputs, n=1, k=1, groups=1, macs=0, weight_count=weights,
        inputs=inputs, outputs=outputs, fusable=fusable,
    )  # fmt: skip


def pruned(layer: LayerWork, weight: np.ndarray) -> LayerWork:
    """`layer` with the share of its weights [out, in, ...] that are not zero, and the pattern that these keep."""
    kept = weight != 0
    density = float(kept.mean())
    pattern: Pattern = "dense" if density == 1.0 else "unstructured"
    if density <= 0.5 and weight.shape[1] % 4 == 0:
        fours = kept.reshape(weight.shape[0], -1, 4, *weight.shape[2:]).sum(axis=2)
        pattern = "2:4" if fours.max(initial=0) <= 2 else pattern
    return replace(layer, density=density, pattern=pattern)
