"""The activation and its gradients by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from converters.compression.qcfs import level, qcfs, rounded, through, whole_level


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


def test_the_level_of_whole_numbers_is_that_of_integer_division():
    """Every membrane from below zero to beyond the last level, halves of a threshold among them, such as 183 / 122."""
    thresholds = np.array([1, 2, 3, 7, 122, 218, 1000, 4093], np.int64)
    for threshold in thresholds:
        membrane = np.unique(np.linspace(-2 * threshold, 18 * threshold, 5000).astype(np.int64))
        halves = np.arange(-1, 33) * threshold // 2
        membrane = np.concatenate([membrane, halves, halves - 1])
        want = np.clip((2 * membrane + threshold) // (2 * threshold), 0, 15)
        found = jax.jit(whole_level, static_argnums=2)(jnp.float32(membrane), jnp.float32(threshold), 15)
        np.testing.assert_array_equal(found, want, err_msg=str(threshold))
    slope = jax.grad(lambda m, t: whole_level(m, t, 15), argnums=(0, 1))(jnp.float32(183), jnp.float32(122))
    np.testing.assert_allclose([float(g) for g in slope], [1 / 122, -183 / 122**2], rtol=1e-6)


def test_rounding_passes_the_gradient_through():
    assert float(rounded(jnp.float32(2.6))) == 3.0
    assert float(jax.grad(rounded)(jnp.float32(2.6))) == 1.0
    value, gradient = jax.value_and_grad(lambda x: through(jnp.float32(7) * jnp.sign(x), x**2))(jnp.float32(3))
    assert (float(value), float(gradient)) == (7.0, 6.0)
