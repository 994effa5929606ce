"""A network with only some of the changes that a conversion makes, layer by layer: which of them costs what.

Between the folded float network and its integer form lie three changes in every layer: values above the largest level
are cut (clipping), the rest is rounded to levels, and weights, thresholds and biases become whole numbers (weights).
Here each can be made alone. Values travel as counts, whole or not: origin + scale · count is what they stand for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from converters import staircase
from converters.quantise import Quantised
from converters.staircase import Grid, function_of
from neuro import codes
from neuro.evaluate import apply
from neuro.graph import Graph, Node
from neuro.layers import FIRING, Activation, Input, MaxPool, Relu, Scale, Threshold
from neuro.stages import populations, propagate, sources

Change: TypeAlias = Literal["clipping", "levels", "weights"]
CHANGES: tuple[Change, ...] = ("clipping", "levels", "weights")
ALL = frozenset(CHANGES)
NONE: frozenset[Change] = frozenset()
PROBES = 64
"""Items from which the real value of one unit of a membrane is found where thresholds do not tell it."""
Counts: TypeAlias = dict[str, Array]


@dataclass(frozen=True, eq=False)
class Pair:
    """A folded float graph and its integer form, whose counts are those of a whole run.

    scales, origins: what a count of each population stands for, maps of its shape. gains: real value of one unit of
    the membrane, per channel, where the thresholds do not tell it. steps, single: of the rate code, how long it runs,
    and the graph of a single step; steps is 0 for an exact code.
    """

    folded: Graph
    integer: Graph
    scales: Mapping[str, np.ndarray]
    origins: Mapping[str, np.ndarray]
    gains: Mapping[str, np.ndarray]
    steps: int
    single: Graph

    def entering(self, counts: np.ndarray | Array) -> Array:
        """Input counts of data in the unit of this pair: under the rate code, spikes of the whole run."""
        op = self.integer.input.op
        assert isinstance(op, Input)
        return jnp.asarray(counts, jnp.float32) * np.float32(self.steps / op.levels if self.steps else 1)

    def real(self, name: str, counts: Array) -> Array:
        """What counts of a population stand for."""
        scale, origin = (_broadcast(v[name]) for v in (self.scales, self.origins))
        return counts * scale + origin


def whole_run(quantised: Quantised, steps: int, members: int = 1) -> Quantised:
    """The integer form of a rate-coded network over `steps` steps: what its neurons would send if all input came
    before the first spike, up to `members` spikes in a step. Every bias counts once a step; input counts are spikes of
    the run."""

    def widened(node: Node) -> Node:
        match node.op:
            case Threshold():
                return replace(node, op=replace(node.op, bias=node.op.bias * steps, levels=steps * members))
            case Scale():
                return replace(node, op=replace(node.op, offset=node.op.offset * steps))
        return node

    graph = replace(quantised.graph, nodes=tuple(map(widened, quantised.graph.nodes)))
    return Quantised(graph, {k: v / steps for k, v in quantised.scales.items()}, quantised.origins)


def pair(folded: Graph, quantised: Quantised, counts: np.ndarray, steps: int = 0) -> Pair:
    """Both forms made ready. counts [item, *shape]: some input counts; steps: of the rate code, 0 for exact codes."""
    form = whole_run(quantised, steps) if steps else quantised
    found = Pair(folded, form.graph, form.scales, form.origins, {}, steps, quantised.graph)
    gains: dict[str, np.ndarray] = {}
    values = run(found, found.entering(counts[:PROBES]), lambda name: ALL)
    for node in populations(folded)[1:]:
        if isinstance(node.op, Relu | Activation) and not _tells(found, node.name):
            gains[node.name] = _gain(found, node.name, values)
    return replace(found, gains=gains)


def run(pair: Pair, entering: Array, changes: Callable[[str], frozenset[Change]]) -> Counts:
    """Counts [item, *shape] of every population where each makes the changes that `changes` names for it."""
    values = {pair.integer.input.name: entering}
    for node in populations(pair.integer)[1:]:
        values[node.name] = layer(pair, node.name, values, changes(node.name))
    return values


def layer(pair: Pair, name: str, counts: Counts, changes: frozenset[Change]) -> Array:
    """Counts of population `name` from those of its sources, with `changes` made in this layer alone."""
    op = pair.integer[name].op
    if isinstance(op, MaxPool):
        return apply(op, propagate(pair.integer, name, counts))
    membrane = propagate(pair.integer, name, counts) if "weights" in changes else None
    if isinstance(op, Scale):
        return membrane if membrane is not None else _float(pair, name, counts) / _broadcast(pair.scales[name])
    assert isinstance(op, FIRING)
    if changes == ALL and membrane is not None:  # whole thresholds are met by whole membranes
        return apply(op, jnp.floor(membrane))
    z = _stood_for(pair, name, membrane) if membrane is not None else _float(pair, name, counts)
    value = (apply(pair.folded[name].op, z) - _broadcast(pair.origins[name])) / _broadcast(pair.scales[name])
    if "levels" in changes:
        value = jnp.floor(value + np.float32(0.5))
    return jnp.clip(value, 0, op.levels) if "clipping" in changes else value


def fire(pair: Pair, data: Array, floats: frozenset[str] = frozenset(), limit: float = float("inf")) -> Counts:
    """Spikes [item, *shape] of every population in a run of the rate code, step by step; the read-out's membrane.

    data: input counts. floats: populations that send the real value of their function evenly instead, unclipped.
    limit: where membranes saturate. For neurons in ``name + "!"``: their spikes on the same input without the limit.
    """
    graph, steps = pair.single, pair.steps
    assert isinstance(graph.input.op, Input)
    spikes = codes.encode("rate", data, graph.input.op.levels, steps).astype(jnp.float32)
    trains = {graph.input.name: spikes}
    result = {graph.input.name: spikes.sum(axis=0)}
    for node in populations(graph)[1:]:
        name, feeds = node.name, sources(graph, node.name)
        if name in floats:
            value = layer(pair, name, {s: result[s] for s in feeds}, NONE)
            trains[name] = jnp.broadcast_to(value[None] / np.float32(steps), (steps, *value.shape))
            result[name] = value
            continue
        flat = {s: trains[s].reshape(-1, *trains[s].shape[2:]) for s in feeds}
        arriving = propagate(graph, name, flat)
        arriving = arriving.reshape(steps, -1, *arriving.shape[1:])
        match node.op:
            case Threshold():
                trains[name] = codes.fire_rate(node.op, arriving, limit)[0].astype(jnp.float32)
                if np.isfinite(limit):
                    result[f"{name}!"] = codes.fire_rate(node.op, arriving)[0].astype(jnp.float32).sum(axis=0)
            case MaxPool() if not floats.isdisjoint(feeds):
                trains[name] = apply(node.op, arriving.reshape(-1, *arriving.shape[2:])).reshape(
                    steps, -1, *graph.shapes[name]
                )
            case MaxPool():
                trains[name] = codes.pool("rate", node.op, arriving.astype(bool)).astype(jnp.float32)
            case _:
                result[name] = codes.accumulate(arriving, limit)[0]
                if np.isfinite(limit):
                    result[f"{name}!"] = arriving.sum(axis=0)
                continue
        result[name] = trains[name].sum(axis=0)
    return result


def _float(pair: Pair, name: str, counts: Counts) -> Array:
    """The argument of a layer's function in the float network."""
    real = {s: pair.real(s, counts[s]) for s in sources(pair.integer, name)}
    return propagate(pair.folded, name, real)


