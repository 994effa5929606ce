"""A converted network written for other programs, with replay vectors beside it and a report of what is lost."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from converters import network_file
from converters.exporters import replay, to_nir, to_onnx
from converters.exporters.replay import Replay
from converters.importers import from_nir
from converters.network_file import Converted
from experiments.prepared import Asked, prepared
from neuro.divergence import first_divergence
from neuro.errors import BadInput
from neuro.file import missing
from neuro.graph import Graph, digest
from neuro.layers import Input

FORMATS = (".onnx", ".nir", ".h5")
VECTORS = ".replay.npz"
MOST_ITEMS = 10_000


@dataclass(frozen=True)
class Export(Asked):
    """The options of ``neuro export``.

    Raises:
        BadInput: options that do not go together.
    """

    to: Path = Path()
    items: int = 16

    def __post_init__(self) -> None:
        if self.to.suffix not in FORMATS:
            raise BadInput(f"--to {self.to}: files that can be written end in {', '.join(FORMATS)}.")
        if not 1 <= self.items <= MOST_ITEMS:
            raise BadInput(f"--items {self.items} is out of range; give 1 to {MOST_ITEMS:,}.")


def carry_out(task: Export) -> dict[str, Any]:
    """Writes the file and the vectors, replays them on what was written, and says what is lost.

    Raises:
        BadInput: the network is no converted one, or files cannot be read or written. Unsupported: layers that the
            format cannot hold.
    """
    path = Path(task.network)
    if not network_file.is_network_file(path):
        if not path.is_file():
            raise BadInput(f"{path}: {missing(path)}.")
        raise BadInput(f"{path} is no converted network; write one with 'neuro convert NETWORK --out FILE.h5'.")
    converted = network_file.load(path)
    if task.to.resolve() == path.resolve():
        raise BadInput(f"--to {task.to} is the network itself; give another name.")
    vectors = replay.record(converted, _counts(task, converted))
    lost = _write(converted, task.to)
    beside = replay.save(vectors, task.to.with_name(f"{task.to.name}{VECTORS}"))
    again = _replayed(task.to, vectors)
    different = None if again is None else first_divergence(vectors.values, again)
    return {
        "network": task.network,
        "file": str(task.to),
        "format": task.to.suffix.lstrip("."),
        "code": converted.code,
        "digest": digest(converted.integer.graph),
        "replay": {
            "file": str(beside),
            "items": len(vectors.counts),
            "data": "random counts" if task.data is None else task.data,
            "values": int(sum(v.size for v in vectors.values.values())),
            "replayed": again is not None,
            "first_difference": None if different is None else str(different),
        },
        "lost": lost,
    }


def _counts(task: Export, converted: Converted) -> np.ndarray:
    """Items of the data, or random input counts, always the same ones."""
    op = converted.integer.graph.input.op
    assert isinstance(op, Input)
    if task.data is None:
        return np.random.default_rng(0).integers(0, converted.levels + 1, (task.items, *op.shape))
    return prepared(replace(task, samples=task.items)).dataset.counts


def _write(converted: Converted, path: Path) -> list[str]:
    if path.suffix == ".onnx":
        return to_onnx.export(converted, path)
    if path.suffix == ".nir":
        return to_nir.export(converted, path)
    network_file.save(converted, path)
    return []


def _replayed(path: Path, vectors: Replay) -> Mapping[str, np.ndarray] | None:
    """What the file that was written gives: by onnxruntime, or read back and simulated; None without onnxruntime."""
    if path.suffix == ".onnx":
        return to_onnx.execute(path, vectors.counts)
    if path.suffix == ".nir":
        graph = from_nir.load(path)
        assert isinstance(graph, Graph)
    else:
        graph = network_file.load(path).integer.graph
    return replay.execute(graph, vectors.code, vectors.counts, vectors.steps)
