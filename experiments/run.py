"""Running one spiking network over all items: accuracy, proof of equality, hardware events."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from converters.lower import origins
from experiments.decision import classes
from neuro import codes, trains
from neuro.activity import activity, fan_outs
from neuro.count import before, count
from neuro.counts import Counts
from neuro.engine import engine
from neuro.errors import BadInput
from neuro.evaluate import evaluate
from neuro.graph import Graph
from neuro.layers import FIRING, Conv, Dense, Input, MaxPool
from neuro.placement import Placement

MEMORY = 2**29
"""Bytes that the arrays of one chunk of samples may take."""


@dataclass(frozen=True)
class CodeRun:
    """What all items did under one code.

    outputs: the read-out's membranes; predictions: the classes by them. checked: compared values (neurons x items and
    read-out), mismatches: those that differ from the integer reference; None for codes that claim no equality. counts:
    by placement key and regime, with an item axis. spikes [item], synops [item]; by_layer: mean spikes per item; peak:
    largest membrane that would have been reached (rate code).
    """

    code: codes.Code
    steps: int
    predictions: Int[np.ndarray, "item"]
    outputs: Float[np.ndarray, "item output"]
    checked: int | None
    mismatches: int | None
    spikes: Float[np.ndarray, "item"]
    synops: Float[np.ndarray, "item"]
    neurons: int
    by_layer: dict[str, float]
    peak: float
    counts: dict[tuple[str, str], Counts]


def chunk_size(graph: Graph, items: int, cores: int = 0, memory: int = MEMORY) -> int:
    """Samples to run together so that their arrays stay within `memory` bytes; one at least."""
    schedule = graph.schedule
    steps = 1
    if schedule is not None:
        at_once = schedule.code != "rate"  # the input's window is then integrated as one step
        steps = max(w.steps for name, w in schedule.windows.items() if not (at_once and name == graph.input.name))
    widest = sorted(graph.size(n.name) for n in graph.nodes)[-3:]
    each = 4 * steps * sum(widest)
    if schedule is not None:
        window = schedule.windows[graph.input.name].steps
        each += 5 * window * graph.size(graph.input.name) + 32 * schedule.total * cores
    return int(np.clip(memory // each, 1, items))


def run(
    spiking: Graph,
    reference: Graph | None,
    counts: np.ndarray,
    placements: dict[tuple[str, str], Placement],
    advance: Callable[[int], None],
    limit: float = float("inf"),
    memory: int = MEMORY,
    relays: Mapping[str, str] | None = None,
) -> CodeRun:
    """All of `counts` [item, *shape] through `spiking`, chunk by chunk; `advance` is told the items done.

    Where there is a `reference` (exact codes), every population's decoded spikes and the read-out are compared with
    it. placements: (chip, regime) to placement; events of that regime are counted. limit: where membranes saturate
    under the rate code. memory: see `chunk_size`. relays: of placements, with the populations whose spikes they send
    again (`converters.relays`).
    """
    assert spiking.schedule is not None
    assert isinstance(spiking.input.op, Input)
    if counts.min() < 0 or counts.max() > spiking.input.op.levels:
        raise BadInput(
            f"{spiking.name}: input counts lie outside 0..{spiking.input.op.levels}; scale or clip the data."
        )
    code = spiking.schedule.code
    fans = fan_outs(spiking)
    program, _ = engine(spiking)

    @jax.jit
    def step(program, batch):
        result = program(batch, limit)
        wrong = jnp.zeros(batch.shape[0], jnp.int32)
        if reference is not None:
            values = evaluate(reference, batch)
            for node in reference.nodes:
                if isinstance(node.op, (Input, MaxPool, *FIRING)):
                    decoded = trains.value(result.spikes[node.name], code)
                    wrong += _differing(decoded, values[node.name])
            wrong += _differing(result.output, values[reference.output.name])
        done = activity(fans, result.spikes)
        sent = result.spikes | {relay: result.spikes[source] for relay, source in (relays or {}).items()}
        events = {}
        for key, placement in placements.items():
            mine = {name: train for name, train in sent.items() if name in placement.core}
            events[key] = count(placement, mine)[key[1]]
        return result.output.reshape(batch.shape[0], -1), wrong, done, result.peak, events

    size = chunk_size(spiking, len(counts), max((p.number for p in placements.values()), default=0), memory)
    earlier = max((before(p) for (_, regime), p in placements.items() if regime == "stream"), default=0)
    pieces, mismatches = [], 0
    for items, mine in chunks(len(counts), size, earlier):
        output, wrong, done, peak, events = step(program, jnp.asarray(counts[items], jnp.float32))
        mismatches += int(wrong[mine].sum())
        pieces.append(of_items(mine, (output, done, peak, events)))
        advance(mine.stop - mine.start)
    outputs, done, peak, events = jax.tree_util.tree_map(lambda *parts: np.concatenate(parts), *pieces)
    neurons = sum(spiking.size(name) for name in spiking.schedule.windows)
    exact = reference is not None
    return CodeRun(
        code=code,
        steps=spiking.schedule.total,
        predictions=classes(spiking, outputs),
        outputs=outputs,
        checked=len(counts) * (neurons + spiking.size(spiking.output.name)) if exact else None,
        mismatches=mismatches if exact else None,
        spikes=np.sum(list(done.spikes.values()), axis=0),
        synops=np.sum(list(done.synops.values()), axis=0),
        neurons=neurons,
        by_layer={name: float(n.mean()) for name, n in done.spikes.items()},
        peak=float(peak.max()),
        counts=events,
    )


def chunks(items: int, size: int, earlier: int = 0) -> Iterator[tuple[Int[np.ndarray, "item"], slice]]:
    """Which of `items` run together, and where among these the new ones are, which follow `earlier` that ran already.

    The items are a ring: the first one has the last one before it. All chunks have as many items, so that one
    compilation serves all: `size`, but for one new item at least; or there is one chunk with all of them.
    """
    if size >= items:
        yield np.arange(items), slice(0, items)
        return
    new = max(1, size - earlier)
    for first in range(0, items, new):
        yield np.arange(first - earlier, first + new) % items, slice(earlier, earlier + min(new, items - first))


def of_items(items: slice, tree):
    """These items of every array of a tree, as NumPy arrays."""
    return jax.tree_util.tree_map(lambda array: np.asarray(array)[items], tree)


def _differing(first, second):
    """Per sample, in how many values two arrays differ."""
    return (first != second).reshape(first.shape[0], -1).sum(axis=1, dtype=jnp.int32)


def mean_spikes(spiking: Graph, counts: np.ndarray) -> dict[str, Float[np.ndarray, "neuron"]]:
    """Mean spikes per inference of every neuron, by population: the pilot that mapping is based on."""
    program, _ = engine(spiking)

    @jax.jit
    def means(program, batch):
        return {name: trains.spikes(s).mean(axis=0) for name, s in program(batch).spikes.items()}

    return {name: np.asarray(mean) for name, mean in means(program, jnp.asarray(counts, jnp.float32)).items()}


def outputs(
    graph: Graph, inputs: np.ndarray, advance: Callable[[int], None] = lambda n: None, memory: int = MEMORY
) -> np.ndarray:
    """The output of a float or integer graph for every item, [item, output]. memory: see `chunk_size`."""
    size = chunk_size(graph, len(inputs), memory=memory)
    step = jax.jit(lambda batch: evaluate(graph, batch)[graph.output.name].reshape(batch.shape[0], -1))
    found = []
    for items, mine in chunks(len(inputs), size):
        found.append(np.asarray(step(jnp.asarray(inputs[items], jnp.float32)))[mine])
        advance(mine.stop - mine.start)
    return np.concatenate(found)


def classify(
    graph: Graph, inputs: np.ndarray, advance: Callable[[int], None] = lambda n: None, memory: int = MEMORY
) -> np.ndarray:
    """The decision of a float or integer graph for every item. memory: see `chunk_size`."""
    return classes(graph, outputs(graph, inputs, advance, memory))


def zero_shares(integer: Graph, counts: np.ndarray, layers: set[str]) -> dict[str, float]:
    """Share of zeros among the inputs of each weighted layer of the float network that `layers` names, measured."""
    values = jax.jit(lambda batch: evaluate(integer, batch))(jnp.asarray(counts, jnp.float32))
    names = origins(integer)
    return {
        names[node.name]: float((np.asarray(values[node.inputs[0]]) == 0).mean())
        for node in integer.nodes
        if isinstance(node.op, Conv | Dense) and names[node.name] in layers
    }
