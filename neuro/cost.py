"""Joules and seconds as a pure function of counts and prices; differentiable and mappable over both."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from neuro.counts import Counts, Path
from neuro.errors import BadDescription

Scalar: TypeAlias = Float[Array, ""] | np.floating | float
Drawn: TypeAlias = Float[Array | np.ndarray, "*draw"] | np.floating | float
"""One number, or one for each draw of the constants."""


@partial(jax.tree_util.register_dataclass, data_fields=["energy", "time", "active_power", "idle_power"], meta_fields=[])
@dataclass(frozen=True)
class Prices:
    """What a machine charges: J and s per event by name, W while it works and while it waits.

    All may carry a leading axis of draws; `cost` is then mapped over it.
    """

    energy: Mapping[str, Drawn]
    time: Mapping[str, Drawn]
    active_power: Drawn
    idle_power: Drawn


@partial(jax.tree_util.register_dataclass, data_fields=["energy", "latency", "interval"], meta_fields=[])
@dataclass(frozen=True)
class Cost:
    """Per inference: energy (J) by component, with ``static`` and, at a given rate, ``idle`` among them; latency (s)
    of a sample; interval (s) between samples back to back."""

    energy: Mapping[str, Drawn]
    latency: Drawn
    interval: Drawn

    @property
    def total(self) -> Drawn:
        """Energy per inference in J: the sum of its components."""
        return sum(self.energy.values(), start=jnp.float32(0))


def unpriced(counts: Counts, prices: Prices) -> list[str]:
    """Events that happen and have no price, such as ``energy.hop``."""
    free = [f"energy.{name}" for name in counts.events if name not in prices.energy]
    paths = {*counts.latency.names, *counts.interval.names}
    return free + sorted(f"time.{name}" for name in paths if name not in prices.time)


def cost(counts: Counts, prices: Prices, every: Scalar | None = None) -> Cost:
    """The cost of one inference.

    E = sum(events * price) / batch + machines * active * t, t the interval per sample; where a sample comes only
    `every` so many seconds also machines * idle * max(every - t, 0).

    Raises:
        BadDescription: events without a price, all of them named; nothing is free.
    """
    if missing := unpriced(counts, prices):
        raise BadDescription(f"no price for {', '.join(missing)}; add a constant with its source to the file.")
    energy: dict[str, Drawn] = {
        name: jnp.asarray(number) * prices.energy[name] / counts.batch for name, number in counts.events.items()
    }
    interval = duration(counts.interval, prices.time) / counts.batch
    energy["static"] = counts.machines * prices.active_power * interval
    if every is not None:
        energy["idle"] = counts.machines * prices.idle_power * jnp.maximum(every - interval, 0.0)
    return Cost(energy=energy, latency=duration(counts.latency, prices.time), interval=interval)


def duration(path: Path, time: Mapping[str, Drawn]) -> Drawn:
    """Seconds that `path` takes: the sum over stages of the slowest resource."""
    prices = jnp.stack([jnp.asarray(time[name], jnp.float32) for name in path.names])
    return (path.counts @ prices).max(axis=-1).sum(axis=-1)
