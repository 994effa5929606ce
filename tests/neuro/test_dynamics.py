"""Single neurons against traces worked out by hand, NumPy against JAX, and refusals."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuro.dynamics import Dynamics, advance, initial
from neuro.errors import BadInput


def run(dynamics: Dynamics, currents: list[float], xp=np) -> tuple[list[int], list[float], list[int]]:
    """Spikes, membranes and updates of one neuron."""
    state = initial(dynamics, (1,), xp)
    spikes, membranes, updated = [], [], []
    for current in currents:
        state, outcome = advance(dynamics, state, xp.asarray([current], state.membrane.dtype), xp)
        spikes.append(int(outcome.spikes[0]))
        membranes.append(float(state.membrane[0]))
        updated.append(int(outcome.updated[0]))
    return spikes, membranes, updated


def test_hard_and_soft_reset():
    """Threshold 5, currents of 3: 3, 6 fires; hard begins again at 0, soft keeps 1, then 4, 7 fires, keeps 2."""
    assert run(Dynamics(5), [3, 3, 3, 3])[:2] == ([0, 1, 0, 1], [3, 0, 3, 0])
    assert run(Dynamics(5, reset="soft"), [3, 3, 3, 3])[:2] == ([0, 1, 0, 1], [3, 1, 4, 2])


def test_a_strict_neuron_does_not_fire_at_its_threshold():
    assert run(Dynamics(6), [3, 3, 3])[0] == [0, 1, 0]
    assert run(Dynamics(6, strict=True), [3, 3, 3])[0] == [0, 0, 1]


def test_leak_and_truncation():
    """Half is kept: -7 -> -3.5, truncated towards zero -3 -> -1 -> 0; to quarters: 1 -> 0.5 -> 0.25 -> 0 (1/8)."""
    assert run(Dynamics(99, decay=0.5, quantum=1), [-7, 0, 0, 0])[1] == [-7, -3, -1, 0]
    assert run(Dynamics(99, decay=0.5, quantum=0.25), [1, 0, 0, 0])[1] == [1, 0.5, 0.25, 0]
    assert run(Dynamics(99, decay=0.5), [1, 0, 0, 0])[1] == [1, 0.5, 0.25, 0.125]


def test_synaptic_current():
    """Current 8, 4, 2, 1 with half kept; the membrane adds it up: 8, 12, 14, 15."""
    assert run(Dynamics(99, current_decay=0.5), [8, 0, 0, 0])[1] == [8, 12, 14, 15]


def test_receptors_decay_apart():
    """Receptor 0 keeps half of 8, 4, 2; receptor 1 three quarters of -8: truncated to -6, -4 (4.5), -3. The membrane
    adds both up: 0, 0 + 4 - 6 = -2, -2 + 2 - 4 = -4, -4 + 1 - 3 = -6."""
    dynamics = Dynamics(99, current_decay=(0.5, 0.75), quantum=1)
    for xp in (np, jnp):
        state, membranes = initial(dynamics, (1,), xp), []
        for arriving in ([[8], [-8]], *[[[0], [0]]] * 3):
            state, _ = advance(dynamics, state, xp.asarray(arriving, state.membrane.dtype), xp)
            membranes.append(float(state.membrane[0]))
        assert membranes == [0, -2, -4, -6]
        assert state.current.ravel().tolist() == [1, -3]


@given(st.lists(st.tuples(st.integers(-30, 50), st.integers(-30, 50)), min_size=1, max_size=12), st.integers(0, 8))
def test_receptors_of_one_decay_are_one(currents, kept):
    """Without truncation, currents that decay alike add up to the current of their sum."""
    both, one = Dynamics(40, current_decay=(kept / 8, kept / 8)), Dynamics(40, current_decay=kept / 8)
    state, apart = initial(both, (1,)), []
    for pair in currents:
        state, outcome = advance(both, state, np.array(pair, float)[:, None])
        apart.append(int(outcome.spikes[0]))
    assert apart == run(one, [sum(pair) for pair in currents])[0]


def test_refractory_neurons_are_deaf():
    """Fires in step 0, holds for two steps, then 7 and 14 with its threshold at 10."""
    assert run(Dynamics(10, refractory=2), [12, 7, 7, 7, 7])[:2] == ([1, 0, 0, 0, 1], [0, 0, 0, 7, 0])


def test_saturation():
    assert run(Dynamics(99, saturation=10), [8, 8, -30])[1] == [8, 10, -10]


def test_adaptive_threshold():
    """Threshold 4, raised by 4 per spike, half of that kept: 4 fires (a = 4); 4 < 8 (a = 2); 8 >= 6 fires (a = 5);
    soft reset leaves 2, and 6 < 9."""
    dynamics = Dynamics(4, reset="soft", adaptation=4, adaptation_decay=0.5)
    assert run(dynamics, [4, 4, 4, 4])[:2] == ([1, 0, 1, 0], [0, 4, 2, 6])


def test_adaptation_as_a_current():
    """A spike in step 0 leaves an inhibition of 4, 2, 1: 4 - 4 = 0, then 4 - 2 = 2, then 2 + 4 - 1 = 5 fires."""
    dynamics = Dynamics(4, adaptation=4, adaptation_decay=0.5, adapts="current")
    assert run(dynamics, [4, 4, 4, 4])[:2] == ([1, 0, 0, 1], [0, 0, 2, 0])


def test_who_counts_as_updated():
    """Silent at rest; updated by an input, by a membrane that is left, by a bias, by an adaptation that is left."""
    assert run(Dynamics(9), [0, 0])[2] == [0, 0]
    assert run(Dynamics(9, decay=0), [5, 0, 0])[2] == [1, 1, 0]
    assert run(Dynamics(9, start=2, decay=0), [0, 0])[2] == [1, 0]
    assert run(Dynamics(9, bias=1), [0, 0])[2] == [1, 1]
    assert run(Dynamics(4, adaptation=2, adaptation_decay=0.5, quantum=1), [4, 0, 0, 0])[2] == [1, 1, 1, 0]


parameters = st.fixed_dictionaries(
    {
        "threshold": st.integers(1, 60),
        "bias": st.integers(-3, 3),
        "decay": st.integers(0, 8).map(lambda n: n / 8),
        "current_decay": st.integers(0, 8).map(lambda n: n / 8),
        "reset": st.sampled_from(["hard", "soft"]),
        "strict": st.booleans(),
        "refractory": st.integers(0, 3),
        "quantum": st.sampled_from([1.0, 0.25]),
        "saturation": st.sampled_from([40.0, 4096.0]),
        "adaptation": st.integers(0, 9),
        "adaptation_decay": st.integers(0, 8).map(lambda n: n / 8),
        "adapts": st.sampled_from(["threshold", "current"]),
        "start": st.integers(-9, 9),
    }
)


@settings(max_examples=40)  # each of them runs unjitted
@given(parameters, st.lists(st.integers(-30, 50), min_size=1, max_size=12))
def test_jax_does_what_numpy_does(given_parameters, currents):
    dynamics = Dynamics(**given_parameters)
    assert run(dynamics, currents, jnp) == run(dynamics, currents)


@given(st.integers(1, 50), st.lists(st.integers(0, 40), min_size=1, max_size=30))
def test_what_comes_in_is_fired_or_kept(threshold, currents):
    """Without leak, soft reset conserves: the sum of the currents is threshold times spikes plus the membrane."""
    spikes, membranes, _ = run(Dynamics(threshold, reset="soft"), currents)
    assert sum(currents) == threshold * sum(spikes) + membranes[-1]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"threshold": float("nan")}, "threshold of the neurons is not a number"),
        ({"bias": np.array([0, np.inf])}, "bias of the neurons is infinite"),
        ({"decay": 1.5}, r"decay keeps 1.5 to 1.5 of a state; it must lie in 0..1"),
        ({"current_decay": (0.5, 1.5)}, r"current_decay of receptor 1 keeps 1.5 to 1.5"),
        ({"current_decay": ()}, "current_decay is empty"),
        ({"refractory": -1}, "refractory is -1; it must not be negative"),
    ],
)
def test_refusals(fault, message):
    with pytest.raises(BadInput, match=message):
        Dynamics(**{"threshold": 1.0} | fault)
