"""Rate-coded networks against Brian2, spike by spike."""

import jax.numpy as jnp
import numpy as np
import pytest

from converters.encode import encode
from neuro.graph import Graph, Node
from neuro.layers import Dense, Input, Scale, Threshold
from neuro.simulate import simulate

STEPS, ENTERING = 32, 16

pytestmark = [
    pytest.mark.timeout(300),  # importing Brian2 takes long
    pytest.mark.filterwarnings("ignore::DeprecationWarning:brian2"),  # it calls pyparsing by names of old
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyparsing"),
]


def network(rng: np.random.Generator) -> Graph:
    """12 inputs, 10 and 8 neurons, 3 outputs."""
    one = np.ones(3, np.int64)
    nodes = [Node("in", Input((12,), ENTERING))]
    for name, before, size, fan_in in (("a", "in", 10, 12), ("b", "a", 8, 10)):
        nodes.append(Node(f"w{name}", Dense(rng.integers(-20, 30, (size, fan_in)), None), (before,)))
        th, bias = rng.integers(20, 90, size), rng.integers(-6, 7, size)
        nodes.append(Node(name, Threshold(th, bias, STEPS), (f"w{name}",)))
    nodes += [
        Node("wout", Dense(rng.integers(-9, 10, (3, 8)), None), ("b",)),
        Node("out", Scale(one, 2 * one), ("wout",)),
    ]
    return Graph("two layers", tuple(nodes))


def in_brian2(graph: Graph, entering: np.ndarray) -> dict[str, np.ndarray]:
    """Spikes [step, neuron] of both layers in global steps; entering [step, input].

    Brian2 checks thresholds, then propagates spikes, then resets: a spike of step t changes membranes in the check of
    step t + 1, one hop later, as a chip does. The bias enters before the check, in the steps of a layer's window.
    """
    brian2 = pytest.importorskip("brian2")
    brian2.prefs.codegen.target = "numpy"
    brian2.start_scope()
    dt = brian2.defaultclock.dt
    step, neuron = np.nonzero(entering)
    layers = [brian2.SpikeGeneratorGroup(entering.shape[1], neuron, step * dt)]
    synapses, monitors = [], {}
    for first, name in enumerate(("a", "b"), start=1):
        op, weight = graph[name].op, graph[f"w{name}"].op.weight
        group = brian2.NeuronGroup(
            len(weight), "v : 1\nth : 1\nbias : 1", threshold="v >= th", reset="v -= th", method="exact", name=name
        )
        group.th, group.bias, group.v = op.threshold, op.bias, op.threshold // 2
        begin, end = first, first + STEPS
        group.run_regularly(f"v += bias * int(timestep(t, dt) >= {begin}) * int(timestep(t, dt) < {end})", when="start")
        edges = brian2.Synapses(layers[-1], group, "w : 1", on_pre="v_post += w")
        target, source = np.nonzero(np.ones_like(weight))
        edges.connect(i=source, j=target)
        edges.w = weight[target, source]
        monitors[name] = brian2.SpikeMonitor(group)
        layers.append(group)
        synapses.append(edges)
    total = entering.shape[0] + 3
    brian2.Network(*layers, *synapses, *monitors.values()).run(total * dt)
    spikes = {}
    for name, monitor in monitors.items():
        spikes[name] = np.zeros((total, monitor.source.N), bool)
        spikes[name][np.rint(np.asarray(monitor.t / dt)).astype(int), np.asarray(monitor.i)] = True
    return spikes


@pytest.mark.parametrize("seed", [0, 1])
def test_every_spike_is_that_of_brian2(seed):
    rng = np.random.default_rng(seed)
    graph = encode(network(rng), "rate", STEPS)
    counts = rng.integers(0, ENTERING + 1, (1, 12))
    run = simulate(graph, jnp.asarray(counts, jnp.float32))
    there = in_brian2(graph, np.asarray(run.spikes["in"])[:, 0])
    compared = 0
    for name, window in list(graph.schedule.windows.items())[1:]:
        ours = np.asarray(run.spikes[name])[:, 0]
        np.testing.assert_array_equal(there[name][window.start : window.end], ours, err_msg=name)
        assert not there[name][: window.start].any()
        assert 0.05 < ours.mean() < 0.95
        compared += ours.size
    assert compared == STEPS * (10 + 8)
