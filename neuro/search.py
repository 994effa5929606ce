"""The search for cuts of a network's layers: one layer after another from the output backwards, and what a cut costs.

Backwards, since what a neuron sends depends on how its targets are cut; what a cut asks of the layers before it is
known at once, from their needs as a whole. Which cut is taken is a `Choice`; `neuro.partition` has them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil, inf
from typing import TypeAlias

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

PASSES = 6
"""Times that a recurrent network is cut, each time with the cuts before it for what is not cut yet."""


@dataclass(frozen=True)
class Pick:
    """How a layer is cut; broken: limits that no cut of it can keep, in words (only where that was allowed)."""

    parts: Parts
    broken: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        """Cores of the layer."""
        return self.parts.number


@dataclass(frozen=True)
class Cut:
    """One layer over its own cores, numbered from 0.

    core [neuron]; inward: by source, synapses [core, neuron of the source]; used: by limit, per core. parts, broken:
    see `Pick`.
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


def _sent(chip: Chip, packets: np.ndarray) -> np.ndarray:
    """Packets that a spike takes at its sender."""
    return np.minimum(packets, 1.0) if chip.mesh.multicast else packets


Choice: TypeAlias = Callable[["Task"], Parts | None]
"""Picks a cut of one layer, or none if there is none to its liking."""


@dataclass(frozen=True, eq=False)
class Search:
    """What stays the same however often a network is cut."""

    wiring: Wiring
    chip: Chip
    realisation: Realisation
    allow: bool
    rates: dict[str, np.ndarray]
    demands: dict[str, Demand] = field(default_factory=dict)

    @cached_property
    def targets(self) -> dict[str, list[str]]:
        """The layers that hear each layer."""
        every = self.wiring.layers
        return {layer.name: [t.name for t in every if layer.name in t.sources] for layer in every}

    @property
    def room(self) -> int:
        """Cores that a layer can have."""
        return 1 if self.chip.whole_layers else int(self.chip.limits.cores.value) * self.chip.chips

    def demand(self, layer: Layer) -> Demand:
        if layer.name not in self.demands:
            self.demands[layer.name] = Demand(self.wiring, layer, self.chip, self.realisation, self.rates)
        return self.demands[layer.name]

    def cut(self, choose: Choice, cores: int | float = inf) -> dict[str, Pick]:
        """All layers by one choice; empty if a layer finds none, or all together need more than `cores`."""
        order = {layer.name: i for i, layer in enumerate(self.wiring.layers)}
        recurrent = any(order[s] > order[layer.name] for layer in self.wiring.layers for s in layer.sources)
        before, found = {}, {}
        for _ in range(PASSES if recurrent else 1):
            found = self._once(choose, before, cores)
            if not found or found == before:
                break
            before = found
        return found

    def cuts(self, picks: Mapping[str, Pick]) -> dict[str, Cut]:
        """All layers, in their order, over the cores that the picks come to."""
        return {layer.name: self._built(layer, picks) for layer in self.wiring.layers}

    def _built(self, layer: Layer, picks: Mapping[str, Pick]) -> Cut:
        demand, chosen = self.demand(layer), picks[layer.name].parts
        used = {
            "compartments": demand.compartments(chosen),
            "axons_in": demand.axons_in(chosen),
            "axons_out": demand.axons_out(chosen, self._reached(layer.name, picks)),
            "synapse_memory": demand.memory(chosen),
            "thresholds": demand.thresholds(chosen),
            "fan_in": np.full(chosen.number, float(layer.fan_in)),
            "kernel": np.full(chosen.number, float(layer.kernel)),
        }
        return Cut(demand.core(chosen), demand.inward(chosen), used, picks[layer.name].broken, chosen)

    def _reached(self, name: str, cuts: Mapping[str, Pick | Cut]) -> list[np.ndarray]:
        """By target layer of `name`, its cores that hear each neuron."""
        return [self.demand(self.wiring[t]).reached(cuts[t].parts, name) for t in self.targets[name]]

    def times(self, cuts: Mapping[str, Pick | Cut]) -> dict[str, float]:
        """See `step_time`."""
        found = {}
        for layer in self.wiring.layers:
            packets = np.sum([np.zeros(layer.size), *self._reached(layer.name, cuts)], axis=0)
            step = self.demand(layer).step(cuts[layer.name].parts, _sent(self.chip, packets))
            found[layer.name] = float(step.max())
        return found

    def _once(self, choose: Choice, before: dict[str, Pick], cores: int | float) -> dict[str, Pick]:
        cuts: dict[str, Pick] = {}
        for left, layer in reversed(list(enumerate(self.wiring.layers))):
            known = {name: cut.parts for name, cut in (before | cuts).items()}
            chosen = Task(self, layer, known, self.wiring.layers[:left], cores - left).solve(choose)
            if chosen is None:
                return {}
            cuts[layer.name] = chosen
            cores -= chosen.number
        return cuts


