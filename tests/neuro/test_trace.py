"""Runs of whole networks: by hand, against dense products step by step, and conservation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuro.dynamics import Dynamics
from neuro.errors import BadInput
from neuro.network import Network, Neurons, Projection
from neuro.trace import simulate, synops


def ring(size: int, delay: int) -> Network:
    """One neuron excites the next, around."""
    around = Projection("ring", "ring", np.arange(size), np.roll(np.arange(size), -1), np.ones(size, int), delay)
    start = Projection("in", "ring", np.zeros(1, int), np.zeros(1, int), np.ones(1, int))
    return Network("ring", (Neurons("in", (1,)), Neurons("ring", (size,), Dynamics(1.0))), (start, around))


@pytest.mark.parametrize("delay", [0, 2])
def test_a_spike_goes_around(delay):
    """In at step 0, neuron 0 in step 1, neuron k in step 1 + k (1 + delay); one spike and one synapse at a time."""
    network, steps = ring(3, delay), 14
    train = np.zeros((steps, 1), bool)
    train[0] = True
    trace = simulate(network, {"in": train}, steps)
    step, neuron = np.nonzero(trace.spikes["ring"])
    expected = np.arange(1, steps, 1 + delay)
    assert step.tolist() == expected.tolist()
    assert neuron.tolist() == [k % 3 for k in range(len(expected))]
    entering, around = synops(network, trace)
    assert entering.tolist() == [1] + [0] * (steps - 1)
    assert around.tolist() == trace.spikes["ring"].sum(axis=1).tolist()
    assert trace.updated["ring"].tolist() == around.tolist()  # nobody else is touched


def random_network(rng: np.random.Generator) -> Network:
    def connected(source: str, target: str, sizes: tuple[int, int], delay: int) -> Projection:
        pre, post = rng.integers(0, sizes[0], 60), rng.integers(0, sizes[1], 60)
        return Projection(source, target, pre, post, rng.integers(-5, 12, 60), delay)

    leaky = Dynamics(rng.integers(10, 40, 12).astype(float), decay=0.75, quantum=1.0, strict=True)
    plain = Dynamics(20.0, bias=rng.integers(-2, 4, 7).astype(float), reset="soft", current_decay=0.5, quantum=1.0)
    populations = (Neurons("in", (9,)), Neurons("a", (3, 4), leaky), Neurons("b", (7,), plain))
    projections = (
        connected("in", "a", (9, 12), 0),
        connected("a", "a", (12, 12), 1),
        connected("a", "b", (12, 7), 0),
        connected("b", "a", (7, 12), 3),
        connected("in", "b", (9, 7), 2),
    )
    return Network("random", populations, projections)


def dense(network: Network, train: np.ndarray) -> dict[str, np.ndarray]:
    """The same in plain loops over neurons and integers, all arrivals looked up in the past."""
    steps = len(train)
    spikes = {p.name: np.zeros((steps, p.size), bool) for p in network.populations} | {"in": train}
    membrane = {n: np.zeros(network.size(n)) for n in "ab"}
    current = np.zeros(7)
    for t in range(steps):
        arriving = {n: np.zeros(network.size(n)) for n in "ab"}
        for p in network.projections:
            if t - 1 - p.delay >= 0:
                for i, j, w in zip(p.pre, p.post, p.weight, strict=True):
                    arriving[p.target][j] += w * spikes[p.source][t - 1 - p.delay, i]
        membrane["a"] = np.trunc(membrane["a"] * 3 / 4) + arriving["a"]
        spikes["a"][t] = membrane["a"] > network["a"].model.threshold
        membrane["a"][spikes["a"][t]] = 0
        current = np.trunc(current / 2) + arriving["b"]
        membrane["b"] += current + network["b"].model.bias
        spikes["b"][t] = membrane["b"] >= 20
        membrane["b"] -= 20 * spikes["b"][t]
    return spikes


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_random_networks(seed):
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    train = rng.random((25, 9)) < 0.3
    trace = simulate(network, {"in": train}, 25)
    expected = dense(network, train)
    for name, spikes in trace.spikes.items():
        np.testing.assert_array_equal(spikes, expected[name], err_msg=name)
    for p, operations in zip(network.projections, synops(network, trace), strict=True):
        assert operations.sum() == sum(int(expected[p.source][:, i].sum()) for i in p.pre)


def test_projections_reach_their_receptors():
    """One line, three synapses: 8 into a current that halves, -3 a step later and -8 two steps later into one that
    keeps three quarters. Currents 8, 4, 2, 1 and 0, -3, -10.25, -7.6875: the membrane is their running sum."""
    model = Dynamics(99.0, current_decay=(0.5, 0.75))
    one = np.zeros(1, int)
    projections = tuple(
        Projection("in", "cell", one, one, np.array([w]), delay, receptor)
        for w, delay, receptor in ((8, 0, 0), (-3, 1, 1), (-8, 2, 1))
    )
    network = Network("cell", (Neurons("in", (1,)), Neurons("cell", (1,), model)), projections)
    train = np.zeros((5, 1), bool)
    train[0] = True
    assert simulate(network, {"in": train}, 5).membranes["cell"].tolist() == [15 - 3 - 10.25 - 7.6875]
    assert "in -> cell: 1 synapses, delay 2, receptor 1" in repr(network)


def test_samples_do_not_meet():
    rng = np.random.default_rng(1)
    network = random_network(rng)
    trains = rng.random((2, 3, 20, 9)) < 0.3
    together = simulate(network, {"in": trains}, 20)
    alone = simulate(network, {"in": trains[1, 2]}, 20)
    for name, spikes in together.spikes.items():
        assert spikes.shape == (2, 3, 20, network.size(name))
        np.testing.assert_array_equal(spikes[1, 2], alone.spikes[name])
    for name, membrane in together.membranes.items():
        np.testing.assert_array_equal(membrane[1, 2], alone.membranes[name])
        np.testing.assert_array_equal(together.updated[name][1, 2], alone.updated[name])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, r"spike trains for \[\]; its inputs are \['in'\]"),
        ({"in": np.zeros((5, 1), bool)}, r"ends in axes \(5, 1\); it needs 6 steps and 1 neurons"),
    ],
)
def test_refusals(inputs, message):
    with pytest.raises(BadInput, match=message):
        simulate(ring(3, 0), inputs, 6)
