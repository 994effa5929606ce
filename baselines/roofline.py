"""What a bare roofline says, beside which every prediction is printed: peak rates, no overhead, arithmetic alone."""

import tomllib
from functools import cache
from importlib import resources
from math import inf, prod
from typing import NamedTuple

from baselines import fpga, mcu
from baselines.cpu import Cpu
from baselines.description import Precision
from baselines.device import Device, native
from baselines.eyeriss import Asic
from baselines.fpga import Fpga
from baselines.gpu import Gpu
from baselines.mcu import Mcu
from baselines.npu import Npu
from baselines.systolic import Systolic
from baselines.workload import Workload, value_bytes, weight_bytes
from neuro.constants import Joules, Source, Table

# Which of the priced widths stands for a precision.
PRICED = {
    "fp32": "fp32", "tf32": "fp32", "fp16": "fp16", "bf16": "fp16", "int16": "fp16",
    "fp8": "int8", "fp4": "int8", "int8": "int8", "int4": "int8", "int2": "int8", "int1": "int8",
}  # fmt: skip


class Arithmetic(Table):
    """Energy of one multiply-accumulate by precision, memory and control left out."""

    mac: dict[str, Joules]
    sources: dict[str, Source]


class Roof(NamedTuple):
    """Peak multiply-accumulates and bytes of memory per second."""

    macs: float
    bytes: float


def roof(device: Device, precision: Precision) -> Roof:
    """The peaks of `device` at a native precision; no limit of bandwidth where nothing leaves the chip."""
    memory = getattr(device, "memory", None)
    bandwidth = memory.bandwidth.value if memory else inf
    match device:
        case Gpu():
            return Roof(device.precision[precision].rate.value, bandwidth)
        case Systolic(array=array):
            cells = array.count.value * array.rows.value * array.columns.value
            return Roof(cells * array.clock.value / device.precision[precision].passes.value, bandwidth)
        case Npu(array=array):
            cells = prod(getattr(array, side).value for side in ("count", "inputs", "taps", "outputs", "positions"))
            return Roof(cells * array.clock.value / device.precision[precision].passes.value, bandwidth)
        case Asic(array=array):
            cells = array.rows.value * array.columns.value * array.lanes.value
            return Roof(cells * array.clock.value, device.external.bandwidth.value)
        case Cpu(core=core):
            rate = core.number.value * core.clock.value * device.precision[precision].macs.value
            return Roof(rate, bandwidth)
        case Mcu():
            return Roof(mcu.peak(device, precision), inf)
        case Fpga():
            return Roof(fpga.peak(device, precision), inf)


def seconds(device: Device, work: Workload, precision: str, batch: int) -> float:
    """Time of a batch: the sum over kernels of max(MACs / peak, bytes / bandwidth)."""
    precise = native(device, precision)
    peak = roof(device, precise)
    return sum(
        max(
            batch * layer.macs / peak.macs,
            (weight_bytes(layer, precise) + batch * value_bytes(layer, precise)) / peak.bytes,
        )
        for layer in work.layers
    )


def joules(work: Workload, precision: str) -> float:
    """Energy of one sample: multiply-accumulates times a textbook's energy of one."""
    return work.macs * arithmetic().mac[PRICED[precision]].value


@cache
def arithmetic() -> Arithmetic:
    """The textbook's figures."""
    text = (resources.files("baselines") / "arithmetic.toml").read_text(encoding="utf-8")
    return Arithmetic.model_validate(tomllib.loads(text))


def predict(device: Device, work: Workload, precision: str, batch: int, quantity: str) -> float:
    """What the roofline says of a measured quantity (see ``experiments.measurement``), SI."""
    time, energy = seconds(device, work, precision, batch), joules(work, native(device, precision))
    if quantity == "latency":
        return time
    if quantity == "throughput":
        return batch / time
    return energy if quantity.endswith("energy") else energy * batch / time
