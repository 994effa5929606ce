"""Replay vectors: what a converted network does on some items, to be held against any program that runs it."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np

from converters.encode import encode
from converters.hybrid import whole_run
from converters.network_file import Converted
from converters.readout import real
from neuro import trains
from neuro.codes import is_exact
from neuro.divergence import Divergence, first_divergence
from neuro.errors import BadInput
from neuro.evaluate import evaluate
from neuro.file import missing, replacing
from neuro.graph import Graph, digest
from neuro.schedule import Code
from neuro.simulate import simulate
from neuro.stages import is_population

VERSION = 1
LIMIT = 2**30
"""Most bytes of all arrays together."""
RATIO = 1100
"""Largest ratio of unpacked to packed bytes."""


@dataclass(frozen=True, eq=False)
class Replay:
    """What a network gives for some items.

    network: digest of its integer graph. counts: input counts [item, *shape]. values: by population in topological
    order, [item, *shape]: the values that its spikes carry, under the rate code their number; the read-out's membrane
    last. outputs [item, output]: in the network's own units. steps: of the rate code.
    """

    network: str
    code: Code
    steps: int
    counts: np.ndarray
    values: Mapping[str, np.ndarray]
    outputs: np.ndarray


def record(converted: Converted, counts: np.ndarray) -> Replay:
    """The vectors of a converted network for input counts [item, *shape], executed by the reference.

    Under an exact code that is the integer network, under the rate code the simulator.
    """
    integer, code, steps = converted.integer, converted.code, converted.steps
    if is_exact(code):
        found = evaluate(integer.graph, jnp.asarray(counts, jnp.float32))
        values = {n.name: found[n.name] for n in integer.graph.nodes if is_population(n) or n is integer.graph.output}
    else:
        values, integer = execute(integer.graph, code, counts, steps), whole_run(integer, steps)
    whole = {name: np.rint(np.asarray(value)).astype(np.int64) for name, value in values.items()}
    outputs = real(converted.network, integer, whole[integer.graph.output.name])
    return Replay(digest(converted.integer.graph), code, steps, np.asarray(counts, np.int64), whole, outputs)


def execute(graph: Graph, code: Code, counts: np.ndarray, steps: int = 0) -> dict[str, np.ndarray]:
    """What every population of an integer graph sends in the simulator under a code, and the read-out's membrane."""
    spiking = encode(graph, code, None if is_exact(code) else steps)
    done = jax.jit(lambda batch: simulate(spiking, batch))(jnp.asarray(counts, jnp.float32))
    values = {name: np.asarray(trains.value(spikes, code)) for name, spikes in done.spikes.items()}
    return values | {graph.output.name: np.asarray(done.output)}


def check(replay: Replay, graph: Graph, code: Code | None = None) -> Divergence | None:
    """The first neuron of `graph` that departs from the vectors in the simulator, under their code or another one.

    Raises:
        BadInput: populations of other names or shapes.
    """
    return first_divergence(replay.values, execute(graph, code or replay.code, replay.counts, replay.steps))


def save(replay: Replay, path: Path) -> Path:
    """Writes the vectors as .npz, whole or not at all, and gives the path back.

    Arrays: `counts`, `outputs`, `value_0`, `value_1`, ... by population, and `about`, a JSON text.

    Raises:
        BadInput: `path` cannot be written.
    """
    about = {"format": "neuro replay", "version": VERSION, "network": replay.network, "code": replay.code}
    about |= {"steps": replay.steps, "populations": list(replay.values)}
    arrays: dict[str, Any] = {f"value_{i}": value for i, value in enumerate(replay.values.values())}
    with replacing(path, "--to") as part, part.open("wb") as file:
        np.savez_compressed(
            file, about=np.array(json.dumps(about)), counts=replay.counts, outputs=replay.outputs, **arrays
        )
    return path


def load(path: Path) -> Replay:
    """Reads what `save` wrote; nothing is unpickled.

    Raises:
        BadInput: no such file, a damaged one, or something else.
    """
    if not path.is_file():
        raise BadInput(f"{path}: {missing(path)}; give one that 'neuro export' wrote.")
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = [(info.file_size, info.compress_size) for info in archive.infolist()]
        if sum(size for size, _ in sizes) > LIMIT or any(size > RATIO * max(packed, 1) for size, packed in sizes):
            raise ValueError(f"it unpacks to more than {LIMIT // 2**20} MiB or {RATIO} times its size")
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            if about["format"] != "neuro replay" or about["version"] != VERSION:
                raise ValueError("it holds no replay vectors of this version")
            if about["code"] not in get_args(Code):
                raise ValueError(f"unknown code {about['code']!r}")
            names = [str(name) for name in about["populations"]]
            values = {name: _numbers(file[f"value_{i}"]) for i, name in enumerate(names)}
            counts, outputs = _numbers(file["counts"]), _numbers(file["outputs"])
            if len({len(v) for v in (counts, outputs, *values.values())}) != 1:
                raise ValueError("its arrays differ in the number of items")
            return Replay(str(about["network"]), about["code"], int(about["steps"]), counts, values, outputs)
    except Exception as error:  # the readers' own, of many kinds
        raise BadInput(f"{path}: not readable replay vectors: {error}; export the network again.") from None


def _numbers(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "iuf" or not array.ndim:
        raise ValueError(f"{array.dtype} {array.shape} is no array of numbers by item")
    return array
