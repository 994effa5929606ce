"""How near cuts into cores come to what is possible: cores against their bound, step time against simulated annealing.

Networks have random weights and the shapes of real ones; a tenth of the neurons spikes in a step, unevenly.
"""

import sys
from collections.abc import Callable
from math import exp, log
from time import perf_counter

import numpy as np
from rich.console import Console
from rich.table import Table

from neuro.blocks import Parts, parts
from neuro.capability import Realisation
from neuro.chip import Chip, load
from neuro.demand import Demand, allowed
from neuro.dynamics import Dynamics
from neuro.graph import Graph, Node
from neuro.layers import Add, Conv, Dense, Input, Op, Reshape, SumPool, Threshold, output_shape
from neuro.network import Network, Neurons, Projection
from neuro.partition import bound, partition, step_time
from neuro.schedule import Schedule, Window
from neuro.stages import populations
from neuro.wiring import Wiring, of_graph, of_network

STEPS = 64
RATE = 0.1
MOVES = 20_000
"""Moves of an annealing run; the last ones are no longer accepted uphill."""


class Layers:
    """A spiking graph under construction, layer after layer."""

    def __init__(self, *shape: int) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes, self.shapes, self.last = [Node("in", Input(shape, 255))], {"in": shape}, "in"

    def add(self, op: Op, *inputs: str) -> "Layers":
        """Puts an operator behind `inputs`, or behind the last one."""
        name, feeds = f"n{len(self.nodes)}", inputs or (self.last,)
        self.nodes.append(Node(name, op, feeds))
        self.shapes[name] = output_shape(op, [self.shapes[i] for i in feeds])
        self.last = name
        return self

    def fire(self) -> "Layers":
        """A threshold for every channel."""
        one = np.ones((self.shapes[self.last][0], *(1,) * (len(self.shapes[self.last]) - 1)), np.int64)
        return self.add(Threshold(one, 0 * one, 1))

    def convolve(self, outputs: int, kernel: int, stride: int = 1, groups: int = 1, pad: int | None = None) -> "Layers":
        """A convolution, padded to keep the size unless `pad` says otherwise, without its threshold."""
        inputs, pad = self.shapes[self.last][0], (kernel - 1) // 2 if pad is None else pad
        weight = self.rng.integers(-127, 128, (outputs, inputs // groups, kernel, kernel))
        return self.add(Conv(weight, None, (stride, stride), ((pad, pad), (pad, pad)), groups))

    def convolutions(self, *described: tuple[int, ...], **options: int) -> "Layers":
        """Convolutions of (outputs, kernel, stride) with their thresholds."""
        for each in described:
            self.convolve(*each, **options).fire()
        return self

    def separable(self, *described: tuple[int, int]) -> "Layers":
        """Depthwise 3 x 3 and pointwise pairs of (outputs, stride)."""
        for outputs, stride in described:
            channels = self.shapes[self.last][0]
            self.convolve(channels, 3, stride, channels).fire().convolve(outputs, 1).fire()
        return self

    def residual(self, outputs: int, stride: int) -> "Layers":
        """Two 3 x 3 convolutions with a shortcut around them."""
        before = self.last
        self.convolve(outputs, 3, stride).fire().convolve(outputs, 3)
        branch = self.last
        if stride > 1 or self.shapes[before][0] != outputs:
            self.last = before
            self.convolve(outputs, 1, stride)
            before = self.last
        return self.add(Add(), branch, before).fire()

    def pool(self, size: int) -> "Layers":
        """Sums of windows side by side, in neurons of their own."""
        return self.add(SumPool((size, size), (size, size), ((0, 0), (0, 0)))).fire()

    def dense(self, *outputs: int) -> "Layers":
        """Dense layers with thresholds between them and none behind the last."""
        if len(self.shapes[self.last]) > 1:
            self.add(Reshape((int(np.prod(self.shapes[self.last])),)))
        for i, number in enumerate(outputs):
            weight = self.rng.integers(-127, 128, (number, self.shapes[self.last][0]))
            self.add(Dense(weight, None))
            if i < len(outputs) - 1:
                self.fire()
        return self

    def graph(self, name: str) -> Graph:
        """The graph, all of it running for `STEPS` steps."""
        graph = Graph(name, tuple(self.nodes))
        every = {n.name: Window(0, STEPS) for n in populations(graph)}
        return Graph(name, tuple(self.nodes), Schedule("rate", every, {}, STEPS, (STEPS, STEPS)))


def sheet(side: int = 100, synapses: int = 64, spread: float = 4.0) -> Network:
    """side x side neurons on a torus, each with synapses to others around it, and an input line for every ten."""
    rng = np.random.default_rng(0)
    number = side * side
    pre = np.repeat(np.arange(number), synapses)
    down, across = np.rint(rng.normal(0, spread, (2, len(pre)))).astype(np.int64)
    post = ((pre // side + down) % side) * side + (pre % side + across) % side
    line = np.repeat(np.arange(number // 10), 10)
    return Network(
        "recurrent sheet",
        (Neurons("in", (number // 10,)), Neurons("sheet", (side, side), Dynamics(1.0))),
        (
            Projection("in", "sheet", line, np.arange(len(line)), rng.integers(-127, 128, len(line))),
            Projection("sheet", "sheet", pre, post, rng.integers(-127, 128, len(pre))),
        ),
    )


def mobile(*shape: int) -> Layers:
    """MobileNet of width 0.35: 0.4 million parameters."""
    widths = [(22, 1), (45, 2), (45, 1), (90, 2), (90, 1), (179, 2), *[(179, 1)] * 5, (358, 2), (358, 1)]
    return Layers(*shape).convolutions((11, 3, 2)).separable(*widths)


def networks() -> dict[str, Callable[[], Graph | Network]]:
    """LeNet to MobileNet, and a recurrent one of 10,000 neurons."""
    named: dict[str, Callable[[], Layers]] = {
        "lenet": lambda: (
            Layers(1, 28, 28).convolutions((6, 5)).pool(2).convolutions((16, 5), pad=0).pool(2).dense(120, 84, 10)
        ),
        "nxtf": lambda: Layers(1, 28, 28).convolutions((16, 5, 2), (32, 3), (64, 3, 2), pad=0).convolve(10, 4, pad=0),
        "perceptron": lambda: Layers(784).dense(1024, 1024, 10),
        "autoencoder": lambda: Layers(640).dense(128, 128, 128, 128, 8, 128, 128, 128, 128, 640),
        "pilotnet": lambda: (
            Layers(3, 66, 200)
            .convolutions((24, 5, 2), (36, 5, 2), (48, 5, 2), (64, 3), (64, 3), pad=0)
            .dense(100, 50, 10, 1)
        ),
        "keywords": lambda: Layers(1, 50, 10).convolutions((64, 3, 2)).separable(*[(64, 1)] * 4).pool(5).dense(12),
        "gestures": lambda: (
            Layers(2, 64, 64).convolutions((16, 5, 2), (32, 3)).pool(2).convolutions((32, 3)).pool(2).dense(256, 11)
        ),
        "vgg": lambda: (
            Layers(3, 32, 32)
            .convolutions((32, 3), (32, 3))
            .pool(2)
            .convolutions((64, 3), (64, 3))
            .pool(2)
            .dense(256, 10)
        ),
        "resnet8": lambda: (
            Layers(3, 32, 32).convolutions((16, 3)).residual(16, 1).residual(32, 2).residual(64, 2).pool(8).dense(10)
        ),
        "mobilenet": lambda: mobile(3, 64, 64).pool(2).dense(10),
    }

    def build(name: str) -> Callable[[], Graph | Network]:
        return lambda: named[name]().graph(name)

    found: dict[str, Callable[[], Graph | Network]] = {name: build(name) for name in named}
    return found | {"sheet": sheet}


def wire(network: Graph | Network, chip: Chip) -> Wiring:
    """Its wiring on the chip with one compartment a neuron."""
    if isinstance(network, Network):
        return of_network(network, STEPS, network.inputs[0].size, 10)
    return of_graph(network, chip, Realisation("native"))


def activity(wiring: Wiring) -> dict[str, np.ndarray]:
    """Spikes of a run, log-normal over the neurons."""
    rng = np.random.default_rng(1)
    return {layer.name: STEPS * RATE * rng.lognormal(-0.5, 1.0, layer.size) for layer in wiring.layers}


def anneal(
    wiring: Wiring,
    chip: Chip,
    spikes: dict[str, np.ndarray],
    cores: int,
    start: dict[str, Parts],
    seed: int = 0,
    moves: int = MOVES,
) -> float:
    """The shortest step, in seconds, that simulated annealing finds among the cuts that keep all limits on `cores`.

    A move gives one layer another cut, at random or next in order; the busiest layer moves half of the time.
    """
    rng, realisation = np.random.default_rng(seed), Realisation("native")
    rates = {name: each / STEPS for name, each in spikes.items()}
    demands = {layer.name: Demand(wiring, layer, chip, realisation, rates) for layer in wiring.layers}
    choices = {layer.name: list(parts(layer.shape, 1, cores)) for layer in wiring.layers}
    targets = {layer.name: [t.name for t in wiring.layers if layer.name in t.sources] for layer in wiring.layers}
    held: dict[tuple[str, Parts], bool] = {}

    def seconds(name: str, chosen: dict[str, Parts]) -> float:
        demand, cut = demands[name], chosen[name]
        if (name, cut) not in held:
            limits = {
                "compartments": demand.compartments,
                "synapse_memory": demand.memory,
                "thresholds": demand.thresholds,
            }
            fits = all(use(cut).max() <= allowed(chip, limit) for limit, use in limits.items())
            held[name, cut] = fits and demand.hears_too_much(cut) is None and demand.fits_rows(cut)
        if not held[name, cut]:
            return float("inf")
        reached = [demands[t].reached(chosen[t], name) for t in targets[name]]
        if demand.axons_out(cut, reached).max() > allowed(chip, "axons_out"):
            return float("inf")
        packets = np.sum([np.zeros(wiring[name].size), *reached], axis=0)
        return float(demand.step(cut, np.minimum(packets, 1.0) if chip.mesh.multicast else packets).max())

    now = dict(start)
    times = {name: seconds(name, now) for name in now}
    best = worst = max(times.values())
    names = list(now)
    for move in range(moves):
        heat = 0.3 * (1 - move / moves) ** 2
        name = max(times, key=lambda n: times[n]) if rng.random() < 0.5 else names[rng.integers(len(names))]
        order = choices[name]
        at = order.index(now[name])
        step = int(rng.integers(-20, 21)) if rng.random() < 0.8 else int(rng.integers(len(order)))
        new = now | {name: order[(at + step) % len(order)]}
        if sum(cut.number for cut in new.values()) > cores:
            continue
        changed = {n: seconds(n, new) for n in {name, *wiring[name].sources}}
        after = max((times | changed).values())
        if after < float("inf") and (after <= worst or rng.random() < exp(-log(after / worst) / max(heat, 1e-9))):
            now, times, worst = new, times | changed, after
            best = min(best, worst)
    return best


def main(name: str = "loihi2", moves: int = MOVES) -> None:
    """Prints a row for each network on the chip `name`: cores and their bounds (one axon out for each neuron and
    target layer, or as cut), the step and what annealing finds from the fewest cores and from the step's own cuts."""
    chip, way = load(name), Realisation("native")
    table = Table(box=None, pad_edge=False)
    for heading in ("network", "neurons", "cores", "bounds", "s", "step us", "s", "annealed us", "ratio"):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    for title, make in networks().items():
        wiring = wire(make(), chip)
        spikes = activity(wiring)
        began = perf_counter()
        fewest = partition(wiring, chip, way)
        middle = perf_counter()
        quick = partition(wiring, chip, way, objective="step", spikes=spikes)
        ended = perf_counter()
        cores, each = sum(cut.number for cut in fewest.values()), int(chip.limits.cores.value)
        room = -(-cores // each) * each
        found = max(step_time(wiring, chip, way, spikes, quick).values())
        starts = [{name: cut.parts for name, cut in cuts.items()} for cuts in (fewest, quick)]
        annealed = min(anneal(wiring, chip, spikes, room, start, moves=moves) for start in starts)
        low = bound(wiring, chip, way), bound(wiring, chip, way, fewest)
        table.add_row(
            title,
            f"{wiring.neurons:,}",
            str(cores),
            f"{low[0]}, {low[1]}",
            f"{middle - began:.2f}",
            f"{1e6 * found:.2f}",
            f"{ended - middle:.2f}",
            f"{1e6 * annealed:.2f}",
            f"{found / annealed:.3f}",
        )
    Console(width=110).print(table)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "loihi2", int(sys.argv[2]) if len(sys.argv) > 2 else MOVES)
