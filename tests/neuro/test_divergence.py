import numpy as np
import pytest

from neuro.divergence import first_divergence
from neuro.errors import BadInput


def test_the_first_layer_counts_even_if_a_later_one_differs_in_an_earlier_item():
    a = {"x": np.zeros((3, 2, 2)), "y": np.zeros((3, 4))}
    b = {"y": a["y"] + 1, "x": a["x"].copy()}
    b["x"][1, 0, 1], b["x"][2, 0, 0] = 5, 7
    found = first_divergence(a, b)
    assert found is not None
    assert (found.layer, found.index, found.item, found.expected, found.got) == ("x", (0, 1), 1, 0, 5)
    assert found.differing == 2
    assert str(found) == (
        "first at layer 'x', neuron (0, 1), item 1: expected 0, got 5; 2 value(s) of this layer differ"
    )


def test_equal_executions_have_none():
    assert first_divergence({"x": np.arange(6).reshape(2, 3)}, {"x": np.arange(6.0).reshape(2, 3)}) is None


@pytest.mark.parametrize(("got", "told"), [({}, "missing"), ({"x": np.zeros((2, 2))}, r"\(2, 3\) were expected")])
def test_what_cannot_be_compared_is_refused(got, told):
    with pytest.raises(BadInput, match=told):
        first_divergence({"x": np.zeros((2, 3))}, got)
