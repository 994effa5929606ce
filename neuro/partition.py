"""Cutting the layers of a network into cores within every limit of a chip.

Layers are cut into blocks (`neuro.blocks`) from the output backwards, since what a neuron sends depends on how its
targets are cut. The rule for the fewest cores is that of the NxTF compiler for Loihi (doi 10.1145/3501770): the first
cut that keeps all limits, in order of cores, then of channel groups, then of row bands.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float, Int

from neuro.blocks import WHOLE, Parts, parts
from neuro.capability import Realisation
from neuro.chip import Chip
from neuro.demand import Demand, allowed
from neuro.errors import DoesNotFit
from neuro.wiring import Layer, Wiring

LIMITS = ("compartments", "axons_in", "axons_out", "synapse_memory", "thresholds", "fan_in", "kernel")
"""What is held against a limit on every core."""

Objective: TypeAlias = Literal["cores", "traffic", "step"]
PASSES = 6
"""Times that a recurrent network is cut, each time with the cuts before it for what is not cut yet."""

WIDER = 2
"""For the lowest traffic, cuts into up to this many times the fewest cores are looked at."""

NEARLY = 1.02
"""The shortest step is found to this factor."""


@dataclass(frozen=True)
class Cut:
    """One layer over its own cores, numbered from 0.

    core [neuron]; inward: by source, synapses [core, neuron of the source]; used: by limit, per core. broken: limits
    that no cut can keep, in words (only where that was allowed). parts: how it was cut.
    """

    core: Int[np.ndarray, "neuron"]
    inward: dict[str, Float[np.ndarray, "core source"]]
    used: dict[str, Float[np.ndarray, "core"]]
    broken: tuple[str, ...] = ()
    parts: Parts = WHOLE

    @property
    def number(self) -> int:
        """Cores of the layer."""
        return int(self.core.max()) + 1


def partition(
    wiring: Wiring, chip: Chip, realisation: Realisation, most: int | None = None, allow: bool = False,
    objective: Objective = "cores", spikes: dict[str, Float[np.ndarray, "neuron"]] | None = None,
) -> dict[str, Cut]:  # fmt: skip
    """Every layer within every limit, layers in their order.

    most: compartments to put on one core at most, below the chip's own limit: fewer make steps shorter. allow: a limit
    that no cut can keep is noted instead of refused.

    objective: ``cores``, the fewest; ``traffic``, the fewest packets a step; ``step``, the shortest step of the busiest
    core with all cores of as many chips as the fewest cores take. The last two go by `spikes`: mean spikes of every
    neuron in a run, by population; without them every neuron spikes equally often (``traffic`` only).

    Raises:
        DoesNotFit: the first limit that cannot be met, the need, and what to try. ValueError: ``step`` without spikes.
    """
    if objective == "step" and spikes is None:
        raise ValueError("the shortest step depends on the spikes; give their means from a run")
    capacity = float(min(chip.limits.compartments.value, most or inf))
    search = _Search(wiring, chip, realisation, capacity, allow, _rates(wiring, spikes))
    fewest = search.cut(_first)
    if objective == "traffic":
        fewest = search.cut(_least_traffic)
    if objective == "step" and not chip.whole_layers:
        fewest = _shortest(search, fewest)
    return {layer.name: fewest[layer.name] for layer in wiring.layers}


def bound(wiring: Wiring, chip: Chip, realisation: Realisation, cuts: dict[str, Cut] | None = None) -> int:
    """Cores that the limits ask for at least: over the layers, the largest ceil(need / capacity) of any limit.

    Needs are those of the whole layer as if on one core, with one axon out for each neuron and target layer; with
    `cuts`, one for each core that hears it. Where synapses are packed in rows the need is that of the whole layer's
    rows, which shorter indices on several cores can undercut.
    """
    total = 0
    for layer in wiring.layers:
        demand = Demand(wiring, layer, chip, realisation)
        heard = [
            (cuts[t].inward[layer.name] > 0).sum(axis=0) if cuts else np.ones(layer.size)
            for t in _targets(wiring)[layer.name]
        ]
        needs = demand.whole([h.astype(float) for h in heard])
        if chip.memory:
            needs["synapse_memory"] = float(demand.memory(WHOLE)[0])
        total += demand.fewest(needs, chip.limits.compartments.value)
    return total


def step_time(
    wiring: Wiring, chip: Chip, realisation: Realisation, spikes: dict[str, Float[np.ndarray, "neuron"]],
    cuts: dict[str, Cut],
) -> dict[str, float]:  # fmt: skip
    """Seconds of the busiest core of each layer in a step, from mean spikes in a run and nominal prices."""
    return _Search(wiring, chip, realisation, inf, True, _rates(wiring, spikes)).times(cuts)


def _rates(wiring: Wiring, spikes: dict[str, np.ndarray] | None) -> dict[str, np.ndarray]:
    """Spikes per step of the population's window."""
    windows = wiring.schedule.windows
    if spikes is None:
        return {layer.name: np.ones(layer.size) for layer in wiring.layers}
    silent = {layer.name: np.zeros(layer.size) for layer in wiring.layers}
    emits = [name for name in spikes if name in windows]  # a read-out has no window
    return silent | {name: spikes[name].reshape(-1) / max(1, windows[name].steps) for name in emits}


