"""Integrate-and-fire neurons: one step of their state, in the order of operations that chips keep.

In every step, for the currents I that arrive, one for each receptor:

==========  =============================================================================================
currents    u = trunc(current_decay · u) + I, each receptor by itself
membrane    v = clip(trunc(decay · v) + Σu + bias - a*, ±saturation); held while refractory
spike       s = v > threshold + a (strict) or v >= threshold + a; never while refractory
reset       hard: v = 0; soft: v = v - (threshold + a)
adaptation  a = trunc(adaptation_decay · a) + adaptation · s: added to the threshold, or, if it is a current,
            taken from the membrane in every step (a*), as the auxiliary compartment of a chip does
==========  =============================================================================================

trunc rounds towards zero to a multiple of `quantum`. Loihi: quantum 1, decays n / 4096, strict, hard, 2^23 - 1.
"""

from dataclasses import dataclass, fields
from types import ModuleType
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from neuro.errors import BadInput

Parameter: TypeAlias = int | float | np.ndarray
"""One number for the whole population, or one for each neuron."""

WORDS = ("reset", "strict", "adapts")
"""Fields of `Dynamics` that are no numbers."""


@dataclass(frozen=True, eq=False)
class Dynamics:
    """Parameters of integrate-and-fire neurons; numbers or arrays that broadcast over the neurons of a population.

    threshold: infinite for a neuron that never fires (a read-out). bias: current of every step. decay, current_decay,
    adaptation_decay: what is kept from step to step, 0..1; decay 1 is no leak, current_decay 0 an instantaneous
    synapse. A tuple of current_decay is one number (or array) for each receptor; a projection says which it feeds.
    strict: a membrane equal to the threshold does not fire. refractory: steps after a spike in which the
    membrane keeps its value after the reset and takes no input. quantum: states are truncated towards zero to its
    multiples when they decay; 0 for none. saturation: largest magnitude of the membrane. adaptation: what a spike adds
    to the threshold or to an inhibiting current (`adapts`). start: the membrane before the first step.

    Raises:
        BadInput: a parameter that is not a number or outside its range, by name.
    """

    threshold: Parameter
    bias: Parameter = 0.0
    decay: Parameter = 1.0
    current_decay: Parameter | tuple[Parameter, ...] = 0.0
    reset: Literal["hard", "soft"] = "hard"
    strict: bool = False
    refractory: Parameter = 0
    quantum: int | float = 0
    saturation: int | float = float("inf")
    adaptation: Parameter = 0.0
    adaptation_decay: Parameter = 0.0
    adapts: Literal["threshold", "current"] = "threshold"
    start: Parameter = 0.0

    def __post_init__(self) -> None:
        for name, known in (("reset", ("hard", "soft")), ("adapts", ("threshold", "current"))):
            if getattr(self, name) not in known:
                raise BadInput(f"{name} is {getattr(self, name)!r}; known: {', '.join(known)}.")
        if not self.current_decays:
            raise BadInput("current_decay is empty; give one number for each receptor, or 0 for synapses without one.")
        for name, value in self.parameters().items():
            if np.isnan(value).any():
                raise BadInput(f"{name} of the neurons is not a number; repair the network.")
            if name not in ("threshold", "saturation") and np.isinf(value).any():
                raise BadInput(f"{name} of the neurons is infinite; only thresholds and the saturation may be.")
            if "decay" in name and ((value < 0) | (value > 1)).any():
                raise BadInput(f"{name} keeps {value.min():g} to {value.max():g} of a state; it must lie in 0..1.")
            if name in ("refractory", "quantum", "saturation") and (value < 0).any():
                raise BadInput(f"{name} is {value.min():g}; it must not be negative.")

    def parameters(self) -> dict[str, np.ndarray]:
        """The numeric parameters by name, as float64 arrays."""
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in WORDS}
        if isinstance(self.current_decay, tuple):
            del named["current_decay"]
            named |= {f"current_decay of receptor {k}": value for k, value in enumerate(self.current_decay)}
        return {name: np.asarray(value, np.float64) for name, value in named.items()}

    @property
    def current_decays(self) -> tuple[Parameter, ...]:
        """What every receptor's current keeps from step to step."""
        return self.current_decay if isinstance(self.current_decay, tuple) else (self.current_decay,)

    @property
    def receptors(self) -> int:
        """Synaptic currents of one neuron."""
        return len(self.current_decays)


class State(NamedTuple):
    """State of a population: currents [receptor, ..., neuron]; membrane, adaptation and the refractory steps left,
    each [..., neuron]."""

    current: Any
    membrane: Any
    adaptation: Any
    refractory: Any


class Outcome(NamedTuple):
    """What a step did, each bool [..., neuron]: which neurons fired, and which a chip that skips idle ones updated."""

    spikes: Any
    updated: Any


def initial(dynamics: Dynamics, shape: tuple[int, ...], xp: ModuleType = np) -> State:
    """The state of neurons of `shape` [..., neuron] before the first step; `xp` is NumPy (float64) or jax.numpy."""
    zeros = xp.zeros(shape, float)
    currents = xp.zeros((dynamics.receptors, *shape), float)
    return State(currents, xp.broadcast_to(xp.asarray(dynamics.start, zeros.dtype), shape), zeros, zeros)


def advance(dynamics: Dynamics, state: State, current: Any, xp: ModuleType = np) -> tuple[State, Outcome]:
    """One step of a population; `current` [receptor, ..., neuron] is what its synapses bring, in the type of the state.

    With one receptor its axis may be left out.

    A neuron counts as updated when its membrane is not zero before the step or after it (before the reset), or when
    its current, its bias or its adaptation is not zero: nothing else can change its state.
    """
    shape, dtype = state.membrane.shape, state.membrane.dtype

    def of(parameter: Parameter) -> Any:
        return xp.broadcast_to(xp.asarray(parameter, dtype), shape)

    def kept(value: Any, decay: Parameter) -> Any:
        value = value * of(decay)
        quantum = xp.asarray(dynamics.quantum, dtype)
        return xp.trunc(value / quantum) * quantum if dynamics.quantum else value

    zero = of(0.0)
    bias, limit = of(dynamics.bias), of(dynamics.saturation)
    as_current = dynamics.adapts == "current"
    fading = xp.stack([kept(u, decay) for u, decay in zip(state.current, dynamics.current_decays, strict=True)])
    arriving = fading + xp.reshape(current, fading.shape)
    drive = arriving.sum(axis=0) + bias - (state.adaptation if as_current else zero)
    held = state.refractory > 0
    moved = xp.clip(kept(state.membrane, dynamics.decay) + drive, -limit, limit)
    membrane = xp.where(held, state.membrane, moved)
    threshold = of(dynamics.threshold) + (zero if as_current else state.adaptation)
    spikes = ~held & (membrane > threshold if dynamics.strict else membrane >= threshold)
    after = zero if dynamics.reset == "hard" else membrane - xp.where(spikes, threshold, zero)
    following = State(
        arriving,
        xp.where(spikes, after, membrane),
        kept(state.adaptation, dynamics.adaptation_decay) + xp.where(spikes, of(dynamics.adaptation), zero),
        xp.where(spikes, of(dynamics.refractory), xp.maximum(state.refractory - of(1.0), zero)),
    )
    moving = (state.membrane != 0) | (membrane != 0)
    return following, Outcome(spikes, moving | (arriving != 0).any(axis=0) | (bias != 0) | (state.adaptation != 0))
