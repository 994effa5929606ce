"""What every core and link of a placed network handles in every step, and what one of each takes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.sparse import csr_array, vstack

from neuro import topology
from neuro.placement import Placement
from neuro.trains import Cause, Trains, caused


def sending(placement: Placement) -> tuple[str, ...]:
    """Events on a sender's core; all others of `load_events` happen on a receiver's."""
    return ("spike", "axon_out", *(() if placement.realisation.sweeps else (placement.realisation.update,)))


@partial(jax.tree_util.register_dataclass, data_fields=["core", "link", "hops", "chip_hops"], meta_fields=[])
@dataclass(frozen=True)
class Loads:
    """Loads of cores (`load_events`) and packets on links, step by step; hops and chip borders crossed, by sample."""

    core: Float[Array, "step batch core load"]
    link: Float[Array, "step batch link"]
    hops: Float[Array, "batch"]
    chip_hops: Float[Array, "batch"]


def load_events(placement: Placement) -> tuple[str, ...]:
    """What differs between cores in a step: spikes, packets out, packets in, synaptic operations by their event."""
    stored = {fan.event for fan in placement.fans} | ({"synop_dense"} if placement.realisation.clock else set())
    return (*sending(placement), "axon_in", *sorted(stored))


def loads(placement: Placement, spikes: Mapping[str, Trains]) -> Loads:
    """What every core sends and receives in every global step.

    Packets and the synapses they reach are handled in the step in which they are sent: a step ends when its last
    packet has been; delays are spent at the receiver's side. All that a spike causes is linear in it: one product of
    spikes and `effects` gives every load of a population.
    """
    schedule, events = placement.schedule, len(load_events(placement))
    links = len(topology.links(placement.topology).names) if placement.chip.time.link else 0
    cores = placement.number * events
    causes = {}
    for name in spikes:
        found = effects(placement, name)
        causes[name] = Cause(found.matrix, found.columns(events, cores), schedule.windows[name].start)
    total = caused(spikes, causes, (schedule.total, 2 + cores + links), again=placement.realisation.sends > 1)
    core = total[..., 2 : 2 + cores].reshape(*total.shape[:2], placement.number, events)
    crossed = total[..., :2].sum(axis=0)
    clock, borders = _clock(placement)
    core = core + jnp.asarray(clock)[:, None]
    return Loads(core, total[..., 2 + cores :], crossed[:, 0] + borders[0], crossed[:, 1] + borders[1])


@dataclass(frozen=True)
class Effects:
    """What one spike of each neuron causes. matrix [neuron, effect]; the first two effects are hops and chip borders.

    core_columns: (cores, load, first effect, last effect); links: those that the last effects stand for.
    """

    matrix: Float[np.ndarray, "neuron effect"]
    core_columns: tuple[tuple[np.ndarray, int, int, int], ...]
    links: np.ndarray

    def columns(self, events: int, cores: int) -> Int[np.ndarray, "effect"]:
        """Where each effect is counted in a row of hops, chip borders, the `events` of every core, `cores` in all, and
        links."""
        of_cores = [row * events + load for row, load, _, _ in self.core_columns]
        return np.concatenate([[0, 1], *(2 + of_core for of_core in of_cores), 2 + cores + self.links]).astype(int)


def effects(placement: Placement, name: str) -> Effects:
    events, own, cores = load_events(placement), placement.core[name], placement.cores_of(name)
    fans = [fan for fan in placement.fans if fan.source == name]
    heard: dict[int, np.ndarray] = {}  # a core that hears through several fans gets one packet
    for fan in fans:
        for core, synapses in zip(fan.cores.tolist(), fan.synapses, strict=True):
            heard[core] = heard.get(core, np.zeros(len(own), bool)) | (synapses > 0)
    targets = np.array(sorted(heard), int)
    hears = np.stack([heard[core] for core in targets.tolist()], axis=1) if heard else np.zeros((len(own), 0), bool)
    packets = hears.any(axis=1) if placement.chip.mesh.multicast else hears.sum(axis=1)
    crossed, used, links = _routes(placement, own, targets, hears)
    mine = np.equal.outer(own, cores)
    blocks = [crossed, mine, mine * np.expand_dims(packets, 1), hears, *(fan.synapses.T for fan in fans), links]
    places = [
        (cores, 0),
        (cores, 1),
        (targets, events.index("axon_in")),
        *((fan.cores, events.index(fan.event)) for fan in fans),
    ]
    if not placement.realisation.sweeps:
        blocks.insert(-1, mine)
        places.append((cores, events.index(placement.realisation.update)))
    ends = np.cumsum([block.shape[1] for block in blocks])
    columns = [(*place, int(ends[i]), int(ends[i + 1])) for i, place in enumerate(places)]
    return Effects(np.concatenate(blocks, axis=1, dtype=np.float32), tuple(columns), used)


def _routes(
    placement: Placement, own: np.ndarray, targets: np.ndarray, hears: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For a spike of each neuron: hops and chip borders [neuron, 2]; the links that any crosses [link], and which of
    them each does [neuron, link], if the chip says how long that takes."""
    network = placement.topology
    every = topology.links(network)
    crossed, rows = np.zeros((len(own), 2), np.float32), []
    order = np.argsort(own, kind="stable")
    for core in np.unique(own):
        here = order[own[order] == core]
        patterns, which = np.unique(hears[here], axis=0, return_inverse=True)
        packet, target = np.nonzero(patterns)
        source = np.full(len(packet), placement.site[core])
        if placement.chip.mesh.multicast:
            taken = topology.multicast(network, source, placement.site[targets[target]], packet)
        else:
            belongs = csr_array((np.ones(len(packet)), (packet, np.arange(len(packet)))), (len(patterns), len(packet)))
            taken = csr_array(belongs @ topology.routes(network, source, placement.site[targets[target]]))
        taken = csr_array((taken.data, taken.indices, taken.indptr), (len(patterns), len(every.names)))
        ends = np.stack([taken @ (~every.between_chips).astype(float), taken @ every.between_chips.astype(float)], 1)
        crossed[here] = ends[which.reshape(-1)]
        rows.append(taken[which.reshape(-1)])
    if not placement.chip.time.link:
        return crossed, np.zeros(0, int), np.zeros((len(own), 0), np.float32)
    over = csr_array(vstack(rows))
    used = np.flatnonzero(over.sum(axis=0))
    links = np.zeros((len(own), len(used)), np.float32)
    links[order] = over[:, used].toarray()
    return crossed, used, links


