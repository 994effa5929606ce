"""The recurrent network: its exact step against a fine integration, its draw, its file."""

import numpy as np
import pytest

from experiments.benchmarks.peers import cuba


def test_the_step_is_the_solution_of_the_equations():
    """dv/dt = (ge + gi - (v - rest)) / 20 ms by 10,000 Euler steps of one step of 0.1 ms."""
    v, ge, gi = -57.0, 9.0, -4.0
    membrane, excited, inhibited, by_excited, by_inhibited = cuba.decays()
    expected = cuba.REST + (v - cuba.REST) * membrane + ge * by_excited + gi * by_inhibited
    end = (ge * excited, gi * inhibited)
    fine = 10_000
    for _ in range(fine):
        dt = cuba.STEP / fine
        v, ge, gi = v + dt * (ge + gi - (v - cuba.REST)) / 20, ge - dt * ge / 5, gi - dt * gi / 10
    assert v == pytest.approx(expected, rel=1e-7)
    assert (ge, gi) == pytest.approx(end, rel=1e-6)


def test_one_neuron_alone_fires_when_theory_says():
    """From -60 to the rest at -49 it meets -50 after 20 ms x ln 11; then 50 steps of rest and the same again."""
    alone = cuba.Cuba(np.zeros(2, np.int64), np.zeros(0, np.int32), 1, (1.0, -1.0), np.array([-60.0]), 1600)
    times = np.flatnonzero([now.size for now in cuba.spikes(alone)])
    climb = int(np.ceil(20 * np.log(11) / cuba.STEP))
    np.testing.assert_array_equal(
        times, [climb - 1, 2 * climb - 1 + cuba.REFRACTORY, 3 * climb - 1 + 100][: len(times)]
    )
    assert len(times) == 3


def test_a_spike_arrives_one_step_later():
    """The first neuron fires at once; the second, at the threshold's edge, is driven over it two steps after."""
    start = np.array([-49.5, -50.2])
    pair = cuba.Cuba(np.array([0, 1, 1]), np.array([1], np.int32), 2, (1000.0, 0.0), start, 5)
    assert [now.tolist() for now in cuba.spikes(pair)] == [[0], [], [1], [], []]


def test_synapses_are_as_many_as_asked_for(tmp_path):
    network = cuba.draw(neurons=500, share=0.1, steps=40)
    assert len(network.indices) == pytest.approx(25_000, rel=0.03)
    sum_of_excitation = network.weights[0] * 0.1 * 500
    assert sum_of_excitation == pytest.approx(60 * 0.27 / 10 * 80)
    cuba.save(network, tmp_path / "w.npz")
    again = cuba.load(tmp_path / "w.npz")
    np.testing.assert_array_equal(again.indices, network.indices)
    np.testing.assert_array_equal(again.start, network.start)
    assert (again.excitatory, again.weights, again.steps) == (network.excitatory, network.weights, 40)


def test_what_is_compared():
    found = [np.array([0, 2]), np.array([], int), np.array([2])]
    of_neuron, of_step = cuba.checked(found, 4, steps=2)
    np.testing.assert_array_equal(of_neuron, [[1, 0, 1, 0]])
    np.testing.assert_array_equal(of_step, [[2, 0]])
