"""How long it takes to price a mapped network under 100,000 joint draws of the constants, for every chip that maps.

Drawing, compiling and pricing apart; the figure that counts is the last, the median of several rounds. The network
is a small convolutional one with random weights and spikes: a price does not depend on what the events are of.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import jax
import jax.numpy as jnp
import numpy as np
from rich.table import Table

from converters.encode import encode
from experiments.arm import Arm, Machine, item_events, latents, pricer
from experiments.terminal import screen
from experiments.uncertainty import draw
from neuro import chip as chip_file
from neuro.capability import realise
from neuro.chip import Chip
from neuro.codes import Code
from neuro.count import count
from neuro.graph import Graph, Node
from neuro.layers import Conv, Dense, Input, Reshape, Scale, Threshold
from neuro.placement import place
from neuro.wiring import of_graph

DRAWS = 2**17
"""The least power of two above 100,000: quasi-random points come in such numbers."""
ROUNDS = 7
ITEMS = 4
LEVELS = 15
DENSITY = 0.1


def network(side: int = 28) -> Graph:
    """Two strided convolutions and a dense read-out, as an integer network with random weights."""
    rng = np.random.default_rng(0)
    nodes, channels = [Node("in", Input((1, side, side), LEVELS))], 1
    for layer, after in enumerate((8, 16)):
        weight = rng.integers(-8, 9, (after, channels, 3, 3))
        one = np.ones((after, 1, 1), np.int64)
        nodes.append(Node(f"conv{layer}", Conv(weight, None, (2, 2), ((1, 1), (1, 1))), (nodes[-1].name,)))
        nodes.append(Node(f"fire{layer}", Threshold(50 * one, 0 * one, LEVELS), (nodes[-1].name,)))
        side, channels = (side + 1) // 2, after
    nodes.append(Node("flat", Reshape((channels * side * side,)), (nodes[-1].name,)))
    nodes.append(Node("dense", Dense(rng.integers(-8, 9, (10, channels * side * side)), None), ("flat",)))
    nodes.append(Node("out", Scale(np.ones(10, np.int64), np.zeros(10, np.int64)), ("dense",)))
    return Graph("convnet", tuple(nodes))


def arms(chip: Chip, integer: Graph) -> Iterator[Arm]:
    """`integer` on the chip under its code of fewest steps, in every regime, with random spikes counted."""
    order: tuple[Code, ...] = ("bits", "unary", "rate")
    codes: list[Code] = [code for code in order if realise(chip, code).status != "impossible"]
    graph = encode(integer, codes[0], LEVELS if codes[0] == "rate" else None)
    way = realise(chip, codes[0], graph)
    assert graph.schedule is not None
    rng = np.random.default_rng(0)
    windows = graph.schedule.windows
    spikes = {n: jnp.asarray(rng.random((w.steps, ITEMS, *graph.shapes[n])) < DENSITY) for n, w in windows.items()}
    placement = place(of_graph(graph, chip, way), chip, way)
    counts = jax.jit(lambda trains: count(placement, trains))(spikes)
    machine = Machine("neuromorphic", chip, lambda values, boundary: chip_file.prices(chip, values, boundary))
    for regime, found in jax.tree_util.tree_map(np.asarray, counts).items():
        yield Arm(machine, "spiking", regime, "", None, code=codes[0], counts=found)


@dataclass(frozen=True)
class Spent:
    """Seconds: to draw the constants, to compile, and of every round of pricing."""

    drawing: float
    compiling: float
    rounds: tuple[float, ...]


def measure(found: tuple[Arm, ...], draws: int, rounds: int) -> Spent:
    """`found`, arms on one chip, priced under `draws` (a power of two) draws of its constants."""
    machines = [found[0].machine]
    start = perf_counter()
    factors = draw(latents(machines), len(machines), draws, seed=0).factors
    drawing = perf_counter() - start
    run = pricer(found, machines, next(iter(found[0].machine.description.power)), draws)
    mean = item_events(found, ITEMS).mean(axis=0)
    events = np.broadcast_to(mean, (draws, len(mean)))
    spent = []
    for _ in range(1 + rounds):
        start = perf_counter()
        energy, latency = run(factors, events)
        spent.append(perf_counter() - start)
        assert energy.shape == latency.shape == (draws, len(found))
    return Spent(drawing, spent[0] - median(spent[1:]), tuple(spent[1:]))


def main(rounds: int = ROUNDS, draws: int = DRAWS) -> None:
    """Prints a row for each chip: its arms, and seconds to draw, to compile and to price."""
    table = Table(box=None, pad_edge=False)
    for heading in ("chip", "arms", "constants", "draws", "drawing s", "compiling s", "pricing s", "least", "most"):
        table.add_column(heading, justify="left" if heading == "chip" else "right")
    integer = network()
    for chip in (c for c in map(chip_file.load, chip_file.known()) if c.scope == "mapped"):
        found = tuple(arms(chip, integer))
        spent = measure(found, draws, rounds)
        table.add_row(
            chip.name, str(len(found)), str(len(latents([found[0].machine]))), f"{draws:,}", f"{spent.drawing:.2f}",
            f"{spent.compiling:.2f}", f"{median(spent.rounds):.3f}", f"{min(spent.rounds):.3f}",
            f"{max(spent.rounds):.3f}",
        )  # fmt: skip
    screen().print(table)


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:]))
