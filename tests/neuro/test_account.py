"""The compiled account of a run against the plain one, which keeps every load of every core in every step."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from converters.encode import encode
from neuro import native
from neuro.account import account
from neuro.capability import realise
from neuro.chip import Chip, load
from neuro.graph import Graph
from neuro.placement import Placement, place
from neuro.taps import by_channel
from neuro.trains import packed
from neuro.wiring import of_graph


@pytest.fixture(autouse=True)
def compiled():
    if native.kernels().library is None:
        pytest.skip(f"no compiled kernels: {native.kernels().reason}")


def on(chip: Chip, network: Graph, code: str) -> tuple[Placement, Graph]:
    graph = encode(network, code)
    way = realise(chip, code, graph)
    return place(of_graph(graph, chip, way), chip, way), graph


def both(placement: Placement, graph: Graph, density: float, batch: int) -> tuple[list, list]:
    """Every array of the account of random trains: the compiled one's, and the plain one's."""
    rng = np.random.default_rng(batch)
    assert graph.schedule is not None
    shapes = {n: (w.steps, batch, *graph.shapes[n]) for n, w in graph.schedule.windows.items()}
    trains = {name: jnp.asarray(rng.random(shape) < density) for name, shape in shapes.items()}
    bits = {name: packed(train, by_channel(graph.shapes[name])) for name, train in trains.items()}
    program = jax.jit(lambda trains: vars(account(placement, trains)))
    return [jax.tree_util.tree_leaves_with_path(program(form)) for form in (bits, trains)]


def check(placement: Placement, graph: Graph, density: float, batch: int) -> None:
    compiled, plain = both(placement, graph, density, batch)
    assert len(compiled) == len(plain) == (6 if placement.realisation.streams else 4)
    for (path, got), (_, want) in zip(compiled, plain, strict=True):
        assert got.shape == want.shape, path
        np.testing.assert_allclose(np.asarray(got), np.asarray(want), rtol=3e-7, err_msg=str(path))


@pytest.mark.parametrize("density", [0.02, 1])
@pytest.mark.parametrize(("pace", "links"), [("serial", True), ("overlap", True), ("tick", False)])
@pytest.mark.parametrize(("code", "batch"), [("bits", 5), ("unary", 2), ("rate", 1)])
def test_every_pace(density, pace, links, code, batch, paced_chip, random_network):
    """Over two chips side by side, cores on scattered sites; samples that follow each other a period apart."""
    chip = paced_chip(pace, compartments=20, multicast=code == "bits")
    if not links:
        chip = chip.model_copy(update={"time": chip.time.model_copy(update={"link": None})})
    placement, graph = on(chip, random_network(1, np.random.default_rng(1), 3, 4), code)
    two = replace(placement.topology, chip_columns=2)
    site = np.random.default_rng(1).permutation(two.sites)[: placement.number]
    check(replace(placement, site=site, topology=two), graph, density, batch)


@pytest.mark.parametrize("density", [0, 0.2])
@pytest.mark.parametrize("name", ["loihi1", "loihi2", "spinnaker1", "truenorth"])
def test_bundled_chips(name, density, random_network):
    network, chip = random_network(3, np.random.default_rng(3), 1, 2), load(name)
    graph = encode(network, "rate", 6)
    way = realise(chip, "rate", graph)
    check(place(of_graph(graph, chip, way), chip, way, allow=True), graph, density, 3)


def test_a_chip_that_repeats_spikes_and_clocks_gates(tiny_network):
    """First spikes without a program: a neuron's spike comes once more behind its window, gates are opened and shut."""
    placement, graph = on(load("loihi1"), tiny_network, "ttfs")
    assert placement.realisation.sends > 1
    assert placement.realisation.clock
    check(placement, graph, 0.4, 4)


@pytest.mark.parametrize(("slow", "event"), [("tick", -1), ("link", -2)])
def test_a_link_or_the_tick_may_be_the_slowest(slow, event, paced_chip, random_network):
    """One of a second: the steps wait for ticks, or for packets on a link, and for no core."""
    chip = paced_chip("tick", compartments=20)
    times = {slow: chip.time.tick.model_copy(update={"value": 1.0})}
    chip = chip.model_copy(update={"time": chip.time.model_copy(update=times)})
    placement, graph = on(chip, random_network(1, np.random.default_rng(1), 3, 4), "bits")
    check(placement, graph, 0.3, 3)
    single = next(np.asarray(found) for path, found in both(placement, graph, 0.3, 3)[0] if "single" in str(path))
    assert (single[:, event] > 0).all()
    if slow == "tick":
        assert (single[:, :event] == 0).all()
