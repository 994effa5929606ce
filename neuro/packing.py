"""Synapse memory written row by row, as the compiler of Loihi 1 packs it: words of 64 bits behind every axon.

A row holds the synapses of one source neuron on a core, in entries of one sign, each a header and up to 60 synapses of
weight and target index. Neurons of one source column share an axon, and columns of a convolution share rows: their
kernels differ only in where they land. So that a landing place is an offset, the targets on a core are numbered in
groups of columns, one neuron of every group after another; a source column touches a group and the next one, whose
synapses stand in entries of their own. Rows of a column are as long as its longest.
"""

from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from jaxtyping import Bool, Float, Int

from neuro.blocks import Parts, axes, starts
from neuro.chip import Memory
from neuro.layers import Conv, Shape
from neuro.wiring import Layer


@dataclass(frozen=True, eq=False)
class Packed:
    """Words of every core; compartments that its numbering takes, gaps included, if a neuron is one; groups of it."""

    words: Float[np.ndarray, "core"]
    compartments: Float[np.ndarray, "core"]
    groups: Float[np.ndarray, "core"]


def convolution(memory: Memory, op: Conv, source: Shape, target: Shape, cut: Parts) -> Packed:
    """A layer that one convolution feeds from a map of shape `source`; at most two axes of space."""
    (_, high, wide), (outputs, rows, columns) = axes(source), axes(target)
    kernel = op.weight.reshape(*op.weight.shape[:2], *((1,) * (4 - op.weight.ndim)), *op.weight.shape[2:])
    (down, across), (top, left) = _pair(op.stride, 1), _pair(tuple(before for before, _ in op.pads), 0)
    first = starts(target, cut)
    signs = _signs(kernel, op.groups, first[0])  # [sign, channel group, source channel, kernel row, kernel column]
    channels = np.diff(np.append(first[0], outputs))
    bands = [_heard(_taps(these, high, kernel.shape[2], down, top)) for these in _ranges(first[1], rows)]
    strips = [_heard(_taps(these, wide, kernel.shape[3], across, left)) for these in _ranges(first[2], columns)]
    words, size, number = (np.zeros((cut.channels, cut.rows, cut.columns)) for _ in range(3))
    known: dict[tuple, tuple] = {}  # most bands and strips are alike
    for (y, band), (x, strip) in product(enumerate(bands), enumerate(strips)):
        key = (band.shape, band.tobytes(), strip.shape, strip.tobytes())
        if key not in known:
            known[key] = _block(memory, signs, channels, band, strip)
        words[:, y, x], size[:, y, x], number[:, y, x] = known[key]
    return Packed(words.reshape(-1), size.reshape(-1), number.reshape(-1))


