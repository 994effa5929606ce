"""Systolic arrays that hold weights and let activations stream through: the TPUs and the Edge TPU.

t = inference + sum over kernels of (layer + max(array, vector unit, weights ahead) + other bytes / bandwidth).
Arithmetic and memory traffic add up, as single products on a TPU v4 show; only where weights come ahead of their use
do the two overlap. Values pass from layer to layer in the scratch memory as far as they fit.
"""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Annotated, Literal, TypeAlias

import jax.numpy as jnp
import numpy as np
from pydantic import Field

from baselines.description import WIDTH, Machine, Memory, Need, Precision
from baselines.workload import LayerWork, Workload, memory_need, stored_bytes, value_bytes, weight_bytes
from neuro.constants import Bytes, Hertz, Joules, Number, Seconds, Table
from neuro.cost import Prices, Scalar
from neuro.counts import Counts, Path

Vectored: TypeAlias = Literal["depthwise", "pool", "add", "scale", "activation", "norm", "softmax"]


class SystolicRate(Table):
    """passes: cycles for one row of activations. mac: energy of one multiply-accumulate at full use. weights: bytes
    in which a weight is held, where that is less than the width of the precision."""

    passes: Number
    mac: Joules
    weights: Bytes | None = None


class Array(Table):
    """Systolic arrays. efficiency: share of the peak that long runs reach.

    accumulators: rows of results that they hold, where there is a limit.
    double_buffered: the next tile of weights shifts in while one is used, and rows of the next product follow at
    once; without, every tile waits for its weights, its first row and its last result.
    """

    rows: Number
    columns: Number
    count: Number
    clock: Hertz
    efficiency: Number
    accumulators: Number | None = None
    double_buffered: bool = True


class Vector(Table):
    """The unit for all that is no matrix product. lanes: values per cycle, of the whole chip. operations: per value,
    or per multiply-accumulate of a depthwise convolution; where ``depthwise`` is not among them, the arrays do it.
    energy: of one operation on one value."""

    lanes: Number
    operations: dict[Vectored, Number]
    energy: Joules


class SystolicOverhead(Table):
    """inference: per batch, host and read-out. layer: per kernel. non_matrix: share of the time in which the array
    neither works nor waits for weights, though the operations of the vector unit that are counted do not say why."""

    inference: Seconds
    layer: Seconds
    non_matrix: Number | None = None


class Systolic(Machine):
    """Weight-stationary arrays (``baselines.systolic``).

    scratch: on-chip memory in which values pass from layer to layer. memory: of the device, or of its host over a
    link. weights: come from the memory for every batch before their use (``fetched``), or tile by tile through a
    queue ahead of it, while values never go there (``prefetched``); or they stay in the scratch memory from batch to
    batch as far as there is room beside the values, and the rest comes ahead of its use (``resident``).
    """

    kind: Literal["tpu"]
    weights: Literal["fetched", "prefetched", "resident"]
    precision: Annotated[dict[Precision, SystolicRate], Field(min_length=1)]
    array: Array
    overhead: SystolicOverhead
    scratch: Bytes
    memory: Memory
    vector: Vector


# Rows of activations come in groups of ROWS.
ROWS = 8


def counts(device: Systolic, work: Workload, precision: Precision, batch: int) -> Counts:
    """Events of one batch; `precision` must be native.

    A stage per kernel in which the array, the vector unit and the weights ahead work at the same time; then one stage
    for what adds up: other memory traffic, kernels, host.
    """
    layers = work.layers
    vectored = tuple(device.vector.operations)
    names = (f"cycle_{precision}", *(f"{name}_value" for name in vectored), "memory_byte", "layer", "inference")
    stages = np.zeros((len(layers) + 1, 3, len(names)), np.float32)
    stages[:-1, 0, 0] = cycles(device, layers, batch)
    for i, name in enumerate(vectored, start=1):
        stages[:-1, 1, i] = [batch * touched(layer) if layer.operator == name else 0.0 for layer in layers]
    ahead, exposed = traffic(device, work, precision, batch)
    stages[:-1, 2, -3] = ahead
    stages[-1, 2, -3:] = exposed, len(layers), 1
    path = Path(names, jnp.asarray(stages))
    events = {f"mac_{precision}": batch * on_array(device, layers, "macs").sum(), "memory_byte": ahead.sum() + exposed}
    events |= {f"{name}_value": stages[:, 1, i].sum() for i, name in enumerate(vectored, start=1)}
    return Counts({k: jnp.float32(v) for k, v in events.items()}, latency=path, interval=path, batch=batch)


def on_array(device: Systolic, layers: Sequence[LayerWork], what: str) -> np.ndarray:
    """An attribute of every layer [layer], zero for those that the arrays do not compute."""
    elsewhere = device.vector.operations
    return np.array([0 if layer.operator in elsewhere else getattr(layer, what) for layer in layers], np.float64)


def touched(layer: LayerWork) -> float:
    """Values of one sample that the vector unit works on: what is read or written, whichever is more, or the
    multiply-accumulates of a depthwise convolution."""
    return float(layer.macs or max(layer.inputs, layer.outputs))


