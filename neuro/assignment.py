"""Neurons put on cores by hand: what every core then holds, populations side by side on it included."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from neuro import packing
from neuro.capability import Realisation
from neuro.chip import Chip
from neuro.errors import BadInput
from neuro.wiring import Layer, Wiring


@dataclass(frozen=True)
class Assigned:
    """cores: by population, those with a neuron of it, ascending. inward: by population and source, synapses onto them
    [core, neuron of the source]. used: by limit, per core."""

    cores: dict[str, Int[np.ndarray, "_"]]
    inward: dict[str, dict[str, Float[np.ndarray, "_ _"]]]
    used: dict[str, Float[np.ndarray, "core"]]


def assigned(
    wiring: Wiring, chip: Chip, realisation: Realisation, core: dict[str, Int[np.ndarray, "neuron"]]
) -> Assigned:
    """The use of every limit when each neuron lies on the core that `core` gives it.

    An axon that several populations of a core hear counts once; so does a threshold that they have in common.

    Raises:
        BadInput: a population without cores, a wrong number of them, or a core on which nothing lies.
    """
    number = _checked(wiring, core)
    gates = 2 * realisation.clock + realisation.clock_bias
    cores = {layer.name: np.unique(core[layer.name]) for layer in wiring.layers}
    own = {name: core[name] == here[:, None] for name, here in cores.items()}
    inward, heard = {}, {layer.name: np.zeros((number, layer.size), bool) for layer in wiring.layers}
    used = {limit: np.zeros(number) for limit in ("compartments", "axons_in", "axons_out", "synapse_memory", "fan_in")}
    used |= {"kernel": np.zeros(number), "thresholds": np.ones(number)}
    for layer in wiring.layers:
        here, mine = cores[layer.name], own[layer.name]
        groups = mine.reshape(len(here), *layer.shape).astype(np.float32)
        inward[layer.name] = wiring.reach(layer.name, groups) if layer.sources else {}
        for source, synapses in inward[layer.name].items():
            heard[source][here] |= synapses > 0
        lines = gates if layer.gated else 0
        used["compartments"][here] += mine.sum(axis=1) * layer.slots
        used["synapse_memory"][here] += _memory(chip, layer, mine, inward[layer.name], realisation.sends)
        used["synapse_memory"][here] += mine.sum(axis=1) * lines * chip.limits.weight_bits.value
        used["axons_in"][here] += lines
        for limit in ("fan_in", "kernel"):
            used[limit][here] = np.maximum(used[limit][here], getattr(layer, limit))
    for name, by in heard.items():
        used["axons_in"] += realisation.sends * by.sum(axis=1)
        np.add.at(used["axons_out"], core[name], realisation.sends * by.sum(axis=0))
    for place in range(number):
        kinds = [layer.thresholds[core[layer.name] == place] for layer in wiring.layers if layer.thresholds is not None]
        used["thresholds"][place] = max(1, len(np.unique(np.concatenate(kinds)))) if kinds else 1
    return Assigned(cores, inward, used)


def _checked(wiring: Wiring, core: dict[str, np.ndarray]) -> int:
    """Cores in use."""
    for layer in wiring.layers:
        if layer.name not in core or core[layer.name].shape != (layer.size,):
            given = core[layer.name].shape if layer.name in core else "nothing"
            raise BadInput(f"population {layer.name!r} has {layer.size:,} neurons; cores were given for {given}.")
    every = np.unique(np.concatenate([core[layer.name] for layer in wiring.layers]))
    missing = np.setdiff1d(np.arange(every.max() + 1), every)
    if every.min() < 0 or len(missing):
        raise BadInput(
            f"core {min(every.min(), 0) or missing[0]} holds no neuron; count the cores from 0 without a gap."
        )
    return len(every)


def _memory(
    chip: Chip, layer: Layer, mine: Bool[np.ndarray, "core neuron"], inward: dict[str, np.ndarray], sends: int
) -> np.ndarray:
    """Bits of the synapses of one layer on each of its cores; rows are not shared where a chip keeps rows."""
    if chip.memory is not None and layer.format != "conv":
        neurons = mine.sum(axis=1).astype(float)
        words = [packing.rows(chip.memory, layer, synapses, neurons).words for synapses in inward.values()]
        return np.sum([np.zeros(len(mine)), *words], axis=0) * chip.memory.word.value * sends
    width = chip.limits.weight_bits.value + (chip.limits.index_bits.value if layer.format == "sparse" else 0)
    present = mine.reshape(len(mine), len(layer.kept.channel), -1).any(axis=2)
    return (mine @ layer.kept.neuron + present @ layer.kept.channel + layer.kept.core) * width
