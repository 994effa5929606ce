"""The workloads, made once and kept in a folder, with the spike counts that every simulator must give.

Run ``python -m experiments.benchmarks.peers.workloads FOLDER [WORKLOAD ...]`` to make them; NEURO_DATA names the folder
of the trained networks' data and of the DVS network.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from experiments.benchmarks.peers import cuba, layered, reference, trained
from experiments.benchmarks.peers import network as files
from experiments.benchmarks.peers.network import Network
from experiments.progress import Progress, silent
from experiments.terminal import progress_bars, screen

DENSITIES = ("0.002", "0.01", "0.05", "0.2", "1")
DVS_STEPS, DVS_SPIKES = 128, 38_081
"""The regression target of the DVS network: SANA-FE's run on 49 cores of Loihi."""
PERCEPTRON = layered.Form((784,), ((256, 784), (10, 256)), (), 1, 100)


@dataclass(frozen=True)
class Case:
    """One workload at one density, as the JSON object names them."""

    workload: str
    density: str

    @property
    def stem(self) -> str:
        return f"{self.workload}-{self.density}"


CASES = (
    *(Case(name, d) for name in ("W1", "W1-float32", "W2", "W2-float32") for d in DENSITIES),
    Case("W1", "trained"),
    Case("W2", "trained"),
    Case("W2-average", "0.05"),
    Case("W3", "all"),
    Case("W4", "all"),
    Case("W4-mlp", "all"),
)


def make(case: Case, folder: Path, progress: Progress = silent) -> Path:
    """The workload file of `case` in `folder`, with its counts beside it; made where either is missing.

    KeyError: NEURO_DATA is not set and the workload needs it. BadInput: a workload would not be exact in float32.
    """
    path = folder / f"{case.stem}.npz"
    if path.is_file() and counts_path(path).is_file():
        return path
    if case.workload == "W3":
        network = cuba.draw()
        cuba.save(network, path)
        found = cuba.spikes(network)
        store(path, cuba.checked(found, len(network.start)), total=np.asarray(sum(map(len, found))))
    elif case.workload == "W4":
        event = trained.root() / "models" / "event"
        files.write(
            path, network=np.asarray(str(event / "sanafe_dvs.yaml")), T=np.asarray(DVS_STEPS),
            architecture=np.asarray(str(event / "sanafe_loihi_arch.yaml")),
        )  # fmt: skip
        store(path, [np.asarray([[DVS_SPIKES]])])
    else:
        network, labels = layers(case, progress)
        files.save(network, path)
        found = reference.run(network)
        more = {"events": np.asarray(found.events)}
        if labels is not None:
            more["accuracy"] = np.asarray((found.counts[-1].argmax(axis=1) == labels).mean())
        store(path, found.counts, **more)
    return path


def layers(case: Case, progress: Progress = silent) -> tuple[Network, np.ndarray | None]:
    """The layered network of `case`, and the labels of its inputs where it is a trained one."""
    if case.density == "trained":
        make_trained: Callable = trained.digits if case.workload == "W1" else trained.pictures
        return make_trained(progress)
    if case.workload == "W4-mlp":
        return perceptron(), None
    form = layered.DENSE if case.workload.startswith("W1") else layered.CONVOLUTIONAL
    kind = "float32" if case.workload.endswith("float32") else "int8"
    pool = "average" if case.workload.endswith("average") else "max"
    return layered.draw(form, kind, float(case.density), pool), None


def perceptron() -> Network:
    """784-256-10 that a soma of SANA-FE's Loihi runs exactly: it keeps 1/64 and fires on V > threshold.

    Weights are even and small, thresholds even plus 1/64: within 100 steps no membrane meets one.
    """
    drawn = layered.draw(PERCEPTRON, "int8", 0.08, seed=4)
    weights = tuple((2 * np.rint(weight / 32)).astype(np.int8) for weight in drawn.weights)
    thresholds = tuple(2 * round(threshold / 32) + 1 / 64 for threshold in drawn.thresholds)
    return replace(drawn, weights=weights, thresholds=thresholds, grid=1 / 64)


def counts_path(path: Path) -> Path:
    """Where the counts of the workload at `path` are."""
    return path.with_name(f"{path.stem}.counts.npz")


def store(path: Path, found: list[np.ndarray], **more: np.ndarray) -> None:
    """Writes the counts of the workload at `path`: counts{i} [batch, neuron] of every layer, and `more` about them."""
    files.write(counts_path(path), **{f"counts{i}": count for i, count in enumerate(found)}, **more)


def counts(path: Path) -> list[np.ndarray]:
    """counts{i} of a file that `store` or a runner wrote."""
    with np.load(path, allow_pickle=False) as found:
        return [found[f"counts{i}"] for i in range(sum(name.startswith("counts") for name in found.files))]


def events(path: Path) -> list[int]:
    """What leaves each layer of the layered workload at `path` that is not zero."""
    with np.load(counts_path(path), allow_pickle=False) as found:
        return found["events"].tolist()


def main(folder: str, *names: str) -> None:
    """Makes all workloads, or those named, and prints the density of every layer."""
    with progress_bars() as progress:
        for case in (c for c in CASES if not names or c.workload in names):
            path = make(case, Path(folder), progress)
            line = case.stem
            if not case.workload.startswith(("W3", "W4")) or case.workload == "W4-mlp":
                network = files.load(path)
                shares = reference.densities(counts(counts_path(path)), network.steps)
                line += ": " + ", ".join(f"{100 * share:.3g} %" for share in shares)
                line += f"; thresholds {', '.join(f'{t:.6g}' for t in network.thresholds)}"
                if network.accuracy is not None:
                    with np.load(counts_path(path), allow_pickle=False) as found:
                        line += f"; accuracy {network.accuracy:.3f}, spiking {found['accuracy']:.3f} on its inputs"
            screen().print(line)


if __name__ == "__main__":
    main(*sys.argv[1:])
