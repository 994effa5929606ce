"""Energy and time by hand, and the algebra of cost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuro.cost import Prices, cost, duration, unpriced
from neuro.counts import Counts, Path, average
from neuro.errors import BadDescription

PRICES = Prices({"mac": 2.0, "read": 3.0}, {"mac": 0.5, "read": 1.0}, active_power=10.0, idle_power=4.0)


def path(*stages: list[tuple[float, float]]) -> Path:
    """[stage, resource, (mac, read)]."""
    return Path(("mac", "read"), jnp.asarray(stages))


TWO = path([(4.0, 0.0), (0.0, 1.0)], [(0.0, 3.0), (2.0, 0.0)])  # max(2, 1) + max(3, 1) = 5 s
ONE = path([(4.0, 1.0), (0.0, 0.0)])  # 4 x 0.5 + 1 = 3 s
COUNTS = Counts({"mac": jnp.float32(6), "read": jnp.float32(4)}, TWO, ONE, batch=2)


def test_by_hand():
    """Events of two samples: 6 x 2 / 2 and 4 x 3 / 2 J; 3 s for two, 10 W x 1.5 s; 5 s of latency."""
    c = cost(COUNTS, PRICES)
    assert {k: float(v) for k, v in c.energy.items()} == {"mac": 6.0, "read": 6.0, "static": 15.0}
    assert (float(c.latency), float(c.interval), float(c.total)) == (5.0, 1.5, 27.0)


@pytest.mark.parametrize(("every", "idle"), [(4.0, 10.0), (1.5, 0.0), (0.5, 0.0)])
def test_waiting_costs_idle_power(every, idle):
    """4 W for what is left of the time between samples; nothing where samples come faster than they are done."""
    c = cost(COUNTS, PRICES, every)
    assert float(c.energy["idle"]) == idle
    assert float(c.total) == 27 + idle


def test_a_stage_takes_as_long_as_its_slowest_resource():
    assert duration(TWO, PRICES.time) == 5
    assert duration(TWO, {"mac": 0.5, "read": 0.1}) == 2 + 1
    assert duration(path([(1.0, 1.0)], [(1.0, 1.0)]), PRICES.time) == 3


def test_what_has_no_price_is_named():
    counts = Counts({"mac": jnp.float32(0), "hop": jnp.float32(1)}, TWO, Path(("spin",), jnp.ones((1, 1, 1))))
    prices = Prices({}, {"mac": 1.0}, 1.0, 1.0)
    assert unpriced(counts, prices) == ["energy.mac", "energy.hop", "time.read", "time.spin"]
    with pytest.raises(BadDescription, match=r"energy\.mac, energy\.hop, time\.read, time\.spin"):
        cost(counts, prices)


def test_the_slope_in_a_price_is_the_count():
    slopes = jax.grad(lambda prices: cost(COUNTS, prices).total)(jax.tree_util.tree_map(jnp.float32, PRICES))
    assert {k: float(v) for k, v in slopes.energy.items()} == {"mac": 3.0, "read": 2.0}
    assert {k: float(v) for k, v in slopes.time.items()} == {"mac": 20.0, "read": 5.0}  # 10 W x 4 and 1 events / 2
    assert (float(slopes.active_power), float(slopes.idle_power)) == (1.5, 0.0)


@pytest.mark.parametrize("name", ["mac", "read"])
def test_twice_the_price_is_twice_the_component(name):
    base = cost(COUNTS, PRICES)
    dear = cost(COUNTS, Prices({**PRICES.energy, name: 2 * PRICES.energy[name]}, PRICES.time, 10.0, 4.0))
    for key in base.energy:
        assert float(dear.energy[key]) == float(base.energy[key]) * (2 if key == name else 1)


def test_items_and_draws_are_mapped():
    def path_of(counts: list[float]) -> Path:
        return Path(("mac",), jnp.array(counts).reshape(3, 1, 1, 1))

    items = Counts({"mac": jnp.arange(3.0)}, path_of([0.0, 1.0, 2.0]), path_of([1.0, 1.0, 1.0]))

    def priced(counts: Counts, energy, time):
        c = cost(counts, Prices({"mac": energy}, {"mac": time}, 0.0, 0.0))
        return c.energy["mac"], c.latency

    draws = jax.vmap(jax.vmap(priced, (0, None, None)), (None, 0, 0))
    energy, latency = draws(items, jnp.array([1.0, 2.0]), jnp.array([1.0, 3.0]))
    np.testing.assert_array_equal(energy, [[0, 1, 2], [0, 2, 4]])
    np.testing.assert_array_equal(latency, [[0, 1, 2], [0, 3, 6]])


def test_average_over_items():
    items = Counts(
        {"mac": jnp.array([1.0, 2.0, 6.0])},
        Path(("mac",), jnp.array([1.0, 2.0, 6.0]).reshape(3, 1, 1, 1)),
        Path(("mac",), jnp.array([0.0, 0.0, 4.0]).reshape(3, 1, 1, 1)),
        batch=5,
    )
    mean = average(items, np.array([2.0, 1.0, 1.0], np.float32))
    assert (float(mean.events["mac"]), mean.batch) == (2.5, 5)
    assert mean.latency.counts.tolist() == [[[2.5]]]
    assert mean.interval.counts.tolist() == [[[1.0]]]
