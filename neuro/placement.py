"""Which neuron sits on which core of a chip, and how many synapses every source has onto every core."""

from dataclasses import dataclass
from itertools import product
from math import ceil

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from neuro.capability import Realisation, state_bits
from neuro.chip import Chip
from neuro.errors import DoesNotFit
from neuro.graph import Graph, Node
from neuro.layers import Conv, Dense, Input, MaxPool, Threshold
from neuro.stages import Reach, fan_out, pattern, populations, propagate, sources, stage


@dataclass(frozen=True)
class Fan:
    """Synapses from every neuron of `source` onto the cores of `target`: [core of the target, neuron]."""

    source: str
    target: str
    synapses: Float[np.ndarray, "core neuron"]


@dataclass(frozen=True)
class Placement:
    """A spiking graph on one chip. Cores are numbered along the mesh; no core holds two populations.

    core [neuron]: the core of each neuron, by population. formats: how a population's synapses are stored.
    used: per core, by limit; allowed: the limits. number: cores in use.
    """

    chip: Chip
    graph: Graph
    realisation: Realisation
    core: dict[str, Int[np.ndarray, "neuron"]]
    formats: dict[str, str]
    fans: tuple[Fan, ...]
    used: dict[str, Float[np.ndarray, "core"]]
    allowed: dict[str, float]
    number: int

    def cores_of(self, population: str) -> range:
        """The consecutive cores of a population."""
        core = self.core[population]
        return range(int(core.min()), int(core.max()) + 1)

    def position(self, core: Int[np.ndarray, "core"]) -> tuple[np.ndarray, np.ndarray]:
        """Column and row of each core's router."""
        router = core // int(self.chip.mesh.cores_per_router.value)
        return router % int(self.chip.mesh.width.value), router // int(self.chip.mesh.width.value)

    @property
    def tiles(self) -> int:
        """Routers with at least one core in use."""
        return ceil(self.number / self.chip.mesh.cores_per_router.value)

    @property
    def copies(self) -> int:
        """How many such networks the chip holds side by side."""
        return int(self.chip.limits.cores.value) // self.number


def place(
    graph: Graph, chip: Chip, realisation: Realisation, most: int | None = None, reach: Reach | None = None
) -> Placement:
    """`graph` on `chip`, each population on the fewest cores that respect every limit, from the output backwards.

    most: compartments to put on one core at most, below the chip's own limit: fewer make steps shorter. reach: what
    `fan_out` gave for the graph, to compile it once for many placements.

    Among the splits of a population into channel groups x row bands the one with the fewest cores wins, then the one
    whose cores hear the fewest axons. Convolution kernels are stored once a core.

    Raises:
        DoesNotFit: the first limit that cannot be met, the need, and what to try.
    """
    _check_formats(graph, chip, realisation)
    order = populations(graph)
    reach = reach or fan_out(graph)
    parts: dict[str, np.ndarray] = {}
    fans: dict[tuple[str, str], np.ndarray] = {}
    used: dict[str, dict[str, np.ndarray]] = {}
    for node in reversed(order):
        reached = np.zeros(graph.size(node.name))
        for (source, _), synapses in fans.items():
            if source == node.name:
                reached += (synapses > 0).sum(axis=0)
        part, inward, need = _split(graph, node, chip, realisation, reached, most, reach)
        parts[node.name], used[node.name] = part, need
        fans |= {(source, node.name): synapses for source, synapses in inward.items()}
    clock = 1 if realisation.clock else 0  # the clock neurons get a core of their own, the last one
    core, first = {}, 0
    for node in order:
        core[node.name] = parts[node.name] + first
        first += int(parts[node.name].max()) + 1
    if first + clock > chip.limits.cores.value:
        widest = max(order, key=lambda n: parts[n.name].max())
        raise DoesNotFit(
            f"{graph.name} needs {first + clock} cores; {chip.name} has {int(chip.limits.cores.value)}. "
            f"Layer {widest.name!r} alone takes {int(parts[widest.name].max()) + 1}; try a smaller network."
        )
    limits = list(next(iter(used.values())))
    if clock:
        lines = 2 * realisation.clock + realisation.clock_bias
        gated = sum(len(np.unique(parts[n.name])) for n in order if isinstance(n.op, Threshold))
        need = dict.fromkeys(limits, 0.0) | {"compartments": lines, "axons_out": lines * gated}
        used["clock"] = {limit: np.array([float(n)]) for limit, n in need.items()}
        for limit, n in need.items():
            if n > _allowed(chip, limit):
                raise DoesNotFit(
                    f"the clock neurons need {n:,.0f} {limit.replace('_', ' ')}; a core of {chip.name} allows "
                    f"{_allowed(chip, limit):,.0f}. Use fewer cores or fewer bits."
                )
    names = [n.name for n in order] + (["clock"] if clock else [])
    return Placement(
        chip=chip,
        graph=graph,
        realisation=realisation,
        core=core,
        formats={n.name: _format(graph, n) for n in order},
        fans=tuple(Fan(source, target, synapses) for (source, target), synapses in fans.items()),
        used={limit: np.concatenate([used[n][limit] for n in names]) for limit in limits},
        allowed={limit: _allowed(chip, limit) for limit in limits},
        number=first + clock,
    )