def _targets(wiring: Wiring) -> dict[str, list[str]]:
    return {layer.name: [t.name for t in wiring.layers if layer.name in t.sources] for layer in wiring.layers}


def _sent(chip: Chip, packets: np.ndarray) -> np.ndarray:
    """Packets that a spike takes at its sender."""
    return np.minimum(packets, 1.0) if chip.mesh.multicast else packets


Choice: TypeAlias = Callable[["_Task"], Parts | None]
"""Picks a cut of one layer, or none if there is none to its liking."""


@dataclass(frozen=True, eq=False)
class _Search:
    """What stays the same however often a network is cut."""

    wiring: Wiring
    chip: Chip
    realisation: Realisation
    capacity: float
    allow: bool
    rates: dict[str, np.ndarray]
    demands: dict[str, Demand] = field(default_factory=dict)

    @property
    def room(self) -> int:
        """Cores that a layer can have."""
        return 1 if self.chip.whole_layers else int(self.chip.limits.cores.value) * self.chip.chips

    def demand(self, layer: Layer) -> Demand:
        if layer.name not in self.demands:
            self.demands[layer.name] = Demand(self.wiring, layer, self.chip, self.realisation, self.rates)
        return self.demands[layer.name]

    def cut(self, choose: Choice, cores: int | float = inf) -> dict[str, Cut]:
        """All layers by one choice; empty if a layer finds none, or all together need more than `cores`."""
        order = {layer.name: i for i, layer in enumerate(self.wiring.layers)}
        recurrent = any(order[s] > order[layer.name] for layer in self.wiring.layers for s in layer.sources)
        before, found = {}, {}
        for _ in range(PASSES if recurrent else 1):
            found = self._once(choose, before, cores)
            if not found or {n: c.parts for n, c in found.items()} == {n: c.parts for n, c in before.items()}:
                break
            before = found
        return {name: self._as_sent(name, found) for name in found} if recurrent else found

    def _as_sent(self, name: str, cuts: dict[str, Cut]) -> Cut:
        """The cut with its axons out as all targets are cut in the end."""
        reached = [self.demands[t].reached(cuts[t].parts, name) for t in _targets(self.wiring)[name]]
        out = self.demand(self.wiring[name]).axons_out(cuts[name].parts, reached)
        return replace(cuts[name], used=cuts[name].used | {"axons_out": out})

    def times(self, cuts: dict[str, Cut]) -> dict[str, float]:
        """See `step_time`."""
        found = {}
        for name, targets in _targets(self.wiring).items():
            reached = [self.demand(self.wiring[t]).reached(cuts[t].parts, name) for t in targets]
            packets = np.sum([np.zeros(self.wiring[name].size), *reached], axis=0)
            found[name] = float(self.demand(self.wiring[name]).step(cuts[name].parts, _sent(self.chip, packets)).max())
        return found

    def _once(self, choose: Choice, before: dict[str, Cut], cores: int | float) -> dict[str, Cut]:
        targets, cuts = _targets(self.wiring), {}
        for left, layer in reversed(list(enumerate(self.wiring.layers))):
            known = {t: cuts.get(t) or before.get(t) for t in targets[layer.name] if t != layer.name}
            reached = [self.demands[t].reached(c.parts, layer.name) for t, c in known.items() if c is not None]
            task = _Task(self, layer, self.demand(layer), reached, cores - left)
            chosen = task.solve(choose)
            if chosen is None:
                return {}
            cuts[layer.name] = chosen
            cores -= chosen.number
        return cuts


