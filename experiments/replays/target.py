"""The machine that a measurement is of, a conventional device or a spiking chip: one way to ask either."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from baselines import device as conventional
from baselines import from_shapes, roofline
from baselines.device import Device
from experiments.replays import published
from experiments.replays.measurement import PER, Measurement
from experiments.replays.spiking import NEUROMORPHIC, Spiking
from neuro import chip as chips
from neuro.chip import Chip
from neuro.constants import Description, leaves, parsed
from neuro.cost import Prices, Scalar
from neuro.counts import Counts
from neuro.errors import BadInput, nearest
from neuro.units import parse


@dataclass(frozen=True)
class Conventional:
    """A device of ``baselines``; a task is a network with the batch in flight.

    `experiments.replays.spiking.Spiking` answers the same for a chip: `task` reads once what a measurement ran, for
    `counts` under changed constants.
    """

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
        """The machine with other values (SI) of some constants, by dotted path. Raises BadInput."""
        return Conventional(conventional.adjusted(self.description, values))

    def prices(self, values: Mapping[str, Scalar], boundary: str) -> Prices:
        """J and s per event and W, from the constants by dotted path."""
        return conventional.prices(self.description, values, boundary)

    def task(self, m: Measurement) -> Any:
        """The network and its batch: that of highest throughput where the measurement says so."""
        work = from_shapes.load(m.workload, folder=m.folder, mode=m.mode)
        return work, m.batch or conventional.best_batch(self.description, work, m.precision)

    def counts(self, m: Measurement, task: Any, draws: int = 0) -> Counts:
        """Events of a task, which has no range of its own to draw from."""
        return conventional.counts(self.description, task[0], m.precision, task[1])

    def divisor(self, m: Measurement, task: Any) -> float:
        """What the quantity of `m` is per. Raises BadInput for quantities of spiking chips."""
        if m.quantity in (*PER, "core energy"):
            raise BadInput(f"{m.quantity} is known of spiking chips only; {self.description.name} is none.")
        return 1.0

    def naive(self, m: Measurement, task: Any) -> float:
        """A bare roofline."""
        return roofline.predict(self.description, task[0], m.precision, task[1], m.quantity)

    def bound(self, m: Measurement, task: Any) -> str:
        """Not told for these machines."""
        return ""


Target: TypeAlias = Conventional | Spiking
"""A machine with its constants that measurements can be put to."""


def model_of(description: Description) -> str:
    """What the error of a machine's model is known for: its kind of device, of a chip that chip alone."""
    if isinstance(description, Chip):
        return Spiking(description).model
    assert isinstance(description, Device), description.name
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
