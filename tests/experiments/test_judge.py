"""Two scenarios judged from the same draws."""

import numpy as np
import pytest

from experiments.judge import judge


@pytest.fixture(scope="module")
def judged(comparison):
    arms = tuple(arm for arm in comparison.arms if arm.counts is not None)
    return judge(arms, list(comparison.machines), 40, "chip", (None, 100.0), 1.0, 64, 0, lambda n: None)


def test_idle_power_is_all_that_a_rate_adds(judged):
    still, paced = judged[0].priced, judged[1].priced
    np.testing.assert_array_equal(still.latency, paced.latency)
    for i, arm in enumerate(still.arms):
        before, after = still.components[i], paced.components[i]
        idle = dict(after)
        added = idle.pop("idle")
        assert idle == pytest.approx(before, rel=1e-6), arm.name
        power = arm.machine.description.power["chip"].idle.value
        assert added == pytest.approx(power * max(0.01 - still.nominal_interval[i], 0), rel=1e-3)


def test_every_verdict_is_a_share_of_the_draws(judged):
    for judgement in judged:
        for verdict in judgement.verdicts:
            assert verdict.p * 64 == pytest.approx(round(verdict.p * 64))
            assert verdict.p_twice <= verdict.p
