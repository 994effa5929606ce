"""GPUs: matrix products in tiles and waves over the multiprocessors, against cache and memory, plus launches.

t = host + sum over kernels of launch + max(tiles, cache, memory). Values of a kernel, and weights of the network,
that fill no more than a share of the cache are served from there. Depthwise convolutions, pools and additions wait
for cache and memory alone.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

import jax.numpy as jnp
import numpy as np
from pydantic import StringConstraints

from baselines.description import Machine, Memory, Need, Precision
from baselines.workload import LayerWork, Workload, memory_need, value_bytes, weight_bytes
from neuro.constants import Bytes, Hertz, Joules, Number, Seconds, Table
from neuro.cost import Prices, Scalar
from neuro.counts import Counts, Path

TileName: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*x[1-9][0-9]*$")]


class GpuRate(Table):
    """rate: multiply-accumulates per second of the whole chip at its boost clock. mac: energy of one, all-in."""

    rate: Hertz
    mac: Joules


class Cache(Table):
    """Last cache level. speedup: its bandwidth over that of the memory. share: of its capacity that a layer may
    fill and still be served from it. energy: per byte."""

    capacity: Bytes
    speedup: Number
    share: Number
    energy: Joules


class GpuOverhead(Table):
    """launch: between two kernels. host: per batch, from the call to the first kernel and back."""

    launch: Seconds
    host: Seconds


class Gpu(Machine):
    """Tensor multiprocessors, a cache and a memory (``baselines.gpu``).

    sustained: share of the boost clock that is held under load. efficiency: share of the peak inside a tile.
    tile_efficiency: by tile shape "rows x columns", relative to the largest. prologue: depth steps lost per tile.
    """

    kind: Literal["gpu"]
    precision: dict[Precision, GpuRate]
    multiprocessors: Number
    sustained: Number
    efficiency: Number
    prologue: Number
    tile_efficiency: dict[TileName, Number]
    memory: Memory
    cache: Cache
    overhead: GpuOverhead


# The depth of a product is walked in steps of STEP and can be split between blocks of threads.
STEP = 64
SPLITS = (1, 2, 4, 8)


def counts(device: Gpu, work: Workload, precision: Precision, batch: int) -> Counts:
    """Events of one batch; `precision` must be native.

    ``tile_mac`` counts the multiply-accumulates that one multiprocessor does in turn, with the padding of tiles and
    waves and the lower efficiency of small tiles counted as work; ``mac`` counts the useful ones of all.
    """
    layers = work.layers
    weights = np.array([weight_bytes(layer, precision) for layer in layers], np.float64)
    values = batch * np.array([value_bytes(layer, precision) for layer in layers], np.float64)
    room = device.cache.share.value * device.cache.capacity.value
    missed = np.where(values > room, values, 0.0) + np.where(weights.sum() > room, weights, 0.0)
    names = (f"tile_mac_{precision}", "cache_byte", "memory_byte", "memory_access", "launch", "host")
    stages = np.zeros((len(layers) + 1, 3, len(names)), np.float32)
    stages[:-1, 0, 0] = [serial_macs(device, layer, batch) for layer in layers]
    stages[:-1, 1, 1] = values + weights
    stages[:-1, 2, 2] = missed
    stages[:-1, 2, 3] = 1
    stages[-1, 0, 4:] = len(layers), 1
    path = Path(names, jnp.asarray(stages))
    events = {
        f"mac_{precision}": batch * work.macs,
        "cache_byte": (values + weights).sum(),
        "memory_byte": missed.sum(),
    }
    return Counts({k: jnp.float32(v) for k, v in events.items()}, latency=path, interval=path, batch=batch)


def serial_macs(device: Gpu, layer: LayerWork, batch: int) -> float:
    """Multiply-accumulates that the busiest multiprocessor does in turn for a matrix product; 0 for other kernels.

    waves × tile rows × tile columns × (depth + prologue) / tile efficiency, with the tile shape and the split of
    the depth for which it is least.
    """
    if layer.operator not in ("conv", "dense", "matmul"):
        return 0.0
    rows, columns = np.array([[int(side) for side in name.split("x")] for name in device.tile_efficiency]).T
    efficiency = np.array([constant.value for constant in device.tile_efficiency.values()])
    splits = np.array(SPLITS)[:, None]
    tiles = -(-layer.m * batch // rows) * -(-layer.n // columns) * layer.groups
    waves = np.ceil(tiles * splits / device.multiprocessors.value)
    depth = STEP * np.ceil(layer.k / splits / STEP) + device.prologue.value
    return float((waves * rows * columns * depth / efficiency).min())


def prices(device: Gpu, values: Mapping[str, Scalar], boundary: str) -> Prices:
    """J and s per event from the constants `values`, for every native precision."""
    v = values
    energy = {f"mac_{p}": v[f"precision.{p}.mac"] for p in device.precision}
    energy |= {"cache_byte": v["cache.energy"], "memory_byte": v["memory.energy"]}
    time = {
        f"tile_mac_{p}": v["multiprocessors"] / (v[f"precision.{p}.rate"] * v["sustained"] * v["efficiency"])
        for p in device.precision
    }
    time |= {
        "cache_byte": 1 / (v["memory.bandwidth"] * v["cache.speedup"]),
        "memory_byte": 1 / (v["memory.bandwidth"] * v["memory.efficiency"]),
        "memory_access": v["memory.latency"],
        "launch": v["overhead.launch"],
        "host": v["overhead.host"],
    }
    return Prices(energy, time, v[f"power.{boundary}.active"], v[f"power.{boundary}.idle"])


def needs(device: Gpu, work: Workload, precision: Precision, batch: int) -> list[Need]:
    """What `batch` samples take of the machine's memory."""
    return [memory_need(work, precision, batch, device.memory.capacity.value)]
