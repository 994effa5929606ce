"""Which networks of spiking neurons 32-bit whole numbers hold exactly, and for how many steps.

A chip's fixed point: weights, thresholds, biases and jumps are whole, states are truncated to whole numbers when they
decay, and decays are n / 4096. Then no state can be larger than what all synapses of a neuron bring in every step.
"""

import numpy as np

from neuro.dynamics import Dynamics
from neuro.network import Network

UNIT = 4096
"""Decays are whole multiples of one part in so many."""
LIMIT = 2**30
"""No sum of two states may pass 31 bits."""


def obstacle(network: Network, steps: int) -> str:
    """Why `steps` steps of `network` cannot be computed in 32-bit whole numbers; empty where they can."""
    for p in network.projections:
        if not np.array_equal(p.weight, np.rint(p.weight)):
            return f"projection {p.source!r} -> {p.target!r} has weights that are not whole"
    for p in network.populations:
        if p.model is None:
            continue
        if why := _fraction(p.model):
            return f"population {p.name!r}: {why}"
        if (size := _largest(p.model, arriving(network, p.name), steps)) >= LIMIT:
            return f"population {p.name!r}: a state may reach {size:.3g} in {steps:,} steps; 32 bits hold {LIMIT:,}"
    return ""


def arriving(network: Network, name: str) -> np.ndarray:
    """Magnitudes of all weights that can reach a neuron of `name` in one step, at most: [receptor]."""
    population = network[name]
    assert population.model is not None
    total = np.zeros((population.model.receptors, population.size))
    for p in network.projections:
        if p.target == name:
            np.add.at(total[p.receptor], p.post, np.abs(p.weight).astype(np.float64))
    return total.max(axis=1)


def _fraction(model: Dynamics) -> str:
    """What about the parameters is not fixed point; empty if all is."""
    for name, value in model.parameters().items():
        if "decay" in name:
            if not np.array_equal(value * UNIT, np.rint(value * UNIT)):
                return f"{name} is no multiple of 1/{UNIT}"
            if not model.quantum and not np.isin(value, (0.0, 1.0)).all():
                return f"{name} is a fraction, and states are not truncated"
        elif name in ("threshold", "saturation"):
            finite = value[np.isfinite(value)]
            if (value == -np.inf).any() or not np.array_equal(finite, np.rint(finite)):
                return f"{name} is not whole"
        elif name not in ("quantum", "refractory") and not np.array_equal(value, np.rint(value)):
            return f"{name} is not whole"
    return "" if model.quantum in (0, 1) else f"states are truncated to multiples of {model.quantum:g}"


def _largest(model: Dynamics, arriving: np.ndarray, steps: int) -> float:
    """A bound on every state and every sum of two, in `steps` steps."""
    threshold = np.asarray(model.threshold, np.float64)
    adapted = _sum(float(np.abs(model.adaptation).max()), float(np.max(model.adaptation_decay)), steps)
    if model.reset == "soft" and threshold.min() < (adapted if model.adapts == "threshold" else 0):
        return float("inf")  # a reset might add to the membrane
    currents = [_sum(a, np.max(d), steps) for a, d in zip(arriving, model.current_decays, strict=True)]
    drive = sum(currents) + np.abs(model.bias).max() + adapted
    membrane = np.abs(model.start).max() + min(float(model.saturation), _sum(drive, np.max(model.decay), steps))
    finite = np.abs(threshold[np.isfinite(threshold)]).max(initial=0.0)
    return float(max(membrane + drive, membrane + adapted, finite + adapted))


def _sum(each: float, decay: float, steps: int) -> float:
    """What `each` in every step adds up to."""
    return float(each * min(steps, 1 / (1 - decay) if decay < 1 else np.inf))
