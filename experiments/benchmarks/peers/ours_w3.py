"""W3 on the compiled recurrent kernel, in float32."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.peers import cuba
from experiments.benchmarks.peers.cuba import Cuba
from neuro import native, recurrent
from neuro.dynamics import Dynamics
from neuro.network import Network, Neurons, Projection


@dataclass(frozen=True, eq=False)
class Recurrent:
    """An `ours.Engine` of W3. run: packed spikes [1, step, byte] and what else the kernel gives."""

    run: partial
    neurons: int
    bytes_per_weight: int
    version: str

    def __call__(self) -> None:
        """One run, to its end."""
        jax.block_until_ready(self.run())

    def spikes(self) -> np.ndarray:
        """Who fired [step, neuron]."""
        bits = np.asarray(self.run()[0])[0]
        return np.unpackbits(bits, axis=1, count=self.neurons, bitorder="little")

    def counts(self) -> list[np.ndarray]:
        """What `cuba.checked` gives."""
        return cuba.checked([np.flatnonzero(now) for now in self.spikes()], self.neurons)


def prepare(path: Path, kind: recurrent.Kind = "float32") -> Recurrent:
    """The workload file at `path` ready to run. NotImplementedError: no compiled kernels."""
    workload = cuba.load(path)
    program = recurrent.prepare(network(workload), kind)
    if program.tables is None:
        raise NotImplementedError(f"no compiled kernels: {program.reason}")
    nothing = jnp.zeros((1, workload.steps, 0), jnp.uint8)
    run = partial(jax.jit(recurrent.fire), program, nothing, recurrent.start(program, 1, workload.steps))
    return Recurrent(run, len(workload.start), np.dtype(recurrent.NUMBERS[kind]).itemsize, native.kernels().isa)


def network(workload: Cuba) -> Network:
    """The same neurons with the membrane counted from its reset; a weight is what it adds to the membrane in a step.

    Currents arrive after the step in which they decay: one step later than ours, hence the delay of 1.
    """
    membrane, *currents, from_excited, from_inhibited = cuba.decays()
    model = Dynamics(
        cuba.THRESHOLD - cuba.RESET,
        bias=(cuba.REST - cuba.RESET) * (1 - membrane),
        decay=membrane,
        current_decay=tuple(currents),
        strict=True,
        refractory=cuba.REFRACTORY,
        start=workload.start - cuba.RESET,
    )
    pre = np.repeat(np.arange(len(workload.start)), np.diff(workload.indptr))
    post = workload.indices.astype(np.int64)
    excites = pre < workload.excitatory
    projections = tuple(
        Projection("cells", "cells", pre[of], post[of], np.full(of.sum(), weight * gain), 1, receptor)
        for receptor, (of, weight, gain) in enumerate(
            zip((excites, ~excites), workload.weights, (from_excited, from_inhibited), strict=True)
        )
    )
    return Network("W3", (Neurons("cells", (len(workload.start),), model),), projections)
