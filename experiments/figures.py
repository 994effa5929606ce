"""The figures of a report as SVG text whose colours are style-sheet variables, drawn from a record alone."""

import io
import re
from collections.abc import Callable
from math import ceil, cos, floor, hypot, log10, pi, sin
from typing import Any, TypeAlias

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, NullFormatter

from experiments.records.record_rows import ArmRow, Record, Scenario
from neuro.units import show

Point: TypeAlias = tuple[float, float]
Box: TypeAlias = tuple[float, float, float, float]

# Matplotlib needs colours; the finished text has variables in their place, so that a page can be light or dark.
INK, MUTED, GRID, SPIKING, RIVAL = "#010101", "#020202", "#030303", "#040404", "#050505"
VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", SPIKING: "spiking", RIVAL: "rival"}
STYLE = {
    "svg.fonttype": "none", "font.size": 9.0, "font.family": "sans-serif", "text.color": INK, "axes.edgecolor": MUTED,
    "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.spines.top": False,
    "axes.spines.right": False, "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none",
    "legend.frameon": False, "xtick.minor.visible": False, "ytick.minor.visible": False,
}  # fmt: skip

# Families of components, their colours (after Okabe and Ito, distinct to the colour-blind) and how their names begin.
FAMILIES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("power while working", "#999999", ("static",)),
    ("power while waiting", "#cccccc", ("idle",)),
    ("synapses, arithmetic", "#0072b2", (
        "synop", "mac", "tile_mac", "product", "convolution", "winograd", "depthwise", "element", "overlay", "lut",
        "dsp", "pool", "add", "scale", "activation", "norm", "softmax",
    )),
    ("neuron updates", "#e69f00", ("neuron_",)),
    ("spikes and their routes", "#009e73", ("spike", "axon", "hop", "network")),
    ("memory", "#d55e00", ("cache", "memory", "link", "local", "buffer", "external", "weight", "bram")),
    ("host and control", "#cc79a7", ("host", "reset", "management")),
    ("other", "#56b4e9", ("",)),
)  # fmt: skip
LABELS = {"energy": "energy", "latency": "latency", "edp": "energy × delay"}


def plane(record: Record) -> str:
    """Energy against latency, logarithmic, with 5-95 % bands of each machine's best arms and lines of equal product."""

    def draw(figure: Figure) -> None:
        axes, scenario = figure.subplots(), record.chosen
        best, batched = leading(record)
        for arm in distinct(record):
            axes.plot(*_point(scenario, arm), ".", color=_colour(arm), alpha=0.5, markersize=6, markeredgewidth=0)
        for machine, arm in best.items():
            x, y = _point(scenario, arm)
            if other := batched.get(machine):
                u, v = _point(scenario, other)
                axes.plot([x, u], [y, v], ":", color=_colour(arm), linewidth=0.8)
                axes.plot(u, v, _shape(arm), color=_colour(arm), markerfacecolor="none", markersize=6)
            axes.errorbar(
                x, y, xerr=_reach(scenario.latency[arm.name]), yerr=_reach(scenario.energy[arm.name]),
                fmt=_shape(arm), color=_colour(arm), markersize=7, elinewidth=1, alpha=0.9,
            )  # fmt: skip
        axes.set(xscale="log", yscale="log", xlabel="latency of one inference", ylabel="energy per inference")
        _engineering(axes.xaxis, "s")
        _engineering(axes.yaxis, "J")
        figure.subplots_adjust(left=0.1, right=0.98, top=0.98, bottom=0.2)
        taken = _same_product(axes)
        axes.plot([], [], "o", color=SPIKING, label="spiking chip, one at a time")
        axes.plot([], [], "o", color=SPIKING, markerfacecolor="none", label="… many in flight")
        axes.plot([], [], "s", color=RIVAL, label="conventional machine, one at a time")
        axes.plot([], [], "s", color=RIVAL, markerfacecolor="none", label="… many in flight")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, fontsize=8)
        points = [_point(scenario, arm) for arm in [*best.values(), *batched.values()]]
        taken += [bar for arm in best.values() for bar in _bars(axes, scenario, arm)]
        _label(axes, points, [_short(arm) for arm in best.values()], taken)

    return _svg("plane", (10.5, 6.6), draw)


