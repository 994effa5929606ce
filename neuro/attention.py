"""The arithmetic of attention: products of two populations, softmax and layer norm, in float and in integers.

Integer membranes and everything computed from them stay within 32 bits; conversion proves it (`converters.attention`).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from neuro.layers import LayerNorm, NormNeurons, Product, SoftmaxNeurons

FRACTION = 15
"""Bits behind the point of a normalised value."""


def product(
    op: Product, left: Float[Array, "batch ... row inner"], right: Float[Array, "batch ... inner column"]
) -> Float[Array, "batch ... row column"]:
    """The matrix product of `op`; exact in float32 as long as its partial sums are below 2^24.

    In events it is linear in each side: a change dA adds dA B, then dB adds (A + dA) dB, in any order of events.
    """
    left, right = (
        side - jnp.float32(zero) if zero else side for side, zero in zip((left, right), op.zeros, strict=True)
    )
    result = jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)
    return result if op.factor == 1 else result * jnp.float32(op.factor)


def layer_norm(op: LayerNorm, x: Float[Array, "batch ... feature"]) -> Float[Array, "batch ... feature"]:
    """The layer norm of a float network."""
    apart = x - x.mean(axis=-1, keepdims=True)
    deviation = jnp.sqrt((apart * apart).mean(axis=-1, keepdims=True) + jnp.float32(op.epsilon))
    gain, offset = (jnp.asarray(a, jnp.float32).reshape((1,) * (x.ndim - 1) + a.shape) for a in (op.gain, op.offset))
    return apart / deviation * gain + offset


def softmax(op: SoftmaxNeurons, membrane: Int[Array, "batch ... member"]) -> Int[Array, "batch ... member"]:
    """The value of softmax neurons from their membranes, bias included."""
    below = membrane.max(axis=-1, keepdims=True) - membrane
    entry = jnp.minimum((below + op.divisor // 2) // op.divisor, len(op.table) - 1)
    share = jnp.asarray(op.table, jnp.int32)[entry]
    total = share.sum(axis=-1, keepdims=True, dtype=jnp.int32)
    return jnp.clip((share * op.whole + total // 2) // total, 0, op.levels)


def norm(op: NormNeurons, membrane: Int[Array, "batch ... member"]) -> Int[Array, "batch ... member"]:
    """The value of layer-norm neurons from their membranes, bias included.

    d = V - mean; b: bits of the largest |d|; e = d 2^(bits - b), rounded; r = ⌊sqrt(Σ e² + extra[b])⌋, at least 1;
    R = ⌊e 2^15 / r⌋. As a layer norm does not depend on the scale of its input, but for epsilon, d keeps its precision
    however small it is.
    """
    apart = membrane - _mean(membrane)
    size = _bits(jnp.abs(apart).max(axis=-1, keepdims=True))
    down = jnp.maximum(size - op.bits, 0)
    half = jnp.where(down > 0, jnp.left_shift(1, jnp.maximum(down - 1, 0)), 0)
    even = jnp.left_shift(jnp.right_shift(apart + half, down), jnp.maximum(op.bits - size, 0))
    squares = (even * even).sum(axis=-1, keepdims=True, dtype=jnp.int32) + jnp.asarray(op.extra, jnp.int32)[size]
    share = jnp.left_shift(even, FRACTION) // jnp.maximum(root(squares), 1)
    gain, offset = (
        jnp.asarray(a, jnp.int32).reshape((1,) * (membrane.ndim - 1) + a.shape) for a in (op.gain, op.offset)
    )
    return jnp.clip(jnp.right_shift(gain * share + offset, op.shift), 0, op.levels)


def root(square: Int[Array, "..."]) -> Int[Array, "..."]:
    """The integer square root ⌊sqrt(n)⌋ for 0 <= n <= 2^30: that of float32, put right where it rounded."""
    guess = jnp.sqrt(square.astype(jnp.float32)).astype(jnp.int32)
    guess = guess - (guess * guess > square).astype(jnp.int32)
    return guess + ((guess + 1) * (guess + 1) <= square).astype(jnp.int32)


def _mean(membrane: Int[Array, "batch ... member"]) -> Int[Array, "batch ... 1"]:
    """⌊(Σ V + ⌊n/2⌋) / n⌋, in two halves, so that the sum does not leave 32 bits."""
    number = membrane.shape[-1]
    high, low = (
        half.sum(axis=-1, keepdims=True, dtype=jnp.int32) for half in (jnp.right_shift(membrane, 12), membrane & 4095)
    )
    whole = high // number
    return whole * 4096 + ((high - whole * number) * 4096 + low + number // 2) // number


def _bits(value: Int[Array, "..."]) -> Int[Array, "..."]:
    """How many bits a number below 2^31 takes; none for 0."""
    powers = jnp.asarray(2 ** np.arange(31), jnp.int32)
    return (value[..., None] >= powers.reshape((1,) * value.ndim + (31,))).sum(axis=-1, dtype=jnp.int32)
