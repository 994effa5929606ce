"""Loads of cores and links against a walk of every packet, router by router, that shares no code with the routes."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from converters.encode import encode
from neuro.capability import realise
from neuro.chip import Chip
from neuro.effects import effects, load_events
from neuro.floorplan import traffic_hops
from neuro.loads import loads
from neuro.placement import Placement, place
from neuro.synapses import unroll
from neuro.topology import links
from neuro.traffic import arranged, traffic
from neuro.wiring import of_graph

WIDTH, HEIGHT, PER = 8, 8, 2
"""Routers of the generic chip, and cores of each."""


@pytest.fixture(scope="module")
def spread(paced_chip, random_network):
    """A small network over two chips side by side, its cores on scattered sites; unicast or multicast."""
    network = random_network(1, np.random.default_rng(1), 3, 4)
    graph, flat = encode(network, "bits"), unroll(network)

    def on(multicast: bool) -> tuple[Placement, dict]:
        chip: Chip = paced_chip("serial", multicast=multicast, compartments=20)
        way = realise(chip, "bits", graph)
        placement = place(of_graph(graph, chip, way), chip, way)
        two = replace(placement.topology, chip_columns=2)
        site = np.random.default_rng(1).permutation(two.sites)[: placement.number]
        return replace(placement, site=site, topology=two), {(p.source, p.target): p for p in flat.projections}

    return on


def trains(placement: Placement, density: float = 0.02) -> dict:
    rng, found = np.random.default_rng(2), {}
    for name, window in placement.schedule.windows.items():
        found[name] = rng.random((window.steps, 2, len(placement.core[name]))) < density
    return found


def router(site: int) -> tuple[int, int]:
    """Column and row among the routers of both chips."""
    chip, core = divmod(site, WIDTH * HEIGHT * PER)
    return chip * WIDTH + core // PER % WIDTH, core // PER // WIDTH


def walk(source: int, target: int) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Every link from site to site: along the row, then along the column."""
    (x, y), (u, v) = router(source), router(target)
    while (x, y) != (u, v):
        dx, dy = (np.sign(u - x), 0) if x != u else (0, np.sign(v - y))
        yield (x, y), (x + dx, y + dy)
        x, y = x + dx, y + dy


def packets(placement: Placement, projections: dict, name: str, neuron: int) -> set[int]:
    """Cores on which a neuron has a synapse."""
    heard = set()
    for (source, target), p in projections.items():
        if source == name:
            heard |= set(placement.core[target][p.post[p.pre == neuron]].tolist())
    return heard


@pytest.mark.parametrize("multicast", [False, True])
def test_every_packet_is_walked(multicast, spread):
    placement, projections = spread(multicast)
    spikes = trains(placement)
    got = loads(placement, {n: jnp.asarray(s) for n, s in spikes.items()})
    every = links(placement.topology)
    assert len(every.names) == got.link.shape[2]

    def at(node: int) -> tuple[int, int]:
        chip, stop = divmod(int(node), WIDTH * HEIGHT)
        return chip * WIDTH + stop % WIDTH, stop // WIDTH

    index = {(at(a), at(b)): i for i, (a, b) in enumerate(zip(every.source, every.target, strict=True))}
    hops, borders = np.zeros(2), np.zeros(2)
    link, packet_in = np.zeros(got.link.shape), np.zeros((*got.core.shape[:3],))
    for name, train in spikes.items():
        for step, sample, neuron in np.argwhere(train):
            when = placement.schedule.windows[name].start + step
            mine = placement.core[name][neuron]
            crossed: Counter = Counter()
            for core in packets(placement, projections, name, neuron):
                packet_in[when, sample, core] += 1
                crossed.update(walk(int(placement.site[mine]), int(placement.site[core])))
            for way, times in crossed.items():
                often = 1 if multicast else times
                over = way[0][0] // WIDTH != way[1][0] // WIDTH
                borders[sample] += often * over
                hops[sample] += often * (not over)
                link[when, sample, index[way]] += often
    assert borders.sum() > 0
    np.testing.assert_array_equal(got.hops, hops)
    np.testing.assert_array_equal(got.chip_hops, borders)
    np.testing.assert_array_equal(got.link, link)
    np.testing.assert_array_equal(got.core[..., load_events(placement).index("axon_in")], packet_in)


def test_multicast_never_sends_more(spread):
    """A copy made where routes part: fewer packets sent and links crossed, as many taken in."""
    (one, _), (many, _) = spread(False), spread(True)
    less = False
    for name in one.schedule.windows:
        alone, copied = effects(one, name), effects(many, name)
        assert (copied.matrix[:, :2].sum(axis=1) <= alone.matrix[:, :2].sum(axis=1)).all()
        assert (copied.links == alone.links).all()
        busy = slice(-len(alone.links), None)
        assert (copied.matrix[:, busy] <= alone.matrix[:, busy]).all()
        sent = {}
        for which, found in (("alone", alone), ("copied", copied)):
            parts = {load_events(one)[c]: found.matrix[:, a:b].sum(axis=1) for _, c, a, b in found.core_columns}
            sent[which] = parts["axon_out"], parts["axon_in"]
        assert (sent["copied"][0] <= np.minimum(sent["alone"][0], 1)).all()
        np.testing.assert_array_equal(sent["copied"][1], sent["alone"][1])
        less |= bool(copied.matrix[:, :2].sum() < alone.matrix[:, :2].sum())
    assert less


def test_traffic_is_what_cores_send(spread):
    """Summed over targets the packets out, over sources the packets in, of every core."""
    placement, _ = spread(False)
    mean = {name: train.sum(axis=0).mean(axis=0).astype(float) for name, train in trains(placement, 0.3).items()}
    found = traffic(placement, mean)
    for direction, event in ((1, "axon_out"), (0, "axon_in")):
        want = np.zeros(placement.number)
        for name, spikes in mean.items():
            caused = effects(placement, name)
            for cores, column, first, last in caused.core_columns:
                if load_events(placement)[column] == event:
                    np.add.at(want, cores, spikes @ caused.matrix[:, first:last])
        np.testing.assert_allclose(found.sum(axis=direction), want, rtol=1e-9)


def test_arranged_cores_have_a_shorter_way(spread):
    """On sites found for its traffic, against scattered ones; where all cores share a switch they stay."""
    placement, _ = spread(False)
    mean = {name: train.sum(axis=0).mean(axis=0).astype(float) for name, train in trains(placement, 0.3).items()}
    found = arranged(placement, mean)
    sent = traffic(placement, mean)
    assert traffic_hops(sent, found.topology, found.site) < 0.5 * traffic_hops(sent, placement.topology, placement.site)
    assert len(set(found.site.tolist())) == placement.number
    np.testing.assert_array_equal(traffic(found, mean), sent)
    star = replace(placement, topology=replace(placement.topology, kind="star", chip_columns=1))
    assert arranged(star, mean) is star
