"""Cutting the layers of a network into cores within every limit of a chip.

Layers are cut into blocks (`neuro.blocks`) from the output backwards (`neuro.search`). For the fewest cores there are
two rules, and the better one counts. That of the NxTF compiler for Loihi (doi 10.1145/3501770) takes the first cut that
keeps all limits, in order of cores, then of channel groups, then of row bands. The other one also counts the cores that
the layers before must have to send to all of it: a layer in few groups is heard by few cores.
"""

from collections.abc import Callable
from math import inf
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float

from neuro.blocks import WHOLE, Parts
from neuro.capability import Realisation
from neuro.chip import Chip
from neuro.errors import DoesNotFit
from neuro.search import Choice, Cut, Pick, Search, Task
from neuro.wiring import Wiring

Objective: TypeAlias = Literal["cores", "traffic", "step"]

WIDER = 2
"""For the lowest traffic, cuts into up to this many times the fewest cores are looked at."""

NEARLY, STRIDE = 1.02, 1.4
"""The shortest step is found to the first factor, and looked for in strides of the second."""


def partition(
    wiring: Wiring, chip: Chip, realisation: Realisation, allow: bool = False,
    objective: Objective = "cores", spikes: dict[str, Float[np.ndarray, "neuron"]] | None = None,
) -> dict[str, Cut]:  # fmt: skip
    """Every layer within every limit, layers in their order.

    allow: a limit that no cut can keep is noted instead of refused.

    objective: ``cores``, the fewest; ``traffic``, the fewest packets a step; ``step``, the shortest step of the busiest
    core with all cores of as many chips as the fewest cores take. The last two go by `spikes`: mean spikes of every
    neuron in a run, by population; without them every neuron spikes equally often (``traffic`` only).

    Raises:
        DoesNotFit: the first limit that cannot be met, the need, and what to try. ValueError: ``step`` without spikes.
    """
    if objective == "step" and spikes is None:
        raise ValueError("the shortest step depends on the spikes; give their means from a run")
    search = _search(wiring, chip, realisation, allow, spikes)
    if objective == "traffic":
        return search.cuts(search.cut(_least_traffic))
    fewest = _fewest(search)
    if objective == "step" and not chip.whole_layers:
        return search.cuts(_shortest(search, fewest))
    return search.cuts(fewest)


def frontier(
    wiring: Wiring, chip: Chip, realisation: Realisation, spikes: dict[str, Float[np.ndarray, "neuron"]],
    allow: bool = False,
) -> list[dict[str, Cut]]:  # fmt: skip
    """From the fewest cores to the shortest step, each cut the fewest cores for half the time of the step before.

    One cut where limits are broken or a core holds a whole layer. See `partition` for `spikes`, `allow` and errors.
    """
    search = _search(wiring, chip, realisation, allow, spikes)
    fewest = _fewest(search)
    if chip.whole_layers or any(cut.broken for cut in fewest.values()):
        return [search.cuts(fewest)]
    shortest = _shortest(search, fewest)
    cores, least = _cores(search, fewest), max(search.times(shortest).values())
    seconds, between = max(search.times(fewest).values()) / 2, []
    while seconds > least * NEARLY:
        between.append(search.cut(_within(seconds), cores))
        seconds /= 2
    return [search.cuts(picks) for picks in (fewest, *between, shortest) if picks]


def bound(wiring: Wiring, chip: Chip, realisation: Realisation, cuts: dict[str, Cut] | None = None) -> int:
    """Cores that the limits ask for at least: over the layers, the largest ceil(need / capacity) of any limit.

    Needs are those of the whole layer as if on one core, with one axon out for each neuron and target layer; with
    `cuts`, one for each core that hears it. Where synapses are packed in rows the need is that of the whole layer's
    rows, which shorter indices on several cores can undercut.
    """
    total, search = 0, _search(wiring, chip, realisation, True, {})
    for layer in wiring.layers:
        demand = search.demand(layer)
        heard = [
            (cuts[t].inward[layer.name] > 0).sum(axis=0) if cuts else np.ones(layer.size)
            for t in search.targets[layer.name]
        ]
        needs = demand.whole([h.astype(float) for h in heard])
        if chip.memory:
            needs["synapse_memory"] = float(demand.memory(WHOLE)[0])
        total += demand.fewest(needs)
    return total


