"""What a person sees in the terminal: progress bars, the table of arms, the verdict, the constants."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from neuro.chip import Chip
from neuro.constants import Description, leaves
from neuro.units import show

if TYPE_CHECKING:
    from experiments.compare import Comparison

HOST, MODELLED_RUNTIME = "this-machine", "this-cpu-jax"
"""Names of the model of this processor and of the runtime that it stands for."""
LABELS = {"energy": "energy", "latency": "latency", "edp": "energy x delay"}
LEGEND = (
    "An arm is machine/network/code or precision/regime. spiking: the converted network; integer: the same numbers as "
    "the exact codes, on a conventional machine or (graded, mac) on the chip itself; float: as trained.\n"
    "single, batch1: one sample at a time; stream: a pipeline of samples, in as many copies as fit on the chip; "
    "best_batch: the batch of least energy."
)
SCOPES = {
    "mapped": "mapped: networks are cut, placed and routed on it core by core",
    "priced": "priced: totals are held against its limits, published laws price the events; no core is mapped",
}
WORDS = {
    "yes": "Yes: on {quantity} the spiking network wins",
    "no": "No: on {quantity} the spiking network loses",
    "undecided": "Undecided: on {quantity} either may win",
}


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int], Callable[[int], None]]]:
    """A `Progress` that draws bars on standard error, and nothing where that is no terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:<14}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bars:

        def begin(stage: str, parts: int) -> Callable[[int], None]:
            task = bars.add_task(stage, total=parts)
            return lambda done: bars.update(task, advance=done)

        yield begin


def table(comparison: "Comparison", summary: dict[str, Any]) -> None:
    """Prints the comparison: what was compared, the verdict, the proof, the arms; the answer again in one line."""
    console = screen()
    accuracy, scenario = summary["accuracy"], summary["scenario"]
    console.print(
        Text.assemble((summary["network"], "bold"), f" on {summary['items']:,} items of {summary['data']['name']}")
    )
    console.print(f"input: {summary['data']['preprocessing']}; counts 0..{summary['data']['input_levels']}")
    console.print(f"accuracy: float {_percent(accuracy['float'])}, integer {_percent(accuracy['integer'])}")
    _verdict(console, summary)
    console.print(_codes(summary))
    rate = "back to back" if scenario["rate_hz"] is None else f"{scenario['rate_hz']:g} inferences a second"
    console.print(
        f"\nPer inference, {scenario['boundary']} boundary, {rate}; median [5 % .. 95 %] of what is believed:"
    )
    console.print(_arms(summary))
    console.print(LEGEND, style="dim")
    for line in _measured_here(comparison, summary):
        console.print(f"  {line}")
    for reason, names in _reasons(summary, priced=True).items():
        console.print(f"  {', '.join(names)}: {reason}", style="yellow")
    for reason, names in _reasons(summary, priced=False).items():
        console.print(f"  not priced: {', '.join(names)}: {reason}", style="dim")
    console.print(f"\n{_answer(summary)}", style="bold")
    console.print(f"record: {summary['record']}  (neuro report RECORD draws it as HTML)")


def _answer(summary: dict[str, Any]) -> str:
    words = (f"{LABELS[name]} {v['word']} (P = {v['p_snn_wins']:.2f})" for name, v in summary["verdict"].items())
    theory = " In theory only." if _in_theory(summary) else ""
    return f"Does the spiking network win? {'; '.join(words)}.{theory}"


def _in_theory(summary: dict[str, Any]) -> dict[str, str]:
    """Spiking arms that a verdict rests on and that their chip cannot run, with what they lack."""
    every = [summary["verdict"], summary["duty_cycled"]["verdict"] if summary["duty_cycled"] else {}]
    best = {verdict["best_snn"] for verdicts in every for verdict in verdicts.values()}
    return {arm["name"]: arm["reason"] for arm in summary["arms"] if arm["name"] in best and not arm["fits"]}


