"""What a network does, step by step: spikes, updates and synaptic operations; every spike is one event."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_array

from neuro.dynamics import advance, initial
from neuro.errors import BadInput
from neuro.network import Network


@dataclass(frozen=True, eq=False)
class Trace:
    """Activity of a run, by population; batch axes are those of the inputs.

    spikes [*batch, step, neuron]: who fired in which step. updated [*batch, step]: neurons that a chip which skips
    idle ones updates (see `neuro.dynamics.advance`); none for inputs. membranes [*batch, neuron]: after the last step.
    """

    spikes: dict[str, Bool[np.ndarray, "*batch step _"]]
    updated: dict[str, Int[np.ndarray, "*batch step"]]
    membranes: dict[str, Float[np.ndarray, "*batch _"]]


def simulate(network: Network, inputs: dict[str, Bool[np.ndarray, "*batch step _"]], steps: int) -> Trace:
    """`steps` steps of `network`, every input population driven by a given spike train [*batch, step, neuron].

    A spike of step t reaches its targets in step t + 1 + delay. The arithmetic is float64, exact for integers below
    2^53; the work is that of the spikes, not of the synapses.

    Raises:
        BadInput: a missing or unknown input, or one of another number of steps or neurons.
    """
    batch = batch_axes(network, inputs, steps)
    runs = int(np.prod(batch))
    spikes = {p.name: np.zeros((runs, steps, p.size), bool) for p in network.populations}
    for name, train in inputs.items():
        spikes[name] = np.asarray(train).reshape(runs, steps, -1)
    models = {p.name: p.model for p in network.populations if p.model is not None}
    states = {name: initial(model, (runs, network.size(name))) for name, model in models.items()}
    updated = {name: np.zeros((runs, steps), np.int64) for name in models}
    matrices = [(p, network.matrix(p)) for p in network.projections]
    slots = 2 + max((p.delay for p in network.projections), default=0)  # currents of this step and of those to come
    pending = {name: np.zeros((slots, model.receptors, runs, network.size(name))) for name, model in models.items()}
    for t in range(steps):
        now = t % slots
        for name, model in models.items():
            states[name], outcome = advance(model, states[name], pending[name][now])
            spikes[name][:, t] = outcome.spikes
            updated[name][:, t] = outcome.updated.sum(axis=1)
            pending[name][now] = 0
        firing = {name: csr_array(s[:, t].astype(np.float64)) for name, s in spikes.items()}
        for projection, matrix in matrices:
            events = firing[projection.source]
            if events.nnz:
                arrives = csr_array(events @ matrix)
                slot = (t + 1 + projection.delay) % slots
                pending[projection.target][slot, projection.receptor] += arrives.toarray()
    return Trace(
        {name: s.reshape(*batch, steps, s.shape[2]) for name, s in spikes.items()},
        {name: n.reshape(*batch, steps) for name, n in updated.items()},
        {name: s.membrane.reshape(*batch, s.membrane.shape[1]) for name, s in states.items()},
    )


def synops(network: Network, trace: Trace) -> list[Int[np.ndarray, "*batch step"]]:
    """Synaptic operations of every projection: spikes times the synapses they reach, in the step of the spike."""
    return [trace.spikes[p.source] @ network.fan_out(p) for p in network.projections]


def batch_axes(network: Network, inputs: dict[str, Bool[np.ndarray, "*batch step _"]], steps: int) -> tuple[int, ...]:
    """The batch axes that all inputs share.

    Raises:
        BadInput: a missing or unknown input, or one of another number of steps or neurons, or different batch axes.
    """
    wanted = {p.name: p.size for p in network.inputs}
    if wrong := wanted.keys() ^ inputs.keys():
        raise BadInput(f"{network.name}: spike trains for {sorted(inputs)}; its inputs are {sorted(wanted)}: {wrong}.")
    for name, train in inputs.items():
        if train.shape[-2:] != (steps, wanted[name]):
            raise BadInput(
                f"{network.name}: the spike train of {name!r} ends in axes {train.shape[-2:]}; "
                f"it needs {steps} steps and {wanted[name]} neurons."
            )
    batches = {train.shape[:-2] for train in inputs.values()} or {()}
    if len(batches) > 1:
        raise BadInput(f"{network.name}: spike trains have different batch axes, {sorted(batches)}.")
    return batches.pop()
