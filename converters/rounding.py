"""Integer weights of a layer that reproduce its float output on the counts that it really receives.

The inputs N of a layer are rounded already, so the float weights w are no longer the best ones. Two steps on
calibration items, both with the second moments H of the centred inputs:

    ridge     w' = w + (t - w N) N^T (H + a d I)^-1, t: the float output, d: mean of the diagonal of H
    rounding  one input after the other, most active first; the error of each is taken over by those still to come,
              w_j+1.. -= e_j U_j,j+1.. / U_jj with U^T U = (H + a d I)^-1 (as in Frantar 2022, GPTQ)

a is chosen by the error of a fit on half of the items on the other half; where no fit helps, weights are rounded to
the nearest. Means are left to the bias. A weight of zero is no synapse and stays none: a neuron is fitted on the inputs
that it has.
"""

from dataclasses import dataclass
from math import prod

import jax
import numpy as np
from jaxtyping import Float, Int

from neuro.layers import Conv, Dense

RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Values of a that are tried."""
ROWS_EACH, LEAST, MOST = 16, 2**12, 2**15
"""Output positions of a convolution that a fit takes into account, for every input of a neuron, and their range; they
are drawn evenly from all items."""
WIDEST = 2304
"""Inputs of a neuron up to which a layer is fitted: the effort grows with their third power."""
EFFORT = 5e10
"""Of neurons that lack some inputs, each with its own equations: up to which sum of cubes of their inputs they are
solved."""
ENOUGH = 0.98
"""A fit must leave at most this share of the squared error on the items left out."""
CHUNK = 2**25  # values of patches that are held at once


@dataclass(frozen=True, eq=False)
class Rows:
    """What a weighted layer receives: patches [group, row, input] of counts, rows of one item next to each other; where
    each row lies among [item, position] of its output."""

    patches: Float[np.ndarray, "group row input"]
    items: Int[np.ndarray, "row"]
    places: Int[np.ndarray, "row"]

    def of(self, values: Float[np.ndarray, "item channel ..."]) -> Float[np.ndarray, "group row output"]:
        """The rows of values [item, channel, ...] of the layer's output."""
        flat = values.reshape(*values.shape[:2], -1)
        rows = flat[self.items, :, self.places]
        return rows.reshape(len(rows), len(self.patches), -1).swapaxes(0, 1)


@dataclass(frozen=True, eq=False)
class Fit:
    """Float weights, the second moments of their inputs, and the a of both steps."""

    weight: Float[np.ndarray, "neuron ..."]
    moments: Float[np.ndarray, "group input input"]
    damping: float


