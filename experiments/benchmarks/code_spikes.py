"""How many spikes every exact code takes at several levels, input included, and what the network loses.

    NEURO_DATA=FOLDER python -m experiments.benchmarks.code_spikes NETWORK DATA [options]

Under an exact code every value is that of the integer network, and the spikes that a value takes are known: all codes
of one level count are read off one evaluation. The online codes are run, on the first items.
"""

import json
from argparse import ArgumentParser
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from converters import fold, quantise
from converters.readout import real
from experiments.benchmarks.acceptance import paired
from experiments.conversion import methods
from experiments.conversion.methods import Choices
from experiments.decision import classes
from experiments.prepared import Asked, prepared
from experiments.run import chunk_size, outputs
from neuro.codes import CODES, Code, encode, is_exact, steps
from neuro.evaluate import evaluate
from neuro.graph import Graph
from neuro.layers import FIRING, Input, MaxPool
from neuro.stages import sources

ONLINE = ("sd-ternary", "sd-pow2", "sd-graded")


class Sends(NamedTuple):
    """Spikes per hidden neuron and per neuron, input included (None: it does not come in spikes)."""

    hidden: float
    every: float | None


@dataclass(frozen=True)
class Row:
    """A code at a level count. drop: points, with its 95 % interval; items: that it was measured on."""

    code: str
    input_levels: int
    levels: int
    items: int
    drop: float
    low: float
    high: float
    hidden: float
    every: float


def spikes_of(code: Code, levels: int) -> np.ndarray:
    """Spikes that each value 0..levels takes."""
    values = jnp.arange(levels + 1, dtype=jnp.float32).reshape(-1, 1)
    trains = np.asarray(encode(code, values, levels, steps(code, levels)))
    return (trains != 0).sum(axis=0).ravel()


def phase_codes(integer: Graph, counts: np.ndarray) -> dict[str, tuple[np.ndarray, Sends]]:
    """By code: the read-out's membranes [item, output] and what is sent."""
    levels: dict[str, int] = {}
    for node in integer.nodes:
        if isinstance(node.op, (Input, *FIRING)):
            levels[node.name] = node.op.levels
        elif isinstance(node.op, MaxPool):
            levels[node.name] = max(levels[s] for s in sources(integer, node.name))
    last = integer.output.name
    step = jax.jit(lambda batch: {k: v for k, v in evaluate(integer, batch).items() if k in levels or k == last})
    size = chunk_size(integer, len(counts))
    found: list[np.ndarray] = []
    histogram = {name: np.zeros(n + 1) for name, n in levels.items()}
    for first in range(0, len(counts), size):
        batch = counts[first : first + size]
        padded = np.concatenate([batch, np.repeat(batch[-1:], size - len(batch), axis=0)])
        values = {k: np.asarray(v)[: len(batch)] for k, v in step(jnp.asarray(padded, jnp.float32)).items()}
        found.append(values[last].reshape(len(batch), -1))
        for name, n in levels.items():
            histogram[name] += np.bincount(values[name].astype(np.int64).ravel(), minlength=n + 1)
    neurons = {name: integer.size(name) for name in levels}
    inside = [name for name in levels if name != integer.input.name]
    result = {}
    for code in filter(is_exact, CODES):
        sent = {name: float(spikes_of(code, n) @ histogram[name]) / len(counts) for name, n in levels.items()}
        hidden = sum(sent[name] for name in inside) / max(sum(neurons[name] for name in inside), 1)
        result[code] = (np.concatenate(found), Sends(hidden, sum(sent.values()) / sum(neurons.values())))
    return result


def rows(asked: Asked, levels: tuple[int, ...], online: int) -> list[Row]:
    """All codes at all `levels`; the online ones on the first `online` items."""
    source = prepared(asked)
    network, data = source.network, source.dataset
    assert data.y is not None
    folded = fold.fold(network, data.gain, data.offset)
    before = classes(network, outputs(network, data.network_input)) == data.y
    made = []
    for number in levels:
        form = quantise.reference(folded, data.calibration_counts, data.levels, number)
        for code, (membranes, sends) in phase_codes(form.graph, data.counts).items():
            right = classes(network, real(network, form, membranes)) == data.y
            assert sends.every is not None
            made.append(Row(code, data.levels, number, len(right), *paired(before, right), sends.hidden, sends.every))
        for code in ONLINE if online else ():
            done = methods.carry_out(code, form, data.counts[:online], Choices(), lambda n: None)
            if done.mismatches:
                raise ValueError(f"{network.name}: {done.mismatches} values differ under {code}")
            right = classes(network, real(network, form, done.outputs)) == data.y[:online]
            entering = done.by_layer[form.graph.input.name]
            hidden = (done.spikes.mean() - entering) / (done.neurons - form.graph.size(form.graph.input.name))
            every = float(done.spikes.mean() / done.neurons)
            drop = paired(before[:online], right)
            made.append(Row(code, data.levels, number, len(right), *drop, float(hidden), every))
    return made


def table(found: list[Row]) -> Table:
    """One line each; a star where at most 0.5 spikes a neuron lose at most 0.1 points."""
    made = Table("code", "input", "levels", "items", "drop", "interval", "spikes/hidden", "with input", "", box=None)
    for r in found:
        passes = "*" if r.every <= 0.5 and r.drop <= 0.1 + 1e-9 else ""
        span = f"{r.low:+.2f} to {r.high:+.2f}"
        numbers = (str(r.input_levels), str(r.levels), f"{r.items:,}", f"{r.drop:+.2f}", span)
        made.add_row(r.code, *numbers, f"{r.hidden:.3f}", f"{r.every:.3f}", passes)
    return made


def main() -> None:
    """Runs all, prints the table, writes JSON."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("network")
    parser.add_argument("data")
    parser.add_argument("--levels", type=int, nargs="+", default=[3, 7, 15, 31])
    parser.add_argument("--input-levels", type=int, nargs="+", default=[255, 15])
    parser.add_argument("--scale", type=float)
    parser.add_argument("--samples", type=int)
    parser.add_argument("--online", type=int, default=500, help="items of the online codes, 0 for none")
    parser.add_argument("--json", type=Path, help="file for the rows")
    given = parser.parse_args()
    found: list[Row] = []
    for entering in given.input_levels:
        asked = Asked(given.network, data=given.data, scale=given.scale, samples=given.samples, input_levels=entering)
        found += rows(asked, tuple(given.levels), given.online)
    Console(width=140, highlight=False).print(table(found))
    if given.json is not None:
        given.json.write_text(json.dumps([asdict(r) for r in found], indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
