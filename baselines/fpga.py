"""FPGAs: a pipeline with a stage for every layer (FINN, hls4ml), or an overlay of multipliers that runs one at a time.

Pipeline: a layer takes (MH / PE) (MW / SIMD) cycles per position; samples follow one another at the slowest layer's
interval, II. A layer starts when the rows of its first window are there; a batch takes latency + (batch - 1) II.
Overlay: per layer the slower of the multipliers and the external memory. Energy: clock cycles of the look-up tables,
block RAMs and multipliers at work, memory traffic, and the power of the board.
"""

from collections.abc import Mapping
from math import inf, prod
from typing import Annotated, Literal, NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np
from pydantic import Field, model_validator

from baselines.description import WIDTH, Machine, Memory, Need, Precision
from baselines.fpga_folding import Budget, Design, Shape, fold, given, latency, limits, shape, smallest
from baselines.fpga_resources import Bits, multiplier_luts, product_bits
from baselines.workload import LayerWork, Workload, compiled, memory_need, weight_bytes
from neuro.constants import Basis, Boundary, Hertz, Joules, Number, Seconds, Table
from neuro.cost import Prices, Scalar
from neuro.counts import Counts, Path
from neuro.errors import BadDescription

Style: TypeAlias = Literal["dataflow", "reuse", "overlay"]


class FpgaRate(Table):
    """packed: multiply-accumulates per multiplier slice and cycle; without, products go to look-up tables alone."""

    packed: Number | None = None


class Part(Table):
    """What the chip has: look-up tables, block RAMs of 36 Kib, ultra RAMs of 288 Kib and multiplier slices."""

    lut: Number
    bram: Number
    uram: Number | None = None
    dsp: Number


class Share(Table):
    """Shares of the chip that a design may fill and still be routed."""

    lut: Number
    memory: Number
    dsp: Number


class Fabric(Table):
    """layer: look-up tables of a layer beside its arithmetic, and of the window buffer of a convolution. slack: placed
    per look-up table of the equations. shell_lut, shell_bram: transfer and control of the whole design. stream: bits
    of input per cycle. levels: levels of an adder tree per cycle where layers are folded by a reuse factor."""

    layer: Number
    slack: Number
    shell_lut: Number
    shell_bram: Number
    stream: Number
    levels: Number


class Target(Table):
    """interval: folding stops where a sample every so many cycles is reached; 1 takes what the chip can hold."""

    interval: Number


class Overlay(Table):
    """pump: cycles of a multiplier per clock. lut: look-up tables per multiply-accumulate and cycle. efficiency: share
    of the cycles in which the multipliers work. layer, inference: beside the arithmetic."""

    pump: Number
    lut: Number
    efficiency: Number
    layer: Seconds
    inference: Seconds


class FpgaEnergy(Table):
    """Per clock cycle of a used look-up table, multiplier slice and block RAM of 18 Kib at 28 nm; scale: relative to
    that."""

    lut: Joules
    dsp: Joules
    bram: Joules
    scale: Number


class Folding(Table):
    """PE and SIMD of the layers with weights of a published design at one precision, in their order."""

    precision: Precision
    source: str
    basis: Basis
    layers: Annotated[list[tuple[int, int]], Field(min_length=1)]


class Fpga(Machine):
    """Logic that is configured for one network (``baselines.fpga``).

    clock: of the design. style: pipeline with PE and SIMD (dataflow), with a reuse factor (reuse), or overlay; left
    out, few-bit networks are a dataflow, others a pipeline by reuse factor, and what does not fit runs on an overlay.
    folding: by network, where the design is published; others are folded to fill the chip. loss: power drawn at a
    boundary per watt of the chip's logic.
    """

    kind: Literal["fpga"]
    precision: Annotated[dict[Precision, FpgaRate], Field(min_length=1)]
    clock: Hertz
    style: Style | None = None
    part: Part
    share: Share
    fabric: Fabric
    target: Target
    overlay: Overlay
    memory: Memory
    energy: FpgaEnergy
    loss: dict[Boundary, Number]
    folding: dict[str, Folding] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _complete(self):
        if missing := set(self.power) - set(self.loss):
            raise ValueError(f"loss: no value for boundary {', '.join(sorted(missing))}")
        for name, folding in self.folding.items():
            if folding.source not in self.sources:
                raise ValueError(f"folding.{name}.source: {folding.source!r} is not declared under [sources]")
            if min(min(pair) for pair in folding.layers) < 1:
                raise ValueError(f"folding.{name}.layers: PE and SIMD must be 1 or more")
        return self


