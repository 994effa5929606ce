"""One network on one chip: how full each core is, what travels over each link, and what the run waits for."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from converters.relays import relayed
from experiments.forms import PILOT, forms
from experiments.job import Request
from experiments.prepared import prepared
from experiments.progress import Progress, silent
from experiments.run import mean_spikes
from neuro import chip as chip_file
from neuro.bottleneck import bound, causes
from neuro.capability import realise
from neuro.chip import Chip
from neuro.codes import Code
from neuro.constants import leaves
from neuro.cost import cost
from neuro.count import count
from neuro.counts import Counts, average
from neuro.demand import allowed
from neuro.detailed import Step
from neuro.effects import effects
from neuro.errors import BadInput, DoesNotFit, NeuroError
from neuro.file import check_writable
from neuro.graph import Graph
from neuro.ledger import ledger
from neuro.loads import core_prices, sweep_time
from neuro.mapping import check_objective, mean_loads, search
from neuro.partition import Objective
from neuro.placement import Placement
from neuro.simulate import simulate
from neuro.stepwise import steps
from neuro.topology import link_loads
from neuro.topology import links as network_links
from neuro.traffic import arranged, traffic
from neuro.wiring import of_graph

CODES: tuple[Code, ...] = ("bits", "unary", "ttfs", "rate")
"""The order in which codes are tried: exact ones first. A chip that can run any other can run bits."""


@dataclass(frozen=True)
class ChipMap:
    """A placed network with what it does in a mean sample: spikes of every neuron, traffic between cores [core, core],
    packets on every link [link], events, and those by layer, one sample at a time. objective: what its layers were cut
    for; without one, energy x delay of a sample or, in a pipeline, its energy. steps: of the first sample, played
    packet by packet, where that was asked for."""

    placement: Placement
    code: Code
    regime: Literal["single", "stream"]
    spikes: dict[str, np.ndarray]
    traffic: np.ndarray
    links: np.ndarray
    counts: Counts
    layers: dict[str, dict[str, float]]
    objective: Objective | None = None
    steps: tuple[Step, ...] = ()


def chip_map(
    request: Request,
    chip: str,
    regime: Literal["single", "stream"] = "single",
    detailed: bool = False,
    progress: Progress = silent,
    objective: Objective | None = None,
) -> ChipMap:
    """The network of `request` on `chip` under its code, or under the first that the chip can run; with relays where an
    edge waits longer than the chip delays spikes. objective: see `neuro.mapping.search`.

    detailed: the steps of the first sample are played packet by packet as well.

    Raises:
        NeuroError: the network has no spiking form, does not fit, or the chip cannot run the code.
    """
    machine = chip_file.load(chip)
    check_objective(objective, machine)
    ready = prepared(request)
    network, dataset = ready.network, ready.dataset
    found = forms(network, dataset, request.levels, request.weight_bits, request.steps, progress, ready.converted)
    pilot = dataset.calibration_counts[: request.samples or PILOT]
    wanted = CODES if request.code == "auto" else (request.code,)
    reasons = []
    for code in wanted:
        done = progress(f"code {code}", 1)
        try:
            if code not in found.spiking:
                raise DoesNotFit(found.without_rate)
            graph, _ = relayed(found.spiking[code], allowed(machine, "delay"))
            placed = on_chip(graph, machine, code, pilot, regime, request.allow_violations, request.seed, objective)
        except NeuroError as error:
            reasons.append(f"  {code}: {error}")
            continue
        done(1)
        return replace(placed, steps=_played(placed.placement, graph, pilot)) if detailed else placed
    raise DoesNotFit(f"{network.name} does not run on {machine.name}:\n" + "\n".join(reasons))


def _played(placement: Placement, graph: Graph, pilot: np.ndarray) -> tuple[Step, ...]:
    """The steps of the first item, packet by packet."""
    trains = simulate(graph, jnp.asarray(pilot[:1], jnp.float32)).spikes
    return tuple(steps(placement, {name: np.asarray(t)[:, 0].reshape(t.shape[0], -1) for name, t in trains.items()}))


def on_chip(
    graph: Graph,
    chip: Chip,
    code: Code,
    pilot: np.ndarray,
    regime: Literal["single", "stream"] = "single",
    allow: bool = False,
    seed: int = 0,
    objective: Objective | None = None,
) -> ChipMap:
    """A spiking graph on a chip, with what it does on the items of `pilot` [item, *shape], on average.

    Raises:
        DoesNotFit: see `neuro.placement.place`. BadInput: a code or regime that the chip cannot run.
    """
    way = realise(chip, code, graph)
    if way.status == "impossible" and not allow:
        raise BadInput(f"{chip.name} lacks {way.missing}. Try another code or chip.")
    spikes = mean_spikes(graph, pilot)
    placements = search(of_graph(graph, chip, way), chip, way, spikes, allow, objective)
    if regime not in placements:
        raise BadInput(f"{chip.name} cannot clear a neuron's state between samples without its host.")
    placement = arranged(placements[regime], spikes, seed)
    trains = jax.jit(lambda batch: simulate(graph, batch).spikes)(jnp.asarray(pilot, jnp.float32))
    sent = traffic(placement, spikes)
    return ChipMap(
        placement=placement,
        code=code,
        regime=regime,
        spikes=spikes,
        traffic=sent,
        links=link_packets(placement, spikes, sent),
        counts=average(count(placement, trains)[regime], np.ones(len(pilot), np.float32)),
        layers={
            name: {event: float(n.mean()) for event, n in row.items()}
            for name, row in ledger(placement, trains).items()
        },
        objective=objective,
    )


def figure_path(asked: Path | None, network: str, chip: str) -> Path:
    """Where the drawing goes: `asked`, or ``runs/map-NETWORK-CHIP.png``.

    Raises:
        BadInput: another ending than ``.png``, or a folder that cannot be written.
    """
    path = asked or Path("runs") / f"map-{Path(network).stem}-{Path(chip).stem}.png"
    if path.suffix != ".png":
        raise BadInput(f"{path}: the figure is a PNG; give it the ending .png.")
    check_writable(path)
    return path


def link_packets(placement: Placement, spikes: dict[str, np.ndarray], sent: np.ndarray) -> np.ndarray:
    """Packets per inference on every link [link]; `sent`: from core to core.

    Where the chip copies packets on their way a link carries each once, if the chip says how long a link takes.
    """
    if placement.chip.time.link is None or placement.number == 1:
        return link_loads(placement.topology, placement.site, sent)
    packets = np.zeros(len(network_links(placement.topology).names))
    for name, mean in spikes.items():
        caused = effects(placement, name)
        if len(caused.links):
            number = mean * placement.realisation.sends
            packets[caused.links] += number @ caused.matrix[:, -len(caused.links) :]
    return packets


def core_rows(found: ChipMap) -> list[dict[str, Any]]:
    """Every core with its site, its layers, and used and allowed by limit (None: no limit); full: the share that it
    uses of its tightest limit; busy_s: see `busy`."""
    p, full, seconds = found.placement, fullness(found), busy(found)
    holds = {core: [name for name in p.core if core in p.cores_of(name)] for core in range(p.number)}
    return [
        {
            "core": core,
            "site": int(p.site[core]),
            "layers": holds[core] or ["(clock)"],
            "used": {limit: float(values[core]) for limit, values in p.used.items()},
            "allowed": {limit: _or_none(values[core]) for limit, values in p.limits.items()},
            "full": float(full[core]),
            "busy_s": float(seconds[core]),
            "packets_out": float(found.traffic[core].sum()),
            "packets_in": float(found.traffic[:, core].sum()),
        }
        for core in range(p.number)
    ]


def fullness(found: ChipMap) -> np.ndarray:
    """Share of its tightest limit that each core uses [core]."""
    p = found.placement
    return np.max([p.used[limit] / p.limits[limit] for limit in p.used if limit in p.limits], axis=0)


def busy(found: ChipMap) -> np.ndarray:
    """Mean seconds that each core works for an inference [core], at nominal prices: messages and sweeps; clock packets
    are left out."""
    p, schedule = found.placement, found.placement.schedule
    steps = schedule.total if found.regime == "single" else schedule.period(p.realisation.membranes > 1)
    sweeps = 0 if p.chip.pace.kind == "event" else steps
    return mean_loads(p, found.spikes) @ core_prices(p) + sweeps * sweep_time(p)


def summary(found: ChipMap, figure: Path | None = None) -> dict[str, Any]:
    """The map as JSON-ready data; energies in J, times in s, per inference at nominal constants, chip boundary."""
    p, chip = found.placement, found.placement.chip
    values = {path: constant.value for path, constant in leaves(chip)}
    table = chip_file.prices(chip, values, next(iter(chip.power)))
    spent = cost(found.counts, table)
    seconds = {name: float(t) for name, t in table.time.items()}
    joules = {name: float(e) for name, e in table.energy.items()}
    return {
        "network": p.name,
        "chip": chip.name,
        "scope": chip.scope,
        "evidence": chip.evidence.model_dump(),
        "code": found.code,
        "regime": found.regime,
        "objective": found.objective,
        "realisation": p.realisation.status,
        "cores": int(p.occupied),
        "cores_per_chip": int(chip.limits.cores.value),
        "chips": p.chips,
        "violations": list(p.violations),
        "limits": [_fullest(p, limit) for limit in p.used],
        "rows": core_rows(found),
        "multicast": chip.mesh.multicast,  # then packets are counted where they arrive, hops where they are crossed
        "packets": float(found.traffic.sum()),
        "busiest_link_packets": float(found.links.max(initial=0.0)),
        "mean_hops": float(np.asarray(found.counts.events.get("hop", 0.0)))
        / max(found.counts.batch * float(found.traffic.sum()), 1e-12),
        "busiest_core_s": float(busy(found).max()),
        "latency_s": float(spent.latency),
        "interval_s": float(spent.interval),
        "energy_j": float(spent.total),
        "waits_s": causes(found.counts.latency, seconds),
        "bound": bound(found.counts.latency, seconds),
        "layers": {
            name: {"events": row, "energy_j": sum(n * joules[event] for event, n in row.items())}
            for name, row in found.layers.items()
        },
        "deadline": _deadline(found, seconds),
        "detailed": _detailed(found),
        "figure": None if figure is None else str(figure),
    }


def _deadline(found: ChipMap, seconds: dict[str, float]) -> dict[str, float] | None:
    """On a chip that works in ticks: the tick, the mean step, and in how many steps of an inference it is overrun."""
    if found.placement.chip.pace.kind != "tick":
        return None
    path, steps = found.counts.latency, found.placement.schedule.total
    number = dict(zip(path.names, np.asarray(path.counts, np.float64).sum(axis=(0, 1)), strict=True))
    busy = sum(n * seconds[name] for name, n in number.items() if name not in ("host_write", "host_read", "reset"))
    return {"tick_s": seconds["tick"], "mean_step_s": busy / steps, "missed_steps": steps - number["tick"]}


def _detailed(found: ChipMap) -> dict[str, float] | None:
    """Of the steps that were played packet by packet: mean time, mean of the busiest core's, waits, fullest link."""
    if not found.steps:
        return None
    return {
        "mean_step_s": float(np.mean([step.duration for step in found.steps])),
        "longest_step_s": max(step.duration for step in found.steps),
        "blocked_s": sum(step.blocked for step in found.steps),
        "messages_on_fullest_link": max(step.occupancy for step in found.steps),
    }


def _fullest(p: Placement, limit: str) -> dict[str, Any]:
    """Use of a limit on the core that is closest to it."""
    core = int(np.lexsort((p.used[limit], p.used[limit] / p.limits[limit]))[-1])
    return {"limit": limit, "used_most": float(p.used[limit][core]), "allowed": _or_none(p.limits[limit][core])}


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
