"""Floorplans against all placements of small networks, row-major placement, and the symmetries of a mesh."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuro import floorplan as module
from neuro.errors import BadInput, DoesNotFit
from neuro.floorplan import floorplan, traffic_hops
from neuro.topology import Topology, chip_hops, hops, link_loads, position, stop

LOIHI = Topology("mesh", columns=8, rows=4, cores_per_router=4)


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    """Annealing short enough for many examples; what it finds must hold all the same."""
    monkeypatch.setattr(module, "PROPOSALS", 30_000)


def chain(layers: int, cores: int) -> np.ndarray:
    """Every core of a layer sends one packet to every core of the next."""
    layer = np.repeat(np.arange(layers), cores)
    return (layer[None, :] == layer[:, None] + 1).astype(float)


def random_traffic(cores: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    traffic = rng.integers(0, 9, (cores, cores)) * (rng.random((cores, cores)) < 0.5)
    np.fill_diagonal(traffic, 0)
    return traffic.astype(float)


def least(traffic: np.ndarray, topology: Topology, chip_hop: float) -> float:
    """Cost of the best placement of all, one after the other, pair by pair."""
    sites = np.arange(topology.sites)
    apart = hops(topology, sites[:, None], sites) + chip_hop * chip_hops(topology, sites[:, None], sites)
    cores = range(len(traffic))
    return min(
        sum(traffic[i, j] * apart[p[i], p[j]] for i in cores for j in cores)
        for p in permutations(range(topology.sites), len(traffic))
    )


@pytest.mark.parametrize(
    "topology",
    [
        Topology("mesh", columns=3, rows=2),
        Topology("mesh", columns=3, cores_per_router=2),
        Topology("torus", columns=6),
        Topology("tree", columns=3, rows=2, fan_out=2),
        Topology("star", columns=5),
        Topology("mesh", columns=2, chip_columns=3),
    ],
    ids=lambda t: f"{t.kind}-{t.columns}x{t.rows}x{t.cores_per_router}-{t.chips}",
)
@pytest.mark.parametrize("seed", range(3))
def test_small_networks_are_placed_as_well_as_can_be(topology, seed):
    traffic = random_traffic(5 if seed else 4, seed)
    site = floorplan(traffic, topology, seed, chip_hop=3.0)
    assert traffic_hops(traffic, topology, site, 3.0) == pytest.approx(least(traffic, topology, 3.0))


@given(st.integers(1, 12), st.sampled_from(["mesh", "torus", "tree"]), st.integers(0, 99))
@settings(max_examples=20)
def test_every_core_has_its_own_site_and_row_major_is_not_beaten(cores, kind, seed):
    topology = Topology(kind, columns=3, rows=2, cores_per_router=2, fan_out=2)
    traffic = random_traffic(cores, seed)
    site = floorplan(traffic, topology, seed)
    assert len(set(site.tolist())) == cores
    assert site.min() >= 0
    assert site.max() < topology.sites
    plain = traffic_hops(traffic, topology, np.arange(cores))
    assert traffic_hops(traffic, topology, site) <= plain * (1 + 1e-6)


def test_the_same_seed_gives_the_same_plan():
    traffic = random_traffic(40, 0)
    first, again = floorplan(traffic, LOIHI, 3), floorplan(traffic, LOIHI, 3)
    np.testing.assert_array_equal(first, again)


def test_deep_networks_lie_a_third_closer_than_row_major():
    """Twelve layers of eight cores, each talking to all of the next: 96 cores on Loihi."""
    traffic = chain(12, 8)
    site = floorplan(traffic, LOIHI)
    assert traffic_hops(traffic, LOIHI, site) <= 0.7 * traffic_hops(traffic, LOIHI, np.arange(96))


@given(st.integers(0, 99))
def test_cost_is_the_same_in_a_mirror_and_when_shifted(seed):
    rng = np.random.default_rng(seed)
    mesh = Topology("mesh", columns=5, rows=4)
    traffic = random_traffic(6, seed)
    site = rng.permutation(3 * 2)[:6]
    site = site // 3 * 5 + site % 3  # within 3 x 2 of the 5 x 4 routers
    x, y = position(mesh, stop(mesh, site))
    cost = traffic_hops(traffic, mesh, site)
    for u, v in ((4 - x, y), (x, 3 - y), (x + 2, y + 2)):
        assert traffic_hops(traffic, mesh, v * 5 + u) == pytest.approx(cost)


def test_no_swap_helps_any_more():
    """Every exchange of two sites, free ones among them, costs at least as much: summed afresh for each."""
    traffic = random_traffic(14, 5)
    topology = Topology("mesh", columns=4, rows=2, cores_per_router=2)
    site = floorplan(traffic, topology, 1)
    cost = traffic_hops(traffic, topology, site)
    for a in range(16):
        for b in range(a):
            swapped = np.where(site == a, b, np.where(site == b, a, site))
            assert traffic_hops(traffic, topology, swapped) >= cost * (1 - 1e-9)


def test_the_busiest_link_is_relieved_where_it_is_the_objective():
    traffic = chain(10, 8)
    plain, relieved = floorplan(traffic, LOIHI), floorplan(traffic, LOIHI, objective="link")
    assert link_loads(LOIHI, relieved, traffic).max() < link_loads(LOIHI, plain, traffic).max()
    cost = traffic_hops(traffic, LOIHI, plain)
    assert traffic_hops(traffic, LOIHI, relieved) <= cost * (1 + module.SLACK + 1e-6)


def test_a_silent_network_stays_in_order():
    np.testing.assert_array_equal(floorplan(np.zeros((5, 5)), LOIHI), np.arange(5))


@pytest.mark.parametrize("seed", range(5))
def test_no_more_chips_are_used_than_there_are(seed):
    """Nine cores on three chips of four, in rows of two: the fourth place for a chip stays empty."""
    topology = Topology("mesh", columns=2, rows=2, chip_columns=2, chip_rows=2)
    found = floorplan(random_traffic(9, seed), topology, seed, chips=3)
    assert sorted(set(found.tolist())) == sorted(found.tolist())
    assert found.max() < 3 * 4
    with pytest.raises(DoesNotFit, match="13 cores are to be placed; 3 chips with 4 cores each hold 12"):
        floorplan(random_traffic(13, seed), topology, seed, chips=3)


def test_more_cores_than_sites_are_refused():
    with pytest.raises(DoesNotFit, match="129 cores"):
        floorplan(np.zeros((129, 129)), LOIHI)


def test_impossible_traffic_is_refused():
    with pytest.raises(BadInput, match="negative"):
        floorplan(np.array([[0.0, -1.0], [0.0, 0.0]]), LOIHI)
