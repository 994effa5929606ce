"""A function that rises by equal amounts at thresholds of its own, for every channel others: what quantised networks of
other tools bring along, and what integrate-and-fire neurons do to the sum of their input."""

from dataclasses import dataclass, field
from hashlib import sha256
from math import inf, isfinite

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from neuro.activations import Function


@dataclass(frozen=True, eq=False, repr=False)
class Steps(Function):
    """start + unit Σ_k [x >= thresholds_k].

    thresholds: float64 [step] for all values alike, or [step, channel], the channel being the axis behind the batch;
    sorted here. Infinite ones are never, or always, reached. unit: above zero.

    Raises:
        ValueError: parameters that make it no such function.
    """

    name: str = "steps"
    parameters: tuple[float, ...] = ()
    thresholds: np.ndarray = field(default_factory=lambda: np.zeros(1))
    unit: float = 1.0
    start: float = 0.0

    def __post_init__(self) -> None:
        thresholds = np.sort(np.asarray(self.thresholds, np.float64), axis=0)
        if thresholds.ndim not in (1, 2) or not thresholds.size or np.isnan(thresholds).any():
            raise ValueError(f"thresholds {thresholds.shape} must be numbers by step, or by step and channel")
        if not (isfinite(self.unit) and isfinite(self.start) and self.unit > 0):
            raise ValueError(f"steps of {self.unit} from {self.start} on; they must be above zero, and finite")
        object.__setattr__(self, "thresholds", thresholds)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        own = sha256(np.ascontiguousarray(self.thresholds).tobytes()).hexdigest()
        return f"Steps({self.thresholds.shape}, {own}, {self.unit!r}, {self.start!r})"

    def __call__(self, x: Float[Array | np.ndarray, "item ..."]) -> Float[Array | np.ndarray, "item ..."]:
        """The function of every value, in float32: a value counts as at a threshold if it is in float64."""
        least = self.thresholds.astype(np.float32)
        least = np.where(least < self.thresholds, np.nextafter(least, np.float32(inf)), least)
        values, shaped = jnp.asarray(x), jnp.asarray(_beside(least, x.ndim))

        def counted(total: Array, at: Array) -> tuple[Array, None]:
            return total + (values >= at).astype(jnp.float32), None

        reached, _ = jax.lax.scan(counted, jnp.zeros(x.shape, jnp.float32), shaped)
        return jnp.float32(self.start) + jnp.float32(self.unit) * reached

    def exact(self, x: np.ndarray | float) -> np.ndarray:
        """The function of every value in float64."""
        x = np.asarray(x, np.float64)
        reached = np.zeros(x.shape)
        for at in _beside(self.thresholds, x.ndim):
            reached += x >= at
        return self.start + self.unit * reached

    @property
    def low(self) -> float:
        """Its value below all thresholds."""
        return self.start

    @property
    def high(self) -> float:
        """Its value above all thresholds."""
        return self.start + self.unit * len(self.thresholds)

    @property
    def steps(self) -> int:
        """The number of its thresholds."""
        return len(self.thresholds)

    @property
    def channels(self) -> int | None:
        """How many channels it has thresholds for, None where they are the same for all."""
        return self.thresholds.shape[1] if self.thresholds.ndim == 2 else None

    def part(self, first: int, last: int) -> "Steps":
        """The function of the channels from `first` up to `last`."""
        cut = self.thresholds if self.channels is None else self.thresholds[:, first:last]
        return Steps(thresholds=cut, unit=self.unit, start=self.start)

    def crossings(self, values: Float[np.ndarray, "level ..."], rising: bool = True) -> Float[np.ndarray, "level ..."]:
        """The threshold from which it is at `values` [level, channel] or above; infinite where there is none."""
        step = np.ceil((values - self.start) / self.unit - 1e-9).astype(int)
        place = np.clip(step, 1, self.steps) - 1
        at = self.thresholds[place] if self.channels is None else np.take_along_axis(self.thresholds, place, axis=0)
        return np.where(step < 1, -inf, np.where(step > self.steps, inf, at))


def _beside(thresholds: np.ndarray, ndim: int) -> np.ndarray:
    """Thresholds by step, each to be compared with values of `ndim` axes."""
    if thresholds.ndim == 1:
        return thresholds.reshape(-1, *(1,) * ndim)
    return thresholds.reshape(len(thresholds), 1, -1, *(1,) * (ndim - 2))
