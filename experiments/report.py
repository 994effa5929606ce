"""A record redrawn as one HTML page that needs nothing else: no network, no script, no file of the run."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from experiments import figures
from experiments.contract import clauses
from experiments.figures import chance, distinct, times
from experiments.records.record import read
from experiments.records.record_rows import ArmRow, Band, ConstantRow, Record, Scenario, held_against
from experiments.verdict import Verdict
from neuro.file import check_writable, replacing
from neuro.units import show

WORDS = {
    "yes": "Yes: the spiking network wins",
    "no": "No: the spiking network loses",
    "undecided": "Undecided: either side may win",
}
QUANTITIES = {"energy": "Energy", "latency": "Latency", "edp": "Energy × delay"}
TAKES = {"energy": "the energy", "latency": "the time", "edp": "the energy × delay"}


@dataclass(frozen=True)
class Line:
    """A row of the table of arms. held_against: for energy and for latency, once where they are the same."""

    arm: ArmRow
    energy: str
    latency: str
    at_rate: str
    held_against: tuple[str, ...]


def report(record_path: Path, out: Path) -> Path:
    """Writes the page of the record at `record_path` to `out` and gives `out` back.

    Raises:
        BadInput: no usable record, or a place that cannot be written.
    """
    record = read(record_path)
    check_writable(out)
    text = page(record)
    with replacing(out) as part:
        part.write_text(text, encoding="utf-8")
    return out


def page(record: Record) -> str:
    """The page as HTML text, the same for the same record."""
    environment = Environment(
        loader=PackageLoader("experiments"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "chance": chance,
        "scenario": scenario_words,
        "named": partial(named, record),
    }
    priced = sorted(distinct(record), key=lambda a: record.chosen.energy[a.name].p50)
    return environment.get_template("report.html.j2").render(
        record=record,
        words=WORDS,
        headline=headline(record),
        verdicts=[(QUANTITIES[v.quantity], v, sentence(record, v)) for v in record.chosen.verdicts],
        other=[]
        if record.duty is None
        else [(QUANTITIES[v.quantity], v, sentence(record, v)) for v in record.duty.verdicts],
        equality=equality(record),
        lines=[line(record, arm) for arm in priced],
        refused=[a for a in record.arms if not a.priced],
        late=[a for a in priced if a.name in record.chosen.late],
        plane=figures.plane(record) if priced else "",
        shares=figures.shares(record) if priced else "",
        tornado=figures.tornado(record),
        ratios=figures.ratios(record),
        clauses=clauses(record),
        constants=[(m, [(c, value(c)) for c in record.constants if c.machine == m.name]) for m in record.machines],
    )


def headline(record: Record) -> str:
    """All answers in one line."""
    answers = [
        f"{QUANTITIES[v.quantity].lower()} {v.word if v.ratio else 'not comparable'}" for v in record.chosen.verdicts
    ]
    best = [record.arm(v.best_snn) for v in record.chosen.verdicts if v.best_snn]
    return "; ".join(answers) + (" (in theory only)" if any(arm.theory for arm in best) else "")


def sentence(record: Record, verdict: Verdict) -> str:
    """The verdict on one quantity in plain words."""
    if verdict.ratio is None:
        missing = "spiking arm" if verdict.best_snn is None else "conventional arm"
        return f"No {missing} can be ranked here: none fits, has a price and is accurate enough."
    low, middle, high = (times(r) for r in verdict.ratio)
    theory = record.arm(verdict.best_snn or "").theory
    return (
        f"{named(record, verdict.best_snn)} needs {middle} times {TAKES[verdict.quantity]} of "
        f"{named(record, verdict.best_rival)} (5–95 %: {low} to {high} times). It needs less in {draws(verdict.p)}, "
        f"and at most half in {draws(verdict.p_twice)}." + (f" It {theory}." if theory else "")
    )


def draws(share: float) -> str:
    """A share of the draws in words."""
    return "almost no draw" if share < 0.005 else "almost every draw" if share > 0.995 else f"{share:.0%} of the draws"


def named(record: Record, name: str | None) -> str:
    """The arm called `name` in words: machine, form, regime."""
    arm = record.arm(name or "")
    return f"{arm.machine} ({arm.form}, {arm.in_flight})"


def equality(record: Record) -> list[str]:
    """What was proved about every spike code."""
    said = []
    for code in record.codes:
        if code.checked is None:
            said.append(f"{code.code}: approximate by design, no equality claimed; accuracy {percent(code.accuracy)}.")
            continue
        outcome = "equal" if code.mismatches == 0 else "NOT EQUAL"
        said.append(
            f"{code.code}: {outcome} to the integer network: {code.mismatches:,} mismatches in {code.checked:,} values "
            "checked, every neuron and output of every item."
        )
    return said


def line(record: Record, arm: ArmRow) -> Line:
    """The arm's row of the table."""
    return Line(
        arm=arm,
        energy=band(record.chosen.energy[arm.name], "J"),
        latency=band(record.chosen.latency[arm.name], "s"),
        at_rate=at_rate(record.duty, arm) if record.duty else "",
        held_against=held_against(arm.basis),
    )


def at_rate(scenario: Scenario, arm: ArmRow) -> str:
    """Energy at a rate; a batch would have to wait for its samples."""
    if arm.batch > 1:
        return "–"
    return "too slow" if arm.name in scenario.late else band(scenario.energy[arm.name], "J")


def scenario_words(scenario: Scenario) -> str:
    """Boundary and rate in words."""
    rate = "back to back" if scenario.rate is None else f"{scenario.rate:g} inferences a second"
    return f"{scenario.boundary} boundary, {rate}"


def value(constant: ConstantRow) -> str:
    """Value and range with unit."""

    def text(number: float) -> str:
        return f"{number:,.6g}" if constant.unit == "1" else show(number, constant.unit)

    span = "" if constant.low == constant.high else f" [{text(constant.low)} .. {text(constant.high)}]"
    return text(constant.value) + span


def band(spread: Band, unit: str) -> str:
    """Median, and in brackets 5 and 95 %."""
    return f"{show(spread.p50, unit)} [{show(spread.p5, unit)} .. {show(spread.p95, unit)}]"


def percent(share: float | None) -> str:
    """A share in percent; accuracies are unknown without labels."""
    return "no labels" if share is None else f"{share:.1%}"
