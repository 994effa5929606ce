"""A placed network drawn on its chip: cores coloured by how full they are, links by what travels over them."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import rc_context
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from experiments.chip_map import ChipMap, fullness
from neuro.topology import Topology, position, stop
from neuro.topology import links as network_links

GAP = 0.62
"""Half the side of a router's tile, of one unit between routers."""
LAYER_COLOURS = "tab20"
FULL, BUSY = "viridis", "magma_r"


def draw(found: ChipMap, title: str, path: Path) -> Path:
    """Draws `found` as PNG to `path`: one tile per router with its cores; a link is as dark as it is busy."""
    p, topology = found.placement, found.placement.topology
    width, height = topology.chip_columns * topology.columns, topology.chip_rows * topology.rows
    scale = min(1.15, 16 / max(width, height, 1))
    with rc_context({"font.size": 8.0}):
        figure = Figure(figsize=(max(6.0, width * scale + 2.6), max(3.6, height * scale + 1.4)), layout="constrained")
        axes = figure.subplots()
        shade = matplotlib.colormaps[FULL]
        _links(axes, figure, found)
        per = topology.cores_per_stop
        grid = int(np.ceil(np.sqrt(per)))
        share = fullness(found)
        layers = list(p.core)
        on_site = {int(site): core for core, site in enumerate(p.site)}
        tint = matplotlib.colormaps[LAYER_COLOURS]
        for site in range(topology.sites):
            column, row = (float(v[0]) for v in position(topology, stop(topology, np.array([site]))))
            k = site % topology.cores_per_chip % per
            side = GAP / grid
            x, y = column - GAP / 2 + k % grid * side, row - GAP / 2 + k // grid * side
            core = on_site.get(site)
            face = "#f2f2f2" if core is None else shade(min(float(share[core]), 1.0))
            axes.add_patch(Rectangle((x, y), 0.94 * side, 0.94 * side, facecolor=face, edgecolor="none", zorder=3))
            if core is not None:
                held = [i for i, name in enumerate(layers) if core in p.cores_of(name)]
                edge = tint(held[0] % 20) if held else "#444444"
                axes.add_patch(
                    Rectangle((x, y), 0.94 * side, 0.94 * side, fill=False, edgecolor=edge, linewidth=1.6, zorder=4)
                )
        _chips(axes, topology)
        for i, name in enumerate(layers):
            label = f"{name}: {len(p.cores_of(name))} core{'s' if len(p.cores_of(name)) > 1 else ''}"
            axes.plot([], [], "s", markerfacecolor="none", markeredgecolor=tint(i % 20), markersize=7, label=label)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=7)
        axes.set(xlim=(-0.7, width - 0.3), ylim=(height - 0.3, -0.7), aspect="equal", xticks=[], yticks=[], title=title)
        for spine in axes.spines.values():
            spine.set_visible(False)
        figure.colorbar(
            ScalarMappable(Normalize(0, 1), FULL),
            ax=axes,
            shrink=0.6,
            location="left",
            label="share of the core's tightest limit",
        )
        figure.savefig(path, dpi=150)
    return path


def _links(axes, figure: Figure, found: ChipMap) -> None:
    """Every link between routers, one lane for each direction, coloured and widened by its packets."""
    topology = found.placement.topology
    if topology.kind not in ("mesh", "torus"):
        return
    known = network_links(topology)
    (x0, y0), (x1, y1) = position(topology, known.source), position(topology, known.target)
    near = np.abs(x1 - x0) + np.abs(y1 - y0) == 1  # a torus' links around the edge are not drawn
    packets = found.links[near]
    if not len(packets) or packets.max() <= 0:
        return
    start, end = np.stack([x0, y0], 1)[near].astype(float), np.stack([x1, y1], 1)[near].astype(float)
    along = end - start
    lane = 0.07 * np.stack([-along[:, 1], along[:, 0]], axis=1)  # to the right of the way it goes
    ends = np.stack([start + along * GAP / 2 + lane, end - along * GAP / 2 + lane], axis=1)
    used = packets > 0
    axes.add_collection(LineCollection(list(ends[~used]), colors="#e4e4e4", linewidths=0.8, zorder=1))
    most = float(packets.max())
    least = max(most / 1e3, float(packets[used].min())) / 1.01
    norm = LogNorm(least, most)
    shades = matplotlib.colormaps[BUSY](norm(np.maximum(packets[used], least)))
    axes.add_collection(
        LineCollection(list(ends[used]), colors=shades, linewidths=1 + 3 * packets[used] / most, zorder=2)
    )
    figure.colorbar(
        ScalarMappable(norm, BUSY), ax=axes, shrink=0.6, location="bottom", label="packets over the link, an inference"
    )


def _chips(axes, topology: Topology) -> None:
    """A frame around each chip."""
    for chip in range(topology.chips):
        x = chip % topology.chip_columns * topology.columns - 0.5
        y = chip // topology.chip_columns * topology.rows - 0.5
        axes.add_patch(
            FancyBboxPatch(
                (x + 0.04, y + 0.04), topology.columns - 0.08, topology.rows - 0.08, fill=False, edgecolor="#888888",
                linewidth=0.8, boxstyle="round,pad=0,rounding_size=0.12", zorder=0,
            )
        )  # fmt: skip
