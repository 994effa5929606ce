"""Rate-coded neurons beyond plain integrate-and-fire, in integers: bursts, and trains corrected by a run before.

============  ==========================================================================================
neurons       what they add to V += W s + B; s = [V >= th]; V -= th s
============  ==========================================================================================
`Bursts`      s = clip(floor(V / th), 0, m): up to m spikes in a step, th being an m-th of what a step can carry
`Silenced`    a run before finds the neurons whose membrane ends at zero or below; they stay silent (SRP)
`Shifted`     a run before finds the neurons with a spike too many or too few; their start is shifted (COS)
============  ==========================================================================================

Sources: Li & Zeng 2022 (bursts), Lv et al. 2024 (the group neuron, m neurons of thresholds i th), Hao et al., AAAI 2023
(SRP) and ICLR 2023 (COS). All are approximate: what comes in has been sent by neurons that err as well.
"""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from neuro.layers import Threshold

FAR = 2**30
"""Beyond any membrane."""


@dataclass(frozen=True)
class Fired:
    """A run of a layer. spikes: how many in each step; before: the membrane that was compared; left: after the run."""

    spikes: Int[Array, "step batch ..."]
    before: Int[Array, "step batch ..."]
    left: Int[Array, "batch ..."]


@dataclass(frozen=True)
class Bursts:
    """Up to `members` spikes in a step."""

    members: int
    prerun: ClassVar[int] = 0
    copies: ClassVar[int] = 1

    def __call__(self, op: Threshold, currents: Int[Array, "step batch ..."]) -> Int[Array, "step batch ..."]:
        """Spikes of every step. currents: with the bias."""
        return fire(op, currents, _start(op, currents), self.members).spikes


@dataclass(frozen=True)
class Silenced:
    """Residual membranes rectify: of `prerun` steps before, those that end at V <= 0 silence their neuron."""

    prerun: int
    members: ClassVar[int] = 1
    copies: ClassVar[int] = 1

    def __call__(self, op: Threshold, currents: Int[Array, "step batch ..."]) -> Int[Array, "step batch ..."]:
        """Spikes of the steps before, then, from the start again, of the run itself."""
        start = _start(op, currents)
        before = fire(op, currents[: self.prerun], start)
        spikes = fire(op, currents[self.prerun :], start).spikes
        return jnp.concatenate([before.spikes, jnp.where((before.left > 0)[None], spikes, 0)])


@dataclass(frozen=True)
class Shifted:
    """Offset spikes are taken back: the start is shifted by what removes or adds a spike, `rounds` times.

    The first `steps_before` steps of the input are run, which their sources send once more each time; without the shift
    a membrane below zero means a spike too many, one of a threshold or more one too few. Further rounds judge by the
    charge alone, without the shifts so far (the paper has one round).
    """

    steps_before: int
    rounds: int = 1
    members: ClassVar[int] = 1
    prerun: ClassVar[int] = 0

    @property
    def copies(self) -> int:
        """How often a train is sent to neurons."""
        return 1 + self.rounds

    def __call__(self, op: Threshold, currents: Int[Array, "step batch ..."]) -> Int[Array, "step batch ..."]:
        """Spikes of every step, from the shifted start."""
        first = start = _start(op, currents)
        threshold = along(op.threshold, start.ndim)
        for _ in range(self.rounds):
            run = fire(op, currents[: self.steps_before], start)
            number = run.spikes.sum(axis=0, dtype=jnp.int32)
            left = run.left - (start - first)
            lowest = jnp.where(run.spikes > 0, run.before, FAR).min(axis=0)  # of membranes that fired
            highest = jnp.where(run.spikes > 0, -FAR, run.before).max(axis=0)  # of those that did not
            down = jnp.where((left < 0) & (number > 0), jnp.maximum(threshold, lowest - (threshold - 1)), 0)
            more = (left >= threshold) & (number < len(run.spikes))
            up = jnp.where(more, jnp.maximum(threshold, threshold - highest), 0)
            start = start - down + up
        return fire(op, currents, start).spikes


def fire(op: Threshold, currents: Int[Array, "step batch ..."], start: Int[Array, "batch ..."], most: int = 1) -> Fired:
    """Integrate-and-fire with reset by subtraction and up to `most` spikes in a step."""
    threshold = along(op.threshold, start.ndim)

    def step(v, current):
        v = v + current
        spikes = jnp.clip(v // threshold, 0, most)
        left = v - spikes * threshold
        return left, (spikes, v)

    left, (spikes, before) = jax.lax.scan(step, start, currents)
    return Fired(spikes, before, left)


def along(values, ndim: int) -> Int[Array, "..."]:
    """Values of neurons [*shape], or that broadcast to it, with leading axes of length one."""
    return jnp.asarray(values, jnp.int32).reshape((1,) * (ndim - values.ndim) + values.shape)


def _start(op: Threshold, currents: Int[Array, "step batch ..."]) -> Int[Array, "batch ..."]:
    return jnp.broadcast_to(along(op.initial, currents.ndim - 1), currents.shape[1:])
