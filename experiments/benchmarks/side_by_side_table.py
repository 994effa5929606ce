"""Conversions side by side: a line for each, and the table of them."""

from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One conversion. steps: of the run, or None; levels: of an exact code; accuracy: a share; drop: in points, with
    its 95 % interval; hidden: spikes per hidden neuron; every: per neuron, input included; differing: values that
    differ from the integer network."""

    network: str
    by: str
    method: str
    steps: int | None
    levels: int | None
    accuracy: float
    drop: float
    low: float
    high: float
    hidden: float
    every: float | None
    differing: int | None


def table(rows: list[Row]) -> Table:
    """One line each."""
    made = Table(
        "network", "by", "method", "steps", "levels", "accuracy", "drop", "interval", "spikes/hidden", "with input",
        "differing", box=None,
    )  # fmt: skip
    for r in rows:
        made.add_row(
            r.network, r.by, r.method, *("" if v is None else str(v) for v in (r.steps, r.levels)),
            f"{100 * r.accuracy:.2f} %", f"{r.drop:+.2f}", f"{r.low:+.2f} to {r.high:+.2f}", f"{r.hidden:.3f}",
            "" if r.every is None else f"{r.every:.3f}", "" if r.differing is None else f"{r.differing:,}",
        )  # fmt: skip
    return made
