"""How large a network runs here: neurons that hear each other, by default a million with a hundred synapses each.

``python -m experiments.benchmarks.large [NEURONS [SYNAPSES_EACH [STEPS]]]`` prints what making it ready and a step
took, and the most memory that the process had.
"""

import sys
from time import perf_counter

import numpy as np

from experiments.benchmarks.peers.protocol import peak_mib
from experiments.terminal import screen
from neuro import recurrent
from neuro.dynamics import Dynamics
from neuro.network import Network, Neurons, Projection

NEURONS, EACH, STEPS = 1_000_000, 100, 100
THRESHOLD, EXCITED, INHIBITED = 1000.0, 9, -36
"""A fifth of the neurons inhibits, four times as strongly: drive from outside decides how many spike."""
DELAYS = (1, 5, 10)
BIAS = 60.0


def network(neurons: int, each: int, seed: int = 0) -> Network:
    """Leaky neurons in whole numbers, each of which reaches `each` others at random, a third of them after each of
    `DELAYS`; they start at random, driven over their threshold from outside."""
    rng = np.random.default_rng(seed)
    start = np.floor(rng.random(neurons) * THRESHOLD)
    model = Dynamics(THRESHOLD, bias=BIAS, decay=0.96875, quantum=1.0, start=start, reset="hard")
    pre = np.repeat(np.arange(neurons), each)
    post = rng.integers(0, neurons, len(pre))
    weight = np.where(pre % 5 == 0, INHIBITED, EXCITED)
    delay = np.arange(len(pre)) % len(DELAYS)
    projections = tuple(
        Projection("cells", "cells", pre[delay == k], post[delay == k], weight[delay == k], steps)
        for k, steps in enumerate(DELAYS)
    )
    return Network("large", (Neurons("cells", (neurons,), model),), projections)


def main(neurons: int = NEURONS, each: int = EACH, steps: int = STEPS) -> None:
    """Prints the sizes, the seconds, and the memory."""
    began = perf_counter()
    made = network(neurons, each)
    drawn = perf_counter()
    program = recurrent.prepare(made, "fixed")
    ready = perf_counter()
    trace = recurrent.run(program, {}, steps)
    ended = perf_counter()
    spikes = int(trace.spikes["cells"].sum())
    out = screen()
    out.print(f"{neurons:,} neurons, {made.synapses:,} synapses, {steps} steps, {spikes:,} spikes: {program.reason}")
    out.print(f"drawn in {drawn - began:.1f} s, made ready in {ready - drawn:.1f} s")
    out.print(
        f"{1e3 * (ended - ready) / steps:.1f} ms a step; {spikes * each / (ended - ready):.2e} synaptic operations a "
        f"second; {peak_mib() / 1024:.1f} GiB at most"
    )


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
