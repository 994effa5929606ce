"""Trains of Brian2's input groups, against what Brian2 sends and by hand."""

import numpy as np
import pytest

from converters.brian2_inputs import train
from converters.brian2_values import Scope

brian2 = pytest.importorskip("brian2")
ms, Hz = brian2.ms, brian2.Hz

pytestmark = [
    pytest.mark.timeout(300),  # importing Brian2 takes long
    pytest.mark.filterwarnings("ignore::DeprecationWarning:brian2"),  # it calls pyparsing by names of old
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyparsing"),
]
STEP = 1e-4


def taken(group, steps: int = 100, known=None, seed: int | None = 1):
    problems: list[str] = []
    rng = None if seed is None else np.random.default_rng(seed)
    changing = frozenset({id(group.variables["t"])})
    return train(group, Scope(group, known or {}, changing), steps, STEP, rng, problems), problems


def test_prescribed_spikes_are_those_of_brian2():
    brian2.prefs.codegen.target = "numpy"
    rng = np.random.default_rng(4)
    step, neuron = np.nonzero(rng.random((100, 5)) < 0.2)
    lines = brian2.SpikeGeneratorGroup(5, neuron, step * STEP * brian2.second)
    monitor = brian2.SpikeMonitor(lines)
    sent, problems = taken(lines)
    brian2.Network(lines, monitor).run(10 * ms)
    there = np.zeros_like(sent)
    there[np.rint(np.asarray(monitor.t_) / STEP).astype(int), np.asarray(monitor.i)] = True
    np.testing.assert_array_equal(sent, there)
    assert problems == []


def test_two_spikes_of_a_neuron_in_a_step_are_refused_as_brian2_does():
    lines = brian2.SpikeGeneratorGroup(2, [0, 1, 1], [1, 2, 2.04] * ms, name="lines")
    assert taken(lines)[1] == [
        "SpikeGeneratorGroup 'lines': a neuron of it sends two spikes in one step, which Brian2 refuses as well"
    ]
    with pytest.raises(brian2.BrianObjectException):
        brian2.Network(lines).run(10 * ms)


def test_rates_that_are_written_out():
    sent, problems = taken(brian2.PoissonGroup(4, "i * base"), 20000, {"base": 400 * Hz})
    assert problems == []
    wanted = np.arange(4) * 400 * STEP
    assert np.all(np.abs(sent.mean(axis=0) - wanted) <= 5 * np.sqrt(wanted / 20000))


def test_rates_that_change_are_refused():
    group = brian2.PoissonGroup(4, "(1 + sin(t / ms)) * 10*Hz", name="noise")
    assert taken(group)[1] == ["PoissonGroup 'noise': its rates change: t changes during a run"]
    table = brian2.TimedArray([1, 2] * Hz, dt=1 * ms)
    (problem,) = taken(brian2.PoissonGroup(4, "table(0*ms)", name="noise"), known={"table": table})[1]
    assert "table is TimedArray, no constant" in problem