def _clock(placement: Placement) -> tuple[Float[np.ndarray, "step core load"], np.ndarray]:
    """The spikes of clock neurons and the borders they cross: gates close at the start, open with the bias for a
    window, close after it. A line's one spike goes to every core of the population, in a packet each."""
    schedule, gate = placement.schedule, placement.realisation.clock
    events = load_events(placement)
    load, crossed = np.zeros((schedule.total, placement.number, len(events)), np.float32), np.zeros(2, np.float32)
    if not gate:
        return load, crossed
    clock = placement.number - 1
    for name in placement.gated:
        window, cores = schedule.windows[name], placement.cores_of(name)
        neurons = (placement.core[name][:, None] == cores).sum(axis=0)
        ends = (placement.topology, placement.site[[clock]], placement.site[cores])
        borders = np.array([topology.hops(*ends).sum(), topology.chip_hops(*ends).sum()], np.float32)
        for step, lines in ((0, gate), (window.start, gate + placement.realisation.clock_bias), (window.end, gate)):
            load[step, cores, events.index("axon_in")] += lines
            load[step, cores, events.index("synop_dense")] += lines * neurons
            load[step, clock, :2] += (lines, lines * len(cores))
            crossed += lines * borders
    return load, crossed


def core_prices(placement: Placement) -> Float[np.ndarray, "load"]:
    """Nominal seconds of one of `load_events`; what is included in another price takes none."""
    constants = [getattr(placement.chip.time, event) for event in load_events(placement)]
    return np.array([constant.value if constant else 0.0 for constant in constants], np.float32)


def sweep_events(placement: Placement) -> tuple[str, ...]:
    """What one sweep of a compartment counts as: an access where the chip prices it apart, and an update."""
    if not placement.realisation.sweeps:
        return ()
    access = ("neuron_access",) if placement.chip.energy.neuron_access else ()
    return (*access, placement.realisation.update)


def sweep_time(placement: Placement) -> Float[np.ndarray, "core"]:
    """Nominal seconds of one sweep of every core's compartments."""
    constants = [getattr(placement.chip.time, event) for event in sweep_events(placement)]
    return placement.swept * sum(constant.value for constant in constants if constant)
