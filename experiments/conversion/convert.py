"""One trained network as a spiking network: converted, executed on data, held against its integer form, and stored."""

from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from converters import attention, fold, network_file, quantise
from converters.encode import encode
from converters.hybrid import whole_run
from converters.network_file import Converted
from converters.quantise import Quantised
from converters.readout import real
from experiments import decision
from experiments.conversion import budget, methods
from experiments.conversion.methods import Choices, MethodRun
from experiments.datasets.dataset import DataSet
from experiments.forms import PILOT
from experiments.options import Methods
from experiments.prepared import Asked, Prepared, judged
from experiments.progress import Progress, silent
from experiments.run import MEMORY, CodeRun, chunk_size, outputs, run
from neuro import trains
from neuro.codes import Code, is_exact
from neuro.divergence import Divergence, first_divergence
from neuro.engine import engine
from neuro.errors import BadInput
from neuro.evaluate import evaluate
from neuro.graph import Graph, digest
from neuro.layers import FIRING, Conv, Dense, Input, MaxPool

FORMS = ("float", "integer", "spiking")


@dataclass(frozen=True)
class Task(Asked):
    """The options of ``neuro convert``; None stands for the default named in its help.

    Raises:
        BadInput: options that do not go together.
    """

    method: Methods = "exact"
    code: Code | None = None
    levels: int | None = None
    operand_levels: int | None = None
    weight_bits: int = 8
    steps: int = 64
    budget: float | None = None
    reset: Literal["subtract", "zero"] = "subtract"
    v0: Literal["half", "zero"] | None = None
    out: Path | None = None
    memory: int | None = None
    members: int = 4
    values: int = 6
    prerun: int | None = None
    rounds: int = 1

    def __post_init__(self) -> None:
        quantise.check_ranges(levels=self.levels or quantise.LEVELS, weight_bits=self.weight_bits, steps=self.steps)
        methods.check(self.method, self.choices)
        other = self.method in methods.OTHER
        if other and (self.code is not None or self.out is not None):
            given = f"--code {self.code}" if self.code is not None else f"--out {self.out}"
            raise BadInput(
                f"{given}: the neurons of --method {self.method} are run here alone; leave it out, or take --method "
                "exact, percentile, max, mse or ltb."
            )
        quantise.check_ranges(operand_levels=self.operand_levels or quantise.LEVELS)
        if self.operand_levels is not None and (self.method != "exact" or self.budget is not None):
            raise BadInput("--operand-levels is for --method exact without a --budget; leave it out.")
        if self.code is not None and is_exact(self.code) != (self.method == "exact"):
            wanted = "one of the exact codes" if self.method == "exact" else "--code rate, or leave the code out"
            raise BadInput(f"--method {self.method} does not give the {self.code} code; take {wanted}.")
        if (other or self.method == "exact") and (self.reset != "subtract" or self.v0 is not None):
            raise BadInput(
                "--reset and --v0 are for rate codes; take --method percentile, max, mse or ltb, or leave them out."
            )
        if self.budget is not None and (self.method != "exact" or self.levels is not None or not self.budget > 0):
            raise BadInput(
                f"--budget {self.budget:g} chooses the levels of --method exact; give a number above 0 and no --levels."
            )
        if self.out is not None and self.out.suffix not in (".h5", ".hdf5"):
            raise BadInput(f"--out {self.out}: converted networks are HDF5 files; let its name end in .h5.")

    @property
    def choices(self) -> Choices:
        """The options of the methods with neurons of their own."""
        return Choices(self.steps, self.members, self.values, self.prerun, self.rounds)

    @property
    def sends(self) -> Code:
        """The code, by default the exact one with the fewest steps, or firing rates."""
        return self.code or ("bits" if self.method == "exact" else "rate")


