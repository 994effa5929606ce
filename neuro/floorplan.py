"""Which site of a chip every logical core takes: little traffic over few hops.

A quadratic assignment. The cores in their own order and in spectral order are laid along the space-filling curve that
makes each cheapest. Both are annealed from hot, by swaps of a core with whatever is on a random site, and the better
once more from lukewarm; each annealing ends in a descent to where no swap helps. Then swaps that cost no traffic, or
little where the busiest link is the objective, relieve that link.
"""

from collections.abc import Iterator
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import ArpackNoConvergence, eigsh

from neuro.errors import BadInput, DoesNotFit
from neuro.topology import Topology, link_loads, position, stop, stop_distances, stop_routes

HOT, LUKEWARM, COLD = 0.5, 0.12, 0.02
"""Temperatures as shares of what a swap changes in a random placement, root mean square."""
PROPOSALS = 700_000
"""Swaps tried in each annealing, at most: under half a second up to a few hundred sites."""
WORK = 400_000_000
"""Proposals x sites, at most: an accepted swap touches all sites."""
SAMPLED = 64
"""Cores whose swaps are averaged for that."""
SLACK = 0.1
"""Share of traffic x hops that may be given up to relieve the busiest link where that is the objective."""
TRIALS = 400
"""Swaps looked at to relieve the busiest link."""
TOLERANCE = 1e-9


def traffic_hops(
    traffic: Float[np.ndarray, "core core"], topology: Topology, site: Int[np.ndarray, "core"], chip_hop: float = 1.0
) -> float:
    """Sum of traffic x hops; crossing from chip to chip counts as `chip_hop` hops."""
    at = stop(topology, site)
    near, far = stop_distances(topology, at[:, None], at[None, :])
    return float((traffic * (near + chip_hop * far)).sum())


def floorplan(
    traffic: Float[np.ndarray, "core core"],
    topology: Topology,
    seed: int = 0,
    objective: Literal["traffic", "link"] = "traffic",
    chip_hop: float = 1.0,
    chips: int | None = None,
) -> Int[np.ndarray, "core"]:
    """Site of each logical core; the same for the same seed, and for "traffic" never worse than row-major.

    traffic: packets per inference from core to core, the cores in the order of the layers. objective: "traffic" makes
    `traffic_hops` small and, where that ties, the load of the busiest link; "link" gives up to `SLACK` of the former
    for the latter. chip_hop: what crossing from chip to chip weighs, in hops.
    chips: how many there are, where the last row of them is not full.

    Raises:
        BadInput: traffic that is negative or not finite. DoesNotFit: more cores than sites.
    """
    chips = chips or topology.chips
    cores, sites = len(traffic), chips * topology.cores_per_chip
    if cores > sites:
        raise DoesNotFit(
            f"{cores} cores are to be placed; {chips} chips with {topology.cores_per_chip} cores each hold "
            f"{sites}. Use more chips or fewer cores."
        )
    if not (np.isfinite(traffic).all() and (traffic >= 0).all()):
        raise BadInput("traffic between cores must be finite and not negative; count the packets again.")
    flow = np.zeros((sites, sites))
    flow[:cores, :cores] = traffic + traffic.T
    np.fill_diagonal(flow, 0)
    if not flow.any():
        return np.arange(cores)
    stops = np.arange(topology.stops * topology.chips)
    near, far = stop_distances(topology, stops[:, None], stops[None, :])
    distance = near + chip_hop * far  # the same both ways on every kind of network
    stop_of = stop(topology, np.arange(sites))

    def cost(place: np.ndarray) -> float:
        at = stop_of[place]
        return float((flow * distance[at][:, at]).sum())

    rng = np.random.default_rng(seed)
    talk = flow[:cores, :cores]
    starts = [_along_a_curve(order, talk, topology, distance, sites) for order in (np.arange(cores), _spectral(talk))]
    best = min(starts, key=cost)
    for start, hot in ((starts[0], HOT), (starts[1], HOT), (None, LUKEWARM)):
        found = _annealed(flow, distance, stop_of, best if start is None else start, cores, hot, rng)
        best = min(best, _descended(flow, distance, stop_of, found, cores), key=cost)
    slack = (SLACK if objective == "link" else 0.0) * cost(best) / 2
    return _relieved(traffic, flow, distance, topology, best, slack)[:cores]


