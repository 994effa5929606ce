"""The spikes of a population in a few sums, as the compiled kernel takes them (kernels/account.h).

What spikes cause is linear in them. Most of it is the same for many neurons, as they sit on few cores and reach the
same ones: it is enough to know how many neurons of such a group spike in a step. Other effects differ from neuron to
neuron, such as the number of synapses where some weights are zero: each has a sum of its own, digit by digit of its
binary amounts. Neurons come in words of 64 of one position, and all that is ever counted is how many of some neurons of
a word spike: a unit.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_array, vstack

from neuro.taps import Layout

WORD = 64
"""Neurons of a word."""
OFTEN = 4
"""Changes along a word above which an effect has a sum of its own."""


@dataclass(frozen=True, eq=False)
class Grouped:
    """Tables of a population. causes: what one of each sum comes to. units [unit, 3]: which word of all positions, and
    its bits (the low 32, the high 32). runs [run, 3] of units: to which sum each of their spikes adds, how much, and
    where the run ends."""

    causes: csr_array
    units: Int[np.ndarray, "unit 3"]
    runs: Int[np.ndarray, "run 3"]


def grouped(matrix: Float[np.ndarray, "neuron effect"], layout: Layout) -> Grouped:
    """The tables of neurons that cause `matrix`.

    Raises:
        ValueError: effects that are no whole numbers.
    """
    if any((row != np.rint(row)).any() for row in matrix):  # row by row: the matrix may be large
        raise ValueError("effects of a spike are counts, whole numbers")
    channels = layout.neurons.shape[1]
    # what lies beyond the last channel never spikes, and counts as another of that one
    padded = np.pad(layout.neurons, ((0, 0), (0, -channels % WORD)), mode="edge")
    neurons = np.ascontiguousarray(padded).reshape(-1, WORD)
    own = _often(matrix, neurons)
    group, common = _alike(matrix[:, ~own])
    causes = np.zeros((len(common), matrix.shape[1]), np.float32)
    causes[:, ~own] = common
    runs = [(_units(group[neurons] == k), k, 1) for k in range(len(common))]
    for k, effect in enumerate(np.flatnonzero(own)):
        causes[:, effect], units = _digits(matrix[:, effect].astype(int), group, len(common), neurons)
        runs += [(found, len(common) + k, amount) for amount, found in units.items()]
    alone = np.eye(matrix.shape[1], dtype=np.float32)[own]
    return Grouped(
        causes=csr_array(vstack([csr_array(causes), csr_array(alone)])),
        units=np.concatenate([found for found, _, _ in runs]).astype(np.int32),
        runs=np.column_stack([[run[1:] for run in runs], np.cumsum([len(run[0]) for run in runs])]).astype(np.int32),
    )


def _digits(
    amounts: Int[np.ndarray, "neuron"],
    group: Int[np.ndarray, "neuron"],
    groups: int,
    neurons: Int[np.ndarray, "word lane"],
) -> tuple[Int[np.ndarray, "group"], dict[int, Int[np.ndarray, "unit 3"]]]:
    """What of an effect a group has in common, and the units of all that is beyond it, by what a spike of theirs adds.
    Either words have something in common too, or groups; whatever takes less."""
    of_word = amounts[neurons]
    least = of_word.min(axis=1)
    beyond = _binary(of_word - least[:, None])
    for some in np.unique(least[least > 0]).tolist():
        more = _units(np.repeat((least == some)[:, None], WORD, axis=1))
        beyond[some] = np.concatenate([beyond[some], more]) if some in beyond else more
    base = np.full(groups, amounts.max())
    np.minimum.at(base, group, amounts)
    other = _binary((amounts - base[group])[neurons])
    if sum(map(len, other.values())) + np.count_nonzero(base) <= sum(map(len, beyond.values())):
        return base, other
    return np.zeros(groups, int), beyond


def _binary(amounts: Int[np.ndarray, "word lane"]) -> dict[int, Int[np.ndarray, "unit 3"]]:
    """Units of neurons whose amount has a digit, by what the digit is worth."""
    return {1 << digit: _units(amounts >> digit & 1 == 1) for digit in range(int(amounts.max()).bit_length())}


def _often(
    matrix: Float[np.ndarray, "neuron effect"], neurons: Int[np.ndarray, "word lane"]
) -> Bool[np.ndarray, "effect"]:
    """Effects that change often along some word."""
    most = np.zeros(matrix.shape[1], int)
    for word in neurons:
        each = matrix[word]
        most = np.maximum(most, np.count_nonzero(each[1:] != each[:-1], axis=0))
    return most > OFTEN


def _alike(rows: Float[np.ndarray, "row effect"]) -> tuple[Int[np.ndarray, "row"], Float[np.ndarray, "group effect"]]:
    """Which group each row is of, and the row of each group."""
    found: dict[bytes, int] = {}
    group = np.array([found.setdefault(row.tobytes(), len(found)) for row in rows], int)
    return group, rows[np.unique(group, return_index=True)[1]]


def _units(of: Bool[np.ndarray, "word lane"]) -> Int[np.ndarray, "unit 3"]:
    """Units of the neurons `of` words."""
    bits = np.packbits(of, axis=1, bitorder="little").view("<i4")
    used = np.flatnonzero(bits.any(axis=1))
    return np.column_stack([used, bits[used]])
