"""Distances and routes, against figures counted by hand, a breadth-first search and what must hold on every network."""

from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro.errors import BadInput
from neuro.topology import Topology, chip, chip_hops, hops, link_loads, links, multicast, position, routes, stop

SMALL = st.integers(1, 4)
TOPOLOGIES = st.builds(
    Topology,
    kind=st.sampled_from(["mesh", "torus", "star", "tree"]),
    columns=SMALL,
    rows=SMALL,
    cores_per_router=st.integers(1, 2),
    fan_out=st.integers(2, 4),
    chip_columns=st.integers(1, 3),
    chip_rows=st.integers(1, 2),
)


def pairs(topology: Topology) -> tuple[np.ndarray, np.ndarray]:
    sites = np.arange(topology.sites)
    return np.repeat(sites, len(sites)), np.tile(sites, len(sites))


def crossed(topology: Topology, source: int, target: int) -> list[str]:
    """Names of the links between two sites, in the order of the links."""
    row = routes(topology, np.array([source]), np.array([target])).toarray()[0]
    return [name for name, on in zip(links(topology).names, row, strict=True) if on]


def searched(topology: Topology, source: int) -> dict[int, int]:
    """Fewest links from a stop to every stop, by breadth-first search over the links."""
    network, stops = links(topology), topology.stops
    per = sum(topology.levels)
    first = source // stops * per + source % stops
    far, queue = {first: 0}, deque([first])
    while queue:
        node = queue.popleft()
        for other in network.target[network.source == node].tolist():
            if other not in far:
                far[other] = far[node] + 1
                queue.append(other)
    return {node // per * stops + node % per: d for node, d in far.items() if node % per < stops}


def test_loihi_by_hand():
    """Core 0 at router (0, 0), core 127 at router (7, 3): seven hops along the row, three down the column."""
    loihi = Topology("mesh", columns=8, rows=4, cores_per_router=4)
    assert loihi.sites == 128
    assert hops(loihi, np.array([0, 0, 0, 5]), np.array([3, 4, 127, 37])).tolist() == [0, 1, 10, 1]
    assert len(links(loihi).names) == 2 * (7 * 4 + 8 * 3)
    assert crossed(loihi, 4, 40) == ["chip 0 (1, 0) east", "chip 0 (2, 0) south"]
    assert crossed(loihi, 40, 4) == ["chip 0 (1, 1) north", "chip 0 (2, 1) west"]


def test_torus_goes_the_shorter_way_and_ties_go_forward():
    torus = Topology("torus", columns=4, rows=5)
    assert crossed(torus, 0, 3) == ["chip 0 (0, 0) west"]
    assert crossed(torus, 0, 16) == ["chip 0 (0, 0) north"]
    assert crossed(torus, 0, 2) == ["chip 0 (0, 0) east", "chip 0 (1, 0) east"]
    assert crossed(torus, 2, 0) == ["chip 0 (2, 0) east", "chip 0 (3, 0) east"]
    turned = Topology("torus", columns=5, rows=4)
    assert crossed(turned, 10, 0) == ["chip 0 (0, 2) south", "chip 0 (0, 3) south"]


def test_positions_by_hand():
    """Router 9 of 8 x 4 is (1, 1); on the chip right of it (9, 1). Cores of a star lie where their router does."""
    joined = Topology("mesh", columns=8, rows=4, chip_columns=2)
    assert [a.tolist() for a in position(joined, np.array([9, 41]))] == [[1, 9], [1, 1]]
    star = Topology("star", columns=2, rows=2, cores_per_router=3, chip_rows=2)
    assert [a.tolist() for a in position(star, np.array([11, 14, 15]))] == [[1, 0, 1], [1, 2, 2]]


def test_star_and_tree_by_hand():
    star = Topology("star", columns=1, cores_per_router=9)
    assert hops(star, np.array([3, 3]), np.array([3, 8])).tolist() == [0, 2]
    assert crossed(star, 3, 8) == ["chip 0 node 3 up", "chip 0 node 8 down"]
    tree = Topology("tree", columns=4, rows=2, cores_per_router=2, fan_out=2)  # eight stops: three levels of switches
    assert hops(tree, np.zeros(4, int), np.array([1, 2, 4, 14])).tolist() == [0, 2, 4, 6]
    assert len(links(tree).names) == 2 * (8 + 4 + 2)


def test_rows_go_on_across_chips():
    """Two chips of 2 x 2 side by side: from the first column to the last there are two hops and one border."""
    joined = Topology("mesh", columns=2, rows=2, chip_columns=2)
    assert chip(joined, np.array([1, 4])).tolist() == [0, 1]
    assert hops(joined, np.array([0]), np.array([5])).tolist() == [2]
    assert chip_hops(joined, np.array([0]), np.array([5])).tolist() == [1]
    assert crossed(joined, 0, 5) == ["chip 0 (0, 0) east", "chip 0 (1, 0) east", "chip 1 (0, 0) east"]
    assert int(links(joined).between_chips.sum()) == 4


@given(TOPOLOGIES)
def test_hops_are_the_links_of_the_route(topology):
    """Every route is a shortest walk from its source to its target, and its links between chips are the chip hops."""
    source, target = pairs(topology)
    near, far = hops(topology, source, target), chip_hops(topology, source, target)
    route, network = routes(topology, source, target), links(topology)
    assert len(set(network.names)) == len(network.names)
    assert set(route.data.tolist()) <= {1.0}
    np.testing.assert_array_equal(route.sum(axis=1), near + far)
    np.testing.assert_array_equal(route @ network.between_chips.astype(float), far)
    per = sum(topology.levels)
    ends = np.zeros((len(network.names), topology.chips * per))
    ends[np.arange(len(ends)), network.source] -= 1
    ends[np.arange(len(ends)), network.target] += 1
    wanted = np.zeros((len(source), topology.chips * per))
    for sites, sign in ((source, -1), (target, 1)):
        on, within = np.divmod(stop(topology, sites), topology.stops)
        wanted[np.arange(len(sites)), on * per + within] += sign
    np.testing.assert_array_equal(route @ ends, wanted)  # leaves each node as often as it enters, but for the two ends
    shortest = searched(topology, int(stop(topology, np.array([0]))[0]))
    first = source == 0
    assert (near + far)[first].tolist() == [shortest[int(s)] for s in stop(topology, target[first])]


@given(TOPOLOGIES)
def test_distances_are_a_metric(topology):
    sites = np.arange(topology.sites)
    apart = hops(topology, sites[:, None], sites) + chip_hops(topology, sites[:, None], sites)
    np.testing.assert_array_equal(apart, apart.T)
    np.testing.assert_array_equal(apart == 0, stop(topology, sites)[:, None] == stop(topology, sites))
    for middle in range(0, len(sites), 5):
        assert (apart <= apart[:, middle, None] + apart[middle]).all()


@given(SMALL, SMALL, st.integers(1, 2), st.integers(1, 2))
def test_a_torus_is_no_longer_than_a_mesh(columns, rows, wide, high):
    mesh, torus = (Topology(k, columns, rows, chip_columns=wide, chip_rows=high) for k in ("mesh", "torus"))
    source, target = pairs(mesh)
    whole = [hops(t, source, target) + chip_hops(t, source, target) for t in (torus, mesh)]
    assert (whole[0] <= whole[1]).all()


@given(TOPOLOGIES, st.data())
def test_multicast_is_a_tree(topology, data):
    """It crosses no link twice, reaches each node by one link, and is no dearer than one packet to each target."""
    site = st.integers(0, topology.sites - 1)
    source, targets = data.draw(site), data.draw(st.lists(site, min_size=1, max_size=6))
    one, many = np.full(len(targets), source), np.array(targets)
    tree = multicast(topology, one, many, np.zeros(len(targets), int), 1).toarray()
    unicast = routes(topology, one, many).toarray()
    np.testing.assert_array_equal(tree[0], unicast.max(axis=0))
    entered = links(topology).target[tree[0] > 0]
    assert len(set(entered.tolist())) == len(entered)


def test_multicast_by_hand():
    """From one corner of a 3 x 2 mesh to all five others: the row once, and every column once."""
    mesh = Topology("mesh", columns=3, rows=2)
    tree = multicast(mesh, np.zeros(5, int), np.arange(1, 6), np.zeros(5, int), 1)
    assert tree.sum() == 5
    both = multicast(mesh, np.array([0, 0, 3]), np.array([1, 2, 5]), np.array([0, 0, 1]), 3)
    assert both.sum(axis=1).tolist() == [2, 2, 0]  # nobody hears the third


@given(TOPOLOGIES, st.integers(0, 9))
def test_link_loads_are_the_traffic_of_the_routes(topology, seed):
    rng = np.random.default_rng(seed)
    site = rng.permutation(topology.sites)[: 1 + seed]
    traffic = rng.random((len(site), len(site)))
    source, target = np.repeat(site, len(site)), np.tile(site, len(site))
    expected = traffic.reshape(-1) @ routes(topology, source, target)
    np.testing.assert_allclose(link_loads(topology, site, traffic), expected)


def test_missing_cores_are_the_last_of_each_chip():
    """152 processors on 8 x 5 routers of four: the last two routers carry packets but hold no core."""
    chips = Topology("mesh", columns=8, rows=5, cores_per_router=4, cores=152, chip_rows=2)
    assert chips.sites == 304
    assert stop(chips, np.array([151, 152])).tolist() == [37, 40]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"columns": 0}, "columns"),
        ({"columns": 2, "kind": "tree"}, "fan_out"),
        ({"columns": 2, "cores": 3}, "room for 2"),
    ],
)
def test_impossible_networks_are_refused(wrong, words):
    with pytest.raises(BadInput, match=words):
        Topology(**({"kind": "mesh"} | wrong))
