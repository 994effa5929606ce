"""Time against spike density, logarithmic, with the event bound and the plain products drawn in."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.benchmarks.peers.results import Measured
from experiments.benchmarks.peers.roster import Kind

OURS, PEER, BOUND = "#d55e00", "#0072b2", "#000000"
MARKS = "osv^<>DPX*"


def draw(measured: list[Measured], path: Path) -> bool:
    """A panel for each workload that was run at several densities, to `path` in the format of its ending.

    False, and no file, where there is none.
    """
    panels: dict[str, list[Measured]] = {}
    for m in measured:
        if m.case.density.replace(".", "").isdigit():
            panels.setdefault(m.case.workload, []).append(m)
    if not panels:
        return False
    figure = Figure(figsize=(6.4 * len(panels), 4.8), layout="constrained")
    for axes, (workload, points) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        panel(axes, workload, sorted(points, key=lambda m: float(m.case.density)))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return True


def panel(axes: Axes, workload: str, points: list[Measured]) -> None:
    """One workload: ours thick, peers thin, plain products dashed, the bound dotted."""
    styles: dict[Kind, dict] = {
        "ours": {"color": OURS, "linewidth": 2.2},
        "peer": {"color": PEER, "linewidth": 0.9, "alpha": 0.7},
        "floor": {"color": BOUND, "linestyle": "--"},
    }
    for kind, style in styles.items():
        names = list(dict.fromkeys(name for m in points for name in m.of(kind)))
        for name, mark in zip(names, MARKS * (1 + len(names) // len(MARKS)), strict=False):
            line(
                axes, {float(m.case.density): m.of(kind)[name] for m in points if name in m.of(kind)}, name, mark, style
            )
    for name in dict.fromkeys(name for m in points for name in m.bounds):
        bound = {float(m.case.density): m.bounds[name] for m in points if name in m.bounds}
        line(axes, bound, f"event bound, {name}", "", {"color": BOUND, "linestyle": ":"})
    axes.set(xscale="log", yscale="log", xlabel="spikes per neuron and step", ylabel="ms", title=workload)
    axes.grid(which="both", alpha=0.2)
    axes.legend(fontsize="x-small")


def line(axes: Axes, seconds: dict[float, float], label: str, mark: str, style: dict) -> None:
    """`seconds` by density."""
    axes.plot(list(seconds), [1e3 * s for s in seconds.values()], marker=mark, markersize=4, label=label, **style)
