"""Scales chosen from data against exhaustive search written out in loops."""

import numpy as np
import pytest

from converters.calibrate import CLIPS, SHRINKS, balanced, least_squares_clip, percentile, weight_scale


@pytest.mark.parametrize("levels", [1, 3, 15])
def test_clip_is_the_best_of_the_grid(levels):
    activation = np.maximum(np.random.default_rng(0).normal(size=(5, 3, 2)), 0).astype(np.float32)
    got = least_squares_clip(activation, levels)
    for channel in range(3):
        values = activation[:, channel].ravel().astype(np.float64)
        errors = []
        for fraction in CLIPS:
            unit = fraction * values.max() / levels
            errors.append(np.mean([(min(int(v / unit + 0.5), levels) * unit - v) ** 2 for v in values]))
        chosen = np.argmin(np.abs(CLIPS * values.max() - got[channel]))
        assert got[channel] == pytest.approx(CLIPS[chosen] * values.max())
        assert errors[chosen] <= min(errors) * (1 + 1e-4)  # the project's search runs in float32


def test_many_levels_need_no_clipping_and_outliers_do():
    ramp = np.linspace(0.0, 1.0, 200)[:, None]
    assert least_squares_clip(ramp, 255)[0] == pytest.approx(1.0, abs=0.03)
    outlier = np.concatenate([np.full((200, 1), 0.2), np.ones((1, 1))])
    assert least_squares_clip(outlier, 1)[0] < 0.5


def test_a_silent_channel_takes_the_largest_value_of_its_layer():
    activation = np.stack([np.zeros(50), np.linspace(0.0, 3.0, 50)], axis=1)
    got = least_squares_clip(activation, 15)
    assert got[0] == pytest.approx(3 * CLIPS[0])  # any clip is right for zeros: the first of the grid
    assert 2 < got[1] <= 3.0001
    assert (least_squares_clip(np.zeros((4, 2)), 15) > 0).all()


def test_weight_scale_is_the_best_of_the_grid():
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(3, 5)), rng.normal(size=(3, 2, 2)) * 0.1
    got = weight_scale([first, second], 7, 3)
    for channel in range(3):
        flat = np.concatenate([first[channel], second[channel].ravel()])
        best = (np.inf, 0.0)
        for shrink in SHRINKS:
            scale = np.abs(flat).max() * shrink / 7
            rounded = np.clip(np.round(flat / scale), -7, 7) * scale
            best = min(best, (((rounded - flat) ** 2).sum(), scale))
        assert got[channel] == pytest.approx(best[1])


def test_weights_on_a_grid_are_kept():
    """Multiples of 1/7 up to 1 in four bits: scale 1/7, no error."""
    assert weight_scale([np.arange(-7, 8)[None] / 7], 7, 1)[0] == pytest.approx(1 / 7)
    assert weight_scale([np.zeros((2, 3))], 7, 2).min() > 0


def test_percentile_is_above_zero():
    assert percentile(np.zeros((3, 2))) > 0
    assert percentile(np.arange(1001.0)[None], 99.9) == pytest.approx(999)


def test_balancing_by_hand():
    """Batches of two. Channel 0: 0 + 2 mean(1, 3) = 4; 4 + 2 mean(0, 2) = 6. Channel 1 never fires: the other's."""
    activation = np.array([[1.0, 0], [3, 0], [2, 0], [6, 0]])
    np.testing.assert_allclose(balanced(np.asarray(activation, np.float32), batch=2), [6, 6])
    maps = np.stack([activation, activation], axis=2)  # two places of a map do not change a mean
    np.testing.assert_allclose(balanced(np.asarray(maps, np.float32), batch=2), [6, 6])
    rare = np.asarray([[0.0], [0], [0], [4]], np.float32)  # 2 (4 - c) / 4 more each time
    assert [balanced(rare, 4, passes).item() for passes in (1, 2, 3)] == [2, 3, 3.5]
