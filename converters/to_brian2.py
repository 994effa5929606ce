"""A network as one of Brian2, operation by operation, so that both can be held against each other spike by spike.

A step of `neuro.dynamics` is written out as code that Brian2 runs at the start of every step; its equations hold no
differential equation. Brian2 then looks at the thresholds, delivers spikes and resets: a spike that is delivered in
step t + delay is in the code of the next step, as in `neuro.trace`. All is float64 where Brian2's preference says so,
as it does by default; sums of synaptic weights may be taken in another order, which whole numbers do not notice.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool

from neuro.dynamics import Dynamics
from neuro.errors import BadInput
from neuro.network import Network, Neurons, Projection

STEP = 1e-4
"""Seconds of a step, Brian2's own; nothing depends on it."""


@dataclass(frozen=True, eq=False)
class InBrian2:
    """A `brian2.Network` with its groups and spike monitors by population; step: s."""

    network: Any
    groups: dict[str, Any]
    monitors: dict[str, Any]
    step: float

    def run(self, steps: int) -> dict[str, Bool[np.ndarray, "step _"]]:
        """Spikes of every population from the beginning on, after `steps` more steps."""
        from brian2 import second

        self.network.run(steps * self.step * second)
        total = round(float(self.network.t / second) / self.step)
        spikes = {}
        for name, monitor in self.monitors.items():
            spikes[name] = np.zeros((total, monitor.source.N), bool)
            at = np.rint(np.asarray(monitor.t / second) / self.step).astype(int)
            spikes[name][at, np.asarray(monitor.i)] = True
        return spikes


def to_brian2(network: Network, inputs: dict[str, Bool[np.ndarray, "... _"]], step: float = STEP) -> InBrian2:
    """`network`, whose input populations send the trains `inputs` [step, neuron], with monitors of all populations.

    step: s of a time step in Brian2.

    Raises:
        BadInput: an input that is missing, unknown, of another size, or several samples at once.
    """
    if wrong := {p.name for p in network.inputs} ^ inputs.keys():
        raise BadInput(f"{network.name}: spike trains for {sorted(inputs)}; missing or unknown: {sorted(wrong)}.")
    groups = {
        p.name: spiking(inputs[p.name], p, step) if p.model is None else _neurons(p.model, p.size, step)
        for p in network.populations
    }
    return joined(groups, [(p, wired(p, groups, step)) for p in network.projections if len(p)], step)


def spiking(train: Bool[np.ndarray, "... _"], population: Neurons, step: float) -> Any:
    """A `brian2.SpikeGeneratorGroup` that sends `train`.

    Raises:
        BadInput: a train of another shape.
    """
    from brian2 import SpikeGeneratorGroup, second

    if train.ndim != 2 or train.shape[1] != population.size:
        raise BadInput(
            f"population {population.name!r} sends a train of axes {train.shape}; Brian2 runs one sample, "
            f"[step, {population.size}]."
        )
    at, neuron = np.nonzero(train)
    return SpikeGeneratorGroup(population.size, neuron, at * step * second, dt=step * second)


def wired(projection: Projection, groups: dict[str, Any], step: float) -> Any:
    """The `brian2.Synapses` of a projection: its weights are added to what arrives at a receptor."""
    from brian2 import Synapses, second

    synapses = Synapses(
        groups[projection.source],
        groups[projection.target],
        "w : 1",
        on_pre=f"i{projection.receptor}_post += w",
        delay=projection.delay * step * second,
    )
    synapses.connect(i=projection.pre, j=projection.post)
    synapses.w = projection.weight.astype(np.float64)
    return synapses


def joined(groups: dict[str, Any], wires: list[tuple[Projection, Any]], step: float) -> InBrian2:
    """Groups and synapses as one network, with a monitor for every population."""
    import brian2

    monitors = {name: brian2.SpikeMonitor(group) for name, group in groups.items()}
    whole = brian2.Network(*groups.values(), *(synapses for _, synapses in wires), *monitors.values())
    whole.schedule = ["start", "groups", "thresholds", "synapses", "resets", "end"]
    return InBrian2(whole, groups, monitors, step)


def _neurons(model: Dynamics, size: int, step: float) -> Any:
    """A `brian2.NeuronGroup` of these neurons; every parameter is one of its variables.

    held: whether a neuron was refractory before the step, wait: the steps left. The adaptation decays at the start of
    the next step, where it takes up the `jump` of a spike, so that thresholds and resets see it as it was.
    """
    from brian2 import NeuronGroup, second

    receptors = range(model.receptors)
    parameters = {name: value for name, value in model.parameters().items() if "current_decay" not in name}
    first = parameters.pop("start")
    for name, known in (("threshold", "th"), ("refractory", "deaf")):  # words of Brian2
        parameters[known] = parameters.pop(name)
    parameters |= {f"keep{k}": np.asarray(decay, np.float64) for k, decay in enumerate(model.current_decays)}
    taken, raised = ("a", "0") if model.adapts == "current" else ("0", "a")
    lines = [
        f"a = {_kept('a * adaptation_decay', model)} + jump",
        "jump = 0",
        "held = int(wait > 0)",
        "wait = clip(wait - 1, 0, inf)",
    ]
    for k in receptors:
        lines += [f"u{k} = {_kept(f'u{k} * keep{k}', model)} + i{k}", f"i{k} = 0"]
    lines += [
        f"drive = {' + '.join(f'u{k}' for k in receptors)} + bias - {taken}",
        f"moved = clip({_kept('v * decay', model)} + drive, -saturation, saturation)",
        "v = held * v + (1 - held) * moved",
        f"at = th + {raised}",
    ]
    states = ["v", "a", "jump", "held", "wait", "at", *(f"{s}{k}" for k in receptors for s in "ui")]
    group = NeuronGroup(
        size,
        "\n".join(f"{name} : 1" for name in [*states, *parameters]),
        threshold=f"held < 1 and v {'>' if model.strict else '>='} at",
        reset=f"v = {'0' if model.reset == 'hard' else 'v - at'}\njump = adaptation\nwait = deaf",
        dt=step * second,
    )
    for name, value in parameters.items():
        setattr(group, name, np.broadcast_to(value, size))
    group.v = np.broadcast_to(first, size)
    group.run_regularly("\n".join(lines), when="start")
    return group


def _kept(value: str, model: Dynamics) -> str:
    """`value` truncated towards zero to multiples of the quantum, as code."""
    return f"sign({value}) * floor(abs({value}) / quantum) * quantum" if model.quantum else value
