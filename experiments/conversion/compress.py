"""A trained network made smaller for both sides of a comparison: pruned, thinned, of shared or fewer values, tuned."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from converters import fold, network_file, quantise
from converters.compression import quantised, tunable
from converters.compression.clusters import BITS, Shared, clustered, moved
from converters.compression.finetuning import Forward, Schedule, finetuned
from converters.compression.pruning import pruned, size, two_of_four, weights, zero_share
from converters.compression.thinning import dead, thinned
from converters.compression.tunable import Parameters
from converters.compression.unfold import unfolded
from converters.network_file import Converted
from converters.readout import real
from experiments import decision
from experiments.datasets.dataset import DataSet
from experiments.forms import PILOT, weight_bits
from experiments.prepared import Asked, Prepared, judged, training_set
from experiments.progress import Progress, silent
from experiments.run import outputs
from neuro.errors import BadInput
from neuro.graph import Graph, digest
from neuro.layers import FIRING

FOURS = "2:4"
SIZED_ON = 250
"""Calibration items, evenly from all, on which the sizes of what is tuned and the first thresholds are taken."""


@dataclass(frozen=True)
class Task(Asked):
    """The options of ``neuro compress``; None stands for the default named in its help.

    prune: a share of zeros, or 2:4.

    Raises:
        BadInput: options that do not go together.
    """

    prune: float | str | None = None
    prune_channels: float | None = None
    cluster_bits: int | None = None
    levels: int | None = None
    weight_bits: int | None = None
    finetune: int = 0
    rate: float = 0.01
    seed: int = 0
    out: Path = field(default=Path("compressed.h5"))

    def __post_init__(self) -> None:
        quantise.check_ranges(levels=self.levels or quantise.LEVELS, weight_bits=self.weight_bits or 8)
        steps = (self.prune, self.prune_channels, self.cluster_bits, self.levels, self.weight_bits)
        if all(step is None for step in steps) and not self.finetune:
            raise BadInput("nothing to do: give --prune, --prune-channels, --cluster-bits, --levels or --weight-bits.")
        for name, share in (("--prune", self.prune), ("--prune-channels", self.prune_channels)):
            if isinstance(share, str) and share != FOURS:
                raise BadInput(f"{name} {share}: give a share of zeros such as 0.8, or {FOURS}.")
            if isinstance(share, float) and not 0 <= share < 1:
                raise BadInput(f"{name} {share:g} is out of range; give a share from 0 to below 1.")
        if self.cluster_bits is not None and not BITS[0] <= self.cluster_bits <= BITS[1]:
            raise BadInput(f"--cluster-bits {self.cluster_bits} is out of range; give {BITS[0]} to {BITS[1]}.")
        if self.finetune < 0:
            raise BadInput(f"--finetune {self.finetune}: passes over the training items, 0 or more.")
        if not 0 < self.rate < float("inf"):
            raise BadInput(f"--rate {self.rate:g}: give a finite rate of learning above 0, such as 0.01.")
        if self.seed < 0:
            raise BadInput(f"--seed {self.seed}: give 0 or more.")
        if self.out.suffix not in (".h5", ".hdf5"):
            raise BadInput(f"--out {self.out}: compressed networks are HDF5 files; let its name end in .h5.")

    @property
    def tunes_quantised(self) -> bool:
        """Whether levels or bits were asked for, so that tuning takes the rounding into account."""
        return self.levels is not None or self.weight_bits is not None


@dataclass(frozen=True, eq=False)
class Step:
    """The folded graph behind one step, its outputs on the test items [item, output] in the network's own units, and
    what there is to say of it."""

    name: str
    graph: Graph
    values: np.ndarray
    note: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Compression:
    """A network on its way. steps: the first is the network as it was. values: of the integer network, as of a step.
    shared: by layer, which weights have one value, where they do."""

    source: Prepared
    steps: tuple[Step, ...]
    converted: Converted
    values: np.ndarray
    shared: Mapping[str, Shared]


def carry_out(task: Task, progress: Progress = silent) -> tuple[Compression, dict[str, Any]]:
    """Compresses what `task` names and writes the file; the compression and its summary.

    Raises:
        NeuroError: files, options or layers that cannot be used.
    """
    source = judged(task)
    training = training_set(task, source.network) if task.finetune else None
    done = compress(source, training, task, progress)
    network_file.save(done.converted, task.out)
    return done, summary(done, task)


def compress(source: Prepared, training: DataSet | None, task: Task, progress: Progress = silent) -> Compression:
    """The network behind every step that `task` asks for: channels, zeros, tuning, shared values, tuning.

    training: labelled items, where there is tuning. Where levels or bits are asked for, the last tuning is of the
    quantised network. Else the integer form is that of ``neuro convert``, or where weights share values, one that
    shares them too. Raises as `carry_out`.
    """
    dataset = source.dataset
    counts = dataset.calibration_counts
    calibration = jnp.asarray(counts[:: -(-len(counts) // SIZED_ON)], jnp.float32)
    graph = fold.fold(source.network, dataset.gain, dataset.offset)
    fold.check(source.network, graph, dataset.calibration_input[:PILOT], dataset.calibration_counts[:PILOT])
    last = fold.last_function(source.network)
    shared: dict[str, Shared] = {}
    steps: list[Step] = []

    def add(name: str, graph: Graph, **note: Any) -> Graph:
        values = outputs(graph, dataset.counts)
        steps.append(Step(name, graph, values if last is None else last.exact(values), note))
        return graph

    def tuned(graph: Graph) -> Graph:
        assert training is not None
        net, parameters = tunable.tunable(graph, calibration, shared)
        forward = partial(tunable.forward, net)
        found = _finetuned(forward, parameters, training, task, progress("fine-tuning", task.finetune))
        return add("fine-tuned", tunable.tuned(net, found))

    add("float", graph)
    if task.prune_channels is not None:
        found = thinned(graph, task.prune_channels)
        graph = add("channels removed", found.graph, removed=found.removed, kept=found.kept)
    if task.prune is not None:
        graph = two_of_four(graph) if isinstance(task.prune, str) else pruned(graph, task.prune)
        graph = add("pruned", dead(graph).graph)
    if training is not None and len(steps) > 1:
        graph = tuned(graph)
    if task.cluster_bits is not None:
        graph, shared = clustered(graph, task.cluster_bits)
        add("values shared", graph)
    if training is not None and not task.tunes_quantised and (shared or len(steps) == 1):
        graph = tuned(graph)
        shared = {name: moved(found, weights(graph)[name]) for name, found in shared.items()}
    if shared or (training is not None and task.tunes_quantised):
        levels, bits = task.levels or quantise.LEVELS, task.weight_bits or 8
        layers, parameters = quantised.layers(*tunable.tunable(graph, calibration, shared), calibration, levels, bits)
        if training is not None and task.tunes_quantised:
            forward = partial(quantised.forward, layers)
            done = progress("quantised", task.finetune)
            parameters = _finetuned(forward, parameters, training, task, done)
        integer, graph, thresholds = quantised.integer(layers, parameters, dataset.levels)
        add("weights rounded", graph, thresholds=thresholds)
    else:
        integer = quantise.reference(graph, counts, dataset.levels, task.levels, task.weight_bits or 8)
    converted = Converted(
        network=unfolded(graph, dataset.gain, dataset.offset, last),
        integer=integer,
        method="exact",
        code="bits",
        steps=64,
        levels=dataset.levels,
        gain=dataset.gain,
        offset=dataset.offset,
        origin=_origin(source, task),
    )
    values = real(source.network, integer, outputs(integer.graph, dataset.counts))
    return Compression(source, tuple(steps), converted, values, shared)


def summary(done: Compression, task: Task) -> dict[str, Any]:
    """What ``neuro compress --json`` prints."""
    source, dataset = done.source, done.source.dataset
    before, after, integer = done.steps[0].graph, done.steps[-1].graph, done.converted.integer.graph
    firing = [n.op for n in integer.nodes if isinstance(n.op, FIRING)]
    bits = weight_bits(integer)
    return {
        "network": task.network,
        "format": source.format,
        "data": {"name": dataset.name, "items": len(dataset.x), "preprocessing": dataset.description},
        "steps": [
            {
                "step": s.name,
                "weights": size(s.graph),
                "zeros": zero_share(s.graph),
                **_judged(done, s.values),
                **s.note,
            }
            for s in done.steps
        ],
        "integer": {"zeros": zero_share(integer), **_judged(done, done.values)},
        "parameters": {"before": size(before), "after": size(after), "not_zero": size(after, zeros=False)},
        "levels": sorted({op.levels for op in firing}),
        "weight_bits": bits,
        "values_per_layer": max((len(np.unique(w)) for w in weights(integer).values()), default=0),
        "weight_storage_bits": {"before": 32 * size(before), "after": bits * size(after)},
        "finetune": {"epochs": task.finetune, "rate": task.rate, "seed": task.seed},
        "digest": digest(integer),
        "file": str(task.out),
    }


def _judged(done: Compression, values: np.ndarray) -> dict[str, Any]:
    """How good outputs are, and how much worse than those of the network as it was (points and 95 % interval)."""
    dataset, network = done.source.dataset, done.source.network
    if dataset.targets is not None:
        return {"error": decision.error(values, dataset)}
    found = decision.classes(network, values)
    if dataset.y is None:
        return {"accuracy": None}
    first = decision.classes(network, done.steps[0].values)
    drop, low, high = decision.paired(first == dataset.y, found == dataset.y)
    return {"accuracy": float((found == dataset.y).mean()), "drop": [drop, low, high]}


def _finetuned(
    forward: Forward, parameters: Parameters, training: DataSet, task: Task, done: Callable[[int], None]
) -> Parameters:
    assert training.y is not None
    schedule = Schedule(epochs=task.finetune, rate=task.rate, seed=task.seed)
    return finetuned(forward, parameters, training.counts, training.y, schedule, done)


def _origin(source: Prepared, task: Task) -> dict[str, str]:
    path = Path(task.network)
    file = {"sha256": sha256(path.read_bytes()).hexdigest()} if path.is_file() else {}
    told = ("prune", "prune_channels", "cluster_bits", "levels", "weight_bits", "finetune", "rate", "seed")
    done = {key: str(getattr(task, key)) for key in told if getattr(task, key) is not None}
    about = {"network": path.name, "format": source.format, "data": source.dataset.description}
    return (
        about | {"data_sha256": source.dataset.sha256} | file | {f"compress.{key}": text for key, text in done.items()}
    )