def _verdict(console: Console, summary: dict[str, Any]) -> None:
    """Prints the answer and what it rests on: rivals, their classes, the duty cycle, where most doubt comes from."""
    console.print(f"\n{_answer(summary)}", style="bold")
    for name, lacks in _in_theory(summary).items():
        console.print(f"{name} {lacks}", style="yellow")
    for name, verdict in summary["verdict"].items():
        console.print(sentence(name, verdict))
    binary = {n: v for n, v in summary["verdict"].items() if v["best_binary_snn"] not in (None, v["best_snn"])}
    if binary:
        graded = ", ".join(sorted({v["best_snn"] for v in binary.values()}))
        listed = "; ".join(f"{v['best_binary_snn']} on {LABELS[name]}" for name, v in binary.items())
        console.print(
            f"{graded}: spikes that carry integers, that is a quantised network driven by events. Best with binary "
            f"spikes: {listed}."
        )
    classes = summary["verdict"]["energy"]["classes"]
    if classes:
        listed = "; ".join(f"{name} P = {c['p_snn_wins']:.2f} against {c['rival']}" for name, c in classes.items())
        console.print(f"On energy by class of rival: {listed}.")
    if summary["duty_cycled"]:
        duty = summary["duty_cycled"]
        energy = duty["verdict"]["energy"]
        console.print(f"At {duty['rate_hz']:g} Hz, idle power included: {sentence('energy', energy)}")
    drivers = summary["verdict"]["energy"]["drivers"]
    if drivers:
        listed = ", ".join(f"{d['machine']} {d['constant']} (moves the ratio {d['factor']:.2g}x)" for d in drivers)
        console.print(f"Most of the doubt on energy: {listed}.")
    console.print(
        "Everything is modelled, not measured. P is the share of joint draws of all constants in which the spiking "
        "arm is below the rival: a belief in this scenario, not a frequency."
    )
    best = summary["verdict"]["latency"]["best_snn"] or summary["verdict"]["energy"]["best_snn"]
    for arm in summary["arms"]:
        if arm["name"] == best:
            console.print(f"The fastest spiking arm, {best}, is {arm['bound']}.")
    console.print()


def sentence(quantity: str, verdict: dict[str, Any]) -> str:
    """The verdict on one quantity in one sentence."""
    label = LABELS[quantity]
    if verdict["ratio"] is None:
        missing = "spiking arm" if verdict["best_snn"] is None else "rival"
        return f"No {missing} is eligible on {label}: none fits, is priced here and is accurate enough."
    ratio = verdict["ratio"]
    return (
        f"{WORDS[verdict['word']].format(quantity=label)} (P = {verdict['p_snn_wins']:.2f}): "
        f"{verdict['best_snn']} takes {_times(ratio['p50'])} [{_times(ratio['p5'])} .. {_times(ratio['p95'])}] "
        f"of what {verdict['best_rival']} takes."
    )


def description(machine: Description) -> None:
    """Prints every constant of a chip or device with value, range, unit, source and basis."""
    console = screen()
    console.print(Text.assemble((machine.name, "bold"), f": {machine.title} ({machine.year}, {machine.process})"))
    console.print(
        f"class {machine.deployment}; model held against silicon: energy {machine.evidence.energy}, "
        f"latency {machine.evidence.latency}"
    )
    if isinstance(machine, Chip):
        console.print(SCOPES[machine.scope])
    rows = Table(box=None, pad_edge=False)
    for heading in ("constant", "value", "low", "high", "unit", "basis", "source", "note"):
        rows.add_column(heading, overflow="fold")
    for path, c in leaves(machine):
        shown = (show(n, c.unit) if c.unit != "1" else f"{n:,.6g}" for n in (c.value, c.low, c.high))
        rows.add_row(path, *shown, c.unit, c.basis, c.source, c.note)
    console.print(rows)
    for key, source in machine.sources.items():
        console.print(f"  [{key}] {source.title}, {source.year}. {source.doi or source.url}")
    for note in getattr(machine, "notes", []):
        console.print(f"  note: {note}")
    if isinstance(machine, Chip):
        for table, included in (("energy", machine.included.energy), ("time", machine.included.time)):
            for event, why in included.items():
                console.print(f"  included: {table}.{event}: {why}")
        for what in machine.cannot:
            console.print(f"  not modelled: {what}")


def descriptions(machines: list[Description]) -> None:
    """Prints one line for each machine; of a chip also its scope and the grades of its evidence."""
    for machine in machines:
        grades, known = machine.evidence, ""
        if isinstance(machine, Chip):
            known = f"{machine.scope}; held against: energy {grades.energy}, latency {grades.latency}; "
        boundaries = ", ".join(machine.power)
        screen().print(f"{machine.name:<18}{machine.title}; {machine.process}; {known}priced at: {boundaries}")


