"""Integrate-and-fire neurons: one step of their state, in the order of operations that chips keep.

In every step, for the current I that arrives:

==========  ===============================================================================
current     u = trunc(current_decay · u) + I
adaptation  a = trunc(adaptation_decay · a)
membrane    v = clip(trunc(decay · v) + u + bias, ±saturation), held while refractory
spike       s = v > threshold + a  (strict) or v >= threshold + a, never while refractory
reset       hard: v = 0; soft: v = v - (threshold + a); then a = a + adaptation
==========  ===============================================================================

trunc rounds towards zero to a multiple of `quantum`. Loihi is quantum 1, decays n/4096, strict, hard, 2^23 - 1.
"""

from dataclasses import dataclass, fields
from types import ModuleType
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from neuro.errors import BadInput

Parameter: TypeAlias = float | np.ndarray
"""One number for the whole population, or one for each neuron."""


@dataclass(frozen=True, eq=False)
class Dynamics:
    """Parameters of integrate-and-fire neurons; numbers or arrays that broadcast over the neurons of a population.

    threshold: infinite for a neuron that never fires (a read-out). bias: current of every step. decay, current_decay,
    adaptation_decay: what is kept from step to step, 0..1; decay 1 is no leak, current_decay 0 an instantaneous
    synapse. strict: a membrane equal to the threshold does not fire. refractory: steps after a spike in which the
    membrane keeps its value after the reset and takes no input. quantum: states are truncated towards zero to its
    multiples when they decay; 0 for none. saturation: largest magnitude of the membrane. adaptation: what a spike adds
    to the threshold. start: the membrane before the first step.

    Raises:
        BadInput: a parameter that is not a number or outside its range, by name.
    """

    threshold: Parameter
    bias: Parameter = 0.0
    decay: Parameter = 1.0
    current_decay: Parameter = 0.0
    reset: Literal["hard", "soft"] = "hard"
    strict: bool = False
    refractory: Parameter = 0
    quantum: float = 0.0
    saturation: float = float("inf")
    adaptation: Parameter = 0.0
    adaptation_decay: Parameter = 0.0
    start: Parameter = 0.0

    def __post_init__(self) -> None:
        if self.reset not in ("hard", "soft"):
            raise BadInput(f"reset is {self.reset!r}; known: hard, soft.")
        for name, value in self.parameters().items():
            if np.isnan(value).any():
                raise BadInput(f"{name} of the neurons is not a number; repair the network.")
            if name not in ("threshold", "saturation") and np.isinf(value).any():
                raise BadInput(f"{name} of the neurons is infinite; only thresholds and the saturation may be.")
            if name.endswith("decay") and ((value < 0) | (value > 1)).any():
                raise BadInput(f"{name} keeps {value.min():g} to {value.max():g} of a state; it must lie in 0..1.")
            if name in ("refractory", "quantum", "saturation") and (value < 0).any():
                raise BadInput(f"{name} is {value.min():g}; it must not be negative.")

    def parameters(self) -> dict[str, np.ndarray]:
        """The numeric parameters by name, as float64 arrays."""
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("reset", "strict")}
        return {name: np.asarray(value, np.float64) for name, value in named.items()}


class State(NamedTuple):
    """State of a population, each [..., neuron]: current, membrane, adaptation, and the refractory steps left."""

    current: Any
    membrane: Any
    adaptation: Any
    refractory: Any


def initial(dynamics: Dynamics, shape: tuple[int, ...], xp: ModuleType = np) -> State:
    """The state of neurons of `shape` [..., neuron] before the first step; `xp` is NumPy (float64) or jax.numpy."""
    zeros = xp.zeros(shape, float)
    return State(zeros, xp.broadcast_to(xp.asarray(dynamics.start, zeros.dtype), shape), zeros, zeros)
