"""Cutting the layers of a network into cores within every limit of a chip."""

from dataclasses import dataclass
from itertools import product
from math import ceil, inf

import numpy as np
from jaxtyping import Float, Int

from neuro.capability import Realisation
from neuro.chip import Chip
from neuro.errors import DoesNotFit
from neuro.wiring import Layer, Wiring

LIMITS = ("compartments", "axons_in", "axons_out", "synapse_memory", "thresholds", "fan_in", "kernel")
"""What is held against a limit on every core."""


@dataclass(frozen=True)
class Cut:
    """One layer over its own cores, numbered from 0.

    core [neuron]; inward: by source, synapses [core, neuron of the source]; used: by limit, per core. broken: limits
    that no cut can keep, in words (only where that was allowed).
    """

    core: Int[np.ndarray, "neuron"]
    inward: dict[str, Float[np.ndarray, "core source"]]
    used: dict[str, Float[np.ndarray, "core"]]
    broken: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        """Cores of the layer."""
        return int(self.core.max()) + 1


def partition(
    wiring: Wiring, chip: Chip, realisation: Realisation, most: int | None = None, allow: bool = False
) -> dict[str, Cut]:
    """Every layer on the fewest cores that respect every limit, from the output backwards, layers in their order.

    most: compartments to put on one core at most, below the chip's own limit: fewer make steps shorter. allow: a limit
    that no cut can keep is noted instead of refused.

    Among the cuts of a layer into channel groups x row bands the one with the fewest cores wins, then the one whose
    cores hear the fewest axons. Convolution kernels are stored once a core.

    Raises:
        DoesNotFit: the first limit that cannot be met, the need, and what to try.
    """
    cuts: dict[str, Cut] = {}
    for layer in reversed(wiring.layers):
        reached = np.zeros(layer.size)
        for cut in cuts.values():
            if layer.name in cut.inward:
                reached += (cut.inward[layer.name] > 0).sum(axis=0)
        cuts[layer.name] = _cut(wiring, layer, chip, realisation, reached, most, allow)
    return {layer.name: cuts[layer.name] for layer in wiring.layers}


def allowed(chip: Chip, limit: str) -> float:
    """What one core of the chip allows; infinite where there is no such limit."""
    constant = getattr(chip.limits, limit)
    return constant.value if constant is not None else inf


def _cut(
    wiring: Wiring, layer: Layer, chip: Chip, realisation: Realisation, reached: np.ndarray, most: int | None,
    allow: bool,
) -> Cut:  # fmt: skip
    """The smallest admissible cut of one layer; `reached`: cores that hear each neuron, as far as they are known."""
    broken = _hopeless(layer, chip)
    if broken and not allow:
        raise DoesNotFit(broken[0])
    size, shape = layer.size, layer.shape
    total = 1 if chip.whole_layers else int(chip.limits.cores.value) * chip.chips
    capacity = min(chip.limits.compartments.value, most or inf)
    fewest = min(max(1, ceil(size * layer.slots / capacity)), total)
    rows = shape[1:2] or (1,)
    worst: tuple[str, float] | None = None
    least: tuple[float, Cut] | None = None
    skip = {"fan_in", "kernel"} | ({"axons_in"} if broken else set())
    for number in range(fewest, total + 1):
        best = None
        for channels, bands in product(range(1, shape[0] + 1), range(1, rows[0] + 1)):
            if channels * bands != number:
                continue
            cut = _used(wiring, layer, chip, realisation, part(shape, channels, bands), number, reached)
            over = {name: cut.used[name].max() / allowed(chip, name) for name in cut.used if name not in skip}
            over["compartments"] = cut.used["compartments"].max() / capacity
            limit = max(over, key=lambda name: over[name])
            if least is None or over[limit] < least[0]:
                least = (over[limit], cut)
            if over[limit] > 1:
                worst = (limit, float(cut.used[limit].max()))
            elif best is None or cut.used["axons_in"].sum() < best.used["axons_in"].sum():
                best = cut
        if best is not None:
            return Cut(best.core, best.inward, best.used, tuple(broken))
    limit, value = worst or ("compartments", float(size * layer.slots))
    refusal = (
        f"layer {layer.name!r} needs {value:,.0f} {limit.replace('_', ' ')} on one core however it is split; "
        f"{chip.name} allows {allowed(chip, limit):,.0f}. Use a smaller layer, fewer weight bits or another chip."
    )
    if not allow or least is None:
        raise DoesNotFit(refusal)
    return Cut(least[1].core, least[1].inward, least[1].used, (*broken, refusal))


