"""Chips with limits of one's own, and the smallest network that is counted by hand."""

from collections.abc import Callable

import jax
import numpy as np
import pytest

from neuro.chip import Chip, Mesh, load
from neuro.constants import Number, Seconds
from neuro.count import count
from neuro.graph import Graph, Node
from neuro.layers import Dense, Input, Scale, Threshold
from neuro.placement import Placement


def _altered(name: str, **limits: float) -> Chip:
    chip = load(name)
    source = next(iter(chip.sources))
    numbers = {k: Number(value=str(v), source=source, basis="datasheet") for k, v in limits.items()}  # pyright: ignore
    return chip.model_copy(update={"limits": chip.limits.model_copy(update=numbers)})


def _paced(pace: str, topology: str = "mesh", multicast: bool = False, **limits: float) -> Chip:
    chip = _altered("generic", **limits)
    source = next(iter(chip.sources))

    def seconds(value: str) -> Seconds:
        return Seconds(value=value, source=source, basis="datasheet")  # pyright: ignore

    def number(value: float) -> Number:
        return Number(value=str(value), source=source, basis="datasheet")  # pyright: ignore

    kind = {"serial": "barrier", "overlap": "barrier"}.get(pace, pace)
    own = {"tick": {"tick": seconds("60 ns")}, "event": {"layer": seconds("1 us")}}.get(kind, {})
    none = {} if kind == "barrier" else dict.fromkeys(("barrier", "barrier_level", "barrier_chip"))
    cores = chip.limits.cores.value
    width, height, each = {"star": (1, 1, cores), "tree": (4, 8, np.ceil(cores / 32))}.get(topology, (8, 8, 2))
    wide = {"width": number(width), "height": number(height), "cores_per_router": number(each)}
    mesh = Mesh(topology=topology, multicast=multicast, chips_wide=chip.mesh.chips_wide, **wide)  # pyright: ignore
    step = chip.pace.model_copy(update={"kind": kind, "overlap": pace == "overlap"})
    return chip.model_copy(update={"pace": step, "mesh": mesh, "time": chip.time.model_copy(update=own | none)})


@pytest.fixture(scope="session")
def paced_chip() -> Callable[..., Chip]:
    """The generic chip with another pace (serial or overlap: barriers; tick; event), network between its cores, and
    limits."""
    return _paced


@pytest.fixture(scope="session")
def altered_chip() -> Callable[..., Chip]:
    """A bundled chip, by name, with some limits replaced."""
    return _altered


QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""Compiled once for a few samples: what the compiler takes is all that counts."""


def _counter(placement: Placement) -> Callable:
    compiled = {}

    def run(spikes: dict):
        key = next(iter(spikes.values())).shape[1]
        if key not in compiled:
            compiled[key] = jax.jit(lambda trains: count(placement, trains)).lower(spikes).compile(QUICK)
        return compiled[key](spikes)

    return run


@pytest.fixture(scope="session")
def counter() -> Callable[[Placement], Callable]:
    """`count` on a placement, compiled once for each number of samples: a fraction of what it takes step by step."""
    return _counter


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
