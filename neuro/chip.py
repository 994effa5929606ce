"""A neuromorphic chip: limits, capabilities of its neurons, network, pace and prices, read from a TOML file."""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StringConstraints, model_validator

from neuro.constants import Description, Hertz, Joules, Number, Seconds, Table, bundled, locate, read
from neuro.cost import Prices, Scalar

PACKAGE = "neuro.chips"

Reason: TypeAlias = Annotated[str, StringConstraints(min_length=8)]


class Limits(Table):
    """What one chip and each of its cores can hold; what a chip does not limit is left out.

    synapse_memory: bits a core. index_bits: what a sparse entry costs beside its weight. thresholds: distinct
    thresholds a core. delay: longest synaptic delay in steps. state_bits: two's complement, at the scale of weights.
    fan_in: synapses of one neuron. destinations: cores that one core can send to. kernel: width of a convolution's
    window. chips: how many can be joined.
    """

    cores: Number
    compartments: Number
    axons_in: Number | None = None
    axons_out: Number | None = None
    synapse_memory: Number
    index_bits: Number
    weight_bits: Number
    state_bits: Number
    delay: Number | None = None
    thresholds: Number | None = None
    fan_in: Number | None = None
    destinations: Number | None = None
    kernel: Number | None = None
    chips: Number | None = None


class Memory(Table):
    """Synapses stored row by row (see `neuro.packing`); a chip without this table keeps kernels once a core.

    Rows of shared kernels hold an index with every weight: such synapses are priced as sparse ones.

    word, header, trailer, weight, index: bits of a word, before an entry, at the end of a row, of a weight without its
    sign, and of the narrowest target index. entry: synapses at most behind a header. groups: of interleaved targets at
    most. shared: entries that an axon shared by a column of neurons takes at its sender.
    """

    word: Number
    header: Number
    trailer: Number
    entry: Number
    weight: Number
    index: Number
    groups: Number
    shared: Number


class CoreKind(Table):
    """Cores that differ from the others: the first `cores` cores not yet described have these limits."""

    cores: Number
    compartments: Number
    synapse_memory: Number


class Neuron(Table):
    """What decides which codes the chip can run.

    comparison: a neuron fires on ``V > th`` or ``V >= th``. soft_reset: compartments that a reset by subtraction takes,
    none if it cannot be built. program: neurons run user microcode, so phases, shifts and a second membrane are free
    to use. clock_weight: largest magnitude of one synapse, for gating phases with a clock axon where there is no
    program. ramp: a synaptic current can stay without decay, so that the membrane climbs by it in every step. graded:
    a spike carries a signed integer, so that a layer's activations travel in one step. divides: programs have a
    division.
    """

    comparison: Literal[">", ">="]
    program: bool
    soft_reset: Number | None = None
    clock_weight: Number | None = None
    ramp: bool = False
    graded: bool = False
    divides: bool = False


class Mesh(Table):
    """Routers and how packets travel: `width` x `height` of them, `cores_per_router` each.

    topology: mesh or torus (columns first, then rows), star (all cores on one router) or tree (`width` children).
    multicast: a packet is copied where routes part, so that a link carries it once. Chips join to a larger grid of
    `chips_wide` columns.
    """

    topology: Literal["mesh", "torus", "star", "tree"] = "mesh"
    width: Number
    height: Number
    cores_per_router: Number
    multicast: bool = False
    chips_wide: Number | None = None


class Pace(Table):
    """What a step waits for.

    kind: ``barrier``: a step ends when its slowest core and link are done and all cores have met; ``tick``: it lasts a
    fixed time, longer only if the work does; ``event``: there are no steps, spikes are handled as they come.
    overlap: a core handles arriving spikes while it sweeps its neurons, so that the longer of both counts, not the sum.
    static: whether the power at rest is that of the whole chip, or of the cores in use.
    """

    kind: Literal["barrier", "tick", "event"] = "barrier"
    overlap: bool = False
    static: Literal["chip", "used cores"] = "chip"


class Energy(Table):
    """J per event. neuron_access: every mapped compartment in every step; neuron_update: those that have something to
    do; neuron_program: an update by user microcode; synop_*: one spike meeting one stored synapse, by storage format;
    synop_graded: one that carries an integer (a multiply-accumulate); axon_out: one packet sent to one core; hop: one
    packet crossing one router link, chip_hop: one between chips; core_step: one core in use in one step; mac: one
    multiply-accumulate of a matrix unit beside the neurons; cycle: one cycle of the clock."""

    neuron_access: Joules | None = None
    neuron_update: Joules | None = None
    neuron_program: Joules | None = None
    spike: Joules | None = None
    axon_out: Joules | None = None
    hop: Joules | None = None
    chip_hop: Joules | None = None
    synop_dense: Joules | None = None
    synop_sparse: Joules | None = None
    synop_conv: Joules | None = None
    synop_graded: Joules | None = None
    mac: Joules | None = None
    core_step: Joules | None = None
    cycle: Joules | None = None
    host_write: Joules | None = None
    host_read: Joules | None = None
    reset: Joules | None = None
    management: Joules | None = None


