"""Integer networks under approximate codes, layer after layer, and what their trains decode to.

The neurons of `neuro.rectified` run on a rate-coded graph, whose thresholds are worth a spike and whose biases come in
every step; `neuro.multispike.Differential` on an integer reference, in real numbers. Input and layers send in every
step; a layer runs all its steps before the next one, which gives the same trains. Max-pools forward the largest value
of a step, which is not the pool of the values.
"""

from dataclasses import dataclass
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from neuro.errors import Refusal, unsupported
from neuro.evaluate import apply
from neuro.graph import Graph, Node
from neuro.layers import FIRING, Input, MaxPool, Product, Scale, Threshold
from neuro.multispike import Differential
from neuro.rectified import Bursts, Shifted, Silenced, along, fire
from neuro.stages import is_population, populations, propagate, sources

Neuron: TypeAlias = Bursts | Silenced | Shifted | Differential


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Done:
    """A batch. values [batch, *shape]: by population, in counts of the whole run (`decode`); events [batch, neuron]: by
    population, spikes, or values sent under the differential code, those of runs before and of repeated trains
    included. output [batch, *shape]: of the read-out, for the whole run. Integers, but for the differential code."""

    values: dict[str, Array]
    events: dict[str, Array]
    output: Array


def check(graph: Graph, neuron: Neuron) -> None:
    """Refuses what `neuron` cannot take the place of.

    Raises:
        Unsupported: neurons without one threshold, products, max-pools under the differential code.
    """
    pool = MaxPool if isinstance(neuron, Differential) else ()
    wrong = [n for n in graph.nodes if isinstance(n.op, (Product, *FIRING)) and not isinstance(n.op, Threshold)]
    wrong += [n for n in graph.nodes if isinstance(n.op, pool)]
    if wrong:
        faults = [Refusal(n.name, type(n.op).__name__, "no neuron with one threshold") for n in wrong]
        raise unsupported(graph.name, "have no such neurons", faults, "Use an exact code.")


def run(graph: Graph, counts: Int[Array, "batch ..."], steps: int, neuron: Neuron) -> Done:
    """A batch of input counts through `graph`, which `check` has passed; call it inside `jax.jit`.

    Under the differential code the input arrives at once, as one value; else it is sent by neurons that receive their
    count in every step.
    """
    sent: dict[str, Array] = {}
    output = jnp.zeros(0)
    for node in populations(graph):
        if isinstance(node.op, Input):
            sent[node.name] = _enter(node.op, counts, steps, neuron)
        elif isinstance(node.op, MaxPool):
            (source,) = sources(graph, node.name)
            moved = _each_step(graph, node, {source: sent[source].astype(jnp.float32)})
            sent[node.name] = _steps(apply(node.op, moved), len(sent[source])).astype(sent[source].dtype)
        else:
            feeds = {s: sent[s].astype(jnp.float32) for s in sources(graph, node.name)}
            currents = _steps(_each_step(graph, node, feeds), len(next(iter(feeds.values()))))
            if is_population(node):
                sent[node.name] = _send(node.op, currents, neuron)
            else:
                output = _read(node, currents, neuron)
    values = {name: decode(train, neuron) for name, train in sent.items()}
    output = values.get(graph.output.name, output)
    return Done(values, {name: _events(graph, name, train, neuron) for name, train in sent.items()}, output)


def decode(train: Array, neuron: Neuron) -> Array:
    """The value of a train [step, batch, ...]: its spikes without those of the run before; the differential code
    weighs step t by 1/t, and a value is that in counts."""
    if isinstance(neuron, Differential):
        return (train / _times(train)).sum(axis=0)
    return train[neuron.prerun :].sum(axis=0, dtype=jnp.int32)


def _enter(op: Input, counts: Array, steps: int, neuron: Neuron) -> Array:
    if isinstance(neuron, Differential):
        silence = jnp.zeros((steps - 1, *counts.shape), jnp.float32)
        return jnp.concatenate([counts.astype(jnp.float32)[None], silence])
    ones = (1,) * (counts.ndim - 1)
    own = Threshold(np.full(ones, op.levels), np.zeros(ones, np.int64), steps)
    start = jnp.broadcast_to(along(own.initial, counts.ndim), counts.shape)
    current = counts.astype(jnp.int32) * neuron.members
    trains = [
        fire(own, jnp.broadcast_to(current, (n, *counts.shape)), start, neuron.members).spikes
        for n in (neuron.prerun, steps)
    ]
    return jnp.concatenate(trains)


def _send(op, currents: Float[Array, "step batch ..."], neuron: Neuron) -> Array:
    assert isinstance(op, Threshold)
    if isinstance(neuron, Differential):
        bias, threshold = (along(v, currents.ndim - 1).astype(jnp.float32) for v in (op.bias, op.threshold))
        return neuron(currents, bias, threshold * np.float32(op.levels)) / threshold[None]
    return neuron(op, currents.astype(jnp.int32) + along(op.bias, currents.ndim))


def _read(node: Node, currents: Float[Array, "step batch ..."], neuron: Neuron) -> Array:
    assert isinstance(node.op, Scale)
    offset = jnp.asarray(node.op.offset, jnp.float32)[None]
    plain = currents - offset[None]
    if isinstance(neuron, Differential):
        return (plain / _times(plain)).sum(axis=0) + offset
    kept = plain[neuron.prerun :].astype(jnp.int32)
    return kept.sum(axis=0, dtype=jnp.int32) + len(kept) * offset.astype(jnp.int32)


def _events(graph: Graph, name: str, train: Array, neuron: Neuron) -> Array:
    number = (jnp.sign(train) ** 2 if isinstance(neuron, Differential) else train).sum(axis=0)
    feeds_neurons = any(name in sources(graph, n.name) for n in populations(graph)[1:] if is_population(n))
    copies = neuron.copies if isinstance(neuron, Shifted) and feeds_neurons else 1
    return number.reshape(len(number), -1).astype(jnp.int32) * copies


def _each_step(graph: Graph, node: Node, feeds: dict[str, Array]) -> Array:
    """What arrives in every step [step x batch, ...]."""
    return propagate(graph, node.name, {s: v.reshape(-1, *v.shape[2:]) for s, v in feeds.items()})


def _steps(merged: Array, steps: int) -> Array:
    return merged.reshape(steps, -1, *merged.shape[1:])


def _times(train: Array) -> Array:
    return jnp.arange(1, len(train) + 1, dtype=jnp.float32).reshape(-1, *(1,) * (train.ndim - 1))