def _curves(topology: Topology, number: int) -> Iterator[Int[np.ndarray, "site"]]:
    """Orders of the first so many sites: as counted, and on a grid in strips of every width, to and fro both along and
    across."""
    sites = np.arange(number)
    yield sites
    if topology.kind in ("mesh", "torus"):
        x, y = position(topology, stop(topology, sites))
        for along, across in ((x, y), (y, x)):
            for width in range(1, int(across.max()) + 2):
                strip, inside = np.divmod(across, width)
                forth = np.where(strip % 2, along.max() - along, along)
                yield np.lexsort((sites, np.where(forth % 2, -inside, inside), forth, strip))


def _along_a_curve(
    order: Int[np.ndarray, "core"], flow: np.ndarray, topology: Topology, distance: np.ndarray, sites: int
) -> Int[np.ndarray, "site"]:
    """The cores in this order along the curve that makes it cheapest; free sites follow the cores."""
    one, other = np.nonzero(np.triu(flow))
    best, least = np.arange(sites), np.inf
    for curve in _curves(topology, sites):
        place = np.concatenate([curve[np.argsort(order)], curve[len(order) :]])
        at = stop(topology, place)
        cost = float(flow[one, other] @ distance[at[one], at[other]])
        if cost < least * (1 - TOLERANCE):
            best, least = place, cost
    return best


def _spectral(flow: np.ndarray) -> Int[np.ndarray, "core"]:
    """Cores by the slowest mode of diffusion along the traffic, Fiedler's vector, where one can be found."""
    cores, weight = len(flow), flow.sum(axis=1)
    if cores < 4:
        return np.arange(cores)
    mirrored = csr_array(flow) + diags_array(2 * weight.max() - weight)  # its largest values are the slowest modes
    try:  # a fixed start makes the iteration repeatable
        values, vectors = eigsh(mirrored, k=2, which="LA", v0=np.linspace(-1, 1, cores))
    except ArpackNoConvergence:
        return np.arange(cores)
    return np.argsort(vectors[:, np.argmin(values)], kind="stable")