# Up to this many bits a network is a dataflow with PE and SIMD; wider ones are folded by a reuse factor.
FEW_BITS = 4
# An overlay multiplies LANES inputs with weights of LANES outputs, at as many positions as its multipliers allow.
LANES = 16
# What a pipeline cannot hold: products of two activations, and tables.
UNSTREAMED = frozenset({"matmul", "embedding"})


def style(device: Fpga, work: Workload, precision: Precision, batch: int = 1) -> Style:
    """How `work` is laid out for `batch` samples: as the file says, else as a pipeline if that fits, else an overlay.

    Above a few bits, and without a target interval, it is the faster of the two: overlays multiply 8 bits or more.
    """
    wanted = _pipeline(device, precision)
    planned = pipeline(device, work, precision)
    if device.style:
        return wanted
    if planned is None:
        return "overlay"
    if wanted == "dataflow" or device.target.interval.value > 1:
        return wanted
    slower = planned.seconds(device, batch) > float(_overlay_stages(device, work, precision, batch)[1])
    return "overlay" if slower else wanted


def _pipeline(device: Fpga, precision: Precision) -> Style:
    return device.style or ("dataflow" if 8 * WIDTH[precision] <= FEW_BITS else "reuse")


def _published(device: Fpga, work: Workload, precision: Precision) -> Folding | None:
    known = device.folding.get(work.name)
    return known if known and known.precision == precision and _pipeline(device, precision) == "dataflow" else None


def weighted(work: Workload) -> tuple[LayerWork, ...]:
    """The layers that multiply, as the compiler leaves them."""
    return tuple(layer for layer in compiled(work).layers if layer.macs)


def shapes(work: Workload, precision: Precision, wanted: Style) -> tuple[Shape, ...]:
    """Every weighted layer as the folding sees it; a first convolution reads pixels of 8 bits at the least, and the
    last layer has no activation."""
    layers = weighted(work)
    width = round(8 * WIDTH[precision])
    found = []
    for i, layer in enumerate(layers):
        enter = max(8, width) if i == 0 and layer.operator == "conv" else width
        bits = Bits(min(width, layer.weight_bits or width), enter, width)
        reuse = wanted == "reuse"  # whose activations cut bits off instead of comparing with thresholds
        found.append(shape(layer, bits, activation=i + 1 < len(layers) and not reuse, reuse=reuse))
    return tuple(found)


def budget(device: Fpga, precision: Precision, work: Workload) -> Budget:
    """What the weighted layers of `work` may take: the usable share of the part, less the shell and other layers."""
    part, share, fabric = device.part, device.share, device.fabric
    others = len(compiled(work).layers) - len(weighted(work))
    packed = device.precision[precision].packed
    return Budget(
        lut=share.lut.value * part.lut.value - fabric.shell_lut.value - others * fabric.layer.value,
        bram=2 * (share.memory.value * part.bram.value - fabric.shell_bram.value),
        uram=share.memory.value * part.uram.value if part.uram else 0.0,
        dsp=share.dsp.value * part.dsp.value,
        packed=packed.value if packed else 0.0,
        layer=fabric.layer.value,
        slack=fabric.slack.value,
    )


def design(device: Fpga, work: Workload, precision: Precision, wanted: Style) -> Design | None:
    """The pipeline of `work`: the published folding where the file holds one, else the fastest that fits; None where
    there is none."""
    layers = weighted(work)
    if wanted == "overlay" or not layers or any(layer.operator in UNSTREAMED for layer in compiled(work).layers):
        return None
    room = budget(device, precision, work)
    if min(room.lut, room.bram) <= 0:
        return None
    if known := _published(device, work, precision):
        if len(known.layers) != len(layers):
            raise BadDescription(
                f"{device.name}: folding.{work.name}.layers: {len(known.layers)} pairs of PE and SIMD for "
                f"{len(layers)} layers with weights; give one for each, in order."
            )
        return given(shapes(work, precision, wanted), room, known.layers)
    return fold(shapes(work, precision, wanted), room, device.target.interval.value)


def resources(device: Fpga, work: Workload, precision: Precision) -> dict[str, float]:
    """Look-up tables, block RAMs of 36 Kib, ultra RAMs and multiplier slices of the pipeline, its shell among them;
    empty where the network runs on an overlay."""
    planned = design(device, work, precision, _pipeline(device, precision))
    if planned is None:
        return {}
    lut, bram, uram, dsp = (float(total) for total in planned.use.sum(axis=0))
    others = len(compiled(work).layers) - len(weighted(work))
    lut += device.fabric.shell_lut.value + others * device.fabric.layer.value
    return {"lut": lut, "bram": bram / 2 + device.fabric.shell_bram.value, "uram": uram, "dsp": dsp}


