"""Neurons that send a value again: where an edge waits longer than a chip can delay a spike, as skip edges do."""

from dataclasses import replace

import numpy as np

from converters.encode import encode
from neuro.graph import Graph, Node
from neuro.layers import FIRING, Input, MaxPool, Threshold
from neuro.stages import sources, stage


def relayed(spiking: Graph, longest: int | float) -> tuple[Graph, dict[str, str]]:
    """`spiking` with relays on edges that wait more than `longest` steps, and the population that each relay repeats.

    A relay has a neuron for each of its source, with one synapse of weight 1 and a threshold of 1: it emits in the
    window behind the source's (under the rate code one step later), spike by spike the same. Edges that stay too long
    are those that a relay would not shorten, since they wait for less than its window.

    Raises:
        ValueError: the graph carries no schedule.
    """
    graph, origins = spiking, {}
    while edge := _too_long(graph, longest):
        source, target = edge
        relay = f"{source}.relay"
        origins[relay] = origins.get(source, source)
        graph = _with(graph, source, target, relay)
    return graph, origins


def _too_long(graph: Graph, longest: int | float) -> tuple[str, str] | None:
    """An edge that waits more than `longest` steps, and at least for as long as a relay takes."""
    if graph.schedule is None:
        raise ValueError(f"{graph.name} has no schedule; encode it first")
    windows, at_once = graph.schedule.windows, graph.schedule.code == "rate"  # then it sends on in the next step
    return next(
        (
            (source, target)
            for (source, target), delay in graph.schedule.delays.items()
            if delay > longest and delay >= (1 if at_once else windows[source].steps)
        ),
        None,
    )


def _with(graph: Graph, source: str, target: str, relay: str) -> Graph:
    """`graph` in which `target` hears the relay in place of the source."""
    assert graph.schedule is not None
    hears = {node.name for node in stage(graph, target)} | {target}
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.name in hears:
            node = replace(node, inputs=tuple(relay if name == source else name for name in node.inputs))
        nodes.append(node)
        if node.name == source and relay not in graph.shapes:
            op = Threshold(np.ones(1, np.int64), np.zeros(1, np.int64), _levels(graph, source))
            nodes.append(Node(relay, op, (source,)))
    code = graph.schedule.code
    steps = graph.schedule.windows[graph.input.name].steps if code == "rate" else None
    return encode(Graph(graph.name, tuple(nodes)), code, steps)


def _levels(graph: Graph, name: str) -> int:
    """The largest value of a population: a pool has that of what it pools."""
    op = graph[name].op
    if isinstance(op, MaxPool):
        return max(_levels(graph, feed) for feed in sources(graph, name))
    assert isinstance(op, (Input, *FIRING))
    return op.levels
