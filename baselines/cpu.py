"""CPUs: vector units of many cores against cache and memory, and what a runtime spends around its kernels.

t = call + sum over kernels of kernel + fork + max(work of the busiest core, cache, memory). Work is what the vector
units do, with half-filled vectors and the gathering of patches counted as work. A core takes part only if its share
takes longer than `grain`; a product of one row, a pool or an addition stay on one core unless sharing pays the fork.
"""

from collections.abc import Mapping
from math import prod
from typing import Annotated, Literal

import jax.numpy as jnp
import numpy as np
from pydantic import Field

from baselines.description import Machine, Memory, Need, Precision
from baselines.workload import LayerWork, Mode, Workload, memory_need, value_bytes, weight_bytes
from neuro.constants import Bytes, BytesPerSecond, Hertz, Joules, Number, Seconds, Table, Watts
from neuro.cost import Prices, Scalar
from neuro.counts import Counts, Path


class CpuRate(Table):
    """macs: multiply-accumulates per cycle of one core."""

    macs: Number


class Cores(Table):
    """clock: held by all cores under vector load. lanes: results of one vector instruction. grain: least work for
    which a library takes one more core. power: of one core at work, above a package whose cores wait."""

    number: Number
    clock: Hertz
    lanes: Number
    grain: Seconds
    power: Watts


class Efficiency(Table):
    """What kernels reach.

    product: share of the peak in a large matrix product. convolution: of a convolution, relative to that. winograd:
    speed-up of 3×3 convolutions of stride 1 in floating point by fewer multiplications (1: the library has none).
    depthwise: share of the peak. element: values per cycle and core of a pool or an addition. packing:
    multiply-accumulates that could be done while one run of neighbouring values is gathered: a k×k patch has k runs.
    """

    product: Number
    convolution: Number
    winograd: Number
    depthwise: Number
    element: Number
    packing: Number


class LastCache(Table):
    """Last cache level, of all cores together. share: of its capacity that a network or the values of a layer may
    fill and still be served from it. energy: per byte."""

    capacity: Bytes
    bandwidth: BytesPerSecond
    share: Number
    energy: Joules


class CpuOverhead(Table):
    """call: per batch, from the call to the first kernel and back. kernel: per kernel. fork: per kernel on which
    more than one core works, to wake and to join them."""

    call: Seconds
    kernel: Seconds
    fork: Seconds


class Cpu(Machine):
    """Cores with vector units, a last cache level and a memory (``baselines.cpu``).

    overhead: by mode, a graph compiler's or a framework's.
    """

    kind: Literal["cpu"]
    precision: Annotated[dict[Precision, CpuRate], Field(min_length=1)]
    core: Cores
    efficiency: Efficiency
    cache: LastCache
    memory: Memory
    overhead: dict[Mode, CpuOverhead]


KERNELS = ("product", "convolution", "winograd", "depthwise", "element")
FLOATING = ("fp32", "tf32", "fp16", "bf16")


def kernel(layer: LayerWork, precision: str) -> str:
    """Which kernel of `KERNELS` runs a layer."""
    match layer.operator:
        case "conv" if prod(layer.kernel) == 1:
            return "product"
        case "conv" if layer.kernel == (3, 3) and set(layer.stride) == {1} and precision in FLOATING:
            return "winograd"
        case "conv":
            return "convolution"
        case "depthwise":
            return "depthwise"
        case "dense" | "matmul":
            return "product"
    return "element"


def vector_work(device: Cpu, layer: LayerWork, batch: int) -> float:
    """Multiply-accumulates, padding included, that the vector units do for `batch` samples; for an operation without
    any the values that it handles.

    rows × columns, one of them filled up to whole vectors, × depth, of all groups and steps; for a convolution also
    rows × runs of a patch × packing.
    """
    if not layer.macs:
        return float(batch * max(layer.inputs, layer.outputs))
    if layer.operator == "depthwise":
        return float(batch * layer.macs)
    lanes, rows = device.core.lanes.value, batch * layer.m
    across = min(rows * np.ceil(layer.n / lanes) * lanes, layer.n * np.ceil(rows / lanes) * lanes)
    runs = prod(layer.kernel[:-1]) if prod(layer.kernel) > 1 else 0
    gathered = rows * runs * device.efficiency.packing.value
    return float(layer.steps * layer.groups * (across * layer.k + gathered))


