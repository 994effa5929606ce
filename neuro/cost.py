"""Joules and seconds as a pure function of counts and prices; differentiable and mappable over both."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from neuro.counts import Counts, Path
from neuro.errors import BadDescription

Scalar = Float[Array, ""] | float


@partial(
    jax.tree_util.register_dataclass, data_fields=["energy", "time", "active_power", "idle_power"], meta_fields=[]
)
@dataclass(frozen=True)
class Prices:
    """What a machine charges: J and s per event by name, W while it works and while it waits."""

    energy: dict[str, Scalar]
    time: dict[str, Scalar]
    active_power: Scalar
    idle_power: Scalar


@partial(jax.tree_util.register_dataclass, data_fields=["energy", "latency", "interval"], meta_fields=[])
@dataclass(frozen=True)
class Cost:
    """Per inference: energy (J) by component, with ``static`` and, at a given rate, ``idle`` among them; latency (s)
    of a sample; interval (s) between samples back to back."""

    energy: dict[str, Scalar]
    latency: Scalar
    interval: Scalar

    @property
    def total(self) -> Scalar:
        """Energy per inference in J: the sum of its components."""
        return sum(self.energy.values(), start=jnp.float32(0))


def unpriced(counts: Counts, prices: Prices) -> list[str]:
    """Events that happen and have no price, such as ``energy.hop``."""
    free = [f"energy.{name}" for name in counts.events if name not in prices.energy]
    paths = {*counts.latency.names, *counts.interval.names}
    return free + sorted(f"time.{name}" for name in paths if name not in prices.time)


def cost(counts: Counts, prices: Prices, rate: float | None = None) -> Cost:
    """The cost of one inference.

    E = sum(events * price) / batch + active * t, t the interval per sample; with a `rate` (Hz) also
    idle * (1/rate - t).

    Raises:
        BadDescription: events without a price, all of them named; nothing is free.
    """
    if missing := unpriced(counts, prices):
        raise BadDescription(f"no price for {', '.join(missing)}; add a constant with its source to the file.")
    energy = {name: number * prices.energy[name] / counts.batch for name, number in counts.events.items()}
    interval = duration(counts.interval, prices.time) / counts.batch
    energy["static"] = prices.active_power * interval
    if rate is not None:
        energy["idle"] = prices.idle_power * jnp.maximum(1 / rate - interval, 0.0)
    return Cost(energy=energy, latency=duration(counts.latency, prices.time), interval=interval)


def duration(path: Path, time: dict[str, Scalar]) -> Scalar:
    """Seconds that `path` takes: the sum over stages of the slowest resource."""
    prices = jnp.stack([jnp.asarray(time[name], jnp.float32) for name in path.names])
    return (path.counts @ prices).max(axis=-1).sum(axis=-1)
