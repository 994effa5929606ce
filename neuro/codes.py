"""Spike codes: how a population sends its integer value, and how a receiver gets it back.

============  =======================  ==========================================  ========
code          receiver                 sender, after its window                    exact
============  =======================  ==========================================  ========
unary         V += W s                 L times: s = [V >= th], V -= th s           yes
bits          V = 2 V + W s            k = K-1..0: s = [V >= th 2^k], V -= th 2^k  yes
rate          V += W s + B each step   in every step: s = [V >= th], V -= th s     no
============  =======================  ==========================================  ========

L levels, K = ceil(log2(L + 1)) bits. V starts at the bias plus floor(th/2). Under the rate code there is no waiting:
a neuron fires while its input still comes, so early spikes cannot be taken back.
"""

from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from neuro.evaluate import apply, stepped
from neuro.layers import MaxPool, MultiThreshold, Threshold
from neuro.schedule import Code as Code

CODES: tuple[Code, ...] = get_args(Code)


def is_exact(code: Code) -> bool:
    """Whether the code's spike counts decode to the integer reference, whatever the input."""
    return code != "rate"


def steps(code: Code, levels: int) -> int:
    """Time steps of one population's window; under the rate code `levels` is the number of steps itself."""
    return levels.bit_length() if code == "bits" else levels


def integrate(code: Code, currents: Float[Array, "step batch ..."]) -> Float[Array, "batch ..."]:
    """The membrane after a window of input currents: their sum, or Horner's rule for bits (most significant first)."""
    if code != "bits":
        return currents.sum(axis=0)
    membrane, _ = jax.lax.scan(lambda v, current: (2 * v + current, None), jnp.zeros_like(currents[0]), currents)
    return membrane


def emit(code: Code, op: Threshold, membrane: Float[Array, "batch ..."]) -> Bool[Array, "step batch ..."]:
    """Spikes of a window from the membrane that the integration left, under an exact code."""
    threshold = _threshold(op, membrane.ndim)
    if code == "unary":
        factors = jnp.ones(op.levels, jnp.float32)
    else:
        bits = steps("bits", op.levels)
        factors = 2.0 ** jnp.arange(bits - 1, -1, -1, dtype=jnp.float32)
        if op.levels + 1 != 2**bits:  # otherwise saturation comes by itself
            membrane = jnp.clip(membrane, 0.0, (op.levels + 1) * threshold - 1)

    def fire(v, factor):
        spike = v >= threshold * factor
        return v - jnp.where(spike, threshold * factor, jnp.float32(0)), spike

    return jax.lax.scan(fire, membrane, factors)[1]


def emit_value(code: Code, op: MultiThreshold, membrane: Float[Array, "batch ..."]) -> Bool[Array, "step batch ..."]:
    """Spikes of multi-threshold neurons: the value that the membrane gives, sent as by neurons of threshold one."""
    shape = (1,) * (membrane.ndim - 1)
    one = Threshold(np.ones(shape, np.int64), np.zeros(shape, np.int64), op.levels)
    return emit(code, one, stepped(op, membrane.astype(jnp.int32)).astype(jnp.float32))


def fire_rate(
    op: Threshold, currents: Float[Array, "step batch ..."], limit: float = float("inf")
) -> tuple[Bool[Array, "step batch ..."], Float[Array, "batch"]]:
    """Integrate-and-fire with reset by subtraction, half a threshold at the start, the bias in every step.

    limit: the largest magnitude that a membrane holds; it saturates there. Result: spikes, and the largest magnitude
    that any membrane of a sample would have reached.
    """
    threshold = _threshold(op, currents.ndim - 1)
    bias = jnp.asarray(op.bias, jnp.float32)
    bias = bias.reshape((1,) * (currents.ndim - 1 - bias.ndim) + bias.shape)

    def step(carry, current):
        v, peak = carry
        v = v + current + bias
        peak = jnp.maximum(peak, jnp.abs(v))
        v = jnp.clip(v, -limit, limit)
        spike = v >= threshold
        return (v - jnp.where(spike, threshold, jnp.float32(0)), peak), spike

    start = jnp.broadcast_to(jnp.floor(threshold / 2), currents.shape[1:])
    (_, peak), spikes = jax.lax.scan(step, (start, start), currents)
    return spikes, peak.reshape(peak.shape[0], -1).max(axis=1)


def accumulate(
    currents: Float[Array, "step batch ..."], limit: float
) -> tuple[Float[Array, "batch ..."], Float[Array, "batch"]]:
    """The membrane of a neuron that never fires, saturating at `limit`, and the magnitude it would have reached."""

    def step(carry, current):
        v, peak = carry
        v = v + current
        return (jnp.clip(v, -limit, limit), jnp.maximum(peak, jnp.abs(v))), None

    start = jnp.zeros_like(currents[0])
    (membrane, peak), _ = jax.lax.scan(step, (start, start), currents)
    return membrane, peak.reshape(peak.shape[0], -1).max(axis=1)


def encode(code: Code, counts: Float[Array, "batch ..."], levels: int, window: int) -> Bool[Array, "step batch ..."]:
    """Input counts 0..levels as spikes of a window of `window` steps: the emission of a neuron of threshold one.

    Under the rate code an input neuron receives its count as a current in every step and has threshold `levels`.
    """
    shape = (1,) * (counts.ndim - 1)
    if code == "rate":
        op = Threshold(np.full(shape, levels), np.zeros(shape, np.int64), window)
        return fire_rate(op, jnp.broadcast_to(counts[None], (window, *counts.shape)))[0]
    return emit(code, Threshold(np.ones(shape, np.int64), np.zeros(shape, np.int64), levels), counts)


def decode(code: Code, spikes: Bool[Array, "step batch ..."]) -> Float[Array, "batch ..."]:
    """The value that a window of spikes carries."""
    return integrate(code, spikes.astype(jnp.float32))


def pool(code: Code, op: MaxPool, spikes: Bool[Array, "step batch ..."]) -> Bool[Array, "step batch ..."]:
    """Max-pool on spike trains: OR for unary (exact: trains are prefixes of ones) and for rate (approximate: it
    forwards a spike whenever any neuron of the window fires); for bits a serial comparison, most significant bit
    first, in which a neuron leaves as soon as it lacks a bit that another one has."""
    step, batch, *space = spikes.shape
    if code != "bits":
        merged = spikes.reshape(step * batch, *space).astype(jnp.float32)
        pooled = apply(op, merged) > 0
        return pooled.reshape(step, batch, *pooled.shape[1:])
    windows = _windows(op, spikes.astype(jnp.float32))

    def compare(alive, bit):
        bit = bit * alive
        winner = bit.max(axis=1)
        return jnp.where(bit == winner[:, None], alive, jnp.float32(0)), winner > 0

    return jax.lax.scan(compare, jnp.ones_like(windows[0]), windows)[1]


def _windows(op: MaxPool, spikes: Float[Array, "step batch channel ..."]) -> Float[Array, "step batch member ..."]:
    """The members of every pooling window along one axis; padding is silent."""
    step, batch, channels, *space = spikes.shape
    patches = jax.lax.conv_general_dilated_patches(
        spikes.reshape(step * batch * channels, 1, *space), op.kernel, op.stride, op.pads
    )
    out = patches.shape[2:]
    return patches.reshape(step, batch, channels, -1, *out).swapaxes(2, 3)


def _threshold(op: Threshold, ndim: int) -> Float[Array, "..."]:
    return jnp.asarray(op.threshold, jnp.float32).reshape((1,) * (ndim - op.threshold.ndim) + op.threshold.shape)
