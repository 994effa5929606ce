"""How a GPU cuts matrix products into tiles: what its busiest multiprocessor does in turn, and what the tiles read.

The kernel library is taken to choose, for every product, the tile shape and the split of the depth that finish first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from baselines.workload import LayerWork

# Rows × columns of the tile that one block of threads computes, as kernel libraries offer them.
TILES = ((256, 128), (128, 256), (128, 128), (256, 64), (64, 256), (128, 64), (64, 128), (64, 64), (64, 32), (32, 64),
         (32, 32))  # fmt: skip
# The depth of a product is walked in steps of STEP and can be split between blocks of threads.
STEP = 32
SPLITS = (1, 2, 3, 4, 6, 8, 12, 16)
PRODUCTS = ("conv", "dense", "matmul")
PARTIAL = 8.0
"""Bytes to write and read a partial sum of a split depth."""


@dataclass(frozen=True)
class Multiprocessors:
    """What a tile meets.

    number: of multiprocessors. rate: multiply-accumulates per second of one. feed: fetching the operands of a row or
    a column costs the time of so many multiply-accumulates. step: waiting in each depth step, s. fill: the time
    before the first step and after the last, s. exposed: share of both that the wave before does not hide.
    bandwidth: of the cache, bytes per second.
    """

    number: float
    rate: float
    feed: float
    step: float
    fill: float
    exposed: float
    bandwidth: float


@dataclass(frozen=True)
class Tiled:
    """Per layer: multiply-accumulates in turn, depth steps in turn, fills, bytes moved between cache and tiles."""

    macs: Float[np.ndarray, "layer"]
    steps: Float[np.ndarray, "layer"]
    fills: Float[np.ndarray, "layer"]
    bytes: Float[np.ndarray, "layer"]


def tiled(
    layers: Sequence[LayerWork], batch: int, width: float, machine: Multiprocessors, sparse: float = 1.0
) -> Tiled:
    """The matrix products of `layers` for `batch` samples of values of `width` bytes; zeros for other kernels.

    In one wave every multiprocessor computes one tile, (rows columns + feed (rows + columns)) depth
    multiply-accumulates; what it waits for is hidden in part by the next wave. Of all shapes and splits the one with
    the least max(multiply-accumulates + waiting, bytes / bandwidth) is taken. sparse: speed-up by 2:4 zeros.
    """
    axes = np.array([_axes(layer, batch, sparse) for layer in layers], np.float64).reshape(-1, 6)
    m, n, k, groups, steps, speed = (axis[:, None, None] for axis in axes.T)
    rows, columns = (np.array(side, np.float64)[:, None] for side in zip(*TILES, strict=True))
    splits = np.array(SPLITS, np.float64)
    tiles = np.ceil(m / rows) * np.ceil(n / columns) * groups
    waves = np.ceil(tiles * splits / machine.number)
    deep = np.ceil(k / (splits * STEP))
    depth = STEP * deep
    macs = waves * (rows * columns / speed + machine.feed * (rows + columns)) * depth
    read = tiles * splits * (np.minimum(rows, m) + np.minimum(columns, n)) * depth * width
    moved = read + m * n * groups * np.where(splits > 1, PARTIAL * splits, width)
    starts = np.minimum(waves, 1.0) + machine.exposed * np.maximum(waves - 1, 0.0)
    walked = starts * deep
    arithmetic = macs / machine.rate + walked * machine.step + starts * machine.fill
    time = np.maximum(arithmetic, moved / machine.bandwidth).reshape(len(axes), -1)
    best = time.argmin(axis=1)

    def chosen(values: Float[np.ndarray, "layer tile split"]) -> Float[np.ndarray, "layer"]:
        full = np.broadcast_to(values, (len(axes), len(TILES), len(SPLITS))).reshape(len(axes), -1)
        return steps[:, 0, 0] * full[np.arange(len(axes)), best]

    return Tiled(chosen(macs), chosen(walked), chosen(starts), chosen(moved))


def _axes(layer: LayerWork, batch: int, sparse: float) -> tuple[float, ...]:
    """m, n, k, groups, steps and the speed-up by zeros of a product; no rows for other kernels."""
    product = layer.operator in PRODUCTS
    speed = sparse if layer.pattern == "2:4" else 1.0
    # Products of activations are one for every sample; weights serve the whole batch.
    rows, groups = (layer.m, layer.groups * batch) if layer.operator == "matmul" else (layer.m * batch, layer.groups)
    return float(rows * product), float(layer.n), float(layer.k), float(groups), float(layer.steps), speed
