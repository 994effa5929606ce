"""Bursts and differential codes: trains worked out by hand, and networks that they bring close to the float one."""

from itertools import pairwise

import jax.numpy as jnp
import numpy as np
import pytest

from neuro.errors import Unsupported
from neuro.graph import Graph, Node
from neuro.layers import Dense, Input, MaxPool, Relu, Scale
from neuro.multispike import Burst, Differential, run


def sent(neuron, currents, bias, threshold=1.0):
    shaped = jnp.asarray(currents, jnp.float32).reshape(-1, 1, 1)
    one = np.float32
    return np.asarray(neuron(shaped, jnp.full((1, 1), one(bias)), jnp.full((1, 1), one(threshold)))).ravel().tolist()


def test_a_burst_by_hand():
    """q = 1/2, V starts at 1/4. 1/4 + 3/4 = 1: two spikes, 0 left; -1/2: none; -1/2 + 9/4 = 7/4: two, all it has."""
    assert sent(Burst(2), [0.75, -0.5, 2.25, 0.0], 0.0) == [1.0, 0.0, 1.0, 0.5]
    assert sent(Burst(2), [0.0, 0.0], 0.25) == [0.5, 0.0]  # 1/4 + 1/4, then 0 + 1/4


def test_a_differential_train_by_hand():
    """Values 1 and 1/2, sent from 3/4 and 3/8 on; current 0.8 in the first step, silence after.

    t=1: V = 0.8, s = 1, V = -0.2, E_in = 0.8, E_out = 1. t=2: V = -0.2 + 0.8 - 1 = -0.4, told 2: s = -1/2, V = 0.1,
    E_out = 1 - 1/4. t=3: V = 0.1 + 0.8 - 0.75 = 0.15: silence. Decoded: 1 - 1/4 = 3/4.
    """
    assert sent(Differential(2), [0.8, 0.0, 0.0], 0.0) == [1.0, -0.5, 0.0]


def test_a_negative_drive_is_never_told():
    assert sent(Differential(3), [-0.8, 0.0, 0.0, 0.0], 0.0) == [0.0] * 4
    assert sent(Burst(3), [-0.8, -0.8], 0.0) == [0.0] * 2


def network() -> Graph:
    rng = np.random.default_rng(0)
    sizes = (6, 12, 12, 3)
    nodes, last = [Node("in", Input((6,)))], "in"
    for k, (enter, leave) in enumerate(pairwise(sizes)):
        weight = (rng.normal(size=(leave, enter)) / enter**0.5).astype(np.float32)
        offset = Scale(np.ones(leave), rng.normal(size=leave) * 0.1)
        nodes += [Node(f"d{k}", Dense(weight, None), (last,)), Node(f"o{k}", offset, (f"d{k}",))]
        last = f"o{k}"
        if k < 2:
            nodes.append(Node(f"r{k}", Relu(), (last,)))
            last = f"r{k}"
    return Graph("net", tuple(nodes))


@pytest.mark.parametrize("neuron", [Burst(4), Differential(6)])
def test_more_steps_come_closer_to_the_float_network(neuron, numpy_evaluate):
    counts = np.random.default_rng(1).uniform(0, 1, (50, 6)).astype(np.float32)
    values = numpy_evaluate(network(), counts.astype(np.float64))
    highest = {name: values[name].max(axis=0) + 1e-3 for name in ("r0", "r1")}
    found = run(network(), counts, 32, neuron, highest)
    error = np.sqrt(((found.outputs - values["o2"][None]) ** 2).mean(axis=(1, 2)))
    assert error[31] < 0.03
    assert error[31] < error[0] / 3
    assert (found.events >= 0).all()
    assert (found.events <= 1).all()


def test_other_layers_are_refused_by_name():
    pool = MaxPool((2, 2), (2, 2), ((0, 0), (0, 0)))
    graph = Graph("p", (Node("in", Input((1, 2, 2))), Node("pool", pool, ("in",)),
                        Node("out", Scale(np.ones(1), np.zeros(1)), ("pool",))))  # fmt: skip
    with pytest.raises(Unsupported, match="'pool'"):
        run(graph, np.zeros((1, 1, 2, 2)), 2, Burst(2), {})