def _allowed(chip: Chip, limit: str) -> float:
    constant = getattr(chip.limits, limit)
    return constant.value if constant is not None else float("inf")


def _check_formats(graph: Graph, chip: Chip, realisation: Realisation) -> None:
    layer, bits = state_bits(graph, realisation)
    if bits > chip.limits.state_bits.value:
        raise DoesNotFit(
            f"layer {layer!r} needs {bits} bits of state; {chip.name} has {int(chip.limits.state_bits.value)}. "
            "Lower --input-levels, --levels or --weight-bits."
        )
    for node in graph.nodes:
        if isinstance(node.op, Conv | Dense):
            bits = int(np.abs(node.op.weight).max()).bit_length() + 1
            if bits > chip.limits.weight_bits.value:
                raise DoesNotFit(
                    f"layer {node.name!r} has {bits}-bit weights; {chip.name} stores "
                    f"{int(chip.limits.weight_bits.value)}. Lower --weight-bits."
                )
    assert graph.schedule is not None
    for (source, target), delay in graph.schedule.delays.items():
        if delay > chip.limits.delay.value:
            raise DoesNotFit(
                f"the edge from {source!r} to {target!r} waits {delay} steps; {chip.name} delays at most "
                f"{int(chip.limits.delay.value)}. Use a code with shorter windows."
            )


