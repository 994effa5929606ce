"""What mapping needs to know of a network: its layers of neurons, and how many synapses reach whom.

A wiring is made from a spiking graph (`of_graph`) or from a network given synapse by synapse (`of_network`); cutting
it into cores and counting its events does not depend on which.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from neuro.capability import Realisation, state_bits
from neuro.graph import Graph, Node
from neuro.layers import Conv, Dense, MaxPool, Shape, SumPool, Threshold
from neuro.reach import fan_out
from neuro.schedule import Schedule
from neuro.stages import Reach, pattern, populations, propagate, sources, stage

DENSE = 0.5
"""Share of non-zero weights from which rows are stored without indices."""


@dataclass(frozen=True)
class Layer:
    """One population as mapping sees it.

    format: how its incoming synapses are stored: ``conv`` (shared kernels), ``dense`` (rows of weights) or ``sparse``
    (weights with their target's index). compartments: swept for one neuron; slots: state that one neuron fills.
    gated: opened and closed by clock axons. thresholds [neuron]: for the limit on distinct ones; None without.
    sources: populations that feed it. hears: axons of its neuron with the most of them; fan_in: synapses of the neuron
    with the most of them. weight_bits: its widest weight, sign included. kernel: widest window of a convolution.
    """

    name: str
    shape: Shape
    format: str
    compartments: int = 1
    slots: int = 1
    gated: bool = False
    thresholds: Int[np.ndarray, "neuron"] | None = None
    sources: tuple[str, ...] = ()
    hears: int = 0
    fan_in: int = 0
    weight_bits: int = 0
    kernel: int = 0

    @property
    def size(self) -> int:
        """Neurons."""
        return int(np.prod(self.shape))


@dataclass(frozen=True)
class Wiring:
    """Layers in topological order (recurrent ones in the order given), and what counting needs.

    reach: (layer, members [group, *shape]) to synapses from every source neuron onto each group. weights: (layer, own
    [core, neuron], stored [core]) to weights kept by each core. state: the layer with the widest state and its bits.
    inputs, outputs: values that the host writes and reads for a sample.
    """

    name: str
    layers: tuple[Layer, ...]
    schedule: Schedule
    reach: Reach
    weights: Callable[[str, np.ndarray, np.ndarray], Float[np.ndarray, "core"]]
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


def of_graph(graph: Graph, realisation: Realisation, reach: Reach | None = None) -> Wiring:
    """The wiring of a spiking graph whose neurons are realised so; `reach` from `fan_out` where it is at hand.

    Raises:
        ValueError: the graph carries no schedule.
    """
    if graph.schedule is None:
        raise ValueError(f"{graph.name} has no schedule; encode it first")
    return Wiring(
        name=graph.name,
        layers=tuple(_layer(graph, node, realisation) for node in populations(graph)),
        schedule=graph.schedule,
        reach=reach or fan_out(graph),
        weights=lambda name, own, stored: _weights(graph, graph[name], own, stored),
        state=state_bits(graph, realisation),
        inputs=graph.size(graph.input.name),
        outputs=graph.size(graph.output.name),
    )


def _layer(graph: Graph, node: Node, realisation: Realisation) -> Layer:
    inner = [n.op for n in stage(graph, node.name)] if node.inputs else []
    feeds = sources(graph, node.name) if node.inputs else []
    pools = isinstance(node.op, MaxPool)  # a pooling compartment keeps no membrane
    fires = isinstance(node.op, Threshold)
    shape = graph.shapes[node.name]
    fan_in = 0
    if feeds:
        everyone = {s: jnp.ones((1, *graph.shapes[s]), jnp.float32) for s in feeds}
        fan_in = int(np.prod(node.op.kernel)) if isinstance(node.op, MaxPool) else int(
            propagate(pattern(graph), node.name, everyone).max()
        )  # fmt: skip
    weights = [op.weight for op in inner if isinstance(op, Conv | Dense)]
    windows = [max(op.weight.shape[2:], default=0) for op in inner if isinstance(op, Conv)]
    windows += [max(op.kernel) for op in (*inner, node.op) if isinstance(op, SumPool | MaxPool)]
    return Layer(
        name=node.name,
        shape=shape,
        format=_format(inner),
        compartments=1 if pools else realisation.compartments,
        slots=1 if pools else realisation.compartments * realisation.membranes,
        gated=fires and realisation.clock > 0,
        thresholds=np.broadcast_to(node.op.threshold, shape).reshape(-1) if isinstance(node.op, Threshold) else None,
        sources=tuple(feeds),
        hears=min(fan_in, sum(graph.size(s) for s in feeds)),  # parallel paths are several synapses of one source
        fan_in=fan_in,
        weight_bits=max((int(np.abs(w).max()).bit_length() + 1 for w in weights), default=0),
        kernel=max(windows, default=0),
    )


def _format(inner: list) -> str:
    if any(isinstance(op, Conv) for op in inner):
        return "conv"
    dense = [op.weight for op in inner if isinstance(op, Dense)]
    filled = sum((w != 0).sum() for w in dense) / max(sum(w.size for w in dense), 1)
    return "dense" if filled >= DENSE else "sparse"


def _weights(graph: Graph, node: Node, own: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """Weights per core: stored synapses, or kernels once a core where they are shared."""
    inner = stage(graph, node.name) if node.inputs else []
    if _format([n.op for n in inner]) != "conv":
        return stored
    channels = graph.shapes[node.name][0]
    present = own.reshape(len(own), channels, -1).any(axis=2)
    kept = np.zeros(len(own))
    for n in inner:
        if isinstance(n.op, Conv) and graph.shapes[n.name] == graph.shapes[node.name]:
            kept += present @ (n.op.weight != 0).reshape(channels, -1).sum(axis=1)
        elif isinstance(n.op, Conv):  # reshaped or pooled behind: every core keeps all kernels
            kept += (n.op.weight != 0).sum()
        elif isinstance(n.op, Dense):
            kept += (n.op.weight != 0).sum() * own.mean(axis=1)
    return kept
