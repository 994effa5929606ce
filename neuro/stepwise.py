"""The steps of a placed network played event by event: every packet on its way, instead of the busiest core alone."""

from math import log2

import numpy as np
from jaxtyping import Bool, Float

from neuro.count import MOST_LEVELS
from neuro.detailed import Mesh, Messages, Seconds, Step, detailed
from neuro.errors import BadInput
from neuro.loads import sweep_events
from neuro.placement import Placement
from neuro.topology import position, stop


def steps(placement: Placement, trains: dict[str, Bool[np.ndarray, "window neuron"]]) -> list[Step]:
    """Every global step of one sample at the chip's nominal constants; trains: its spikes by population.

    A core sweeps its compartments in order; a neuron that fires sends its packets, one to each core on which it has a
    synapse, before the next one is swept. Management and the host are not among a step's events.

    Raises:
        BadInput: the chip says nothing of its links' buffers, its cores do not meet after every step, or its network is
            another than is played here.
    """
    chip = placement.chip
    if chip.congestion is None or chip.pace.kind != "barrier" or placement.realisation.clock:
        raise BadInput(
            f"{chip.name}: steps are played event by event only where cores meet after every step, the file has a "
            "[congestion] table and no clock neurons gate the network; leave out --detailed."
        )
    if chip.mesh.topology != "mesh" or chip.mesh.multicast:
        kind = "routers that copy packets" if chip.mesh.multicast else f"a {chip.mesh.topology}"
        raise BadInput(
            f"{chip.name} has {kind}: steps are played event by event only on a mesh that takes each packet to one "
            "core. Leave out --detailed."
        )
    column, row = position(placement.topology, stop(placement.topology, placement.site))
    levels = min(MOST_LEVELS, log2(placement.tiles))
    barrier = _seconds(placement, "barrier") + levels * _seconds(placement, "barrier_level")
    barrier += placement.chip_span * _seconds(placement, "barrier_chip")
    seconds = Seconds(
        along_row=chip.congestion.along_row.value,
        along_column=chip.congestion.along_column.value,
        axon_in=_seconds(placement, "axon_in"),
        synop=_synop_seconds(placement),
        slots=chip.congestion.slots.value,
    )
    targets = {name: _targets(placement, name) for name in trains}
    found = []
    for step in range(placement.schedule.total):
        messages, rest = _messages(placement, trains, targets, step)
        found.append(detailed(messages, rest, Mesh(column, row), seconds, barrier))
    return found


def _seconds(placement: Placement, event: str) -> float:
    constant = getattr(placement.chip.time, event)
    return constant.value if constant else 0.0


def _synop_seconds(placement: Placement) -> Float[np.ndarray, "core"]:
    """Of one synaptic operation on each core; a core's synapses are stored in one way."""
    price = np.zeros(placement.number)
    for fan in placement.fans:
        price[fan.cores] = np.maximum(price[fan.cores], _seconds(placement, fan.event))
    return price


def _targets(placement: Placement, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Cores that hear population `name`, and synapses [core, neuron] on them over all its fans."""
    cores = np.unique(np.concatenate([f.cores for f in placement.fans if f.source == name] or [np.zeros(0, int)]))
    synapses = np.zeros((len(cores), len(placement.core[name])))
    for fan in placement.fans:
        if fan.source == name:
            synapses[np.searchsorted(cores, fan.cores)] += fan.synapses
    return cores, synapses


def _messages(
    placement: Placement, trains: dict[str, np.ndarray], targets: dict[str, tuple[np.ndarray, np.ndarray]], step: int
) -> tuple[Messages, Float[np.ndarray, "core"]]:
    """The packets of one step, those of a core in the order in which it sends them, and each core's work after its
    last one."""
    names = list(placement.core)
    fires = {name: _firing(placement, trains, name, step) for name in names}
    core = np.concatenate([placement.core[name] for name in names])
    sweep = sum(_seconds(placement, event) for event in sweep_events(placement))
    work = np.concatenate(
        [sweep * placement.compartments[name] + _seconds(placement, "spike") * fires[name] for name in names]
    )
    order = np.argsort(core, kind="stable")  # neurons as they are swept, core after core
    swept = np.zeros(len(core))
    swept[order] = np.cumsum(work[order])
    total = np.bincount(core, work, placement.number)
    swept -= (np.cumsum(total) - total)[core]  # s after which each neuron is done, packets not counted
    first = np.cumsum([0] + [len(placement.core[name]) for name in names])
    packets = []
    for start, name in zip(first, names, strict=False):
        if name in targets:
            cores, synapses = targets[name]
            fired = np.flatnonzero(fires[name])
            which, target = np.nonzero(synapses[:, fired].T)
            packets.append(np.stack([start + fired[which], cores[target], synapses[target, fired[which]]], axis=1))
    neuron, receiver, number = (np.concatenate(packets) if packets else np.zeros((0, 3))).astype(int).T
    rank = np.argsort(order)[neuron]
    neuron, receiver, number = (column[np.argsort(rank, kind="stable")] for column in (neuron, receiver, number))
    sender = core[neuron]
    sent = np.bincount(sender, minlength=placement.number)
    before = np.arange(len(sender)) - (np.cumsum(sent) - sent)[sender]  # packets of the same core that went before
    out = _seconds(placement, "axon_out")
    ready = swept[neuron] + out * (before + 1)
    delay = np.diff(ready, prepend=0.0)
    delay[before == 0] = ready[before == 0]
    last = np.zeros(placement.number)
    np.maximum.at(last, sender, ready)
    return Messages(sender, receiver, number, delay), np.maximum(total + out * sent - last, 0.0)


def _firing(placement: Placement, trains: dict[str, np.ndarray], name: str, step: int) -> Bool[np.ndarray, "neuron"]:
    window = placement.schedule.windows.get(name)
    if window is None or not 0 <= step - window.start < window.steps:
        return np.zeros(len(placement.core[name]), bool)
    return trains[name][step - window.start] != 0
