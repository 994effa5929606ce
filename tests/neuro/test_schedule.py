"""Windows and periods, and what they make of ResNet-8; whether a schedule is right is shown in test_encode by running
it."""

import jax.numpy as jnp
import numpy as np
import pytest

from converters.encode import encode
from neuro.capability import realise
from neuro.chip import known, load, prices
from neuro.constants import leaves
from neuro.cost import cost
from neuro.graph import Graph, Node
from neuro.layers import Add, Conv, Dense, Input, Reshape, Scale, SumPool, Threshold
from neuro.placement import place
from neuro.schedule import Schedule, Window
from neuro.wiring import of_graph


def test_a_window_ends_before_its_end():
    assert Window(3, 4).end == 7


def test_a_second_membrane_shortens_the_period():
    schedule = Schedule("unary", {"in": Window(0, 7)}, {}, 15, (14, 7))
    assert (schedule.period(False), schedule.period(True)) == (14, 7)


def resnet8(levels: int = 15, input_levels: int = 15, pool_neurons: bool = True) -> Graph:
    """The structure of ResNet-8 on small maps: a convolution, three residual blocks of two, a pool, a read-out."""
    rng = np.random.default_rng(0)
    nodes = [Node("in", Input((3, 8, 8), input_levels))]

    def add(name: str, op, *inputs: str) -> str:
        nodes.append(Node(name, op, inputs))
        return name

    def conv(name: str, x: str, before: int, after: int, size: int = 3, stride: int = 1) -> str:
        pads = ((size // 2,) * 2,) * 2
        return add(name, Conv(rng.integers(-3, 4, (after, before, size, size)), None, (stride, stride), pads), x)

    def fire(name: str, x: str, channels: int) -> str:
        one = np.ones((channels, 1, 1), np.int64)
        return add(name, Threshold(20 * one, 0 * one, levels), x)

    x, width = fire("t0", conv("c0", "in", 3, 4), 4), 4
    for block, (after, stride) in enumerate([(4, 1), (8, 2), (16, 2)], start=1):
        y = fire(f"t{block}a", conv(f"c{block}a", x, width, after, stride=stride), after)
        z = conv(f"c{block}b", y, after, after)
        x = add(f"add{block}", Add(), z, x if stride == 1 else conv(f"skip{block}", x, width, after, 1, stride))
        x, width = fire(f"t{block}b", x, after), after
    x = add("pool", SumPool((2, 2), (1, 1), ((0, 0), (0, 0))), x)
    x = fire("tp", x, width) if pool_neurons else x
    x = add("flat", Reshape((width,)), x)
    x = add("fc", Dense(rng.integers(-3, 4, (10, width)), None), x)
    add("out", Scale(np.ones(10, np.int64), np.zeros(10, np.int64)), x)
    return Graph("resnet8", tuple(nodes))


DEPTH = 9
"""Populations behind the input: seven convolutions, the pool, the read-out."""


@pytest.mark.parametrize(
    ("code", "steps", "closed", "sweeps"), [("unary", 15, 150, 136), ("bits", 4, 40, 37), ("rate", 64, 73, 73)]
)
def test_sweeps_of_a_single_sample_on_resnet8(code, steps, closed, sweeps):
    """The closed form counts a window for the input and one for each population behind it, the read-out's among them:
    (depth + 1) K, and T + depth under the rate code. Ours differs by the read-out alone: it sends nothing, so that the
    run ends one step after the last spike, K - 1 earlier. Under the rate code nothing differs.
    """
    assert closed == (steps + DEPTH if code == "rate" else (DEPTH + 1) * steps)
    schedule = encode(resnet8(), code, 64 if code == "rate" else None).schedule
    assert schedule is not None
    assert schedule.total == sweeps == (closed if code == "rate" else closed - (steps - 1))


@pytest.mark.parametrize(("code", "steps", "total"), [("unary", 15, 121), ("bits", 4, 33), ("rate", 64, 72)])
def test_a_pool_without_neurons_is_a_window_less(code, steps, total):
    """Converted networks sum a pool on the read-out's synapses: one population less in the depth."""
    schedule = encode(resnet8(pool_neurons=False), code, 64 if code == "rate" else None).schedule
    assert schedule is not None
    assert schedule.total == total == (steps + DEPTH - 1 if code == "rate" else DEPTH * steps - (steps - 1))


@pytest.mark.parametrize(("code", "first"), [("unary", 255), ("bits", 8)])
def test_pixels_of_eight_bits_lengthen_the_first_window_only(code, first):
    """255 unary steps or 8 planes in place of a window of K; a sample every `first` steps where samples follow."""
    steps = {"unary": 15, "bits": 4}[code]
    schedule = encode(resnet8(input_levels=255), code).schedule
    assert schedule is not None
    assert schedule.total == first + (DEPTH - 1) * steps + 1
    assert schedule.period(True) == first


@pytest.mark.parametrize(("code", "one", "two"), [("unary", 30, 15), ("bits", 8, 4), ("rate", 64, 64)])
def test_period_of_a_stream_on_resnet8(code, one, two):
    """A sample every K steps where a second membrane integrates the next one, every 2 K without; skip edges wait."""
    schedule = encode(resnet8(), code, 64 if code == "rate" else None).schedule
    assert schedule is not None
    assert (schedule.period(False), schedule.period(True)) == (one, two)


@pytest.fixture(scope="module")
def on_loihi2():
    graph, chip = encode(resnet8(), "bits"), load("loihi2")
    way = realise(chip, "bits", graph)
    return graph, place(of_graph(graph, chip, way), chip, way)


def test_sweeps_are_counted_and_the_second_membrane_is_charged(on_loihi2, counter):
    """Every compartment is swept in every step of a run: 37 times alone, 4 times in a stream. State takes two slots a
    neuron: 192 inputs, 3 x 256, 2 x 128, 2 x 64, 16 at the pool and 10 outputs."""
    graph, placement = on_loihi2
    silent = {n: jnp.zeros((w.steps, 1, *graph.shapes[n]), bool) for n, w in graph.schedule.windows.items()}
    counts = counter(placement)(silent)
    neurons = 192 + 3 * 4 * 64 + 2 * 8 * 16 + 2 * 16 * 4 + 16 + 10
    assert placement.swept.sum() == neurons
    assert float(counts["single"].events["neuron_program"][0]) == 37 * neurons
    assert float(counts["stream"].events["neuron_program"][0]) == 4 * neurons * counts["stream"].batch
    assert placement.used["compartments"].sum() == 2 * neurons


STREAMING = [
    (name, code)
    for name in known()
    for code in ("rate", "unary", "bits")
    if load(name).scope == "mapped" and realise(load(name), code).streams
]


def test_chips_that_stream():
    assert {name for name, _ in STREAMING} == {"generic", "loihi2", "spinnaker2"}


@pytest.mark.parametrize(("name", "code"), STREAMING)
def test_a_stream_never_takes_more_energy_than_samples_one_by_one(name, code, tiny_network, counter):
    chip, graph = load(name), encode(tiny_network, code, 8 if code == "rate" else None)
    way = realise(chip, code, graph)
    placement = place(of_graph(graph, chip, way), chip, way)
    slots = 1 if code == "rate" else 2
    assert placement.used["compartments"].sum() == slots * 7
    rng = np.random.default_rng(0)
    assert graph.schedule is not None
    windows = graph.schedule.windows
    spikes = {n: jnp.asarray(rng.random((w.steps, 4, *graph.shapes[n])) < 0.5) for n, w in windows.items()}
    table = prices(chip, {path: c.value for path, c in leaves(chip)}, "chip")
    spent = {regime: cost(counts, table) for regime, counts in counter(placement)(spikes).items()}
    assert (np.asarray(spent["stream"].total) <= np.asarray(spent["single"].total)).all()
    assert (np.asarray(spent["stream"].interval) <= np.asarray(spent["single"].interval)).all()
