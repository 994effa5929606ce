"""A spiking graph in Brian2, code and schedule included: every population with its window, synapse by synapse.

In the steps up to the beginning of its window a population adds up what arrives, doubling before each step under the
code `bits`; in its window it fires (see `neuro.codes`). Under the rate code it does both in every step of the window.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from converters.to_brian2 import STEP, InBrian2, joined, spiking, wired
from neuro.codes import encode
from neuro.errors import BadInput
from neuro.graph import Graph, Node
from neuro.layers import Input, MaxPool, Threshold
from neuro.network import Neurons
from neuro.schedule import Schedule, Window
from neuro.stages import sources
from neuro.synapses import unroll

CODES = ("unary", "bits", "rate")
CODE = """
k = timestep(t, dt)
v = v * keep * (1 + doubles * int(k <= begin)) + i0 + int(k == begin) * lift + int(k >= begin) * int(k < end) * bias
v = v + int(k == begin) * (clip(v, low, most) - v)
i0 = 0
open = int(k >= begin) * int(k < end)
at = th * 2.0 ** (open * doubles * (end - 1 - k))
"""
"""A step before the thresholds are looked at. lift: added once, before the first spike; bias: in every step."""


def graph_to_brian2(graph: Graph, counts: Int[np.ndarray, "*shape"], step: float = STEP) -> InBrian2:
    """`graph` on one sample of input counts; run it for ``graph.schedule.total`` steps.

    The membrane `v` of the read-out's group is then its output. step: s of a time step in Brian2.

    Raises:
        ValueError: the graph carries no schedule. BadInput: a code that has no form there. Unsupported, DoesNotFit: see
        `neuro.synapses.unroll`.
    """
    if graph.schedule is None:
        raise ValueError(f"{graph.name} has no schedule; encode it first")
    network, code = unroll(graph), graph.schedule.code
    if code not in CODES:
        raise BadInput(f"{graph.name}: the {code} code has no form in Brian2; encode it under {', '.join(CODES)}.")
    groups: dict[str, Any] = {}
    for population in network.populations:
        node = graph[population.name]
        if isinstance(node.op, Input):
            window = graph.schedule.windows[node.name].steps
            train = encode(code, jnp.asarray(counts, jnp.float32)[None], node.op.levels, window)
            groups[node.name] = spiking(np.asarray(train).reshape(window, -1), population, step)
        else:
            groups[node.name] = _group(graph, graph.schedule, node, population, step)
    wires = []
    for projection in network.projections:
        edge = wired(projection, groups, step)
        if code == "bits" and isinstance(graph[projection.target].op, MaxPool):
            edge = _compared(edge, groups[projection.source], groups[projection.target], projection.delay * step)
        wires.append((projection, edge))
    return joined(groups, wires, step)


def _group(graph: Graph, schedule: Schedule, node: Node, population: Neurons, step: float) -> Any:
    from brian2 import NeuronGroup, second

    assert population.model is not None
    given, code = population.model.parameters(), schedule.code
    window = schedule.windows.get(node.name) or _listens(schedule, node.name, sources(graph, node.name))
    values = {
        "begin": window.start, "end": window.end, "th": given["threshold"], "keep": given["decay"],
        "doubles": code == "bits" and not isinstance(node.op, MaxPool), "low": -np.inf, "most": np.inf,
    }  # fmt: skip
    values |= {"lift": 0.0, "bias": given["bias"]} if code == "rate" else {"lift": given["bias"], "bias": 0.0}
    if isinstance(node.op, Threshold) and code != "rate":
        values["lift"] = given["bias"] + (given["threshold"] // 2 if node.op.start == "half" else 0)
        if code == "bits" and (node.op.levels + 1) & node.op.levels:  # otherwise saturation comes by itself
            values |= {"low": 0.0, "most": (node.op.levels + 1) * given["threshold"] - 1}
    variables = [*values, "v", "i0", "open", "at"]
    group = NeuronGroup(
        population.size,
        "\n".join(f"{name} : 1" for name in variables),
        threshold="open > 0 and v >= at",
        reset="v -= at",
        dt=step * second,
    )
    for name, value in values.items():
        setattr(group, name, np.broadcast_to(np.asarray(value, np.float64), population.size))
    group.v = np.broadcast_to(given["start"] if code == "rate" else 0.0, population.size)
    group.run_regularly(CODE, when="start")
    return group


def _listens(schedule: Schedule, name: str, feeds: list[str]) -> Window:
    """When a read-out takes part: under the rate code while spikes come, else in the step of the last one."""
    ends = [schedule.windows[s].end + schedule.delays.get((s, name), 0) for s in feeds]
    starts = [schedule.windows[s].start + schedule.delays.get((s, name), 0) + 1 for s in feeds]
    return Window(min(starts) if schedule.code == "rate" else max(ends), max(ends) + 1 - min(starts))


def _compared(edge: Any, source: Any, target: Any, delay: float) -> Any:
    """Synapses of a pool that compares bits: a neuron of the window leaves when it lacks a bit that another one has."""
    from brian2 import Synapses, second

    pool = Synapses(source, target, "alive : 1\nbit : 1", on_pre="bit = 1\ni0_post += alive", delay=delay * second)
    pool.connect(i=np.asarray(edge.i[:]), j=np.asarray(edge.j[:]))
    pool.alive = 1
    pool.run_regularly("alive *= 1 - int(v_post > 0) * (1 - bit)\nbit = 0", when="start", order=1, dt=source.clock.dt)
    return pool
