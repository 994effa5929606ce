"""Spike codes: how a population sends its integer value, and how a receiver gets it back.

============  =======================  =====================================================  ========
code          receiver                 sender, after its window                               exact
============  =======================  =====================================================  ========
unary         V += W s                 L times: s = [V >= th], V -= th s                      yes
bits          V = 2 V + W s            k = K-1..0: s = [V >= th 2^k], V -= th 2^k s           yes
naf           V = 2 V + W s            k = K..0: s in -1, 0, 1, V -= th 2^k s (see `emit`)    yes
ttfs          I += W s, V += I         once, at the first t = 0..L-1 with V >= th (L - t)     yes
graded        V += W s                 once: s = clip(floor(V/th), 0, L)                      yes
rate          V += W s + B each step   in every step: s = [V >= th], V -= th s                no
============  =======================  =====================================================  ========

L levels, K = ceil(log2(L + 1)) bits. V starts at the bias plus floor(th/2). Under the rate code there is no waiting:
a neuron fires while its input still comes, so early spikes cannot be taken back.

Spikes are booleans where a spike is a spike; under naf and graded they are integers, of which those that are not zero
are events that carry their value.
"""

from typing import TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from neuro.evaluate import apply, waited
from neuro.layers import MaxPool, MultiThreshold, NormNeurons, SoftmaxNeurons, Threshold
from neuro.schedule import Code as Code

CODES: tuple[Code, ...] = get_args(Code)

Spikes: TypeAlias = Bool[Array, "step batch ..."] | Int[Array, "step batch ..."]
"""Spikes of a window: booleans, or the values that they carry."""


def is_exact(code: Code) -> bool:
    """Whether the code's spike counts decode to the integer reference, whatever the input."""
    return code != "rate"


def is_binary(code: str | None) -> bool:
    """Whether a spike of the code carries nothing but that it is there: no sign, no value."""
    return code not in ("naf", "graded")


def doubles(code: Code) -> bool:
    """Whether the spikes of a window are digits of a binary number, most significant first."""
    return code in ("bits", "naf")


def steps(code: Code, levels: int) -> int:
    """Time steps of one population's window; under the rate code `levels` is the number of steps itself."""
    if code == "graded":
        return 1
    bits = levels.bit_length()
    return bits if code == "bits" else bits + 1 if code == "naf" else levels


def integrate(code: Code, currents: Float[Array, "step batch ..."]) -> Float[Array, "batch ..."]:
    """The membrane after a window of input currents: their sum; Horner's rule for digits, most significant first; under
    ttfs a ramp, to whose slope every current adds, so that it counts as often as there are steps to come."""
    if doubles(code):
        zero = jnp.zeros_like(currents[0])
        return jax.lax.scan(lambda v, current: (2 * v + current, None), zero, currents)[0]
    if code == "ttfs":
        currents = currents * _remaining(currents.shape[0], currents.ndim)
    return currents.sum(axis=0)


def emit(code: Code, op: Threshold, membrane: Float[Array, "batch ..."]) -> Spikes:
    """Spikes of a window from the membrane that the integration left, under an exact code.

    naf: the digit of 2^k is 1 if V >= m th and -1 if V < (1 - m) th, m = floor(2^(k+1)/3) + 1: what the lower digits
    can still reach decides. bits and naf keep V within 0..(L + 1) th - 1 first, unless bits saturate by themselves.
    """
    threshold = _threshold(op, membrane.ndim)
    if code == "graded":
        value = membrane.astype(jnp.int32) // threshold.astype(jnp.int32)  # a float quotient may round up
        return jnp.clip(value, 0, op.levels)[None]
    if code == "naf" or (code == "bits" and op.levels & (op.levels + 1)):
        membrane = jnp.clip(membrane, 0.0, (op.levels + 1) * threshold - 1)
    if code == "naf":
        return _signed(op, membrane, threshold)
    if code == "ttfs":
        left = _remaining(op.levels, membrane.ndim + 1)
        fires = membrane[None] >= threshold[None] * left
        return fires & ((membrane[None] < threshold[None] * (left + 1)) | (left == op.levels))  # not a step before
    if code == "bits":
        factors = 2.0 ** jnp.arange(steps(code, op.levels) - 1, -1, -1, dtype=jnp.float32)
    else:
        factors = jnp.ones(op.levels, jnp.float32)

    def fire(v, factor):
        spike = v >= threshold * factor
        return v - jnp.where(spike, threshold * factor, jnp.float32(0)), spike

    return jax.lax.scan(fire, membrane, factors)[1]


