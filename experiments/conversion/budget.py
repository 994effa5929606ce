"""How many levels a network needs for a given loss, found on calibration items alone."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import special

from converters import quantise
from converters.readout import real
from experiments.decision import classes
from experiments.prepared import Prepared
from experiments.run import outputs
from neuro.errors import BadInput
from neuro.graph import Graph

LEVELS = (1, 3, 7, 15, 31, 63, 127, 255)
CONFIDENCE = 0.8
"""Of the one-sided upper bound that must stay within the budget."""


@dataclass(frozen=True)
class Choice:
    """The fewest levels within a budget, or the most there are.

    upper: the upper bound of the change at these levels, in `unit`; within: whether it is within the budget. items: how
    many were left out of the calibration to measure it; tried: the bound by levels.
    """

    levels: int
    budget: float
    upper: float
    within: bool
    unit: str
    items: int
    tried: dict[int, float]


def choose(source: Prepared, folded: Graph, budget: float, weight_bits: int) -> Choice:
    """The fewest of `LEVELS` at which the integer network, calibrated on every other calibration item, changes what the
    network says about the rest by at most `budget`. More levels are taken never to change more: they are halved.

    Raises:
        BadInput: fewer than four calibration items.
    """
    dataset = source.dataset
    counts, items = dataset.calibration_counts, len(dataset.x_calibration)
    if items < 4:
        raise BadInput(f"{dataset.name}: {items} calibration item(s) cannot be divided; give --levels, not --budget.")
    wanted = outputs(source.network, dataset.calibration_input[1::2])
    classified = dataset.targets is None
    bound = partial(changed_share, source.network) if classified else mean_change
    tried: dict[int, float] = {}

    def within(levels: int) -> bool:
        form = quantise.reference(folded, counts[::2], dataset.levels, levels, weight_bits)
        tried[levels] = bound(wanted, real(source.network, form, outputs(form.graph, counts[1::2])))
        return tried[levels] <= budget

    low, high = 0, len(LEVELS) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if within(LEVELS[middle]) else (middle + 1, high)
    levels = LEVELS[low]
    if levels not in tried:
        within(levels)
    unit = "points" if classified else dataset.unit
    return Choice(levels, budget, tried[levels], tried[levels] <= budget, unit, items // 2, tried)


def changed_share(network: Graph, wanted: np.ndarray, got: np.ndarray) -> float:
    """The upper bound of the share of decisions that change, in points: no accuracy falls by more (Clopper-Pearson)."""
    changed = int((classes(network, wanted) != classes(network, got)).sum())
    items = len(wanted)
    return 100.0 if changed == items else 100 * float(special.betaincinv(changed + 1, items - changed, CONFIDENCE))


def mean_change(wanted: np.ndarray, got: np.ndarray) -> float:
    """The upper bound of the mean change of an output, in its units: no mean absolute error rises by more."""
    change = np.abs(wanted - got).reshape(len(wanted), -1).mean(axis=1)
    spread = change.std(ddof=1) / len(change) ** 0.5
    return float(change.mean() + special.stdtrit(len(change) - 1, CONFIDENCE) * spread)
