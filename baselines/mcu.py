"""Microcontrollers: one core does all layers in turn, at so many cycles per multiply-accumulate of each kernel.

cycles = sum over layers of (MACs × cycles(kernel) + outputs × c_output + c_layer); energy is power times time.
"""

from collections.abc import Mapping
from math import prod

import jax.numpy as jnp
import numpy as np

from baselines.device import Mcu, Precision
from baselines.workload import LayerWork, Workload
from neuro.cost import Prices, Scalar
from neuro.counts import Counts, Path

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