def emit_value(
    code: Code, op: MultiThreshold | SoftmaxNeurons | NormNeurons, membrane: Float[Array, "batch ..."]
) -> Bool[Array, "step batch ..."] | Int[Array, "step batch ..."]:
    """Spikes of neurons that wait for their input: the value that it gives, sent as by neurons of threshold one."""
    shape = (1,) * (membrane.ndim - 1)
    one = Threshold(np.ones(shape, np.int64), np.zeros(shape, np.int64), op.levels)
    return emit(code, one, waited(op, membrane.astype(jnp.int32)).astype(jnp.float32))


def _signed(op: Threshold, membrane: Float[Array, "batch ..."], threshold: Array) -> Int[Array, "step batch ..."]:
    powers = 2 ** np.arange(steps("naf", op.levels) - 1, -1, -1)

    def fire(v, digit):
        power, least = digit
        spike = jnp.where(v >= least * threshold, jnp.float32(1), jnp.float32(0))
        spike = jnp.where(v < (1 - least) * threshold, jnp.float32(-1), spike)
        return v - spike * power * threshold, spike.astype(jnp.int8)

    digits = (jnp.asarray(powers, jnp.float32), jnp.asarray(2 * powers // 3 + 1, jnp.float32))
    return jax.lax.scan(fire, membrane, digits)[1]


def _first(spikes: Bool[Array, "step batch ..."]) -> Bool[Array, "step batch ..."]:
    """Every train's first spike alone."""
    return spikes & (jax.lax.cumsum(spikes.astype(jnp.int32), axis=0) == 1)


def _remaining(steps: int, ndim: int) -> Float[Array, "step ..."]:
    """Steps until a window is over, its own included, along the first of `ndim` axes."""
    return jnp.arange(steps, 0, -1, dtype=jnp.float32).reshape(-1, *(1,) * (ndim - 1))


def fire_rate(
    op: Threshold, currents: Float[Array, "step batch ..."], limit: float = float("inf")
) -> tuple[Bool[Array, "step batch ..."], Float[Array, "batch"]]:
    """Integrate-and-fire with the start and the reset of `op`, the bias in every step.

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
        left = v - threshold if op.reset == "subtract" else jnp.zeros_like(v)
        return (jnp.where(spike, left, v), peak), spike

    initial = jnp.asarray(op.initial, jnp.float32)
    start = jnp.broadcast_to(
        initial.reshape((1,) * (threshold.ndim - initial.ndim) + initial.shape), currents.shape[1:]
    )
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


def encode(code: Code, counts: Float[Array, "batch ..."], levels: int, window: int) -> Spikes:
    """Input counts 0..levels as spikes of a window of `window` steps: the emission of a neuron of threshold one.

    Under the rate code an input neuron receives its count as a current in every step and has threshold `levels`.
    """
    shape = (1,) * (counts.ndim - 1)
    if code == "rate":
        op = Threshold(np.full(shape, levels), np.zeros(shape, np.int64), window)
        return fire_rate(op, jnp.broadcast_to(counts[None], (window, *counts.shape)))[0]
    return emit(code, Threshold(np.ones(shape, np.int64), np.zeros(shape, np.int64), levels), counts)


def decode(code: Code, spikes: Spikes) -> Float[Array, "batch ..."]:
    """The value that a window of spikes carries."""
    return integrate(code, spikes.astype(jnp.float32))


def pool(code: Code, op: MaxPool, spikes: Spikes) -> Spikes:
    """Max-pool on spike trains, exact but for the rate code.

    unary: OR, since trains are prefixes of ones. ttfs: the first spike of the window, and no other. graded: the largest
    value. bits, naf: a serial comparison, most significant digit first, in which a neuron leaves as soon as its digit
    is below that of another one. rate: OR, which forwards a spike whenever any neuron of the window fires.
    """
    step, batch, *space = spikes.shape
    if not doubles(code):
        merged = spikes.reshape(step * batch, *space).astype(jnp.float32)
        pooled = apply(op, merged)
        pooled = pooled.reshape(step, batch, *pooled.shape[1:]).astype(spikes.dtype)
        return _first(pooled) if code == "ttfs" else pooled
    windows = _windows(op, spikes.astype(jnp.float32))

    def compare(alive, digit):
        winner = jnp.where(alive, digit, jnp.float32(-2)).max(axis=1)  # below any digit
        return alive & (digit == winner[:, None]), winner.astype(spikes.dtype)

    return jax.lax.scan(compare, jnp.ones_like(windows[0], bool), windows)[1]


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