def shares(record: Record) -> str:
    """What the energy of every priced arm is made of, in percent, and its total on a logarithmic axis."""
    scenario = record.chosen
    arms = sorted(distinct(record), key=lambda a: (not a.spiking, scenario.nominal_energy[a.name]), reverse=True)
    height = 0.21 * len(arms) + 1.3

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
        rows = np.arange(len(arms))
        start = np.zeros(len(arms))
        for family, colour, _ in FAMILIES:
            joules = [sum(j for n, j in scenario.components[a.name].items() if family_of(n) == family) for a in arms]
            part = 100 * np.array(joules) / [scenario.nominal_energy[a.name] for a in arms]
            if part.any():
                left.barh(rows, part, left=start, height=0.72, color=colour, label=family)
            start += part
        left.set(xlim=(0, 100), xlabel="share of the energy at nominal constants (%)", ylim=(-0.6, len(arms) - 0.4))
        left.set_yticks(rows, [f"{a.machine} · {a.form} · {a.in_flight}" for a in arms], fontsize=7.5)
        left.tick_params(length=0, axis="y")
        for row, arm in enumerate(arms):
            band = scenario.energy[arm.name]
            right.plot([band.p5, band.p95], [row, row], "-", color=_colour(arm), linewidth=1)
            right.plot(band.p50, row, _shape(arm), color=_colour(arm), markersize=4)
            right.text(
                1.02, row, show(scenario.nominal_energy[arm.name], "J"), fontsize=7.5, va="center",
                transform=right.get_yaxis_transform(),
            )  # fmt: skip
        right.set(xscale="log", xlabel="energy per inference, median and 5–95 %")
        _engineering(right.xaxis, "J")
        right.grid(axis="x", color=GRID, linewidth=0.6)
        right.tick_params(length=0, axis="y")
        top = 1 - 0.62 / height
        figure.subplots_adjust(left=0.3, right=0.925, top=top, bottom=0.52 / height, wspace=0.12)
        figure.legend(*left.get_legend_handles_labels(), loc="upper center", ncols=4, fontsize=8)

    return _svg("shares", (10.5, height), draw)


def tornado(record: Record) -> str:
    """By how much each leading constant, over its range alone, moves the ratio of the two sides."""
    verdicts = [v for v in record.chosen.verdicts if v.drivers]
    rows = sum(len(v.drivers) for v in verdicts)
    spiking = {a.machine for a in record.arms if a.spiking}

    def draw(figure: Figure) -> None:
        heights = [len(v.drivers) for v in verdicts]
        panels = figure.subplots(len(verdicts), 1, squeeze=False, height_ratios=heights, sharex=True)[:, 0]
        widest = max(d.factor for v in verdicts for d in v.drivers)
        for axes, verdict in zip(panels, verdicts, strict=True):
            for row, driver in enumerate(reversed(verdict.drivers)):
                axes.barh(
                    row, driver.factor - 1, left=1, height=0.6, color=SPIKING if driver.machine in spiking else RIVAL
                )
                axes.text(driver.factor, row, f" ×{times(driver.factor)}", va="center", fontsize=8)
            names = [f"{d.machine} · {d.path}" for d in reversed(verdict.drivers)]
            axes.set_yticks(range(len(names)), names, fontsize=8)
            axes.tick_params(length=0, axis="y")
            axes.set_title(LABELS[verdict.quantity], loc="left", fontsize=9)
            axes.set(xscale="log", xlim=(1, max(1.3 * widest, 2.2)), ylim=(-0.6, len(names) - 0.4))
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"×{times(x)}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        panels[-1].set_xlabel("how far the ratio spiking / conventional moves between the ends of the constant's range")

    return _svg("tornado", (10.5, 0.27 * rows + 0.42 * len(verdicts) + 0.5), draw, tight=True) if verdicts else ""


