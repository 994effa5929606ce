"""One use of an ONNX operator: its attributes, and what its inputs are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.importers.chain import NotKnown, Refused, Stream, Unknown, Value
from neuro.layers import Pads, Shape

LONGEST = 2**16
"""Most numbers in a list of axes, sizes or places."""


@dataclass(frozen=True, eq=False)
class Call:
    """One use of an ONNX operator. inputs: None where an optional one is left out; `last`: it gives the output."""

    op: str
    attributes: Mapping[str, Any]
    inputs: tuple[Value | None, ...]
    opset: int
    last: bool

    def get(self, attribute: str, default: Any) -> Any:
        """An attribute, text decoded."""
        value = self.attributes.get(attribute, default)
        return value.decode() if isinstance(value, bytes) else value

    def has(self, i: int) -> bool:
        """Whether input `i` is given."""
        return i < len(self.inputs) and self.inputs[i] is not None

    def shape(self, i: int = 0) -> Shape:
        """Shape per sample of input `i`, which must come from the network's input."""
        value = self.inputs[i] if self.has(i) else None
        if isinstance(value, np.ndarray) or value is None:
            raise Refused(f"its input {i} is a constant")
        if isinstance(value, Unknown) or value.shape is None:
            raise NotKnown
        return value.shape

    @property
    def batch(self) -> int:
        """Which axis the batch is of all that comes from the network's input."""
        places = {v.batch for v in self.inputs if isinstance(v, Stream)}
        if len(places) > 1:
            raise Refused(f"its inputs have the batch as axes {sorted(places)}; only as one")
        return places.pop()

    def constant(self, i: int, role: str) -> np.ndarray:
        """Input `i`, which must be a constant; `role` names it in messages."""
        value = self.inputs[i] if self.has(i) else None
        if value is None:
            raise ValueError(f"its {role} is missing")
        if isinstance(value, Stream):
            raise Refused(f"its {role} is computed from the network's input")
        if isinstance(value, Unknown):
            raise NotKnown
        return value

    def floats(self, i: int, role: str) -> np.ndarray:
        """Input `i` as float32, which must be a constant."""
        return self.constant(i, role).astype(np.float32)

    def numbers(self, i: int, role: str) -> list[int]:
        """Input `i`, a constant of few whole numbers: axes, sizes, places."""
        value = self.constant(i, role)
        if value.size > LONGEST:
            raise ValueError(f"its {role} has {value.size:,} values; at most {LONGEST:,} are possible")
        return [int(n) for n in value.ravel()]

    def axes(self, rank: int) -> list[int] | None:
        """The operator's axes counted from 0, batch included; an attribute in older operator sets, an input since."""
        axes = self.numbers(1, "axes") if self.has(1) else self.get("axes", None)
        return None if axes is None else within(axes, rank)


def within(axes: list[int], rank: int) -> list[int]:
    """`axes` counted from 0, each once; negative ones count from the last."""
    counted = [a + rank if a < 0 else a for a in axes]
    if len(set(counted)) != len(counted) or any(not 0 <= a < rank for a in counted):
        raise ValueError(f"axes {list(axes)} do not fit {rank} axes")
    return counted


def pairs(pads: Any, axes: int) -> Pads:
    """ONNX's list of all beginnings, then all ends, as one pair per axis."""
    pads = [int(p) for p in pads]
    if len(pads) != 2 * axes:
        raise ValueError(f"pads {pads} do not fit {axes} axes")
    if min(pads, default=0) < 0:
        raise Refused(f"negative pads {pads}")
    return tuple(zip(pads[:axes], pads[axes:], strict=True))
