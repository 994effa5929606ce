"""What every chip file, bundled or a user's, must hold to beyond its schema."""

from collections.abc import Iterator
from math import inf, isfinite
from typing import get_args

from neuro.chip import Chip
from neuro.constants import Boundary, Constant, leaves, power_faults
from neuro.errors import BadDescription

PLAUSIBLE = {"J": (1e-15, 1e-2), "s": (1e-13, 1.0), "W": (1e-7, 1e4), "Hz": (1e3, 1e11), "1": (1e-3, inf)}
"""By unit, what a constant can be: outside, a prefix was mistaken."""

SINGLE = {"J": 1e-6, "s": 1e-4}
"""The most that one event on a core can take; SLOW ones are not held to it."""

SLOW = frozenset({
    "host_write", "host_read", "reset", "management", "core_step", "barrier", "barrier_level", "barrier_chip", "tick",
    "layer",
})  # fmt: skip

PACED = {"barrier": ("barrier", "barrier_level", "barrier_chip"), "tick": ("tick",), "event": ("layer",)}
"""Times that only a chip of that pace has."""

CLASS = {"milliwatt": 0.1, "edge": 30.0, "data centre": inf}
"""W, by class of deployment, that a chip at work without events stays below."""

WIDE = 2.0
"""High over low that an assumed price has at least where the constants are undisclosed."""


def check_chip(chip: Chip) -> None:
    """The conformance suite: what happens on the chip has a price or a reason, ranges and limits make sense, fields
    agree with pace and scope, and every figure is cited.

    Raises:
        BadDescription: with every fault and its key.
    """
    found = [
        fault
        for part in (_ranges, _counts, _events, _pace, _scope, _network, _powers, _sources, _honesty)
        for fault in part(chip)
    ]
    if found:
        raise BadDescription(f"{chip.name}: {len(found)} fault(s)\n" + "\n".join(f"  {fault}" for fault in found))


def happening(chip: Chip) -> tuple[frozenset[str], frozenset[str]]:
    """The events that can occur on the chip: those that cost energy, and those that take time.

    Left out are those that a chip may have or not (neuron_access, management, mac, core_step, cycle, link).
    """
    both = {"spike", "axon_out", "synop_dense", "synop_sparse", "synop_conv", "host_write", "host_read", "reset"}
    if chip.pace.kind != "event":  # without steps no neuron is swept
        both |= {"neuron_update"} | ({"neuron_program"} if chip.neuron.program else set())
    if chip.neuron.graded:
        both |= {"synop_graded"}
    energy, time = set(both), both | {"axon_in"}
    if chip.limits.cores.value > 1:
        energy |= {"hop"}
    time |= set(PACED[chip.pace.kind]) - {"barrier_chip"}
    if chip.chips > 1:
        energy |= {"chip_hop"}
        time |= {"barrier_chip"} & set(PACED[chip.pace.kind])
    return frozenset(energy), frozenset(time)


def _ranges(chip: Chip) -> Iterator[str]:
    for path, constant in leaves(chip):
        if not 0 < constant.low <= constant.value <= constant.high or not isfinite(constant.high):
            yield f"{path}: low <= value <= high, above zero and finite, does not hold"
            continue
        low, high = PLAUSIBLE[constant.unit]
        table, _, event = path.partition(".")
        if table in ("energy", "time") and event not in SLOW:
            high = SINGLE[constant.unit]
        if constant.low < low or constant.high > high:
            yield f"{path}: {constant} is outside {low:g}..{high:g} {constant.unit}; is a prefix wrong?"
        if constant.basis == "assumed" and constant.low == constant.high:
            yield f"{path}: an assumed constant needs a range"


def _counts(chip: Chip) -> Iterator[str]:
    """Limits, cores, routers and compartments are whole numbers."""
    for path, constant in leaves(chip):
        if constant.unit == "1" and any(n < 1 or n != round(n) for n in (constant.low, constant.value, constant.high)):
            yield f"{path}: {constant} is no whole number from 1"
    if chip.limits.weight_bits.value > chip.limits.state_bits.value:
        yield "limits.weight_bits: a weight is wider than the state it enters"
    if chip.limits.synapse_memory.value < chip.limits.weight_bits.value:
        yield "limits.synapse_memory: does not hold one weight; it is in bits a core"
    for limit in ("compartments", "synapse_memory"):
        kinds = [getattr(kind, limit).value for kind in chip.core_kinds]
        if kinds and max(kinds) != getattr(chip.limits, limit).value:
            yield f"limits.{limit}: must be that of the largest of core_kinds, {max(kinds):g}"