def rows(op: Conv | Dense, counts: Float[np.ndarray, "item ..."]) -> Rows:
    """The inputs of the neurons of `op` for counts of its source."""
    items = len(counts)
    if isinstance(op, Dense):
        return Rows(np.asarray(counts)[None], np.arange(items), np.zeros(items, np.int64))
    patches = jax.jit(
        lambda x: jax.lax.conv_general_dilated_patches(
            x, op.weight.shape[2:], op.stride, op.pads, rhs_dilation=op.dilation or None
        )
    )
    shape = jax.eval_shape(patches, counts[:1]).shape
    positions, inputs = prod(shape[2:]), shape[1]
    wanted = min(max(ROWS_EACH * inputs // op.groups, LEAST), MOST)
    each = min(positions, max(1, -(-wanted // items)))
    rng = np.random.default_rng(0)
    size = max(1, CHUNK // (positions * inputs))
    found, places = [], []
    for first in range(0, items, size):
        part = np.asarray(patches(counts[first : first + size])).reshape(-1, inputs, positions)
        chosen = np.stack([np.sort(rng.permutation(positions)[:each]) for _ in part])
        found.append(np.take_along_axis(part, chosen[:, None], axis=2).swapaxes(1, 2).reshape(-1, inputs))
        places.append(chosen.reshape(-1))
    grouped = np.concatenate(found).reshape(items * each, op.groups, -1).swapaxes(0, 1)
    return Rows(grouped, np.repeat(np.arange(items), each), np.concatenate(places))


def fitted(taken: Rows, weight: Float[np.ndarray, "neuron ..."], target: Float[np.ndarray, "group row output"]) -> Fit:
    """The weights that come closest to the target, up to a constant per output.

    a is infinite and the weights are as they were where a fit does not help.
    """
    flat = weight.reshape(len(taken.patches), weight.shape[0] // len(taken.patches), -1)
    inputs = flat.shape[2]
    middle = np.median(taken.items)
    kept = flat != 0
    if inputs > WIDEST or middle == 0 or (not kept.all() and (kept.sum(axis=2) ** 3.0).sum() > EFFORT):
        return Fit(weight, np.zeros((len(flat), 0, 0)), np.inf)
    missing = _centred(target - np.matmul(taken.patches, flat.swapaxes(1, 2).astype(np.float32)))
    centred = _centred(taken.patches)
    halves = (taken.items < middle, taken.items >= middle)
    fit, check = (_moments(centred[:, half], missing[:, half]) for half in halves)
    size = np.maximum(np.square(missing[:, halves[1]]).sum(axis=1, dtype=np.float64), 1e-30)
    scores = [float(np.median(_change(check, _solve(*fit, a, kept)) / size)) for a in RIDGES]
    moments, cross = (one + two for one, two in zip(fit, check, strict=True))
    if 1 + min(scores) > ENOUGH:
        return Fit(weight, moments, np.inf)
    a = RIDGES[int(np.argmin(scores))]
    return Fit((flat + _solve(moments, cross, a, kept)).reshape(weight.shape), moments, a)


def whole(fit: Fit, scale: Float[np.ndarray, "neuron"], full: int) -> Int[np.ndarray, "neuron ..."]:
    """The weights in units of `scale` as integers in -full..full, errors taken over by the inputs still to come."""
    weight = fit.weight / scale.reshape(-1, *(1,) * (fit.weight.ndim - 1))
    if np.isinf(fit.damping):
        return np.clip(np.rint(weight), -full, full).astype(np.int64)
    flat = weight.reshape(len(fit.moments), weight.shape[0] // len(fit.moments), -1)
    result = np.empty(flat.shape, np.int64)
    for group, (own, moments) in enumerate(zip(flat, fit.moments, strict=True)):
        order = np.argsort(-np.diag(moments), kind="stable")
        upper = _root_of_inverse(moments[np.ix_(order, order)], fit.damping)
        left, done = own[:, order], np.empty(own.shape, np.int64)
        kept = left != 0
        for j in range(len(order)):
            done[:, j] = np.clip(np.rint(left[:, j]), -full, full)
            error = (left[:, j] - done[:, j]) / upper[j, j]
            left[:, j + 1 :] -= error[:, None] * upper[j, j + 1 :] * kept[:, j + 1 :]
        result[group][:, order] = done
    return result.reshape(weight.shape)


def _root_of_inverse(moments: Float[np.ndarray, "input input"], a: float) -> Float[np.ndarray, "input input"]:
    """The upper triangle U with U^T U = (H + a d I)^-1; a grows tenfold where H, summed in float32, has lost the
    positive values that damping by a was to keep; without any, what the nearest rounding asks for."""
    for _ in range(12):
        try:
            return np.linalg.cholesky(np.linalg.inv(_damped(moments, a))).T
        except np.linalg.LinAlgError:
            a *= 10
    return np.eye(len(moments))


def _centred(values: Float[np.ndarray, "group row ..."]) -> np.ndarray:
    return values - values.mean(axis=1, keepdims=True)


def _moments(centred: np.ndarray, missing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Second moments of the inputs, and of inputs with what is missing of the output, float64."""
    turned = centred.swapaxes(1, 2)
    return np.matmul(turned, centred).astype(np.float64), np.matmul(turned, missing).astype(np.float64)


def _change(moments: tuple[np.ndarray, np.ndarray], step: np.ndarray) -> Float[np.ndarray, "group output"]:
    """How a step of the weights changes the squared error."""
    own, cross = moments
    turned = step.swapaxes(1, 2)
    return (turned * (np.matmul(own, turned) - 2 * cross)).sum(axis=1)


def _damped(moments: np.ndarray, a: float) -> np.ndarray:
    size = moments.shape[-1]
    mean = np.trace(moments, axis1=-2, axis2=-1) / size
    return moments + (a * np.maximum(mean, 1e-12))[..., None, None] * np.eye(size)


def _solve(
    moments: np.ndarray, cross: np.ndarray, a: float, kept: np.ndarray
) -> Float[np.ndarray, "group output input"]:
    """The step of every weight; none for one that is not kept."""
    damped = _damped(moments, a)
    if kept.all():
        return np.linalg.solve(damped, cross).swapaxes(1, 2)
    result = np.zeros(kept.shape)
    for group, output in np.argwhere(kept.any(axis=2)):
        own = np.flatnonzero(kept[group, output])
        result[group, output, own] = np.linalg.solve(damped[group][np.ix_(own, own)], cross[group][own, output])
    return result
