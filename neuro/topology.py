"""The network between the cores of a chip, or of several chips: distances, links, and the links that a packet crosses.

A *site* is a physical core, counted chip by chip, then stop by stop. A *stop* is where packets enter and leave the
network: the router of a mesh, torus or tree, and on a star the core itself. Chips lie in a grid, counted row by row
like the routers of a chip.

Mesh and torus: first along the row, then along the column; the routers of neighbouring chips are joined, so routes go
on across the border as on Loihi (Davies et al. 2018). A torus takes the shorter way round, and the positive direction
where both are equal. Star and tree: up to the lowest common switch and down again; switches at the top of neighbouring
chips are joined as a mesh.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_array

from neuro.errors import BadInput

EAST, WEST, SOUTH, NORTH, UP, DOWN = PORTS = range(6)
NAMES = ("east", "west", "south", "north", "up", "down")


@dataclass(frozen=True)
class Topology:
    """`chip_columns` x `chip_rows` chips of `columns` x `rows` routers with `cores_per_router` each.

    fan_out: children of every switch, for a tree. On a star all cores of a chip hang on one switch.
    cores: on one chip, where that is fewer than its routers have room for; the last places stay empty.

    Raises:
        BadInput: a size below one, a tree without a fan-out of at least two, more cores than places.
    """

    kind: Literal["mesh", "torus", "star", "tree"]
    columns: int
    rows: int = 1
    cores_per_router: int = 1
    fan_out: int | None = None
    chip_columns: int = 1
    chip_rows: int = 1
    cores: int | None = None

    def __post_init__(self) -> None:
        sizes = ("columns", "rows", "cores_per_router", "chip_columns", "chip_rows")
        for name in sizes:
            if getattr(self, name) < 1:
                raise BadInput(f"a {self.kind} needs {name} of at least 1, not {getattr(self, name)}.")
        if self.kind == "tree" and (self.fan_out or 0) < 2:
            raise BadInput(f"a tree needs a fan_out of at least 2, not {self.fan_out}.")
        places = self.columns * self.rows * self.cores_per_router
        if self.cores is not None and not 1 <= self.cores <= places:
            raise BadInput(f"{self.cores} cores on a chip whose routers have room for {places}: change one of the two.")

    @property
    def cores_per_chip(self) -> int:
        """Cores on one chip."""
        return self.cores or self.columns * self.rows * self.cores_per_router

    @property
    def chips(self) -> int:
        """Chips joined."""
        return self.chip_columns * self.chip_rows

    @property
    def sites(self) -> int:
        """Cores on all chips."""
        return self.chips * self.cores_per_chip

    @property
    def cores_per_stop(self) -> int:
        """Cores that share a stop, no hop apart."""
        return 1 if self.kind == "star" else self.cores_per_router

    @property
    def stops(self) -> int:
        """Stops on one chip."""
        return self.cores_per_chip if self.kind == "star" else self.columns * self.rows

    @property
    def levels(self) -> tuple[int, ...]:
        """Nodes of one chip by level: stops, and on a star or tree the switches above them up to a single one."""
        counts = [self.stops]
        while self._switched and counts[-1] > 1:
            counts.append(-(-counts[-1] // self._children))
        return tuple(counts)

    @property
    def _switched(self) -> bool:
        return self.kind in ("star", "tree")

    @property
    def _children(self) -> int:
        return (self.fan_out if self.kind == "tree" else None) or max(2, self.stops)

    @property
    def _grid(self) -> tuple[int, int]:
        """Columns and rows of the grid that is routed along rows first: of chips on a star or tree, else of routers."""
        if self._switched:
            return self.chip_columns, self.chip_rows
        return self.chip_columns * self.columns, self.chip_rows * self.rows


@dataclass(frozen=True)
class Links:
    """Directed links: the nodes at both ends, whether they lie on two chips, and a name for each.

    Nodes are counted chip by chip; within a chip come the stops, then the switches level by level.
    """

    source: Int[np.ndarray, "link"]
    target: Int[np.ndarray, "link"]
    between_chips: Bool[np.ndarray, "link"]
    names: tuple[str, ...]


def stop(topology: Topology, site: Int[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
    """Stop of each site, counted over all chips."""
    chip, core = np.divmod(site, topology.cores_per_chip)
    return chip * topology.stops + core // topology.cores_per_stop


def chip(topology: Topology, site: Int[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
    """Chip of each site."""
    return np.asarray(site) // topology.cores_per_chip


def position(topology: Topology, at: Int[np.ndarray, "..."]) -> tuple[np.ndarray, np.ndarray]:
    """Column and row of each stop in the grid of all chips."""
    on, within = np.divmod(at, topology.stops)
    row, column = np.divmod(within // (topology.cores_per_router // topology.cores_per_stop), topology.columns)
    return on % topology.chip_columns * topology.columns + column, on // topology.chip_columns * topology.rows + row


def hops(topology: Topology, source: Int[np.ndarray, "..."], target: Int[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
    """Links on chips that a packet from site to site crosses; those between chips are `chip_hops`.

    The two arrays broadcast against each other.
    """
    return stop_distances(topology, stop(topology, source), stop(topology, target))[0]


def chip_hops(
    topology: Topology, source: Int[np.ndarray, "..."], target: Int[np.ndarray, "..."]
) -> Int[np.ndarray, "..."]:
    """Links between chips that a packet from site to site crosses. The two arrays broadcast against each other."""
    return stop_distances(topology, stop(topology, source), stop(topology, target))[1]


def stop_distances(
    topology: Topology, source: Int[np.ndarray, "..."], target: Int[np.ndarray, "..."]
) -> tuple[Int[np.ndarray, "..."], Int[np.ndarray, "..."]]:
    """`hops` and `chip_hops` between stops in place of sites."""
    (x, y), (right, down) = _place(topology, source), _steps(topology, source, target)
    if not topology._switched:
        crossed = _borders(x, right, topology.columns, topology.chip_columns)
        crossed = crossed + _borders(y, down, topology.rows, topology.chip_rows)
        return abs(right) + abs(down) - crossed, crossed
    crossed = abs(right) + abs(down)
    (from_chip, a), (to_chip, b) = np.divmod(source, topology.stops), np.divmod(target, topology.stops)
    climbed = np.zeros(np.broadcast_shapes(a.shape, b.shape), int)
    for _ in topology.levels[1:]:
        climbed += (a != b) | (from_chip != to_chip)
        a, b = a // topology._children, b // topology._children
    return 2 * climbed, crossed


def links(topology: Topology) -> Links:
    """Every directed link of the network, on and between chips."""
    codes = _codes(topology)
    node, port = np.divmod(codes, len(PORTS))
    other = np.empty_like(node)
    grid = port < UP
    dx = (port == EAST).astype(int) - (port == WEST)
    dy = (port == SOUTH).astype(int) - (port == NORTH)
    width, height = topology._grid
    x, y = _grid_of_node(topology, node)
    other[grid] = _node_of_grid(topology, (x + dx)[grid] % width, (y + dy)[grid] % height)
    other[~grid] = _parent(topology, node[~grid])
    source, target = np.where(port == DOWN, other, node), np.where(port == DOWN, node, other)
    per = sum(topology.levels)
    return Links(source, target, source // per != target // per, tuple(_name(topology, int(c)) for c in codes))


def routes(topology: Topology, source: Int[np.ndarray, "pair"], target: Int[np.ndarray, "pair"]) -> csr_array:
    """Which links a packet from each source site to its target site crosses: [pair, link], 1 where it does."""
    return stop_routes(topology, stop(topology, source), stop(topology, target))


def stop_routes(topology: Topology, source: Int[np.ndarray, "pair"], target: Int[np.ndarray, "pair"]) -> csr_array:
    """`routes` between stops in place of sites."""
    (x, y), (right, down) = _place(topology, source), _steps(topology, source, target)
    width, height = topology._grid
    pair, along = _walk(x, right, width)
    node = [_node_of_grid(topology, along, y[pair])]
    port, pairs = [np.where(right[pair] > 0, EAST, WEST)], [pair]
    pair, along = _walk(y, down, height)
    node.append(_node_of_grid(topology, (x + right)[pair] % width, along))
    port.append(np.where(down[pair] > 0, SOUTH, NORTH))
    pairs.append(pair)
    (from_chip, a), (to_chip, b) = np.divmod(source, topology.stops), np.divmod(target, topology.stops)
    first, per = 0, sum(topology.levels)
    for count in topology.levels[:-1]:
        apart = np.flatnonzero((a != b) | (from_chip != to_chip))
        node += [(from_chip * per + first + a)[apart], (to_chip * per + first + b)[apart]]
        port += [np.full(len(apart), UP), np.full(len(apart), DOWN)]
        pairs += [apart, apart]
        first, a, b = first + count, a // topology._children, b // topology._children
    codes = _codes(topology)
    column = np.searchsorted(codes, np.concatenate(node) * len(PORTS) + np.concatenate(port))
    row = np.concatenate(pairs)
    return csr_array((np.ones(len(row)), (row, column)), shape=(len(source), len(codes)))


def multicast(
    topology: Topology,
    source: Int[np.ndarray, "pair"],
    target: Int[np.ndarray, "pair"],
    packet: Int[np.ndarray, "pair"],
    packets: int,
) -> csr_array:
    """Links that each of `packets` packets crosses where routers copy it: [packet, link], the union of its routes, each
    link once.

    packet [pair]: which packet, counted from 0, the pair of sites belongs to; its pairs share one source.
    """
    belongs = csr_array((np.ones(len(packet)), (packet, np.arange(len(packet)))), shape=(packets, len(packet)))
    tree = csr_array(belongs @ routes(topology, source, target))
    tree.data[:] = 1
    return tree


def link_loads(
    topology: Topology, site: Int[np.ndarray, "core"], traffic: Float[np.ndarray, "core core"]
) -> Float[np.ndarray, "link"]:
    """Packets over each link when logical core i, on `site[i]`, sends `traffic[i, j]` packets to core j one by one."""
    at = stop(topology, site)
    used, at = np.unique(at, return_inverse=True)
    between = np.zeros((len(used), len(used)))
    np.add.at(between, (at[:, None], at[None, :]), traffic)
    a, b = np.nonzero(between)
    return between[a, b] @ stop_routes(topology, used[a], used[b])


def _place(topology: Topology, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Column and row in the grid that is routed along rows first."""
    if topology._switched:
        on = at // topology.stops
        return on % topology.chip_columns, on // topology.chip_columns
    return position(topology, at)


