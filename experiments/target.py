"""The machine that a measurement is of, a conventional device or a spiking chip: one way to ask either."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from baselines import device as conventional
from baselines import from_shapes, roofline
from baselines.device import Device
from experiments import layered, published, simulated
from experiments.measurement import PER, Measurement
from experiments.published import Activity
from experiments.uncertainty import Latent, draw
from neuro import bottleneck
from neuro import chip as chips
from neuro.chip import Chip
from neuro.constants import Description, adjusted, leaves, parsed
from neuro.cost import Prices, Scalar
from neuro.counts import Counts
from neuro.errors import BadInput, nearest
from neuro.units import parse
from neuro.workload import Amount, Workload
from neuro.workload import counts as spiking_counts

NEUROMORPHIC = "neuromorphic"
Values: TypeAlias = Mapping[str, Amount]


class Target(Protocol):
    """A machine with its constants; `task` reads what a measurement ran, once, for `counts` under changed constants."""

    @property
    def description(self) -> Description:
        """The machine's file."""
        ...

    @property
    def kind(self) -> str:
        """As `experiments.measurement.Kind`."""
        ...

    @property
    def model(self) -> str:
        """What the error of its model is known for."""
        ...

    def adjusted(self, values: Mapping[str, float]) -> "Target":
        """The machine with other values (SI) of some constants, by dotted path. Raises BadInput."""
        ...

    def prices(self, values: Mapping[str, Scalar], boundary: str) -> Prices:
        """J and s per event and W, from the constants by dotted path."""
        ...

    def task(self, m: Measurement) -> Any:
        """What `m` ran. Raises NeuroError."""
        ...

    def counts(self, m: Measurement, task: Any, draws: int = 0) -> Counts:
        """Events of a task; with a draw axis where its own amounts are known within ranges and draws are asked for."""
        ...

    def divisor(self, m: Measurement, task: Any) -> float:
        """What the quantity of `m` is per: steps or synaptic operations, else 1. Raises BadInput."""
        ...

    def naive(self, m: Measurement, task: Any) -> float:
        """What would be said of the quantity of `m` without a model; NaN where nothing could be."""
        ...

    def bound(self, m: Measurement, task: Any) -> str:
        """What the task waits for, in words, where that is known."""
        ...


@dataclass(frozen=True)
class Conventional:
    """A device of ``baselines``; a task is a network with the batch in flight."""

    description: Device

    @property
    def kind(self) -> str:
        """Of machine."""
        return self.description.kind

    @property
    def model(self) -> str:
        """Of the machine's kind, for arrays with their dataflow."""
        return model_of(self.description)

    def adjusted(self, values: Mapping[str, float]) -> "Conventional":
        """See `Target`."""
        return Conventional(conventional.adjusted(self.description, values))

    def prices(self, values: Mapping[str, Scalar], boundary: str) -> Prices:
        """See `Target`."""
        return conventional.prices(self.description, values, boundary)

    def task(self, m: Measurement) -> Any:
        """The network and its batch: that of highest throughput where the measurement says so."""
        work = from_shapes.load(m.workload, folder=m.folder, mode=m.mode)
        return work, m.batch or conventional.best_batch(self.description, work, m.precision)

    def counts(self, m: Measurement, task: Any, draws: int = 0) -> Counts:
        """See `Target`."""
        return conventional.counts(self.description, task[0], m.precision, task[1])

    def divisor(self, m: Measurement, task: Any) -> float:
        """See `Target`."""
        if m.quantity in (*PER, "core energy"):
            raise BadInput(f"{m.quantity} is known of spiking chips only; {self.description.name} is none.")
        return 1.0

    def naive(self, m: Measurement, task: Any) -> float:
        """A bare roofline."""
        return roofline.predict(self.description, task[0], m.precision, task[1], m.quantity)

    def bound(self, m: Measurement, task: Any) -> str:
        """Not told for these machines."""
        return ""


@dataclass(frozen=True)
class Task:
    """An activity on a chip: its own constants with ranges, and the counts at values of them."""

    latents: tuple[Latent, ...]
    build: Callable[[Values], Workload]

    @property
    def nominal(self) -> Workload:
        """The counts at the values."""
        return self.build({latent.path: latent.constant.value for latent in self.latents})

    def drawn(self, number: int) -> Workload:
        """The counts under `number` joint draws."""
        if not any(latent.constant.low < latent.constant.high for latent in self.latents):
            return self.nominal
        factors = draw(list(self.latents), 0, number, seed=1).factors
        return self.build({a.path: factors[:, i] * a.constant.value for i, a in enumerate(self.latents)})


