"""One layer of a Keras file: its options, each checked for its type, and its weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from converters.importers.keras_file import Source
from converters.importers.onnx_call import Refused
from neuro.errors import BadInput

OWN = ("keras", "tensorflow", "tf_keras", "builtins")
"""Packages whose layers are Keras's own."""


@dataclass(frozen=True)
class Place:
    """Where a layer's weights lie: its path in a `.keras` file; the outermost layer's name and its own in an `.h5`."""

    path: str
    outer: str
    name: str


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer. kind: its class; name: unique in the network. Malformed options raise ValueError."""

    kind: str
    name: str
    config: Mapping[str, Any]
    module: str
    source: Source
    place: Place

    @property
    def version(self) -> int:
        """The major version of Keras that wrote the file."""
        return self.source.version

    def whole(self, key: str, default: int) -> int:
        """A whole number."""
        value = _plain(self.config.get(key, default))
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{key} {value!r} is no whole number")
        return value

    def number(self, key: str, default: float) -> float:
        """A finite number."""
        value = _plain(self.config.get(key, default))
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise ValueError(f"{key} {value!r} is no number")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.config.get(key, default)
        if not isinstance(value, bool):
            raise ValueError(f"{key} {value!r} is neither true nor false")
        return value

    def text(self, key: str, default: str) -> str:
        """A word."""
        value = self.config.get(key, default)
        if not isinstance(value, str):
            raise ValueError(f"{key} {value!r} is no word")
        return value

    def wholes(self, key: str, count: int | None, default: Any = None) -> tuple[int, ...]:
        """`count` whole numbers (any number for None); a single one counts for all."""
        value = self.config.get(key, default)
        value = list(value) if isinstance(value, list | tuple) else [value] * (count or 1)
        if any(isinstance(v, bool) or not isinstance(v, int) for v in value) or count not in (None, len(value)):
            raise ValueError(f"{key} {self.config.get(key)!r} are not {count or ''} whole numbers")
        return tuple(value)

    def numbers(self, key: str) -> np.ndarray | None:
        """Numbers in nested lists as float64, or None."""
        value = _plain(self.config.get(key))
        return None if value is None else np.asarray(value, np.float64)

    def channels(self, default: str = "channels_last") -> int:
        """The axis of the sample that holds the channels: its last or its first."""
        match self.text("data_format", default):
            case "channels_last":
                return -1
            case "channels_first":
                return 0
            case other:
                raise ValueError(f"data_format {other!r} does not exist")

    def weights(self, *roles: str) -> list[np.ndarray]:
        """The layer's arrays in Keras's order, one for each role, as stored.

        Raises:
            BadInput: there are more or fewer, or they cannot be read.
            Refused: they are no floats.
        """
        found = self._native(roles) if self.source.native else self._legacy(roles)
        if any(a is None for a in found) or len(found) != len(roles):
            count = sum(a is not None for a in found)
            raise BadInput(
                f"{self.source.file}: layer {self.name!r} ({self.kind}) needs the weights "
                f"{', '.join(roles) or 'none'}, but {count} are stored; save the model again."
            )
        arrays = [a for a in found if a is not None]
        if any(a.dtype.kind != "f" for a, role in zip(arrays, roles, strict=True) if role != "count"):
            raise Refused("quantised weights; save the float network")
        return arrays

    def _native(self, roles: Sequence[str]) -> list[np.ndarray | None]:
        more = self.source.has(f"{self.place.path}/vars/{len(roles)}")
        return [self.source.array(f"{self.place.path}/vars/{i}") for i in range(len(roles) + more)]

    def _legacy(self, roles: Sequence[str]) -> list[np.ndarray | None]:
        """Outermost layers' weights by their order, as Keras does; those of inner networks by their names."""
        stored = self.source.names(self.place.outer)
        if self.place.outer != self.place.name:
            split = {n: [p.split(":")[0] for p in n.split("/")] for n in stored}
            stored = [n for n in stored if len(split[n]) > 1 and split[n][-2] == self.place.name]
            kinds = {n: split[n][-1].removeprefix("depthwise_") for n in stored}
            if len(set(kinds.values())) < len(stored) and len({split[n][-1] for n in stored}) == len(stored):
                kinds = {n: split[n][-1] for n in stored}
            stored = [n for role in roles for n in stored if kinds[n] in (role, role.removeprefix("depthwise_"))]
        return [self.source.array(f"{self.place.outer}/{n}") for n in stored[: len(roles) + 1]]


def _plain(value: Any) -> Any:
    """The value of an array that Keras 2 wrote as a mapping."""
    if isinstance(value, Mapping) and value.get("type") == "ndarray":
        return value.get("value")
    return value


def custom(module: Any, registered: Any) -> bool:
    """Whether a class is not Keras's own."""
    own = module is None or (isinstance(module, str) and module.split(".")[0] in OWN)
    return not own or (isinstance(registered, str) and ">" in registered)