class Pipeline(NamedTuple):
    """A folded network at work: clock cycles of the first sample, and between it and the next."""

    design: Design
    filled: float
    interval: float

    def seconds(self, device: Fpga, batch: int) -> float:
        """Time of `batch` samples that enter back to back."""
        return (self.filled + (batch - 1) * self.interval) / device.clock.value


def pipeline(device: Fpga, work: Workload, precision: Precision) -> Pipeline | None:
    """The pipeline of `work` and its cycles; None where there is none."""
    wanted = _pipeline(device, precision)
    planned = design(device, work, precision, wanted)
    if planned is None:
        return None
    enter = input_cycles(device, work, precision)
    filled = latency(weighted(work), planned.cycles, enter, device.fabric.levels.value if wanted == "reuse" else None)
    return Pipeline(planned, filled, max(enter, float(planned.cycles.max())))


def counts(device: Fpga, work: Workload, precision: Precision, batch: int) -> Counts:
    """Events of `batch` samples that enter back to back; `precision` must be native."""
    planned = pipeline(device, work, precision)
    if planned is None or style(device, work, precision, batch) == "overlay":
        return _overlaid(device, work, precision, batch)
    spent = planned.filled + (batch - 1) * planned.interval
    busy = batch * planned.design.cycles @ planned.design.use
    path = Path(("cycle",), jnp.asarray([[[spent]]], jnp.float32))
    shell = device.fabric.shell_lut.value * batch * planned.interval
    events = {"lut_cycle": busy[0] + shell, "bram_cycle": busy[1] + BLOCKS_PER_URAM * busy[2], "dsp_cycle": busy[3]}
    return Counts({k: jnp.float32(v) for k, v in events.items()}, latency=path, interval=path, batch=batch)


# Block RAMs of 18 Kib whose energy per cycle an ultra RAM (72 bits wide, one of 36 Kib is too) is taken to have.
BLOCKS_PER_URAM = 2


def input_cycles(device: Fpga, work: Workload, precision: Precision) -> float:
    """Cycles in which a sample streams in."""
    first = compiled(work).layers[0]
    width = 8 * WIDTH[precision]
    if first.operator == "conv":
        width = max(8.0, width)
    return float(np.ceil(first.inputs * width / device.fabric.stream.value))


def _overlay_stages(device: Fpga, work: Workload, precision: Precision, batch: int) -> tuple[np.ndarray, np.floating]:
    """Events of an overlay [stage, resource, event] in the order of `OVERLAY`, and the seconds that they take."""
    precision = _overlaid_as(precision)
    layers, width = compiled(work).layers, WIDTH[precision]
    parallel, lanes = multipliers(device, precision), _lanes(device, precision)
    weights = np.array([weight_bytes(layer, precision) for layer in layers], np.float64)
    enter = np.array([layer.inputs for layer in layers], np.float64)
    leave = np.array([layer.outputs for layer in layers], np.float64)
    ends = np.zeros_like(enter)
    ends[0] += enter[0]
    ends[-1] += leave[-1]
    room = device.share.memory.value * device.part.bram.value * 36 * 1024 / 8
    stages = np.zeros((len(layers) + 1, 2, len(OVERLAY)), np.float32)
    stages[:-1, 0, 0] = [overlay_cycles(layer, batch, lanes, parallel) for layer in layers]
    stages[:-1, 1, 1] = weights + batch * width * np.where(width * (enter + leave) <= room, ends, enter + leave)
    stages[:-1, :, 2] = 1
    stages[-1, 0, 3] = 1
    memory, extra = device.memory, device.overlay
    each = [1 / (device.clock.value * extra.efficiency.value), 1 / (memory.bandwidth.value * memory.efficiency.value)]
    price = np.array([*each, extra.layer.value, extra.inference.value])
    return stages, (stages @ price).max(axis=1).sum()


# Events of an overlay that take time.
OVERLAY = ("overlay_cycle", "memory_byte", "layer", "inference")


def _overlaid(device: Fpga, work: Workload, precision: Precision, batch: int) -> Counts:
    stages, _ = _overlay_stages(device, work, precision, batch)
    path = Path(OVERLAY, jnp.asarray(stages))
    macs = batch * work.macs
    moved = stages[:, 1, 1].sum()
    events = {"overlay_mac": macs, "dsp_cycle": macs / _packed(device, precision), "memory_byte": moved}
    return Counts({k: jnp.float32(v) for k, v in events.items()}, latency=path, interval=path, batch=batch)


