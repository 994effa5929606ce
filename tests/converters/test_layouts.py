"""Transpositions behind sums and paddings: the same values, channels first."""

import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.layouts import behind_sums, rows_apart
from neuro.evaluate import evaluate
from neuro.graph import Graph, Node
from neuro.layers import Add, Concat, Dense, Input, Pad, Relu, Scale, Slice, Transpose


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


def gates(others: bool) -> Graph:
    """Two matrices, added and scaled, cut into two gates; others: whether the sum is read as a whole too."""
    rng = np.random.default_rng(3)
    a, b = (rng.normal(size=(6, 4)).astype(np.float32) for _ in range(2))
    nodes = [
        Node("in", Input((4,))), Node("other", Relu(), ("in",)), Node("a", Dense(a, rng.normal(size=6)), ("in",)),
        Node("b", Dense(b, None), ("other",)), Node("sum", Add(), ("a", "b")),
        Node("scaled", Scale(rng.normal(size=6), np.ones(())), ("sum",)),
        Node("first", Slice(0, 0, 2), ("scaled",)), Node("second", Slice(0, 2, 6), ("scaled",)),
        Node("out", Concat(0), ("second", "first", *(("scaled",) if others else ()))),
    ]  # fmt: skip
    return Graph("g", tuple(nodes))


def test_parts_of_a_matrix_become_matrices():
    graph = gates(others=False)
    apart = rows_apart(graph)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)), jnp.float32)
    want, got = (np.asarray(evaluate(g, x)[g.output.name]) for g in (graph, apart))
    np.testing.assert_allclose(got, want, atol=1e-6)
    assert sorted(n.op.weight.shape for n in apart.nodes if isinstance(n.op, Dense)) == [(2, 4), (2, 4), (4, 4), (4, 4)]
    assert not any(isinstance(n.op, Slice) for n in apart.nodes)


def test_a_sum_that_is_read_as_a_whole_too_stays():
    graph = gates(others=True)
    assert rows_apart(graph) is graph


def test_what_a_gate_leaves_has_matrices_of_its_own():
    weight = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    nodes = [
        Node("in", Input((4,))), Node("a", Dense(weight, np.ones(3)), ("in",)), Node("gate", Relu(), ("a",)),
        Node("minus", Scale(np.full(3, -1.0), np.zeros(())), ("a",)), Node("rest", Relu(), ("minus",)),
        Node("out", Add(), ("gate", "rest")),
    ]  # fmt: skip
    apart = rows_apart(Graph("g", tuple(nodes)))
    (feed,) = apart["rest"].inputs
    assert (apart[feed].op.weight == -weight).all()
    assert (apart[feed].op.bias == -1).all()