def _codes(summary: dict[str, Any]) -> Table:
    rows = Table(box=None, pad_edge=False)
    for heading in ("code", "steps", "accuracy", "spikes/item", "synops/item", "equal to the integer network"):
        rows.add_column(heading, justify="left" if heading in ("code", "equal to the integer network") else "right")
    for code in summary["codes"]:
        equal = "approximate by design"
        if code["exact"]:
            equal = f"{code['mismatches']:,} mismatches in {code['checked']:,} checked"
        rows.add_row(
            code["code"], str(code["steps"]), _percent(code["accuracy"]), f"{code['spikes_per_item']:,.0f}",
            f"{code['synops_per_item']:,.0f}", equal,
        )  # fmt: skip
    return rows


def _arms(summary: dict[str, Any]) -> Table:
    from experiments.records.record_rows import held_against  # most commands print no arms

    rows = Table(box=None, pad_edge=False)
    for heading in ("arm", "accuracy", "energy", "latency", "in flight", "model held against"):
        rows.add_column(
            heading, justify="right" if heading in ("accuracy", "energy", "latency", "in flight") else "left"
        )
    priced = [
        arm
        for arm in summary["arms"]
        if arm["energy_j"] is not None and not (arm["regime"] == "best_batch" and arm["batch"] == 1)
    ]
    for arm in sorted(priced, key=lambda a: a["energy_j"]["p50"]):
        style = "bold" if arm["network"] == "spiking" else ""
        name = arm["name"] if arm["fits"] else f"{arm['name']} (in theory)"
        rows.add_row(
            name, _percent(arm["accuracy"]), _band(arm["energy_j"], "J"), _band(arm["latency_s"], "s"),
            str(arm["batch"]), " / ".join(held_against(arm["basis"])), style=style,
        )  # fmt: skip
    return rows


def _reasons(summary: dict[str, Any], priced: bool) -> dict[str, list[str]]:
    """By the reason, names of the arms that run in theory only, or of those without a price."""
    found: dict[str, list[str]] = {}
    for arm in summary["arms"]:
        if (arm["energy_j"] is not None) == priced and arm["kind"] != "measured" and not (priced and arm["fits"]):
            found.setdefault(arm["reason"], []).append(arm["name"])
    return found


def _measured_here(comparison: "Comparison", summary: dict[str, Any]) -> list[str]:
    """What was measured on this machine, with the prediction of the model of its processor and the residual."""
    lines = []
    modelled = {arm["regime"]: arm for arm in summary["arms"] if arm["machine"] == HOST and arm["network"] == "float"}
    for arm in summary["arms"]:
        if arm["kind"] != "measured" or arm["regime"] != "batch1":
            continue
        found = next(m.description for m in comparison.machines if m.name == arm["machine"])
        latency, interval = (getattr(found, name).value for name in ("latency", "interval"))
        line = f"measured here: {arm['machine']}, float: {show(latency, 's')} a sample, {1 / interval:,.4g} samples/s"
        if modelled and arm["machine"] == MODELLED_RUNTIME:
            said = modelled["batch1"]["nominal_latency_s"]
            line += f"; model of this processor: {show(said, 's')} a sample ({said / latency - 1:+.0%})"
        energy = arm["reason"].split("; ")[-1] if arm["energy_j"] is None else f"energy {_band(arm['energy_j'], 'J')}"
        lines.append(f"{line}; {energy}")
    return lines


def _band(band: dict[str, float], unit: str) -> str:
    return f"{show(band['p50'], unit)} [{show(band['p5'], unit)} .. {show(band['p95'], unit)}]"


def _percent(share: float | None) -> str:
    return "no labels" if share is None else f"{share:.2%}"


def _times(ratio: float) -> str:
    return f"{ratio:.3g}x" if ratio < 1000 else f"{ratio:,.0f}x"


def screen() -> Console:
    """Standard output; 200 columns wide where that is no terminal. Brackets are printed, never markup."""
    width = None if sys.stdout.isatty() else 200
    return Console(highlight=False, markup=False, width=width, soft_wrap=not sys.stdout.isatty())
