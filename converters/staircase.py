"""A function of one value as the staircase of an integer neuron: which levels it gives, and at which membranes.

A neuron's level n stands for low + n unit. The level of a value x is the one nearest to f(x): it changes at the points
where f crosses low + (n - 1/2) unit. In units of the membrane, x = shift + scale V.
"""

from dataclasses import dataclass
from math import inf

import numpy as np
from jaxtyping import Bool, Float, Int

from converters.calibrate import SMALLEST, least_squares_clip
from neuro.activations import FAR, Function
from neuro.layers import Activation, MultiThreshold, Relu, Threshold

LINEAR = Function("clip", (0.0, inf))
TOLERANCE = 1e-6
"""A membrane this close to a step counts as on it: weights come in float32, rounded."""


@dataclass(frozen=True, eq=False)
class Grid:
    """What the levels of a population stand for: low + n unit, n = 0..levels. low, unit [channel], float64."""

    low: np.ndarray
    unit: np.ndarray
    levels: int


def function_of(op: Relu | Activation) -> Function:
    """The function of a layer."""
    return LINEAR if isinstance(op, Relu) else op.function


def grid(function: Function, activation: Float[np.ndarray, "item channel ..."], levels: int, keep: bool) -> Grid:
    """Levels of least squared error for the values of a layer on calibration items.

    A function with steps of its own keeps them where `keep` is set. A channel without any spread takes the layer's.
    """
    channels = activation.shape[1]
    if keep and function.steps is not None:
        unit = (function.high - function.low) / function.steps
        return Grid(np.full(channels, function.low), np.full(channels, unit), function.steps)
    axes = (0, *range(2, activation.ndim))
    low = np.zeros(channels)
    if function.low < 0 or function.low > 0:
        lowest = np.asarray(activation.min(axis=axes)).astype(np.float64)
        low = np.maximum(lowest, function.low)  # above zero where a channel is always on
    shaped = low.reshape(-1, *(1,) * (activation.ndim - 2)).astype(np.float32)[None]
    clip = least_squares_clip(activation - shaped, levels)
    highest = function.high - low
    return Grid(low, np.maximum(np.minimum(clip, highest), SMALLEST) / levels, levels)


def neurons(
    function: Function,
    grid: Grid,
    scale: Float[np.ndarray, "channel"],
    shift: Float[np.ndarray, "channel ..."],
    reach: int,
) -> Threshold | MultiThreshold:
    """The neurons whose membrane V stands for shift + scale V, as close to the nearest level of f as integers allow.

    A function that is straight within its levels becomes a `Threshold`, th = round(unit / scale) and the bias in units
    of it; one step alone is placed exactly; all other functions get every threshold by itself. reach: the largest
    magnitude that a membrane can get to before the bias: steps beyond it are moved to where they are just not reached.
    """
    ndim = shift.ndim
    if grid.levels == 1 and function.turn is None:
        rising = _crossings(function, grid, True)
        first = _placed(rising, _open(function, grid, rising), scale, shift, reach)[0]
        return Threshold(np.ones((1,) * ndim, np.int64), compact(1 - first), 1)
    if is_straight(function, grid):
        return straight(grid, scale, shift)
    steps, signs, start = _branches(function, grid)
    bias = np.zeros((1,) * ndim, np.int64)
    if (flat := shift.reshape(len(shift), -1)).shape[1] > 1 and np.ptp(flat, axis=1).any():
        bias = np.rint(shift / along(scale, ndim)).astype(np.int64)
        shift, reach = np.zeros(len(shift)), reach + int(np.abs(bias).max())
    thresholds = _placed(steps, _open(function, grid, steps), scale, shift.reshape(len(shift), -1)[:, 0], reach)
    used = np.asarray((thresholds <= reach).any(axis=1))
    used[:1] = True  # a layer that never leaves its level keeps one threshold, out of reach
    return MultiThreshold(
        thresholds=thresholds[used].reshape(-1, len(shift), *(1,) * (ndim - 1)),
        signs=signs[used],
        start=along(start, ndim),
        bias=bias,
        levels=grid.levels,
    )


