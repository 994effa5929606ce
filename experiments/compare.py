"""The main job: one trained network on spiking chips and on conventional machines, and who wins."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np

from baselines import device as conventional
from baselines.device import Device
from baselines.from_graph import workload
from baselines.measure import Measured
from baselines.workload import Workload
from converters import quantise
from converters.network_file import Converted
from converters.relays import relayed
from experiments import same_silicon
from experiments.arm import Arm, Machine, Priced
from experiments.datasets.dataset import DataSet
from experiments.forms import PILOT, forms, tried, weight_bits, with_zeros
from experiments.judge import judge
from experiments.measured import arms as measured_arms
from experiments.progress import Progress, silent
from experiments.run import MEMORY, CodeRun, classify, mean_spikes, run, zero_shares
from experiments.verdict import Verdict
from neuro import capability, mapping
from neuro import chip as chip_file
from neuro.chip import Chip
from neuro.codes import Code, is_exact
from neuro.constants import Description
from neuro.demand import allowed
from neuro.errors import BadInput, DoesNotFit, Unsupported
from neuro.graph import Graph
from neuro.placement import Placement
from neuro.traffic import arranged
from neuro.wiring import of_graph

ZEROS = 1000
"""Items on which the zeros that sparse rivals may skip are counted."""
DUTY = 10.0
"""Rate (Hz) of the second scenario that is always shown beside back to back."""


@dataclass(frozen=True)
class Options:
    """What the user chose. boundary and rate are the scenario; code ``auto`` prices those of `forms.AUTO`. levels: None
    for those of the network where it is quantised already, else `quantise.LEVELS`. memory: bytes that the arrays of the
    items that run together may take.

    Raises:
        BadInput: an option out of its range.
    """

    code: Code | Literal["auto"] = "auto"
    levels: int | None = None
    weight_bits: int = 8
    steps: int = 64
    boundary: str = "chip"
    rate: float | None = None
    seed: int = 0
    draws: int = 4096
    allow_violations: bool = False
    memory: int = MEMORY

    def __post_init__(self) -> None:
        quantise.check_ranges(levels=self.levels or quantise.LEVELS, weight_bits=self.weight_bits, steps=self.steps)
        if self.rate is not None and not 0 < self.rate < float("inf"):
            raise BadInput(f"--rate {self.rate:g} must be above zero; leave it out for back to back.")
        if self.seed < 0:
            raise BadInput(f"--seed {self.seed} is negative; give 0 or more.")


@dataclass(frozen=True)
class Comparison:
    """All arms side by side on the same items, and the verdict.

    priced, verdicts: in the chosen scenario; duty, duty_verdicts: the same at `DUTY` (None where a rate was chosen).
    fold_error: relative difference between the network and its folded form; integer: the matched network; placements:
    by chip, code and regime.
    """

    network: Graph
    dataset: DataSet
    options: Options
    float_accuracy: float | None
    integer_accuracy: float | None
    fold_error: float
    integer: Graph
    runs: tuple[CodeRun, ...]
    accuracies: dict[str, float | None]
    arms: tuple[Arm, ...]
    machines: tuple[Machine, ...]
    placements: dict[tuple[str, str, str], Placement]
    priced: Priced
    verdicts: tuple[Verdict, ...]
    duty: Priced | None
    duty_verdicts: tuple[Verdict, ...]


def compare(
    network: Graph,
    dataset: DataSet,
    chips: list[Chip],
    devices: list[Device],
    options: Options,
    progress: Progress = silent,
    named: bool = False,
    measured: tuple[Measured, ...] = (),
    converted: Converted | None = None,
) -> Comparison:
    """Runs and prices `network` on `dataset` (already fitted to its input).

    named: the chips were asked for by name, so that one which cannot run the chosen code is an error. measured: runs of
    the float network on this machine, which become arms beside the modelled ones. converted: its integer form, where
    it comes with one; levels and weight bits of `options` are then not used.

    Raises:
        Unsupported: the network has no spiking form. DoesNotFit: no chip can run it under any code, with the reasons.
        BadInput: options out of range, or a code that a named chip cannot run.
    """
    counts, calibration = dataset.counts, dataset.calibration_counts
    done = progress("float network", len(counts))
    decisions = classify(network, dataset.network_input, done, options.memory)
    found = forms(network, dataset, options.levels, options.weight_bits, options.steps, progress, converted)
    integer = found.integer
    if options.code != "auto" and options.code not in found.spiking:
        raise Unsupported(found.without_rate)
    spiking: dict[Code, Graph] = {c: found.spiking[c] for c in tried(options.code) if c in found.spiking}
    machines = [Machine("neuromorphic", c, partial(chip_file.prices, c)) for c in chips]
    placements, refused, relays = _map(spiking, chips, calibration[:PILOT], options, progress, named)
    integer_decisions = classify(integer, counts, memory=options.memory)
    runs: list[CodeRun] = []
    by_chip: dict[tuple[str, str], CodeRun] = {}
    for code, graph in spiking.items():
        mine = {(name, regime): p for (name, c, regime), p in placements.items() if c == code}
        reference = integer if is_exact(code) else None
        done = progress(f"code {code}", len(counts))
        by_width = _run_saturating(
            partial(run, graph, reference, counts, advance=done, memory=options.memory, relays=relays),
            code,
            mine,
        )
        runs.append(by_width[None])
        by_chip |= {(code, name): done for name, done in by_width.items() if name is not None}
    accuracies = {r.code: _accuracy(r.predictions, dataset.y) for r in runs}
    float_accuracy = _accuracy(decisions, dataset.y)
    integer_accuracy = _accuracy(integer_decisions, dataset.y)
    arms = _spiking_arms(machines, by_chip, dataset.y, accuracies, placements, refused)
    zeros = zero_shares(integer, counts[:ZEROS], {n.name for n in network.nodes})
    for machine in machines:
        pilot = calibration[:PILOT]
        arms += same_silicon.arms(machine, integer, counts[:ZEROS], integer_accuracy, pilot, options.seed)
    dense = [Machine(d.kind, d, partial(conventional.prices, d)) for d in devices]
    matched = workload(network, zeros, options.weight_bits)
    if converted is not None and found.is_given:
        matched = workload(with_zeros(network, integer), zeros, weight_bits(integer))
    arms += _dense_arms(dense, workload(network), matched, float_accuracy, integer_accuracy, options)
    machines = [*machines, *dense]
    for here in measured:
        own = measured_arms(here, float_accuracy)
        arms, machines = [*arms, *own], [*machines, own[0].machine]
    arms = [_at_boundary(arm, options.boundary) for arm in arms]
    rates = (None, DUTY) if options.rate is None else (options.rate,)
    judged = judge(
        arms=tuple(arm for arm in arms if arm.counts is not None),
        machines=machines,
        items=len(counts),
        boundary=options.boundary,
        rates=rates,
        float_accuracy=float_accuracy,
        number=options.draws,
        seed=options.seed,
        done=progress("draws", len(rates)),
    )
    return Comparison(
        network=network,
        dataset=dataset,
        options=options,
        float_accuracy=float_accuracy,
        integer_accuracy=integer_accuracy,
        fold_error=found.fold_error,
        integer=integer,
        runs=tuple(runs),
        accuracies=accuracies,
        arms=tuple(arms),
        machines=tuple(machines),
        placements=placements,
        priced=judged[0].priced,
        verdicts=judged[0].verdicts,
        duty=judged[1].priced if options.rate is None else None,
        duty_verdicts=judged[1].verdicts if options.rate is None else (),
    )


def _map(spiking, chips, pilot, options: Options, progress: Progress, named: bool):
    """Placements by (chip, code, regime), the reasons why others are none, and the populations that relays repeat."""
    placements: dict[tuple[str, str, str], Placement] = {}
    relays: dict[str, str] = {}
    refused: dict[tuple[str, str, str], str] = {}
    wanted = [code for code in spiking if options.code in ("auto", code)]
    done = progress("mapping", len(wanted) * len(chips))
    for code in wanted:
        means = mean_spikes(spiking[code], pilot)
        for chip in chips:
            done(1)
            graph, again = relayed(spiking[code], allowed(chip, "delay"))
            way = capability.realise(chip, code, graph)
            if way.status == "impossible" and not options.allow_violations:
                why = f"{chip.name} cannot run the {code} code: it lacks {way.missing}."
                if named and options.code != "auto":
                    raise BadInput(f"{why} See 'neuro chips {chip.name}', or let --code auto choose.")
                refused |= {(chip.name, code, regime): why for regime in ("single", "stream")}
                continue
            if not way.streams:
                refused[chip.name, code, "stream"] = (
                    f"{chip.name} cannot clear a neuron's state between samples without its host."
                )
            try:
                wiring = of_graph(graph, chip, way)
                spikes = means | {relay: means[source] for relay, source in again.items()}
                found = mapping.search(wiring, chip, way, spikes, options.allow_violations)
            except DoesNotFit as error:
                refused |= {(chip.name, code, regime): str(error) for regime in ("single", "stream")}
                continue
            placements |= {
                (chip.name, code, regime): arranged(placement, spikes, options.seed)
                for regime, placement in found.items()
            }
            relays |= again
    if not placements:
        reasons = sorted({f"  {chip}, {code}: {why}" for (chip, code, _), why in refused.items()})
        raise DoesNotFit("no chip can run this network:\n" + "\n".join(reasons))
    return placements, refused, relays


def _run_saturating(
    run: Callable[..., CodeRun], code: Code, placements: dict[tuple[str, str], Placement]
) -> dict[str | None, CodeRun]:
    """Runs of one code by chip; under None the one whose membranes are the widest.

    Under the rate code a membrane saturates at the chip's state width. The narrowest chip is run first; if no
    membrane got so far, its run holds for the wider ones too.
    """
    widths = {name: 2.0 ** (p.chip.limits.state_bits.value - 1) - 1 for (name, _), p in placements.items()}
    found: dict[str | None, CodeRun] = {}
    while None not in found or widths:
        limit = min(widths.values(), default=float("inf")) if code == "rate" else float("inf")
        done = run(placements={key: p for key, p in placements.items() if key[0] in widths}, limit=limit)
        settled = [name for name, width in widths.items() if width <= limit or done.peak <= limit]
        for name in (None, *settled):
            found[name] = done
        widths = {name: width for name, width in widths.items() if name not in settled}
    return found


def _spiking_arms(machines, runs, labels, accuracies, placements, refused) -> list[Arm]:
    """One arm for each chip, code and regime; `runs` by code and chip."""
    arms = []
    by_name = {m.name: m for m in machines}
    for name, code, regime in sorted({*placements, *refused}):
        shared = {"machine": by_name[name], "network": "spiking", "regime": regime, "precision": "spikes", "code": code}
        if (name, code, regime) in refused:
            why = refused[name, code, regime]
            arms.append(Arm(accuracy=accuracies[code], fits=False, reason=why, **shared))
            continue
        placement, done = placements[name, code, regime], runs[code, name]
        copies = placement.copies if regime == "stream" else 1
        used = {"cores": int(placement.occupied), "copies": copies, "chips": placement.chips}
        accuracy = _accuracy(done.predictions, labels)
        broken = placement.violations
        reason = f"runs only in theory: {'; '.join(broken)}" if broken else None
        counts = done.counts[name, regime]
        arms.append(Arm(accuracy=accuracy, counts=counts, units_used=used, fits=not broken, reason=reason, **shared))
    return arms


def _dense_arms(
    machines, own: Workload, matched: Workload, float_accuracy, integer_accuracy, options: Options
) -> list[Arm]:
    """Float and matched integer network on every device, at batch 1 and at the batch of least energy."""
    arms = []
    forms: tuple[tuple[Literal["float", "integer"], float | None, Workload], ...] = (
        ("float", float_accuracy, own),
        ("integer", integer_accuracy, matched),
    )
    for form, accuracy, work in forms:
        for machine in machines:
            arms += _device_arms(machine, form, accuracy, work, options)
    return arms


def _device_arms(
    machine: Machine, form: Literal["float", "integer"], accuracy: float | None, work: Workload, options: Options
) -> list[Arm]:
    device: Device = machine.description  # type: ignore[assignment]
    shared = {"network": form, "accuracy": accuracy}
    regimes = ("batch1", "best_batch")
    precision, fits = "none", False
    try:
        precision = conventional.precision_for(device, form)
        if why := conventional.fits(device, work, precision, 1):
            raise DoesNotFit(why)
        fits = True
        if options.boundary not in device.power:
            raise DoesNotFit(_unpriced(device, options.boundary))
    except DoesNotFit as error:
        return [Arm(machine, regime=r, precision=precision, fits=fits, reason=str(error), **shared) for r in regimes]
    best = conventional.best_batch(device, work, precision, options.boundary)
    return [
        Arm(
            machine,
            regime=regime,
            precision=precision,
            counts=conventional.counts(device, work, precision, batch),
            units_used=conventional.units(device, work, precision),
            **shared,
        )
        for regime, batch in zip(regimes, (1, best), strict=True)
    ]


def _at_boundary(arm: Arm, boundary: str) -> Arm:
    """`arm`, without counts where its machine has no price at `boundary`."""
    if boundary in arm.machine.description.power or arm.counts is None:
        return arm
    return replace(arm, counts=None, reason=_unpriced(arm.machine.description, boundary))


def _unpriced(machine: Description, boundary: str) -> str:
    return f"no price at the {boundary} boundary; {machine.name} has {', '.join(machine.power)}."


def _accuracy(predictions: np.ndarray, labels: np.ndarray | None) -> float | None:
    return None if labels is None else float((predictions == labels).mean())