def _annealed(flow, distance, stop_of, place, cores: int, hot: float, rng: np.random.Generator) -> np.ndarray:
    """Metropolis swaps while the temperature falls geometrically."""
    proposals = min(PROPOSALS, WORK // len(flow))
    shuffled = stop_of[rng.permutation(len(flow))]
    price = flow @ distance[shuffled]
    changes = np.concatenate([_changes(flow, distance, shuffled, price, core) for core in range(min(cores, SAMPLED))])
    scale = np.sqrt((changes[np.isfinite(changes)] ** 2).mean())
    heat = scale * np.geomspace(hot, COLD, proposals)
    u, v = rng.integers(0, cores, proposals), rng.integers(0, len(flow), proposals)
    luck = heat * rng.exponential(size=proposals)  # uniform < exp(-change / heat), said of the change
    return np.asarray(
        _swapped(
            jnp.asarray(flow, jnp.float32),
            jnp.asarray(distance, jnp.float32),
            jnp.asarray(stop_of, jnp.int32),
            jnp.asarray(place, jnp.int32),
            jnp.asarray(u, jnp.int32),
            jnp.asarray(v, jnp.int32),
            jnp.asarray(luck, jnp.float32),
        )
    )


@jax.jit
def _swapped(
    flow: Float[Array, "site site"],
    distance: Float[Array, "stop stop"],
    stop_of: Int[Array, "site"],
    place: Int[Array, "site"],
    u: Int[Array, "proposal"],
    v: Int[Array, "proposal"],
    luck: Float[Array, "proposal"],
) -> Int[Array, "site"]:
    """`place` after swaps of u[i] and v[i] wherever that costs less than luck[i].

    price [core, stop]: what a core would cost at each stop. Kept up to date, it gives the change of a swap in four
    look-ups.
    """

    def propose(i, state):
        place, price = state
        a, b = u[i], v[i]
        here, there = stop_of[place[a]], stop_of[place[b]]
        change = price[a, there] + price[b, here] - price[a, here] - price[b, there]
        change = change + 2 * flow[a, b] * distance[here, there]

        def swap(state):
            place, price = state
            moved = (flow[a] - flow[b])[:, None] * (distance[there] - distance[here])[None, :]
            return place.at[a].set(place[b]).at[b].set(place[a]), price + moved

        return jax.lax.cond((change < luck[i]) & (here != there), swap, lambda same: same, state)

    return jax.lax.fori_loop(0, len(u), propose, (place, flow @ distance[stop_of[place]]))[0]


def _descended(flow, distance, stop_of, place, cores: int) -> np.ndarray:
    """The best swap of one core after the other until none lowers the cost."""
    place = place.copy()
    at = stop_of[place]
    price = flow @ distance[at]
    least = -TOLERANCE * float((flow * distance[at][:, at]).sum())
    u = idle = 0
    while idle < cores:
        change = _changes(flow, distance, at, price, u)
        v = int(change.argmin())
        if change[v] < least:
            price += np.outer(flow[u] - flow[v], distance[at[v]] - distance[at[u]])
            place[[u, v]], at[[u, v]] = place[[v, u]], at[[v, u]]
            idle = 0
        u, idle = (u + 1) % cores, idle + 1
    return place


def _changes(flow, distance, at, price, u: int) -> np.ndarray:
    """What swapping core u with each other would add to the cost, endless for those on its own stop."""
    own = price[np.arange(len(at)), at]
    change = price[u, at] + price[:, at[u]] - own - own[u] + 2 * flow[u] * distance[at[u], at]
    return np.where(at == at[u], np.inf, change)


def _relieved(traffic, flow, distance, topology: Topology, place, slack: float) -> np.ndarray:
    """Swaps that lower the load of the busiest link and add no more than `slack` to the cost in all."""
    cores, count = len(traffic), len(distance)
    place = place.copy()
    stop_of = stop(topology, np.arange(topology.sites))
    every = np.arange(count)
    routes = stop_routes(topology, np.repeat(every, count), np.tile(every, count))
    sent = np.zeros_like(flow)
    sent[:cores, :cores] = traffic
    load = link_loads(topology, place[:cores], traffic)
    slack += TOLERANCE * float(flow.sum())
    trials, better = 0, True
    while better and trials < TRIALS and load.max(initial=0) > 0:
        better = False
        at = stop_of[place]
        price = flow @ distance[at]
        over = routes[:, [int(load.argmax())]].toarray().reshape(count, count) > 0
        crossing = sent * over[at][:, at]
        for u in np.argsort(-(crossing.sum(axis=0) + crossing.sum(axis=1)), kind="stable")[:8]:
            change = _changes(flow, distance, at, price, int(u))
            for v in np.flatnonzero(change <= slack):
                moved = at.copy()
                moved[[u, v]] = at[[v, u]]
                touched = np.zeros_like(sent, dtype=bool)
                touched[[u, v]] = touched[:, [u, v]] = True
                a, b = np.nonzero(touched & (sent > 0))
                before, after = routes[at[a] * count + at[b]], routes[moved[a] * count + moved[b]]
                other = load + sent[a, b] @ (after - before)
                trials += 1
                if other.max() < load.max() * (1 - TOLERANCE):
                    place[[u, v]], load, slack = place[[v, u]], other, slack - max(0.0, float(change[v]))
                    better = True
                    break
                if trials >= TRIALS:
                    return place
            if better:
                break
    return place