def _block(
    memory: Memory, signs: np.ndarray, channels: np.ndarray, band: np.ndarray, strip: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Words and compartments of a block by channel group, and its groups of columns; band and strip: `_heard` taps."""
    begins, base = _groups(strip >= 0)
    patterns = _patterns(strip, begins, base, signs.shape[-1])  # [pattern, 2, kernel column]
    places = np.unique((band[:, :, None] == np.arange(signs.shape[-2])).any(axis=1), axis=0).astype(float)
    longest = int(np.diff(begins).max()) * band.shape[1]
    count = np.einsum("sgihx,pox->gihpso", np.einsum("sgiyx,hy->sgihx", signs, places), patterns)
    index = np.array([_index(memory, int(longest * n)) for n in channels]).reshape(-1, 1, 1, 1)
    present = count.any(axis=(2, 4, 5))  # [channel group, source channel, pattern]: who has no synapse has no axon
    longest_row = _words(memory, count, index).max(axis=2)
    words = (longest_row * present).sum(axis=(1, 2)) * len(band)
    return words, longest * (len(begins) - 1) * channels, len(begins) - 1


def rows(
    memory: Memory, layer: Layer, synapses: Float[np.ndarray, "core source"], neurons: Float[np.ndarray, "core"]
) -> Packed:
    """A layer whose rows are not shared, one for each source neuron; both signs are taken to occur in each.

    Dense rows have no indices and hold every neuron of the core.
    """
    dense = layer.format == "dense"
    count = np.where(synapses > 0, neurons[:, None], 0.0) if dense else synapses
    index = [0 if dense else _index(memory, int(n) * layer.compartments) for n in neurons]
    entries = np.minimum(count, np.ceil(count / memory.entry.value) + 1)
    bits = entries * memory.header.value + count * (memory.weight.value + np.array(index)[:, None])
    words = np.where(count > 0, np.ceil((bits + memory.trailer.value) / memory.word.value), 0.0)
    return Packed(words.sum(axis=1), neurons * layer.slots, np.ones(len(neurons)))


def shared_axons(
    memory: Memory, reached: Float[np.ndarray, "neuron"], shape: Shape, cut: Parts
) -> Float[np.ndarray, "core"]:
    """Axon entries out of the cores of a cut layer towards one target: a neuron with several target cores takes one for
    each, the others of a column and channel one together, of `memory.shared` entries.

    reached: cores of the target that hear each neuron.
    """
    single = (reached == 1).reshape(axes(shape)).astype(float)
    many = np.where(reached > 1, reached, 0.0).reshape(axes(shape))
    channel, row, column = starts(shape, cut)
    together = np.minimum(np.add.reduceat(single, row, axis=1), memory.shared.value)
    entries = np.add.reduceat(many, row, axis=1) + together
    return np.add.reduceat(np.add.reduceat(entries, column, axis=2), channel, axis=0).reshape(-1)


def heard_axons(heard: Bool[np.ndarray, "core source"], shape: Shape) -> Float[np.ndarray, "core"]:
    """Axons into each core from a source of `shape`: of those that it alone hears one for each column and channel."""
    cores = heard.sum(axis=0)
    alone = (heard & (cores == 1)).reshape(len(heard), *axes(shape)).any(axis=2).sum(axis=(1, 2))
    return (heard & (cores > 1)).sum(axis=1) + alone.astype(float)


def _words(memory: Memory, count: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Words of rows with `count` [..., sign, group] synapses: entries of one sign and group, and a mark at the end."""
    entries = np.ceil(count / memory.entry.value).sum(axis=(-2, -1)) * memory.header.value
    bits = entries + count.sum(axis=(-2, -1)) * (memory.weight.value + index) + memory.trailer.value
    return np.ceil(bits / memory.word.value)


def _index(memory: Memory, targets: int) -> int:
    """Bits that tell `targets` targets apart."""
    return max(int(memory.index.value), (targets - 1).bit_length())


def _signs(kernel: np.ndarray, groups: int, first: np.ndarray) -> np.ndarray:
    """Positive and negative weights of every source channel onto every group of channels, by place in the kernel."""
    outputs, inputs = kernel.shape[:2]
    each = outputs // groups  # channels that hear the same source channels
    begins = np.union1d(first, np.arange(0, outputs, each))
    part = np.searchsorted(first, begins, side="right") - 1
    channel = (begins // each * inputs)[:, None] + np.arange(inputs)
    found = np.zeros((2, len(first), inputs * groups, *kernel.shape[2:]))
    for sign, stored in enumerate((kernel > 0, kernel < 0)):
        found[sign, part[:, None], channel] = np.add.reduceat(stored, begins, axis=0, dtype=float)
    return found


def _ranges(first: np.ndarray, length: int) -> list[Int[np.ndarray, "target"]]:
    """The rows (columns) of each part."""
    return [np.arange(a, b) for a, b in pairwise(np.append(first, length))]


def _pair(values: tuple[int, ...], missing: int) -> tuple[int, int]:
    return (missing, values[0]) if len(values) == 1 else (values[0], values[1])


def _taps(targets: np.ndarray, length: int, kernel: int, stride: int, pad: int) -> Int[np.ndarray, "source target"]:
    """The place in the kernel at which a source row (column) reaches each target row (column), -1 where it does not."""
    place = np.arange(length)[:, None] + pad - stride * targets[None, :]
    return np.where((place >= 0) & (place < kernel), place, -1)


def _heard(taps: np.ndarray) -> Int[np.ndarray, "source target"]:
    """The source rows (columns) that reach anything."""
    return taps[(taps >= 0).any(axis=1)]


def _groups(hears: Bool[np.ndarray, "source target"]) -> tuple[np.ndarray, np.ndarray]:
    """Where groups of target columns begin (and the end of the last), and the group in which each source column begins.

    A group ends where the first source column that begins with it ends.
    """
    begins, base = [0], np.zeros(len(hears), int)
    reached = 0
    for source, targets in enumerate(hears):
        found = np.flatnonzero(targets)
        if len(found) and found[0] == reached:
            reached = int(found[-1]) + 1
            begins.append(reached)
        base[source] = max(0, len(begins) - 2)
    return np.array(begins if reached == hears.shape[1] else [*begins, hears.shape[1]]), base


def _patterns(
    taps: np.ndarray, begins: np.ndarray, base: np.ndarray, kernel: int
) -> Float[np.ndarray, "pattern 2 place"]:
    """Source columns with the same rows, once each: which places of the kernel lie in its group and in the next."""
    group = np.searchsorted(begins, np.arange(taps.shape[1]), side="right") - 1
    found: dict[tuple, np.ndarray] = {}
    for source, places in enumerate(taps):
        targets = np.flatnonzero(places >= 0)
        later = group[targets] - base[source]
        key = tuple(
            zip(later.tolist(), (targets - begins[group[targets]]).tolist(), places[targets].tolist(), strict=True)
        )
        if key and key not in found:
            uses = np.zeros((2, kernel))
            uses[np.minimum(later, 1), places[targets]] = 1
            found[key] = uses
    return np.stack(list(found.values())) if found else np.zeros((0, 2, kernel))
