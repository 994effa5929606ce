"""Conversions whose neurons `neuro.codes` does not know: online codes, which are exact, and approximate ones.

Each is run on all test items and held against its integer form, neuron by neuron, whatever comes out.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from converters import quantise
from converters.encode import encode
from converters.hybrid import whole_run
from converters.quantise import Quantised
from experiments.run import MEMORY, chunks, of_items
from neuro import approximate
from neuro.activity import fan_outs
from neuro.divergence import Divergence, first_divergence
from neuro.errors import BadInput
from neuro.evaluate import evaluate
from neuro.graph import Graph
from neuro.layers import FIRING, Input, MaxPool
from neuro.multispike import Differential
from neuro.rectified import Bursts, Shifted, Silenced
from neuro.sigma_delta import OnlineCode, stream
from neuro.stages import is_population, populations, sources

Approximate: TypeAlias = Literal["burst", "differential", "srp", "cos"]
Online: TypeAlias = Literal["sd-ternary", "sd-pow2", "sd-graded"]
OTHER: tuple[str, ...] = (*get_args(Approximate), *get_args(Online))
CODES: dict[Online, OnlineCode] = {"sd-ternary": "sd_ternary", "sd-pow2": "sd_pow2", "sd-graded": "sd_graded"}


@dataclass(frozen=True)
class Choices:
    """Of the approximate methods. steps: of the run; members: spikes that a neuron sends in a step at most (burst);
    values: sizes of a spike (differential); prerun: steps of the run before (srp, cos), None for `steps`; rounds: runs
    before (cos)."""

    steps: int = 64
    members: int = 4
    values: int = 6
    prerun: int | None = None
    rounds: int = 1


@dataclass(frozen=True, eq=False)
class MethodRun:
    """What all items did, as in `experiments.run.CodeRun`. integer [item, output]: the read-out of the integer form;
    form: that form, whose units outputs have; first: the first value that differs."""

    code: str
    steps: int
    outputs: Float[np.ndarray, "item output"]
    integer: Float[np.ndarray, "item output"]
    form: Quantised
    checked: int
    mismatches: int
    first: Divergence | None
    spikes: Float[np.ndarray, "item"]
    synops: Float[np.ndarray, "item"]
    neurons: int
    by_layer: dict[str, float]


@dataclass(frozen=True)
class _Piece:
    """A chunk of items: values and events of populations, what the integer form wants, read-outs."""

    values: dict[str, np.ndarray]
    wanted: dict[str, np.ndarray]
    spikes: dict[str, np.ndarray]
    synops: np.ndarray
    steps: int


def check(method: str, choices: Choices) -> None:
    """Refuses choices out of range, or that `method` does not know.

    Raises:
        BadInput: naming the option.
    """
    default = Choices()
    for name, knows, (low, high) in (
        ("members", ("burst",), (1, 255)),
        ("values", ("differential",), (1, 16)),
        ("prerun", ("srp", "cos"), (1, choices.steps if method == "cos" else 4096)),
        ("rounds", ("cos",), (1, 64)),
    ):
        value = getattr(choices, name)
        if value == getattr(default, name):
            continue
        if method not in knows:
            raise BadInput(f"--{name} is for --method {' and '.join(knows)}; leave it out.")
        if not low <= value <= high:
            raise BadInput(f"--{name} {value} is out of range; give {low} to {high}.")


def neuron(method: str, choices: Choices) -> approximate.Neuron:
    """The neuron of an approximate method."""
    before = choices.steps if choices.prerun is None else choices.prerun
    match method:
        case "burst":
            return Bursts(choices.members)
        case "differential":
            return Differential(choices.values)
        case "srp":
            return Silenced(before)
    return Shifted(min(before, choices.steps), choices.rounds)


def quantised(method: str, folded: Graph, calibration: np.ndarray, input_levels: int, levels: int | None,
              weight_bits: int, choices: Choices) -> Quantised:  # fmt: skip
    """The integer graph on which the neurons of `method` work: rate-coded with thresholds of least squared error, or
    (online and differential codes) the integer reference."""
    if method in get_args(Online) or method == "differential":
        return quantise.reference(folded, calibration, input_levels, levels, weight_bits)
    members = choices.members if method == "burst" else 1
    return quantise.rate(folded, calibration, input_levels, choices.steps, weight_bits, "mse", members=members)


def carry_out(
    method: str, integer: Quantised, counts: np.ndarray, choices: Choices, advance: Callable[[int], None]
) -> MethodRun:
    """`integer` under `method` on input counts [item, *shape]; `advance` is told the items done.

    Raises:
        Unsupported: layers that have no such neurons. BadInput: sums beyond what float32 holds exactly.
    """
    form = integer
    if method in get_args(Online):
        pieces = _settled(integer.graph, counts, CODES[method])  # pyright: ignore[reportArgumentType]
    else:
        own = neuron(method, choices)
        approximate.check(integer.graph, own)
        if not isinstance(own, Differential):
            form = quantise.checked(whole_run(integer, choices.steps, own.members))
        pieces = _sent(integer.graph, form.graph, counts, choices.steps, own)
    order = [n.name for n in populations(form.graph)]  # jitted functions sort what they return
    last = order[-1]
    outputs, wanted, spikes, synops = [], [], [], []
    layers: dict[str, float] = {}
    checked = mismatches = steps = done = 0
    first: Divergence | None = None
    for piece in pieces:
        for name in order:
            checked += piece.wanted[name].size
            mismatches += int((piece.values[name] != piece.wanted[name]).sum())
        found = first_divergence({n: piece.wanted[n] for n in order}, piece.values) if first is None else None
        if found is not None:
            first = Divergence(found.layer, found.index, done + found.item, found.expected, found.got, found.differing)
        items = len(piece.synops)
        outputs.append(piece.values[last].reshape(items, -1).astype(np.float64))
        wanted.append(piece.wanted[last].reshape(items, -1).astype(np.float64))
        spikes.append(np.sum(list(piece.spikes.values()), axis=0).astype(np.float64))
        synops.append(piece.synops)
        for name in [n for n in order if n in piece.spikes]:
            layers[name] = layers.get(name, 0.0) + float(piece.spikes[name].sum()) / len(counts)
        steps, done = max(steps, piece.steps), done + items
        advance(items)
    return MethodRun(
        code=method,
        steps=steps,
        outputs=np.concatenate(outputs),
        integer=np.concatenate(wanted),
        form=form,
        checked=checked,
        mismatches=mismatches,
        first=first,
        spikes=np.concatenate(spikes),
        synops=np.concatenate(synops),
        neurons=sum(integer.graph.size(name) for name in layers),
        by_layer=layers,
    )


def latency(graph: Graph, steps: int, own: approximate.Neuron) -> int:
    """Steps from the first input spike until the read-out has the last one.

    Layers follow each other a step apart; a shifted one waits, round after round, until its sources have sent their
    trains, which they remember.
    """
    if not isinstance(own, Shifted):
        return _total(graph, steps + (own.prerun if isinstance(own, Silenced) else 0))
    return _total(graph, steps) + _depth(graph) * own.rounds * steps


def _total(graph: Graph, steps: int) -> int:
    schedule = encode(graph, "rate", steps).schedule
    assert schedule is not None
    return schedule.total


def _depth(graph: Graph) -> int:
    """Layers of neurons on the longest way from the input to the read-out."""
    depth: dict[str, int] = {}
    for node in populations(graph):
        before = max((depth[s] for s in sources(graph, node.name)), default=0) if node.inputs else 0
        depth[node.name] = before + isinstance(node.op, FIRING)
    return max(depth.values())


def _sent(graph: Graph, form: Graph, counts: np.ndarray, steps: int, own: approximate.Neuron) -> Iterator[_Piece]:
    fans, last = fan_outs(graph), graph.output.name
    names = [n.name for n in populations(graph) if is_population(n)]
    ceilings = {n.name: n.op.levels for n in graph.nodes if isinstance(n.op, FIRING)}

    @jax.jit
    def step(batch):
        done = approximate.run(graph, batch, steps, own)
        values = done.values | {last: done.output}
        if isinstance(own, Differential):  # real values, in the levels of the integer reference
            values = {k: jnp.floor(v + 0.5) for k, v in values.items()}
            values = {k: jnp.clip(v, 0, ceilings[k]) if k in ceilings else v for k, v in values.items()}
        wanted = evaluate(form, values[graph.input.name].astype(jnp.float32))
        synops = sum(n.astype(jnp.float32) @ jnp.asarray(fans[k], jnp.float32) for k, n in done.events.items())
        spikes = {k: n.sum(axis=1) for k, n in done.events.items()}
        return values, {k: wanted[k] for k in (*names, last)}, spikes, synops

    taken, widest = latency(graph, steps, own), max(graph.size(n.name) for n in graph.nodes)
    length = steps + (own.prerun if isinstance(own, Silenced) else 0)
    size = int(np.clip(MEMORY // (24 * length * widest), 1, len(counts)))
    for items, mine in chunks(len(counts), size):
        values, wanted, spikes, synops = of_items(mine, step(jnp.asarray(counts[items], jnp.int32)))
        yield _Piece(values, wanted, spikes, synops.astype(np.float64), taken)


def _settled(graph: Graph, counts: np.ndarray, code: OnlineCode) -> Iterator[_Piece]:
    fans, last = fan_outs(graph), graph.output.name
    names = [n.name for n in graph.nodes if isinstance(n.op, (Input, MaxPool, *FIRING))]
    size = int(np.clip(MEMORY // (64 * sum(graph.size(n.name) for n in graph.nodes)), 1, len(counts)))
    reference = jax.jit(lambda batch: evaluate(graph, batch))
    for items, mine in chunks(len(counts), size):
        (done,) = stream(graph, [counts[items][mine]], code, fans=fans)
        wanted = of_items(mine, reference(jnp.asarray(counts[items], jnp.float32)))
        yield _Piece(
            values={**done.tracers, last: done.output},
            wanted={name: wanted[name] for name in (*names, last)},
            spikes=done.events,
            synops=done.synops,
            steps=done.steps,
        )