@dataclass(frozen=True, eq=False)
class Conversion:
    """A network in all its forms and what each of them gave for the test items.

    values: outputs [item, output] by form, in the units of the network itself: float, integer and spiking.
    fold_error: as `converters.fold.check`. chosen: the levels that a budget led to. spiking: without a schedule where
    a method has neurons of its own.
    """

    source: Prepared
    converted: Converted
    spiking: Graph
    run: CodeRun | MethodRun
    values: dict[str, np.ndarray]
    fold_error: float
    chosen: budget.Choice | None = None

    @property
    def dataset(self) -> DataSet:
        """The data that the forms were run on."""
        return self.source.dataset


def carry_out(task: Task, progress: Progress = silent) -> tuple[Conversion, dict[str, Any]]:
    """Converts what `task` names, runs it and writes the file; the conversion and its summary.

    Raises:
        NeuroError: files, options or layers that cannot be used; `Unsupported` lists the layers.
    """
    source = judged(task)
    done = convert(source, task, progress)
    if task.out is not None:
        network_file.save(done.converted, task.out)
    return done, summary(done, task)


def convert(source: Prepared, task: Task, progress: Progress = silent) -> Conversion:
    """The spiking form of a network and its outputs. An integer form that the network's file brings along is kept,
    unless levels or another method are asked for. Raises as `carry_out`."""
    network, dataset = source.network, source.dataset
    steps = progress("conversion", 2)
    folded = fold.fold(network, dataset.gain, dataset.offset)
    difference = fold.check(network, folded, dataset.calibration_input[:PILOT], dataset.calibration_counts[:PILOT])
    steps(1)
    given = source.converted
    asked = (task.levels, task.operand_levels, task.budget)
    kept = given is not None and asked == (None, None, None) and task.method == given.method
    chosen = None if task.budget is None else budget.choose(source, folded, task.budget, task.weight_bits)
    task = task if chosen is None else replace(task, levels=chosen.levels, budget=None)
    integer = given.integer if given is not None and kept else _integer(folded, dataset, task)
    steps(1)
    if task.method in methods.OTHER:
        return _other(source, integer, task, difference, progress)
    code = task.sends
    spiking = encode(integer.graph, code, task.steps if code == "rate" else None)
    exact = is_exact(code)
    form = integer if exact else whole_run(integer, task.steps)
    entering = dataset.counts * (1 if exact else np.float32(task.steps / dataset.levels))
    advance, memory = progress(f"code {code}", len(dataset.x)), task.memory or MEMORY
    done = run(spiking, integer.graph if exact else None, dataset.counts, {}, advance, memory=memory)
    values = {
        "float": outputs(network, dataset.network_input, progress("float network", len(dataset.x)), memory),
        "integer": real(network, form, outputs(form.graph, entering, memory=memory)),
        "spiking": real(network, form, done.outputs),
    }
    return Conversion(source, _stored(source, integer, task), spiking, done, values, difference, chosen)


def _other(source: Prepared, integer: Quantised, task: Task, difference: float, progress: Progress) -> Conversion:
    """The conversion by a method whose neurons are its own."""
    network, dataset = source.network, source.dataset
    advance = progress(task.method, len(dataset.x))
    done = methods.carry_out(task.method, integer, dataset.counts, task.choices, advance)
    values = {
        "float": outputs(
            network, dataset.network_input, progress("float network", len(dataset.x)), task.memory or MEMORY
        ),
        "integer": real(network, done.form, done.integer),
        "spiking": real(network, done.form, done.outputs),
    }
    return Conversion(source, _stored(source, integer, task), integer.graph, done, values, difference)


def _stored(source: Prepared, integer: Quantised, task: Task) -> Converted:
    """What goes into a file."""
    dataset = source.dataset
    return Converted(
        network=source.network,
        integer=integer,
        method=task.method,
        code=task.sends,
        steps=task.steps,
        levels=dataset.levels,
        gain=dataset.gain,
        offset=dataset.offset,
        origin=_origin(source, task),
    )


