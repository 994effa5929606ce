"""What a Brian2 network consists of: the objects that are looked at, their time step, and all else that has a part in
a step, which is refused so that nothing is left out silently."""

from collections.abc import Iterator
from typing import Any

from neuro.errors import BadInput

SLOTS = ("groups", "thresholds", "synapses", "resets")
"""Where Brian2 moves states, looks for spikes, delivers them and resets, unless the user says otherwise."""


def elsewhere() -> str:
    """What to do about Brian2's device if it does not run networks in Python; nothing if it does."""
    from brian2.devices.device import RuntimeDevice, get_device

    device = get_device()
    if isinstance(device, RuntimeDevice):
        return ""
    return f"Brian2's device is {type(device).__name__}, whose values only its program knows; remove set_device(...)."


def fresh(network: Any) -> None:
    """Raises BadInput: the network is for another device, or has run already, so that its start is gone."""
    if advice := elsewhere():
        raise BadInput(advice)
    if network.t_ > 0:
        raise BadInput(
            f"the Brian2 network has run for {network.t_:g} s already; hand it over before run(), which may stand "
            "behind if __name__ == '__main__', or call store() before run() and restore() after it."
        )


def top(network: Any) -> list[Any]:
    """The objects of a network by name, without those that are only parts of others. Groups and synapses always count:
    Brian2 makes synapses with code of every step a part of their source."""
    every = {id(part): part for each in network.objects for part in (each, *_within(each))}
    inside = {id(part) for each in every.values() for part in each.contained_objects}
    kept = [part for key, part in every.items() if key not in inside or _taken(part)]
    return sorted(kept, key=lambda part: part.name)


def step_of(network: Any) -> float:
    """The time step of a `brian2.Network`, s; monitors may have another.

    Raises:
        BadInput: see `fresh`; it has several, or no objects.
    """
    fresh(network)
    parts = top(network)
    if not parts:
        raise BadInput("the Brian2 network is empty; give its objects to brian2.Network explicitly.")
    paces: dict[float, list[str]] = {}
    for part in parts:
        if hasattr(part, "clock") and not _watches(part):
            paces.setdefault(float(part.clock.dt_), []).append(part.name)
    if not paces:
        raise BadInput("the Brian2 network has only monitors; give its groups to brian2.Network as well.")
    if len(paces) > 1:
        told = "; ".join(f"{pace:g} s: {', '.join(paces[pace])}" for pace in sorted(paces))
        raise BadInput(f"objects of the Brian2 network have several time steps ({told}); give all of them one.")
    return next(iter(paces))


def neurons_of(network: Any) -> int:
    """How many neurons and inputs a network has."""
    return sum(part.N for part in top(network) if _taken(part) and hasattr(part, "spikes"))


def faults(network: Any) -> list[str]:
    """What has a part in a step and no counterpart, whatever it belongs to: unknown objects, code of every step,
    objects that are switched off or that run in another slot than usual."""
    found = []
    for part in top(network):
        where = f"{type(part).__name__} {part.name!r}"
        if _watches(part):
            continue
        if not _taken(part):
            found.append(f"{where}: has no counterpart")
        elif not part.active:
            found.append(f"{where}: is not active; leave it out of the network")
        else:
            found += [f"{where}: {fault}" for fault in _inside(part)]
    return found


def order(network: Any) -> tuple[bool, list[str]]:
    """Whether synapses come after resets, and what is wrong with the schedule: states are moved first, then thresholds
    are looked at."""
    slots = network.schedule
    at = {slot: slots.index(slot) if slot in slots else -1 for slot in SLOTS}
    right = -1 < at["groups"] < at["thresholds"] < min(at["synapses"], at["resets"])
    wrong = [] if right else [f"schedule {slots}: groups, thresholds, then synapses and resets are taken"]
    return at["synapses"] > at["resets"], wrong


def changing(parts: list[Any]) -> frozenset[int]:
    """Which variables of Brian2 change during a run, as identities: what groups integrate or reset, and what tells
    time. Names do not do, since other objects know the same variables by other names."""
    from brian2 import NeuronGroup

    from converters.brian2_values import MOVING, statements

    found = set()
    for part in parts:
        variables = getattr(part, "variables", {})
        moved = MOVING
        if isinstance(part, NeuronGroup):
            moved = moved | part.user_equations.diff_eq_names
            moved = moved | {left for code in part.event_codes.values() for left, _, _ in statements(str(code))}
        found |= {id(variables[name]) for name in moved if name in variables}
    return frozenset(found)


def _inside(part: Any) -> Iterator[str]:
    """Faults of what a group or synapses consist of."""
    from brian2 import SpikeGeneratorGroup, Subgroup
    from brian2.groups import neurongroup
    from brian2.synapses import synapses

    slots = {neurongroup.StateUpdater: "groups", neurongroup.Thresholder: "thresholds", neurongroup.Resetter: "resets"}
    # What these do is looked at where synapses are taken.
    of_synapses = synapses.SynapticPathway | synapses.StateUpdater | synapses.SummedVariableUpdater
    for each in _within(part):
        if _taken(each) or isinstance(each, Subgroup):  # a subgroup does nothing but hold code of its own
            continue
        slot = next((slot for kind, slot in slots.items() if isinstance(each, kind)), None)
        if not each.active:
            yield f"{each.name} is not active"
        elif slot is None and not isinstance(each, of_synapses):
            yield f"{each.name} changes it in every step"
        elif slot not in (None, each.when):
            yield f"{each.name} runs in {each.when!r}; only {slot!r} is taken"
    if isinstance(part, SpikeGeneratorGroup) and part.when != "thresholds":
        yield f"sends in {part.when!r}; only 'thresholds' is taken"


def _within(part: Any) -> Iterator[Any]:
    """What an object contains, parts of parts too; groups or synapses in it speak for themselves."""
    for each in part.contained_objects:
        yield each
        if not _taken(each):
            yield from _within(each)


def _taken(part: Any) -> bool:
    import brian2

    return isinstance(part, brian2.NeuronGroup | brian2.SpikeGeneratorGroup | brian2.PoissonGroup | brian2.Synapses)


def _watches(part: Any) -> bool:
    """Whether it is a monitor, which changes nothing."""
    import brian2

    return isinstance(part, brian2.StateMonitor | brian2.PopulationRateMonitor | brian2.EventMonitor)
