"""Float networks made from integer ones: the same counts, value by value, and outputs in their units."""

import jax.numpy as jnp
import numpy as np
import pytest

from converters.float_form import float_form
from converters.quantise import Quantised
from neuro.errors import BadInput
from neuro.evaluate import evaluate
from neuro.graph import Graph, Node
from neuro.layers import Add, Concat, Conv, Dense, Input, Reshape, Scale, SumPool, Threshold

ONE = ((1, 1), (1, 1))


def integer(levels: int = 11, joined: bool = False) -> Quantised:
    """A residual, a sum of windows, thresholds by channel and common, biases by place, both starts."""
    rng = np.random.default_rng(0)
    bias = rng.integers(-40, 40, (3, 6, 6))
    graph = Graph(
        "net",
        (
            Node("in", Input((2, 6, 6), 7)),
            Node("c", Conv(rng.integers(-9, 10, (3, 2, 3, 3)), None, (1, 1), ONE), ("in",)),
            Node("a", Threshold(np.array([7, 30, 12]).reshape(3, 1, 1), bias, levels), ("c",)),
            Node("d", Conv(rng.integers(-9, 10, (3, 1, 3, 3)), None, (1, 1), ONE, 3), ("a",)),
            Node("sum", Concat(0) if joined else Add(), ("d", "a")),
            Node("b", Threshold(np.full((1, 1, 1), 5), np.zeros((1, 1, 1), int), levels, "zero"), ("sum",)),
            Node("pool", SumPool((2, 2), (2, 2), ((0, 0), (0, 0))), ("b",)),
            Node("flat", Reshape((54 if joined else 27,)), ("pool",)),
            Node("e", Dense(rng.integers(-9, 10, (4, 54 if joined else 27)), None), ("flat",)),
            Node("out", Scale(np.ones(4, int), np.array([3, -2, 0, 50])), ("e",)),
        ),
    )
    return Quantised(graph, {"out": np.full(4, 0.25)}, {"out": np.full(4, -1.0)})


def test_every_count_is_that_of_the_integer_network():
    form = integer()
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 8, (50, 2, 6, 6))
    gain, offset = np.array([1 / 3, 0.017]).reshape(2, 1, 1), np.array([0.4, -2.0]).reshape(2, 1, 1)
    wanted = evaluate(form.graph, jnp.asarray(counts, jnp.float32))
    made = float_form(form, gain, offset)
    assert made.vocabulary == "float"
    got = evaluate(made, jnp.asarray(offset + gain * counts, jnp.float32))
    for name in ("a", "b"):
        np.testing.assert_array_equal(got[name], wanted[name])
    assert len(np.unique(np.asarray(got["a"]))) == 12
    np.testing.assert_array_equal(got["out"], np.asarray(wanted["out"]) * 0.25 - 1)


def test_what_has_no_float_form():
    form = integer(joined=True)
    with pytest.raises(BadInput, match="'sum'"):
        float_form(form, np.ones((1, 1, 1)), np.zeros((1, 1, 1)))
    uneven = Threshold(np.arange(1, 109).reshape(3, 6, 6), np.zeros((1, 1, 1), int), 3)
    nodes = tuple(n if n.name != "a" else Node("a", uneven, ("c",)) for n in integer().graph.nodes)
    with pytest.raises(BadInput, match="differ within a channel"):
        float_form(Quantised(Graph("net", nodes), form.scales, form.origins), np.ones(1), np.zeros(1))
