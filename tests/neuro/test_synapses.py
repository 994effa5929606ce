"""Unrolled graphs against the layers they come from: synapse counts, arriving sums, spikes under the rate code."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.encode import encode
from neuro.errors import DoesNotFit, Unsupported
from neuro.graph import Graph, Node
from neuro.layers import Dense, Input, MaxPool, Relu, Scale, Threshold
from neuro.reach import fan_out
from neuro.simulate import simulate as simulate_graph
from neuro.stages import populations, propagate, sources
from neuro.synapses import unroll
from neuro.trace import simulate, synops

STRUCTURES = range(8)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_every_synapse_is_that_of_the_layers(structure, random_network):
    """Synapses between each pair of populations as `fan_out` counts them, neuron by neuron on both sides, and sums
    as `propagate` gives them."""
    rng = np.random.default_rng(structure)
    graph = random_network(structure, rng)
    network, reach = unroll(graph), fan_out(graph)
    found = {(p.source, p.target): p for p in network.projections}
    assert set(found) == {(s, n.name) for n in populations(graph)[1:] for s in sources(graph, n.name)}
    for node in populations(graph)[1:]:
        size, shape = graph.size(node.name), graph.shapes[node.name]
        per_source = reach(node.name, np.ones((1, *shape), np.float32))
        groups = np.zeros((size, size), np.float32)
        np.fill_diagonal(groups, 1)
        per_target = reach(node.name, groups.reshape(size, *shape))
        values = {s: rng.integers(0, 8, (1, *graph.shapes[s])) for s in sources(graph, node.name)}
        total = np.zeros(size)
        for source in values:
            p = found[source, node.name]
            assert network.fan_out(p).tolist() == per_source[source][0].tolist()
            assert np.bincount(p.post, minlength=size).tolist() == per_target[source].sum(axis=1).tolist()
            assert p.weight.dtype == np.int64
            total += values[source].ravel() @ network.matrix(p)
        if not isinstance(node.op, MaxPool):
            arriving = propagate(graph, node.name, {s: jnp.asarray(v, jnp.float32) for s, v in values.items()})
            offset = node.op.offset if isinstance(node.op, Scale) else 0
            np.testing.assert_array_equal(total, (np.asarray(arriving) - offset).ravel())


def unbiased(graph: Graph) -> Graph:
    """Without biases: those of an unrolled network count from step 0 on, not from the beginning of a window."""

    def rewrite(node: Node) -> Node:
        if isinstance(node.op, Threshold):
            return Node(node.name, Threshold(node.op.threshold, 0 * node.op.bias, node.op.levels), node.inputs)
        if isinstance(node.op, Scale):
            return Node(node.name, Scale(node.op.factor, 0 * node.op.offset), node.inputs)
        return node

    return Graph(graph.name, tuple(rewrite(n) for n in graph.nodes))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_spikes_are_those_of_the_layers(structure, random_network):
    """Under the rate code, every spike of every neuron in its window, and the read-out; none before the window.

    A read-out membrane is compared after the last window: later neurons of the unrolled network fire on.
    """
    rng = np.random.default_rng(structure)
    graph = encode(unbiased(random_network(structure, rng)), "rate", 6)
    counts = rng.integers(0, 8, (3, 2, 6, 5))
    run = simulate_graph(graph, jnp.asarray(counts, jnp.float32))
    assert graph.schedule is not None
    network, steps = unroll(graph), graph.schedule.total
    entering = np.zeros((3, steps, graph.size("in")), bool)
    entering[:, :6] = np.asarray(run.spikes["in"]).swapaxes(0, 1).reshape(3, 6, -1)
    trace = simulate(network, {"in": entering}, steps)
    fired = 0
    for name, window in graph.schedule.windows.items():
        if name not in run.spikes:
            continue
        expected = np.asarray(run.spikes[name]).swapaxes(0, 1).reshape(3, window.steps, -1)
        np.testing.assert_array_equal(trace.spikes[name][:, window.start : window.end], expected, err_msg=name)
        assert not trace.spikes[name][:, : window.start].any()
        fired += expected.sum()
    assert fired > 0
    assert sum(o.sum() for o in synops(network, trace)) > 0


def dense_graph(op, size: int = 2) -> Graph:
    return Graph("net", (Node("in", Input((size,), 3)), Node("op", op, ("in",))))


def test_what_cannot_be_written_out():
    weight = np.ones((2, 2), np.int64)
    with pytest.raises(Unsupported, match=r"layer 'op' \(Dense\) has a bias of its own"):
        unroll(dense_graph(Dense(weight, np.ones(2))))
    shifted = Scale(np.ones(2), np.ones(2))
    nodes = (Node("in", Input((2,), 3)), Node("a", shifted, ("in",)), Node("r", Relu(), ("a",)))
    with pytest.raises(Unsupported, match=r"layer 'a' \(Scale\) has an offset"):
        unroll(Graph("net", nodes))
    with pytest.raises(DoesNotFit, match="a stage of 25,000,000 synapses"):
        unroll(dense_graph(Dense(np.ones((5000, 5000), np.int8), None), 5000))


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_conservation(seed):
    """What a dense layer of integer neurons receives is fired or kept."""
    rng = np.random.default_rng(seed)
    nodes = (
        Node("in", Input((6,), 3)),
        Node("w", Dense(rng.integers(0, 9, (4, 6)), None), ("in",)),
        Node("n", Threshold(rng.integers(60, 90, 4), np.zeros(4, np.int64), 9), ("w",)),
    )
    network = unroll(Graph("net", nodes))
    train = rng.random((12, 6)) < 0.5
    train[-1] = False  # what arrives after the last step is not received
    trace = simulate(network, {"in": train}, 12)
    received = train.sum(axis=0) @ network.matrix(network.projections[0])
    threshold = np.asarray(nodes[2].op.threshold)
    kept = trace.membranes["n"] - threshold // 2
    np.testing.assert_array_equal(received, threshold * trace.spikes["n"].sum(axis=0) + kept)