def counts(device: Cpu, work: Workload, precision: Precision, batch: int) -> Counts:
    """Events of one batch; `precision` must be native.

    ``<kernel>_<precision>`` counts vector work: on the way to the result that of one core, for energy that of all.
    """
    layers, cores = work.layers, device.core.number.value
    steps = np.array([layer.steps for layer in layers], np.float64)
    weights = np.array([weight_bytes(layer, precision) for layer in layers], np.float64)
    values = batch * np.array([value_bytes(layer, precision) for layer in layers], np.float64)
    room = device.cache.share.value * device.cache.capacity.value
    moved = values + weights * steps
    missed = np.where(values / steps > room, values, 0.0)
    # A network that overflows the cache fetches its weights anew for every batch; a layer that does, in every step.
    missed += np.where(weights > room, weights * steps, np.where(weights.sum() > room, weights, 0.0))
    units = np.array([vector_work(device, layer, batch) for layer in layers], np.float64)
    kinds = [kernel(layer, precision) for layer in layers]
    rates = np.array([_rate(device, kind, precision) for kind in kinds])
    alone = np.maximum(units / rates, moved * cores / device.cache.bandwidth.value) / steps
    sharing = np.clip(alone / device.core.grain.value, 1.0, cores)
    rows = batch * np.array([layer.m for layer in layers])
    light = np.array([kind == "element" for kind in kinds]) | (
        np.array([kind == "product" for kind in kinds]) & (rows == 1)
    )
    pays = alone - alone / sharing > device.overhead[work.mode].fork.value
    sharing = np.where(light & ~pays, 1.0, sharing)
    names = (
        *(f"{kind}_{precision}" for kind in KERNELS), "cache_byte", "memory_byte",
        *(f"{part}_{work.mode}" for part in ("call", "kernel", "fork")),
    )  # fmt: skip
    stages = np.zeros((len(layers) + 1, 3, len(names)), np.float32)
    stages[np.arange(len(layers)), 0, [KERNELS.index(kind) for kind in kinds]] = units / sharing
    stages[:-1, 1, len(KERNELS)] = moved * cores / sharing
    stages[:-1, 2, len(KERNELS) + 1] = missed
    stages[-1, 0, -3:] = 1, steps.sum(), steps[sharing > 1].sum()
    path = Path(names, jnp.asarray(stages))
    events = {f"{kind}_{precision}": sum(u for k, u in zip(kinds, units, strict=True) if k == kind) for kind in KERNELS}
    events |= {"cache_byte": moved.sum(), "memory_byte": missed.sum()}
    return Counts({k: jnp.float32(v) for k, v in events.items()}, latency=path, interval=path, batch=batch)


def _rate(device: Cpu, kind: str, precision: Precision) -> float:
    """Vector work per second of one core, at the values of the constants."""
    values = {
        "core.clock": device.core.clock.value,
        f"precision.{precision}.macs": device.precision[precision].macs.value,
        **{f"efficiency.{name}": getattr(device.efficiency, name).value for name in KERNELS},
    }
    return float(_rates(values, precision)[f"{kind}_{precision}"])


def _rates(v: Mapping[str, Scalar], precision: str) -> dict[str, Scalar]:
    """Vector work per second of one core by kernel from the constants `v`."""
    peak = v["core.clock"] * v[f"precision.{precision}.macs"]
    product = peak * v["efficiency.product"]
    convolution = product * v["efficiency.convolution"]
    rates = {
        "product": product,
        "convolution": convolution,
        "winograd": convolution * v["efficiency.winograd"],
        "depthwise": peak * v["efficiency.depthwise"],
        "element": v["core.clock"] * v["efficiency.element"],
    }
    return {f"{kind}_{precision}": rate for kind, rate in rates.items()}


def prices(device: Cpu, values: Mapping[str, Scalar], boundary: str) -> Prices:
    """J and s per event from the constants `values`, for every native precision and mode."""
    v = values
    time = {name: 1 / rate for p in device.precision for name, rate in _rates(v, p).items()}
    energy = {name: v["core.power"] * seconds for name, seconds in time.items()}
    energy |= {"cache_byte": v["cache.energy"], "memory_byte": v["memory.energy"]}
    time |= {
        "cache_byte": 1 / v["cache.bandwidth"],
        "memory_byte": 1 / (v["memory.bandwidth"] * v["memory.efficiency"]),
    }
    time |= {f"{part}_{m}": v[f"overhead.{m}.{part}"] for m in device.overhead for part in ("call", "kernel", "fork")}
    return Prices(energy, time, v[f"power.{boundary}.active"], v[f"power.{boundary}.idle"])


def roof(device: Cpu, precision: Precision) -> tuple[float, float]:
    """Peak multiply-accumulates per second of all cores, and bytes per second of the memory."""
    core = device.core
    return core.number.value * core.clock.value * device.precision[precision].macs.value, device.memory.bandwidth.value


def needs(device: Cpu, work: Workload, precision: Precision, batch: int) -> list[Need]:
    """What `batch` samples take of the machine's memory."""
    return [memory_need(work, precision, batch, device.memory.capacity.value)]
