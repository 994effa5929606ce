"""A diagnosis as text."""

from rich.console import Console
from rich.table import Table

from experiments.conversion.diagnosis import ORDER, Diagnosis

WIDTH = 132
"""Columns of a page that is no terminal."""


def show(found: Diagnosis, console: Console | None = None) -> None:
    """Prints the layers with their errors by cause, then the causes with what each costs."""
    console = console or Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = max(console.width, WIDTH)
    score = "accuracy" if found.measure == "accuracy" else f"RMSE {found.unit}".strip()
    causes = [cause for cause in ORDER if any(cause in layer.causes for layer in found.layers)]
    console.print(f"diagnosis on {found.items:,} items: squared error in % of the mean square of each layer's values")
    table = Table(box=None, padding=(0, 1))
    for title in ("layer", "levels", "clipped", *causes, "rest", "total", "if float"):
        table.add_column(title, no_wrap=True, justify="left" if title == "layer" else "right")
    for layer in found.layers:
        table.add_row(
            layer.layer,
            "pool" if layer.levels is None else str(layer.levels or "-"),
            "-" if layer.clipped is None else f"{100 * layer.clipped:.2f}",
            *(_percent(layer.causes.get(cause)) for cause in causes),
            _percent(layer.rest),
            _percent(layer.total),
            _score(found, layer.alone),
        )
    console.print(table)
    console.print(f"clipped: % of values above the largest level; if float: {score} if this layer alone were float")
    whole = ", ".join(f"{key} {_score(found, value)}" for key, value in found.scores.items())
    console.print(f"{score}: {whole}")
    table = Table("cause", f"{score} with it alone", "without it", box=None)
    for cause in found.on:
        table.add_row(cause, _score(found, found.on[cause]), _score(found, found.off[cause]))
    console.print(table)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.3f}"


def _score(found: Diagnosis, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.2f} %" if found.measure == "accuracy" else f"{value:.4g}"
