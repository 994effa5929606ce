"""The joint draws have the quantiles, correlations and tails that the scheme states."""

import numpy as np
import pytest
from scipy import stats

from experiments.uncertainty import ERROR_FREEDOM, NINETY, Latent, bootstrap, draw, factors
from neuro.constants import Constant

NUMBER = 4096


def latent(value="2", low="1", high="8", source="a", machine="m", shared=""):
    entry = {"value": value, "low": low, "high": high, "source": source, "basis": "assumed", "shared": shared}
    return Latent(machine, f"energy.{source}", Constant(**entry))


def test_quantiles_are_low_value_high():
    draws = draw([latent()], 0, NUMBER, seed=0)
    p5, p50, p95 = 2 * np.quantile(draws.factors[:, 0], [0.05, 0.5, 0.95])
    assert (p5, p50, p95) == pytest.approx((1, 2, 8), rel=0.02)


def test_a_bound_is_one_sided():
    lower = draw([latent(low="2")], 0, NUMBER, seed=0).factors
    assert lower.min() == 1.0  # the value is the floor: half of the belief sits on it
    assert (lower == 1.0).mean() == pytest.approx(0.5, abs=0.02)
    assert np.quantile(lower, 0.95) == pytest.approx(4, rel=0.03)


@pytest.mark.parametrize("rho", [0.0, 0.8, 1.0])
def test_constants_of_one_group_are_correlated_by_rho_and_others_not(rho):
    pair = [latent(low="1", high="4"), latent(low="1", high="4"), latent(low="1", high="4", source="b")]
    z = np.log2(draw(pair, 0, NUMBER, seed=3, rho=rho).factors)
    correlation = np.corrcoef(z.T)
    assert correlation[0, 1] == pytest.approx(rho, abs=0.05)
    assert correlation[0, 2] == pytest.approx(0, abs=0.05)


def test_shared_physics_is_one_draw_across_machines_whatever_rho():
    both = [latent(machine="a", shared="dram"), latent(machine="b", source="other", shared="dram")]
    draws = draw(both, 0, NUMBER, seed=0, rho=0.0).factors
    np.testing.assert_array_equal(draws[:, 0], draws[:, 1])


def test_model_errors_have_their_half_width_as_ninety_percent_range_and_heavy_tails():
    scores = draw([latent()], 2, NUMBER, seed=1).scores
    assert scores.shape == (NUMBER, 2, 2)
    for score in scores.reshape(NUMBER, 4).T:
        assert np.quantile(score, [0.05, 0.95]) == pytest.approx([-1, 1], rel=0.03)
        assert np.quantile(score, 0.999) > stats.norm.ppf(0.999) / NINETY, f"Student-t, {ERROR_FREEDOM} degrees"


def test_factors_at_both_ends_by_hand():
    ends = factors([latent()], np.array([[NINETY], [-NINETY], [0.0], [2 * NINETY]]))
    assert ends[:, 0] == pytest.approx([4, 0.5, 1, 16])


def test_same_seed_same_draws_and_another_seed_others():
    first, again, other = (draw([latent()], 0, 64, seed=s).factors for s in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_the_bootstrap_has_the_spread_of_a_mean_and_is_shared_by_all_columns():
    values = np.random.default_rng(0).exponential(size=(400, 1)).astype(np.float32)
    means = bootstrap(np.concatenate([values, 3 * values], axis=1), NUMBER, seed=0)
    assert means[:, 0].mean() == pytest.approx(values.mean(), rel=0.01)
    assert means[:, 0].std() == pytest.approx(values.std() / np.sqrt(400), rel=0.06)
    np.testing.assert_allclose(means[:, 1], 3 * means[:, 0], rtol=1e-5)
    assert np.isfinite(bootstrap(values[:1], 64, seed=0)).all()  # one item may be drawn zero times
