"""What counting costs: a run of the engine alone, and with the hardware events of a placed network counted in it.

``python -m experiments.benchmarks.accounting [DENSITY ...]``: the workloads W1 and W2 of `experiments.benchmarks.peers`
at each density, on Loihi 2, every packet along its route, for samples that run alone and for samples that follow each
other; in turns, medians. Threads are those that JAX is given.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import jax
import numpy as np
from rich.table import Table

from converters.encode import encode
from experiments.benchmarks.peers import layered, ours
from experiments.benchmarks.peers.network import Network
from experiments.terminal import screen
from neuro.capability import realise
from neuro.chip import load
from neuro.count import count
from neuro.graph import Graph, Node
from neuro.layers import Dense, Scale
from neuro.placement import Placement, place
from neuro.wiring import of_graph

CHIP, ROUNDS = "loihi2", 15
FORMS = {"W1": layered.DENSE, "W2": layered.CONVOLUTIONAL}


@dataclass(frozen=True)
class Spent:
    """Seconds of every round: the run alone, and with its events counted."""

    alone: tuple[float, ...]
    counted: tuple[float, ...]

    @property
    def cost(self) -> float:
        """What counting adds, as a share of the run alone: of the medians."""
        return median(self.counted) / median(self.alone) - 1


def placed(network: Network) -> Placement:
    """`network` with a read-out of its own, under the rate code, on the chip."""
    graph = ours.as_graph(network)
    classes = len(network.weights[-1])
    end = (
        Node("behind", Dense(np.eye(classes, dtype=np.int64), None), (graph.output.name,)),
        Node("read", Scale(np.ones(classes, np.int64), np.zeros(classes, np.int64)), ("behind",)),
    )
    graph = encode(Graph(graph.name, (*graph.nodes, *end)), "rate", network.steps)
    chip = load(CHIP)
    way = realise(chip, "rate", graph)
    return place(of_graph(graph, chip, way), chip, way)


def measure(network: Network, placement: Placement, rounds: int = ROUNDS) -> Spent:
    """The spikes of `network` with and without the events of `placement`, which its constant input has no part in."""
    fired = ours.spiking(network)

    def counted(fired):
        trains = fired()
        return trains, count(placement, trains)

    runs = [jax.jit(lambda fired: fired()), jax.jit(counted)]
    spent = [[_seconds(run, fired) for run in runs] for _ in range(1 + rounds)][1:]
    alone, both = zip(*spent, strict=True)
    return Spent(alone, both)


def _seconds(run: Callable, argument: object) -> float:
    start = perf_counter()
    jax.block_until_ready(run(argument))
    return perf_counter() - start


def main(densities: list[float]) -> None:
    """Prints a row for each workload and density."""
    table = Table(box=None, pad_edge=False)
    for heading in ("workload", "density", "cores", "ms alone", "ms counted", "cost"):
        table.add_column(heading, justify="left" if heading == "workload" else "right")
    for name, form in FORMS.items():
        placement = None
        for density in densities:
            network = layered.draw(form, "int8", density)
            placement = placement or placed(network)
            spent = measure(network, placement)
            table.add_row(
                name, f"{density:.1%}", str(placement.number), f"{1e3 * median(spent.alone):.2f}",
                f"{1e3 * median(spent.counted):.2f}", f"{spent.cost:+.1%}",
            )  # fmt: skip
    screen().print(table)


if __name__ == "__main__":
    main([float(argument) for argument in sys.argv[1:]] or [0.01, 0.05, 0.2])
