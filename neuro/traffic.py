"""Packets between the cores of a placed network, and the sites on which they have the shortest way."""

from dataclasses import replace
from math import ceil

import numpy as np
from jaxtyping import Float

from neuro.floorplan import floorplan
from neuro.placement import Placement


def traffic(placement: Placement, spikes: dict[str, Float[np.ndarray, "neuron"]]) -> Float[np.ndarray, "core core"]:
    """Packets per inference from core to core, from mean spike counts by population; those of clock neurons left out.

    A neuron sends one packet to each core on which it has a synapse, its own among them.
    """
    sent = np.zeros((placement.number, placement.number))
    for name, once in spikes.items():
        mean = once * placement.realisation.sends
        heard: dict[int, np.ndarray] = {}
        for fan in placement.fans:
            if fan.source == name:
                for core, synapses in zip(fan.cores.tolist(), fan.synapses, strict=True):
                    heard[core] = heard.get(core, np.zeros(len(mean), bool)) | (synapses > 0)
        for core, hears in heard.items():
            sent[:, core] += np.bincount(placement.core[name], mean * hears, placement.number)
    return sent


def arranged(placement: Placement, spikes: dict[str, Float[np.ndarray, "neuron"]], seed: int = 0) -> Placement:
    """`placement` with its cores on the sites that `floorplan` finds for its traffic.

    It stays as it is where all cores share a router, or where cores differ in size and have been matched to layers.
    """
    if placement.tiles * placement.chips <= 1 or placement.chip.core_kinds or placement.topology.kind == "star":
        return placement
    chips = ceil(placement.number / placement.chip.limits.cores.value)
    return replace(placement, site=floorplan(traffic(placement, spikes), placement.topology, seed, chips=chips))
