"""Choosing scales from data and weights: clipping values of activations, scales of integer weights."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

CLIPS = np.linspace(0.15, 1.0, 35)
"""Fractions of the largest activation that are tried as clipping value."""
SHRINKS = np.linspace(0.5, 1.0, 26)
"""Fractions of the largest weight that are tried as full scale."""
PROBES = 16
"""Values of a channel that are tried first when looking for the grid of its weights."""
WHOLE = 1e-4
"""A multiple of a number up to the rounding of float32."""
BALANCED = 50
"""Items of a batch in local threshold balancing."""
PASSES = 25
"""Over them; its authors see 500 batches too, of 100 items each and no item twice."""
SMALLEST = 1e-9  # in place of the largest value of a layer that never fires


def least_squares_clip(activation: Float[np.ndarray, "item channel ..."], levels: int) -> Float[np.ndarray, "channel"]:
    """Per channel the clipping value c = f max(a) that minimises mean((q(a) - a)^2) over the grid of f.

    q(a) = clip(floor(a L / c + 1/2), 0, L) c / L. A channel that never fires takes the layer's largest value.
    """
    axes = (0, *range(2, activation.ndim))
    peak = np.asarray(activation.max(axis=axes)).astype(np.float64)
    peak = np.where(peak > 0, peak, max(peak.max(), SMALLEST))

    def error(activation, clip):
        unit = clip.reshape(1, -1, *(1,) * (activation.ndim - 2)) / levels
        quantised = jnp.clip(jnp.floor(activation / unit + 0.5), 0, levels) * unit
        return ((quantised - activation) ** 2).mean(axis=axes)

    each = jax.jit(lambda activation, clips: jax.lax.map(partial(error, activation), clips))
    errors = each(activation, np.outer(CLIPS, peak).astype(np.float32))
    return peak * CLIPS[np.asarray(errors).argmin(axis=0)]


def percentile(activation: Float[np.ndarray, "item ..."], share: float = 99.9) -> float:
    """The percentile of all activations of a layer, above zero."""
    return max(float(np.percentile(np.asarray(activation), share)), SMALLEST)


def balanced(
    activation: Float[np.ndarray, "item channel ..."], batch: int = BALANCED, passes: int = PASSES
) -> Float[np.ndarray, "channel"]:
    """Per channel the threshold c of local threshold balancing (Bu, CVPR 2025): c += 2 mean(max(a - c, 0)), one batch
    of items after the other, from zero, `passes` times over all. It rests where hardly any value exceeds it."""
    axes = (0, *range(2, activation.ndim))

    @jax.jit
    def excess(values, clip):
        return jnp.maximum(values - clip.reshape(1, -1, *(1,) * (activation.ndim - 2)), 0).mean(axis=axes)

    batches = [activation[first : first + batch] for first in range(0, len(activation), batch)]
    clip = np.zeros(activation.shape[1])
    for _ in range(passes):
        for values in batches:
            clip = clip + 2 * np.asarray(excess(values, jnp.asarray(clip, jnp.float32)), np.float64)
    return np.where(clip > 0, clip, max(clip.max(), SMALLEST))


def weight_scale(
    weights: list[np.ndarray], full: int, channels: int, smallest: bool = False
) -> Float[np.ndarray, "channel"]:
    """Per output channel the scale of least squared rounding error when weights become integers in -full..full.

    weights: arrays with the output channel first; those of one channel share a scale. channels = 1: one for all.
    Weights that are whole multiples of one number already, as those of a quantised network are, stay exact: times the
    largest factor that fits, or (smallest) times one, so that they take as few bits as they can.
    """
    flat = np.concatenate([w.reshape(channels, -1) for w in weights], axis=1)
    largest = np.maximum(np.abs(flat).max(axis=1), 1e-12)
    best, error = largest / full, np.full(channels, np.inf)
    for shrink in SHRINKS:
        scale = largest * shrink / full
        rounded = np.clip(np.rint(flat / scale[:, None]), -full, full) * scale[:, None]
        squared = ((rounded - flat) ** 2).sum(axis=1)
        best, error = np.where(squared < error, scale, best), np.minimum(squared, error)
    own = _own_scale(flat, largest, full)
    if not smallest:
        own = own / np.floor(full / np.maximum(np.rint(largest / own), 1))
    return np.where(np.isnan(own), best, own)


def _own_scale(flat: np.ndarray, largest: np.ndarray, full: int) -> Float[np.ndarray, "channel"]:
    """The largest number of which every value of a channel is a multiple, up to `full`; NaN where there is none."""
    found = np.full(len(flat), np.nan)
    few = -np.sort(-np.abs(flat), axis=1)[:, :: max(1, flat.shape[1] // PROBES)]  # some of them rule most channels out
    for steps in range(1, full + 1):
        open_ = np.flatnonzero(np.isnan(found))
        for values in (few, flat):
            if len(open_):
                counts = values[open_] / (largest[open_, None] / steps)
                open_ = open_[np.abs(counts - np.rint(counts)).max(axis=1) < WHOLE]
        found[open_] = largest[open_] / steps
    return found
