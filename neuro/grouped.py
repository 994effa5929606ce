"""What the spikes of a population cause, as the compiled kernel reads it (kernels/account.h).

A word of 64 neurons of one position is a unit. Much of what their spikes cause is the same for all of them, as they sit
on few cores and reach the same ones: that is counted once for all spikes of a unit, and only what a neuron has beyond
it, such as the number of its synapses, spike by spike. Neighbouring units reach neighbouring cores: effects are ordered
so that those of a unit lie close together, in few blocks.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

from neuro.taps import Layout

UNIT = 64
"""Neurons of a unit: the bits of a word."""
AT_ONCE = 2**24
"""Effects of neurons that are held at a time."""


MOST = 255
"""What a byte holds; an effect in which neurons differ by more has several places."""


@dataclass(frozen=True, eq=False)
class Grouped:
    """Tables of a population. order [place]: where the effect at each place is counted; behind the last, places that
    hold nothing.

    units [unit, 6]: position, word, and which of `blocks` (first, last) hold what is common to its neurons, and those
    in which they differ. blocks: the first place of each, the common ones first. common: what every spike causes in
    those. row_of [unit, lane]: where the part of `rows` begins that a neuron causes beyond that, in the blocks in which
    its unit's neurons differ, one after the other.
    """

    order: Int[np.ndarray, "place"]
    units: Int[np.ndarray, "unit 6"]
    blocks: Int[np.ndarray, "block"]
    common: Float[np.ndarray, "shared number"]
    row_of: Int[np.ndarray, "unit lane"]
    rows: UInt8[np.ndarray, "byte"]


def grouped(
    matrix: Float[np.ndarray, "neuron effect"], columns: Int[np.ndarray, "effect"], layout: Layout, block: int
) -> Grouped:
    """The tables of neurons that cause `matrix`. columns: where an effect is counted. block: places of one block.

    Raises:
        ValueError: effects that are no whole numbers.
    """
    channels = layout.neurons.shape[1]
    words = -(-channels // UNIT)
    # what lies beyond the last channel never spikes, and has the effects of that one so that it does not differ
    neurons = np.pad(layout.neurons, ((0, 0), (0, words * UNIT - channels)), mode="edge").reshape(-1, UNIT)
    low, high = (np.empty((len(neurons), matrix.shape[1]), np.float32) for _ in range(2))
    step = max(1, AT_ONCE // (UNIT * matrix.shape[1]))
    for first in range(0, len(neurons), step):
        each = matrix[neurons[first : first + step]]
        low[first : first + step], high[first : first + step] = each.min(axis=1), each.max(axis=1)
        if (each != np.rint(each)).any():
            raise ValueError("effects of a spike are counts, whole numbers")
    ordered = _ordered(high != 0, high != low)
    copies = np.maximum(1, np.ceil((high - low).max(axis=0) / MOST)).astype(int)[ordered]
    effect = np.repeat(ordered, copies)
    less = MOST * (np.arange(len(effect)) - np.repeat(np.cumsum(copies) - copies, copies))  # held by places before
    spare = (0, -len(effect) % block)
    shared = np.pad(low[:, effect] * (less == 0), ((0, 0), spare))
    differs = np.pad((high - low)[:, effect] > less, ((0, 0), spare))
    common, own = (np.asarray(on.reshape(len(on), -1, block).any(axis=2)) for on in (shared != 0, differs))
    ends = np.cumsum([*common.sum(axis=1), *own.sum(axis=1)]).reshape(2, -1)
    spans = [np.stack([end - on.sum(axis=1), end], axis=1) for end, on in zip(ends, (common, own), strict=True)]
    row_of, rows = _rows(matrix, neurons, low, own, block, (effect, less))
    return Grouped(
        order=np.pad(columns[effect], spare).astype(np.int32),
        units=np.column_stack([*np.divmod(np.arange(len(neurons)), words), *spans]).astype(np.int32),
        blocks=np.concatenate([np.nonzero(on)[1] * block for on in (common, own)]).astype(np.int32),
        common=shared.reshape(len(low), -1, block)[common],
        row_of=row_of,
        rows=rows,
    )


def _ordered(has: np.ndarray, differs: np.ndarray) -> Int[np.ndarray, "effect"]:
    """The effects that any neuron has, those first in which no unit's neurons differ; among these and the others, those
    of most units first, then in the order of where the units are that have them."""
    used = np.flatnonzero(has.any(axis=0))
    has, unlike = has[:, used], np.asarray(differs[:, used].any(axis=0))
    where = np.arange(1, 1 + len(has)) @ has / has.sum(axis=0) * (has.mean(axis=0) <= 0.5)
    return used[np.lexsort((where, unlike))]


def _rows(
    matrix: np.ndarray,
    neurons: np.ndarray,
    low: np.ndarray,
    own: np.ndarray,
    block: int,
    places: tuple[np.ndarray, np.ndarray],
) -> tuple[Int[np.ndarray, "unit lane"], UInt8[np.ndarray, "byte"]]:
    """What neurons cause beyond what is common to their unit in its `own` blocks: where each one's begins, and all,
    equal ones once. places: the effect of each, and how much of it places before hold."""
    effect, less = places
    row_of, number = np.zeros(neurons.shape, np.int32), own.sum(axis=1)
    found, taken = [np.zeros(0, np.uint8)], 0
    for blocks in np.unique(number[number > 0]):
        mine = np.flatnonzero(number == blocks)
        beyond = np.zeros((len(mine), UNIT, blocks * block), np.uint8)
        for k, unit in enumerate(mine):
            at = np.flatnonzero(np.repeat(own[unit], block)[: len(effect)])
            each = matrix[np.ix_(neurons[unit], effect[at])] - low[unit, effect[at]] - less[at]
            beyond[k, :, : len(at)] = np.clip(each, 0, MOST)
        rows, which = np.unique(beyond.reshape(len(mine) * UNIT, -1), axis=0, return_inverse=True)
        row_of[mine] = taken + which.reshape(-1, UNIT) * rows.shape[1]
        found.append(rows.ravel())
        taken += rows.size
    return row_of, np.concatenate(found)
