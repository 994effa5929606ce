"""What conversions lose, against the bounds that they must keep: small networks on digits, and real ones.

``python -m experiments.benchmarks.acceptance [--seeds N] [--json FILE] [--real FOLDER]``. Drops are in points; a
bound holds for the mean over seeds, or for one network. The interval is that of a paired difference: items that only
one of two forms has right.
"""

import json
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from converters import fold, quantise
from converters.calibrate import percentile
from converters.encode import encode
from experiments.benchmarks.small import LARGEST_COUNT, Kind, trained
from experiments.conversion.convert import Task, carry_out
from experiments.datasets.arrays import CALIBRATION
from experiments.datasets.images import digit_images
from experiments.decision import classes, paired
from experiments.run import outputs, run
from neuro.evaluate import evaluate
from neuro.graph import Graph
from neuro.layers import Relu
from neuro.multispike import Burst, Differential
from neuro.multispike import run as run_values
from neuro.sigma_delta import stream


@dataclass(frozen=True)
class Row:
    """One line: what was run, the drop in points with its interval, its bound (None: none), events a neuron, theirs."""

    network: str
    mode: str
    drop: float
    low: float
    high: float
    bound: float | None
    events: float
    most: float | None = None

    @property
    def passed(self) -> bool | None:
        """Whether drop and events keep their bounds."""
        held = [(self.drop, self.bound), (self.events, self.most)]
        return None if self.bound is None else all(bound is None or found <= bound for found, bound in held)


Measured = tuple[np.ndarray, float]
"""Outputs [item, output], and events a neuron."""


def rate(folded: Graph, calibration: np.ndarray, test: np.ndarray, steps: int, **options) -> Measured:
    """A rate code."""
    form = quantise.rate(folded, calibration, int(LARGEST_COUNT), steps, **options)
    done = run(encode(form.graph, "rate", steps), None, test, {}, lambda n: None)
    return done.outputs, float(done.spikes.mean() / done.neurons)


def exact(folded: Graph, calibration: np.ndarray, test: np.ndarray, levels: int, bits: int = 8) -> Measured:
    """The integer reference under the unary code, and whether both are equal."""
    form = quantise.reference(folded, calibration, int(LARGEST_COUNT), levels, bits)
    done = run(encode(form.graph, "unary"), form.graph, test, {}, lambda n: None)
    if done.mismatches:
        raise ValueError(f"{folded.name}: {done.mismatches} values differ from the integer network")
    return done.outputs, float(done.spikes.mean() / done.neurons)


def settled(folded: Graph, calibration: np.ndarray, test: np.ndarray, levels: int) -> Measured:
    """Powers of two as changes, until the network is at rest."""
    form = quantise.reference(folded, calibration, int(LARGEST_COUNT), levels)
    (done,) = stream(form.graph, [test], "sd_pow2")
    hidden = [n.name for n in form.graph.nodes if n.name in done.events and n.inputs]
    events = sum(done.events[name].mean() for name in hidden) / sum(form.graph.size(name) for name in hidden)
    return done.output.reshape(len(test), -1).astype(np.float64), float(events)


def values(folded: Graph, calibration: np.ndarray, test: np.ndarray, steps: int, neuron) -> Measured:
    """Bursts or a differential code, thresholds at the 99.9th percentile."""
    real = evaluate(folded, calibration.astype(np.float32))
    layers = [n for n in folded.nodes if isinstance(n.op, Relu)]
    highest = {n.name: np.full(folded.shapes[n.name][0], percentile(real[n.name])) for n in layers}
    done = run_values(folded, test, steps, neuron, highest)
    return done.outputs[-1], float(done.events.sum())


MLP: list[tuple[str, float | None, Callable[..., Measured]]] = [
    *((f"p99.9, v0 = th/2, T={t}", b, partial(rate, steps=t)) for t, b in ((8, 4.0), (16, 2.5), (32, 1.5), (64, 0.5))),
    ("max, v0 = 0, T=32", 2.5, partial(rate, steps=32, rule="max", start="zero")),
    ("max, v0 = 0, hard reset, T=32", None, partial(rate, steps=32, rule="max", start="zero", reset="zero")),
    *((f"mse per channel, T={t}", b, partial(rate, steps=t, rule="mse")) for t, b in ((4, 4.0), (8, 2.0))),
    *((f"exact, L={n}", b, partial(exact, levels=n)) for n, b in ((3, 8.0), (7, 3.0), (15, 2.0))),
    ("differential, 4 values, T=2", 2.5, partial(values, steps=2, neuron=Differential(4))),
    ("differential, 4 values, T=4", 1.5, partial(values, steps=4, neuron=Differential(4))),
    ("bursts of 4, T=4", None, partial(values, steps=4, neuron=Burst(4))),
    ("powers of two as changes, L=15", 2.0, partial(settled, levels=15)),
    ("p99.9, v0 = 0, T=4", None, partial(rate, steps=4, start="zero")),
    ("p99.9, v0 = th/2, T=4", None, partial(rate, steps=4)),
]  # fmt: skip
CNN: list[tuple[str, float | None, Callable[..., Measured]]] = [
    ("exact, W8 L=15", 1.5, partial(exact, levels=15)),
    ("exact, W4 L=7", 3.0, partial(exact, levels=7, bits=4)),
]
EVENTS = {"powers of two as changes, L=15": 1.5, "ttfs, 7 levels": 0.5}
"""At most, for each neuron and item, in the modes that have such a bound."""
REAL: list[tuple[str, str, float | None, dict]] = [
    ("mlperf_tiny/ic_resnet8.h5", "W8, 15 levels", 2.0, {"levels": 15}),
    ("mlperf_tiny/ic_resnet8.h5", "W8, budget 0.5", 0.5, {"budget": 0.5}),
    ("mlperf_tiny/ic_resnet8.h5", "W4, 7 levels", None, {"levels": 7, "weight_bits": 4}),
    ("keras/nxtf_mnist_cnn.h5", "ttfs, 7 levels", 0.1, {"code": "ttfs", "levels": 7}),
    *(("onnx/mnist_cnn_cntk_mnist-8.onnx", code, 0.2, {"code": code}) for code in ("unary", "bits", "graded")),
]


