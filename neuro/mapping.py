"""Choosing how far to spread a network over the cores of a chip."""

from dataclasses import dataclass
from math import log2

import numpy as np
from jaxtyping import Float

from neuro.capability import Realisation
from neuro.chip import Chip
from neuro.count import MOST_LEVELS
from neuro.errors import DoesNotFit
from neuro.graph import Graph
from neuro.loads import compartments_swept, core_prices
from neuro.placement import Placement, place
from neuro.stages import Reach, fan_out

FEWEST_PER_CORE = 16


@dataclass(frozen=True)
class Estimate:
    """Energy (J) and time (s) per inference of a placement from mean spike counts, for ranking placements only."""

    energy: float
    time: float


def search(
    graph: Graph,
    chip: Chip,
    realisation: Realisation,
    spikes: dict[str, Float[np.ndarray, "neuron"]],
    reach: Reach | None = None,
) -> dict[str, Placement]:
    """The best of a ladder of placements by regime: ``single`` by energy-delay product, ``stream`` by energy.

    The ladder halves the neurons on a core until the chip is full. spikes: mean spikes per inference of every neuron,
    by population, from a pilot run. reach: what `fan_out` gave for the graph, if it is at hand.

    Raises:
        DoesNotFit: not even the densest placement does.
    """
    reach = reach or fan_out(graph)
    ladder = [place(graph, chip, realisation, reach=reach)]
    most = int(chip.limits.compartments.value)
    while (most := most // 2) >= FEWEST_PER_CORE:
        try:
            rung = place(graph, chip, realisation, most, reach)
        except DoesNotFit:
            break
        if rung.number != ladder[-1].number:
            ladder.append(rung)

    def delay_product(p: Placement) -> float:
        e = estimate(p, spikes, "single")
        return e.energy * e.time

    best = {"single": min(ladder, key=delay_product)}
    if realisation.streams:
        best["stream"] = min(ladder, key=lambda p: estimate(p, spikes, "stream").energy)
    return best


def estimate(placement: Placement, spikes: dict[str, Float[np.ndarray, "neuron"]], regime: str) -> Estimate:
    """Energy and time from mean loads: the slowest core's sweep in every step, and the mean of its messages.

    Hops and clock packets are left out, and all synapses priced as shared kernels: enough to rank placements.
    """
    chip, schedule = placement.chip, placement.graph.schedule
    assert schedule is not None
    prices = core_prices(placement)
    sweep = compartments_swept(placement)
    load = np.zeros((placement.number, 4))
    for name, mean in spikes.items():
        np.add.at(load[:, 0], placement.core[name], mean)
        for fan in placement.fans:
            if fan.source == name:
                hears = fan.synapses > 0
                np.add.at(load[:, 1], placement.core[name], mean * hears.sum(axis=0))
                targets = placement.cores_of(fan.target)
                load[targets.start : targets.stop, 2] += hears @ mean
                load[targets.start : targets.stop, 3] += fan.synapses @ mean
    busy = (load * prices[:, :4]).sum(axis=1)
    barrier = chip.time.barrier.value + chip.time.barrier_level.value * min(MOST_LEVELS, log2(placement.tiles))
    step = float((sweep * prices[:, 4]).max()) + barrier + (chip.time.management.value if chip.time.management else 0)
    steps = schedule.total if regime == "single" else schedule.period(placement.realisation.membranes > 1)
    apart = regime == "single" and schedule.code != "rate"  # windows follow each other, so their waits add up
    waits = [busy[placement.cores_of(n).start : placement.cores_of(n).stop].max() for n in placement.core]
    time = steps * step + (sum(waits) if apart else max(waits))
    copies = 1 if regime == "single" else placement.copies
    static = next(iter(chip.power.values()))  # at whichever boundary comes first: placements are only ranked
    update = getattr(chip.energy, placement.realisation.update).value
    dynamic = sweep.sum() * steps * update + load.sum(axis=0) @ np.array(
        [chip.energy.spike.value, chip.energy.axon_out.value, 0.0, chip.energy.synop_conv.value]
    )
    return Estimate(energy=float(dynamic + static.active.value * time / copies), time=float(time / copies))