@dataclass(frozen=True, eq=False)
class _Task:
    """One layer to cut, in the light of the layers that hear it. reached: by target layer, cores that hear each
    neuron; cores: that are left for it."""

    search: _Search
    layer: Layer
    demand: Demand
    reached: list[np.ndarray]
    cores: int | float

    def solve(self, choose: Choice) -> Cut | None:
        """The cut chosen.

        Raises:
            DoesNotFit: where no cut keeps the limits, unless that is allowed or fewer cores than the chip's were given.
        """
        search, chip, layer = self.search, self.search.chip, self.layer
        broken = list(self.hopeless.values())
        if broken and not search.allow:
            raise DoesNotFit(broken[0])
        chosen = choose(self)
        if chosen is None:
            if self.cores < inf:
                return None
            chosen, limit, value = self.least_broken()
            refusal = self.too_many() or _refusal(chip, layer, limit, value)
            if not search.allow:
                raise DoesNotFit(refusal)
            broken.append(refusal)
        return self.cut(chosen, tuple(broken))

    @cached_property
    def hopeless(self) -> dict[str, str]:
        """Limits of single neurons, which no cut of the layer can bring down."""
        chip, layer, single = self.search.chip, self.layer, self.demand.single(self.reached)
        found = {}
        for limit, need in single.items():
            room = self.search.capacity if limit == "compartments" else allowed(chip, limit)
            if need > room:
                found[limit] = _refusal(chip, layer, limit, need)
        return found

    def too_many(self) -> str:
        """That the layer fills more cores than there are, in words; empty where it does not."""
        needs = {k: v for k, v in self.demand.whole(self.reached).items() if k not in self.hopeless}
        cores, room, chip = self.demand.fewest(needs, self.search.capacity), self.search.room, self.search.chip
        if cores <= room or chip.whole_layers:
            return ""
        return (
            f"layer {self.layer.name!r} fills {cores:,} cores; {chip.name} has {room:,}. Use a smaller layer or "
            "another chip."
        )

    def candidates(self, fewest: int = 1, most: int | float = inf) -> list[Parts]:
        """Cuts to look at, in order: none with fewer cores than the needs of the whole layer fill."""
        needs = {k: v for k, v in self.demand.whole(self.reached).items() if k not in self.hopeless}
        lowest = min(self.demand.fewest(needs, self.search.capacity), self.search.room)
        return list(parts(self.layer.shape, max(lowest, fewest), min(most, self.cores, self.search.room)))

    def outward(self, cut: Parts) -> list[np.ndarray]:
        """By target layer, its cores that hear each neuron, the layer itself included where it is one."""
        if self.layer.name not in self.layer.sources:
            return self.reached
        return [*self.reached, self.demand.reached(cut, self.layer.name)]

    def breaks(self, cut: Parts) -> tuple[str, float] | None:
        """The first limit that the cut does not keep and the need of the core that needs most; cheap ones first."""
        chip, demand, skip = self.search.chip, self.demand, self.hopeless
        for limit, room, use in (
            ("compartments", self.search.capacity, demand.compartments),
            ("axons_out", allowed(chip, "axons_out"), lambda cut: demand.axons_out(cut, self.outward(cut))),
            ("synapse_memory", allowed(chip, "synapse_memory"), demand.memory),
            ("thresholds", allowed(chip, "thresholds"), demand.thresholds),
        ):
            if limit not in skip and room < inf and (need := float(use(cut).max())) > room:
                return limit, need
        if "axons_in" not in skip and (heard := demand.hears_too_much(cut)) is not None:
            return "axons_in", heard
        if "synapse_memory" not in skip and not demand.fits_rows(cut):
            return "compartments", float(demand.compartments(cut).max())
        return None

    def least_broken(self) -> tuple[Parts, str, float]:
        """Where none keeps all limits, the cut that exceeds one by the least."""
        chip = self.search.chip
        tried = []
        for cut in self.candidates(most=max(4 * allowed(chip, "cores"), 1)) or [WHOLE]:
            limit, need = self.breaks(cut) or ("compartments", float(self.layer.slots))
            tried.append((need / allowed(chip, limit), cut, limit, need))
        _, cut, limit, need = min(tried, key=lambda t: t[0])
        return cut, limit, need

    def packets(self, cut: Parts | None = None) -> np.ndarray:
        """Packets that a spike of each neuron takes, those to the layer itself only if it is cut."""
        reached = self.reached if cut is None else self.outward(cut)
        return _sent(self.search.chip, np.sum([np.zeros(self.layer.size), *reached], axis=0))

    def cut(self, chosen: Parts, broken: tuple[str, ...]) -> Cut:
        demand, number = self.demand, chosen.number
        used = {
            "compartments": demand.compartments(chosen),
            "axons_in": demand.axons_in(chosen),
            "axons_out": demand.axons_out(chosen, self.outward(chosen)),
            "synapse_memory": demand.memory(chosen),
            "thresholds": demand.thresholds(chosen),
            "fan_in": np.full(number, float(self.layer.fan_in)),
            "kernel": np.full(number, float(self.layer.kernel)),
        }
        return Cut(demand.core(chosen), demand.inward(chosen), used, broken, chosen)


