"""A neuromorphic chip: limits, capabilities of its neurons, mesh and prices, read from a TOML file."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from neuro.constants import Description, Joules, Number, Seconds, Table, bundled, locate, read
from neuro.cost import Prices, Scalar

PACKAGE = "neuro.chips"


class Limits(Table):
    """What one chip and each of its cores can hold.

    synapse_memory: bits a core. index_bits: what a sparse entry costs beside its weight. thresholds: distinct
    thresholds a core. delay: longest synaptic delay in steps. state_bits: two's complement, at the scale of weights.
    """

    cores: Number
    compartments: Number
    axons_in: Number
    axons_out: Number
    synapse_memory: Number
    index_bits: Number
    weight_bits: Number
    state_bits: Number
    delay: Number
    thresholds: Number | None = None


class Neuron(Table):
    """What decides which codes the chip can run.

    comparison: a neuron fires on ``V > th`` or ``V >= th``. soft_reset: compartments that a reset by subtraction takes,
    none if it cannot be built. program: neurons run user microcode, so phases, shifts and a second membrane are free
    to use. clock_weight: largest magnitude of one synapse, for gating phases with a clock axon where there is no
    program.
    """

    comparison: Literal[">", ">="]
    program: bool
    soft_reset: Number | None = None
    clock_weight: Number | None = None


class Mesh(Table):
    """Routers in `width` x `height`, XY routing, `cores_per_router` each."""

    width: Number
    height: Number
    cores_per_router: Number


class Energy(Table):
    """J per event. synop_*: one spike meeting one stored synapse, by storage format; axon_out: one packet sent to one
    core; hop: one packet crossing one router link; neuron_program: an update by user microcode."""

    neuron_update: Joules
    neuron_program: Joules | None = None
    spike: Joules
    axon_out: Joules
    hop: Joules
    synop_dense: Joules
    synop_sparse: Joules
    synop_conv: Joules
    host_write: Joules
    host_read: Joules
    reset: Joules
    management: Joules | None = None


class Time(Table):
    """s per event on the core that the others wait for. barrier: of one tile; barrier_level: added each time the
    number of tiles doubles, three times at most; management: embedded processor, once a step."""

    neuron_update: Seconds
    neuron_program: Seconds | None = None
    spike: Seconds
    axon_out: Seconds
    axon_in: Seconds
    synop_dense: Seconds
    synop_sparse: Seconds
    synop_conv: Seconds
    barrier: Seconds
    barrier_level: Seconds
    host_write: Seconds
    host_read: Seconds
    reset: Seconds
    management: Seconds | None = None


class Chip(Description):
    """Everything known of one chip. Units are SI; sources and ranges are with each constant."""

    limits: Limits
    neuron: Neuron
    mesh: Mesh
    energy: Energy
    time: Time

    notes: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _priced_alike(self):
        for event in ("neuron_program", "management"):
            if (getattr(self.energy, event) is None) != (getattr(self.time, event) is None):
                raise ValueError(f"{event} needs a price in energy and in time, or in neither")
        if self.neuron.program and self.energy.neuron_program is None:
            raise ValueError("neurons with a program need energy.neuron_program and time.neuron_program")
        return self


def load(name: str) -> Chip:
    """The bundled chip `name`, or the one in a ``.toml`` file.

    Raises:
        BadInput: no such chip. BadDescription: a fault in the file, with its key path.
    """
    return read(locate(name, PACKAGE, "chip"), Chip)


def known() -> list[str]:
    """Names of the bundled chips."""
    return bundled(PACKAGE)


def prices(values: Mapping[str, Scalar], boundary: str) -> Prices:
    """Prices at `boundary` from the constants by dotted path, which may be draws or traced values."""

    def table(name: str) -> dict[str, Scalar]:
        return {path.removeprefix(name): v for path, v in values.items() if path.startswith(name)}

    return Prices(
        energy=table("energy."),
        time=table("time."),
        active_power=values[f"power.{boundary}.active"],
        idle_power=values[f"power.{boundary}.idle"],
    )