def _split(
    graph: Graph,
    node: Node,
    chip: Chip,
    realisation: Realisation,
    reached: np.ndarray,
    most: int | None,
    reach: Reach,
) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The smallest admissible partition: core of each neuron from 0, synapses by source, use by limit."""
    size, shape = graph.size(node.name), graph.shapes[node.name]
    slots = _slots(node, realisation)
    total = int(chip.limits.cores.value)
    capacity = min(chip.limits.compartments.value, most or float("inf"))
    fewest = min(max(1, ceil(size * slots / capacity)), total)
    rows = shape[1:2] or (1,)
    if (hears := _hearing(graph, node)) > chip.limits.axons_in.value:
        raise DoesNotFit(
            f"a neuron of layer {node.name!r} hears {hears:,} axons in; a core of {chip.name} allows "
            f"{int(chip.limits.axons_in.value):,}. Use a layer with fewer inputs, or a pool before it."
        )
    worst: tuple[str, float] | None = None
    for number in range(fewest, total + 1):
        best = None
        for channels, bands in product(range(1, shape[0] + 1), range(1, rows[0] + 1)):
            if channels * bands != number:
                continue
            part = _part(shape, channels, bands)
            inward, need = _needs(graph, node, chip, realisation, part, number, reached, reach)
            over = {limit: need[limit].max() / _allowed(chip, limit) for limit in need}
            over["compartments"] = need["compartments"].max() / capacity
            limit = max(over, key=lambda name: over[name])
            if over[limit] > 1:
                worst = (limit, float(need[limit].max()))
            elif best is None or need["axons_in"].sum() < best[2]["axons_in"].sum():
                best = (part, inward, need)
        if best is not None:
            return best
    limit, value = worst or ("compartments", float(size * slots))
    raise DoesNotFit(
        f"layer {node.name!r} needs {value:,.0f} {limit.replace('_', ' ')} on one core however it is split; "
        f"{chip.name} allows {_allowed(chip, limit):,.0f}. Use a smaller layer, fewer weight bits or another chip."
    )


def _slots(node: Node, realisation: Realisation) -> int:
    """Compartments that one neuron fills; a pooling compartment keeps no membrane."""
    return 1 if isinstance(node.op, MaxPool) else realisation.compartments * realisation.membranes


def _hearing(graph: Graph, node: Node) -> int:
    """Sources that the neuron with the most of them hears; no split of the population can bring it down."""
    if not node.inputs:
        return 0
    feeds = sources(graph, node.name)
    everyone = {s: jnp.ones((1, *graph.shapes[s]), jnp.float32) for s in feeds}
    synapses = int(propagate(pattern(graph), node.name, everyone).max())
    return min(synapses, sum(graph.size(s) for s in feeds))  # parallel paths are several synapses of one source


def _part(shape: tuple[int, ...], channels: int, bands: int) -> np.ndarray:
    """Core of each neuron when channels are cut into `channels` groups and rows into `bands`, as evenly as can be."""
    group = np.arange(shape[0]) * channels // shape[0]
    if len(shape) == 1:
        return group
    band = np.arange(shape[1]) * bands // shape[1]
    grid = group[:, None] * bands + band[None, :]
    return np.broadcast_to(grid.reshape(*grid.shape, *(1,) * (len(shape) - 2)), shape).reshape(-1).copy()


def _needs(graph, node, chip, realisation, part, number, reached, reach: Reach):
    """Synapses by source and the use of every limit, per core of one population."""
    shape = graph.shapes[node.name]
    own = np.arange(number)[:, None] == part[None, :]
    inward: dict[str, np.ndarray] = {}
    if not isinstance(node.op, Input):
        inward = reach(node.name, own.reshape(number, *shape))
    stored = np.sum([s.sum(axis=1) for s in inward.values()], axis=0) if inward else np.zeros(number)
    neurons = own.sum(axis=1).astype(float)
    memory = _memory(graph, node, chip, own, stored)
    axons = np.sum([(s > 0).sum(axis=1) for s in inward.values()], axis=0) if inward else np.zeros(number)
    if realisation.clock and isinstance(node.op, Threshold):
        lines = 2 * realisation.clock + realisation.clock_bias
        memory = memory + neurons * lines * chip.limits.weight_bits.value
        axons = axons + lines
    thresholds = np.ones(number)
    if isinstance(node.op, Threshold):
        values = np.broadcast_to(node.op.threshold, shape).reshape(-1)
        thresholds = np.array([len(np.unique(values[mine])) for mine in own], dtype=float)
    return inward, {
        "compartments": neurons * _slots(node, realisation),
        "axons_in": axons.astype(float),
        "axons_out": (own * reached).sum(axis=1),
        "synapse_memory": memory,
        "thresholds": thresholds,
    }


def _memory(graph: Graph, node: Node, chip: Chip, own: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """Bits of synapse memory per core: stored synapses, or kernels once a core where they are shared."""
    weight, index = chip.limits.weight_bits.value, chip.limits.index_bits.value
    match _format(graph, node):
        case "conv":
            channels = graph.shapes[node.name][0]
            present = own.reshape(len(own), channels, -1).any(axis=2)
            stored = np.zeros(len(own))
            for inner in stage(graph, node.name):
                if isinstance(inner.op, Conv) and graph.shapes[inner.name] == graph.shapes[node.name]:
                    stored += present @ (inner.op.weight != 0).reshape(channels, -1).sum(axis=1)
                elif isinstance(inner.op, Conv):  # reshaped or pooled behind: every core keeps all kernels
                    stored += (inner.op.weight != 0).sum()
                elif isinstance(inner.op, Dense):
                    stored += (inner.op.weight != 0).sum() * own.mean(axis=1)
            return stored * weight
        case "dense":
            return stored * weight
    return stored * (weight + index)


def _format(graph: Graph, node: Node) -> str:
    """``conv``: shared kernels; ``dense``: rows of weights; ``sparse``: weights with their target's index."""
    inner = [n.op for n in stage(graph, node.name)] if node.inputs else []
    if any(isinstance(op, Conv) for op in inner):
        return "conv"
    dense = [op.weight for op in inner if isinstance(op, Dense)]
    filled = sum((w != 0).sum() for w in dense) / max(sum(w.size for w in dense), 1)
    return "dense" if filled >= 0.5 else "sparse"
