"""What a network asks of a spiking chip when its activity is known, published or assumed, but not its synapses.

The events have the names of ``neuro.count``, so that the same prices and the same cost apply.
"""

from dataclasses import dataclass, field
from math import ceil
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float

from neuro.chip import Chip
from neuro.count import MOST_LEVELS
from neuro.counts import Counts, Path
from neuro.errors import BadInput

Amount: TypeAlias = Float[np.ndarray, "draw"] | float
"""One number, or one for each draw where it is known within a range."""

Format: TypeAlias = Literal["dense", "sparse", "conv", "graded"]
CORE_EVENTS = (
    "neuron_access", "neuron_update", "neuron_program", "spike", "axon_out", "hop", "chip_hop",
    "synop_dense", "synop_sparse", "synop_conv", "synop_graded", "mac", "core_step",
)  # fmt: skip
"""Energy events of cores and their network; all others are the host's, the embedded processor's or a reset."""


@dataclass(frozen=True)
class Core:
    """What one core handles in a step: neurons swept, spikes sent in so many packets, packets heard, synaptic
    operations."""

    neurons: Amount = 0.0
    spikes: Amount = 0.0
    packets_out: Amount = 0.0
    packets_in: Amount = 0.0
    synops: Amount = 0.0


@dataclass(frozen=True)
class Workload:
    """Counts of one inference on so many cores of so many chips.

    steps: of one inference. neurons: compartments swept in every step. updates: sweeps with something to do, by default
    all. packets: each sent to one core. synops: spikes meeting synapses, stored in `format`. span: chip borders between
    the two chips furthest apart. inputs, outputs: values that the host writes and reads. resets: chips reset.
    layers: on the way from input to output; only chips without steps wait for each. program: neurons run user
    microcode. management: the embedded processor runs a routine in every step. busiest: cores that a step may wait for;
    by default one with an even share of everything.
    """

    name: str
    steps: Amount = 1.0
    neurons: Amount = 0.0
    updates: Amount | None = None
    spikes: Amount = 0.0
    packets: Amount = 0.0
    hops: Amount = 0.0
    chip_hops: Amount = 0.0
    synops: Amount = 0.0
    cores: Amount = 1.0
    chips: Amount = 1.0
    span: Amount = 0.0
    inputs: Amount = 0.0
    outputs: Amount = 0.0
    resets: Amount = 0.0
    layers: Amount = 1.0
    format: Format = "dense"
    program: bool = False
    management: bool = False
    busiest: tuple[Core, ...] = field(default=())

    @property
    def even(self) -> Core:
        """The even share of one core in one step."""
        share = self.cores * self.steps
        return Core(
            self.neurons / self.cores, self.spikes / share, self.packets / share, self.packets / share,
            self.synops / share,
        )  # fmt: skip


def borders(chip: Chip, chips: float) -> float:
    """Chip borders between the two of `chips` chips that are furthest apart, in rows of ``mesh.chips_wide``."""
    wide = min(chips, chip.mesh.chips_wide.value if chip.mesh.chips_wide else chips)
    return float(wide - 1 + ceil(chips / wide) - 1)


def counts(chip: Chip, work: Workload) -> Counts:
    """Hardware events of one inference of `work`, one after another; with a leading draw axis where amounts have one.

    A step lasts as long as its slowest core (both sides of it in turn, or the longer one where they overlap) or its
    tick; then come barrier, embedded processor and host. Loads of links are not known. Events that do not happen are
    left out; a chip that lacks the price of one that does is found out by ``neuro.cost.unpriced``.

    Raises:
        BadInput: more cores than the chips have, or an inference without steps, cores or chips.
    """
    for name in ("steps", "cores", "chips"):
        if not np.all(np.asarray(getattr(work, name)) > 0):
            raise BadInput(f"{work.name}: {name} must be above zero.")
    if np.any(np.asarray(work.cores) > chip.limits.cores.value * np.asarray(work.chips)):
        raise BadInput(
            f"{work.name}: {np.max(work.cores):,.0f} cores; {np.max(work.chips):,.0f} x {chip.name} have "
            f"{chip.limits.cores.value * np.max(work.chips):,.0f}. Give more chips."
        )
    path = _path(chip, work)
    used = np.max(work.cores) / chip.limits.cores.value
    machines = float(used if chip.pace.static == "used cores" else np.max(work.chips))
    return Counts(_energy(chip, work), path, path, 1, machines)


def sweep_events(chip: Chip, work: Workload) -> tuple[str, ...]:
    """What one sweep of a compartment counts as: an access where the chip prices it apart, and an update."""
    update = "neuron_program" if work.program else "neuron_update"
    return ("neuron_access", update) if chip.prices_energy("neuron_access") else (update,)


def _energy(chip: Chip, work: Workload) -> dict[str, np.ndarray]:
    events: dict[str, Amount] = {}
    if chip.pace.kind != "event":
        swept = work.neurons * work.steps
        events |= dict.fromkeys(sweep_events(chip, work), swept)
        if work.updates is not None and "neuron_access" in events:
            events[sweep_events(chip, work)[-1]] = work.updates
    events |= {
        "spike": work.spikes,
        "axon_out": work.packets,
        f"synop_{work.format}": work.synops,
        "hop": work.hops,
        "chip_hop": work.chip_hops,
        "host_write": work.inputs,
        "host_read": work.outputs,
        "reset": work.resets,
    }
    if work.management:
        events["management"] = work.steps
    if chip.prices_energy("core_step"):
        events["core_step"] = work.cores * work.steps
    return {name: np.asarray(n, np.float64) for name, n in events.items() if np.any(np.asarray(n) != 0)}


def _path(chip: Chip, work: Workload) -> Path:
    """Two stages: what cores or ticks take, step by step; and what is added to every step and inference."""
    swept = {} if chip.pace.kind == "event" else dict.fromkeys(sweep_events(chip, work), "neurons")
    sending = swept | {"spike": "spikes", "axon_out": "packets_out"}
    receiving = {"axon_in": "packets_in", f"synop_{work.format}": "synops"}
    resources: list[dict[str, Amount]] = []
    for core in work.busiest or (work.even,):
        sides = [sending, receiving] if chip.pace.overlap else [sending | receiving]
        resources += [{event: getattr(core, load) * work.steps for event, load in side.items()} for side in sides]
    if chip.pace.kind == "tick":
        resources.append({"tick": work.steps})
    fixed: dict[str, Amount] = {"host_write": work.inputs, "host_read": work.outputs, "reset": work.resets}
    if chip.pace.kind == "barrier":
        tiles = np.maximum(1.0, np.ceil(work.cores / work.chips / chip.mesh.cores_per_router.value))
        fixed |= {"barrier": work.steps, "barrier_level": work.steps * np.minimum(MOST_LEVELS, np.log2(tiles))}
        fixed["barrier_chip"] = work.steps * work.span
    if chip.pace.kind == "event":
        fixed["layer"] = work.layers
    if work.management:
        fixed["management"] = work.steps
    stages = [[*resources], [fixed]]
    happening = [n for stage in stages for r in stage for n, amount in r.items() if np.any(np.asarray(amount) != 0)]
    names = tuple(dict.fromkeys(happening))
    amounts = [np.asarray(amount, np.float64) for stage in stages for r in stage for amount in r.values()]
    batch = np.broadcast_shapes(*(amount.shape for amount in amounts))
    found = np.zeros((*batch, len(stages), len(resources), len(names)))
    for i, stage in enumerate(stages):
        for j, resource in enumerate(stage):
            for name, amount in resource.items():
                if name in names:
                    found[..., i, j, names.index(name)] = amount
    return Path(names, found)
