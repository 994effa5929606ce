"""Conventional machines of every kind: what they can run, the events of a network on them, and what these cost."""

from collections.abc import Mapping
from typing import Literal

from baselines import eyeriss, gpu, mcu, systolic
from baselines.device import WIDTH, Asic, Device, Gpu, Mcu, Precision, Systolic, nominal
from baselines.workload import Workload
from neuro.cost import Prices, Scalar, cost
from neuro.counts import Counts
from neuro.errors import BadInput, DoesNotFit, nearest

# What can stand in for a precision: itself, then the wider ones that hold its values exactly.
WIDER: dict[str, tuple[Precision, ...]] = {
    "int8": ("int8", "int16", "fp16", "bf16", "fp32"),
    "int16": ("int16", "fp32"),
    "fp16": ("fp16", "fp32"),
    "bf16": ("bf16", "fp32"),
    "fp32": ("fp32",),
}
LARGEST_BATCH = 4096


def precisions(device: Device, network: Literal["float", "integer"]) -> list[str]:
    """Native precisions that can run a network, the narrowest first; empty if none can.

    A float network takes floating point, or 16-bit fixed point on a machine without; an integer one (weights and
    activations of at most 8 bits) any that holds 8 bits.
    """
    floating = [p for p in ("fp16", "bf16", "fp32") if p in device.precision]
    if network == "float":
        return floating or [p for p in ("int16",) if p in device.precision]
    return [p for p in WIDER["int8"] if p in device.precision]


def precision_for(device: Device, network: Literal["float", "integer"]) -> str:
    """The narrowest native precision that can run a network.

    Raises:
        DoesNotFit: there is none, so that the machine is not offered for this network.
    """
    if not (offered := precisions(device, network)):
        raise DoesNotFit(
            f"{device.name} runs {', '.join(device.precision)} only, which cannot hold a {network} network; "
            "price its integer form instead."
        )
    return offered[0]


def native(device: Device, precision: str) -> Precision:
    """The precision at which `device` runs `precision`: itself or the next wider.

    Raises:
        BadInput: no such precision.
        DoesNotFit: nothing as wide is native.
    """
    if precision not in WIDER:
        raise BadInput(f"unknown precision {precision!r}.{nearest(precision, list(WIDER))}")
    for wider in WIDER[precision]:
        if wider in device.precision:
            return wider
    raise DoesNotFit(f"{device.name} runs {', '.join(device.precision)} only, nothing as wide as {precision}.")


def counts(device: Device, work: Workload, precision: str, batch: int) -> Counts:
    """Events of `batch` samples of `work` in flight together, at `precision` or the next wider native one.

    Raises:
        BadInput: no such precision, or a batch below 1.
        DoesNotFit: the machine cannot run that precision, or has no room for that batch.
    """
    precise = native(device, precision)
    if batch < 1:
        raise BadInput(f"a batch of {batch}; take 1 or more.")
    if reason := fits(device, work, precise, batch):
        raise DoesNotFit(reason)
    match device:
        case Gpu():
            return gpu.counts(device, work, precise, batch)
        case Systolic():
            return systolic.counts(device, work, precise, batch)
        case Asic():
            return eyeriss.counts(device, work, precise, batch)
        case Mcu():
            return mcu.counts(device, work, precise, batch)


def prices(device: Device, values: Mapping[str, Scalar], boundary: str) -> Prices:
    """J and s per event, and W, at a boundary; `values` gives each constant by its dotted path.

    Raises:
        BadInput: the device has no price at that boundary.
    """
    if boundary not in device.power:
        raise BadInput(f"{device.name} has no price at boundary {boundary!r}; it has {', '.join(device.power)}.")
    match device:
        case Gpu():
            return gpu.prices(device, values, boundary)
        case Systolic():
            return systolic.prices(device, values, boundary)
        case Asic():
            return eyeriss.prices(device, values, boundary)
        case Mcu():
            return mcu.prices(device, values, boundary)


def fits(device: Device, work: Workload, precision: str, batch: int) -> str | None:
    """None if `batch` samples of `work` fit the machine, else the limit, the need and a remedy."""
    if device.max_batch and batch > device.max_batch.value:
        return f"{device.name}: a batch of {batch}; at most {device.max_batch.value:.0f} in flight. Lower the batch."
    width = WIDTH[precision]
    weights = width * work.weight_count
    values = width * batch * max(layer.inputs + layer.outputs for layer in work.layers)
    match device:
        case Mcu():
            needs = [("weights", "flash", weights, device.store.flash), ("values", "RAM", values, device.store.ram)]
        case Gpu(memory=memory) | Systolic(memory=memory) if memory:
            needs = [("weights and values", "memory", weights + values, memory.capacity)]
        case _:
            needs = []
    for what, where, need, limit in needs:
        if need > limit.value:
            return (
                f"{device.name}: {what} of {work.name} need {need:,} bytes of {where} at batch {batch} in {precision}; "
                f"there are {limit.value:,.0f}. Lower the batch or the precision."
            )
    return None


def best_batch(device: Device, work: Workload, precision: str, boundary: str) -> int:
    """The power of two up to 4096 with the least energy per sample, at the values of the constants, that fits.

    Raises:
        DoesNotFit: not even one sample does.
    """
    precision = native(device, precision)
    if reason := fits(device, work, precision, 1):
        raise DoesNotFit(reason)
    charged = prices(device, nominal(device), boundary)
    sizes = [2**i for i in range(LARGEST_BATCH.bit_length()) if fits(device, work, precision, 2**i) is None]
    energy = [float(cost(counts(device, work, precision, batch), charged).total) for batch in sizes]
    return sizes[energy.index(min(energy))]
