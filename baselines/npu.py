"""Weight- and output-stationary spatial arrays: NVDLA, Ethos, Simba, MAX78000, GAP9, Movidius, Hailo, NorthPole.

An array unrolls input channels × kernel taps × output channels × output positions; what does not fill it is lost.
t = inference + sum over layers of (layer + the slowest of arithmetic, buffer port, weight store and memory). Values
stay in the scratch memory as far as they fit; else a layer is cut so that least passes between buffer and memory.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, prod
from typing import Annotated, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from pydantic import Field

from baselines.description import WIDTH, Machine, Memory, Need, Precision
from baselines.workload import LayerWork, Workload, memory_need, stored_bytes, weight_bytes
from neuro.constants import Bytes, BytesPerSecond, Hertz, Joules, Number, Seconds, Table
from neuro.cost import Prices, Scalar
from neuro.counts import Counts, Path


class NpuRate(Table):
    """passes: cycles of the array for one multiply-accumulate of each of its cells. mac: energy of one, registers and
    accumulators included."""

    passes: Number
    mac: Joules


class Unrolled(Table):
    """`count` arrays that share a layer, each inputs × taps × outputs × positions multiply-accumulates a cycle.

    folded: taps of a kernel that share the input lanes which few channels leave empty (1: none do). depthwise:
    channels of a depthwise layer that work side by side, where that is more than the diagonal of a tile. held:
    positions whose sums wait in accumulators while the weights stay; an output-stationary array holds its
    `positions`. efficiency: share of the cycles in which a filled array works.
    """

    inputs: Number
    taps: Number
    outputs: Number
    positions: Number
    count: Number
    folded: Number
    depthwise: Number
    held: Number
    clock: Hertz
    efficiency: Number


class NpuBuffer(Table):
    """Memory beside the array. port: its bandwidth. energy: per byte."""

    capacity: Bytes
    port: BytesPerSecond
    energy: Joules


class Store(Table):
    """Weights on chip, from inference to inference. bandwidth, energy (per byte): of the way to the array."""

    capacity: Bytes
    bandwidth: BytesPerSecond
    energy: Joules


class NpuOverhead(Table):
    """inference: host, driver and link, per batch. layer: set-up of an operation."""

    inference: Seconds
    layer: Seconds


class Pipeline(Table):
    """Layers that work on different samples at once. depth: latency of a sample over the interval between two."""

    depth: Number


class Npu(Machine):
    """Spatial array (``baselines.npu``) with memory of its own, or with everything on chip.

    scratch: on-chip memory in which values pass from layer to layer. memory: holds what the chip does not.
    """

    kind: Literal["asic"]
    dataflow: Literal["weight", "output"]
    precision: Annotated[dict[Precision, NpuRate], Field(min_length=1)]
    array: Unrolled
    buffer: NpuBuffer
    overhead: NpuOverhead
    scratch: Bytes | None = None
    weights: Store | None = None
    memory: Memory | None = None
    pipeline: Pipeline | None = None


@dataclass(frozen=True)
class Sizes:
    """The layers of a network as columns [layer]: matrix product, kernel, and bytes of a batch.

    m: output positions of the batch that work at once; rows, halo: of the input map, and how many of them two
    neighbouring cuts share.
    """

    m: Float[np.ndarray, "layer"]
    n: Float[np.ndarray, "layer"]
    channels: Float[np.ndarray, "layer"]
    taps: Float[np.ndarray, "layer"]
    groups: Float[np.ndarray, "layer"]
    steps: Float[np.ndarray, "layer"]
    macs: Float[np.ndarray, "layer"]
    weights: Float[np.ndarray, "layer"]
    inputs: Float[np.ndarray, "layer"]
    outputs: Float[np.ndarray, "layer"]
    rows: Float[np.ndarray, "layer"]
    halo: Float[np.ndarray, "layer"]


def sizes(work: Workload, precision: Precision, batch: int) -> Sizes:
    """The layers of `work` at `precision`, `batch` samples together."""
    width = WIDTH[precision]

    def row(layer: LayerWork) -> tuple[float | int, ...]:
        taps = prod(layer.kernel) if layer.k % prod(layer.kernel) == 0 else 1
        halo = max(layer.kernel[0] - layer.stride[0], 0)
        return (
            layer.m * batch, layer.n, layer.k // taps, taps, layer.groups, layer.steps, layer.macs * batch,
            weight_bytes(layer, precision), width * batch * layer.inputs, width * batch * layer.outputs,
            layer.input_map[0], halo,
        )  # fmt: skip

    return Sizes(*np.array([row(layer) for layer in work.layers], np.float64).T)


def cycles(device: Npu, s: Sizes) -> Float[np.ndarray, "layer"]:
    """Cycles of each layer at one pass: tiles of the unrolled product, spread over all arrays; 0 if not weighted.

    Groups share a tile along its diagonal as far as they fit, zeros beside them.
    """
    a = device.array
    together = np.maximum(np.minimum(a.inputs.value // s.channels, a.outputs.value // s.n), 1)
    together = np.where((s.channels == 1) & (s.n == 1), np.maximum(together, a.depthwise.value), together)
    together = np.minimum(together, s.groups)
    spare = np.clip(a.inputs.value // s.channels, 1, np.where(s.groups == 1, a.folded.value, 1))
    tiles = np.ceil(s.groups / together) * np.ceil(s.channels / a.inputs.value)
    tiles *= np.ceil(s.taps / (a.taps.value * spare))
    tiles *= np.ceil(s.n / a.outputs.value) * np.ceil(s.m / a.positions.value)
    # Pipelined layers share the arrays, in turn or each with its own: no layer rounds up to all of them.
    shared = tiles / a.count.value if device.pipeline else np.ceil(tiles / a.count.value)
    return np.where(s.macs > 0, s.steps * shared, 0.0)


def buffered(device: Npu, s: Sizes, width: float) -> Float[np.ndarray, "layer"]:
    """Bytes through the port of the buffer.

    Inputs are read for every tile of output channels, taps of a window at once; weights once for the positions whose
    sums are held; outputs are written once.
    """
    a = device.array
    held = a.positions.value if device.dataflow == "output" else a.held.value
    windows = width * s.m * s.steps * s.groups * s.channels * np.ceil(s.taps / np.minimum(a.taps.value, s.taps))
    weights = s.weights * s.steps * np.ceil(s.m / held)
    moved = windows * np.ceil(s.n / a.outputs.value) + weights + s.outputs
    return np.where(s.macs > 0, moved, s.inputs + s.outputs)


def passes(device: Npu, s: Sizes, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """How often the weights and the values of each layer [layer] pass between memory and buffer in the best cut.

    A cut makes `down` parts of the weights and `across` parts of the values, whose inputs overlap by the halo; the
    parts of one stay in the buffer while all parts of the other pass. A layer whose values stay in the scratch
    memory takes its weights once per group of samples that fit there. Least bytes win, and with them least time and
    energy.
    """
    room = device.buffer.capacity.value
    parts = 2.0 ** np.arange(14)
    down, across = (x[:, :, None] for x in np.meshgrid(parts, parts, indexing="ij"))
    values = s.inputs + s.outputs
    # Cuts beyond one per sample run through its rows, of which neighbours share the halo.
    shared = 1 + np.maximum(across - batch, 0) * s.halo / (batch * s.rows)
    # The halo of a very fine cut would be more than the map itself; then it is read once per output row.
    enter = s.inputs * np.minimum(shared, 1 + s.halo)
    held = s.weights / down + enter / across + s.outputs / (down * across)
    fits = (held <= room) & (down <= np.maximum(s.n * s.groups, 1)) & (across <= np.maximum(s.m, 1))
    inner = np.where(across > 1, down, 1.0)  # values pass once for every part of the weights
    outer = np.where(down > 1, across, 1.0)  # or weights once for every part of the values
    first = s.weights + inner * enter + s.outputs
    second = outer * s.weights + enter + s.outputs
    ways = np.stack([np.where(fits, first, np.inf), np.where(fits, second, np.inf)])
    weight = np.stack(np.broadcast_arrays(1.0, outer * np.ones_like(first)))
    value = np.stack([inner * enter + s.outputs, np.broadcast_to(enter + s.outputs, second.shape)])
    tried = (ways, np.broadcast_to(weight, ways.shape), value)
    cost, weight, value = (x.reshape(-1, len(s.m)) for x in tried)
    pick = np.argmin(cost, axis=0)
    column = np.arange(len(s.m))
    found = np.isfinite(cost[pick, column])
    # No cut fits: each output row takes everything anew.
    weight = np.where(found, weight[pick, column], np.maximum(s.m, 1))
    value = np.where(found, value[pick, column], values)
    if device.scratch:
        samples = np.floor(device.scratch.value * batch / np.maximum(values, 1))
        turns = np.ceil(batch / np.maximum(samples, 1))
        stays = (samples >= 1) & (turns * s.weights <= weight * s.weights + value)
        weight, value = np.where(stays, turns, weight), np.where(stays, 0.0, value)
    # A recurrent layer meets its weights again in every step.
    weight = np.where(s.weights > room, weight * s.steps, weight)
    # What is no product (a norm, the rows of a table) streams through once.
    return np.where(s.macs > 0, weight, 1.0), np.where((s.macs > 0) | (value == 0), value, values)


NAMES = ("cycle", "buffer_byte", "weight_byte", "memory_byte", "layer", "inference")


def counts(device: Npu, work: Workload, precision: Precision, batch: int) -> Counts:
    """Events of one batch; `precision` must be native."""
    s = sizes(work, precision, batch)
    again, values = passes(device, s, batch)
    total = s.weights.sum()
    kept = min(1.0, device.weights.capacity.value / total) if device.weights and total else 0.0
    memory = (1 - kept) * again * s.weights
    if device.memory:
        memory = memory + values
        memory[0] += 0.0 if values[0] else s.inputs[0]
        memory[-1] += 0.0 if values[-1] else s.outputs[-1]
    stored = kept * again * s.weights
    port = buffered(device, s, WIDTH[precision]) + (memory if device.memory else 0)
    stages = np.zeros((len(s.m), 2, 4, len(NAMES)), np.float32)
    columns = (device.precision[precision].passes.value * cycles(device, s), port, stored, memory)
    for i, column in enumerate(columns):
        stages[:, 0, i, i] = column
    # Pipelined layers hand every sample on by itself.
    stages[:, 1, 0, NAMES.index("layer")] = batch if device.pipeline else 1
    flat = stages.reshape(-1, 4, len(NAMES))
    call = np.zeros((1, 4, len(NAMES)), np.float32)
    call[0, 0, NAMES.index("inference")] = 1
    # The last sample of a batch leaves the pipeline `depth` intervals after it entered, one behind the other.
    behind = 1 + (device.pipeline.depth.value - 1) / batch if device.pipeline else 1.0
    used = [i for i, name in enumerate(NAMES) if _priced(device, name)]
    names = tuple(NAMES[i] for i in used)
    interval, latency = (np.concatenate([call, flat * factor])[..., used] for factor in (1.0, behind))
    events = {f"mac_{precision}": s.macs.sum(), "buffer_byte": port.sum()}
    events |= {"weight_byte": stored.sum()} if device.weights else {}
    events |= {"memory_byte": memory.sum()} if device.memory else {}
    return Counts(
        {k: jnp.float32(v) for k, v in events.items()},
        latency=Path(names, jnp.asarray(latency, jnp.float32)),
        interval=Path(names, jnp.asarray(interval, jnp.float32)),
        batch=batch,
    )


def _priced(device: Npu, name: str) -> bool:
    return {"weight_byte": device.weights, "memory_byte": device.memory}.get(name, True) is not None


def prices(device: Npu, values: Mapping[str, Scalar], boundary: str) -> Prices:
    """J and s per event from the constants `values`, for every native precision."""
    v = values
    energy = {f"mac_{p}": v[f"precision.{p}.mac"] for p in device.precision}
    energy["buffer_byte"] = v["buffer.energy"]
    time = {
        "cycle": 1 / (v["array.clock"] * v["array.efficiency"]),
        "buffer_byte": 1 / v["buffer.port"],
        "layer": v["overhead.layer"],
        "inference": v["overhead.inference"],
    }
    if device.weights:
        energy["weight_byte"] = v["weights.energy"]
        time["weight_byte"] = 1 / v["weights.bandwidth"]
    if device.memory:
        energy["memory_byte"] = v["memory.energy"]
        time["memory_byte"] = 1 / (v["memory.bandwidth"] * v["memory.efficiency"])
    return Prices(energy, time, v[f"power.{boundary}.active"], v[f"power.{boundary}.idle"])


def needs(device: Npu, work: Workload, precision: Precision, batch: int) -> list[Need]:
    """What `batch` samples take of the machine's memory; without memory of its own all of it must be on chip."""
    if device.memory:
        return [memory_need(work, precision, batch, device.memory.capacity.value)]
    found = []
    if device.weights:
        weights = sum(stored_bytes(layer, precision) for layer in work.layers)
        found.append(Need("weights", weights, device.weights.capacity.value, "bytes of weight memory"))
    if device.scratch:
        s = sizes(work, precision, 1)
        most = float((s.inputs + s.outputs).max())
        found.append(Need("values", most, device.scratch.value, "bytes of on-chip memory"))
    return found


def roof(device: Npu, precision: Precision) -> tuple[float, float]:
    """Peak multiply-accumulates per second of all arrays, and bytes per second of the memory, unless weights have a
    store on the chip."""
    array = device.array
    cells = prod(c.value for c in (array.count, array.inputs, array.taps, array.outputs, array.positions))
    rate = cells * array.clock.value / device.precision[precision].passes.value
    return rate, device.memory.bandwidth.value if device.memory and not device.weights else inf
