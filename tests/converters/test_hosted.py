"""What the host works out before the first spike."""

import jax.numpy as jnp
import numpy as np
import pytest

from converters.hosted import looked_up, split
from neuro.errors import BadInput
from neuro.evaluate import evaluate
from neuro.graph import Graph, Node
from neuro.layers import AvgPool, Concat, Dense, Embedding, Input, Reshape, Transpose

TABLE = np.arange(12.0).reshape(6, 2)


def words() -> Graph:
    return Graph(
        "words",
        (
            Node("ids", Input((4,))),
            Node("table", Embedding(TABLE), ("ids",)),
            Node("turn", Transpose((1, 0)), ("table",)),
            Node("mean", AvgPool((4,), (4,), ((0, 0),)), ("turn",)),
            Node("flat", Reshape((2,)), ("mean",)),
            Node("out", Dense(np.eye(2), None), ("flat",)),
        ),
    )


def test_the_rest_reads_what_the_host_gives():
    host, rest = split(words())
    assert host is not None
    assert [n.name for n in host.nodes] == ["ids", "table", "turn", "mean"]
    assert rest.nodes[0] == rest.input
    assert rest.shapes["mean"] == (2, 1)
    ids = np.array([[0, 1, 5, 5], [2, 2, 2, 2]])
    given = looked_up(host, ids)
    np.testing.assert_array_equal(given[..., 0], TABLE[ids].mean(axis=1))
    got = evaluate(rest, jnp.asarray(given))["out"]
    np.testing.assert_allclose(got, TABLE[ids].mean(axis=1))


def test_a_network_without_tables_is_left_as_it_is():
    graph = Graph("plain", (Node("in", Input((2,))), Node("out", Dense(np.eye(2), None), ("in",))))
    assert split(graph) == (None, graph)


def test_refused():
    host, _ = split(words())
    with pytest.raises(BadInput, match=r"ids from 0 to 6; the table 'table' has rows 0 to 5"):
        looked_up(host, np.array([[0, 6, 0, 0]]))
    inside = Graph(
        "inside",
        (
            Node("ids", Input((4,))),
            Node("twice", Concat(0), ("ids", "ids")),
            Node("table", Embedding(TABLE), ("twice",)),
        ),
    )
    with pytest.raises(BadInput, match="more than the network's own input"):
        split(inside)