def tiled(device: Systolic, layers: Sequence[LayerWork], batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tiles, rows of activations that stream through each, and chunks of these that the accumulators can hold, for
    each of which the weights pass again; all [layer] and for one step.

    Groups share a tile block by block along its diagonal as far as they fit; the rest of a tile is padding. A
    product of activations has other operands in every sample.
    """
    rows, columns = device.array.rows.value, device.array.columns.value
    m, n, k, groups = (np.array([getattr(layer, x) for layer in layers], np.float64) for x in ("m", "n", "k", "groups"))
    own = np.array([layer.operator == "matmul" for layer in layers])
    stream = np.where(own, m, m * batch)
    room = np.minimum(np.minimum(rows // k, columns // n), groups)
    together = np.where(own, 1.0, np.maximum(room, 1.0))
    products = np.where(own, groups * batch, np.ceil(groups / together))
    tiles = products * np.ceil(k / rows) * np.ceil(n / columns)
    limit = device.array.accumulators.value if device.array.accumulators else np.inf
    return tiles, stream, np.maximum(np.ceil(stream / limit), 1.0)


def cycles(device: Systolic, layers: Sequence[LayerWork], batch: int) -> np.ndarray:
    """Cycles of every layer [layer], tiles spread over all arrays; 0 where the arrays have no part.

    With double buffers tiles × max(activations, rows) + 2 rows + columns - 2 to fill and drain, once for a step;
    without, tiles × (activations + 2 rows + columns - 2), which is SCALE-Sim's weight-stationary count plus one. A
    precision that takes several passes pays for that in the price of a cycle.
    """
    rows, count = device.array.rows.value, device.array.count.value
    fill = 2 * rows + device.array.columns.value - 2
    tiles, stream, chunks = tiled(device, layers, batch)
    if device.array.double_buffered:
        step = tiles * np.maximum(ROWS * np.ceil(stream / ROWS), chunks * rows) / count + fill
    else:
        step = tiles * (stream + chunks * fill) / count
    used = on_array(device, layers, "macs") > 0
    return np.where(used, step * np.array([layer.steps for layer in layers]), 0.0)


def traffic(device: Systolic, work: Workload, precision: Precision, batch: int) -> tuple[np.ndarray, float]:
    """Bytes of weights that come from the memory ahead of their use [layer], and all other bytes to and from it."""
    steps = np.array([layer.steps for layer in work.layers], np.float64)
    weight = width(device, precision)
    if device.weights == "prefetched":
        tiles, _, chunks = tiled(device, work.layers, batch)
        whole = tiles * chunks * steps * device.array.rows.value * device.array.columns.value * weight
        return np.where(on_array(device, work.layers, "weight_count") > 0, whole, 0.0), 0.0
    held = np.array([weight_bytes(layer, precision) for layer in work.layers], np.float64) * weight / WIDTH[precision]
    unit = WIDTH[precision] * batch
    values = unit * outside(device, work, unit).sum()
    if device.weights == "fetched":
        return np.zeros_like(held), values + (held * np.where(held > device.scratch.value, steps, 1.0)).sum()
    room = device.scratch.value - batch * max(value_bytes(layer, precision) for layer in work.layers)
    absent = 1 - max(room, 0.0) / max(held.sum(), room, 1.0)
    return held * steps * absent, values


def width(device: Systolic, precision: Precision) -> float:
    """Bytes of a weight."""
    narrow = device.precision[precision].weights
    return narrow.value if narrow else WIDTH[precision]


def outside(device: Systolic, work: Workload, unit: float) -> np.ndarray:
    """Values per sample that each layer exchanges with the memory: the network's inputs and outputs, and all of a
    layer whose values, `unit` bytes each, do not fit the scratch memory together."""
    enter = np.array([layer.inputs for layer in work.layers], np.float64)
    leave = np.array([layer.outputs for layer in work.layers], np.float64)
    ends = np.zeros_like(enter)
    ends[0] += enter[0]
    ends[-1] += leave[-1]
    return np.where(unit * (enter + leave) <= device.scratch.value, ends, enter + leave)


def prices(device: Systolic, values: Mapping[str, Scalar], boundary: str) -> Prices:
    """J and s per event from the constants `values`, for every native precision."""
    v = values
    energy = {f"mac_{p}": v[f"precision.{p}.mac"] for p in device.precision}
    energy["memory_byte"] = v["memory.energy"]
    busy = 1 - v["overhead.non_matrix"] if device.overhead.non_matrix else 1.0
    rate = v["array.clock"] * v["array.efficiency"] * busy
    time = {f"cycle_{p}": v[f"precision.{p}.passes"] / rate for p in device.precision}
    time["memory_byte"] = 1 / (v["memory.bandwidth"] * v["memory.efficiency"] * busy)
    time |= {"layer": v["overhead.layer"], "inference": v["overhead.inference"]}
    for name in device.vector.operations:
        operations = v[f"vector.operations.{name}"]
        time[f"{name}_value"] = operations / (v["vector.lanes"] * v["array.clock"])
        energy[f"{name}_value"] = operations * v["vector.energy"]
    return Prices(energy, time, v[f"power.{boundary}.active"], v[f"power.{boundary}.idle"])


def needs(device: Systolic, work: Workload, precision: Precision, batch: int) -> list[Need]:
    """What `batch` samples take of the machine's memories."""
    if device.weights != "prefetched":
        return [memory_need(work, precision, batch, device.memory.capacity.value)]
    weights = sum(stored_bytes(layer, precision) for layer in work.layers)
    values = batch * max(value_bytes(layer, precision) for layer in work.layers)
    return [
        Need("weights", weights, device.memory.capacity.value, "bytes of memory"),
        Need("values of a layer", values, device.scratch.value, "bytes of scratch memory"),
    ]


def roof(device: Systolic, precision: Precision) -> tuple[float, float]:
    """Peak multiply-accumulates per second of all arrays, and bytes per second of the memory; what stays on the chip
    from batch to batch does not wait for its link."""
    array = device.array
    cells = array.count.value * array.rows.value * array.columns.value
    bandwidth = inf if device.weights == "resident" else device.memory.bandwidth.value
    return cells * array.clock.value / device.precision[precision].passes.value, bandwidth
