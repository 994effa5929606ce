"""Activity of networks on spiking chips as it was published or stated: files, or text in a row of measurements.

A file holds constants with range, source and basis, as a chip's does; the doubt of an activity enters the band of a
prediction like that of a price. ``experiments/activities`` has the bundled ones.
"""

from collections import Counter
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from neuro.chip import Chip
from neuro.constants import Cited, Hertz, Number, Table, bundled, locate, parsed, read
from neuro.errors import BadInput
from neuro.workload import Amount, Core, Format, Workload, borders

PACKAGE = "experiments.activities"
PREFIX = "activity:"
SWITCHES = {"yes": True, "no": False, "true": True, "false": False}
GIVEN = {"title": "as stated with the measurement", "year": 2000}


class Busiest(Table):
    """Loads of a core in one step, see `neuro.workload.Core`."""

    neurons: Number | None = None
    spikes: Number | None = None
    packets_out: Number | None = None
    packets_in: Number | None = None
    synops: Number | None = None


class Activity(Cited):
    """Counts of one inference, see `neuro.workload.Workload`; what is left out does not happen or follows from others.

    steps: default 1. neurons: compartments. updates: default all in every step. spikes: default neurons x rate x steps;
    rate: spikes of a neuron in a step, frequency: the same per second, on a chip that works in ticks. packets: default
    one for each spike, with broadcast one to every core. synops: default spikes x synapses; synapses: that a spike
    meets. cores, chips, span: default as few as hold the neurons. busiest: default an even share.
    """

    name: str
    title: str = ""
    notes: list[str] = Field(default_factory=list)
    steps: Number | None = None
    neurons: Number | None = None
    updates: Number | None = None
    rate: Number | None = None
    frequency: Hertz | None = None
    spikes: Number | None = None
    packets: Number | None = None
    hops: Number | None = None
    chip_hops: Number | None = None
    synapses: Number | None = None
    synops: Number | None = None
    cores: Number | None = None
    chips: Number | None = None
    span: Number | None = None
    inputs: Number | None = None
    outputs: Number | None = None
    resets: Number | None = None
    layers: Number | None = None
    format: Format = "dense"
    broadcast: bool = False
    program: bool = False
    management: bool = False
    busiest: list[Busiest] = Field(default_factory=list)


def known() -> list[str]:
    """Names of the bundled activities."""
    return bundled(PACKAGE)


def is_setting(name: str) -> bool:
    """Whether a setting is a count of the activity rather than a constant of the chip."""
    return name in Activity.model_fields and name not in ("name", "title", "notes", "sources", "busiest")


def load(spec: str, folder: Path | None = None, settings: Mapping[str, str] | None = None) -> Activity:
    """The activity that `spec` means, with some counts replaced by `settings` (as text).

    ``activity:steps=10,neurons=512,rate=0.05,synapses=256``; a bundled name; or a ``.toml`` file, relative to `folder`.

    Raises:
        BadInput: an unknown name, no such file or text that is no setting. BadDescription: a fault in the counts.
    """
    if spec.startswith(PREFIX):
        stated = _once(spec, [_pair(spec, part) for part in filter(None, spec.removeprefix(PREFIX).split(","))])
        return from_tree({"name": spec, "sources": {}} | given(stated | dict(settings or {})), Path(spec))
    path = (folder or Path()) / spec if spec.endswith(".toml") else locate(spec, PACKAGE, "activity")
    tree = parsed(path)
    tree["sources"] = tree.get("sources", {})
    return from_tree(tree | given(settings or {}), path)


def from_tree(tree: dict[str, Any], path: Path) -> Activity:
    """The activity in the tables of a file. Raises BadDescription."""
    sources = tree["sources"]
    return read(
        path, Activity, tree | {"sources": sources | {"given": GIVEN} if isinstance(sources, dict) else sources}
    )


def given(stated: Mapping[str, str]) -> dict[str, Any]:
    """Tables for counts given as text: ``steps = 16``, ``management = yes``, ``format = conv``."""
    return {
        name: text if name == "format" else SWITCHES.get(text, {"value": text, "source": "given", "basis": "measured"})
        for name, text in stated.items()
    }


def _pair(spec: str, part: str) -> tuple[str, str]:
    name, sign, value = (p.strip() for p in part.partition("="))
    if not sign or not value:
        raise BadInput(f"{spec!r}: {part!r} states nothing; write NAME=NUMBER, such as steps=16.")
    return name, value


def _once(spec: str, pairs: list[tuple[str, str]]) -> dict[str, str]:
    if twice := [name for name, times in Counter(name for name, _ in pairs).items() if times > 1]:
        raise BadInput(f"{spec!r}: {', '.join(twice)} given twice; leave one.")
    return dict(pairs)


def workload(activity: Activity, chip: Chip, values: Mapping[str, Amount]) -> Workload:
    """The counts on `chip`; `values` gives each constant of the activity by its dotted path, as a value or as draws.

    Raises:
        BadInput: a frequency on a chip that does not work in ticks.
    """

    def of(name: str, default: Amount = 0.0) -> Amount:
        return values.get(name, default)

    steps, neurons = of("steps", 1.0), of("neurons")
    spikes = of("spikes", neurons * _rate(activity, chip, values) * steps)
    cores = of("cores", np.ceil(np.maximum(neurons, 1.0) / chip.limits.compartments.value))
    chips = of("chips", float(ceil(np.max(cores) / chip.limits.cores.value)))
    if np.ndim(cores):  # a draw may lie beyond what the chips have
        cores = np.minimum(cores, chip.limits.cores.value * chips)
    every: tuple[Literal["neurons", "spikes", "packets_out", "packets_in", "synops"], ...] = (
        "neurons", "spikes", "packets_out", "packets_in", "synops",
    )  # fmt: skip
    return Workload(
        name=activity.name,
        steps=steps,
        neurons=neurons,
        updates=values.get("updates"),
        spikes=spikes,
        packets=of("packets", spikes * cores if activity.broadcast else spikes),
        hops=of("hops"),
        chip_hops=of("chip_hops"),
        synops=of("synops", spikes * of("synapses")),
        cores=cores,
        chips=chips,
        span=of("span", borders(chip, float(np.max(chips)))),
        inputs=of("inputs"),
        outputs=of("outputs"),
        resets=of("resets"),
        layers=of("layers", 1.0),
        format=activity.format,
        program=activity.program,
        management=activity.management,
        busiest=tuple(
            Core(**{load: of(f"busiest.{i}.{load}") for load in every}) for i in range(len(activity.busiest))
        ),
    )


def _rate(activity: Activity, chip: Chip, values: Mapping[str, Amount]) -> Amount:
    """Spikes of a neuron in one step."""
    if activity.frequency is None:
        return values.get("rate", 0.0)
    if chip.time.tick is None:
        raise BadInput(f"{activity.name}: {chip.name} has no ticks; give rate, the spikes of a neuron in a step.")
    return values["frequency"] * chip.time.tick.value
