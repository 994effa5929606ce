"""A spiking chip as the machine of a measurement, and what ran on it: an activity, or layers at a stated rate."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from baselines import from_shapes
from experiments.replays import layered, published, simulated
from experiments.replays.measurement import PER, Measurement
from experiments.replays.published import Activity
from experiments.uncertainty import Latent, draw
from neuro import bottleneck, chip
from neuro.chip import Chip
from neuro.constants import adjusted, leaves, parsed
from neuro.cost import Prices, Scalar
from neuro.counts import Counts
from neuro.errors import BadInput, nearest
from neuro.units import parse
from neuro.workload import Amount, Workload, counts

NEUROMORPHIC = "neuromorphic"
Values: TypeAlias = Mapping[str, Amount]


@dataclass(frozen=True)
class Task:
    """An activity on a chip: its own constants with ranges, the counts at values of them, and what is to be said."""

    latents: tuple[Latent, ...]
    build: Callable[[Values], Workload]
    remark: str = ""

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
        """This chip's alone."""
        return f"{NEUROMORPHIC}-{self.description.name}"

    def adjusted(self, values: Mapping[str, float]) -> "Spiking":
        """The chip with other values (SI) of some constants, by dotted path. Raises BadInput."""
        return Spiking(adjusted(self.description, values))

    def prices(self, values: Mapping[str, Scalar], boundary: str) -> Prices:
        """J and s per event and W, from the constants by dotted path. Raises BadInput."""
        if boundary not in self.description.power:
            known = ", ".join(self.description.power)
            raise BadInput(f"{self.description.name} has no price at boundary {boundary!r}; it has {known}.")
        return chip.prices(self.description, values, boundary)

    def task(self, m: Measurement) -> Task:
        """The activity that the measurement names or states."""
        stated = {key: text for key, text in m.settings if published.is_setting(key)}
        if m.batch != 1:
            raise BadInput("a spiking chip is replayed one sample at a time; leave batch out.")
        if not _is_shapes(m):
            if simulated.knows(m.workload):
                activity = simulated.load(m.workload)
            else:
                activity = published.load(m.workload, m.folder, stated)
            return _task(activity, self.description)
        if missing := [key for key in ("rate", "steps") if key not in stated]:
            raise BadInput(
                f"{m.workload} on {self.description.name}: no {' and '.join(missing)} in settings; "
                "write rate = 0.05; steps = 16 (spikes of a neuron in a step, steps of an inference)."
            )
        if other := set(stated) - {"rate", "steps", "management"}:
            raise BadInput(f"{m.workload}: {', '.join(sorted(other))} follows from its layers; leave it out.")
        shapes = from_shapes.load(m.workload, folder=m.folder, mode="compiled")
        rate, steps = (_number(key, stated[key]) for key in ("rate", "steps"))
        managed = stated.get("management", "no") == "yes"
        return Task((), lambda values: layered.workload(shapes, self.description, rate, steps, managed))

    def counts(self, m: Measurement, task: Task, draws: int = 0) -> Counts:
        """Events of a task; with a draw axis where its own amounts are known within ranges and draws are asked for."""
        return counts(self.description, task.drawn(draws) if draws else task.nominal)

    def divisor(self, m: Measurement, task: Task) -> float:
        """What the quantity of `m` is per: steps or synaptic operations, else 1. Raises BadInput."""
        if m.quantity not in PER:
            return 1.0
        number = float(np.asarray(getattr(task.nominal, PER[m.quantity])))
        if number <= 0:
            raise BadInput(f"{m.workload} has no {PER[m.quantity]}, so that there is no {m.quantity}.")
        return number

    def naive(self, m: Measurement, task: Task) -> float:
        """Synaptic operations times the price of one; times besides shared evenly by the cores, or the ticks alone."""
        work, own = task.nominal, self.description
        synops = float(np.asarray(work.synops)) / self.divisor(m, task)
        joules, seconds = (getattr(table, f"synop_{work.format}") for table in (own.energy, own.time))
        energy = synops * joules.value if joules and synops else float("nan")
        time = synops * seconds.value / float(np.asarray(work.cores)) if seconds and synops else float("nan")
        if own.pace.kind == "tick" and own.time.tick:
            time = own.time.tick.value * float(np.asarray(work.steps)) / self.divisor(m, task)
        if m.aspect == "time":
            return 1 / time if m.quantity == "throughput" else time
        return energy if m.unit == "J" else energy / time

    def bound(self, m: Measurement, task: Task) -> str:
        """The verdict of ``neuro.bottleneck``."""
        values = {path: constant.value for path, constant in leaves(self.description)}
        path = self.counts(m, task).latency
        time = self.prices(values, next(iter(self.description.power))).time
        return bottleneck.bound(path, {name: float(time[name]) for name in path.names})


def _is_shapes(m: Measurement) -> bool:
    """Whether the workload is a network by its shapes rather than an activity."""
    if m.workload.startswith(published.PREFIX) or simulated.knows(m.workload) or m.workload in published.known():
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
    return Task(own, lambda values: published.workload(activity, chip, values), " ".join(activity.notes))


def _number(key: str, text: str) -> float:
    try:
        return parse(text, "1")
    except ValueError as error:
        raise BadInput(f"setting {key}: {error}") from None
