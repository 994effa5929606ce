"""Conversions here and by SpikingJelly's converter, on the same networks and items: what they lose, what they send.

    NEURO_DATA=FOLDER python -m experiments.benchmarks.side_by_side [--samples N] [--json FILE] [--figure FILE.png]

SpikingJelly is run in its own environment, which `experiments.benchmarks.peers.environments` makes; without it only the
rows of this project are there. Spikes are those of hidden neurons, since SpikingJelly feeds its first layer with real
numbers in every step; here the input is sent in spikes as well, and a second figure counts it.
"""

import json
import os
import subprocess
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import jax
import numpy as np
from rich.console import Console

from converters import fold, quantise
from converters.encode import encode
from experiments.benchmarks.code_spikes import Sends, phase_codes
from experiments.benchmarks.peers import environments
from experiments.benchmarks.peers.session import environment
from experiments.benchmarks.side_by_side_figure import draw
from experiments.benchmarks.side_by_side_table import Row, table
from experiments.benchmarks.small import LARGEST_COUNT, Kind, trained
from experiments.conversion import methods
from experiments.conversion.methods import Choices
from experiments.datasets.arrays import CALIBRATION
from experiments.datasets.images import digit_images
from experiments.decision import classes, paired
from experiments.prepared import Asked, prepared
from experiments.run import outputs, run
from neuro.errors import BadInput
from neuro.graph import Graph
from neuro.layers import AvgPool, Conv, Dense, MaxPool, Relu, Reshape, Softmax, Transpose

STEPS, FEW = (8, 16, 32), (2, 4, 8)
"""Steps at which rates are read, and the neurons that send more at once."""
LEVELS = (3, 7, 15)
RULES = ("max", "percentile", "ltb", "mse")
RUNNER = Path(environments.__file__).with_name("ann2snn_runner.py")
FILES = {"mnist cnn": "keras/nxtf_mnist_cnn.h5", "mnist mlp": "onnx/mnist_fc_256x2.onnx"}


@dataclass(frozen=True, eq=False)
class Case:
    """A float network with its data. counts [item, ...]: of calibration and test items, 0..levels; gain, offset: what
    a count stands for; truth: classes of the test items."""

    name: str
    network: Graph
    calibration: np.ndarray
    test: np.ndarray
    truth: np.ndarray
    levels: int
    gain: np.ndarray
    offset: np.ndarray

    def fed(self, counts: np.ndarray) -> np.ndarray:
        """What the network is fed."""
        return (self.offset + self.gain * counts).astype(np.float32)


def small_case(kind: Kind, samples: int | None = None, epochs: int = 30) -> Case:
    """The network on digits that the acceptance benchmark trains, seed 0."""
    images, labels = digit_images()
    calibration, test, truth = images[:CALIBRATION], images[CALIBRATION:], labels[CALIBRATION:]
    network = trained(kind, 0, calibration, labels[:CALIBRATION], epochs)
    gain, offset = np.array(1 / LARGEST_COUNT), np.array(0.0)
    ready = (calibration.astype(np.int64), test[:samples].astype(np.int64), truth[:samples])
    return Case(f"digits {kind}", network, *ready, int(LARGEST_COUNT), gain, offset)


def file_case(name: str, path: Path, samples: int | None) -> Case:
    """A network on MNIST."""
    source = prepared(Asked(str(path), data="mnist", samples=samples))
    data = source.dataset
    assert data.y is not None
    return Case(name, source.network, data.calibration_counts, data.counts, data.y, data.levels, data.gain, data.offset)


def ours(case: Case) -> Iterator[Row]:
    """Every method of this project."""
    folded = fold.fold(case.network, case.gain, case.offset)
    before = classes(case.network, outputs(case.network, case.fed(case.test))) == case.truth
    row = partial(_row, case, before, "here")
    inputs = case.network.size(case.network.input.name)
    for steps in STEPS:
        for rule in RULES:
            start = "zero" if rule == "max" else "half"
            form = quantise.rate(folded, case.calibration, case.levels, steps, 8, rule, start)
            done = run(encode(form.graph, "rate", steps), None, case.test, {}, lambda n: None)
            hidden = sum(v for k, v in done.by_layer.items() if k != form.graph.input.name) / (done.neurons - inputs)
            sends = Sends(hidden, float(done.spikes.mean() / done.neurons))
            yield row(f"{rule}, v0 = {'0' if start == 'zero' else 'th/2'}", steps, None, done.outputs, sends)
    for method, lengths in (("srp", STEPS), ("cos", STEPS), ("burst", FEW), ("differential", FEW)):
        for steps in lengths:
            choices = Choices(steps=steps)
            form = methods.quantised(method, folded, case.calibration, case.levels, None, 8, choices)
            done = methods.carry_out(method, form, case.test, choices, lambda n: None)
            yield row(method, steps, None, done.outputs, _sends(done, inputs), done.mismatches)
    for levels in LEVELS:
        form = quantise.reference(folded, case.calibration, case.levels, levels)
        for code, (found, sends) in phase_codes(form.graph, case.test).items():
            yield row(code, None, levels, found, sends, 0)
        for method in ("sd-pow2",):
            done = methods.carry_out(method, form, case.test, Choices(), lambda n: None)
            yield row(method, None, levels, done.outputs, _sends(done, inputs), done.mismatches)


