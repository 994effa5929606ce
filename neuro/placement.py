"""Which neuron sits on which core of which chip, and how many synapses every source has onto every core."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from neuro.assignment import assigned
from neuro.capability import Realisation
from neuro.chip import Chip
from neuro.demand import allowed, event, stored
from neuro.errors import DoesNotFit
from neuro.partition import Objective, frontier, partition
from neuro.schedule import Schedule
from neuro.search import LIMITS, Cut
from neuro.topology import Topology, stop
from neuro.topology import chip as chip_of
from neuro.wiring import Wiring


@dataclass(frozen=True)
class Fan:
    """Synapses from every neuron of `source` onto the cores of `target`: [core of the target, neuron].

    cores: which cores these are. event: what one of the synapses counts as when a spike meets it.
    """

    source: str
    target: str
    cores: Int[np.ndarray, "core"]
    synapses: Float[np.ndarray, "core neuron"]
    event: str


@dataclass(frozen=True)
class Placement:
    """A network on one chip, or on several that are joined.

    core [neuron]: the core of each neuron, by population. site [core]: where each core lies, see `Topology`.
    compartments: of one neuron, by population; swept [core]: compartments that a core sweeps in every step. formats:
    how a population's synapses are stored. used, limits: per core, by limit. number: cores that hold something.
    occupied: cores in use, which a chip that is only priced has by its totals. inputs, outputs: values that the host
    writes and reads for a sample. gated: populations that clock axons open and close. violations: limits that do not
    hold, in words, where that was allowed.
    """

    chip: Chip
    name: str
    realisation: Realisation
    schedule: Schedule
    core: dict[str, Int[np.ndarray, "neuron"]]
    site: Int[np.ndarray, "core"]
    compartments: dict[str, int]
    swept: Float[np.ndarray, "core"]
    formats: dict[str, str]
    fans: tuple[Fan, ...]
    used: dict[str, Float[np.ndarray, "core"]]
    limits: dict[str, Float[np.ndarray, "core"]]
    number: int
    occupied: float
    topology: Topology
    inputs: int
    outputs: int
    gated: tuple[str, ...] = ()
    violations: tuple[str, ...] = field(default=())

    def cores_of(self, population: str) -> Int[np.ndarray, "core"]:
        """The cores of a population, in ascending order."""
        return np.unique(self.core[population])

    @property
    def chips(self) -> int:
        """Chips that hold at least one core."""
        return len(np.unique(chip_of(self.topology, self.site)))

    @property
    def tiles(self) -> int:
        """Routers of one chip with at least one core in use, on the chip with the most of them."""
        routers = np.unique(stop(self.topology, self.site))
        return int(np.bincount(routers // self.topology.stops).max())

    @property
    def chip_span(self) -> int:
        """Chip borders between the two chips in use that are furthest apart."""
        on = np.unique(chip_of(self.topology, self.site))
        column, row = on % self.topology.chip_columns, on // self.topology.chip_columns
        return int(np.ptp(column) + np.ptp(row))

    @property
    def copies(self) -> int:
        """How many such networks one chip holds side by side; 1 where a network takes more than one chip."""
        return max(1, int(self.chip.limits.cores.value // self.occupied))

    def machines(self, copies: int = 1) -> float:
        """Chips whose power at rest `copies` of the network pay: those in use, or the share of one that is."""
        if self.chip.pace.static == "used cores":
            return copies * self.occupied / self.chip.limits.cores.value
        return float(self.chips)


def place(
    wiring: Wiring, chip: Chip, realisation: Realisation, allow: bool = False,
    objective: Objective = "cores", spikes: dict[str, Float[np.ndarray, "neuron"]] | None = None,
) -> Placement:  # fmt: skip
    """The network cut by `objective` (see `partition`), cores numbered along the chip in the order of the layers.

    allow: limits that do not hold are noted in the placement instead of
    refused. spikes: mean spikes of every neuron in a run, which objectives go by. A chip that is only priced holds its
    totals against those of the chip.

    Raises:
        DoesNotFit: the first limit that cannot be met, the need, and what to try.
    """
    return _cut(
        wiring, chip, realisation, allow, lambda: [partition(wiring, chip, realisation, allow, objective, spikes)]
    )[0]


def ladder(
    wiring: Wiring, chip: Chip, realisation: Realisation, spikes: dict[str, Float[np.ndarray, "neuron"]],
    allow: bool = False,
) -> list[Placement]:  # fmt: skip
    """Placements from the fewest cores to the shortest step (see `neuro.partition.frontier`); otherwise as `place`."""
    return _cut(wiring, chip, realisation, allow, lambda: frontier(wiring, chip, realisation, spikes, allow))


def _cut(
    wiring: Wiring, chip: Chip, realisation: Realisation, allow: bool, cut: Callable[[], list[dict[str, Cut]]]
) -> list[Placement]:
    """A placement of each of the cuts: of the first in any case, of others where they fit."""
    violations = _misfits(wiring, chip, realisation)
    if chip.scope == "priced":
        return [_whole(wiring, chip, realisation, violations, allow)]
    if violations and not allow:
        raise DoesNotFit(violations[0])
    first, *others = cut()
    broken = violations + [limit for each in first.values() for limit in each.broken]
    placed = [assemble(wiring, chip, realisation, first, broken, allow)]
    for cuts in others:
        try:
            placed.append(assemble(wiring, chip, realisation, cuts, list(violations)))
        except DoesNotFit:
            continue
    return placed


def topology_of(chip: Chip, chips: int) -> Topology:
    """The network of `chips` chips in rows of `mesh.chips_wide`."""
    mesh = chip.mesh
    wide = min(chips, int(mesh.chips_wide.value) if mesh.chips_wide else chips)
    return Topology(
        kind=mesh.topology,
        columns=int(mesh.width.value),
        rows=int(mesh.height.value),
        cores_per_router=int(mesh.cores_per_router.value),
        fan_out=int(mesh.width.value) if mesh.topology == "tree" else None,
        chip_columns=wide,
        chip_rows=ceil(chips / wide),
        cores=int(chip.limits.cores.value),
    )


def assemble(
    wiring: Wiring, chip: Chip, realisation: Realisation, cuts: dict[str, Cut], violations: list[str],
    allow: bool = False,
) -> Placement:  # fmt: skip
    """A placement from the cuts of all layers, each on cores of its own."""
    first, start = 0, {}
    for name, cut in cuts.items():
        start[name], first = first, first + cut.number
    used = {limit: np.concatenate([cut.used[limit] for cut in cuts.values()]) for limit in LIMITS}
    core = {name: cut.core + start[name] for name, cut in cuts.items()}
    here = {name: start[name] + np.arange(cut.number) for name, cut in cuts.items()}
    inward = {name: cut.inward for name, cut in cuts.items()}
    return _placed(wiring, chip, realisation, core, here, inward, used, violations, allow)


def place_at(
    wiring: Wiring, chip: Chip, realisation: Realisation, core: dict[str, Int[np.ndarray, "neuron"]],
    allow: bool = False,
) -> Placement:  # fmt: skip
    """The network with every neuron on the core that `core` gives it, by population; populations may share cores.

    Cores are counted from 0 and none is left out. allow: limits that do not hold are noted instead of refused.

    Raises:
        BadInput: a population without cores, a wrong number of them, or an empty core. DoesNotFit: as `place`.
    """
    violations = _misfits(wiring, chip, realisation)
    if violations and not allow:
        raise DoesNotFit(violations[0])
    shared = assigned(wiring, chip, realisation, core)
    return _placed(wiring, chip, realisation, core, shared.cores, shared.inward, shared.used, violations, allow)


def _placed(
    wiring: Wiring, chip: Chip, realisation: Realisation, core: dict[str, np.ndarray], here: dict[str, np.ndarray],
    inward: dict[str, dict[str, np.ndarray]], used: dict[str, np.ndarray], violations: list[str], allow: bool,
) -> Placement:  # fmt: skip
    """A placement whose limits hold. here: cores of each population; inward: synapses onto them, by source."""
    number = len(used["compartments"])
    clock = 1 if realisation.clock else 0  # the clock neurons get a core of their own, the last one
    number += clock
    if clock:
        used = _with_clock(used, realisation, sum(len(here[layer.name]) for layer in wiring.layers if layer.gated))
    room = int(chip.limits.cores.value) * chip.chips
    if number > room:
        widest = max(here, key=lambda name: len(here[name]))
        over = (
            f"{wiring.name} needs {number} cores; {chip.name} has {room}. "
            f"Layer {widest!r} alone takes {len(here[widest])}; try a smaller network."
        )
        if allow and not chip.prices_energy("chip_hop"):
            raise DoesNotFit(f"{over} What crossing to a second chip would cost is not known of this one.")
        violations.append(over)
    capacity = {limit: np.full(number, allowed(chip, limit)) for limit in LIMITS}
    site = np.arange(number)
    if chip.core_kinds:
        site, capacity = _on_kinds(chip, used, capacity, violations)
    for limit in LIMITS:
        if (over := used[limit] > capacity[limit]).any() and not any(limit.replace("_", " ") in v for v in violations):
            violations.append(
                f"a core needs {used[limit].max():,.0f} {limit.replace('_', ' ')}; a core of {chip.name} allows "
                f"{capacity[limit][over.argmax()]:,.0f}. Use fewer cores or fewer bits."
            )
    if chip.limits.destinations is not None:
        violations += _too_many_destinations(chip, core, here, inward)
    if violations and not allow:
        raise DoesNotFit(violations[0])
    swept = np.zeros(number)
    for layer in wiring.layers:
        np.add.at(swept, core[layer.name], layer.compartments)
    if clock:
        swept[-1] += 2 * realisation.clock + realisation.clock_bias
    return Placement(
        chip=chip,
        name=wiring.name,
        realisation=realisation,
        schedule=wiring.schedule,
        core=core,
        site=site,
        compartments={layer.name: layer.compartments for layer in wiring.layers},
        swept=swept,
        formats={layer.name: stored(chip, layer) for layer in wiring.layers},
        fans=tuple(
            Fan(source, layer.name, here[layer.name], synapses, event(chip, realisation, layer))
            for layer in wiring.layers
            for source, synapses in inward[layer.name].items()
        ),
        used=used,
        limits=capacity,
        number=number,
        occupied=float(number),
        topology=topology_of(chip, max(1, ceil(number / chip.limits.cores.value))),
        inputs=wiring.inputs,
        outputs=wiring.outputs,
        gated=tuple(layer.name for layer in wiring.layers if layer.gated),
        violations=tuple(dict.fromkeys(violations)),
    )


def _too_many_destinations(
    chip: Chip, core: dict[str, np.ndarray], here: dict[str, np.ndarray], inward: dict[str, dict[str, np.ndarray]]
) -> list[str]:
    """Populations one of whose cores sends to more cores than the chip can address, in words."""
    targets: dict[tuple[str, int], set[int]] = {}
    for target, sources in inward.items():
        for source, synapses in sources.items():
            for k, hears in zip(here[target].tolist(), synapses > 0, strict=True):
                for own in np.unique(core[source][hears]).tolist():
                    targets.setdefault((source, own), set()).add(k)
    most = {source: 0 for source, _ in targets}
    for (source, _), reached in targets.items():
        most[source] = max(most[source], len(reached))
    return [
        f"a core of layer {source!r} sends to {number} cores; {chip.name} allows {allowed(chip, 'destinations'):,.0f}. "
        "Use a network without that branch, or layers on fewer cores."
        for source, number in most.items()
        if number > allowed(chip, "destinations")
    ]


def _misfits(wiring: Wiring, chip: Chip, realisation: Realisation) -> list[str]:
    """Formats, delays and neurons that the chip does not have, in words."""
    found = [f"{chip.name} lacks {realisation.missing}. Try another code or chip."] if realisation.missing else []
    layer, bits = wiring.state
    if bits > chip.limits.state_bits.value:
        found.append(
            f"layer {layer!r} needs {bits} bits of state; {chip.name} has {int(chip.limits.state_bits.value)}. "
            "Lower --input-levels, --levels or --weight-bits."
        )
    for each in wiring.layers:
        if each.weight_bits > chip.limits.weight_bits.value:
            found.append(
                f"layer {each.name!r} has {each.weight_bits}-bit weights; {chip.name} stores "
                f"{int(chip.limits.weight_bits.value)}. Lower --weight-bits."
            )
        if each.receptors > 1 and not chip.neuron.program:
            found.append(
                f"layer {each.name!r} has neurons of {each.receptors} synaptic currents; {chip.name} is described with "
                "one a neuron. Use one decay for all of them, or a chip whose neurons run a program."
            )
    for (source, target), delay in wiring.schedule.delays.items():
        if delay > allowed(chip, "delay"):
            found.append(
                f"the edge from {source!r} to {target!r} waits {delay} steps; {chip.name} delays at most "
                f"{int(allowed(chip, 'delay'))}. Use a code with shorter windows."
            )
    return found


def _with_clock(used: dict[str, np.ndarray], realisation: Realisation, gated: int) -> dict[str, np.ndarray]:
    lines = 2 * realisation.clock + realisation.clock_bias
    need = {"compartments": lines, "axons_out": lines * gated}
    return {limit: np.append(values, float(need.get(limit, 0))) for limit, values in used.items()}


def _on_kinds(
    chip: Chip, used: dict[str, np.ndarray], capacity: dict[str, np.ndarray], violations: list[str]
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Sites and capacities where cores differ: each core on one that holds it, the tightest such."""
    kinds = [kind for kind in chip.core_kinds for _ in range(int(kind.cores.value))]
    tight = ("compartments", "synapse_memory")
    room = {limit: np.array([getattr(kind, limit).value for kind in kinds]) for limit in tight}
    over = [used[limit][:, None] / room[limit][None, :] for limit in tight]
    cost = np.where(np.maximum(*over) > 1, 1e6 * np.maximum(*over), 1.0 - np.minimum(*over))
    number = len(cost)
    if number > len(kinds):
        return np.arange(number), capacity
    rows, columns = linear_sum_assignment(cost)
    if (cost[rows, columns] >= 1e6).any():
        bad = rows[(cost[rows, columns] >= 1e6).argmax()]
        limit = max(tight, key=lambda name: used[name][bad] / room[name].max())
        violations.append(
            f"a layer needs {used[limit][bad]:,.0f} {limit.replace('_', ' ')}; no free core of {chip.name} has as much "
            f"(the largest: {room[limit].max():,.0f}). Use smaller layers, or another order of sizes."
        )
    return columns, capacity | {limit: room[limit][columns] for limit in tight}