def _hopeless(layer: Layer, chip: Chip) -> list[str]:
    """Limits of single neurons, which no cut of the layer can bring down."""
    found = []
    if layer.hears > allowed(chip, "axons_in"):
        found.append(
            f"a neuron of layer {layer.name!r} hears {layer.hears:,} axons in; a core of {chip.name} allows "
            f"{allowed(chip, 'axons_in'):,.0f}. Use a layer with fewer inputs, or a pool before it."
        )
    if layer.fan_in > allowed(chip, "fan_in"):
        found.append(
            f"a neuron of layer {layer.name!r} has {layer.fan_in:,} synapses; {chip.name} allows "
            f"{allowed(chip, 'fan_in'):,.0f}. Spikes carry no partial sums; use a layer with fewer inputs, or prune it."
        )
    if layer.kernel > allowed(chip, "kernel"):
        found.append(
            f"layer {layer.name!r} has windows of {layer.kernel}; {chip.name} allows {allowed(chip, 'kernel'):,.0f}. "
            "Use smaller kernels."
        )
    return found


def part(shape: tuple[int, ...], channels: int, bands: int) -> Int[np.ndarray, "neuron"]:
    """Core of each neuron when channels are cut into `channels` groups and rows into `bands`, as evenly as can be."""
    group = np.arange(shape[0]) * channels // shape[0]
    if len(shape) == 1:
        return group
    band = np.arange(shape[1]) * bands // shape[1]
    grid = group[:, None] * bands + band[None, :]
    return np.broadcast_to(grid.reshape(*grid.shape, *(1,) * (len(shape) - 2)), shape).reshape(-1).copy()


def _used(
    wiring: Wiring, layer: Layer, chip: Chip, realisation: Realisation, core: np.ndarray, number: int,
    reached: np.ndarray,
) -> Cut:  # fmt: skip
    """Synapses by source and the use of every limit, per core of one layer."""
    own = np.arange(number)[:, None] == core[None, :]
    inward = wiring.reach(layer.name, own.reshape(number, *layer.shape)) if layer.sources else {}
    stored = np.sum([s.sum(axis=1) for s in inward.values()], axis=0) if inward else np.zeros(number)
    neurons = own.sum(axis=1).astype(float)
    width = chip.limits.weight_bits.value + (chip.limits.index_bits.value if layer.format == "sparse" else 0)
    memory = wiring.weights(layer.name, own, stored) * width
    axons = np.sum([(s > 0).sum(axis=1) for s in inward.values()], axis=0) if inward else np.zeros(number)
    if layer.gated:
        lines = 2 * realisation.clock + realisation.clock_bias
        memory = memory + neurons * lines * chip.limits.weight_bits.value
        axons = axons + lines
    thresholds = np.ones(number)
    if layer.thresholds is not None:
        thresholds = np.array([len(np.unique(layer.thresholds[mine])) for mine in own], dtype=float)
    return Cut(core, inward, {
        "compartments": neurons * layer.slots,
        "axons_in": axons.astype(float),
        "axons_out": (own * reached).sum(axis=1),
        "synapse_memory": memory,
        "thresholds": thresholds,
        "fan_in": np.full(number, float(layer.fan_in)),
        "kernel": np.full(number, float(layer.kernel)),
    })  # fmt: skip