def _overlaid_as(precision: Precision) -> Precision:
    return "int8" if 8 * WIDTH[precision] <= FEW_BITS else precision


def _packed(device: Fpga, precision: Precision) -> float:
    """Multiply-accumulates per slice on an overlay; without multipliers of its own a precision runs as 8 bits."""
    rate = device.precision.get(_overlaid_as(precision), device.precision[precision])
    return rate.packed.value if rate.packed else 1.0


def multipliers(device: Fpga, precision: Precision) -> float:
    """Multiply-accumulates per clock of an overlay that fills its share of the multipliers or of the look-up tables."""
    slices = device.part.dsp.value * device.share.dsp.value * device.overlay.pump.value * _packed(device, precision)
    return max(1.0, min(slices, device.part.lut.value * device.share.lut.value / device.overlay.lut.value))


def _lanes(device: Fpga, precision: Precision) -> int:
    parallel = multipliers(device, precision)
    return max(side for side in (1, 2, 4, 8, LANES) if side**2 <= parallel)


def overlay_cycles(layer: LayerWork, batch: int, lanes: int, parallel: float) -> float:
    """Clocks of a layer on an overlay that multiplies `lanes` inputs for `lanes` outputs at several positions.

    A depthwise convolution fills one lane per channel. Other operations are done beside the multipliers.
    """
    if layer.macs == 0:
        return 0.0
    positions = max(1, int(parallel / lanes**2))
    rows = layer.steps * np.ceil(layer.m * batch / positions)
    taps = prod(layer.kernel) if layer.operator in ("conv", "depthwise") else 1
    if layer.groups > 1 and layer.n == 1:
        return float(rows * np.ceil(layer.groups / lanes) * layer.k)
    return float(rows * layer.groups * np.ceil(layer.n / lanes) * taps * np.ceil(layer.k / taps / lanes))


def prices(device: Fpga, values: Mapping[str, Scalar], boundary: str) -> Prices:
    """J and s per event from the constants `values`; what the logic draws is raised by the loss up to `boundary`."""
    v = values
    drawn = v["energy.scale"] * v[f"loss.{boundary}"]
    lut = v["energy.lut"] * drawn
    energy = {"lut_cycle": lut, "dsp_cycle": v["energy.dsp"] * drawn, "bram_cycle": v["energy.bram"] * drawn}
    energy |= {"overlay_mac": lut * v["overlay.lut"], "memory_byte": v["memory.energy"] * v[f"loss.{boundary}"]}
    time = {"cycle": 1 / v["clock"], "overlay_cycle": 1 / (v["clock"] * v["overlay.efficiency"])}
    time |= {"memory_byte": 1 / (v["memory.bandwidth"] * v["memory.efficiency"])}
    time |= {"layer": v["overlay.layer"], "inference": v["overlay.inference"]}
    return Prices(energy, time, v[f"power.{boundary}.active"], v[f"power.{boundary}.idle"])


def needs(device: Fpga, work: Workload, precision: Precision, batch: int) -> list[Need]:
    """What the smallest pipeline takes of the chip where the file asks for one; what an overlay takes of the memory."""
    wanted = _pipeline(device, precision)
    planned = design(device, work, precision, wanted)
    if planned is None and device.style in (None, "overlay"):
        return [memory_need(work, _overlaid_as(precision), batch, device.memory.capacity.value)]
    room = budget(device, precision, work)
    taken = smallest(shapes(work, precision, wanted), room) if planned is None else planned.use.sum(axis=0)
    what = ("look-up tables", "block RAMs of 18 Kib", "ultra RAMs", "multiplier slices")
    found = [
        Need(f"the {wanted} pipeline", float(n), float(m), u) for n, m, u in zip(taken, limits(room), what, strict=True)
    ]
    if planned is None and all(need.amount <= need.limit for need in found):
        return [Need("the operations", 1.0, 0.0, "pipelines that hold them")]
    return found


def roof(device: Fpga, precision: Precision) -> tuple[float, float]:
    """Multiply-accumulates per second of all look-up tables and multiplier slices together; weights lie on chip."""
    width = round(8 * WIDTH[precision])
    bits = Bits(width, width, width)
    each = device.fabric.slack.value * (multiplier_luts(bits) + product_bits(bits))
    slices = device.part.dsp.value * device.overlay.pump.value * _packed(device, precision)
    return device.clock.value * (device.part.lut.value / each + slices), inf