def _stood_for(pair: Pair, name: str, membrane: Float[Array, "batch ..."]) -> Array:
    """The argument of the function that a membrane of the integer network stands for."""
    op = pair.integer[name].op
    if name in pair.gains:
        above = membrane - _silent(pair, name)
        return _shift(pair, name) + above * _broadcast(staircase.along(pair.gains[name], membrane.ndim - 1))
    assert isinstance(op, Threshold)
    bias, threshold = (_broadcast(np.broadcast_to(v, membrane.shape[1:])) for v in (op.bias, op.threshold))
    return pair.real(name, (membrane + bias) / threshold)


def _tells(pair: Pair, name: str) -> bool:
    """Whether evenly spaced thresholds say what the membrane of a population stands for."""
    op = pair.integer[name].op
    if not isinstance(op, Threshold) or op.levels == 1:
        return False
    own = pair.folded[name].op
    assert isinstance(own, Relu | Activation)
    low, unit = (np.asarray(v[name]).reshape(len(v[name]), -1)[:, 0] for v in (pair.origins, pair.scales))
    return bool(pair.steps) or staircase.is_straight(function_of(own), Grid(low, unit, op.levels))


def _gain(pair: Pair, name: str, counts: Counts) -> Float[np.ndarray, "channel"]:
    """Real value of one unit of the membrane by least squares over items, per channel."""
    wanted = np.asarray(_float(pair, name, counts) - _shift(pair, name), np.float64)
    membrane = np.asarray(propagate(pair.integer, name, counts) - _silent(pair, name), np.float64)
    axes = (0, *range(2, membrane.ndim))
    return (wanted * membrane).sum(axis=axes) / np.maximum((membrane**2).sum(axis=axes), 1e-30)


def _shift(pair: Pair, name: str) -> Array:
    """The argument of the function at counts of zero."""
    shapes = pair.integer.shapes
    return _float(pair, name, {s: jnp.zeros((1, *shapes[s]), jnp.float32) for s in sources(pair.integer, name)})


def _silent(pair: Pair, name: str) -> Array:
    """The membrane at counts of zero: not zero itself behind products, whose sides have another count for zero."""
    shapes = pair.integer.shapes
    zeros = {s: jnp.zeros((1, *shapes[s]), jnp.float32) for s in sources(pair.integer, name)}
    return propagate(pair.integer, name, zeros)


def _broadcast(values: np.ndarray) -> Array:
    """A map of a sample's shape, for a batch."""
    return jnp.asarray(values, jnp.float32)[None]