def diverging(done: Conversion) -> Divergence | None:
    """The first neuron whose decoded spikes differ from the integer network, over all test items, or None."""
    if isinstance(done.run, MethodRun):
        return done.run.first
    reference, code = done.converted.integer.graph, done.converted.code
    program, _ = engine(done.spiking)
    size = chunk_size(done.spiking, len(done.dataset.counts))
    for first in range(0, len(done.dataset.counts), size):
        batch = jnp.asarray(done.dataset.counts[first : first + size], jnp.float32)
        result, values = program(batch), evaluate(reference, batch)
        names = [n.name for n in reference.nodes if isinstance(n.op, (Input, MaxPool, *FIRING))]
        got = {name: np.asarray(trains.value(result.spikes[name], code)) for name in names}
        last = reference.output.name
        found = first_divergence(
            {name: np.asarray(values[name]) for name in (*names, last)}, got | {last: np.asarray(result.output)}
        )
        if found is not None:
            return Divergence(found.layer, found.index, first + found.item, found.expected, found.got, found.differing)
    return None


def _integer(folded: Graph, dataset: DataSet, task: Task) -> Quantised:
    calibration, levels = dataset.calibration_counts, dataset.levels
    if task.method in methods.OTHER:
        choices = task.choices
        return methods.quantised(task.method, folded, calibration, levels, task.levels, task.weight_bits, choices)
    if task.method in ("percentile", "max", "mse", "ltb"):
        start = task.v0 or ("zero" if task.method == "max" else "half")
        return quantise.rate(folded, calibration, levels, task.steps, task.weight_bits, task.method, start, task.reset)
    return quantise.reference(folded, calibration, levels, task.levels, task.weight_bits, task.operand_levels)


def _origin(source: Prepared, task: Task) -> dict[str, str]:
    path = Path(task.network)
    file = {"sha256": sha256(path.read_bytes()).hexdigest()} if path.is_file() else {}
    return {
        "network": path.name,
        "format": source.format,
        "data": source.dataset.description,
        "data_sha256": source.dataset.sha256,
        **file,
    }


def _bits(weight: np.ndarray) -> int:
    """Of the widest weight, sign included."""
    return int(np.abs(weight).max()).bit_length() + 1


def summary(done: Conversion, task: Task) -> dict[str, Any]:
    """What ``neuro convert --json`` prints."""
    graph, dataset, ran = done.converted.integer.graph, done.dataset, done.run
    firing = [n.op for n in graph.nodes if isinstance(n.op, FIRING)]
    result: dict[str, Any] = {
        "network": task.network,
        "format": done.source.format,
        "data": {"name": dataset.name, "items": len(dataset.x), "preprocessing": dataset.description},
        "method": task.method,
        "levels": sorted({op.levels for op in firing}),
        "weight_bits": max((_bits(n.op.weight) for n in graph.nodes if isinstance(n.op, Conv | Dense)), default=0),
        "input_levels": dataset.levels,
    }
    if dataset.targets is not None:
        result["error"] = dict.fromkeys(FORMS) | {
            form: decision.error(values, dataset) for form, values in done.values.items()
        }
    else:
        result["accuracy"] = dict.fromkeys(FORMS) | {
            form: decision.accuracy(decision.classes(done.source.network, values), dataset)
            for form, values in done.values.items()
        }
        said = [decision.classes(done.source.network, done.values[form]) for form in ("integer", "spiking")]
        result["agreement"] = float((said[0] == said[1]).mean())
    host = done.source.host
    return result | {
        "equivalence": {
            "checked": ran.checked,
            "mismatches": ran.mismatches,
            "code": ran.code,
            "first": str(diverging(done)) if ran.mismatches else None,
        },
        "spikes_per_neuron": float(ran.spikes.mean() / ran.neurons),
        "synops": float(ran.synops.mean()),
        "steps": ran.steps,
        "neurons": ran.neurons,
        "fold_error": done.fold_error,
        "budget": None if done.chosen is None else asdict(done.chosen),
        "hosted": [] if host is None else [n.name for n in host.nodes[1:]],
        "digest": digest(graph),
        "unsupported": [],
        "not_spiking": attention.not_spiking(done.converted.network),
        "file": None if task.out is None else str(task.out),
    }
