"""What a bare roofline says, beside which every prediction is printed: peak rates, no overhead, arithmetic alone."""

import tomllib
from functools import cache
from importlib import resources
from typing import NamedTuple

from baselines.description import WIDTH
from baselines.device import Device, model, native
from baselines.workload import Workload, weight_bytes
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


def roof(device: Device, precision: str) -> Roof:
    """The peaks of `device` at a native precision; infinite bandwidth where weights may stay on the chip."""
    return Roof(*model(device).roof(device, precision))


def seconds(device: Device, work: Workload, precision: str, batch: int) -> float:
    """Least time of a batch: max(MACs / peak, bytes / bandwidth).

    The bytes are those that no reuse spares: each weight once, and the network's own inputs and outputs.
    """
    precise = native(device, precision)
    peak = roof(device, precise)
    width = WIDTH[precise]
    values = batch * width * (work.layers[0].inputs + work.layers[-1].outputs)
    rate = device.precision[precise]
    narrow = getattr(rate, "weights", None)  # weights may be held in fewer bytes than values
    weights = sum(weight_bytes(layer, precise) for layer in work.layers) * (narrow.value / width if narrow else 1.0)
    return max(batch * work.macs / peak.macs, (weights + values) / peak.bytes)


def joules(work: Workload, precision: str) -> float:
    """Energy of one sample: multiply-accumulates times a textbook's energy of one."""
    return work.macs * arithmetic().mac[PRICED[precision]].value


@cache
def arithmetic() -> Arithmetic:
    """The textbook's figures."""
    text = (resources.files("baselines") / "arithmetic.toml").read_text(encoding="utf-8")
    return Arithmetic.model_validate(tomllib.loads(text))


def predict(device: Device, work: Workload, precision: str, batch: int, quantity: str) -> float:
    """What the roofline says of a measured quantity (see ``experiments.replays.measurement``), SI."""
    time, energy = seconds(device, work, precision, batch), joules(work, native(device, precision))
    if quantity == "latency":
        return time
    if quantity == "throughput":
        return batch / time
    return energy if quantity.endswith("energy") else energy * batch / time