def ratios(record: Record) -> str:
    """How the ratio of the best spiking arm to the best rival is spread over the draws."""
    verdicts = [v for v in record.chosen.verdicts if v.ratio is not None]

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(verdicts), squeeze=False)[0]
        for axes, verdict in zip(panels, verdicts, strict=True):
            assert verdict.best_snn is not None
            assert verdict.best_rival is not None
            spread = np.log10(_draws(record, verdict.quantity, verdict.best_snn))
            spread -= np.log10(_draws(record, verdict.quantity, verdict.best_rival))
            edges = np.linspace(min(spread.min(), -0.1), max(spread.max(), 0.1), 31)
            edges = np.sort(np.append(edges[np.abs(edges) > 1e-9], 0.0))  # no bar may straddle a ratio of one
            number, _ = np.histogram(spread, edges)
            wins = edges[1:] <= 1e-9
            axes.bar(
                edges[:-1], number / np.diff(edges), np.diff(edges), align="edge",
                color=[SPIKING if w else RIVAL for w in wins],
            )  # fmt: skip
            axes.axvline(0, color=INK, linewidth=1)
            axes.set_yticks([])
            axes.spines["left"].set_visible(False)
            axes.set_title(f"{LABELS[verdict.quantity]}: {chance(verdict.p)}", fontsize=9)
            axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: times(10**x)))
            axes.locator_params(axis="x", nbins=4, integer=bool(np.ptp(edges) > 2))
            axes.set_xlabel("spiking / conventional")

    return _svg("ratios", (10.5, 2.5), draw, tight=True) if verdicts else ""


def distinct(record: Record) -> list[ArmRow]:
    """The priced arms, without best batches that turned out to be of one sample: those are there already."""
    return [a for a in record.arms if a.priced and not (a.regime == "best_batch" and a.batch == 1)]


def leading(record: Record) -> tuple[dict[str, ArmRow], dict[str, ArmRow]]:
    """By machine, the arm of least energy × delay with one sample at a time, and the arm of least energy otherwise."""
    scenario = record.chosen
    best: dict[str, ArmRow] = {}
    batched: dict[str, ArmRow] = {}
    for arm in sorted(
        distinct(record),
        key=lambda a: scenario.energy[a.name].p50 * (scenario.latency[a.name].p50 if a.batch == 1 else 1),
    ):
        (best if arm.batch == 1 else batched).setdefault(arm.machine, arm)
    return best, {machine: arm for machine, arm in batched.items() if machine in best}


def family_of(component: str) -> str:
    """The family in `FAMILIES` of a component of energy."""
    return next(family for family, _, starts in FAMILIES if component.startswith(starts))


def chance(p: float) -> str:
    """A probability as an equation: two digits, and never 0 or 1."""
    return "P < 0.01" if p < 0.01 else "P > 0.99" if p > 0.99 else f"P = {p:.2f}"


def times(ratio: float) -> str:
    """A factor with three digits."""
    return f"{ratio:.3g}" if ratio < 1000 else f"{ratio:,.0f}"


def _draws(record: Record, quantity: str, arm: str) -> np.ndarray:
    energy, latency = record.chosen.energy_draws[arm], record.chosen.latency_draws[arm]
    return {"energy": energy, "latency": latency, "edp": energy * latency}[quantity]


def _point(scenario: Scenario, arm: ArmRow) -> Point:
    return scenario.latency[arm.name].p50, scenario.energy[arm.name].p50


def _reach(band) -> list[list[float]]:
    return [[band.p50 - band.p5], [band.p95 - band.p50]]


def _colour(arm: ArmRow) -> str:
    return SPIKING if arm.spiking else RIVAL


def _shape(arm: ArmRow) -> str:
    return "o" if arm.spiking else "s"


def _short(arm: ArmRow) -> str:
    return f"{arm.machine}, {arm.code or arm.precision}"


def _engineering(axis, unit: str) -> None:
    axis.set_major_formatter(EngFormatter(unit))
    axis.set_minor_formatter(NullFormatter())