def _sends(done: methods.MethodRun, inputs: int) -> Sends:
    entering = next(iter(done.by_layer))
    hidden = sum(v for k, v in done.by_layer.items() if k != entering) / (done.neurons - inputs)
    return Sends(hidden, float(done.spikes.mean() / done.neurons))


def _row(
    case: Case,
    before: np.ndarray,
    by: str,
    method: str,
    steps: int | None,
    levels: int | None,
    found: np.ndarray,
    sends: Sends,
    differing: int | None = None,
) -> Row:
    right = classes(case.network, found) == case.truth
    return Row(
        case.name, by, method, steps, levels, float(right.mean()), *paired(before, right), *sends, differing
    )  # fmt: skip


def layers(network: Graph) -> tuple[list[dict], dict[str, np.ndarray]]:
    """The network as the runner reads it; a softmax at its end and a turn of its input are left out.

    Raises:
        BadInput: layers that do not follow each other, or of another kind.
    """
    found: list[dict] = []
    arrays: dict[str, np.ndarray] = {}
    for before, node in zip(network.nodes, network.nodes[1:], strict=False):
        place, op = len(found), node.op
        if node.inputs != (before.name,):
            raise BadInput(f"{network.name}: layer {node.name!r} does not follow {before.name!r}.")
        match op:
            case Relu():
                found.append({"kind": "relu"})
            case Reshape():
                found.append({"kind": "flatten"})
            case AvgPool() | MaxPool() if not np.any(op.pads):
                kind = "average" if isinstance(op, AvgPool) else "maximum"
                found.append({"kind": kind, "kernel": op.kernel, "stride": op.stride})
            case Dense() | Conv():
                arrays[f"weight{place}"] = op.weight
                arrays[f"bias{place}"] = np.zeros(len(op.weight)) if op.bias is None else op.bias
                more = {}
                if isinstance(op, Conv):
                    if any(a != b for a, b in op.pads) or any(d != 1 for d in op.dilation or ()):
                        raise BadInput(f"{network.name}: layer {node.name!r} is padded unevenly or dilated.")
                    more = {"stride": op.stride, "pads": [a for a, _ in op.pads], "groups": op.groups}
                found.append({"kind": type(op).__name__.lower(), **more})
            case Softmax() if node is network.output:
                pass
            case Transpose() if node is network.nodes[1]:
                pass
            case _:
                raise BadInput(f"{network.name}: layer {node.name!r} ({type(op).__name__}) is not known here.")
    return found, arrays


def theirs(case: Case, folder: Path) -> Iterator[Row]:
    """Every mode of SpikingJelly's converter, if it is installed in `folder`."""
    interpreter = environments.python(folder, "torch")
    if not interpreter.is_file():
        Console(stderr=True).print(f"{case.name}: no environment in {folder}; make it with peers.environments")
        return
    spec, arrays = layers(case.network)
    turned = [n.op for n in case.network.nodes[1:2] if isinstance(n.op, Transpose)]
    fed = [case.fed(counts) for counts in (case.calibration, case.test)]
    for op in turned:
        fed = [x.transpose(0, *(i + 1 for i in op.order)) for x in fed]
    with tempfile.TemporaryDirectory() as work:
        source, result = Path(work) / "network.npz", Path(work) / "result.npz"
        named = {"layers": np.array(json.dumps(spec)), "steps": np.array(STEPS), "calibration": fed[0], "x": fed[1]}
        np.savez(source, **{**named, **arrays})  # pyright: ignore[reportArgumentType]
        command = [str(interpreter), "-P", str(RUNNER), str(source), str(result)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(None, ours=False))
        if done.returncode:
            raise BadInput(f"{case.name}: SpikingJelly failed: {done.stderr.strip().splitlines()[-1]}")
        with np.load(result) as file:
            found = {name: file[name] for name in file.files}
    wanted = outputs(case.network, case.fed(case.test))
    before = classes(case.network, wanted) == case.truth
    if (found["float"].argmax(axis=1) != wanted.argmax(axis=1)).mean() > 1e-3:
        raise BadInput(f"{case.name}: the network does not decide in PyTorch as it does here.")
    for mode in ("max", "99.9%", "ltb"):
        if f"{mode}_outputs" not in found:
            continue
        for k, steps in enumerate(STEPS):
            sends = Sends(float(found[f"{mode}_spikes"][k]), None)
            yield _row(case, before, "SpikingJelly", mode, steps, None, found[f"{mode}_outputs"][k], sends)


def main() -> None:
    """Runs all, prints the table, writes JSON and figure."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=2000, help="test items of MNIST")
    parser.add_argument("--peers", type=Path, default=environments.FOLDER, help="folder of the environments")
    parser.add_argument("--json", type=Path, help="file for the rows")
    parser.add_argument("--figure", type=Path, help="picture, .png")
    parser.add_argument("--networks", nargs="*", default=["digits mlp", "digits cnn", *FILES])
    given = parser.parse_args()
    rows: list[Row] = []
    for name in given.networks:
        if name in FILES:
            case = file_case(name, Path(os.environ["NEURO_DATA"]) / "models" / FILES[name], given.samples)
        else:
            case = small_case("mlp" if name.endswith("mlp") else "cnn")
        for row in chain(theirs(case, given.peers), ours(case)):
            rows.append(row)
            if given.json:
                given.json.write_text(json.dumps([asdict(r) for r in rows], indent=1), encoding="utf-8")
        jax.clear_caches()
    Console(width=160, highlight=False).print(table(rows))
    if given.figure:
        draw(rows, given.figure)


if __name__ == "__main__":
    main()
