"""Whole networks under approximate codes: against a NumPy oracle step by step, and what they reach in the limit."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuro import approximate
from neuro.approximate import check, run
from neuro.errors import Unsupported
from neuro.graph import Graph, Node
from neuro.layers import Dense, Input, MaxPool, MultiThreshold, Scale, Threshold
from neuro.multispike import Differential
from neuro.rectified import Bursts, Shifted, Silenced

ONE = np.ones(1, np.int64)


def chain(seed: int, levels: int, widths=(5, 8, 8, 3)) -> Graph:
    """Dense layers with integer weights, a threshold for each neuron, biases."""
    rng = np.random.default_rng(seed)
    nodes, last = [Node("in", Input((widths[0],), 6))], "in"
    for k, (enter, leave) in enumerate(pairwise(widths)):
        nodes.append(Node(f"w{k}", Dense(rng.integers(-5, 8, (leave, enter)), None), (last,)))
        bias = rng.integers(-4, 5, leave)
        final = k == len(widths) - 2
        op = Scale(np.ones(leave, np.int64), bias) if final else Threshold(rng.integers(5, 30, leave), bias, levels)
        last = "out" if final else f"n{k}"
        nodes.append(Node(last, op, (f"w{k}",)))
    return Graph("chain", tuple(nodes))


def plain(graph: Graph, counts: np.ndarray, steps: int, members: int = 1) -> dict[str, np.ndarray]:
    """Integrate-and-fire with up to `members` spikes a step in plain Python; counts of every layer and the read-out."""
    membrane = {n.name: n.op.threshold // 2 for n in graph.nodes if isinstance(n.op, Threshold)}
    entering = np.full(counts.shape, 3)  # 6 // 2
    total: dict[str, np.ndarray] = {n.name: np.int64(0) for n in graph.nodes}
    for _ in range(steps):
        entering = entering + members * counts
        sent = np.clip(entering // 6, 0, members)
        entering = entering - 6 * sent
        values = {"in": sent}
        for node in graph.nodes[1:]:
            value = values[node.inputs[0]]
            if isinstance(node.op, Dense):
                values[node.name] = value @ node.op.weight.T
            elif isinstance(node.op, Threshold):
                v = membrane[node.name] + value + node.op.bias
                fires = np.clip(v // node.op.threshold, 0, members)
                membrane[node.name] = v - fires * node.op.threshold
                values[node.name] = fires
            else:
                values[node.name] = value + node.op.offset
        total = {name: total[name] + value for name, value in values.items()}
    return total


def frames(items: int = 12) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 7, (items, 5))


def done(graph: Graph, counts: np.ndarray, steps: int, neuron):
    return jax.jit(lambda batch: run(graph, batch, steps, neuron))(jnp.asarray(counts))


@pytest.mark.parametrize("members", [1, 3])
def test_bursts_are_those_of_a_plain_loop(members):
    graph, counts = chain(0, 8), frames()
    want, got = plain(graph, counts, 8, members), done(graph, counts, 8, Bursts(members))
    for name in ("in", "n0", "n1"):
        np.testing.assert_array_equal(got.values[name], want[name], err_msg=name)
        np.testing.assert_array_equal(got.events[name], want[name])
    np.testing.assert_array_equal(got.output, want["out"])


def whole(graph: Graph, entering: np.ndarray, steps: int) -> dict[str, np.ndarray]:
    """The integer network over `steps` steps: all input before the first spike."""
    values = {"in": entering}
    for node in graph.nodes[1:]:
        value = values[node.inputs[0]]
        if isinstance(node.op, Dense):
            values[node.name] = value @ node.op.weight.T
        elif isinstance(node.op, Threshold):
            v = value + steps * node.op.bias + node.op.threshold // 2
            values[node.name] = np.clip(v // node.op.threshold, 0, steps)
        else:
            values[node.name] = value + steps * node.op.offset
    return values


def test_shifts_bring_the_counts_to_those_of_the_integer_network():
    """Plain neurons are wrong in one value of twenty, one round leaves one of a thousand, four leave none."""
    counts, wrong = frames(200), {}
    for name, neuron in {"plain": Bursts(1), "one": Shifted(8), "four": Shifted(8, 4)}.items():
        differing, values = 0, 0
        for seed in range(3):
            graph = chain(seed, 8, (5, 12, 12, 3))
            got = done(graph, counts, 8, neuron)
            want = whole(graph, np.asarray(got.values["in"]), 8)
            differing += sum(int((np.asarray(got.values[n]) != want[n]).sum()) for n in ("n0", "n1"))
            values += sum(want[n].size for n in ("n0", "n1"))
        wrong[name] = differing / values
    assert wrong["plain"] > 0.05
    assert 0 < wrong["one"] < wrong["plain"] / 20
    assert wrong["four"] == 0


def test_trains_that_are_sent_again_are_counted_again():
    """The input and n0 feed neurons and send 1 + rounds times, n1 feeds the read-out alone."""
    graph, counts = chain(0, 8), frames()
    got = done(graph, counts, 8, Shifted(8, 2))
    for name, times in (("in", 3), ("n0", 3), ("n1", 1)):
        np.testing.assert_array_equal(got.events[name], times * np.asarray(got.values[name]))


def test_the_run_before_is_counted_and_not_decoded():
    """Before the run: 4 steps of plain neurons; then those that ended at zero or below are silent."""
    graph, counts = chain(0, 8), frames()
    got, before = done(graph, counts, 8, Silenced(4)), plain(graph, counts, 4)
    for name in ("in", "n0", "n1"):
        np.testing.assert_array_equal(np.asarray(got.events[name]) - np.asarray(got.values[name]), before[name])
    np.testing.assert_array_equal(got.values["in"], plain(graph, counts, 8)["in"])


def real(graph: Graph, counts: np.ndarray) -> dict[str, np.ndarray]:
    """The integer network's weights without any rounding, in float64."""
    values = {"in": counts.astype(np.float64)}
    for node in graph.nodes[1:]:
        value = values[node.inputs[0]]
        if isinstance(node.op, Dense):
            values[node.name] = value @ node.op.weight.T
        elif isinstance(node.op, Threshold):
            values[node.name] = np.maximum(value + node.op.bias, 0) / node.op.threshold
        else:
            values[node.name] = value + node.op.offset
    return values


