"""Transpositions behind sums and paddings: the same values, channels first."""

import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.layouts import behind_sums
from neuro.evaluate import evaluate
from neuro.graph import Graph, Node
from neuro.layers import Add, Input, Pad, Relu, Transpose


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(3)), st.permutations(range(3)), st.booleans(), st.integers(0, 3))
def test_the_output_is_the_same(first, second, pads, both):
    """Sums of transpositions of one input, alike or not, padded or not, one of them read twice."""
    nodes = [Node("in", Input((2, 2, 2))), Node("a", Transpose(tuple(first)), ("in",))]
    nodes.append(Node("b", Transpose(tuple(second)) if both else Relu(), ("in",)))
    sides = ("a", "b")
    if pads:
        nodes += [Node(f"p{s}", Pad(((1, 0), (0, 2), (0, 0))), (s,)) for s in sides]
        sides = ("pa", "pb")
    nodes += [Node("sum", Add(), sides), Node("twice", Add(), ("sum", sides[0])), Node("out", Relu(), ("twice",))]
    graph = Graph("g", tuple(nodes))
    moved = behind_sums(graph)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 2, 2, 2)), jnp.float32)
    want, got = (np.asarray(evaluate(g, x)[g.output.name]) for g in (graph, moved))
    assert (want == got).all()
    read = {i for n in moved.nodes for i in n.inputs}
    assert read >= {n.name for n in moved.nodes} - {"out"}  # nothing is left that no layer reads


def test_the_sum_is_made_where_channels_come_first():
    nodes = [
        Node("in", Input((2, 3))), Node("t", Transpose((1, 0)), ("in",)), Node("u", Transpose((1, 0)), ("in",)),
        Node("sum", Add(), ("t", "u")),
    ]  # fmt: skip
    moved = behind_sums(Graph("g", tuple(nodes)))
    assert moved["sum"].op == Transpose((1, 0))
    assert moved["sum.inner"].inputs == ("in", "in")
    assert moved.shapes["sum.inner"] == (2, 3)
