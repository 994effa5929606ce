"""A placed network drawn on its chip: cores coloured by how long they work, links by what travels over them."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import rc_context
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from experiments.figure_text import plain
from experiments.maps.chip_map import ChipMap, busy
from neuro.topology import Topology, position, stop
from neuro.topology import links as network_links
from neuro.units import show

GAP = 0.62
"""Side of a router's tile, of one unit between routers."""
RING, WIDEST = 0.34, 0.2
"""On a star: distance of its cores from the switch, and the largest side of one."""
LAYER_COLOURS = "tab20"
CORES, LINKS = "viridis", "magma_r"


def draw(found: ChipMap, title: str, path: Path) -> Path:
    """Draws `found` as PNG to `path` and gives it back: one tile per router with its cores.

    A core is as bright as it is busy beside the busiest, a link as dark as it is busy. Of a chip that is only priced
    the tile of the first core stands for all.
    """
    p, topology = found.placement, found.placement.topology
    width, height = topology.chip_columns * topology.columns, topology.chip_rows * topology.rows
    scale = min(3.0 if topology.kind == "star" else 1.15, 16 / max(width, height, 1))
    with rc_context({"font.size": 8.0}):
        figure = Figure(figsize=(max(6.0, width * scale + 2.6), max(3.6, height * scale + 1.4)), layout="constrained")
        axes = figure.subplots()
        _links(axes, figure, found)
        seconds = busy(found)
        most = float(seconds.max())
        shade, tint = matplotlib.colormaps[CORES], matplotlib.colormaps[LAYER_COLOURS]
        centres, side = sites(topology)
        faces, edges = np.full((topology.sites, 4), 0.95), np.zeros((topology.sites, 4))
        faces[p.site] = shade(seconds / most if most else seconds)
        edges[p.site] = (0.27, 0.27, 0.27, 1.0)  # the clock's core belongs to no layer
        for i, name in reversed(list(enumerate(p.core))):  # a core of several layers has the colour of the first
            edges[p.site[p.cores_of(name)]] = tint(i % 20)
        tiles = [Rectangle((x - side / 2, y - side / 2), side, side) for x, y in centres]
        axes.add_collection(
            PatchCollection(tiles, facecolors=faces.tolist(), edgecolors=edges.tolist(), linewidths=1.6, zorder=3)
        )
        _chips(axes, topology)
        for i, name in enumerate(p.core):
            number = len(p.cores_of(name))
            label = f"{name}: {number} core{'s' if number > 1 else ''}" if p.chip.scope == "mapped" else name
            frame = {"markerfacecolor": "none", "markeredgecolor": tint(i % 20), "markersize": 7}
            axes.plot([], [], "s", **frame, label=plain(label))
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=7)
        axes.set(xlim=(-0.7, width - 0.3), ylim=(height - 0.3, -0.7), aspect="equal", xticks=[], yticks=[])
        axes.set_title(plain(title))
        for spine in axes.spines.values():
            spine.set_visible(False)
        figure.colorbar(
            ScalarMappable(Normalize(0, 1), CORES),
            ax=axes,
            shrink=0.6,
            location="left",
            label=f"work of the core, of {show(most, 's')} an inference",
        )
        figure.savefig(path, dpi=150, bbox_inches="tight")
    return path


def sites(topology: Topology) -> tuple[np.ndarray, float]:
    """Where every core is drawn [site, 2], and the side of its square: in the tile of its router, or around the switch
    of a star."""
    every = np.arange(topology.sites)
    middle = np.stack(position(topology, stop(topology, every)), axis=1).astype(float)
    if topology.kind == "star":
        angle = 2 * np.pi * (every % topology.cores_per_chip) / topology.cores_per_chip
        ring = RING * np.stack([np.sin(angle), -np.cos(angle)], axis=1) * (topology.cores_per_chip > 1)
        return middle + ring, min(WIDEST, 1.3 * RING * np.sin(np.pi / max(topology.cores_per_chip, 2)))
    per = topology.cores_per_stop
    grid = int(np.ceil(np.sqrt(per)))
    within = every % topology.cores_per_chip % per
    step = GAP / grid
    shift = np.stack([within % grid, within // grid], axis=1) * step + step / 2 - GAP / 2
    return middle + shift, 0.94 * step


def _links(axes, figure: Figure, found: ChipMap) -> None:
    """Every link, one lane for each direction, coloured and widened by its packets."""
    topology = found.placement.topology
    if topology.kind == "tree":
        return
    known = network_links(topology)
    start, end = _nodes(topology, known.source), _nodes(topology, known.target)
    near = np.hypot(*(end - start).T) < 1.01  # a torus' links around the edge are not drawn
    packets, start, end = found.links[near], start[near], end[near]
    if not len(packets) or packets.max() <= 0:
        return
    along = end - start
    star = topology.kind == "star"
    lane = (0.03 if star else 0.07) * np.stack([-along[:, 1], along[:, 0]], axis=1)  # to the right of the way it goes
    inset = 0.0 if star else GAP / 2
    ends = np.stack([start + along * inset + lane, end - along * inset + lane], axis=1)
    used = packets > 0
    axes.add_collection(LineCollection(list(ends[~used]), colors="#e4e4e4", linewidths=0.8, zorder=1))
    most = float(packets.max())
    least = max(most / 1e3, float(packets[used].min())) / 1.01
    norm = LogNorm(least, most)
    shades = matplotlib.colormaps[LINKS](norm(np.maximum(packets[used], least)))
    axes.add_collection(
        LineCollection(list(ends[used]), colors=shades, linewidths=1 + 3 * packets[used] / most, zorder=2)
    )
    bar = figure.colorbar(
        ScalarMappable(norm, LINKS), ax=axes, shrink=0.6, aspect=40, location="bottom",
        label="packets over the link, an inference",
    )  # fmt: skip
    marks = np.geomspace(least, most, 5)
    bar.set_ticks(marks.tolist(), labels=[f"{mark:,.0f}" if mark >= 100 else f"{mark:.3g}" for mark in marks])
    bar.minorticks_off()


def _nodes(topology: Topology, node: np.ndarray) -> np.ndarray:
    """Where every end of a link is drawn [node, 2]: routers on their grid, a star's cores around its switch."""
    if topology.kind != "star":
        return np.stack(position(topology, node), axis=1).astype(float)
    chip, within = np.divmod(node, sum(topology.levels))
    core = within < topology.stops
    at, _ = sites(topology)
    middle = np.stack(position(topology, chip * topology.stops), axis=1).astype(float)
    return np.where(core[:, None], at[chip * topology.stops + np.where(core, within, 0)], middle)


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