@dataclass(frozen=True)
class Spiking:
    """A chip of ``neuro``; the error of its model is its own, no other chip's speaks for it."""

    description: Chip

    @property
    def kind(self) -> str:
        """Neuromorphic."""
        return NEUROMORPHIC

    @property
    def model(self) -> str:
        """Of this chip."""
        return model_of(self.description)

    def adjusted(self, values: Mapping[str, float]) -> "Spiking":
        """See `Target`."""
        return Spiking(adjusted(self.description, values))

    def prices(self, values: Mapping[str, Scalar], boundary: str) -> Prices:
        """See `Target`."""
        if boundary not in self.description.power:
            known = ", ".join(self.description.power)
            raise BadInput(f"{self.description.name} has no price at boundary {boundary!r}; it has {known}.")
        return chips.prices(self.description, values, boundary)

    def task(self, m: Measurement) -> Task:
        """The activity that the measurement names or states."""
        chip, stated = self.description, {key: text for key, text in m.settings if published.is_setting(key)}
        if m.batch != 1:
            raise BadInput("a spiking chip is replayed one sample at a time; leave batch out.")
        if not _is_shapes(m):
            if m.workload in simulated.KNOWN:
                activity = simulated.load(m.workload)
            else:
                activity = published.load(m.workload, m.folder, stated)
            return _task(activity, chip)
        if missing := [key for key in ("rate", "steps") if key not in stated]:
            raise BadInput(
                f"{m.workload} on {chip.name}: no {' and '.join(missing)} in settings; write rate = 0.05; steps = 16 "
                "(spikes of a neuron in a step, steps of an inference)."
            )
        if other := set(stated) - {"rate", "steps", "management"}:
            raise BadInput(f"{m.workload}: {', '.join(sorted(other))} follows from its layers; leave it out.")
        shapes = from_shapes.load(m.workload, folder=m.folder, mode="compiled")
        rate, steps = (_number(key, stated[key]) for key in ("rate", "steps"))
        managed = stated.get("management", "no") == "yes"
        return Task((), lambda values: layered.workload(shapes, chip, rate, steps, managed))

    def counts(self, m: Measurement, task: Task, draws: int = 0) -> Counts:
        """See `Target`."""
        return spiking_counts(self.description, task.drawn(draws) if draws else task.nominal)

    def divisor(self, m: Measurement, task: Task) -> float:
        """See `Target`."""
        if m.quantity not in PER:
            return 1.0
        number = float(np.asarray(getattr(task.nominal, PER[m.quantity])))
        if number <= 0:
            raise BadInput(f"{m.workload} has no {PER[m.quantity]}, so that there is no {m.quantity}.")
        return number

    def naive(self, m: Measurement, task: Task) -> float:
        """Synaptic operations times the price of one; times besides shared evenly by the cores, or the ticks alone."""
        work, chip = task.nominal, self.description
        synops = float(np.asarray(work.synops)) / self.divisor(m, task)
        joules, seconds = (getattr(table, f"synop_{work.format}") for table in (chip.energy, chip.time))
        energy = synops * joules.value if joules and synops else float("nan")
        time = synops * seconds.value / float(np.asarray(work.cores)) if seconds and synops else float("nan")
        if chip.pace.kind == "tick" and chip.time.tick:
            time = chip.time.tick.value * float(np.asarray(work.steps)) / self.divisor(m, task)
        if m.aspect == "time":
            return 1 / time if m.quantity == "throughput" else time
        return energy if m.unit == "J" else energy / time

    def bound(self, m: Measurement, task: Task) -> str:
        """The verdict of ``neuro.bottleneck``."""
        values = {path: constant.value for path, constant in leaves(self.description)}
        path = self.counts(m, task).latency
        time = self.prices(values, next(iter(self.description.power))).time
        return bottleneck.bound(path, {name: float(time[name]) for name in path.names})


def model_of(description: Description) -> str:
    """What the error of a machine's model is known for: its kind of device, of a chip that chip alone."""
    if isinstance(description, Chip):
        return f"{NEUROMORPHIC}-{description.name}"
    assert isinstance(description, Device)
    return conventional.model_name(description)


def of(m: Measurement) -> Target:
    """The machine of a measurement with its settings.

    Raises:
        BadInput: no such machine, or a setting of a constant that it does not have or that cannot be read.
    """
    machine = _machine(m)
    constants = dict(leaves(machine.description))
    values = {}
    for key, text in m.settings:
        if machine.kind == NEUROMORPHIC and published.is_setting(key):
            continue
        if key not in constants:
            raise BadInput(f"{machine.description.name} has no constant {key!r}.{nearest(key, list(constants))}")
        try:
            values[key] = parse(text, constants[key].unit)
        except ValueError as error:
            raise BadInput(f"setting {key}: {error}") from None
    return machine.adjusted(values)


def named(name: str) -> Target:
    """The bundled machine `name`. Raises BadInput."""
    if name in chips.known():
        return Spiking(chips.load(name))
    if name not in conventional.known():
        raise BadInput(f"unknown device or chip {name!r}.{nearest(name, conventional.known() + chips.known())}")
    return Conventional(conventional.load(name))


def _machine(m: Measurement) -> Target:
    if not m.target.endswith(".toml"):
        return named(m.target)
    path = str(m.folder / m.target) if m.folder else m.target
    if "kind" in parsed(Path(path)):  # a device says what kind of machine it is
        return Conventional(conventional.load(path))
    return Spiking(chips.load(path))


def _is_shapes(m: Measurement) -> bool:
    """Whether the workload is a network by its shapes rather than an activity."""
    if m.workload.startswith(published.PREFIX) or m.workload in (*simulated.KNOWN, *published.known()):
        return False
    if m.workload.endswith(".toml"):
        return "layers" in parsed((m.folder or Path()) / m.workload)
    head = m.workload.partition(":")[0]
    if not head.endswith((".onnx", ".toml")) and head != "gemm" and head not in from_shapes.known():
        known = [*published.known(), *simulated.KNOWN, *from_shapes.known()]
        raise BadInput(f"unknown workload {m.workload!r}.{nearest(m.workload, known)} Or state it: activity:steps=….")
    return True


def _task(activity: Activity, chip: Chip) -> Task:
    own = tuple(Latent(activity.name, path, constant) for path, constant in leaves(activity))
    return Task(own, lambda values: published.workload(activity, chip, values))


def _number(key: str, text: str) -> float:
    try:
        return parse(text, "1")
    except ValueError as error:
        raise BadInput(f"setting {key}: {error}") from None
