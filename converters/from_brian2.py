"""A network of Brian2 as one of ours: neurons whose equations are linear between spikes, their synapses and inputs.

Over a step the membrane and the synaptic variables of `dv/dt = A v + Σ a g + b`, `dg/dt = -g / τ` go through

    v(t + dt) = D v(t) + Σ K g(t) + B,  g(t + dt) = E g(t)

with D, K, B and E from the matrix exponential, or from 1 + dt A where the user chose Euler's method. K g is the
current of a receptor that keeps E, so a weight w becomes K w. The membrane is counted from its reset value. Brian2
delivers a spike `delay` after it is sent and feels it in the next step, as `neuro.network` does.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool

from converters.brian2_inputs import train
from converters.brian2_neurons import Cells, cells
from converters.brian2_parts import changing, faults, fresh, order, step_of, top
from converters.brian2_values import NotConstant, Scope
from neuro.errors import BadInput, Unsupported
from neuro.network import Network, Neurons, Projection

ADVICE = (
    "Only neurons that are linear between spikes are taken, with constant synapses. Record what a random or prescribed "
    "part sends and put a SpikeGeneratorGroup in its place; simplify the rest."
)


@dataclass(frozen=True, eq=False)
class FromBrian2:
    """network: the populations carry the names of their groups. inputs: trains [step, neuron] of its input
    populations. step: s."""

    network: Network
    inputs: dict[str, Bool[np.ndarray, "step _"]]
    step: float


def from_brian2(
    network: Any, steps: int, seed: int | None = None, namespace: dict[str, Any] | None = None, name: str = "brian2"
) -> FromBrian2:
    """A `brian2.Network` that has not run yet, with `steps` steps of what its inputs send.

    namespace: values of names in equations that are neither variables nor in a group's own namespace, as in
    `brian2.Network.run`; by default those that the caller sees. seed: for `brian2.PoissonGroup`, of which one
    realisation is drawn; without it they are refused.

    Raises:
        Unsupported: whatever has no counterpart here, all of it, object by object.
        BadInput: it has run already, no neurons in it, or objects of several time steps.
    """
    from brian2 import NeuronGroup, PoissonGroup, SpikeGeneratorGroup, Synapses
    from brian2.core.namespace import get_local_namespace

    known = get_local_namespace(level=1) if namespace is None else namespace
    fresh(network)
    parts = top(network)
    groups = [p for p in parts if isinstance(p, NeuronGroup | SpikeGeneratorGroup | PoissonGroup)]
    if not any(isinstance(p, NeuronGroup) for p in groups):
        raise BadInput("the Brian2 network has no NeuronGroup; give its objects to brian2.Network explicitly.")
    step, rng = step_of(network), None if seed is None else np.random.default_rng(seed)
    later, problems = order(network)
    problems += faults(network)
    moving = changing(parts)
    edges = [p for p in parts if isinstance(p, Synapses)]
    direct = {_whole(p.target).name for p in edges if _membranes(p, groups)}
    found: dict[str, Cells] = {}
    populations, inputs = [], {}
    for group in groups:
        scope = Scope(group, known, moving)
        if isinstance(group, NeuronGroup):
            made = cells(group, scope, step, group.name in direct, later, problems)
            if made is not None:
                found[group.name] = made
                populations.append(Neurons(group.name, (group.N,), made.model))
        else:
            populations.append(Neurons(group.name, (group.N,)))
            inputs[group.name] = train(group, scope, steps, step, rng, problems)
    there = {group.name for group in groups}
    projections = [q for p in edges for q in _projections(p, Scope(p, known, moving), there, found, step, problems)]
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise Unsupported(f"the Brian2 network has {len(problems)} part(s) without a counterpart:\n{lines}\n{ADVICE}")
    return FromBrian2(Network(name, tuple(populations), tuple(projections)), inputs, step)


def _whole(group: Any) -> Any:
    """The group that a subgroup is cut from."""
    from brian2.groups.subgroup import Subgroup

    return group.source if isinstance(group, Subgroup) else group


def _membranes(synapses: Any, groups: list[Any]) -> bool:
    """Whether spikes change the membrane of the target itself."""
    from converters.brian2_neurons import condition

    target = _whole(synapses.target)
    if target not in groups or not hasattr(target, "events"):
        return False
    try:
        membrane = condition(target)[0]
    except NotConstant:
        return False
    return any(left.removesuffix("_post") == membrane for p in synapses._pathways for left, _ in _additions(p, [], ""))


def _additions(pathway: Any, problems: list[str], where: str) -> list[tuple[str, str]]:
    """What a spike adds to what: (variable, expression) for every statement `variable += expression`."""
    from converters.brian2_values import statements

    found = []
    for left, operation, right in statements(pathway.code or ""):
        if operation in ("+=", "-="):
            found.append((left, right if operation == "+=" else f"-({right})"))
        else:
            problems.append(f"{where}: {left} {operation} {right} does not add a constant")
    return found


def _projections(
    synapses: Any, scope: Scope, there: set[str], found: dict[str, Cells], step: float, problems: list[str]
) -> list[Projection]:
    """One projection for each pathway, variable and delay. there: names of all groups; found: those taken."""
    where = f"Synapses {synapses.name!r}"
    target, source = _whole(synapses.target), _whole(synapses.source)
    if synapses.equations.diff_eq_names or synapses.event_driven or synapses.summed_updaters:
        problems.append(f"{where}: has dynamics of its own")
    if outside := [repr(p.name) for p in (source, target) if p.name not in there]:
        problems.append(
            f"{where}: joins {' and '.join(outside)}, which is no group of this network; add it or record it"
        )
    if outside or target.name not in found or not len(synapses):
        return []
    aim, made = found[target.name], []
    pre = np.asarray(synapses.i[:]) + getattr(synapses.source, "start", 0)
    post = np.asarray(synapses.j[:]) + getattr(synapses.target, "start", 0)
    for pathway in synapses._pathways:
        if pathway.prepost != "pre" or pathway.event != "spike" or pathway.when != "synapses":
            problems.append(
                f"{where}: on_{pathway.prepost} of {pathway.event} in {pathway.when}; only on_pre of spikes is taken"
            )
            continue
        delay = np.floor(np.broadcast_to(pathway.variables["delay"].get_value(), len(pre)) / step + 0.5).astype(int)
        for left, right in _additions(pathway, problems, where):
            variable = left.removesuffix("_post")
            if variable not in aim.receptors or left in synapses.equations.names:
                problems.append(f"{where}: adds to {left}, which is no synaptic current of {target.name!r}")
                continue
            receptor, gain = aim.receptors[variable]
            try:
                weight = np.broadcast_to(scope.of(right), len(pre)) * gain[post]
            except NotConstant as error:
                problems.append(f"{where}: {error}")
                continue
            for d in np.unique(delay).tolist():
                chosen = delay == d
                ends = pre[chosen], post[chosen]
                made.append(Projection(source.name, target.name, *ends, weight[chosen], d, receptor))
    return made
