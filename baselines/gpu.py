"""GPUs: matrix products in tiles and waves over the multiprocessors, against cache and memory, plus launches.

t = host + sum over kernels of launch + max(tiles, cache, memory, dispatch). Kernels without a matrix product wait for
cache and memory, depthwise convolutions for the vector units too. The clock is the highest at which the card stays
below its power limit; voltage, and so the energy of an operation, falls with it.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from pydantic import Field, model_validator

from baselines.description import WIDTH, Machine, Memory, Need, Precision
from baselines.gpu_tiles import PRODUCTS, Multiprocessors, Tiled, tiled
from baselines.workload import LayerWork, Mode, Pattern, Workload, memory_need, value_bytes, weight_bytes
from neuro.constants import Boundary, Bytes, Hertz, Joules, Number, Seconds, Table, Watts, leaves
from neuro.cost import Prices, Scalar
from neuro.counts import Counts, Path
from neuro.errors import DoesNotFit

Unit = Literal["tensor", "vector"]
CAPPED: Boundary = "chip"
"""Boundary at which the power limit of a card holds."""


class GpuRate(Table):
    """rate: multiply-accumulates per second of the whole chip at its boost clock. unit: which does them."""

    rate: Hertz
    unit: Unit = "tensor"


class Operation(Table):
    """mac: energy of a multiply-accumulate with its operands and control, in 7 nm: on the tensor units of one of 8-bit
    operands, in proportion to their width; on the vector units of one instruction to a lane, shared by as many
    multiply-accumulates as fit in 32 bits."""

    mac: Joules


class Tile(Table):
    """feed: share of the time for fetching operands into a tile that arithmetic does not hide. port: bytes per cycle
    of a multiprocessor's shared memory. step: cycles that a depth step takes at least. fill: cycles before the first
    step and after the last. exposed: share of these that the wave before does not hide."""

    feed: Number
    port: Number
    step: Number
    fill: Number
    exposed: Number


class Cache(Table):
    """Last cache level. width: bytes per cycle and multiprocessor. share: of its capacity that a layer may fill and
    still be served from it. energy: per byte."""

    capacity: Bytes
    width: Number
    share: Number
    energy: Joules


class GpuOverhead(Table):
    """launch: between two kernels. dispatch: time of the host per kernel, beside the work of the card. host: per
    batch, from the call to the first kernel and back."""

    launch: Seconds
    dispatch: Seconds
    host: Seconds


class Accelerators(Table):
    """Fixed-function engines beside the multiprocessors. share: of the samples of a batch that they take over, in
    convolutional networks at `precision`. relief: energy of a multiply-accumulate there over one on the tensor
    units."""

    share: Number
    relief: Number
    precision: tuple[Precision, ...]


class Gpu(Machine):
    """Multiprocessors with tensor and vector units, a cache and a memory (``baselines.gpu``).

    clock: boost clock. sustained: share of it that the power mode allows. power_cap: at the boundary chip; the clock
    is lowered to keep it. voltage_floor: share of the voltage that remains as the clock goes to zero. scale: energy
    of an operation in this process over 7 nm. efficiency: share of the peak of a unit inside a tile. depthwise: share
    of the vector units' fp32 peak that depthwise convolutions reach. gates: kernels for the gates of a recurrent
    layer in each step, where none of them is fused. sparsity: speed-up by 2:4 zeros, where tensor units can use them.
    """

    kind: Literal["gpu"]
    precision: Annotated[dict[Precision, GpuRate], Field(min_length=1)]
    multiprocessors: Number
    clock: Hertz
    sustained: Number
    power_cap: Watts
    voltage_floor: Number
    scale: Number
    operation: dict[Unit, Operation]
    efficiency: dict[Unit, Number]
    tile: Tile
    depthwise: Number
    sparsity: Number | None = None
    memory: Memory
    cache: Cache
    overhead: dict[Mode, GpuOverhead]
    gates: Number
    accelerators: Accelerators | None = None

    @model_validator(mode="after")
    def _complete(self):
        if CAPPED not in self.power:
            raise ValueError(f"power.{CAPPED}: missing; the power limit holds there")
        if "fp32" not in self.precision:
            raise ValueError("precision.fp32: missing; depthwise convolutions run at its rate")
        return self


def counts(device: Gpu, work: Workload, precision: Precision, batch: int) -> Counts:
    """Events of one batch; `precision` must be native.

    ``tile_mac`` counts the multiply-accumulates that one multiprocessor does in turn, with the padding of tiles and
    waves counted as work; ``mac`` counts the useful ones of all. Both are weighted with the clock and the voltage at
    which the card runs this network.
    """
    layers, mode = work.layers, work.mode
    card = batch - beside(device, work, precision, batch)
    relief = device.accelerators.relief.value if device.accelerators else 1.0
    steps = np.array([layer.steps for layer in layers], np.float64)
    tensor = device.precision[precision].unit == "tensor"
    halved = device.sparsity is not None and tensor
    packed: tuple[Pattern, ...] = ("2:4",) if halved else ()
    weights = np.array([weight_bytes(layer, precision, packed) for layer in layers], np.float64)
    values = np.array([value_bytes(layer, precision) for layer in layers], np.float64)
    room = device.cache.share.value * device.cache.capacity.value
    refetched = weights * np.where(weights > room, steps, 1.0)
    # Values come from memory where they overflow the cache, weights where those of the network do.
    missed = card * values * _missed(card * values / steps, room) + refetched * _missed(weights.sum(), room)
    tiles = work_in_tiles(device, layers, precision, card)
    products = np.array([layer.operator in PRODUCTS for layer in layers])
    deep = np.array([layer.macs if layer.operator == "depthwise" else 0 for layer in layers], np.float64)
    names = (
        f"tile_mac_{precision}", "step", "fill", f"depthwise_{precision}", "tile_byte", "memory_byte", "memory_access",
        f"dispatch_{mode}", f"launch_{mode}", f"host_{mode}",
    )  # fmt: skip
    gates = np.array([layer.steps > 1 and layer.operator not in PRODUCTS for layer in layers])
    launches = steps * np.where(gates, device.gates.value, 1.0)
    stages = np.zeros((len(layers) + 1, 4, len(names)), np.float64)
    stages[:-1, 0, :4] = np.stack([tiles.macs, tiles.steps * tensor, tiles.fills, card * deep], axis=1)
    stages[:-1, 1, 4] = np.where(products, tiles.bytes, card * values + weights)
    stages[:-1, 2, 5] = missed
    stages[:-1, 2, 6] = launches
    stages[:-1, 3, 7] = launches
    stages[-1, 0, 8:] = launches.sum(), 1
    macs = sum(layer.macs * (0.5 if halved and layer.pattern == "2:4" else 1.0) for layer in layers) - deep.sum()
    events = {
        f"mac_{precision}": (card + (batch - card) * relief) * macs,
        f"depthwise_{precision}": batch * deep.sum(),
        "cache_byte": (batch * values + weights * steps).sum(),
        "memory_byte": missed.sum() + (batch - card) * values.sum(),
    }
    clock = clock_share(device, stages, names, events)
    stages[:-1, :2] *= device.sustained.value / clock
    squared = float(voltage(device, clock)) ** 2
    events = {name: number * (1.0 if name == "memory_byte" else squared) for name, number in events.items()}
    path = Path(names, jnp.asarray(stages, jnp.float32))
    return Counts({k: jnp.float32(v) for k, v in events.items()}, latency=path, interval=path, batch=batch)


def beside(device: Gpu, work: Workload, precision: Precision, batch: int) -> int:
    """How many of `batch` samples run on the fixed-function engines."""
    operators = {layer.operator for layer in work.layers}
    engines = device.accelerators
    if engines is None or precision not in engines.precision or work.mode == "eager":
        return 0
    if "conv" not in operators or operators & {"matmul", "norm", "embedding"}:
        return 0
    return int(engines.share.value * batch)


def work_in_tiles(device: Gpu, layers: tuple[LayerWork, ...], precision: Precision, batch: int) -> Tiled:
    """The matrix products of `layers` on the multiprocessors of `device`, at the values of its constants."""
    rate, number = device.precision[precision], device.multiprocessors.value
    clock, tile = device.clock.value, device.tile
    own = rate.rate.value / number
    machine = Multiprocessors(
        number=number,
        rate=own * device.efficiency[rate.unit].value,
        feed=tile.feed.value * own * WIDTH[precision] / (clock * tile.port.value),
        # Vector units take so long over a step that the next operands arrive meanwhile.
        step=tile.step.value / clock if rate.unit == "tensor" else 0.0,
        fill=tile.fill.value / clock,
        exposed=tile.exposed.value,
        bandwidth=device.cache.width.value * number * clock,
    )
    sparse = device.sparsity.value if device.sparsity and rate.unit == "tensor" else 1.0
    return tiled(layers, batch, WIDTH[precision], machine, sparse)


def _missed(size: np.ndarray | float, room: float) -> np.ndarray | float:
    """The share of `size` bytes that is fetched from memory: nothing up to `room`, all beyond twice that."""
    return np.clip(size / room - 1, 0.0, 1.0)


def voltage(device: Gpu, clock: Scalar) -> Scalar:
    """Supply voltage at a share `clock` of the boost clock, over that at boost."""
    return device.voltage_floor.value + (1 - device.voltage_floor.value) * clock


def clock_share(
    device: Gpu, stages: Float[np.ndarray, "stage resource event"], names: tuple[str, ...], events: Mapping[str, float]
) -> float:
    """The highest share of the boost clock, up to `sustained`, at which active + dynamic energy / time stays below
    the power limit, at the values of the constants."""
    values = _values(device)
    charged = prices(device, values, CAPPED)
    spent = {name: number * float(charged.energy[name]) for name, number in events.items()}
    fixed = spent.pop("memory_byte")
    scaled = sum(spent.values())
    busy = stages @ np.array([float(charged.time[name]) for name in names])
    core, rest = busy[:-1, :2].max(axis=1), busy[:-1, 2:].max(axis=1)
    room = device.power_cap.value - float(charged.active_power)
    top = device.sustained.value

    def over(share: float) -> bool:
        time = np.maximum(core * top / share, rest).sum() + busy[-1].max()
        return bool(fixed + scaled * float(voltage(device, share)) ** 2 > room * time)

    low, high = 0.1 * top, top
    if not over(high):
        return high
    if over(low):
        raise DoesNotFit(
            f"{device.name}: a power_cap of {device.power_cap.value:g} W cannot be kept even at a tenth of the clock; "
            "raise it."
        )
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (low, middle) if over(middle) else (middle, high)
    return low


def _values(device: Gpu) -> dict[str, float]:
    return {path: constant.value for path, constant in leaves(device)}


def prices(device: Gpu, values: Mapping[str, Scalar], boundary: str) -> Prices:
    """J and s per event from the constants `values`, for every native precision and both modes."""
    v = values
    clock = v["clock"] * v["sustained"]
    energy = {"cache_byte": v["cache.energy"] * v["scale"], "memory_byte": v["memory.energy"]}
    time = {
        "step": v["tile.step"] / clock,
        "fill": v["tile.fill"] / clock,
        "tile_byte": 1 / (v["cache.width"] * v["multiprocessors"] * clock),
        "memory_byte": 1 / (v["memory.bandwidth"] * v["memory.efficiency"]),
        "memory_access": v["memory.latency"],
    }
    for mode in device.overhead:
        time |= {f"{part}_{mode}": v[f"overhead.{mode}.{part}"] for part in ("launch", "dispatch", "host")}
    vector = v["precision.fp32.rate"] * v["sustained"] * v["depthwise"]
    for p, rate in device.precision.items():
        parts = WIDTH[p] if rate.unit == "tensor" else min(1.0, WIDTH[p] / WIDTH["fp32"])
        energy[f"mac_{p}"] = v[f"operation.{rate.unit}.mac"] * parts * v["scale"]
        energy[f"depthwise_{p}"] = v["operation.vector.mac"] * min(1.0, WIDTH[p] / WIDTH["fp32"]) * v["scale"]
        reached = v[f"precision.{p}.rate"] * v["sustained"] * v[f"efficiency.{rate.unit}"]
        time[f"tile_mac_{p}"] = v["multiprocessors"] / reached
        time[f"depthwise_{p}"] = 1 / vector
    floor, share = v["voltage_floor"], v["sustained"]
    # What clocks burn falls with the clock and the square of the voltage; what leaks does not.
    slower = share * (floor + (1 - floor) * share) ** 2
    idle = v[f"power.{boundary}.idle"]
    return Prices(energy, time, idle + (v[f"power.{boundary}.active"] - idle) * slower, idle)


def needs(device: Gpu, work: Workload, precision: Precision, batch: int) -> list[Need]:
    """What `batch` samples take of the machine's memory."""
    return [memory_need(work, precision, batch, device.memory.capacity.value)]


def roof(device: Gpu, precision: Precision) -> tuple[float, float]:
    """Peak multiply-accumulates and bytes of memory per second, as the data sheet says."""
    return device.precision[precision].rate.value, device.memory.bandwidth.value