def step_time(
    wiring: Wiring, chip: Chip, realisation: Realisation, spikes: dict[str, Float[np.ndarray, "neuron"]],
    cuts: dict[str, Cut],
) -> dict[str, float]:  # fmt: skip
    """Seconds of the busiest core of each layer in a step, from mean spikes in a run and nominal prices."""
    return _search(wiring, chip, realisation, True, spikes).times(cuts)


def _search(wiring: Wiring, chip: Chip, realisation: Realisation, allow: bool, spikes: dict | None) -> Search:
    return Search(wiring, chip, realisation, allow, _rates(wiring, spikes))


def _rates(wiring: Wiring, spikes: dict[str, np.ndarray] | None) -> dict[str, np.ndarray]:
    """Spikes per step of the population's window."""
    windows = wiring.schedule.windows
    if spikes is None:
        return {layer.name: np.ones(layer.size) for layer in wiring.layers}
    silent = {layer.name: np.zeros(layer.size) for layer in wiring.layers}
    emits = [name for name in spikes if name in windows]  # a read-out has no window
    return silent | {name: spikes[name].reshape(-1) / max(1, windows[name].steps) for name in emits}


def _first(task: Task) -> Parts | None:
    """The first in order that keeps all limits."""
    return next((cut for cut in task.candidates() if task.breaks(cut) is None), None)


def _modest(task: Task) -> Parts | None:
    """The fewest cores that keep all limits, those that the layers before it are asked for included."""
    return _most_modest(task, lambda cut: task.breaks(cut) is None)


def _most_modest(task: Task, fits: Callable[[Parts], bool], fewest: int = 1, seconds: float = inf) -> Parts | None:
    """Of the cuts that fit, the first with which the layer and what it asks for come to the fewest cores."""
    least = task.asked(None, seconds)
    found, price = None, inf
    for cut in task.candidates(fewest):
        if found and cut.number + least >= price:
            break
        if found and cut.number + task.asked(cut, seconds) >= price:
            continue
        if fits(cut):
            found, price = cut, cut.number + task.asked(cut, seconds)
    return found


def _least_traffic(task: Task) -> Parts | None:
    """The fewest packets in, then the fewest cores."""
    first = _first(task)
    if first is None:
        return None
    each = [(float(task.demand.packets(cut).sum()), cut) for cut in task.candidates(first.number, WIDER * first.number)]
    return next(cut for _, cut in sorted(each, key=lambda t: t[0]) if task.breaks(cut) is None)


def _within(seconds: float) -> Choice:
    """The fewest cores that keep all limits and are done within `seconds` of a step, those before it included."""

    def choose(task: Task) -> Parts | None:
        def fits(cut: Parts) -> bool:
            if task.demand.step(cut, task.packets()).max() > seconds:  # what it sends to itself is left out: quick
                return False
            return bool(task.demand.step(cut, task.packets(cut)).max() <= seconds) and task.breaks(cut) is None

        return _most_modest(task, fits, int(min(task.demand.work(task.packets()) / seconds, task.cores)), seconds)

    return choose


def _fewest(search: Search) -> dict[str, Pick]:
    """The network cut by the rule, of two, that breaks no limit and takes fewer cores; the first where they are equal.

    Raises:
        DoesNotFit: neither finds cuts.
    """
    found, refusals = [], []
    for choose in (_first, _modest):
        try:
            found.append(search.cut(choose))
        except DoesNotFit as refusal:
            refusals.append(refusal)
    if not found:
        raise refusals[0]
    return min(found, key=lambda cuts: (any(c.broken for c in cuts.values()), sum(c.number for c in cuts.values())))


def _shortest(search: Search, fewest: dict[str, Pick]) -> dict[str, Pick]:
    """The shortest step that the cores allow, each layer on the fewest that meet it: by strides from the time in which
    all of them would do all of the work, then by bisection."""
    cores = _cores(search, fewest)
    work = sum(search.demand(layer).work(np.zeros(layer.size)) for layer in search.wiring.layers)
    slowest = max(search.times(fewest).values())
    best, high, low = fewest, slowest, max(work, slowest) / cores
    while high > low * NEARLY:
        middle = min(low * STRIDE, (high * low) ** 0.5)
        found = search.cut(_within(middle), cores)
        if found:
            best, high = found, min(middle, max(search.times(found).values()))
        else:
            low = middle
    return best


def _cores(search: Search, fewest: dict[str, Pick]) -> int:
    """All cores of as many chips as the fewest cores take; the clock neurons have one."""
    each, clock = int(search.chip.limits.cores.value), 1 if search.realisation.clock else 0
    return -(-(sum(cut.number for cut in fewest.values()) + clock) // each) * each - clock