def _events(chip: Chip) -> Iterator[str]:
    energy, time = happening(chip)
    yield from (
        f"energy.{event}: happens here; give a price, or a reason under [included.energy]"
        for event in sorted(energy)
        if not chip.prices_energy(event)
    )
    yield from (
        f"time.{event}: happens here; give a price, or a reason under [included.time]"
        for event in sorted(time)
        if not chip.prices_time(event)
    )
    for event in ("neuron_access", "neuron_program", "mac", "synop_graded", "management"):
        if chip.prices_energy(event) != chip.prices_time(event):
            yield f"{event}: needs a price in energy and in time, or in neither"


def _pace(chip: Chip) -> Iterator[str]:
    kind = chip.pace.kind
    foreign = [event for other, events in PACED.items() if other != kind for event in events]
    yield from (f"time.{event}: has no meaning at pace {kind!r}" for event in foreign if chip.prices_time(event))
    if kind == "event" and chip.pace.overlap:
        yield "pace.overlap: has no meaning where there are no steps"
    if (chip.energy.cycle is None) != (chip.clock is None):
        yield "clock: needs energy.cycle, and energy.cycle a clock"


def _scope(chip: Chip) -> Iterator[str]:
    if chip.scope == "priced":
        if not chip.cannot:
            yield "cannot: a chip that is only priced says what cannot be mapped"
        if chip.whole_layers or chip.core_kinds:
            yield "scope: whole_layers and core_kinds have no meaning on a chip that is only priced"
        if chip.chips > 1:
            yield "limits.chips: a chip that is only priced stands alone"
    if chip.neuron.program and chip.neuron.soft_reset is None:
        yield "neuron.soft_reset: a program can subtract; give the compartments it takes"
    if chip.neuron.divides and not chip.neuron.program:
        yield "neuron.divides: is an operation of neuron.program"
    if chip.prices_energy("synop_graded") and not chip.neuron.graded:
        yield "energy.synop_graded: needs neuron.graded"


def _network(chip: Chip) -> Iterator[str]:
    mesh, cores = chip.mesh, chip.limits.cores.value
    places = mesh.width.value * mesh.height.value * mesh.cores_per_router.value
    if places < cores:
        yield f"mesh: {places:g} places for {cores:g} cores"
    if mesh.topology == "star" and mesh.width.value * mesh.height.value != 1:
        yield "mesh: a star has one router, width and height 1"
    if mesh.topology == "tree" and mesh.width.value < 2:
        yield "mesh.width: a tree has two branches at each node at least"
    if (chip.chips > 1) != (mesh.chips_wide is not None):
        yield "mesh.chips_wide: belongs to limits.chips above 1"


def _powers(chip: Chip) -> Iterator[str]:
    yield from power_faults(chip.power)
    first = min(chip.power, key=get_args(Boundary).index)
    if chip.power[first].active.value >= CLASS[chip.deployment]:
        yield f"deployment: {chip.deployment} is below {CLASS[chip.deployment]:g} W, power.{first} is not"
    for boundary in chip.power:
        if not any(f"power.{boundary}" in note for note in chip.notes):
            yield f"notes: say what power.{boundary} takes in"


def _sources(chip: Chip) -> Iterator[str]:
    used = {constant.source for _, constant in leaves(chip)}
    yield from (f"sources.{name}: no constant uses it" for name in chip.sources if name not in used)
    yield from (f"sources.{name}: is not declared" for name in sorted(used - set(chip.sources)))
    yield from (f"sources.{name}: needs a doi or a url" for name, s in chip.sources.items() if not (s.doi or s.url))


def _honesty(chip: Chip) -> Iterator[str]:
    """Where constants are undisclosed the notes say so, and what was assumed in their place has a wide range."""
    for grade, name in ((chip.evidence.energy, "energy"), (chip.evidence.latency, "time")):
        if grade != "undisclosed":
            continue
        if not any("undisclosed" in note or "publish" in note for note in chip.notes):
            yield f"notes: say which constants of {name} are undisclosed"
        yield from (
            f"{name}.{path}: assumed and undisclosed, yet high / low is below {WIDE:g}"
            for path, constant in leaves(getattr(chip, name))
            if _narrow(constant)
        )


def _narrow(constant: Constant) -> bool:
    return constant.basis == "assumed" and constant.high / constant.low < WIDE
