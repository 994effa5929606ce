import numpy as np
import pytest

from converters.importers.nir_file import File
from converters.importers.nir_integer import integer_graph
from neuro.errors import BadInput
from neuro.layers import Add, Dense, Input, Scale, Threshold

ONE = np.ones(2, np.int64)


def file(**changes) -> File:
    """Two inputs, an identity, two neurons whose spikes are added to the input's, a read-out."""
    nodes = {
        "input": {"type": "Input", "shape": np.array([2]), "metadata": {"name": "in", "levels": 3}},
        "w": {"type": "Linear", "weight": np.eye(2, dtype=np.int64), "metadata": {"name": "n/w"}},
        "n": {"type": "IF", "metadata": {"name": "n", "threshold": 2 * ONE, "bias": ONE, "levels": np.int64(3)}},
        "s": {"type": "Scale", "scale": np.ones(2), "metadata": {"name": "sum", "op": "add"}},
        "r": {"type": "Scale", "scale": np.ones(2), "metadata": {"name": "output", "op": "readout", "bias": ONE}},
        "output": {"type": "Output", "metadata": {}},
    }
    for key, value in changes.items():
        nodes[key[0]]["metadata"][key[2:]] = value
    edges = (("r", "output"), ("input", "w"), ("w", "n"), ("n", "s"), ("w", "s"), ("s", "r"))
    return File("x.nir", nodes, edges, {"format": "neuro", "version": np.int64(1), "name": "net"})


def test_every_node_gets_its_name_and_operator_back():
    graph = integer_graph(file())
    assert [(n.name, type(n.op)) for n in graph.nodes] == [
        ("in", Input), ("n/w", Dense), ("n", Threshold), ("sum", Add), ("output", Scale),
    ]  # fmt: skip
    assert set(graph["sum"].inputs) == {"n", "n/w"}
    op = graph["n"].op
    assert isinstance(op, Threshold)
    assert (op.threshold.tolist(), op.bias.tolist(), op.levels) == ([2, 2], [1, 1], 3)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"n_levels": 0}, "0 levels"),
        ({"n_bias": np.ones(2)}, "whole numbers"),
        ({"n_place": "first"}, "the place of node 'n' is damaged"),
        ({"w_place": 9}, "is damaged"),
        ({"r_op": "x"}, "no such node"),
    ],
)
def test_damaged_metadata_name_their_node(change, told):
    with pytest.raises(BadInput, match=told) as error:
        integer_graph(file(**change))
    assert repr(next(iter(change))[0]) in str(error.value)
