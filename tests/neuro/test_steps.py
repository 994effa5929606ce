"""Functions with thresholds of their own against their definition, value by value."""

from math import inf

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuro.steps import Steps

BY_CHANNEL = Steps(thresholds=np.array([[3.0, -1.0], [0.5, 0.25], [2.0, inf]]), unit=0.5, start=-1.0)


def by_hand(thresholds, x, unit, start):
    return start + unit * sum(float(x >= t) for t in thresholds)


@settings(max_examples=30)
@given(
    thresholds=st.lists(st.floats(-8, 8, width=32, allow_subnormal=False), min_size=1, max_size=20),
    values=st.lists(st.floats(-9, 9, width=32, allow_subnormal=False), min_size=1, max_size=20),
    unit=st.sampled_from([0.125, 0.5, 2.0]),
)
def test_every_value_is_compared_with_every_threshold(thresholds, values, unit):
    function = Steps(thresholds=np.array(thresholds), unit=unit, start=-3.0)
    x = np.array([*values, *thresholds])
    wanted = [by_hand(thresholds, v, unit, -3.0) for v in x]
    assert function.exact(x).tolist() == wanted
    assert function(jnp.asarray(x[None], jnp.float32))[0].tolist() == wanted


def test_channels_are_the_axis_behind_the_batch():
    x = np.array([[[0.4, 0.5, 2.5, 3.0], [-2.0, -1.0, 0.25, 9.0]]])
    wanted = [[[-1.0, -0.5, 0.0, 0.5], [-1.0, -0.5, 0.0, 0.0]]]
    assert BY_CHANNEL.exact(x).tolist() == wanted
    assert BY_CHANNEL(jnp.asarray(x, jnp.float32)).tolist() == wanted


def test_crossings_are_where_the_value_is_reached():
    values = np.array([[-1.0, -1.0], [-0.5, -0.6], [0.0, 0.25], [0.5, 0.75]])
    assert BY_CHANNEL.crossings(values).tolist() == [[-inf, -inf], [0.5, -1.0], [2.0, inf], [3.0, inf]]
    alike = Steps(thresholds=np.array([2.0, 1.0]))
    assert alike.crossings(np.array([[0.5, 1.5, 2.5]])).tolist() == [[1.0, 2.0, inf]]


def test_a_threshold_that_float32_does_not_hold():
    function = Steps(thresholds=np.array([0.1]))
    below, above = np.nextafter(np.float32(0.1), np.float32(0)), np.float32(0.1)  # 0.0999999940, 0.1000000015
    assert function(jnp.array([below, above])).tolist() == [0.0, 1.0]
    down = Steps(thresholds=np.array([0.7]))
    assert float(np.float32(0.7)) < 0.7
    assert down(jnp.array([np.float32(0.7), np.nextafter(np.float32(0.7), np.float32(1))])).tolist() == [0.0, 1.0]


def test_what_is_known_of_it():
    assert (BY_CHANNEL.low, BY_CHANNEL.high, BY_CHANNEL.steps, BY_CHANNEL.channels) == (-1.0, 0.5, 3, 2)
    assert BY_CHANNEL.part(1, 2).thresholds.tolist() == [[-1.0], [0.25], [inf]]
    same = Steps(thresholds=BY_CHANNEL.thresholds, unit=0.5, start=-1.0)
    assert same != BY_CHANNEL
    assert repr(same) == repr(BY_CHANNEL)
    assert repr(BY_CHANNEL) != repr(Steps(thresholds=BY_CHANNEL.thresholds + 1, unit=0.5, start=-1.0))


@pytest.mark.parametrize(
    "given", [{"thresholds": np.zeros(0)}, {"thresholds": np.array([np.nan])}, {"unit": 0.0}, {"start": inf}]
)
def test_refused(given):
    with pytest.raises(ValueError, match=r"thresholds|steps"):
        Steps(**given)
