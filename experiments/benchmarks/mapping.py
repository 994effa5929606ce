"""How good the floorplans are: traffic x hops against row-major placement and against the best of long annealing runs.

The annealing here is an oracle: from random placements, over sites and not routers, and several times as long. It
shares no code with `neuro.floorplan` but the distances.
"""

import sys
from dataclasses import dataclass
from time import perf_counter

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from experiments.terminal import screen
from neuro.floorplan import floorplan, traffic_hops
from neuro.topology import Topology, chip_hops, hops

RUNS = 20
PROPOSALS = 5_000_000
WORK = 2_000_000_000
"""Proposals x sites at most, so that a run on a thousand sites ends."""
LOIHI = Topology("mesh", columns=8, rows=4, cores_per_router=4)
SPINNAKER = Topology("mesh", columns=8, rows=5, cores_per_router=4, cores=152)
FOUR_CHIPS = Topology("mesh", columns=8, rows=4, cores_per_router=4, chip_columns=2, chip_rows=2)
EIGHT_CHIPS = Topology("mesh", columns=8, rows=4, cores_per_router=4, chip_columns=4, chip_rows=2)
TORUS = Topology("torus", columns=8, rows=4, cores_per_router=4)


@dataclass(frozen=True)
class Layer:
    """A layer cut into channel groups x row bands, each core of which sends `packets` to every core that hears it."""

    groups: int
    bands: int
    packets: int | float = 1
    hears: tuple[int, ...] = (-1,)
    """Which layers feed this one, counted back from it."""


def layered(layers: list[Layer], halo: float = 0.06) -> np.ndarray:
    """Traffic [core, core] of a convolutional network: a core hears all channel groups of the bands it overlaps.

    halo: how far a kernel looks over the edge of a band, as a share of the height.
    """
    first = np.cumsum([0] + [layer.groups * layer.bands for layer in layers])
    traffic = np.zeros((first[-1], first[-1]))
    for here, layer in enumerate(layers):
        for back in (b for b in layer.hears if here + b >= 0):
            feed = layers[here + back]
            sender, hearer = np.arange(feed.groups * feed.bands), np.arange(layer.groups * layer.bands)
            a, b = sender % feed.bands, hearer % layer.bands
            meets = (a[:, None] < ((b + 1) / layer.bands + halo) * feed.bands) & (
                a[:, None] + 1 > (b / layer.bands - halo) * feed.bands
            )
            rows = slice(first[here + back], first[here + back + 1])
            traffic[rows, first[here] : first[here + 1]] += feed.packets * meets
    return traffic


def recurrent(neurons: int, cores: int, density: float, seed: int) -> np.ndarray:
    """Traffic of a random recurrent network: one packet per neuron and core that holds a target of it."""
    core = np.arange(neurons) * cores // neurons
    rng, traffic = np.random.default_rng(seed), np.zeros((cores, cores))
    for neuron in range(neurons):
        hit = np.unique(core[rng.random(neurons) < density])
        traffic[core[neuron], hit] += 1
    np.fill_diagonal(traffic, 0)
    return traffic


def sheet(side: int, patches: int, reach: float, targets: int, seed: int) -> np.ndarray:
    """Traffic of `side` x `side` neurons in `patches` x `patches` cores, with Gaussian connections `reach` wide."""
    rng, traffic = np.random.default_rng(seed), np.zeros((patches**2, patches**2))
    for row, column in np.ndindex(side, side):
        near = np.rint(np.array((row, column)) + rng.normal(0, reach, (targets, 2))).astype(int) % side
        hit = near * patches // side
        mine = row * patches // side * patches + column * patches // side
        traffic[mine, np.unique(hit[:, 0] * patches + hit[:, 1])] += 1
    np.fill_diagonal(traffic, 0)
    return traffic