def _same_product(axes: Axes) -> list[Box]:
    """Lines on which energy times latency is the same, one every few decades, with its value; where the values are."""
    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    room = axes.get_window_extent()
    slope = -(room.height / log10(y1 / y0)) / (room.width / log10(x1 / x0))
    low, high = log10(x0 * y0), log10(x1 * y1)
    every = max(1, ceil((high - low) / 5))
    boxes = []
    for exponent in range(ceil(low / every) * every, floor(high) + 1, every):
        product = 10.0**exponent
        axes.plot([x0, x1], [product / x0, product / x1], color=GRID, linewidth=0.8, zorder=0)
        at = min(x1 / (x1 / x0) ** 0.02, product / y0 / (x1 / x0) ** 0.02)
        if x0 * (x1 / x0) ** 0.15 < at and product / at < y1 / (y1 / y0) ** 0.15:
            axes.text(
                at, product / at, show(product, "J s").replace(" s", "·s"), color=MUTED, fontsize=7, zorder=0,
                va="bottom", ha="right", rotation=np.degrees(np.arctan(slope)), rotation_mode="anchor",
            )  # fmt: skip
            x, y = axes.transData.transform((at, product / at)).tolist()
            boxes.append((x - 45, y, x, y + 25))
    axes.set(xlim=(x0, x1), ylim=(y0, y1))
    return boxes


def _label(axes: Axes, points: list[Point], texts: list[str], taken: list[Box]) -> None:
    """Writes `texts` beside the first of `points`, each where it covers neither a point nor what is `taken`."""
    size, height = 8.0, 11.0
    pixels = axes.transData.transform(points).tolist()
    taken = [*taken, *((x - 5, y - 5, x + 5, y + 5) for x, y in pixels)]
    room = axes.get_window_extent()
    inside = (float(room.x0), float(room.y0), float(room.x1), float(room.y1))
    for text, (x, y) in zip(texts, pixels, strict=False):
        width = 0.56 * size * len(text)
        dx, dy = _free(inside, (x, y), width, height, taken)
        taken.append(_beside((x, y), (dx, dy), width, height))
        axes.annotate(
            text, (x, y), (dx, dy), xycoords="figure pixels", textcoords="offset pixels", fontsize=size, va="center",
            ha="left" if dx > 0 else "right",
            arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.6} if hypot(dx, dy) > 20 else None,
        )  # fmt: skip


def _free(room: Box, point: Point, width: float, height: float, taken: list[Box]) -> Point:
    """The least offset from `point` at which a text covers as little as can be and stays inside `room`."""

    def faults(offset: Point) -> int:
        box = _beside(point, offset, width, height)
        outside = box[0] < room[0] or box[1] < room[1] or box[2] > room[2] or box[3] > room[3]
        return 10 * outside + sum(_overlap(box, other) for other in taken)

    angles = [(k + 0.5) * pi / 8 for k in range(16)]
    return min(((r * cos(a), r * sin(a)) for r in (9, 15, 22, 30, 44, 60, 80) for a in angles), key=faults)


def _beside(point: Point, offset: Point, width: float, height: float) -> Box:
    """Where a text is that begins at an offset to the right of a point, or ends at one to the left."""
    left, middle = point[0] + offset[0] - (width if offset[0] < 0 else 0), point[1] + offset[1]
    return left, middle - height / 2, left + width, middle + height / 2


def _bars(axes: Axes, scenario: Scenario, arm: ArmRow) -> list[Box]:
    """Where the two error bars of `arm` are."""
    (x, y), time, energy = _point(scenario, arm), scenario.latency[arm.name], scenario.energy[arm.name]
    ends = axes.transData.transform([(time.p5, y), (time.p95, y), (x, energy.p5), (x, energy.p95)]).tolist()
    return [(a[0] - 1, a[1] - 1, b[0] + 1, b[1] + 1) for a, b in (ends[:2], ends[2:])]


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _svg(name: str, size: tuple[float, float], draw: Callable[[Figure], None], tight: bool = False) -> str:
    """What `draw` draws, as an ``<svg>`` element whose identifiers begin with `name`."""
    style: dict[Any, Any] = STYLE | {"svg.hashsalt": name}
    with rc_context(style):
        figure = Figure(figsize=size, dpi=72, layout="constrained" if tight else None)
        draw(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = text.replace("url(#", f"url(#{name}-")
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    return text
