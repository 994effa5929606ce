"""Small folded graphs with everything that ties channels: residual sums, depthwise layers, pools, concatenation."""

from collections.abc import Callable

import numpy as np
import pytest

from converters.fold import fold
from neuro.graph import Graph, Node
from neuro.layers import Add, AvgPool, Concat, Conv, Dense, Input, MaxPool, Op, Relu, Reshape


@pytest.fixture(scope="session")
def folded() -> Callable[[int], Graph]:
    """A folded graph on counts [2, 6, 6] from a seed."""
    return _folded


@pytest.fixture(scope="session")
def mlp() -> Callable[[int], Graph]:
    """A folded graph 12-16-16-5 from a seed."""
    return _mlp


def _folded(seed: int) -> Graph:
    rng = np.random.default_rng(seed)
    nodes = [Node("in", Input((2, 6, 6)))]

    def add(name: str, op: Op, *inputs: str) -> str:
        nodes.append(Node(name, op, inputs or (nodes[-1].name,)))
        return name

    def conv(name: str, enter: int, leave: int, source: str, groups: int = 1) -> str:
        weight = rng.normal(size=(leave, enter // groups, 3, 3)) * (2 / (9 * enter / groups)) ** 0.5
        one = Conv(weight, rng.normal(size=leave) * 0.1, (1, 1), ((1, 1), (1, 1)), groups)
        add(name, one, source)
        return add(f"{name}.relu", Relu())

    first = conv("first", 2, 6, "in")
    second = conv("second", 6, 6, first)
    add("sum", Add(), first, second)
    total = add("sum.relu", Relu())
    deep = conv("deep", 6, 6, total, groups=6)
    wide = conv("wide", 6, 5, deep)
    other = conv("other", 6, 4, deep)
    add("join", Concat(0), wide, other)
    pool = MaxPool if rng.integers(2) else AvgPool
    add("pool", pool((2, 2), (2, 2), ((0, 0), (0, 0))))
    add("flat", Reshape((81,)))
    add("hidden", Dense(rng.normal(size=(7, 81)) / 9, rng.normal(size=7) * 0.1))
    add("hidden.relu", Relu())
    add("last", Dense(rng.normal(size=(3, 7)), rng.normal(size=3)))
    return fold(Graph("mixed", tuple(nodes)), np.array(1 / 15), np.array(0.0))


def _mlp(seed: int) -> Graph:
    rng = np.random.default_rng(seed)
    nodes = [Node("in", Input((12,)))]
    for k, (enter, leave) in enumerate(((12, 16), (16, 16), (16, 5))):
        if k:
            nodes.append(Node(f"relu{k}", Relu(), (nodes[-1].name,)))
        op = Dense(rng.normal(size=(leave, enter)) / enter**0.5, rng.normal(size=leave) * 0.2)
        nodes.append(Node(f"dense{k}", op, (nodes[-1].name,)))
    return fold(Graph("mlp", tuple(nodes)), np.array(1 / 15), np.array(0.0))