def _steps(topology: Topology, source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Signed steps along the row and along the column."""
    (x, y), (u, v) = _place(topology, source), _place(topology, target)
    right, down = u - x, v - y
    if topology.kind != "torus":
        return right, down
    width, height = topology._grid
    right, down = right % width, down % height
    return right - width * (2 * right > width), down - height * (2 * down > height)


def _borders(start: np.ndarray, steps: np.ndarray, size: int, chips: int) -> np.ndarray:
    """Borders of chips `size` wide between `start` and ``start + steps``; a lone chip has none."""
    return abs((start + steps) // size - start // size) * (chips > 1)


def _walk(start: np.ndarray, steps: np.ndarray, around: int) -> tuple[np.ndarray, np.ndarray]:
    """Every step of every walk: whose it is, and the coordinate it leaves from."""
    count = np.abs(steps).astype(int)
    walk = np.repeat(np.arange(len(count)), count)
    taken = np.arange(len(walk)) - np.repeat(np.cumsum(count) - count, count)
    return walk, (start[walk] + np.sign(steps)[walk] * taken) % around


def _node_of_grid(topology: Topology, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Node at a place of the grid that is routed along rows first."""
    per = sum(topology.levels)
    if topology._switched:
        return (y * topology.chip_columns + x + 1) * per - 1  # the topmost switch of a chip is its last node
    on = y // topology.rows * topology.chip_columns + x // topology.columns
    return on * per + y % topology.rows * topology.columns + x % topology.columns


def _grid_of_node(topology: Topology, node: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Place of each node in the grid that is routed along rows first."""
    return _place(topology, node // sum(topology.levels) * topology.stops if topology._switched else node)


def _parent(topology: Topology, node: np.ndarray) -> np.ndarray:
    """The switch above each node."""
    on, within = np.divmod(node, sum(topology.levels))
    first = np.cumsum((0, *topology.levels))
    level = np.searchsorted(first, within, side="right") - 1
    above = first[level + 1] + (within - first[level]) // topology._children
    return on * sum(topology.levels) + above


def _codes(topology: Topology) -> Int[np.ndarray, "link"]:
    """Node x ports + port of every link, ascending; a link down belongs to the node below it."""
    width, height = topology._grid
    y, x = np.divmod(np.arange(width * height), width)
    node = _node_of_grid(topology, x, y) * len(PORTS)
    wraps = topology.kind == "torus"
    across, along = wraps and width > 1, wraps and height > 1
    codes = [
        node[(x < width - 1) | across] + EAST,
        node[(x > 0) | across] + WEST,
        node[(y < height - 1) | along] + SOUTH,
        node[(y > 0) | along] + NORTH,
    ]
    per = sum(topology.levels)
    if topology._switched:
        below = (np.arange(topology.chips)[:, None] * per + np.arange(per - 1)).reshape(-1) * len(PORTS)
        codes += [below + UP, below + DOWN]
    return np.sort(np.concatenate(codes))


def _name(topology: Topology, code: int) -> str:
    """Such as ``chip 0 (7, 3) east`` or ``chip 0 node 12 up``."""
    node, port = divmod(code, len(PORTS))
    on, within = divmod(node, sum(topology.levels))
    if topology._switched:
        return f"chip {on} node {within} {NAMES[port]}"
    return f"chip {on} ({within % topology.columns}, {within // topology.columns}) {NAMES[port]}"
