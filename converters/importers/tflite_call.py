"""One use of a TFLite operator: its options, and what its inputs are."""

from dataclasses import dataclass
from math import prod
from typing import TypeAlias

import numpy as np

from converters.importers.layout import Stream
from converters.importers.onnx_call import NotKnown, Refused
from converters.importers.tflite_file import Operator, Tensor
from neuro.layers import Shape

MOVES = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "CAST")
"""Operators that leave whole numbers what they are."""


@dataclass(frozen=True)
class Held:
    """A tensor that depends on the input. batched: its first axis is the batch, which `stream` leaves out.

    ids: whole numbers that choose rows of a table.
    """

    stream: Stream
    batched: bool = True
    ids: bool = False

    @property
    def full(self) -> Shape:
        """The shape in the file for a batch of 1."""
        return (1, *self.stream.shape) if self.batched else self.stream.shape


Value: TypeAlias = Held | np.ndarray | None
"""A tensor of the network, a constant's real values computed from others, or what a refused operator would give."""


@dataclass(frozen=True, eq=False)
class Call:
    """One operator: its inputs' tensors and values (None for a stored constant or what is not known), its result."""

    operator: Operator
    name: str
    tensors: tuple[Tensor | None, ...]
    values: tuple[Value, ...]
    result: Tensor

    def option(self, name: str, default: int) -> int:
        """An option that is a whole number."""
        return int(self.operator.options.get(name, default))

    def held(self, i: int = 0) -> Held:
        """Input `i`, which must depend on the network's input and be real."""
        if i >= len(self.values) or self.tensors[i] is None:
            raise ValueError(f"its input {i} is missing")
        value, tensor = self.values[i], self.tensors[i]
        if isinstance(value, Held):
            if value.ids and self.operator.kind not in (*MOVES, "GATHER"):
                raise Refused("it computes with the whole numbers of the input; only GATHER may read them")
            return value
        if value is not None or (tensor is not None and tensor.data is not None):
            raise Refused(f"its input {i} is a constant")
        raise NotKnown

    def constant(self, i: int) -> np.ndarray | None:
        """The real values of input `i` in float32, None where it is left out."""
        tensor, value = self._constant(i)
        if isinstance(value, np.ndarray):
            return value
        return None if tensor is None else tensor.real()

    def wholes(self, i: int) -> list[int]:
        """Input `i` as a list of whole numbers."""
        tensor, _ = self._constant(i)
        if tensor is None or tensor.kind not in ("INT32", "INT64"):
            raise ValueError(f"its input {i} is no list of whole numbers")
        if prod(tensor.shape) > 64:
            raise ValueError(f"its input {i} is a list of {prod(tensor.shape)}")
        return [int(n) for n in tensor.stored().ravel()]

    def _constant(self, i: int) -> tuple[Tensor | None, Value]:
        if i >= len(self.tensors) or self.tensors[i] is None:
            return None, None
        tensor, value = self.tensors[i], self.values[i]
        if isinstance(value, Held):
            raise Refused(f"its input {i} is computed from the network's input")
        if value is None and (tensor is None or tensor.data is None):
            raise NotKnown
        return tensor, value
