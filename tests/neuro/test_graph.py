"""Graphs: what is refused names network and layer; digests tell networks apart."""

from dataclasses import replace

import numpy as np
import pytest

from converters.encode import encode
from neuro.errors import BadInput
from neuro.graph import Graph, Node, digest
from neuro.layers import Add, Dense, Input, Relu, Scale, Threshold

IN = Node("in", Input((2,), 3))
DENSE = Node("d", Dense(np.array([[1, 2], [3, 4]]), None), ("in",))
FIRE = Node("t", Threshold(np.array([2]), np.array([0]), 3), ("d",))
OUT = Node("out", Scale(np.ones(2, int), np.zeros(2, int)), ("t",))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ((), "net: a graph begins with its input"),
        ((DENSE,), "net: a graph begins with its input"),
        ((IN, Node("in", Relu(), ("in",))), "net: layer 'in' appears twice"),
        ((IN, Node("r", Relu(), ("later",)), Node("later", Relu(), ("in",))), "net: layer 'r' reads .*later"),
        ((IN, Node("r", Relu())), r"net: layer 'r' takes 1 input\(s\), not 0"),
        ((IN, Node("a", Add(), ("in",))), r"net: layer 'a' takes 2 input\(s\), not 1"),
        ((IN, Node("d", Dense(np.ones((2, 3)), None), ("in",))), "net: layer 'd': weight .* does not fit"),
        ((IN, Node("d", Dense(np.array([[1, np.nan]]), None), ("in",))), "net: layer 'd' has NaN or infinite"),
        ((IN, Node("d", Dense(np.ones((1, 2)), np.array([np.inf])), ("in",))), "net: layer 'd' has NaN or infinite"),
        ((IN, DENSE, Node("t", Threshold(np.array([0]), np.array([0]), 3), ("d",))), "net: layer 't': thresholds"),
    ],
)
def test_fault_is_named(nodes, message):
    with pytest.raises(BadInput, match=message):
        Graph("net", nodes)


def test_what_a_graph_knows_of_itself():
    graph = Graph("net", (IN, DENSE, FIRE, Node("a", Add(), ("d", "t")), OUT))
    assert graph.shapes == dict.fromkeys(("in", "d", "t", "a", "out"), (2,))
    assert (graph.input, graph.output) == (IN, OUT)
    assert graph["t"] is FIRE
    assert graph.size("d") == 2
    assert [n.name for n in graph.readers("d")] == ["t", "a"]


def test_vocabulary():
    assert Graph("net", (IN, DENSE)).vocabulary == "float"
    graph = Graph("net", (IN, DENSE, FIRE, OUT))
    assert graph.vocabulary == "integer"
    assert encode(graph, "bits").vocabulary == "spiking"
    assert repr(encode(graph, "bits")).splitlines()[0] == "spiking graph 'net'"
    assert [line.split()[0] for line in repr(graph).splitlines()[1:]] == ["in", "d", "t", "out"]


def variant(**changes) -> Graph:
    return Graph("net", (IN, DENSE, replace(FIRE, op=replace(FIRE.op, **changes)), OUT))


def test_digest_depends_on_structure_and_weights_only():
    base = digest(variant())
    assert digest(Graph("other name", variant().nodes)) == base
    assert digest(variant(threshold=np.array([2]))) == base
    others = [
        variant(threshold=np.array([3])),
        variant(threshold=np.array([[2]]).reshape(1)[:, None].reshape(-1).astype(np.int32)),
        variant(levels=4),
        variant(bias=np.array([1])),
        Graph("net", (IN, replace(DENSE, op=Dense(np.array([[1, 3], [2, 4]]), None)), FIRE, OUT)),
        Graph("net", (IN, DENSE, FIRE)),
        Graph("net", (replace(IN, op=Input((2,), 4)), DENSE, FIRE, OUT)),
    ]
    digests = [base, *(digest(g) for g in others)]
    assert len(set(digests)) == len(digests)


def test_digest_reads_values_not_memory():
    weight = np.array([[1, 2], [3, 4]])
    turned = Graph("net", (IN, replace(DENSE, op=Dense(np.asfortranarray(weight), None)), FIRE, OUT))
    assert digest(turned) == digest(variant())
