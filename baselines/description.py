"""What the descriptions of all conventional machines share: precisions, memory, and the common part of a file."""

from typing import Literal, NamedTuple, TypeAlias

from neuro.constants import Bytes, BytesPerSecond, Description, Joules, Number, Seconds, Table
from neuro.errors import BadInput, DoesNotFit, nearest

Precision: TypeAlias = Literal[
    "fp32", "tf32", "fp16", "bf16", "fp8", "fp4", "int16", "int8", "int4", "int2", "int1"
]  # fmt: skip

WIDTH: dict[str, float] = {
    "fp32": 4.0, "tf32": 4.0, "fp16": 2.0, "bf16": 2.0, "fp8": 1.0, "fp4": 0.5,
    "int16": 2.0, "int8": 1.0, "int4": 0.5, "int2": 0.25, "int1": 0.125,
}  # fmt: skip
"""Bytes of a weight or activation."""

# What can stand in for a precision: itself, then what holds its values exactly or comes nearest, the narrowest first.
WIDER: dict[str, tuple[Precision, ...]] = {
    "int1": ("int1", "int2", "int4", "int8", "int16", "fp16", "bf16", "fp32"),
    "int2": ("int2", "int4", "int8", "int16", "fp16", "bf16", "fp32"),
    "int4": ("int4", "int8", "int16", "fp16", "bf16", "fp32"),
    "int8": ("int8", "int16", "fp16", "bf16", "fp32"),
    "int16": ("int16", "fp32"),
    "fp4": ("fp4", "fp8", "fp16", "bf16", "fp32"),
    "fp8": ("fp8", "fp16", "bf16", "fp32"),
    "fp16": ("fp16", "fp32"),
    "bf16": ("bf16", "fp32"),
    "tf32": ("tf32", "fp32"),
    "fp32": ("fp32",),
}


class Memory(Table):
    """Device memory. efficiency: share of the bandwidth that long transfers reach. latency: before the first byte.
    energy: per byte."""

    capacity: Bytes
    bandwidth: BytesPerSecond
    efficiency: Number
    energy: Joules
    latency: Seconds | None = None


class Need(NamedTuple):
    """What a network takes of something of which a machine has `limit`."""

    what: str
    amount: float
    limit: float
    unit: str


class Machine(Description):
    """What the description of every kind holds beside its own tables.

    precision: what the machine computes in, each with its rates and energies; a kind says which.
    max_batch: samples in flight, where the machine and not its memory sets the limit.
    """

    max_batch: Number | None = None


def precisions(native: list[str], network: Literal["float", "integer"]) -> list[str]:
    """Those of the `native` precisions that can run a network, the narrowest first; empty if none can.

    A float network takes floating point, or 16-bit fixed point on a machine without; an integer one (weights and
    activations of at most 8 bits) any that holds 8 bits.
    """
    floating = [p for p in ("fp16", "bf16", "fp32") if p in native]
    if network == "float":
        return floating or [p for p in ("int16",) if p in native]
    return [p for p in WIDER["int8"] if p in native]


def stand_in(name: str, native: list[str], precision: str) -> Precision:
    """The native precision at which the machine `name` runs `precision`: itself or the next wider.

    Raises:
        BadInput: no such precision.
        DoesNotFit: nothing as wide is native.
    """
    if precision not in WIDER:
        raise BadInput(f"unknown precision {precision!r}.{nearest(precision, list(WIDER))}")
    for wider in WIDER[precision]:
        if wider in native:
            return wider
    raise DoesNotFit(f"{name} runs {', '.join(native)} only, nothing as wide as {precision}.")
