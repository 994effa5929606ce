"""Microcontrollers: one core does all layers in turn, at so many cycles per multiply-accumulate of each kernel.

cycles = sum over layers of (MACs × cycles(kernel) + outputs × c_output + c_layer); energy is power times time.
"""

from collections.abc import Mapping
from math import prod
from typing import Literal

import jax.numpy as jnp
import numpy as np

from baselines.description import Machine, Need, Precision
from baselines.workload import LayerWork, Workload, value_bytes, weight_bytes
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
    """clock. output, layer: cycles per output value and per layer beside the multiply-accumulates."""

    clock: Hertz
    output: Number
    layer: Number


class Store(Table):
    """What a microcontroller holds: weights in flash, activations in ram."""

    flash: Bytes
    ram: Bytes


class Mcu(Machine):
    """One core that does everything in turn (``baselines.mcu``); its energy is power times time."""

    kind: Literal["mcu"]
    precision: dict[Precision, McuRate]
    core: Core
    store: Store


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
    return "element"


def counts(device: Mcu, work: Workload, precision: Precision, batch: int) -> Counts:
    """Events of `batch` samples, one after another; `precision` must be native."""
    layers = work.layers
    names = (*(f"{k}_{precision}" for k in KERNELS), "output", "layer")
    stages = np.zeros((len(layers), 1, len(names)), np.float32)
    for i, layer in enumerate(layers):
        stages[i, 0, KERNELS.index(kernel(layer))] = batch * (layer.macs or layer.inputs)
        stages[i, 0, -2:] = batch * layer.outputs if layer.macs else 0, batch
    path = Path(names, jnp.asarray(stages))
    return Counts({}, latency=path, interval=path, batch=batch)


def prices(device: Mcu, values: Mapping[str, Scalar], boundary: str) -> Prices:
    """s per event from the constants `values`, for every native precision; no event costs energy of its own."""
    v = values
    cycles = {f"{k}_{p}": v[f"precision.{p}.{k}"] for p in device.precision for k in KERNELS}
    cycles |= {"output": v["core.output"], "layer": v["core.layer"]}
    time = {name: number / v["core.clock"] for name, number in cycles.items()}
    return Prices({}, time, v[f"power.{boundary}.active"], v[f"power.{boundary}.idle"])


def needs(device: Mcu, work: Workload, precision: Precision, batch: int) -> list[Need]:
    """What `batch` samples take of the machine's flash and RAM."""
    weights = sum(weight_bytes(layer, precision) for layer in work.layers)
    values = batch * max(value_bytes(layer, precision) for layer in work.layers)
    return [
        Need("weights", weights, device.store.flash.value, "bytes of flash"),
        Need("values", values, device.store.ram.value, "bytes of RAM"),
    ]
