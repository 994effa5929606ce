"""Conventional machines: the constants of each kind of model, read from TOML files."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import StringConstraints

from neuro.constants import (
    Bytes,
    BytesPerSecond,
    Description,
    Hertz,
    Joules,
    Number,
    Seconds,
    Table,
    bundled,
    leaves,
    locate,
    read,
)
from neuro.errors import BadDescription, BadInput, nearest

Precision: TypeAlias = Literal["fp32", "fp16", "bf16", "int16", "int8"]
TileName = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*x[1-9][0-9]*$")]

PACKAGE = "baselines.devices"

WIDTH: dict[str, int] = {"fp32": 4, "fp16": 2, "bf16": 2, "int16": 2, "int8": 1}
"""Bytes of a weight or activation."""


class GpuRate(Table):
    """rate: multiply-accumulates per second of the whole chip at its boost clock. mac: energy of one, all-in."""

    rate: Hertz
    mac: Joules


class SystolicRate(Table):
    """passes: cycles for one row of activations. mac: energy of one multiply-accumulate at full use."""

    passes: Number
    mac: Joules


class AsicRate(Table):
    """mac: energy of one multiply-accumulate, the unit in which the other levels are given."""

    mac: Joules


class McuRate(Table):
    """Cycles per multiply-accumulate by kernel; element: per value of a pool or an addition."""

    pointwise: Number
    conv: Number
    depthwise: Number
    dense: Number
    element: Number


class Memory(Table):
    """Device memory. efficiency: share of the bandwidth that long transfers reach. latency: before the first byte.
    energy: per byte."""

    capacity: Bytes
    bandwidth: BytesPerSecond
    efficiency: Number
    energy: Joules
    latency: Seconds | None = None


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


class Spatial(Table):
    """Processing elements of a row-stationary array, each with words of local store for one operand."""

    rows: Number
    columns: Number
    clock: Hertz
    input_words: Number
    weight_words: Number
    sum_words: Number


class Buffer(Table):
    """Global buffer. port: its bandwidth in one direction."""

    capacity: Bytes
    port: BytesPerSecond


class External(Table):
    """Link to external memory; a run-length code spends `expansion` words for every word that is not zero."""

    bandwidth: BytesPerSecond
    expansion: Number


class Levels(Table):
    """Energy of moving one word, in units of one multiply-accumulate: local store, array network, global buffer,
    external memory."""

    local: Number
    network: Number
    buffer: Number
    external: Number


class Core(Table):
    """clock. output, layer: cycles per output value and per layer beside the multiply-accumulates."""

    clock: Hertz
    output: Number
    layer: Number


class Store(Table):
    """What a microcontroller holds: weights in flash, activations in ram."""

    flash: Bytes
    ram: Bytes


class Machine(Description):
    """What the description of every kind holds beside its own tables.

    max_batch: samples in flight, where the machine and not its memory sets the limit.
    """

    max_batch: Number | None = None


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


class Asic(Machine):
    """Row-stationary array of processing elements (``baselines.eyeriss``)."""

    kind: Literal["asic"]
    precision: dict[Precision, AsicRate]
    array: Spatial
    buffer: Buffer
    external: External
    energy: Levels


class Mcu(Machine):
    """One core that does everything in turn (``baselines.mcu``); its energy is power times time."""

    kind: Literal["mcu"]
    precision: dict[Precision, McuRate]
    core: Core
    store: Store


Device: TypeAlias = Gpu | Systolic | Asic | Mcu


def known() -> list[str]:
    """Names of the bundled devices."""
    return bundled(PACKAGE)


def load(name: str | Path) -> Device:
    """The device of that name, or of the TOML file at that path.

    Raises:
        BadInput: an unknown name or no such file.
        BadDescription: a fault in the file, with its key path.
    """
    path = locate(str(name), PACKAGE, "device")
    match kind := _kind(path):
        case "gpu":
            return read(path, Gpu)
        case "tpu":
            return read(path, Systolic)
        case "asic":
            return read(path, Asic)
        case "mcu":
            return read(path, Mcu)
    raise BadDescription(f"{path}: kind: {kind!r} is no model.{nearest(str(kind), ['gpu', 'tpu', 'asic', 'mcu'])}")


def _kind(path: Path) -> object:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")).get("kind")
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise BadDescription(f"{path}: not a readable TOML file: {error}.") from None


def nominal(device: Device) -> dict[str, float]:
    """The value of every constant by its dotted path, as ``prices`` takes them."""
    return {path: constant.value for path, constant in leaves(device)}
