"""Levels of a layer chosen by what its neurons really give: membranes of the integer network, not float values."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from converters.calibrate import SMALLEST
from converters.staircase import Grid
from neuro.activations import Function

HIGHS = np.linspace(0.1, 1.0, 37)
"""Fractions of the largest value above the lowest level that are tried as highest level."""
LOWS = np.linspace(0.0, 0.8, 17)
"""Fractions of the way up to the middle that are tried as lowest level of a function that goes below zero."""
SHARE = 0.1
"""Keeps items that are nearly silent from ruling a layer, as a share of the mean energy."""
VALUES = 2**13
"""Values of a channel that are looked at, evenly from all items."""
END = 0.999
"""Share of the values between whose lower and upper end a drift is looked for."""
FEW = 100
"""Items up to which a drift counts; of more, the range is known. A single one shows none."""
ROUNDS = 3
"""Turns of levels and bias."""


def fitted(
    function: Function,
    arriving: Float[np.ndarray, "item channel ..."],
    wanted: Float[np.ndarray, "item channel ..."],
    grid: Grid,
) -> tuple[Grid, Float[np.ndarray, "channel"]]:
    """The levels and the amount to add to what arrives, for which the levels come closest to the wanted values.

    arriving: before the function, as the integer weights give it; wanted: behind the function, of the float network.
    The amount makes the means equal. Levels and amount are chosen in turn, from `grid` and zero on.
    """
    z, a = _values(arriving), _values(wanted)
    each = np.repeat(_weights(wanted), len(a) // len(wanted))[:, None]
    levels, low, high = grid.levels, grid.low, grid.low + grid.levels * grid.unit
    peak = high
    signed = function.low < 0
    lowest = low
    added = (a - function.exact(z)).mean(axis=0)
    search = partial(_search, function, levels, *(jnp.asarray(v, jnp.float32) for v in (z, a, each)))
    for _ in range(ROUNDS):
        highs = low + np.outer(HIGHS, peak - low)
        lows = lowest + np.outer(LOWS, (low + high) / 2 - lowest) if signed else low[None]
        best_high, best_low, mean = search(*(jnp.asarray(v, jnp.float32) for v in (low, high, lows, highs, added)))
        channel = np.arange(len(low))
        high = highs[np.asarray(best_high), channel]
        low = lows[np.asarray(best_low), channel]
        added = added + np.asarray(mean)
    drift = _drift(a) if 1 < len(wanted) <= FEW else np.zeros((2, len(low)))
    high = np.minimum(high + drift[1], function.high)
    low = np.maximum(low - drift[0], function.low) if signed else low
    return Grid(low, np.maximum(high - low, SMALLEST) / levels, levels), added


def _drift(a: Float[np.ndarray, "value channel"]) -> Float[np.ndarray, "2 channel"]:
    """How far the lower and the upper end of the values move from the first half of the items to the second: as far as
    they may move again on items that nobody has seen."""
    ends = [np.quantile(half, (1 - END, END), axis=0) for half in np.array_split(a, 2)]
    return np.abs(ends[0] - ends[1])


def widest(function: Function, wanted: Float[np.ndarray, "item channel ..."], levels: int) -> Grid:
    """Levels from the smallest to the largest value of a channel; of a channel that is silent, of its layer.

    The lowest level of a function that is never below zero stands for its lower limit, so that silence does.
    """
    axes = (0, *range(2, wanted.ndim))
    lowest, peak = (v.astype(np.float64) for v in (wanted.min(axis=axes), wanted.max(axis=axes)))
    low = np.maximum(lowest, function.low) if function.low < 0 else np.full(len(peak), function.low)
    high = np.minimum(np.where(peak > low, peak, np.maximum(peak.max(), low + SMALLEST)), function.high)
    return Grid(low, np.maximum(high - low, SMALLEST) / levels, levels)


def _weights(wanted: np.ndarray) -> Float[np.ndarray, "item"]:
    """Of every item, one over its mean square: a decision hangs on the error of an item relative to its size."""
    energy = np.square(wanted).reshape(len(wanted), -1).mean(axis=1)
    return energy.mean() / (energy + SHARE * energy.mean() + SMALLEST)


@partial(jax.jit, static_argnums=(0, 1))
def _search(function, levels, z, a, weight, low, high, lows, highs, added):
    """The best of `highs` over `low`, then the best of `lows` under it, then the mean error that is left."""
    value = function(z + added[None])

    def error(candidate):
        low, high = candidate
        missed = a - _nearest(value, low, high, levels)
        return (weight * missed**2).mean(axis=0)

    first = jax.lax.map(lambda high: error((low, high)), highs).argmin(axis=0)
    high = jnp.take_along_axis(highs, first[None], axis=0)[0]
    second = jax.lax.map(lambda low: error((low, high)), lows).argmin(axis=0)
    low = jnp.take_along_axis(lows, second[None], axis=0)[0]
    return first, second, (weight * (a - _nearest(value, low, high, levels))).mean(axis=0) / weight.mean()


def _nearest(value, low, high, levels: int):
    unit = jnp.maximum(high - low, SMALLEST)[None] / levels
    return low[None] + jnp.clip(jnp.floor((value - low[None]) / unit + 0.5), 0, levels) * unit


def _values(of: np.ndarray) -> Float[np.ndarray, "value channel"]:
    flat = of.reshape(*of.shape[:2], -1)
    step = max(1, len(flat) * flat.shape[2] // VALUES)
    step = min(step, flat.shape[2])
    places = np.arange(len(flat))[:, None] % step + step * np.arange(flat.shape[2] // step)  # others of every item
    return flat[np.arange(len(flat))[:, None], :, places].reshape(-1, flat.shape[1])
