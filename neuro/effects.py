"""What one spike of each neuron of a placed network causes: packets, borders and links crossed, synapses met."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array, vstack

from neuro import topology
from neuro.placement import Placement


def sending(placement: Placement) -> tuple[str, ...]:
    """Events on a sender's core; all others of `load_events` happen on a receiver's."""
    return ("spike", "axon_out", *(() if placement.realisation.sweeps else (placement.realisation.update,)))


def load_events(placement: Placement) -> tuple[str, ...]:
    """What differs between cores in a step: spikes, packets out, packets in, synaptic operations by their event."""
    stored = {fan.event for fan in placement.fans} | ({"synop_dense"} if placement.realisation.clock else set())
    return (*sending(placement), "axon_in", *sorted(stored))


@dataclass(frozen=True)
class Effects:
    """What one spike of each neuron causes. matrix [neuron, effect]; the first two effects are hops and chip borders.

    core_columns: (cores, load, first effect, last effect); links: those that the last effects stand for.
    """

    matrix: Float[np.ndarray, "neuron effect"]
    core_columns: tuple[tuple[np.ndarray, int, int, int], ...]
    links: np.ndarray

    def columns(self, at: Callable[[Int[np.ndarray, "core"], int], np.ndarray], link: int) -> Int[np.ndarray, "effect"]:
        """Where each effect is counted in a row that begins with hops and chip borders: at(cores, load) of a load of
        cores, `link` of the first link."""
        of_cores = [at(cores, load) for cores, load, _, _ in self.core_columns]
        return np.concatenate([[0, 1], *of_cores, link + self.links]).astype(int)


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
            taken = topology.multicast(network, source, placement.site[targets[target]], packet, len(patterns))
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
