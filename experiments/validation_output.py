"""What a person sees of a validation: tables in the terminal and one figure."""

from math import isnan
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from rich.table import Table
from rich.text import Text

from experiments.figure_text import plain
from experiments.replays.replay import Replay
from experiments.replays.validation import Row, Summary, Validation
from experiments.terminal import screen
from neuro.units import show

LONG = 60
"""Rows of a set from which only the worst ones are printed."""
WORST = 8
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999", "#000000")


def print_validation(validation: Validation, everything: bool) -> None:
    """Prints cases, what was not replayed, and the medians. everything: long sets in full."""
    out = screen()
    for s in validation.sets:
        rows = [row for row in validation.rows if row.replay.measurement.set == s.name and not row.replay.reason]
        if not rows:
            continue
        hidden = 0 if everything or len(rows) <= LONG else len(rows) - WORST
        cut = f": the {WORST} worst of {len(rows)}; --all for all" if hidden else ""
        out.print(Text.assemble("\n", (s.name, "bold"), cut))
        if hidden:
            rows = sorted(rows, key=lambda row: -abs(row.replay.residual))[:WORST]
        out.print(_cases(rows))
        for remark in dict.fromkeys(row.replay.remark for row in rows if row.replay.remark):
            out.print(f"  {remark}", style="dim")
    missing = [row.replay for row in validation.rows if row.replay.reason]
    if missing:
        out.print(Text.assemble("\n", ("Not replayed", "bold"), f" ({len(missing)})"))
        for r in missing:
            out.print(f"  {r.measurement.case}: {r.reason}", style="dim")
    held_out = "; groups that constants were fitted on are held out"
    out.print(Text.assemble("\n", ("Median absolute error", "bold"), held_out))
    out.print(_groups([*validation.sets, *validation.kinds]))


def _cases(rows: list[Row]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in (
        "case",
        "measured",
        "predicted [5 % .. 95 %]",
        "error",
        "naive",
        "naive error",
        "held out, bound by",
    ):
        table.add_column(heading, justify="left" if heading[0] in "ch" else "right", overflow="fold")
    for row in rows:
        r, m = row.replay, row.replay.measurement
        unit = m.unit
        band = f"{_show(r.held_out, unit)} [{_show(row.low, unit)} .. {_show(row.high, unit)}]"
        table.add_row(
            m.case, _show(m.value, unit), band, f"{r.error:+.1%}", _show(r.naive, unit),
            _signed(r.naive / m.value - 1), _held(r), style="" if row.inside else "yellow",
        )  # fmt: skip
    return table


def _groups(groups: list[Summary]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in (
        "group",
        "cases",
        "replayed",
        "machines",
        "error",
        "in sample",
        "naive",
        "inside band",
        "p95/p5",
    ):
        table.add_column(heading, justify="left" if heading == "group" else "right", overflow="fold")
    for s in groups:
        low, high = s.coverage_interval
        numbers = (
            [f"{s.error:.1%}", f"{s.in_sample:.1%}", "" if isnan(s.naive) else f"{s.naive:.0%}",
             f"{s.coverage:.0%} [{low:.0%} .. {high:.0%}]", f"{s.width:.2f}"]
            if s.replayed
            else ["", "", "", "", ""]
        )  # fmt: skip
        table.add_row(s.name, str(s.cases), str(s.replayed), str(s.machines), *numbers)
    return table


def _held(r: Replay) -> str:
    """The group held out, what makes the row no test, and what the run waits for."""
    m = r.measurement
    taken = f"no test: {m.taken} taken from it (fitted, n = 1)" if m.taken else ""
    untested = f"no test: {m.untested}" if m.untested else ""
    return "; ".join(filter(None, (m.fit, taken, untested, r.bound)))


def _signed(error: float) -> str:
    return "" if isnan(error) else f"{error:+.0%}"


def _show(value: float, unit: str) -> str:
    if isnan(value):
        return ""
    return f"{value:,.4g}/s" if unit == "1/s" else show(value, unit)


def figure(validation: Validation, path: Path) -> Path:
    """Draws predicted against measured, logarithmic, with bands, times left and energies right, as PNG to `path`."""
    played = [row for row in validation.rows if not row.replay.reason]
    sets = list(dict.fromkeys(row.replay.measurement.set for row in played))
    panels = [p for p in ("time", "energy") if any(_in(row, p) for row in played)]
    with rc_context({"font.size": 9.0, "axes.spines.top": False, "axes.spines.right": False}):
        drawn = Figure(figsize=(6.4 * max(1, len(panels)), 6.8), layout="constrained")
        for axes, aspect in zip(np.atleast_1d(drawn.subplots(1, max(1, len(panels)))), panels, strict=False):
            ends = []
            for i, name in enumerate(sets):
                rows = [row for row in played if row.replay.measurement.set == name and _in(row, aspect)]
                if not rows:
                    continue
                points = np.array([_point(row) for row in rows])
                x, y, low, high = points.T
                ends += [points.min(), points.max()]
                colour, marker = COLOURS[i % len(COLOURS)], "os^Dv"[i // len(COLOURS) % 5]
                size, line = (3.5, 0.7) if len(rows) < LONG else (1.5, 0.2)
                axes.errorbar(
                    x, y, yerr=np.array([y - low, high - y]), fmt=marker, color=colour, markersize=size,
                    elinewidth=line, alpha=0.8, label=plain(name),
                )  # fmt: skip
            span = [min(ends) / 1.5, max(ends) * 1.5]
            axes.plot(span, span, color="#444444", linewidth=0.8)
            axes.fill_between(span, [s / 2 for s in span], [s * 2 for s in span], color="#000000", alpha=0.05, lw=0)
            axes.set(xscale="log", yscale="log", xlim=span, ylim=span)
            what = "time of a batch or a sample (s)" if aspect == "time" else "energy (J) or power (W)"
            axes.set(xlabel=f"measured: {what}", ylabel="predicted, group held out; shaded: factor 2")
            axes.legend(fontsize=7, frameon=False, loc="upper left")
        drawn.savefig(path, dpi=150)
    return path


def _in(row: Row, aspect: str) -> bool:
    return row.replay.measurement.aspect == aspect


def _point(row: Row) -> tuple[float, float, float, float]:
    """Measured, predicted, low and high; a throughput as the time of a sample."""
    m = row.replay.measurement
    if m.quantity == "throughput":
        return (
            1 / m.value,
            1 / row.replay.held_out,
            min(1 / row.high, 1 / row.replay.held_out),
            max(1 / row.low, 1 / row.replay.held_out),
        )
    held = row.replay.held_out
    return m.value, held, min(row.low, held), max(row.high, held)
