"""What one layer asks of its cores, however it is cut: the use of every limit, and the time of a step.

A search looks at many cuts, so everything is summed over blocks; only the axons of a block need more. A neuron that a
block hears is heard by its channels, by its rows and by its columns, which bounds them from above, and a block for
which that is too much is counted exactly.
"""

from dataclasses import dataclass, field
from functools import cached_property
from math import ceil, inf

import numpy as np
from jaxtyping import Bool, Float, Int

from neuro import packing
from neuro.blocks import WHOLE, Parts, axes, core_of, masks, members, starts, sums
from neuro.capability import Realisation
from neuro.chip import Chip
from neuro.layers import Shape
from neuro.wiring import Layer, Wiring

SLABS = 1024
"""Channels, rows and columns of a layer together up to which their axons are bounded one by one."""


def allowed(chip: Chip, limit: str) -> float:
    """What one core of the chip allows; infinite where there is no such limit."""
    constant = getattr(chip.limits, limit)
    return constant.value if constant is not None else inf


def stored(chip: Chip, layer: Layer) -> str:
    """How the chip stores the synapses of the layer; rows that share kernels still hold the index of every target."""
    return "sparse" if chip.memory is not None and layer.format == "conv" else layer.format


def event(chip: Chip, realisation: Realisation, layer: Layer) -> str:
    """What one spike that meets one synapse of the layer counts as."""
    return realisation.synop or f"synop_{stored(chip, layer)}"


