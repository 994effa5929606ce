"""Folding of a network onto an FPGA: how many outputs (PE) and inputs (SIMD) of each layer work in one cycle.

A layer takes (MH / PE) (MW / SIMD) cycles per output position. The slowest layer sets the rate of the pipeline, so
the folding with the shortest interval T gives every layer the cheapest PE and SIMD within T; the least T whose sum
fits the part is found by bisection.
"""

from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np

from baselines.fpga_resources import BRAM, SHALLOW, URAM, Bits, Use, Window, blocks, logic, lut_memory, window_memory
from baselines.workload import LayerWork

# Resources are weighed evenly, then each above the others, until a choice within the interval fits.
WEIGHTS = np.ones((5, 4)) + 7 * np.eye(5, 4, k=-1)


class Budget(NamedTuple):
    """What a design may take of a part, and what one layer takes beside its arithmetic and memory.

    packed: multiply-accumulates per multiplier slice, 0 where products go to look-up tables. slack: look-up tables
    placed per look-up table of the equations.
    """

    lut: float
    bram: float
    uram: float
    dsp: float
    packed: float
    layer: float
    slack: float


class Shape(NamedTuple):
    """A weighted layer as the folding sees it: MH x MW weights at each of `positions` outputs.

    streamed: values of the input map that enter one SIMD group at a time, per channel. reuse: fold by a reuse factor
    alone, which need not divide MH and MW apart.
    """

    mh: int
    mw: int
    positions: int
    streamed: int
    window: Window | None
    bits: Bits
    activation: bool
    reuse: bool


class Options(NamedTuple):
    """Every way to fold a layer, by rising cycles. use: [option, resource] in the order of `Use`."""

    pe: np.ndarray
    simd: np.ndarray
    cycles: np.ndarray
    use: np.ndarray


class Design(NamedTuple):
    """A folded network. cycles: per weighted layer. use: [layer, resource], the shell not among it."""

    pe: np.ndarray
    simd: np.ndarray
    cycles: np.ndarray
    use: np.ndarray


def shape(layer: LayerWork, bits: Bits, activation: bool, reuse: bool) -> Shape:
    """What the folding needs to know of a weighted layer; the channels of a depthwise one are its rows."""
    held = None
    streamed = 0
    if prod(layer.kernel) > 1:
        channels = layer.groups * layer.k // prod(layer.kernel)
        held = Window(layer.kernel[0] + layer.stride[0], channels * prod(layer.input_map[1:]))
        streamed = prod(layer.input_map)
    positions = layer.m * layer.steps
    return Shape(layer.groups * layer.n, layer.k, positions, streamed, held, bits, activation, reuse)


def widths(number: int) -> np.ndarray:
    """How many of `number` rows or columns can work at once, rising: powers of two, 3 and 9 times these, and all; the
    last fold of a row that does not divide is padded."""
    powers = 2 ** np.arange(number.bit_length())
    steps = np.unique(np.concatenate([powers, 3 * powers, 9 * powers]))
    return np.append(steps[steps < number], number).astype(np.float64)


def depth(layer: Shape, pe: np.ndarray, simd: np.ndarray) -> np.ndarray:
    """Folds of a layer: cycles per position, and words of its weight memory."""
    if layer.reuse:
        return np.ceil(layer.mh * layer.mw / (pe * simd))
    return np.ceil(layer.mh / pe) * np.ceil(layer.mw / simd)


def cycles(layer: Shape, pe: np.ndarray, simd: np.ndarray) -> np.ndarray:
    """Cycles of a layer per sample: its folds at every position, or its input streaming in where that is longer."""
    return np.maximum(depth(layer, pe, simd) * layer.positions, layer.streamed)


def use(layer: Shape, budget: Budget, pe: np.ndarray, simd: np.ndarray) -> np.ndarray:
    """What each folding takes [folding, variant, resource]: weights in look-up tables, block or ultra RAM, and
    products in look-up tables or multiplier slices where the part has them."""
    width, words = pe * simd * layer.bits.weight, depth(layer, pe, simd)
    none = np.zeros_like(words)
    memories = [(np.where(words <= SHALLOW, lut_memory(width, words), np.inf), none, none)]
    memories.append((none, blocks(width, words, BRAM), none))
    if budget.uram:
        memories.append((none, none, blocks(width, words, URAM)))
    held_lut, held_bram = window_memory(simd, layer.window, layer.bits.enter)
    variants = []
    for in_luts in (True, False) if budget.packed else (True,):
        tables = logic(pe, simd, layer.mh, layer.mw, layer.bits, in_luts, layer.activation)
        slices = none if in_luts else np.ceil(pe * simd / budget.packed)
        for lut, bram, uram in memories:
            total = budget.layer * (1 + (layer.window is not None)) + budget.slack * tables + lut + held_lut
            variants.append(np.stack(Use(total, bram + held_bram, uram, slices), axis=-1))
    return np.stack(variants, axis=1)


