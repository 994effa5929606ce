"""Microcontrollers: one core does all layers in turn, at so many cycles per multiply-accumulate of each kernel.

cycles = pace × slowdown × sum over layers of (MACs × cycles(kernel) + outputs × c_output + c_layer): the cycles of a
Cortex-M4, the pace of a core relative to it, the slowdown of a software stack relative to the vendor's own. Energy is
power times time.
"""

from collections.abc import Mapping
from math import inf, prod
from typing import Annotated, Literal

import jax.numpy as jnp
import numpy as np
from pydantic import Field, model_validator

from baselines.description import Machine, Need, Precision
from baselines.workload import LayerWork, Workload, compiled, stored_bytes, value_bytes
from neuro.constants import Bytes, Hertz, Number, Table
from neuro.cost import Prices, Scalar
from neuro.counts import Counts, Path


class McuRate(Table):
    """Cycles per multiply-accumulate by kernel; element: per value of a pool or an addition."""

    pointwise: Number
    conv: Number
    depthwise: Number
    dense: Number
    element: Number


class Core(Table):
    """pace: cycles relative to a Cortex-M4. output, layer: cycles per output value and per layer beside the
    multiply-accumulates."""

    clock: Hertz
    pace: Number
    output: Number
    layer: Number


class Store(Table):
    """What a microcontroller holds: weights in flash, activations in ram."""

    flash: Bytes
    ram: Bytes


class Stack(Table):
    """slowdown: time of a network under a software stack over that under the vendor's own."""

    slowdown: Number


class Mcu(Machine):
    """One core that does everything in turn (``baselines.mcu``); its energy is power times time.

    runs: which of the software stacks runs the network.
    """

    kind: Literal["mcu"]
    precision: Annotated[dict[Precision, McuRate], Field(min_length=1)]
    core: Core
    store: Store
    runs: str = "vendor"
    stack: Annotated[dict[str, Stack], Field(min_length=1)]

    @model_validator(mode="after")
    def _known_stack(self):
        if self.runs not in self.stack:
            raise ValueError(f"runs: {self.runs!r} is no stack; there are {', '.join(self.stack)}")
        return self


KERNELS = ("pointwise", "conv", "depthwise", "dense", "element")


def kernel(layer: LayerWork) -> str:
    """Which library kernel runs a layer; a convolution over one input channel is a depthwise one."""
    match layer.operator:
        case "conv" if layer.k == prod(layer.kernel) > 1:
            return "depthwise"
        case "conv" if prod(layer.kernel) == 1:
            return "pointwise"
        case "conv" | "depthwise" | "dense":
            return layer.operator
        case "matmul":
            return "dense"
    return "element"


def counts(device: Mcu, work: Workload, precision: Precision, batch: int) -> Counts:
    """Events of `batch` samples, one after another; `precision` must be native."""
    layers = compiled(work).layers
    names = (*(f"{k}_{precision}" for k in KERNELS), "output", "layer")
    stages = np.zeros((len(layers), 1, len(names)), np.float32)
    for i, layer in enumerate(layers):
        stages[i, 0, KERNELS.index(kernel(layer))] = batch * (layer.macs or layer.inputs)
        stages[i, 0, -2:] = batch * layer.outputs if layer.macs else 0, batch * layer.steps
    path = Path(names, jnp.asarray(stages))
    return Counts({}, latency=path, interval=path, batch=batch)


def prices(device: Mcu, values: Mapping[str, Scalar], boundary: str) -> Prices:
    """s per event from the constants `values`, for every native precision; no event costs energy of its own."""
    v = values
    cycles = {f"{k}_{p}": v[f"precision.{p}.{k}"] for p in device.precision for k in KERNELS}
    cycles |= {"output": v["core.output"], "layer": v["core.layer"]}
    each = v["core.pace"] * v[f"stack.{device.runs}.slowdown"] / v["core.clock"]
    time = {name: number * each for name, number in cycles.items()}
    return Prices({}, time, v[f"power.{boundary}.active"], v[f"power.{boundary}.idle"])


def needs(device: Mcu, work: Workload, precision: Precision, batch: int) -> list[Need]:
    """What `batch` samples take of the machine's flash and RAM."""
    layers = compiled(work).layers
    weights = sum(stored_bytes(layer, precision) for layer in layers)
    values = batch * max(value_bytes(layer, precision) for layer in layers)
    return [
        Need("weights", weights, device.store.flash.value, "bytes of flash"),
        Need("values", values, device.store.ram.value, "bytes of RAM"),
    ]


def roof(device: Mcu, precision: Precision) -> tuple[float, float]:
    """Multiply-accumulates per second of the fastest kernel; everything is on chip."""
    fastest = min(getattr(device.precision[precision], name).value for name in KERNELS[:-1])
    return device.core.clock.value / (device.core.pace.value * device.stack[device.runs].slowdown.value * fastest), inf