def cases() -> dict[str, tuple[np.ndarray, Topology]]:
    """Traffic matrices of networks on 64 to 1,000 cores and the chips that they lie on."""
    skip, deep = (-1, -2), range(6)
    banded = [Layer(1, 4, 8), Layer(1, 8, 4), Layer(2, 8, 3), Layer(2, 8, 2), Layer(2, 8), Layer(4, 2), Layer(2, 1)]
    grouped = [Layer(2, 1), *(Layer(12, 1, 3 - i / 3) for i in deep), Layer(2, 1)]
    residual = [Layer(1, 4, 2), *(Layer(2, 4, 2, skip) for _ in range(14)), Layer(2, 1)]
    mobile = [Layer(1, 4, 6)]
    for i in range(10):
        mobile += [Layer(2, 2, 3 - i / 4), Layer(1, 4, 4 - i / 4)]
    large = [Layer(1, 16, 8), *(Layer(4, 16, 4) for _ in deep), *(Layer(8, 8, 2) for _ in deep), Layer(16, 1)]
    return {
        "convnet, row bands": (layered(banded), LOIHI),
        "convnet, channel groups": (layered(grouped), LOIHI),
        "residual": (layered(residual), LOIHI),
        "residual, 152 cores": (layered(residual), SPINNAKER),
        "residual, torus": (layered(residual), TORUS),
        "separable": (layered(mobile), LOIHI),
        "dense": (layered([Layer(n, 1) for n in (8, 24, 24, 24, 16, 4)]), LOIHI),
        "dense, deep": (layered([Layer(n, 1) for n in (4, *(6,) * 18, 2)]), LOIHI),
        "recurrent, uniform": (recurrent(10_000, 100, 0.01, 0), LOIHI),
        "recurrent, sheet": (sheet(100, 10, 6.0, 100, 0), LOIHI),
        "large convnet": (layered(large), EIGHT_CHIPS),
        "residual, four chips": (layered([Layer(1, 8, 2), *(Layer(4, 8, 2, skip) for _ in range(15))]), FOUR_CHIPS),
    }


def anneal(traffic: np.ndarray, topology: Topology, runs: int = RUNS, proposals: int = PROPOSALS) -> np.ndarray:
    """Traffic x hops after each of `runs` annealing runs from random placements: [run].

    Proposals swap a core with whatever is on a random site; the temperature falls geometrically by a factor of 1,000.
    """
    sites, cores = topology.sites, len(traffic)
    proposals = min(proposals, WORK // sites)
    at = np.arange(sites)
    distance = hops(topology, at[:, None], at) + chip_hops(topology, at[:, None], at)
    flow = np.zeros((sites, sites))
    flow[:cores, :cores] = traffic + traffic.T
    hot = float(flow.sum(axis=1).max()) * float(distance.max()) / 10
    costs = []
    for seed in range(runs):
        rng = np.random.default_rng([seed, sites, cores])
        luck = rng.exponential(size=proposals) * np.geomspace(hot, hot / 1000, proposals)
        u, v = rng.integers(0, cores, proposals), rng.integers(0, sites, proposals)
        drawn = (jnp.asarray(u), jnp.asarray(v), jnp.asarray(luck, jnp.float32))
        start = jnp.asarray(rng.permutation(sites))
        place = np.asarray(_chain(jnp.asarray(flow, jnp.float32), jnp.asarray(distance, jnp.float32), start, drawn))
        costs.append((flow * distance[place][:, place]).sum() / 2)
    return np.array(costs)


@jax.jit
def _chain(flow: Array, distance: Array, place: Array, drawn: tuple[Array, Array, Array]) -> Array:
    """One run. pull [core, site]: what each core would cost on each site, all others staying."""

    def propose(i, state):
        place, pull = state
        a, b, luck = (d[i] for d in drawn)
        s, t = place[a], place[b]
        change = pull[a, t] - pull[a, s] + pull[b, s] - pull[b, t] + 2 * flow[a, b] * distance[s, t]

        def swap(state):
            place, pull = state
            return place.at[a].set(t).at[b].set(s), pull + jnp.outer(flow[a] - flow[b], distance[t] - distance[s])

        return jax.lax.cond(change < luck, swap, lambda same: same, state)

    return jax.lax.fori_loop(0, drawn[0].shape[0], propose, (place, flow @ distance[place]))[0]


def main(runs: int = RUNS, proposals: int = PROPOSALS) -> None:
    """Prints, case by case, the traffic x hops against both references and the seconds taken: half an hour in all."""
    out = screen()
    for name, (traffic, topology) in cases().items():
        start = perf_counter()
        found = traffic_hops(traffic, topology, floorplan(traffic, topology, seed=0))
        taken = perf_counter() - start
        plain = traffic_hops(traffic, topology, np.arange(len(traffic)))
        best = anneal(traffic, topology, runs, proposals).min()
        out.print(
            f"{name:<24} {len(traffic):>4} cores  {1 - found / plain:6.1%} below row-major  "
            f"{found / best - 1:+6.1%} from the best of {runs} runs  {taken:.2f} s"
        )


if __name__ == "__main__":
    main(*(int(a) for a in sys.argv[1:]))
