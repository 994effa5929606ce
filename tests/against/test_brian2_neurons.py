"""Recurrent networks of leaky, refractory, adaptive neurons with delays against Brian2, spike by spike."""

import numpy as np
import pytest

from neuro.dynamics import Dynamics
from neuro.network import Network, Neurons, Projection
from neuro.trace import simulate

STEPS, LINES, CELLS = 250, 20, 40
LEAK, FADE, REFRACTORY, RISE, FORGET = 0.05, 0.3, 2, 0.4, 0.02

pytestmark = [
    pytest.mark.timeout(300),  # importing Brian2 takes long
    pytest.mark.filterwarnings("ignore::DeprecationWarning:brian2"),  # it calls pyparsing by names of old
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyparsing"),
]


def network(rng: np.random.Generator, reset: str) -> Network:
    """20 inputs, 40 neurons, four in five of them exciting; the recurrent synapses are three steps slower."""
    model = Dynamics(
        rng.uniform(0.8, 1.6, CELLS),
        bias=rng.uniform(-0.01, 0.03, CELLS),
        decay=1 - LEAK,
        current_decay=1 - FADE,
        reset=reset,
        strict=True,
        refractory=REFRACTORY,
        adaptation=RISE * (1 - FORGET),
        adaptation_decay=1 - FORGET,
    )
    pairs = [np.nonzero(rng.random((n, CELLS)) < 0.3) for n in (LINES, CELLS)]
    sign = np.where(np.arange(CELLS) < 0.8 * CELLS, 0.08, -0.3)
    weights = [rng.uniform(0.1, 0.3, len(pairs[0][0])), sign[pairs[1][0]] * rng.uniform(0.5, 1.5, len(pairs[1][0]))]
    projections = (
        Projection("in", "cells", *pairs[0], weights[0], 0),
        Projection("cells", "cells", *pairs[1], weights[1], 3),
    )
    return Network("cells", (Neurons("in", (LINES,)), Neurons("cells", (CELLS,), model)), projections)


def in_brian2(net: Network, train: np.ndarray) -> np.ndarray:
    """Spikes [step, neuron] in Brian2, integrated by Euler's method.

    Its spikes are delivered in the step in which they are sent, after the resets, and felt in the next. A neuron is
    free again when `refractory` has passed, so it is deaf for one step less. Its threshold decays before it is looked
    at, hence the larger rise.
    """
    brian2 = pytest.importorskip("brian2")
    brian2.prefs.codegen.target = "numpy"
    brian2.start_scope()
    dt = brian2.defaultclock.dt
    model = net["cells"].model
    assert model is not None
    reset = "v = 0" if model.reset == "hard" else "v -= th + a"
    cells = brian2.NeuronGroup(
        CELLS,
        """
        dv/dt = (-leak * v + u + bias) / step : 1 (unless refractory)
        du/dt = -fade * u / step : 1
        da/dt = -forget * a / step : 1
        th : 1
        bias : 1
        """,
        threshold="v > th + a",
        reset=f"{reset}; a += rise",
        refractory=(REFRACTORY + 1) * dt,
        method="euler",
        namespace={"leak": LEAK, "fade": FADE, "forget": FORGET, "rise": RISE, "step": dt},
    )
    cells.th, cells.bias = model.threshold, model.bias
    step, line = np.nonzero(train)
    groups = {"in": brian2.SpikeGeneratorGroup(LINES, line, step * dt), "cells": cells}
    edges = []
    for p in net.projections:
        edge = brian2.Synapses(groups[p.source], cells, "w : 1", on_pre="u_post += w", delay=p.delay * dt)
        edge.connect(i=p.pre, j=p.post)
        edge.w = p.weight
        edges.append(edge)
    monitor = brian2.SpikeMonitor(cells)
    whole = brian2.Network(*groups.values(), *edges, monitor)
    whole.schedule = ["start", "groups", "thresholds", "resets", "synapses", "end"]
    whole.run(len(train) * dt)
    spikes = np.zeros((len(train), CELLS), bool)
    spikes[np.rint(np.asarray(monitor.t / dt)).astype(int), np.asarray(monitor.i)] = True
    return spikes


@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_every_spike_is_that_of_brian2(reset):
    rng = np.random.default_rng(5)
    net = network(rng, reset)
    train = rng.random((STEPS, LINES)) < 0.12
    ours = simulate(net, {"in": train}, STEPS).spikes["cells"]
    np.testing.assert_array_equal(in_brian2(net, train), ours)
    assert 0.01 < ours.mean() < 0.3
    assert (ours.sum(axis=0) > 0).mean() > 0.8
