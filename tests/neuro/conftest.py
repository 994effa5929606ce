"""Chips with limits of one's own, and the smallest network that is counted by hand."""

from collections.abc import Callable

import numpy as np
import pytest

from neuro.chip import Chip, load
from neuro.constants import Number
from neuro.graph import Graph, Node
from neuro.layers import Dense, Input, Scale, Threshold


def _altered(name: str, **limits: float) -> Chip:
    chip = load(name)
    source = next(iter(chip.sources))
    numbers = {k: Number(value=str(v), source=source, basis="datasheet") for k, v in limits.items()}  # pyright: ignore
    return chip.model_copy(update={"limits": chip.limits.model_copy(update=numbers)})


@pytest.fixture(scope="session")
def altered_chip() -> Callable[..., Chip]:
    """A bundled chip, by name, with some limits replaced."""
    return _altered


@pytest.fixture(scope="session")
def tiny_network() -> Graph:
    """2 inputs, 3 hidden neurons, 2 outputs; thresholds 1, no biases, 2 levels.

    Counts (2, 1) give hidden membranes 2, 3, -1, hence counts 2, 2, 0, and outputs 4, 2.
    """
    hidden = Dense(np.array([[1, 0], [1, 1], [0, -1]]), None)
    out = Dense(np.array([[1, 1, 1], [0, 1, 0]]), None)
    nodes = (
        Node("in", Input((2,), 2)),
        Node("w1", hidden, ("in",)),
        Node("hidden", Threshold(np.ones(3, np.int64), np.zeros(3, np.int64), 2), ("w1",)),
        Node("w2", out, ("hidden",)),
        Node("out", Scale(np.ones(2, np.int64), np.zeros(2, np.int64)), ("w2",)),
    )
    return Graph("tiny", nodes)
