"""Accuracy drop against spikes per neuron, network by network: conversions of this project and of SpikingJelly."""

from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from experiments.benchmarks.side_by_side_table import Row

LEAST = 1.0
"""Points up to which the vertical axis is linear."""
THEIRS = {"max": "#999999", "99.9%": "#e69f00", "ltb": "#000000"}
RATES = {
    "max, v0 = 0": "#999999",
    "percentile, v0 = th/2": "#e69f00",
    "ltb, v0 = th/2": "#000000",
    "mse, v0 = th/2": "#56b4e9",
}
OTHER = {"srp": "#f0e442", "cos": "#cc79a7", "burst": "#d55e00", "differential": "#009e73"}
EXACT = {"unary": "s", "bits": "D", "naf": "P", "ttfs": "*", "sd-pow2": "v"}
NAMES = {"ttfs": "ttfs, graded"}
"""One line for both: a spike for every value that is not zero."""
TICKS = (-10, -5, -2, -1, -0.5, 0, 0.5, 1, 2, 5, 10, 20, 50, 100)
BLUE = "#0072b2"


def draw(rows: list[Row], path: Path) -> Path:
    """A panel for each network, a line for each method along its steps or levels; PNG."""
    names = list(dict.fromkeys(r.network for r in rows))
    with rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        columns = min(len(names), 2)
        figure = Figure(figsize=(5.6 * columns, 4.0 * -(-len(names) // columns) + 3 / columns), layout="constrained")
        panels = figure.subplots(-(-len(names) // columns), columns, squeeze=False).ravel()
        for axes, name in zip(panels, names, strict=False):
            _panel(axes, [r for r in rows if r.network == name], name)
        for axes in panels[len(names) :]:
            axes.set_axis_off()
        figure.legend(handles=_key(), loc="outside lower center", ncols=2 * columns, frameon=False, fontsize=8)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
    return path


def _panel(axes: Axes, rows: list[Row], name: str) -> None:
    for (by, method), style in _styles().items():
        mine = [r for r in rows if (r.by, r.method) == (by, method)]
        if mine:
            axes.plot([r.hidden for r in mine], [r.drop for r in mine], **style)
    half = float(np.median([(r.high - r.low) / 2 for r in rows]))
    axes.axhspan(-half, half, color="#eeeeee", zorder=0)
    axes.axhline(0, color="#bbbbbb", linewidth=0.8, zorder=0)
    drops = [r.drop for r in rows]
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=LEAST, linscale=1.0)
    low, high = min(-LEAST, *drops), max(LEAST, *drops)
    ticks = [t for t in TICKS if 1.2 * low <= t <= 1.2 * high]
    axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
    axes.set_yticks([], minor=True)
    axes.set_ylim(1.2 * low, 1.3 * high)
    spikes = [r.hidden for r in rows]
    axes.set_xlim(0.8 * min(spikes), 1.25 * max(spikes))
    wide = [t for t in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if axes.get_xlim()[0] <= t <= axes.get_xlim()[1]]
    axes.set_xticks(wide, [f"{t:g}" for t in wide])
    axes.set_xticks([], minor=True)
    axes.set(title=name, xlabel="spikes per hidden neuron", ylabel="accuracy drop, points")
    axes.grid(alpha=0.2)


def _styles() -> dict[tuple[str, str], dict]:
    """Line and marks of each method: theirs dashed with open circles."""
    thin = {"linewidth": 1.0, "markersize": 4.5}
    found = {
        ("SpikingJelly", m): {"color": c, "linestyle": "--", "marker": "o", "markerfacecolor": "white", **thin}
        for m, c in THEIRS.items()
    }
    found |= {("here", m): {"color": c, "marker": "o", **thin} for m, c in RATES.items()}
    found |= {("here", m): {"color": c, "marker": "^", **thin} for m, c in OTHER.items()}
    found |= {
        ("here", m): {"color": BLUE, "marker": mark, "linewidth": 0.6, "markersize": 8 if mark == "*" else 4.5}
        for m, mark in EXACT.items()
    }
    return found


def _key() -> list[Line2D | Patch]:
    places = np.zeros(1)
    lines = [
        Line2D(places, places, label=f"{NAMES.get(method, method)} ({'exact' if method in EXACT else by})", **style)
        for (by, method), style in _styles().items()
    ]
    return [*lines, Patch(color="#eeeeee", label="95 % interval of a drop (median)")]