def test_differential_values_have_no_bias_in_the_limit():
    """Against the unrounded network in float64: the mean error and the largest fall as steps are added."""
    graph, counts = chain(2, 8), frames(100)
    want = real(graph, counts)
    errors = []
    for steps in (4, 32, 256):
        got = done(graph, counts, steps, Differential(6))
        error = np.concatenate([(np.asarray(got.values[n]) - want[n]).ravel() for n in ("n0", "n1")])
        errors.append((abs(error.mean()), np.abs(error).max(), np.abs(np.asarray(got.output) - want["out"]).max()))
    assert np.diff(errors, axis=0).max() < 0
    assert errors[-1][0] < 0.005
    assert errors[-1][1] < 0.1
    assert (np.asarray(done(graph, counts, 8, Differential(6)).events["in"]) == (counts > 0)).all()


def test_a_differential_neuron_by_hand():
    """One neuron of threshold 2 and 4 levels, input 3, weight 1, bias 1: values 8, 4 and 2 of the membrane, sent from
    three quarters of each. t=1: V = 3, s = 2 (4 needs 3: it is there, s = 4): V = -1, E_in = 1 + 3, E_out = 4. t=2:
    V = -1 + 4 - 4 = -1: silence; so it stays. Decoded: 4 / 2 = 2, as (3 + 1) / 2."""
    nodes = (
        Node("in", Input((1,), 4)), Node("w", Dense(np.array([[1]]), None), ("in",)),
        Node("n", Threshold(2 * ONE, ONE, 4), ("w",)), Node("v", Dense(np.array([[3]]), None), ("n",)),
        Node("out", Scale(ONE, 5 * ONE), ("v",)),
    )  # fmt: skip
    got = done(Graph("one", nodes), np.array([[3]]), 4, Differential(3))
    assert (float(got.values["n"][0, 0]), int(got.events["n"][0, 0]), float(got.output[0, 0])) == (2.0, 1, 11.0)


def test_what_has_no_such_neurons_is_refused_by_name():
    many = MultiThreshold(np.ones((2, 1), np.int64), np.ones(2, np.int64), 0 * ONE, 0 * ONE, 2)
    nodes = (Node("in", Input((1,), 4)), Node("n", many, ("in",)), Node("out", Scale(ONE, ONE), ("n",)))
    with pytest.raises(Unsupported, match="'n'"):
        check(Graph("g", nodes), Bursts(2))
    pool = MaxPool((2,), (2,), ((0, 0),))
    one = np.ones((1, 1), np.int64)
    pooled = Graph("g", (Node("in", Input((1, 4), 4)), Node("p", pool, ("in",)), Node("out", Scale(one, one), ("p",))))
    with pytest.raises(Unsupported, match="'p'"):
        check(pooled, Differential(4))
    check(pooled, Bursts(2))
    got = done(pooled, np.array([[[0, 4, 2, 2]]]), 8, Bursts(2))
    assert np.asarray(got.values["p"]).ravel().tolist() == [16, 8]
    assert approximate.decode(jnp.ones((3, 1, 1), jnp.int32), Silenced(2)).item() == 1
