"""Activations and weights that are quantised on the way forward and straight through on the way back.

QCFS (Bu, ICLR 2022) is the activation of an integer neuron with L levels and threshold lambda:

    a = lambda clip(floor(z L / lambda + 1/2) / L, 0, 1)
    da/dz = 1 for 0 < z < lambda, else 0
    da/dlambda = (a - z [0 < z < lambda]) / lambda
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def through(exact: Float[Array, "..."], passed: Float[Array, "..."]) -> Float[Array, "..."]:
    """The value of `exact`, the gradient of `passed`."""
    return jax.lax.stop_gradient(exact) + (passed - jax.lax.stop_gradient(passed))  # plus an exact zero


def rounded(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The nearest whole number (half rounds to even), straight through."""
    return through(jnp.rint(x), x)


def level(t: Float[Array, "..."], levels: int) -> Float[Array, "..."]:
    """The level clip(floor(t + 1/2), 0, levels) of a membrane of t thresholds; straight through from 0 to levels."""
    top = jnp.float32(levels)
    inside = jnp.clip(t, jnp.float32(0), top)
    return through(jnp.clip(jnp.floor(t + jnp.float32(0.5)), jnp.float32(0), top), inside)


def whole_level(membrane: Float[Array, "..."], threshold: Float[Array, "..."], levels: int) -> Float[Array, "..."]:
    """The level of a whole membrane and thresholds, as integers have it; gradients as those of `level`.

    XLA's float32 quotient may miss the true one by its last bit, which decides where a membrane is some thresholds and
    a half; what is left over is exact below 2^23 and tells.
    """
    quotient = membrane / threshold
    nearest = jax.lax.stop_gradient(jnp.floor(quotient + jnp.float32(0.5)))
    left = jax.lax.stop_gradient(jnp.float32(2) * (membrane - nearest * threshold))
    exact = nearest + (left >= threshold).astype(left.dtype) - (left < -threshold).astype(left.dtype)
    top = jnp.float32(levels)
    return through(jnp.clip(exact, jnp.float32(0), top), jnp.clip(quotient, jnp.float32(0), top))


def qcfs(z: Float[Array, "..."], threshold: Float[Array, ""], levels: int) -> Float[Array, "..."]:
    """The activation above; threshold: lambda, what `levels` levels stand for."""
    unit = threshold / jnp.float32(levels)
    return unit * level(z / unit, levels)