@dataclass(frozen=True, eq=False)
class Task:
    """One layer to cut. known: how others are cut, in this pass or the one before; left: layers that are cut after it
    in this pass; cores: that are left for it."""

    search: Search
    layer: Layer
    known: dict[str, Parts]
    left: tuple[Layer, ...]
    cores: int | float

    @property
    def demand(self) -> Demand:
        """What the layer asks for."""
        return self.search.demand(self.layer)

    @cached_property
    def reached(self) -> list[np.ndarray]:
        """By target layer that is cut, its cores that hear each neuron; without the layer itself."""
        return list(self._hearing(self.layer.name, {}).values())

    def solve(self, choose: Choice) -> Pick | None:
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
        return Pick(chosen, tuple(broken))

    @cached_property
    def hopeless(self) -> dict[str, str]:
        """Limits of single neurons, which no cut of the layer can bring down."""
        chip, layer, single = self.search.chip, self.layer, self.demand.single(self.reached)
        found = {}
        for limit, need in single.items():
            if need > allowed(chip, limit):
                found[limit] = _refusal(chip, layer, limit, need)
        return found

    def too_many(self) -> str:
        """That the layer fills more cores than there are, in words; empty where it does not."""
        needs = {k: v for k, v in self.demand.whole(self.reached).items() if k not in self.hopeless}
        cores, room, chip = self.demand.fewest(needs), self.search.room, self.search.chip
        if cores <= room or chip.whole_layers:
            return ""
        return (
            f"layer {self.layer.name!r} fills {cores:,} cores; {chip.name} has {room:,}. Use a smaller layer or "
            "another chip."
        )

    def candidates(self, fewest: int = 1, most: int | float = inf) -> list[Parts]:
        """Cuts to look at, in order: none with fewer cores than the needs of the whole layer fill."""
        needs = {k: v for k, v in self.demand.whole(self.reached).items() if k not in self.hopeless}
        lowest = min(self.demand.fewest(needs), self.search.room)
        return list(parts(self.layer.shape, max(lowest, fewest), min(most, self.cores, self.search.room)))

    def asked(self, cut: Parts | None = None, seconds: float = inf) -> float:
        """Cores that the layers before it fill if it is cut like that, and if their step is to take `seconds` at most;
        without a cut, whatever it is. Infinite where a neuron of theirs has more targets than it can have. No fewer do
        but where rows leave weights of zero out, some neurons then being heard by fewer cores than counted here."""
        total, chip = 0.0, self.search.chip
        for source in self.left:
            if source.name in self.layer.sources:
                demand = self.search.demand(source)
                here = np.ones(source.size) if cut is None else self.demand.heard(cut, source.name)
                reached = list(self._hearing(source.name, {self.layer.name: here}).values())
                if demand.sent(reached) > allowed(chip, "axons_out"):
                    return inf
                limits = demand.fewest(demand.whole(reached))
                work = demand.work(_sent(chip, np.sum(reached, axis=0))) if seconds < inf else 0.0
                total += max(limits, ceil(work / seconds))
        return total

    def _hearing(self, name: str, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """By target layer of `name`, its cores that hear each neuron: as given, or as it is cut."""
        targets, demands = self.search.targets[name], self.search.demands
        cut = {t: demands[t].reached(self.known[t], name) for t in targets if t in self.known and t != name}
        return cut | given

    def outward(self, cut: Parts) -> list[np.ndarray]:
        """By target layer, its cores that hear each neuron, the layer itself included where it is one."""
        if self.layer.name not in self.layer.sources:
            return self.reached
        return [*self.reached, self.demand.reached(cut, self.layer.name)]

    def breaks(self, cut: Parts) -> tuple[str, float] | None:
        """The first limit that the cut does not keep and the need of the core that needs most; cheap ones first."""
        chip, demand, skip = self.search.chip, self.demand, self.hopeless
        for limit, room, use in (
            ("compartments", allowed(chip, "compartments"), demand.compartments),
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
