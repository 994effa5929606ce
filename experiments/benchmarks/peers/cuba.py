"""W3: a random network of leaky neurons with exponential synapses, 1 s of its life (Vogels and Abbott 2005, CUBA).

Constants are those of Brian2's example: membrane 20 ms, synapses 5 ms (excitatory) and 10 ms (inhibitory), threshold
-50 mV, reset -60 mV, rest -49 mV, refractory 5 ms; 80 % of the neurons excite. Every neuron reaches 1 % of the others,
with weights scaled so that the sum of what arrives is the example's. Rest lies above threshold: no noise is needed.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from experiments.benchmarks.peers.network import write

MEMBRANE, EXCITATORY, INHIBITORY = 20.0, 5.0, 10.0
"""Time constants, ms."""
THRESHOLD, RESET, REST = -50.0, -60.0, -49.0
"""mV."""
STEP, REFRACTORY = 0.1, 50
"""ms; steps."""
STEPS = 10_000
CHECKED = 300
"""Steps that are compared: afterwards the last bit of a rounding decides, the network being chaotic."""


@dataclass(frozen=True)
class Cuba:
    """indptr [neuron + 1] and indices [synapse]: targets of each neuron; weights in mV, membranes at the start in mV.

    Neurons below `excitatory` excite. A spike of one step arrives at the end of the next, after its threshold.
    """

    indptr: Int[np.ndarray, "neuron_and_1"]
    indices: Int[np.ndarray, " synapse"]
    excitatory: int
    weights: tuple[float, float]
    start: Float[np.ndarray, " neuron"]
    steps: int = STEPS


def draw(neurons: int = 10_000, share: float = 0.01, steps: int = STEPS, seed: int = 3) -> Cuba:
    """`share` of all pairs are synapses, their number binomial for every neuron."""
    rng = np.random.default_rng(seed)
    targets = [np.sort(rng.choice(neurons, rng.binomial(neurons, share), replace=False)) for _ in range(neurons)]
    scale = 80 / (share * neurons)  # the example: 4,000 neurons of which 2 % reach a neuron
    return Cuba(
        np.concatenate([[0], np.cumsum([len(t) for t in targets])]).astype(np.int64),
        np.concatenate(targets).astype(np.int32),
        int(0.8 * neurons),
        (60 * 0.27 / 10 * scale, -20 * 4.5 / 10 * scale),
        rng.uniform(-60, -50, neurons),
        steps,
    )


def save(network: Cuba, path: Path) -> None:
    """One .npz with the constants of this module beside the arrays, in ms, mV and steps."""
    write(
        path, indptr=network.indptr, indices=network.indices, v0=network.start, N=np.asarray(len(network.start)),
        NE=np.asarray(network.excitatory), we=np.asarray(network.weights[0]), wi=np.asarray(network.weights[1]),
        T=np.asarray(network.steps), dt=np.asarray(STEP), refractory=np.asarray(REFRACTORY),
        checked=np.asarray(CHECKED), tau=np.asarray([MEMBRANE, EXCITATORY, INHIBITORY]),
        levels=np.asarray([THRESHOLD, RESET, REST]),
    )  # fmt: skip


def load(path: Path) -> Cuba:
    """What `save` wrote."""
    with np.load(path, allow_pickle=False) as f:
        return Cuba(
            f["indptr"], f["indices"], int(f["NE"]), (f["we"].item(), f["wi"].item()), f["v0"], int(f["T"])
        )  # fmt: skip


def decays() -> tuple[float, float, float, float, float]:
    """Of membrane and both currents in one step, and what one mV of each current adds to the membrane meanwhile."""
    membrane, excited, inhibited = (float(np.exp(-STEP / tau)) for tau in (MEMBRANE, EXCITATORY, INHIBITORY))
    by = (EXCITATORY / (EXCITATORY - MEMBRANE), INHIBITORY / (INHIBITORY - MEMBRANE))
    return membrane, excited, inhibited, by[0] * (excited - membrane), by[1] * (inhibited - membrane)


def spikes(network: Cuba) -> list[np.ndarray]:
    """The neurons that fire in each step, in float64 with the exact solution between steps.

    In a step: neurons past their refractory time move on, currents decay, who is above the threshold fires and is
    reset, and the spikes of the step before arrive.
    """
    membrane, excited, inhibited, from_excited, from_inhibited = decays()
    neurons = len(network.start)
    v, currents = network.start.copy(), np.zeros((2, neurons))
    last, fired, found = np.full(neurons, -(10**9)), np.zeros(0, np.int64), []
    for step in range(network.steps):
        free = step - last > REFRACTORY
        moved = REST + (v - REST) * membrane + currents[0] * from_excited + currents[1] * from_inhibited
        v = np.where(free, moved, v)
        currents *= [[excited], [inhibited]]
        now = np.flatnonzero(free & (v > THRESHOLD))
        for kind, of in enumerate((fired[fired < network.excitatory], fired[fired >= network.excitatory])):
            if of.size:
                reached = np.concatenate([network.indices[network.indptr[i] : network.indptr[i + 1]] for i in of])
                currents[kind] += np.bincount(reached, minlength=neurons) * network.weights[kind]
        v[now], last[now], fired = RESET, step, now
        found.append(now)
    return found


def checked(found: list[np.ndarray], neurons: int, steps: int = CHECKED) -> list[np.ndarray]:
    """What simulators are compared by: spikes of every neuron, and of every step, in the first `steps` steps."""
    early = found[:steps]
    of_neuron = np.bincount(np.concatenate(early), minlength=neurons)
    return [of_neuron[None], np.asarray([[len(now) for now in early]])]