def is_straight(function: Function, grid: Grid) -> bool:
    """Whether the function is a straight line within the levels, to be divided into equal steps.

    A quantiser is one if it is given other levels than its own.
    """
    if grid.levels == 1 or function.name not in ("clip", "quantise"):
        return False
    return function.steps is None or not np.allclose(grid.unit * function.steps, function.high - function.low)


def straight(grid: Grid, scale: Float[np.ndarray, "channel"], shift: Float[np.ndarray, "channel ..."]) -> Threshold:
    """Neurons with equal steps: th = max(1, round(unit / scale)), the bias (shift - low) / unit in units of th."""
    ndim = shift.ndim
    threshold = np.maximum(1, np.rint(grid.unit / scale)).astype(np.int64)
    above = shift - along(grid.low, ndim)
    bias = np.rint(above / along(grid.unit, ndim) * along(threshold, ndim)).astype(np.int64)
    return Threshold(along(threshold, ndim), compact(bias), grid.levels)


def along(channel: np.ndarray, ndim: int) -> np.ndarray:
    """Values per channel, shaped to broadcast against a sample of `ndim` axes."""
    return channel.reshape(-1, *(1,) * (ndim - 1))


def compact(bias: np.ndarray) -> np.ndarray:
    """One value per channel where it does not vary over the map."""
    flat = bias.reshape(bias.shape[0], -1)
    return along(flat[:, 0], bias.ndim) if (flat == flat[:, :1]).all() else bias


def _branches(
    function: Function, grid: Grid
) -> tuple[Float[np.ndarray, "step channel"], Int[np.ndarray, "step"], Int[np.ndarray, "channel"]]:
    """Where the level changes, in which direction, and the level at the far left."""
    rising, ones = _crossings(function, grid, True), np.ones(grid.levels, np.int64)
    if function.turn is None:
        return rising, ones, np.zeros(len(grid.unit), np.int64)
    level = np.arange(1, grid.levels + 1)[:, None]
    start, bottom = (
        np.clip(np.floor((y - grid.low) / grid.unit + 0.5), 0, grid.levels)
        for y in (float(function.exact(-FAR)), function.low)
    )
    falling = np.where((level > bottom) & (level <= start), _crossings(function, grid, False), inf)
    rising = np.where(level > bottom, rising, inf)  # below the minimum there is nothing
    return np.concatenate([rising, falling]), np.concatenate([ones, -ones]), start.astype(np.int64)


def _open(function: Function, grid: Grid, steps: np.ndarray) -> Bool[np.ndarray, "step channel"]:
    """Where a function that jumps has the lower value still on the jump itself."""
    if function.steps is None:
        return np.zeros(steps.shape, bool)
    wanted = grid.low + (np.arange(1, len(steps) + 1)[:, None] - 0.5) * grid.unit
    return np.isfinite(steps) & (function.exact(np.where(np.isfinite(steps), steps, 0.0)) < wanted)


def _crossings(function: Function, grid: Grid, rising: bool) -> Float[np.ndarray, "level channel"]:
    """Where a branch of the function crosses half a unit below every level."""
    wanted = grid.low + (np.arange(1, grid.levels + 1)[:, None] - 0.5) * grid.unit
    return function.crossings(wanted, rising)


def _placed(
    x: Float[np.ndarray, "step channel"],
    open_: Bool[np.ndarray, "step channel"],
    scale: np.ndarray,
    shift: Float[np.ndarray, "channel ..."],
    reach: int,
) -> Int[np.ndarray, "step channel ..."]:
    """The smallest whole membranes with shift + scale V >= x, moved to just beyond `reach` where they lie further.

    open_: where x itself does not belong to the step yet.
    """
    after = (1,) * (shift.ndim - 1)
    membrane = (x.reshape(*x.shape, *after) - shift) / along(scale, shift.ndim)
    membrane = np.clip(membrane, -reach - 1.0, reach + 1.0)
    whole = np.rint(membrane)
    on = np.abs(membrane - whole) < TOLERANCE
    first = np.where(on, whole + open_.reshape(*x.shape, *after), np.ceil(membrane))
    return np.clip(first, -reach, reach + 1).astype(np.int64)