@lru_cache(maxsize=4096)
def options(layer: Shape, budget: Budget) -> Options:
    """Every way to fold a layer with every variant of its memory and products, by rising cycles."""
    if layer.reuse:
        parallel = widths(layer.mh * layer.mw)
        simd = np.minimum(parallel, layer.mw).astype(np.float64)
        pe = parallel / simd
    else:
        pe, simd = (axis.ravel() for axis in np.meshgrid(widths(layer.mh), widths(layer.mw)))
    taken = use(layer, budget, pe, simd)
    variants = taken.shape[1]
    taken = taken.reshape(-1, len(Use._fields))
    fits = (taken <= limits(budget)).all(axis=1)
    pe, simd = np.repeat(pe, variants)[fits], np.repeat(simd, variants)[fits]
    spent = cycles(layer, pe, simd)
    order = np.argsort(spent, kind="stable")
    return Options(pe[order], simd[order], spent[order], taken[fits][order])


def limits(budget: Budget) -> np.ndarray:
    """The budget by resource, in the order of `Use`."""
    return np.array([budget.lut, budget.bram, budget.uram, budget.dsp])


@lru_cache(maxsize=256)
def fold(layers: tuple[Shape, ...], budget: Budget, target: float) -> Design | None:
    """The folding with the shortest interval that fits, or the longest within `target` cycles; None if none fits."""
    kinds = sorted(set(layers), key=layers.index)
    number = np.array([layers.count(kind) for kind in kinds], np.float64)
    each = [options(kind, budget) for kind in kinds]
    if any(len(option.cycles) == 0 for option in each):
        return None
    room = limits(budget)
    shares = WEIGHTS / np.maximum(room, 1)
    cheapest = [[_cheapest(option.use @ weight) for option in each] for weight in shares]
    intervals = np.unique(np.concatenate([option.cycles for option in each]))
    longest = max(option.cycles[0] for option in each)
    first = max(np.searchsorted(intervals, target, "right") - 1, np.searchsorted(intervals, longest))
    chosen, low, high = None, int(first), len(intervals) - 1
    while low <= high:
        middle = (low + high) // 2
        within = [int(np.searchsorted(option.cycles, intervals[middle], "right")) - 1 for option in each]
        found = None
        for picks in cheapest:
            pick = [int(best[i]) for best, i in zip(picks, within, strict=True)]
            total = number @ np.array([option.use[i] for option, i in zip(each, pick, strict=True)])
            if (total <= room).all():
                found = pick
                break
        if found is None:
            low = middle + 1
        else:
            chosen, high = found, middle - 1
    if chosen is None:
        return None
    place = [kinds.index(layer) for layer in layers]
    pairs = [(each[kind], chosen[kind]) for kind in place]
    return Design(*(np.array([getattr(option, key)[i] for option, i in pairs]) for key in Design._fields))


def _cheapest(score: np.ndarray) -> np.ndarray:
    """By option: the cheapest among it and those before it."""
    least = np.minimum.accumulate(score)
    fresh = np.concatenate([[True], score[1:] < least[:-1]])
    return np.maximum.accumulate(np.where(fresh, np.arange(len(score)), 0))


def given(layers: tuple[Shape, ...], budget: Budget, folds: list[tuple[int, int]]) -> Design:
    """The design with PE and SIMD as given, every layer in the variant of the least share of the part."""
    room = np.maximum(limits(budget), 1)
    rows = []
    for layer, (pe, simd) in zip(layers, folds, strict=True):
        parallel = np.array([float(pe)]), np.array([float(simd)])
        taken = use(layer, budget, *parallel)[0]
        rows.append((pe, simd, cycles(layer, *parallel)[0], taken[np.argmin((taken / room).sum(axis=1))]))
    return Design(*(np.array(column, np.float64) for column in zip(*rows, strict=True)))


def smallest(layers: tuple[Shape, ...], budget: Budget) -> np.ndarray:
    """The least of each resource that the layers take, one position and one product at a time."""
    one = np.ones(1)
    return np.sum([use(layer, budget, one, one)[0].min(axis=0) for layer in layers], axis=0)


def latency(layers: tuple[LayerWork, ...], cycles: np.ndarray, enter: float, levels: float | None) -> float:
    """Cycles from the first input of a sample to its last output.

    A layer starts with the rows of its first window and ends no sooner than one row after the layer before it. Where
    that window is more than half of the map, or where there is but one position, it waits for the whole map. enter:
    cycles in which the sample streams in. levels: adders in a row per cycle, where these add to the folds.
    """
    first, last = 0.0, 0.0
    for i, (layer, spent) in enumerate(zip(layers, cycles, strict=True)):
        rows = layer.output_map[0] if prod(layer.kernel) > 1 else layer.m
        needed = layer.kernel[0] / layer.input_map[0] if prod(layer.kernel) > 1 else 1 / layer.m
        needed = 1.0 if needed > 0.5 or layer.steps > 1 else needed
        depth = 1 + np.ceil(np.log2(layer.k) / levels) if levels else 0
        start = first + (last - first) * needed + depth
        first, last = start + spent / rows, max(start + spent, last + spent / rows + depth)
        if i == 0:  # works on the inputs while they stream in
            last = max(last, enter + depth)
    return float(last)