@dataclass(frozen=True, eq=False)
class Demand:
    """One layer on a chip. rates: mean spikes per step of every neuron, by population, where times are asked for."""

    wiring: Wiring
    layer: Layer
    chip: Chip
    realisation: Realisation
    rates: dict[str, Float[np.ndarray, "neuron"]] = field(default_factory=dict)
    seen: dict[Parts, dict[str, Float[np.ndarray, "core source"]]] = field(default_factory=dict)
    packed: dict[Parts, packing.Packed | None] = field(default_factory=dict)
    taken: dict[Parts, Float[np.ndarray, "core"]] = field(default_factory=dict)
    hearing: dict[tuple[Parts, str], Float[np.ndarray, "neuron"]] = field(default_factory=dict)

    # --- limits -------------------------------------------------------------------------------------------------------

    def compartments(self, cut: Parts) -> Float[np.ndarray, "core"]:
        """State that the neurons of each core fill."""
        return sums(np.full(self.layer.size, float(self.layer.slots)), self.layer.shape, cut)

    def memory(self, cut: Parts) -> Float[np.ndarray, "core"]:
        """Bits of synapses on each core."""
        packed, memory = self._packed(cut), self.chip.memory
        if packed is not None and memory is not None:
            return packed.words * memory.word.value * self.realisation.sends + self._gates(cut)
        kept, shape = self.layer.kept, self.layer.shape
        channels = np.add.reduceat(kept.channel, starts(shape, cut)[0])
        weights = sums(kept.neuron, shape, cut) + np.repeat(channels, cut.rows * cut.columns) + kept.core
        return weights * self._width + self._gates(cut)

    def thresholds(self, cut: Parts) -> Float[np.ndarray, "core"]:
        """Distinct thresholds on each core."""
        if self.layer.thresholds is None:
            return np.ones(cut.number)
        kinds = self._distinct.reshape(axes(self.layer.shape))
        return np.array([len(np.unique(kinds[members(self.layer.shape, cut, b)])) for b in range(cut.number)], float)

    def axons_out(self, cut: Parts, reached: list[Float[np.ndarray, "neuron"]]) -> Float[np.ndarray, "core"]:
        """Axons that each core sends to; `reached`: by target layer, its cores that hear each neuron."""
        shape, memory, sends = self.layer.shape, self.chip.memory, self.realisation.sends
        if memory is None:
            return sends * sums(np.sum(reached, axis=0) if reached else np.zeros(self.layer.size), shape, cut)
        return sends * sum((packing.shared_axons(memory, cores, shape, cut) for cores in reached), np.zeros(cut.number))

    def axons_in(self, cut: Parts) -> Float[np.ndarray, "core"]:
        """Axons that each core hears, clock axons included, counted exactly."""
        total = np.full(cut.number, float(self._lines))
        for source, synapses in self.inward(cut).items():
            total += self._axons(source, synapses > 0)
        return total

    def hears_too_much(self, cut: Parts) -> float | None:
        """The axons of a core that hears more than it may, None if none does."""
        limit = allowed(self.chip, "axons_in")
        if self.all_axons <= limit:
            return None
        blocks = self._bound(cut)
        if blocks is not None:
            if self.realisation.sends * blocks[0].max() + self._lines <= limit:
                return None
            if self.chip.memory is None:  # the fullest block alone
                one = self.wiring.reach(self.layer.name, masks(self.layer.shape, cut, [int(blocks[0].argmax())]))
                heard = self.realisation.sends * sum(float((n > 0).sum()) for n in one.values())
                if (worst := heard + self._lines) > limit:
                    return worst
        return worst if (worst := float(self.axons_in(cut).max())) > limit else None

    def fits_rows(self, cut: Parts) -> bool:
        """Whether the numbering that shares rows between columns leaves room for its gaps."""
        packed, limits, memory = self._packed(cut), self.chip.limits, self.chip.memory
        if packed is None or memory is None:
            return True
        room = limits.compartments.value / self.layer.slots
        return bool((packed.compartments <= room).all() and (packed.groups <= memory.groups.value).all())

    def single(self, reached: list[Float[np.ndarray, "neuron"]]) -> dict[str, float]:
        """What the neuron that asks for most takes of each limit, all by itself."""
        layer, kept = self.layer, self.layer.kept
        each = kept.neuron.reshape(layer.shape[0], -1).max(axis=1) + kept.channel + kept.core
        gates = self._lines * self.chip.limits.weight_bits.value
        shared = self.chip.memory is not None
        return {
            "compartments": float(layer.slots),
            "axons_in": float(layer.hears + self._lines),
            "axons_out": self.sent(reached),
            "synapse_memory": float(layer.slots if shared else each.max() * self._width + gates),
            "fan_in": float(layer.fan_in),
            "kernel": float(layer.kernel),
        }

    def sent(self, reached: list[Float[np.ndarray, "neuron"]]) -> float:
        """Axons that the neuron of most targets sends to."""
        return float(np.sum(reached, axis=0).max()) * self.realisation.sends if reached else 0.0

    def whole(self, reached: list[Float[np.ndarray, "neuron"]]) -> dict[str, float]:
        """What the whole layer takes of each limit, had a core room for it: no cut can take less in all.

        Weights are counted once, however they are packed.
        """
        return self._whole | {"axons_out": float(self.axons_out(WHOLE, reached)[0])}

    def fewest(self, needs: dict[str, float]) -> int:
        """The largest ceil(need / capacity) over the limits."""
        return max(1, *(ceil(need / allowed(self.chip, limit)) for limit, need in needs.items()))

    # --- time and traffic ---------------------------------------------------------------------------------------------

    def step(self, cut: Parts, packets: Float[np.ndarray, "neuron"]) -> Float[np.ndarray, "core"]:
        """Mean seconds of each core in a step, at nominal prices; `packets`: that a spike of each neuron takes."""
        time, shape = self.chip.time, self.layer.shape
        own = self.rates[self.layer.name] * (_price(time.spike) + packets * _price(time.axon_out))
        sending = sums(own + self._sweep, shape, cut)
        receiving = sums(self._operations, shape, cut) + self.packets(cut) * _price(time.axon_in)
        return np.maximum(sending, receiving) if self.chip.pace.overlap else sending + receiving

    def work(self, packets: Float[np.ndarray, "neuron"]) -> float:
        """Seconds of a step that all cores have to share, whatever the cut."""
        time = self.chip.time
        own = self.rates[self.layer.name] * (_price(time.spike) + packets * _price(time.axon_out)) + self._sweep
        busy = max(own.sum(), self._operations.sum()) if self.chip.pace.overlap else (own + self._operations).sum()
        return float(busy)

    def packets(self, cut: Parts) -> Float[np.ndarray, "core"]:
        """Packets that each core takes in per step; at most this many if rows, columns and channels bound them."""
        if cut not in self.taken:
            bound = self._bound(cut)
            heard = [(n > 0) @ self.rates[source] for source, n in self.inward(cut).items()] if bound is None else []
            self.taken[cut] = bound[1] if bound is not None else np.sum([np.zeros(cut.number), *heard], axis=0)
        return self.taken[cut]

    def heard(self, cut: Parts, source: str) -> Float[np.ndarray, "neuron"]:
        """Cores that hear each neuron of `source`; at most so many if rows, columns and channels bound them."""
        if self._slabs is None:
            return self.reached(cut, source)
        parts = [part.sum(axis=0, dtype=float) for part in self._slabs.parts(self.layer.shape, cut)]
        before = self.layer.sources[: self.layer.sources.index(source)]
        first = sum(self.wiring[s].size for s in before)
        return np.prod(parts, axis=0)[self._slabs.kind[first : first + self.wiring[source].size]]

    # --- exact synapses -----------------------------------------------------------------------------------------------

    def inward(self, cut: Parts) -> dict[str, Float[np.ndarray, "core source"]]:
        """Synapses from every source neuron onto each core, by source."""
        if cut not in self.seen:
            reach = self.wiring.reach
            self.seen[cut] = reach(self.layer.name, masks(self.layer.shape, cut)) if self.layer.sources else {}
        return self.seen[cut]

    def reached(self, cut: Parts, source: str) -> Float[np.ndarray, "neuron"]:
        """Cores of the layer that hear each neuron of `source`."""
        if (cut, source) not in self.hearing:
            self.hearing[cut, source] = (self.inward(cut)[source] > 0).sum(axis=0).astype(float)
        return self.hearing[cut, source]

    def core(self, cut: Parts) -> Int[np.ndarray, "neuron"]:
        """Core of each neuron."""
        return core_of(self.layer.shape, cut)

    @cached_property
    def all_axons(self) -> int:
        """Axons that the layer hears on one core; not looked at where all its sources together are not too many."""
        every = self.realisation.sends * sum(self.wiring[source].size for source in self.layer.sources) + self._lines
        return every if every <= allowed(self.chip, "axons_in") else int(self.axons_in(WHOLE)[0])

    @cached_property
    def _whole(self) -> dict[str, float]:
        kept = self.layer.kept
        weights = kept.neuron.sum() + kept.channel.sum() + kept.core
        narrow = self.chip.memory.weight.value if self.chip.memory else self._width
        distinct = 1 if self.layer.thresholds is None else len(np.unique(self.layer.thresholds))
        return {
            "compartments": float(self.layer.size * self.layer.slots),
            "axons_in": float(self.all_axons),
            "synapse_memory": float(weights * narrow),
            "thresholds": float(distinct),
        }

    @cached_property
    def _lines(self) -> int:
        return 2 * self.realisation.clock + self.realisation.clock_bias if self.layer.gated else 0

    @cached_property
    def _width(self) -> float:
        limits = self.chip.limits
        return limits.weight_bits.value + (limits.index_bits.value if self.layer.format == "sparse" else 0)

    def _gates(self, cut: Parts) -> Float[np.ndarray, "core"]:
        neurons = sums(np.ones(self.layer.size), self.layer.shape, cut)
        return neurons * self._lines * self.chip.limits.weight_bits.value

    def _axons(self, source: str, heard: Bool[np.ndarray, "core source"]) -> Float[np.ndarray, "core"]:
        if self.chip.memory is None:
            return self.realisation.sends * heard.sum(axis=1).astype(float)
        return self.realisation.sends * packing.heard_axons(heard, self.wiring[source].shape)

    def _packed(self, cut: Parts) -> packing.Packed | None:
        if cut not in self.packed:
            self.packed[cut] = self._pack(cut)
        return self.packed[cut]

    def _pack(self, cut: Parts) -> packing.Packed | None:
        """Rows as they lie in memory; None where there are none, or where kernels lie behind a pool."""
        layer, memory = self.layer, self.chip.memory
        if memory is None or not layer.sources:
            return None
        if layer.convolution is not None and layer.convolution.weight.ndim <= 4:
            source = self.wiring[layer.sources[0]].shape
            return packing.convolution(memory, layer.convolution, source, layer.shape, cut)
        if layer.format == "conv":
            return None
        neurons = sums(np.ones(layer.size), layer.shape, cut)
        every = [packing.rows(memory, layer, synapses, neurons) for synapses in self.inward(cut).values()]
        return packing.Packed(np.sum([p.words for p in every], axis=0), every[0].compartments, every[0].groups)

    @cached_property
    def _distinct(self) -> Int[np.ndarray, "neuron"]:
        every = np.zeros(self.layer.size, int) if self.layer.thresholds is None else self.layer.thresholds
        return np.unique(every, return_inverse=True)[1].reshape(-1)

    @cached_property
    def _operations(self) -> Float[np.ndarray, "neuron"]:
        """Seconds per step that each neuron's synaptic operations take."""
        if not self.layer.sources:
            return np.zeros(self.layer.size)
        price = _price(getattr(self.chip.time, event(self.chip, self.realisation, self.layer)))
        return self.wiring.arrivals(self.layer.name, self.rates) * price

    @cached_property
    def _sweep(self) -> float:
        """Seconds per step that a neuron's compartments are swept."""
        if self.chip.pace.kind == "event":
            return 0.0
        access = self.chip.time.neuron_access
        return self.layer.compartments * (_price(access) + _price(getattr(self.chip.time, self.realisation.update)))

    @cached_property
    def _slabs(self) -> "Slabs | None":
        shape, sizes = self.layer.shape, axes(self.layer.shape)
        if not self.layer.sources or sizes[1] * sizes[2] == 1 or sum(sizes) > SLABS:
            return None
        slabs = []
        for parts in (Parts(1, 1, sizes[0]), Parts(sizes[1], 1, 1), Parts(1, sizes[2], 1)):
            found = self.wiring.reach(self.layer.name, masks(shape, parts))
            slabs.append(np.concatenate([n > 0 for n in found.values()], axis=1))
        first, kind = _kinds(np.concatenate(slabs))
        rate = np.concatenate([self.rates.get(s, np.ones(self.wiring[s].size)) for s in self.layer.sources])
        weights = np.stack([np.bincount(kind), np.bincount(kind, rate)])
        channel, row, column = (slab[:, first] for slab in slabs)
        return Slabs((channel, row, column), kind, weights)

    def _bound(self, cut: Parts) -> Float[np.ndarray, "2 core"] | None:
        """Axons and packets into each core, at most: sources that channels, rows and columns of the block all hear."""
        if not self.layer.sources:
            return np.zeros((2, cut.number))
        if self._slabs is None:
            return None
        channel, row, column = self._slabs.parts(self.layer.shape, cut)
        both = (channel[:, None] & row[None]).reshape(-1, len(self._slabs.weights[0]))
        across = column.astype(np.float64)  # einsum: products this small are not worth the threads of a BLAS
        return np.stack([np.einsum("bk,ck->bc", both * w, across).reshape(-1) for w in self._slabs.weights])


