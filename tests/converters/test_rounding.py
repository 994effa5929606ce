"""Weights fitted to their inputs on cases with a known answer, and rounding against the nearest."""

import numpy as np

from converters.rounding import Fit, fitted, rows, whole
from neuro.evaluate import apply
from neuro.layers import Conv, Dense


def test_rows_are_the_inputs_of_every_output():
    rng = np.random.default_rng(0)
    op = Conv(rng.integers(-3, 4, (4, 1, 3, 3)).astype(np.float32), None, (2, 2), ((1, 1), (1, 1)), 2)
    counts = np.asarray(rng.integers(0, 8, (6, 2, 5, 5)), np.float32)
    taken = rows(op, counts)
    want = taken.of(np.asarray(apply(op, counts)))
    got = np.einsum("gri,goi->gro", taken.patches, op.weight.reshape(2, 2, -1))
    np.testing.assert_array_equal(got, want)
    assert taken.patches.shape == (2, 6 * 9, 9)


def test_a_fit_finds_the_weights_behind_the_target_and_leaves_means_to_the_bias():
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 16, (400, 3)).astype(np.float32)
    true = np.array([[0.5, -1.0, 2.0]])
    target = counts @ true.T.astype(np.float32) + 7  # a constant is no business of the weights
    start = np.array([[0.6, -0.8, 1.7]])
    found = fitted(rows(Dense(start, None), counts), start, target[None].astype(np.float32))
    np.testing.assert_allclose(found.weight, true, atol=1e-3)


def test_noise_is_not_fitted():
    rng = np.random.default_rng(2)
    counts = rng.integers(0, 16, (40, 30)).astype(np.float32)
    start = rng.normal(size=(2, 30))
    noise = 5 * rng.normal(size=(40, 2)).astype(np.float32)
    target = counts @ start.T.astype(np.float32) + noise
    found = fitted(rows(Dense(start, None), counts), start, target[None])
    assert np.abs(found.weight - start).max() < 0.5
    few = fitted(rows(Dense(start, None), counts[:1]), start, target[None, :1])
    np.testing.assert_array_equal(few.weight, start)


def test_errors_are_taken_over_by_the_inputs_still_to_come():
    """Two inputs that are always equal, weights 0.4 each: one by one 0 + 0, together 0 + 1 is nearest to 0.8."""
    moments = np.full((1, 2, 2), 100.0)
    assert whole(Fit(np.full((1, 2), 0.4), moments, 1e-4), np.ones(1), 7).sum() == 1
    assert whole(Fit(np.full((1, 2), 0.4), moments, np.inf), np.ones(1), 7).sum() == 0


def test_the_output_error_is_below_that_of_rounding_to_the_nearest():
    rng = np.random.default_rng(3)
    counts = np.maximum(rng.normal(size=(500, 4)) @ rng.normal(size=(4, 24)), 0).round()
    weight = rng.normal(size=(8, 24))
    scale = np.abs(weight).max(axis=1) / 7
    centred = counts - counts.mean(axis=0)
    got = whole(Fit(weight, (centred.T @ centred)[None], 1e-3), scale, 7)
    assert np.abs(got).max() <= 7
    near = np.rint(weight / scale[:, None])
    errors = [((centred @ (w * scale[:, None] - weight).T) ** 2).mean() for w in (got, near)]
    assert errors[0] < 0.5 * errors[1]


def test_a_weight_of_zero_stays_zero_and_the_others_make_up_for_it():
    """The target needs the second input, which the neuron lacks; the first, which goes with it, takes it over."""
    rng = np.random.default_rng(4)
    first = rng.integers(0, 16, (400, 1)).astype(np.float32)
    counts = np.concatenate([first, 2 * first, rng.integers(0, 16, (400, 1))], axis=1).astype(np.float32)
    start = np.array([[1.0, 0.0, 0.5], [1.0, 2.0, 0.5]])
    target = counts @ np.array([[1.0, 1.0, 0.5], [1.0, 2.0, 0.5]], np.float32).T
    found = fitted(rows(Dense(start, None), counts), start, target[None])
    np.testing.assert_allclose(found.weight[0], [3.0, 0.0, 0.5], atol=1e-2)
    assert not np.isinf(found.damping)
    assert whole(found, np.full(2, 0.4), 7)[0, 1] == 0


def test_moments_that_float32_has_made_negative_are_damped_more():
    """Two inputs that are nearly one: by rounding, their difference has a moment below zero, beyond the damping."""
    moments = np.array([[1.0, 1.001], [1.001, 1.0]])[None]
    fit = Fit(np.array([[0.4, 0.3], [-0.6, 2.0]]), moments, 1e-4)
    assert np.linalg.eigvalsh(moments[0])[0] < -1e-4
    found = whole(fit, np.ones(2), 127)
    assert (np.abs(found.sum(axis=1) - fit.weight.sum(axis=1)) <= 0.5 + 1e-9).all()  # the sum is what counts
