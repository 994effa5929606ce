"""One use of an ATen operator: its arguments, and what its tensors are."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.importers.builder import Builder
from converters.importers.chain import NotKnown, Refused, Unknown
from converters.importers.pointwise import Expression, View
from converters.importers.torch_program import Step, Tensor
from neuro.layers import Shape


@dataclass(frozen=True, eq=False)
class Call:
    """One step with the values it reads; `last`: it gives the output."""

    builder: Builder
    step: Step
    values: dict[str, Any]
    last: bool

    def get(self, name: str, default: Any = None) -> Any:
        """An argument that is no tensor, or a constant one of a single value."""
        value = self.step.arguments.get(name)
        if isinstance(value, Tensor):
            value = self.value(name)
            if not isinstance(value, np.ndarray):
                raise Refused(f"its {name} is computed from the network's input")
            if value.size != 1:
                raise Refused(f"its {name} is a tensor of {value.shape}; only one value")
            value = value.item()
        return default if value is None else value

    def has(self, name: str) -> bool:
        """Whether an argument is given."""
        return self.step.arguments.get(name) is not None

    def value(self, name: str) -> Any:
        """A tensor, computed or constant (its batch axis left in), or a number."""
        argument = self.step.arguments[name]
        found = self.values[argument.name] if isinstance(argument, Tensor) else argument
        if isinstance(found, Unknown):
            raise NotKnown
        return found

    def cut(self, size: int) -> tuple[int, int]:
        """Where a `slice` along an axis of `size` values begins and ends."""
        if self.get("step", 1) != 1:
            raise Refused(f"steps of {self.get('step')}; only 1")
        return slice(self.get("start"), self.get("end")).indices(size)[:2]

    def stream(self, name: str) -> View | Expression:
        """A tensor that is computed from the network's input."""
        found = self.value(name)
        if not isinstance(found, View | Expression):
            raise Refused(f"its {name} is a constant")
        return found

    def view(self, name: str) -> View:
        """The same as values of a layer."""
        return self.builder.view(self.stream(name))

    def constant(self, name: str) -> np.ndarray:
        """A constant tensor as float32."""
        found = self.value(name)
        if not isinstance(found, np.ndarray):
            raise Refused(f"its {name} is computed from the network's input")
        return found.astype(np.float32)

    def read(self) -> list[Any]:
        """The values of all tensors it reads."""
        return [self.values[a.name] for a in self.step.arguments.values() if isinstance(a, Tensor)]

    def sample(self, name: str) -> View | Expression | np.ndarray | float:
        """An operand: a tensor, a constant without its batch axis, or a number."""
        value = self.value(name)
        if isinstance(value, np.ndarray):
            rank = max(len(v.shape) + 1 for v in self.read() if isinstance(v, View | Expression))
            if value.ndim == rank and value.shape[0] != 1:
                raise Refused(f"a constant of {value.shape} differs from sample to sample")
            return value[0] if value.ndim == rank else value
        if not isinstance(value, View | Expression | bool | int | float):
            raise Refused(f"its {name} is {value!r}")
        return value if isinstance(value, View | Expression) else float(value)

    def ints(self, name: str, count: int, default: int | None = None) -> Shape:
        """A size for each of `count` axes; one number stands for all, none for the default."""
        given = self.get(name)
        given = default if given is None or given == [] else given
        numbers = [n for n in (given if isinstance(given, list) else [given]) if type(n) is int]
        if not numbers or (isinstance(given, list) and len(numbers) < len(given)):
            raise Refused(f"its {name} is {given}")
        return tuple(numbers * count if len(numbers) == 1 else numbers)

    def axis(self, name: str, rank: int, default: int | None = None) -> int:
        """One axis counted from 0, the batch included."""
        return self.axes([self.get(name, default)], rank)[0]

    def axes(self, axes: list[Any], rank: int) -> list[int]:
        """Axes counted from 0, the batch included, each once."""
        counted = [a + rank if a < 0 else a for a in axes]
        if len(set(counted)) != len(counted) or any(not 0 <= a < rank for a in counted):
            raise ValueError(f"axes {axes} do not fit {rank} axes")
        return counted
