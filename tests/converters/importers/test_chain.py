"""Joining scales, biases and names; refusals in one message."""

import numpy as np
import pytest

from converters.importers.chain import Refused, Stream, chain, listed, reaching, unique, with_biases, with_scales_joined
from neuro.errors import Refusal
from neuro.graph import Graph, Node
from neuro.layers import Add, Dense, Input, Pad, Relu, Scale


def scale(factor, offset) -> Scale:
    return Scale(np.asarray(factor, np.float32), np.asarray(offset, np.float32))


def nodes(*ops) -> list[Node]:
    """A chain called 0, 1, 2 ... behind an input of two values."""
    made = [Node("x", Input((2,)))]
    for i, op in enumerate(ops):
        made.append(Node(str(i), op, (made[-1].name,)))
    return made


def test_scales_behind_each_other_are_one():
    """3 (2x + 1) - 4 = 6x - 1; the first keeps its name."""
    (_, one, last) = with_scales_joined(nodes(scale(2, 1), scale(3, -4), Relu()))
    assert (one.name, one.op.factor, one.op.offset) == ("0", 6, -1)
    assert last.inputs == ("0",)


def test_scales_that_undo_each_other_are_dropped_and_their_readers_moved():
    made = nodes(Relu(), scale(9, 0), scale(1 / 9, 0), Relu())
    assert [n.name for n in with_scales_joined(made)] == ["x", "0", "3"]
    assert with_scales_joined(made)[-1].inputs == ("0",)
    assert [n.name for n in with_scales_joined(nodes(Relu(), scale(2, 1), scale(0.5, -0.5)))] == ["x", "0"]


def test_a_scale_that_others_read_stays():
    made = nodes(scale(2, 0), scale(3, 0))
    made.append(Node("sum", Add(), ("0", "1")))
    kept = with_scales_joined(made)
    assert [n.name for n in kept] == ["x", "0", "1", "sum"]
    made = nodes(scale(1, 0), Relu(), scale(1, 0))
    made.append(Node("sum", Add(), ("0", "2")))
    kept = with_scales_joined(made)
    assert [(n.name, n.inputs) for n in kept] == [("x", ()), ("1", ("x",)), ("sum", ("x", "1"))]
    Graph("net", tuple(kept))


def test_a_constant_for_each_output_is_a_bias():
    dense = Dense(np.eye(2, dtype=np.float32), None)
    kept, tensors = with_biases(nodes(dense, scale(1, [3, 4]), Relu()), {"0": "a", "1": "b"})
    assert [n.name for n in kept] == ["x", "0", "2"]
    assert kept[1].op.bias.tolist() == [3, 4]
    assert tensors["0"] == "b"
    kept, _ = with_biases(nodes(dense, scale(2, [3, 4])), {})
    assert len(kept) == 3


def test_dead_layers_and_names():
    made = [*nodes(Relu(), Relu()), Node("dead", Relu(), ("0",))]
    assert [n.name for n in reaching(made, "1")] == ["x", "0", "1"]
    assert unique("a", {"a", "a_2"}) == "a_3"


def test_layers_that_no_memory_holds_are_refused():
    read = Stream("x", (2,))
    made, given = chain("p", (Pad(((0, 2**26 - 2),)),), [read], {"x"})
    assert (given.shape, len(made)) == ((2**26,), 1)
    with pytest.raises(Refused, match="it gives 67,108,865 values for each sample; the limit is 67,108,864"):
        chain("p", (Pad(((0, 2**26 - 1),)),), [read], {"x"})


def test_all_refusals_in_one_error():
    error = listed("net", [("Sin", "s", "no layer"), ("Cos", "c", "no layer")], "Train it again.")
    want = "net: 2 layers cannot be represented:\n  Sin 's': no layer\n  Cos 'c': no layer\nTrain it again."
    assert str(error) == want
    assert error.refusals == (Refusal("s", "Sin", "no layer"), Refusal("c", "Cos", "no layer"))
