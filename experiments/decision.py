"""What a network decides, and how well: classes, or numbers in the units of their targets."""

from typing import TypedDict

import numpy as np

from experiments.datasets.dataset import DataSet
from experiments.regression import errors
from neuro.graph import Graph
from neuro.layers import Activation

Z = 1.959964
"""Standard normal deviate of a 95 % interval."""


class Error(TypedDict):
    """How far predicted numbers are off, over all outputs: root mean square and mean absolute error."""

    rmse: float
    mae: float
    unit: str


def classes(network: Graph, values: np.ndarray) -> np.ndarray:
    """The class of every item from the outputs [item, ...] of `network`: the largest, or of one output yes or no.

    One output counts as yes above zero, or where it is a probability (a sigmoid is last) above a half.
    """
    flat = values.reshape(len(values), -1)
    if flat.shape[1] > 1:
        return flat.argmax(axis=1)
    last = network.output.op
    sigmoid = isinstance(last, Activation) and last.function.name in ("sigmoid", "hard_sigmoid")
    return (flat[:, 0] > (0.5 if sigmoid else 0.0)).astype(np.int64)


def accuracy(predictions: np.ndarray, dataset: DataSet) -> float | None:
    """Share of items whose class is right; None where the classes are not known."""
    return None if dataset.y is None else float((predictions == dataset.y).mean())


def error(values: np.ndarray, dataset: DataSet) -> Error | None:
    """Errors of outputs [item, ...] against real targets; None where there are none. Raises BadInput."""
    if dataset.targets is None:
        return None
    found = errors(values.reshape(len(values), -1), dataset)
    rmse = float(np.sqrt((found.rmse**2).mean()))
    return {"rmse": rmse, "mae": float(found.mae.mean()), "unit": found.unit}


def paired(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float]:
    """The drop from `first` to `second` [item], right or wrong, in points, and its 95 % interval.

    b items that only the first has right, c that only the second has: (b - c) / n, with variance
    (b + c - (b - c)^2 / n) / n^2 (McNemar), of which b + c is never taken below one.
    """
    items = len(first)
    lost, won = int((first & ~second).sum()), int((~first & second).sum())
    drop = (lost - won) / items
    half = Z * (max(lost + won, 1) - (lost - won) ** 2 / items) ** 0.5 / items
    return 100 * drop, 100 * (drop - half), 100 * (drop + half)