def _whole(
    wiring: Wiring, chip: Chip, realisation: Realisation, violations: list[str], allow: bool
) -> Placement:  # fmt: skip
    """A network on a chip of which only totals are known: one core that stands for all of them."""
    neurons = sum(layer.size * layer.slots for layer in wiring.layers)
    fans, weights = [], 0.0
    for layer in wiring.layers:
        if not layer.sources:
            continue
        everybody = np.ones((1, *layer.shape))
        inward = wiring.reach(layer.name, everybody)
        weights += float(layer.kept.neuron.sum() + layer.kept.channel.sum() + layer.kept.core)
        event = realisation.synop or f"synop_{layer.format}"
        fans += [Fan(source, layer.name, np.zeros(1, int), n, event) for source, n in inward.items()]
    need = {"compartments": float(neurons), "synapse_memory": weights * chip.limits.weight_bits.value}
    need["fan_in"] = float(max(layer.fan_in for layer in wiring.layers))
    total = chip.limits.cores.value * chip.chips
    room = {limit: allowed(chip, limit) * (1 if limit == "fan_in" else total) for limit in need}
    violations += [
        f"{wiring.name} needs {need[limit]:,.0f} {limit.replace('_', ' ')}; {chip.name} has {room[limit]:,.0f}. "
        "Use a smaller network or another chip."
        for limit in need
        if need[limit] > room[limit]
    ]
    if violations and not allow:
        raise DoesNotFit(violations[0])
    shares = [need[limit] / (room[limit] / total) for limit in ("compartments", "synapse_memory")]
    return Placement(
        chip=chip,
        name=wiring.name,
        realisation=realisation,
        schedule=wiring.schedule,
        core={layer.name: np.zeros(layer.size, int) for layer in wiring.layers},
        site=np.zeros(1, int),
        compartments={layer.name: layer.compartments for layer in wiring.layers},
        swept=np.array([float(sum(layer.size * layer.compartments for layer in wiring.layers))]),
        formats={layer.name: layer.format for layer in wiring.layers},
        fans=tuple(fans),
        used={limit: np.array([n]) for limit, n in need.items()},
        limits={limit: np.array([n]) for limit, n in room.items()},
        number=1,
        occupied=float(ceil(max(*shares, 1.0))),
        topology=topology_of(chip, 1),
        inputs=wiring.inputs,
        outputs=wiring.outputs,
        violations=tuple(dict.fromkeys(violations)),
    )
