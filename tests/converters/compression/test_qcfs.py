"""The activation and its gradients by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from converters.compression.qcfs import level, qcfs, rounded, through


@pytest.mark.parametrize(
    ("z", "value", "by_z", "by_threshold"),
    [
        # lambda = 2, L = 4: steps of 0.5; z = 1.3 is 2.6 steps, level floor(3.1) = 3
        (1.3, 1.5, 1.0, (1.5 - 1.3) / 2),
        (1.2, 1.0, 1.0, (1.0 - 1.2) / 2),  # 2.4 steps, level 2
        (0.25, 0.5, 1.0, (0.5 - 0.25) / 2),  # half a step rounds up
        (-0.7, 0.0, 0.0, 0.0),
        (3.0, 2.0, 0.0, 1.0),  # cut off: the value is lambda itself
    ],
)
def test_qcfs_by_hand(z, value, by_z, by_threshold):
    z, threshold = jnp.float32(z), jnp.float32(2.0)
    assert float(qcfs(z, threshold, 4)) == pytest.approx(value)
    got = jax.grad(qcfs, argnums=(0, 1))(z, threshold, 4)
    np.testing.assert_allclose([float(g) for g in got], [by_z, by_threshold], atol=1e-6)


def test_levels_are_whole_to_the_last_bit():
    t = jnp.linspace(-3, 20, 4001, dtype=jnp.float32)
    np.testing.assert_array_equal(level(t, 15), np.clip(np.floor(np.asarray(t) + np.float32(0.5)), 0, 15))


def test_rounding_passes_the_gradient_through():
    assert float(rounded(jnp.float32(2.6))) == 3.0
    assert float(jax.grad(rounded)(jnp.float32(2.6))) == 1.0
    value, gradient = jax.value_and_grad(lambda x: through(jnp.float32(7) * jnp.sign(x), x**2))(jnp.float32(3))
    assert (float(value), float(gradient)) == (7.0, 6.0)
