"""The verdict on made-up draws whose answer is known."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from experiments.arm import Arm, Machine, Priced, item_events, pricer
from experiments.verdict import SAME_SILICON, Swings, decide, eligible, quantity, swing, tornado
from neuro import chip
from neuro.counts import Counts, Path

LOIHI = Machine("neuromorphic", chip.load("loihi1"), partial(chip.prices, chip.load("loihi1")))
RIVAL = Machine("gpu", LOIHI.description.model_copy(update={"name": "rival"}), LOIHI.prices)
"""A conventional machine with the constants of Loihi 1."""
NUMBER = 1000


def arm(network: str, regime: str = "single", accuracy: float | None = 0.9, batch: int = 1, synops: float = 1.0) -> Arm:
    lead = (1,) if network == "spiking" else ()
    path = Path(("barrier",), np.ones((*lead, 1, 1, 1), np.float32))
    events = {"synop_dense": np.full(lead, synops, np.float32), "spike": np.full(lead, 0.0, np.float32)}
    return Arm(
        LOIHI if network == "spiking" else RIVAL,
        network,
        regime,
        "spikes",
        accuracy,
        None,
        Counts(events, path, path, batch),
    )


def priced(arms: list[Arm], energy: list[np.ndarray], latency: list[np.ndarray] | None = None) -> Priced:
    e = np.stack(energy, axis=1)
    t = np.ones_like(e) if latency is None else np.stack(latency, axis=1)
    n = len(arms)
    return Priced(tuple(arms), "chip", None, e, t, ({"static": 1.0},) * n, (1.0,) * n, (1.0,) * n)


def verdict(result: Priced, name: str = "energy"):
    still = Swings([], np.zeros((0, len(result.arms))), np.zeros((0, len(result.arms))))
    return decide(result, (result, result), still, name, 0.9)


@pytest.mark.parametrize(("share", "word"), [(0.95, "yes"), (0.9, "yes"), (0.5, "undecided"), (0.1, "no"), (0.0, "no")])
def test_probability_is_the_share_of_draws_and_words_follow_it(share, word):
    snn = np.where(np.arange(NUMBER) < share * NUMBER, 0.9, 1.1)
    result = verdict(priced([arm("spiking"), arm("integer", "batch1")], [snn, np.ones(NUMBER)]))
    assert result.p == pytest.approx(share)
    assert result.word == word
    assert result.p_twice == 0


def test_at_least_twice_and_the_ratio_band():
    snn = np.where(np.arange(NUMBER) < 300, 0.4, 0.8)
    result = verdict(priced([arm("spiking"), arm("float", "batch1")], [snn, np.ones(NUMBER)]))
    assert (result.p, result.p_twice) == (1.0, 0.3)
    assert result.ratio == pytest.approx((0.4, 0.8, 0.8))


def test_the_best_by_median_of_each_side_is_compared():
    arms = [arm("spiking"), replace(arm("spiking"), code="bits"), arm("float", "batch1"), arm("integer", "batch1")]
    result = verdict(priced(arms, [np.full(NUMBER, v) for v in (5.0, 2.0, 3.0, 4.0)]))
    assert (result.best_snn, result.best_rival) == (arms[1].name, arms[2].name)
    assert result.p == 1.0


def test_graded_spikes_are_named_apart_from_binary_ones():
    """The best arm sends integers; what spikes are worth on the same silicon is asked of the best binary one."""
    graded, bits = replace(arm("spiking"), code="graded"), replace(arm("spiking"), code="bits")
    same = replace(arm("integer"), machine=LOIHI, precision="graded")
    arms = [graded, bits, same, arm("float", "batch1")]
    result = verdict(priced(arms, [np.full(NUMBER, v) for v in (1.0, 2.0, 1.5, 3.0)]))
    assert (result.best_snn, result.best_binary_snn) == (graded.name, bits.name)
    assert result.classes[SAME_SILICON] == (same.name, 0.0)
    alone = verdict(priced([graded, *arms[2:]], [np.full(NUMBER, v) for v in (1.0, 1.5, 3.0)]))
    assert (alone.best_snn, alone.best_binary_snn) == (graded.name, None)
    assert SAME_SILICON not in alone.classes


def test_an_arm_that_lost_more_than_a_point_of_accuracy_does_not_stand_for_the_network():
    arms = [arm("spiking", accuracy=0.889), arm("spiking", accuracy=0.8901), arm("integer", "batch1")]
    assert eligible(priced(arms, [np.ones(NUMBER)] * 3), "energy", 0.9) == [1, 2]
    assert eligible(priced(arms, [np.ones(NUMBER)] * 3), "energy", None) == [0, 1, 2]


def test_batches_count_for_energy_back_to_back_only():
    result = priced([arm("spiking"), arm("float", "best_batch", batch=64)], [np.ones(NUMBER)] * 2)
    assert eligible(result, "energy", 0.9) == [0, 1]
    assert eligible(result, "latency", 0.9) == [0]
    assert eligible(replace(result, rate=0.5), "energy", 0.9) == [0]


def test_an_arm_too_slow_for_the_rate_is_not_ranked():
    result = replace(priced([arm("spiking"), arm("float", "batch1")], [np.ones(NUMBER)] * 2), rate=2.0)
    assert eligible(result, "energy", 0.9) == []  # a second a sample, two samples a second


def test_edp_is_the_product_draw_by_draw():
    energy, latency = np.array([1.0, 2.0]), np.array([3.0, 5.0])
    np.testing.assert_array_equal(quantity(priced([arm("spiking")], [energy], [latency]), "edp")[:, 0], [3, 10])


def test_the_integer_network_on_a_spiking_chip_is_no_rival_but_tells_spikes_from_silicon():
    graded = replace(arm("integer"), machine=LOIHI, precision="graded")
    mac = replace(graded, precision="mac")
    arms = [arm("spiking"), graded, mac, arm("integer", "batch1")]
    result = verdict(priced(arms, [np.full(NUMBER, v) for v in (2.0, 1.5, 1.0, 3.0)]))
    assert (result.best_snn, result.best_rival, result.p) == (arms[0].name, arms[3].name, 1.0)
    assert set(result.classes) == {"edge", SAME_SILICON}
    assert result.classes[SAME_SILICON] == (mac.name, 0.0)  # the better one of the two
    alone = verdict(priced(arms[:3], [np.ones(NUMBER)] * 3))
    assert (alone.best_rival, alone.ratio) == (None, None)


def test_another_chips_integer_network_is_not_the_same_silicon():
    loihi2 = chip.load("loihi2")
    other = replace(arm("integer"), machine=Machine("neuromorphic", loihi2, partial(chip.prices, loihi2)))
    result = verdict(priced([arm("spiking"), other, arm("float", "batch1")], [np.ones(NUMBER)] * 3))
    assert SAME_SILICON not in result.classes


def test_no_spiking_arm_means_no():
    result = verdict(priced([arm("integer", "batch1")], [np.ones(NUMBER)]))
    assert (result.p, result.word, result.best_snn, result.ratio) == (0.0, "no", None, None)


def test_the_tornado_is_led_by_the_constant_that_moves_the_ratio_most():
    # both arms wait one barrier; only the spiking one has many synaptic operations, so their price decides
    pair = (arm("spiking", synops=1e6), replace(arm("integer", "batch1", synops=1.0), machine=LOIHI))
    run, mean = pricer(pair, [LOIHI], "chip", rows=200), item_events(pair, 1)[0]
    drivers = tornado(swing(run, [LOIHI], mean, None), 0, 1, "energy")
    constant = LOIHI.description.energy.synop_dense
    assert [driver.factor for driver in drivers] == sorted((d.factor for d in drivers), reverse=True)
    by_path = {driver.path: driver.factor for driver in drivers}
    static = 0.0962 * 0.6e-6

    def ratio(price):
        return (1e6 * price + static) / (price + static)

    assert by_path["energy.synop_dense"] == pytest.approx(ratio(constant.high) / ratio(constant.low), rel=1e-3)
    assert by_path["energy.hop"] == pytest.approx(1.0)