def _refusal(chip: Chip, layer: Layer, limit: str, need: float) -> str:
    """Why one neuron asks for more than a core allows, in words."""
    room = f"{allowed(chip, limit):,.0f}"
    match limit:
        case "axons_in":
            return (
                f"a neuron of layer {layer.name!r} hears {need:,.0f} axons in; a core of {chip.name} allows {room}. "
                "Use a layer with fewer inputs, or a pool before it."
            )
        case "fan_in":
            return (
                f"a neuron of layer {layer.name!r} has {need:,.0f} synapses; {chip.name} allows {room}. "
                "Spikes carry no partial sums; use a layer with fewer inputs, or prune it."
            )
        case "kernel":
            return f"layer {layer.name!r} has windows of {need:.0f}; {chip.name} allows {room}. Use smaller kernels."
    return (
        f"layer {layer.name!r} needs {need:,.0f} {limit.replace('_', ' ')} on one core however it is split; "
        f"{chip.name} allows {room}. Use a smaller layer, fewer weight bits or another chip."
    )


def _first(task: _Task) -> Parts | None:
    """The first in order that keeps all limits."""
    return next((cut for cut in task.candidates() if task.breaks(cut) is None), None)


def _least_traffic(task: _Task) -> Parts | None:
    """The fewest packets in, then the fewest cores."""
    first = _first(task)
    if first is None:
        return None
    each = [(float(task.demand.packets(cut).sum()), cut) for cut in task.candidates(first.number, WIDER * first.number)]
    return next(cut for _, cut in sorted(each, key=lambda t: t[0]) if task.breaks(cut) is None)


def _within(seconds: float) -> Choice:
    """The first in order that keeps all limits and is done within `seconds` of a step."""

    def choose(task: _Task) -> Parts | None:
        work = task.demand.work(task.packets())
        for cut in task.candidates(int(min(work / seconds, task.cores))):
            if task.demand.step(cut, task.packets()).max() > seconds:  # what it sends to itself is left out: quick
                continue
            if task.demand.step(cut, task.packets(cut)).max() <= seconds and task.breaks(cut) is None:
                return cut
        return None

    return choose


def _shortest(search: _Search, fewest: dict[str, Cut]) -> dict[str, Cut]:
    """Bisection on the time of a step: the shortest that the cores allow, each layer on the fewest that meet it."""
    chip, clock = search.chip, 1 if search.realisation.clock else 0
    each = int(chip.limits.cores.value)
    taken = sum(cut.number for cut in fewest.values()) + clock
    cores = -(-taken // each) * each - clock
    slowest = max(search.times(fewest).values())
    best, high, low = fewest, slowest, slowest / cores
    while high > low * NEARLY:
        middle = (high * low) ** 0.5
        found = search.cut(_within(middle), cores)
        if found:
            best, high = found, min(middle, max(search.times(found).values()))
        else:
            low = middle
    return best
