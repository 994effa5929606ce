"""Systolic arrays that hold weights and let activations stream through: TPU and Edge TPU.

t = inference + sum over layers of (fixed + cycles / (clock × efficiency) + bytes / bandwidth): memory traffic is not
overlapped with arithmetic, which is what a TPU v4 shows on single products. Values between layers stay in the
scratch memory as far as they fit. On a chip without memory of its own, weights that do not fit come over the host
link for every batch.
"""

from collections.abc import Mapping
from typing import Literal

import jax.numpy as jnp
import numpy as np

from baselines.description import WIDTH, Machine, Memory, Need, Precision
from baselines.workload import LayerWork, Workload, memory_need, weight_bytes
from neuro.constants import Bytes, BytesPerSecond, Hertz, Joules, Number, Seconds, Table
from neuro.cost import Prices, Scalar
from neuro.counts import Counts, Path


class SystolicRate(Table):
    """passes: cycles for one row of activations. mac: energy of one multiply-accumulate at full use."""

    passes: Number
    mac: Joules


class Array(Table):
    """Systolic arrays. efficiency: share of the peak that long runs reach."""

    rows: Number
    columns: Number
    count: Number
    clock: Hertz
    efficiency: Number


class Link(Table):
    """Weights on chip. capacity: what stays there. bandwidth, energy (per byte): of the link that brings the rest
    for every batch."""

    capacity: Bytes
    bandwidth: BytesPerSecond
    energy: Joules


class SystolicOverhead(Table):
    """inference: per batch, host and read-out. layer: per operation."""

    inference: Seconds
    layer: Seconds | None = None


class Systolic(Machine):
    """Weight-stationary arrays (``baselines.systolic``) with device memory, or on-chip weights and a host link.

    scratch: on-chip memory in which values pass from layer to layer as far as they fit.
    """

    kind: Literal["tpu"]
    precision: dict[Precision, SystolicRate]
    array: Array
    overhead: SystolicOverhead
    scratch: Bytes | None = None
    memory: Memory | None = None
    weights: Link | None = None


# Rows of activations enter an array in groups of ROWS.
ROWS = 8


def counts(device: Systolic, work: Workload, precision: Precision, batch: int) -> Counts:
    """Events of one batch; `precision` must be native."""
    layers, width = work.layers, WIDTH[precision]
    weights = np.array([weight_bytes(layer, precision) for layer in layers], np.float64)
    memory = weights + width * batch * outside(device, work, width * batch) if device.memory else 0 * weights
    linked = max(0.0, weights.sum() - device.weights.capacity.value) if device.weights else 0.0
    names = (f"cycle_{precision}", "memory_byte", "link_byte", "layer", "inference")
    priced = (True, device.memory, device.weights, device.overhead.layer, True)
    columns = np.zeros((len(layers) + 1, len(names)), np.float32)
    columns[:-1, 0] = [cycles(device, layer, batch) for layer in layers]
    columns[:-1, 1] = memory
    columns[:-1, 3] = 1
    columns[-1, 2:] = linked, 0, 1
    kept = [i for i, price in enumerate(priced) if price]
    path = Path(tuple(names[i] for i in kept), jnp.asarray(columns[:, None, kept]))
    events = {f"mac_{precision}": batch * work.macs, "memory_byte": memory.sum(), "link_byte": linked}
    events = {k: v for k, v in events.items() if k in path.names or k.startswith("mac")}
    return Counts({k: jnp.float32(v) for k, v in events.items()}, latency=path, interval=path, batch=batch)


def outside(device: Systolic, work: Workload, unit: float) -> np.ndarray:
    """Values per sample that each layer exchanges with the memory: the network's inputs and outputs, and all of a
    layer whose values, `unit` bytes each, do not fit the scratch memory together."""
    enter = np.array([layer.inputs for layer in work.layers], np.float64)
    leave = np.array([layer.outputs for layer in work.layers], np.float64)
    room = device.scratch.value if device.scratch else 0.0
    ends = np.zeros_like(enter)
    ends[0] += enter[0]
    ends[-1] += leave[-1]
    return np.where(unit * (enter + leave) <= room, ends, enter + leave)


def cycles(device: Systolic, layer: LayerWork, batch: int) -> float:
    """Cycles of a layer, tiles spread over all arrays and the next tile loaded while one streams; 0 if not weighted.

    tiles × max(rows of activations, rows of the array) / arrays + 3 rows to fill and drain; a precision that takes
    several passes pays for that in the price of a cycle. Groups share a tile
    block by block along its diagonal as far as they fit; the rest of the tile is padding.
    """
    if layer.macs == 0:
        return 0.0
    rows, columns = device.array.rows.value, device.array.columns.value
    together = max(1, min(rows // layer.k, columns // layer.n, layer.groups))
    tiles = np.ceil(layer.groups / together) * np.ceil(layer.k / rows) * np.ceil(layer.n / columns)
    stream = max(ROWS * np.ceil(layer.m * batch / ROWS), rows)
    return float(tiles * stream / device.array.count.value + 3 * rows)


def prices(device: Systolic, values: Mapping[str, Scalar], boundary: str) -> Prices:
    """J and s per event from the constants `values`, for every native precision."""
    v = values
    energy = {f"mac_{p}": v[f"precision.{p}.mac"] for p in device.precision}
    rate = v["array.clock"] * v["array.efficiency"]
    time = {f"cycle_{p}": v[f"precision.{p}.passes"] / rate for p in device.precision}
    time["inference"] = v["overhead.inference"]
    if device.overhead.layer:
        time["layer"] = v["overhead.layer"]
    if device.memory:
        energy["memory_byte"] = v["memory.energy"]
        time["memory_byte"] = 1 / (v["memory.bandwidth"] * v["memory.efficiency"])
    if device.weights:
        energy["link_byte"] = v["weights.energy"]
        time["link_byte"] = 1 / v["weights.bandwidth"]
    return Prices(energy, time, v[f"power.{boundary}.active"], v[f"power.{boundary}.idle"])


def needs(device: Systolic, work: Workload, precision: Precision, batch: int) -> list[Need]:
    """What `batch` samples take of the machine's memory."""
    if device.memory is None:
        return []
    return [memory_need(work, precision, batch, device.memory.capacity.value)]
