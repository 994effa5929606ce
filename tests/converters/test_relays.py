"""Relays repeat what they hear, window by window; a network with them gives the same integers and fits the chip."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from converters.encode import encode
from converters.relays import relayed
from experiments.maps.chip_map import on_chip
from experiments.run import mean_spikes, run
from neuro import trains
from neuro.capability import realise
from neuro.chip import load
from neuro.constants import adjusted
from neuro.errors import DoesNotFit
from neuro.graph import Graph, Node
from neuro.layers import Add, Dense, Input, Scale, Threshold
from neuro.mapping import search
from neuro.simulate import simulate
from neuro.traffic import arranged
from neuro.wiring import of_graph

LEVELS, WIDTH = 15, 6
CODES = ("unary", "bits", "naf", "ttfs", "graded")


def threshold(levels: int = LEVELS) -> Threshold:
    return Threshold(np.array([7]), np.array([3]), levels)


def skipping() -> Graph:
    """in -> a -> b -> c -> d -> sum, which hears the input and `a` too -> out."""
    rng = np.random.default_rng(5)

    def dense() -> Dense:
        return Dense(rng.integers(-2, 4, (WIDTH, WIDTH)), None)

    nodes = [Node("in", Input((WIDTH,), LEVELS))]
    for name, before in (("a", "in"), ("b", "a"), ("c", "b"), ("d", "c")):
        nodes += [Node(f"{name}/w", dense(), (before,)), Node(name, threshold(), (f"{name}/w",))]
    nodes += [
        Node("sum/w", dense(), ("in",)),
        Node("sum/first", Add(), ("sum/w", "a")),
        Node("sum/add", Add(), ("sum/first", "d")),
        Node("sum", threshold(), ("sum/add",)),
        Node("out/w", dense(), ("sum",)),
        Node("out", Scale(np.ones(1, np.int64), np.zeros(1, np.int64)), ("out/w",)),
    ]
    return Graph("skipping", tuple(nodes))


def items(number: int = 20) -> np.ndarray:
    return np.random.default_rng(1).integers(0, LEVELS + 1, (number, WIDTH))


def test_relays_by_hand():
    """Windows of 15 steps: `a` waits for three of them, the input for four; 20 steps hold one."""
    spiking = encode(skipping(), "unary")
    assert spiking.schedule is not None
    assert {e: d for e, d in spiking.schedule.delays.items() if d} == {("in", "sum"): 60, ("a", "sum"): 45}
    graph, origins = relayed(spiking, 20)
    assert origins == {
        "in.relay": "in", "in.relay.relay": "in", "in.relay.relay.relay": "in", "a.relay": "a", "a.relay.relay": "a",
    }  # fmt: skip
    assert graph.schedule is not None
    left = {e: d for e, d in graph.schedule.delays.items() if d}
    assert left == {("in.relay.relay.relay", "sum"): 15, ("a.relay.relay", "sum"): 15}
    assert graph.schedule.total == spiking.schedule.total
    assert graph.schedule.windows["a.relay"].start == spiking.schedule.windows["b"].start


def test_where_no_edge_is_too_long_nothing_changes():
    spiking = encode(skipping(), "unary")
    for longest in (60, float("inf")):
        graph, origins = relayed(spiking, longest)
        assert graph is spiking
        assert not origins


def test_an_edge_shorter_than_a_window_stays():
    """`a` sends in a window of 15 steps; what is between it and the sum in one step each: 3 to wait for."""
    nodes = [dataclasses.replace(n, op=threshold(1)) if n.name in ("b", "c", "d") else n for n in skipping().nodes]
    spiking = encode(Graph("short", tuple(nodes)), "unary")
    assert spiking.schedule is not None
    assert spiking.schedule.delays["a", "sum"] == 3
    graph, origins = relayed(spiking, 2)
    assert set(origins) == {"in.relay"}
    assert graph.schedule is not None
    assert graph.schedule.delays["a", "sum"] == 3


@pytest.mark.parametrize("code", [*CODES, "rate"])
def test_values_are_the_same_and_relays_send_what_they_hear(code):
    spiking = encode(skipping(), code, LEVELS if code == "rate" else None)
    graph, origins = relayed(spiking, 1)
    assert graph.schedule is not None
    assert origins
    assert max(graph.schedule.delays.values()) <= 1
    x = jnp.asarray(items(), jnp.float32)
    plain, found = (jax.jit(lambda x, g=g: simulate(g, x))(x) for g in (spiking, graph))
    np.testing.assert_array_equal(found.output, plain.output)
    spikes = {name: np.asarray(train) for name, train in found.spikes.items()}
    assert sum(spikes[relay].sum() for relay in origins) > 100
    for name, train in plain.spikes.items():
        np.testing.assert_array_equal(spikes[name], train, err_msg=name)
    for relay, source in origins.items():
        np.testing.assert_array_equal(spikes[relay], spikes[source], err_msg=relay)


@pytest.mark.parametrize("code", ["unary", "ttfs"])
def test_a_network_that_waits_too_long_runs_with_relays(code):
    """Loihi 2 with delays of 20 steps: refused as it is; with relays as many spikes as all populations send, counted in
    the run without relays, by the trains of the populations that they repeat, as in the run with them."""
    chip = adjusted(load("loihi2"), {"limits.delay": 20.0})
    spiking, counts = encode(skipping(), code), items()
    with pytest.raises(DoesNotFit, match=r"waits \d+ steps; loihi2 delays at most 20"):
        on_chip(spiking, chip, code, counts)
    graph, origins = relayed(spiking, 20)
    placed = on_chip(graph, chip, code, counts)
    assert {*origins} < {*placed.placement.core}
    sent = jax.jit(lambda x: simulate(graph, x).spikes)(jnp.asarray(counts, jnp.float32))
    total = sum(float(trains.spikes(train).sum()) for train in sent.values()) / len(counts)
    assert float(placed.counts.events["spike"]) == pytest.approx(total * placed.placement.realisation.sends)
    way, means = realise(chip, code, graph), mean_spikes(graph, counts)
    placement = arranged(search(of_graph(graph, chip, way), chip, way, means)["single"], means, 0)
    done = run(spiking, skipping(), counts, {("loihi2", "single"): placement}, lambda n: None, relays=origins)
    assert done.mismatches == 0
    for event, number in placed.counts.events.items():
        assert done.counts["loihi2", "single"].events[event].mean() == pytest.approx(float(number)), event
