"""Choosing how far to spread a network over the cores of a chip, and for what."""

from dataclasses import dataclass
from math import log2

import numpy as np
from jaxtyping import Float

from neuro.capability import Realisation
from neuro.chip import Chip
from neuro.count import MOST_LEVELS
from neuro.effects import load_events
from neuro.errors import BadInput
from neuro.loads import core_prices, sweep_events, sweep_time
from neuro.partition import Objective
from neuro.placement import Placement, ladder, place
from neuro.wiring import Wiring


@dataclass(frozen=True)
class Estimate:
    """Energy (J) and time (s) per inference of a placement from mean spike counts, for ranking placements only."""

    energy: float
    time: float


def search(
    wiring: Wiring,
    chip: Chip,
    realisation: Realisation,
    spikes: dict[str, Float[np.ndarray, "neuron"]],
    allow: bool = False,
    objective: Objective | None = None,
) -> dict[str, Placement]:
    """The best of a ladder of placements by regime: ``single`` by energy-delay product, ``stream`` by energy.

    The ladder goes from the fewest cores to the shortest step that they allow, see `neuro.placement.ladder`. spikes:
    mean spikes per inference of every neuron, by population, from a pilot run. allow: see `place`. objective: the one
    placement cut for it instead (see `neuro.partition.partition`), the same in both regimes.

    Raises:
        DoesNotFit: not even the densest placement does. BadInput: an objective on a chip that is only priced.
    """
    check_objective(objective, chip)
    regimes = ("single", "stream") if realisation.streams else ("single",)
    if objective:
        return dict.fromkeys(regimes, place(wiring, chip, realisation, allow, objective, spikes))
    rungs = ladder(wiring, chip, realisation, spikes, allow)

    def delay_product(p: Placement) -> float:
        e = estimate(p, spikes, "single")
        return e.energy * e.time

    best = {"single": delay_product, "stream": lambda p: estimate(p, spikes, "stream").energy}
    return {regime: min(rungs, key=best[regime]) for regime in regimes}


def check_objective(objective: Objective | None, chip: Chip) -> None:
    """Raises BadInput where layers are to be cut for something on a chip that is only priced."""
    if objective and chip.scope == "priced":
        raise BadInput(
            f"{chip.name} is only priced, no core of it is mapped: layers cannot be cut for objective {objective!r}. "
            "Leave it out, or take a chip that is mapped (see 'neuro chips')."
        )


def mean_loads(placement: Placement, spikes: dict[str, Float[np.ndarray, "neuron"]]) -> Float[np.ndarray, "core load"]:
    """`load_events` of every core over an inference, from mean spike counts; clock packets are left out."""
    events = load_events(placement)
    load = np.zeros((placement.number, len(events)))
    for name, once in spikes.items():
        mean = once * placement.realisation.sends
        np.add.at(load[:, 0], placement.core[name], mean)
        for fan in placement.fans:
            if fan.source == name:
                hears = fan.synapses > 0
                np.add.at(load[:, 1], placement.core[name], mean * hears.sum(axis=0))
                load[fan.cores, 2] += hears @ mean
                load[fan.cores, events.index(fan.event)] += fan.synapses @ mean
    return load


def estimate(placement: Placement, spikes: dict[str, Float[np.ndarray, "neuron"]], regime: str) -> Estimate:
    """Energy and time from mean loads: the slowest core's sweep in every step, and the mean of its messages.

    Hops and clock packets are left out: enough to rank placements.
    """
    chip, schedule = placement.chip, placement.schedule
    load = mean_loads(placement, spikes)
    busy, sweep = load @ core_prices(placement), sweep_time(placement)

    def price(name: str) -> float:
        constant = getattr(chip.time, name)
        return constant.value if constant else 0.0

    barrier = price("barrier") + price("barrier_level") * min(MOST_LEVELS, log2(placement.tiles))
    step = max(float(sweep.max()) + barrier, price("tick")) + price("management")
    steps = schedule.total if regime == "single" else schedule.period(placement.realisation.membranes > 1)
    if chip.pace.kind == "event":
        steps, step = 0, 0.0
    apart = regime == "single" and schedule.code != "rate"  # windows follow each other, so their waits add up
    waits = [busy[placement.cores_of(n)].max() for n in placement.core]
    time = steps * step + (sum(waits) if apart else max(waits))
    copies = 1 if regime == "single" else placement.copies
    static = next(iter(chip.power.values()))  # at whichever boundary comes first: placements are only ranked

    def joules(name: str) -> float:
        constant = getattr(chip.energy, name, None)  # packets in cost time only
        return constant.value if constant else 0.0

    each = sum(joules(event) for event in sweep_events(placement))
    spent = load.sum(axis=0) @ np.array([joules(event) for event in load_events(placement)])
    dynamic = placement.swept.sum() * steps * each + spent
    power = static.active.value * placement.machines(copies)
    return Estimate(energy=float(dynamic + power * time / copies), time=float(time / copies))
