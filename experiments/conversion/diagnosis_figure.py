"""The picture of a diagnosis: what makes up the error of every layer, and what each layer and cause cost."""

from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.conversion.diagnosis import ORDER, Diagnosis
from experiments.figure_text import plain
from neuro.errors import BadInput

COLOURS = {
    "inherited": "#bbbbbb", "clipping": "#d55e00", "levels": "#0072b2", "weights": "#009e73", "unevenness": "#cc79a7",
    "lateness": "#e69f00", "saturation": "#56b4e9",
}  # fmt: skip
"""After Okabe and Ito, distinct to the colour-blind."""


def draw(found: Diagnosis, title: str, path: Path) -> Path:
    """Draws a diagnosis as PNG to `path` and gives it back.

    Left: the error of every layer by its causes, the first layer on top, with a mark at the total. Right: accuracy (or
    error) if that layer alone were float; below it with one cause alone, or without it.

    Raises:
        BadInput: `path` cannot be written.
    """
    rows = len(found.layers)
    with rc_context({"font.size": 8.5, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(11, 2.6 + 0.34 * (rows + len(found.on))), layout="constrained")
        grid = figure.add_gridspec(2, 2, width_ratios=(1.5, 1), height_ratios=(rows + 1, len(found.on) + 1))
        _errors(figure.add_subplot(grid[:, 0]), found)
        _layers(figure.add_subplot(grid[0, 1]), found)
        _causes(figure.add_subplot(grid[1, 1]), found)
        figure.suptitle(plain(title), fontsize=10)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, dpi=150)
        except OSError as error:
            raise BadInput(f"{path}: cannot be written: {error.strerror}; give another place with --out.") from None
    return path


def _errors(axes: Axes, found: Diagnosis) -> None:
    places = np.arange(len(found.layers))
    left = np.zeros(len(places))
    for cause in ORDER:
        width = np.array([100 * layer.causes.get(cause, 0.0) for layer in found.layers])
        if any(cause in layer.causes for layer in found.layers):
            axes.barh(places, width, left=left, height=0.62, color=COLOURS[cause], label=cause)
        left += width
    total = [100 * layer.total for layer in found.layers]
    axes.plot(total, places, "k|", markersize=13, markeredgewidth=1.6, label="total as it is")
    axes.set_yticks(places, [plain(_label(layer.layer, layer.levels)) for layer in found.layers])
    axes.set(ylim=(len(places) - 0.5, -0.5), xlabel="squared error, % of the layer's mean square")
    axes.set_xlim(0, 1.06 * max([*left, *total, 1e-9]))
    axes.legend(frameon=False, fontsize=7.5, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=4)


def _layers(axes: Axes, found: Diagnosis) -> None:
    places = np.arange(len(found.layers))
    values = [_value(found, layer.alone) for layer in found.layers]
    axes.plot(values, places, "o", color="#222222", markersize=5)
    _lines(axes, found)
    axes.set_yticks(places, [plain(layer.layer) for layer in found.layers])
    axes.set(ylim=(len(places) - 0.5, -1.0), title=f"{_measure(found)},\nif this layer alone were float")


def _causes(axes: Axes, found: Diagnosis) -> None:
    places = np.arange(len(found.on))
    for scores, mark, label in ((found.on, "s", "this cause alone"), (found.off, "D", "all but this cause")):
        values = [_value(found, score) for score in scores.values()]
        face = "#222222" if mark == "s" else "none"
        axes.plot(values, places, mark, color="#222222", markerfacecolor=face, markersize=5, label=label)
    _lines(axes, found)
    axes.set_yticks(places, list(found.on))
    axes.set(ylim=(len(places) - 0.5, -0.5), xlabel=_measure(found))
    axes.legend(frameon=False, fontsize=7.5, loc="upper center", bbox_to_anchor=(0.5, -0.35), ncols=2)


def _lines(axes: Axes, found: Diagnosis) -> None:
    """The float network and the converted one, as lines from top to bottom."""
    for key, style in (("float", "--"), ("converted", "-")):
        value = _value(found, found.scores[key])
        if np.isfinite(value):
            axes.axvline(value, color="#777777", linestyle=style, linewidth=1.0, zorder=0)
            axes.annotate(
                key, (value, 1.0), xycoords=("data", "axes fraction"), fontsize=7, color="#555555", rotation=90,
                ha="right" if key == "float" else "left", va="top",
            )  # fmt: skip
    axes.margins(x=0.15)
    axes.ticklabel_format(axis="x", useOffset=False)


def _measure(found: Diagnosis) -> str:
    return "accuracy, %" if found.measure == "accuracy" else f"RMSE {found.unit}".strip()


def _value(found: Diagnosis, score: float | None) -> float:
    return float("nan") if score is None else 100 * score if found.measure == "accuracy" else score


def _label(layer: str, levels: int | None) -> str:
    return f"{layer} (pool)" if levels is None else f"{layer} ({levels} levels)" if levels else layer