class Time(Table):
    """s per event on the core or link that the others wait for. link: one packet on one link. barrier: of one tile;
    barrier_level: added each time the number of tiles doubles, three times at most; barrier_chip: added for each
    chip border between the two chips that are furthest apart; tick: a fixed step; layer: from a layer's first input to
    its first output where there are no steps; management: embedded processor, once a step."""

    neuron_access: Seconds | None = None
    neuron_update: Seconds | None = None
    neuron_program: Seconds | None = None
    spike: Seconds | None = None
    axon_out: Seconds | None = None
    axon_in: Seconds | None = None
    synop_dense: Seconds | None = None
    synop_sparse: Seconds | None = None
    synop_conv: Seconds | None = None
    synop_graded: Seconds | None = None
    mac: Seconds | None = None
    link: Seconds | None = None
    barrier: Seconds | None = None
    barrier_level: Seconds | None = None
    barrier_chip: Seconds | None = None
    tick: Seconds | None = None
    layer: Seconds | None = None
    host_write: Seconds | None = None
    host_read: Seconds | None = None
    reset: Seconds | None = None
    management: Seconds | None = None


class Congestion(Table):
    """What playing a step event by event needs: s of one hop along a row and along a column, and the packets that a
    link can buffer. See `neuro.detailed`."""

    along_row: Seconds
    along_column: Seconds
    slots: Number


class Included(Table):
    """Events without a price of their own, each with the reason: the figure in which they are measured along."""

    energy: dict[str, Reason] = Field(default_factory=dict)
    time: dict[str, Reason] = Field(default_factory=dict)


class Chip(Description):
    """Everything known of one chip. Units are SI; sources and ranges are with each constant.

    scope: ``mapped``: a network is cut and placed core by core; ``priced``: only totals are held against the limits,
    and published laws price the events. cannot: what the description leaves out, in words. whole_layers: a layer
    lives on one core. clock: of the digital part, where its cycles are priced.
    """

    scope: Literal["mapped", "priced"] = "mapped"
    cannot: list[str] = Field(default_factory=list)
    whole_layers: bool = False
    limits: Limits
    memory: Memory | None = None
    core_kinds: list[CoreKind] = Field(default_factory=list)
    neuron: Neuron
    mesh: Mesh
    pace: Pace = Pace()
    clock: Hertz | None = None
    energy: Energy
    time: Time
    included: Included = Included()
    congestion: Congestion | None = None

    notes: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _complete(self):
        for event in ("neuron_program", "management", "neuron_access", "mac", "synop_graded"):
            if self.prices_energy(event) != self.prices_time(event):
                raise ValueError(f"{event} needs a price in energy and in time, or in neither")
        if self.neuron.program and not self.prices_energy("neuron_program"):
            raise ValueError("neurons with a program need energy.neuron_program and time.neuron_program")
        if self.pace.kind == "tick" and self.time.tick is None:
            raise ValueError("a chip that works in ticks needs time.tick")
        if self.pace.kind == "barrier" and not self.prices_time("barrier"):
            raise ValueError("a chip whose cores meet after every step needs time.barrier")
        if (self.energy.cycle is None) != (self.clock is None):
            raise ValueError("energy.cycle and clock belong together")
        for table, priced in ((self.included.energy, self.energy), (self.included.time, self.time)):
            for event in table:
                if event not in type(priced).model_fields:
                    raise ValueError(f"included: {event!r} is no event; known: {', '.join(type(priced).model_fields)}")
                if getattr(priced, event) is not None:
                    raise ValueError(f"included: {event} has a price of its own too")
        kinds = sum(kind.cores.value for kind in self.core_kinds)
        if self.core_kinds and kinds != self.limits.cores.value:
            raise ValueError(f"core_kinds describe {kinds:g} of {self.limits.cores.value:g} cores")
        return self

    def prices_energy(self, event: str) -> bool:
        """Whether the event costs energy here, or is named as included in another price."""
        return getattr(self.energy, event) is not None or event in self.included.energy

    def prices_time(self, event: str) -> bool:
        """Whether the event takes time here, or is named as included in another price."""
        return getattr(self.time, event) is not None or event in self.included.time

    @property
    def chips(self) -> int:
        """How many chips can be joined."""
        return int(self.limits.chips.value) if self.limits.chips else 1


def load(name: str) -> Chip:
    """The bundled chip `name`, or the one in a ``.toml`` file.

    Raises:
        BadInput: no such chip. BadDescription: a fault in the file, with its key path.
    """
    return read(locate(name, PACKAGE, "chip"), Chip)


def known() -> list[str]:
    """Names of the bundled chips."""
    return bundled(PACKAGE)


def prices(chip: Chip, values: Mapping[str, Scalar], boundary: str) -> Prices:
    """Prices at `boundary` from the constants by dotted path, which may be draws or traced values.

    An event that is included in another's price costs nothing by itself. P = power + cycle · clock.
    """

    def table(name: str, included: Mapping[str, str]) -> dict[str, Scalar]:
        own = {path.removeprefix(name): v for path, v in values.items() if path.startswith(name)}
        return dict.fromkeys(included, 0.0) | own

    clocked = values["energy.cycle"] * values["clock"] if chip.clock else 0.0
    return Prices(
        energy=table("energy.", chip.included.energy),
        time=table("time.", chip.included.time),
        active_power=values[f"power.{boundary}.active"] + clocked,
        idle_power=values[f"power.{boundary}.idle"] + clocked,
    )
