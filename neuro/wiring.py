"""What mapping needs to know of a network: its layers of neurons, and how many synapses reach whom.

A wiring is made from a spiking graph (`of_graph`) or from a network given synapse by synapse (`of_network`); cutting
it into cores and counting its events does not depend on which.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_array, csr_array

from neuro.capability import Realisation, attention, state_bits
from neuro.chip import Chip
from neuro.errors import Refusal, unsupported
from neuro.graph import Graph, Node
from neuro.layers import FIRING, Conv, Dense, MaxPool, Shape, SumPool, Threshold
from neuro.network import Network, Neurons
from neuro.reach import arrivals, fan_out
from neuro.schedule import Schedule, Window
from neuro.stages import Reach, filled, populations, sources, stage

DENSE = 0.5
"""Share of non-zero weights from which rows are stored without indices."""


@dataclass(frozen=True, eq=False)
class Kept:
    """Weights that a core must hold for the neurons on it: each neuron's own, those of every channel of which it has
    a neuron (a kernel that the channel shares), and some in any case."""

    neuron: Float[np.ndarray, "neuron"]
    channel: Float[np.ndarray, "channel"]
    core: float = 0.0


@dataclass(frozen=True, eq=False)
class Layer:
    """One population as mapping sees it.

    format: how its incoming synapses are stored: ``conv`` (shared kernels), ``dense`` (rows of weights) or ``sparse``
    (weights with their target's index). synapses [neuron]: that arrive at each. kept: weights that a core holds.
    compartments: swept for one neuron; slots: state that one neuron fills. gated: opened and closed by clock axons.
    thresholds [neuron]: for the limit on distinct ones; None without. sources: populations that feed it. hears: axons
    of its neuron with the most of them; fan_in: synapses of the neuron with the most of them. weight_bits: its widest
    weight, sign included. kernel: widest window of a convolution. convolution: the one that alone feeds it from the
    map of one source, if so. receptors: synaptic currents of one neuron.
    """

    name: str
    shape: Shape
    format: str
    synapses: Float[np.ndarray, "neuron"]
    kept: Kept
    compartments: int = 1
    slots: int = 1
    gated: bool = False
    thresholds: Int[np.ndarray, "neuron"] | None = None
    sources: tuple[str, ...] = ()
    hears: int = 0
    fan_in: int = 0
    weight_bits: int = 0
    kernel: int = 0
    convolution: Conv | None = None
    receptors: int = 1

    @property
    def size(self) -> int:
        """Neurons."""
        return int(np.prod(self.shape))


@dataclass(frozen=True, eq=False)
class Wiring:
    """Layers in topological order (recurrent ones in the order given), and what counting needs.

    reach: (layer, members [group, *shape]) to synapses from every source neuron onto each group. arrivals: (layer,
    values of the neurons of its sources) to what arrives at each of its neurons if every synapse hands its source's
    value on. state: the layer with the widest state and its bits. inputs, outputs: values that the host writes and
    reads for a sample.
    """

    name: str
    layers: tuple[Layer, ...]
    schedule: Schedule
    reach: Reach
    arrivals: Callable[[str, Mapping[str, np.ndarray]], Float[np.ndarray, "neuron"]]
    state: tuple[str, int]
    inputs: int
    outputs: int

    def __getitem__(self, name: str) -> Layer:
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)

    @property
    def neurons(self) -> int:
        """Of all layers."""
        return sum(layer.size for layer in self.layers)


def of_graph(graph: Graph, chip: Chip, realisation: Realisation) -> Wiring:
    """The wiring of a spiking graph whose neurons are realised so on a chip; see `as_stored`.

    Raises:
        ValueError: the graph carries no schedule. Unsupported: products of two populations, softmax or layer norm.
    """
    if (schedule := graph.schedule) is None:
        raise ValueError(f"{graph.name} has no schedule; encode it first")
    if found := attention(graph):
        reason = "needs products of two populations or the membranes of a group; no chip here has neurons for that"
        refused = [Refusal(name, type(graph[name].op).__name__, reason) for name in found]
        raise unsupported(graph.name, "cannot be mapped", refused, "Run the network without a chip: neuro convert.")
    state = state_bits(graph, realisation)
    formats = {node.name: _format(graph, node) for node in populations(graph)}
    graph = as_stored(graph, chip)
    return Wiring(
        name=graph.name,
        layers=tuple(_layer(graph, node, formats[node.name], realisation) for node in populations(graph)),
        schedule=schedule,
        reach=fan_out(graph),
        arrivals=lambda name, values: arrivals(graph, name, dict(values)),
        state=state,
        inputs=graph.size(graph.input.name),
        outputs=graph.size(graph.output.name),
    )


def as_stored(graph: Graph, chip: Chip) -> Graph:
    """The graph with ones for the weights of zero that the chip stores, and that spikes meet like others.

    They are those of rows without indices, which nothing tells apart, and of kernels, unless the chip writes these out
    row by row.
    """
    whole = {"dense"} if chip.memory is not None else {"dense", "conv"}
    layers = [node.name for node in populations(graph) if _format(graph, node) in whole]
    return filled(graph, {n.name for name in layers for n in stage(graph, name)})


def of_network(
    network: Network, steps: int, inputs: int, outputs: int, compartments: Mapping[str, int] | None = None
) -> Wiring:
    """The wiring of a network given synapse by synapse that runs for `steps` steps, recurrent or not.

    inputs, outputs: values that the host writes and reads in a run. compartments: of one neuron, by population, where
    it takes more than one. Populations are cut into ranges of their neurons, in order. Rows are stored with indices
    where fewer than half of a population's pairs have a synapse; else the other pairs have one of weight zero.
    """
    taken = compartments or {}
    onto = {p.name: _inward(network, p) for p in network.populations}
    formats = {p.name: _format_of(network, p, onto[p.name]) for p in network.populations}
    for name, inward in onto.items():
        if formats[name] == "dense":
            onto[name] = {source: _whole(counts) for source, counts in inward.items()}

    def reach(name: str, members: np.ndarray) -> dict[str, np.ndarray]:
        groups = csr_array(members.reshape(len(members), -1).astype(np.float32))
        return {source: csr_array(groups @ counts).toarray() for source, counts in onto[name].items()}

    def arriving(name: str, values: Mapping[str, np.ndarray]) -> np.ndarray:
        total = np.zeros(network.size(name))
        for source, counts in onto[name].items():
            total = total + counts @ np.asarray(values[source], np.float64)
        return total

    every = Window(0, steps)
    return Wiring(
        name=network.name,
        layers=tuple(
            _population(network, p, formats[p.name], onto[p.name], taken.get(p.name, 1)) for p in network.populations
        ),
        schedule=Schedule(
            "rate",
            {p.name: every for p in network.populations},
            _longest(network),
            steps,
            (steps, steps),
        ),
        reach=reach,
        arrivals=arriving,
        state=(network.populations[0].name, 1),  # their range is known to the run alone
        inputs=inputs,
        outputs=outputs,
    )


def _longest(network: Network) -> dict[tuple[str, str], int]:
    """The delay of every edge: the longest one where several projections join two populations."""
    delays: dict[tuple[str, str], int] = {}
    for q in network.projections:
        delays[q.source, q.target] = max(q.delay, delays.get((q.source, q.target), 0))
    return delays


def _inward(network: Network, p: Neurons) -> dict[str, csr_array]:
    """Synapses [post, pre] of a population by source."""
    found: dict[str, csr_array] = {}
    for q in network.projections:
        if q.target == p.name:
            pairs = (np.ones(len(q), np.float32), (q.post, q.pre))
            counts = coo_array(pairs, shape=(p.size, network.size(q.source))).tocsr()
            found[q.source] = csr_array(found[q.source] + counts) if q.source in found else counts
    return found


def _format_of(network: Network, p: Neurons, inward: Mapping[str, csr_array]) -> str:
    pairs = p.size * sum(network.size(source) for source in inward)
    return "dense" if pairs and sum(counts.nnz for counts in inward.values()) >= DENSE * pairs else "sparse"


def _whole(counts: csr_array) -> csr_array:
    """Rows without indices hold every pair."""
    return csr_array(np.maximum(counts.toarray(), np.float32(1)))


def _population(network: Network, p: Neurons, format: str, onto: Mapping[str, csr_array], compartments: int) -> Layer:
    synapses, heard = np.zeros(p.size), np.zeros(p.size)
    for counts in onto.values():
        synapses += counts.sum(axis=1)
        heard += np.diff(counts.indptr)
    weights = [q.weight for q in network.projections if q.target == p.name and len(q)]
    whole = all(np.array_equal(w, np.rint(w)) for w in weights)
    return Layer(
        name=p.name,
        shape=(p.size,),
        format=format,
        synapses=synapses,
        kept=Kept(synapses, np.zeros(p.size)),
        compartments=compartments,
        slots=compartments,
        sources=tuple(onto),
        hears=int(heard.max()),
        fan_in=int(synapses.max()),
        weight_bits=max((_bits(w) for w in weights), default=0) if whole else 0,
        receptors=p.model.receptors if p.model else 1,
    )


def _bits(weights: np.ndarray) -> int:
    """Of the widest weight, sign included; factors of two that all have in common are an exponent, not bits."""
    largest = np.unique(np.abs(weights[weights != 0]).astype(np.int64))
    common = int(np.bitwise_or.reduce(largest)) if len(largest) else 0
    shift = (common & -common).bit_length() - 1 if common else 0
    return (int(largest.max()) >> shift).bit_length() + 1 if common else 0


def _layer(graph: Graph, node: Node, format: str, realisation: Realisation) -> Layer:
    inner = [n.op for n in stage(graph, node.name)] if node.inputs else []
    feeds = sources(graph, node.name) if node.inputs else []
    pools = isinstance(node.op, MaxPool)  # a pooling compartment keeps no membrane
    sends = realisation.sends
    fires = isinstance(node.op, FIRING)
    shape = graph.shapes[node.name]
    synapses = np.zeros(graph.size(node.name))
    if feeds:
        synapses = arrivals(graph, node.name, {s: np.ones(graph.size(s)) for s in feeds}).astype(float)
    fan_in = int(np.prod(node.op.kernel)) if isinstance(node.op, MaxPool) else int(synapses.max())
    weights = [op.weight for op in inner if isinstance(op, Conv | Dense)]
    windows = [max(op.weight.shape[2:], default=0) for op in inner if isinstance(op, Conv)]
    windows += [max(op.kernel) for op in (*inner, node.op) if isinstance(op, SumPool | MaxPool)]
    return Layer(
        name=node.name,
        shape=shape,
        format=format,
        synapses=synapses,
        kept=_times(_kept(graph, node, format, synapses), sends),
        compartments=sends if pools else realisation.compartments,
        slots=sends if pools else realisation.compartments * realisation.membranes,
        gated=fires and realisation.clock > 0,
        thresholds=np.broadcast_to(node.op.threshold, shape).reshape(-1) if isinstance(node.op, Threshold) else None,
        sources=tuple(feeds),
        hears=sends * min(fan_in, sum(graph.size(s) for s in feeds)),  # parallel paths: several synapses of one source
        fan_in=sends * fan_in,
        weight_bits=max((int(np.abs(w).max()).bit_length() + 1 for w in weights), default=0),
        kernel=max(windows, default=0),
        convolution=inner[0] if len(feeds) == 1 and len(inner) == 1 and isinstance(inner[0], Conv) else None,
    )


def _format(graph: Graph, node: Node) -> str:
    inner = [n.op for n in stage(graph, node.name)]
    if any(isinstance(op, Conv) for op in inner):
        return "conv"
    dense = [op.weight for op in inner if isinstance(op, Dense)]
    filled = sum((w != 0).sum() for w in dense) / max(sum(w.size for w in dense), 1)
    return "dense" if filled >= DENSE else "sparse"


def _times(kept: Kept, number: int) -> Kept:
    return Kept(kept.neuron * number, kept.channel * number, kept.core * number)


def _kept(graph: Graph, node: Node, format: str, synapses: np.ndarray) -> Kept:
    """Stored synapses, or kernels once a core where they are shared."""
    shape = graph.shapes[node.name]
    neuron, channel, core = np.zeros(len(synapses)), np.zeros(shape[0]), 0.0
    if format != "conv":
        return Kept(synapses, channel)
    for n in stage(graph, node.name):
        stored = float((n.op.weight != 0).sum()) if isinstance(n.op, Conv | Dense) else 0.0
        if isinstance(n.op, Conv) and graph.shapes[n.name] == shape:
            channel = channel + (n.op.weight != 0).reshape(shape[0], -1).sum(axis=1)
        elif isinstance(n.op, Conv):  # reshaped or pooled behind: every core keeps all kernels
            core += stored
        elif isinstance(n.op, Dense):
            neuron = neuron + stored / len(neuron)
    return Kept(neuron, channel, core)