@dataclass(frozen=True, eq=False)
class Slabs:
    """Which sources each channel, row and column of a layer hears.

    Sources that the same ones hear are one kind. hears: of channels, rows and columns, [slab, kind]; kind: of each
    source neuron, one source population after another; weights [2, kind]: how many they are, how often they spike.
    """

    hears: tuple[Bool[np.ndarray, "_ kind"], ...]
    kind: Int[np.ndarray, "neuron"]
    weights: Float[np.ndarray, "2 kind"]

    def parts(self, shape: Shape, cut: Parts) -> list[Bool[np.ndarray, "_ kind"]]:
        """What channel groups, row bands and column bands hear."""
        begins = starts(shape, cut)
        return [np.logical_or.reduceat(slab, b, axis=0) for slab, b in zip(self.hears, begins, strict=True)]


def _kinds(rows: Bool[np.ndarray, "row column"]) -> tuple[np.ndarray, np.ndarray]:
    """Equal columns are one kind: the first column of each, and the kind of every column."""
    kind = np.zeros(rows.shape[1], np.int64)
    for start in range(0, len(rows), 32):  # 32 rows at a time are a number
        part = rows[start : start + 32]
        value = (np.int64(1) << np.arange(len(part), dtype=np.int64)) @ part
        value = np.unique(value, return_inverse=True)[1].reshape(-1)
        kind = np.unique(kind * (value.max(initial=0) + 1) + value, return_inverse=True)[1].reshape(-1)
    return np.unique(kind, return_index=True)[1], kind


def _price(constant) -> float:
    return constant.value if constant else 0.0