def small(kind: Kind, modes: list, seeds: int, epochs: int = 30) -> list[Row]:
    """The modes on networks of several seeds; the mean drop, and the smallest and largest in place of an interval."""
    images, labels = digit_images()
    calibration, test, truth = images[:CALIBRATION], images[CALIBRATION:], labels[CALIBRATION:]
    drops, events = np.zeros((len(modes), seeds)), np.zeros((len(modes), seeds))
    for seed in range(seeds):
        network = trained(kind, seed, calibration, labels[:CALIBRATION], epochs)
        folded = fold.fold(network, np.array(1 / LARGEST_COUNT), np.array(0.0))
        right = (classes(network, outputs(network, test / LARGEST_COUNT)) == truth).mean()
        for k, (_, _, mode) in enumerate(modes):
            found, events[k, seed] = mode(folded, calibration, test.astype(np.int64))
            drops[k, seed] = 100 * (right - (classes(network, found) == truth).mean())
    ends = zip(drops.min(axis=1), drops.max(axis=1), strict=True)
    return [
        Row(kind, name, float(drop.mean()), float(low), float(high), bound, float(sent.mean()), EVENTS.get(name))
        for (name, bound, _), drop, (low, high), sent in zip(modes, drops, ends, events, strict=True)
    ]


def real(folder: Path) -> list[Row]:
    """Networks that others have trained, below the data folder."""
    rows = []
    for path, mode, bound, options in REAL:
        pixels = {"data": "cifar10", "scale": 255.0} if "resnet8" in path else {"data": "mnist"}
        task = Task(network=str(folder / "models" / path), **pixels, **options)
        done, _ = carry_out(task)
        truth = done.dataset.y
        assert truth is not None
        network = done.source.network
        before, after = (classes(network, done.values[form]) == truth for form in ("float", "spiking"))
        name = mode if done.chosen is None else f"{mode}: {done.chosen.levels} levels"
        sent = float(done.run.spikes.mean() / done.run.neurons)
        rows.append(Row(Path(path).stem, name, *paired(before, after), bound, sent, EVENTS.get(mode)))
    return rows


def table(rows: list[Row]) -> Table:
    """One line each."""
    found = Table("network", "mode", "drop", "interval or seeds", "bound", "", "events a neuron", box=None)
    for row in rows:
        verdict = {True: "pass", False: "FAIL", None: ""}[row.passed]
        bound = "" if row.bound is None else f"{row.bound:g}"
        span = f"{row.low:+.2f} to {row.high:+.2f}"
        events = f"{row.events:.3f}" + ("" if row.most is None else f", at most {row.most:g}")
        found.add_row(row.network, row.mode, f"{row.drop:+.2f}", span, bound, verdict, events)
    return found


def main() -> None:
    """Runs all, prints the table and writes the JSON."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="seeds of the small networks")
    parser.add_argument("--json", type=Path, help="file for the rows")
    parser.add_argument("--real", type=Path, metavar="FOLDER", help="also the networks in the data folder (minutes)")
    given = parser.parse_args()
    rows = small("mlp", MLP, given.seeds) + small("cnn", CNN, given.seeds)
    if given.real:
        rows += real(given.real)
    Console(width=140).print(table(rows))
    drops = {row.mode: row.drop for row in rows if row.network == "mlp"}
    order = [drops[mode] for mode in ("p99.9, v0 = 0, T=4", "p99.9, v0 = th/2, T=4", "mse per channel, T=4")]
    print(f"order at T=4, p99.9 from zero > from th/2 > mse: {'pass' if order == sorted(order)[::-1] else 'FAIL'}")
    if given.json is not None:
        given.json.write_text(json.dumps([asdict(row) | {"passed": row.passed} for row in rows], indent=1))


if __name__ == "__main__":
    main()
