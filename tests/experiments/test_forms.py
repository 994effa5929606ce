"""The forms of a network against its own float form and against each other."""

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.forms import PILOT, forms, weight_bits, with_zeros
from neuro.codes import CODES, decode, is_exact
from neuro.errors import BadInput
from neuro.graph import Graph, Node
from neuro.layers import Dense, Input, Scale, Threshold
from neuro.simulate import simulate


@pytest.fixture(scope="module")
def found(network, dataset):
    told = []

    def progress(stage, parts):
        told.append((stage, parts))
        return lambda done: told.append(done)

    made = forms(network, dataset, levels=7, weight_bits=6, steps=20, progress=progress)
    assert told == [("calibration", 2), 1, 1]
    return made


def test_every_code_has_a_form_with_the_steps_asked_for(found):
    assert set(found.spiking) == set(CODES)
    assert found.integer.schedule is None
    assert {code for code in CODES if found.spiking[code].nodes == found.integer.nodes} == set(filter(is_exact, CODES))
    assert {w.steps for w in found.spiking["rate"].schedule.windows.values()} == {20}
    assert found.spiking["unary"].schedule.windows["relu"].steps == 7
    assert found.spiking["bits"].schedule.windows["relu"].steps == 3  # 7 levels take 3 bits


def test_levels_and_weight_bits_are_kept(found):
    ops = [node.op for node in found.integer.nodes]
    assert {op.levels for op in ops if isinstance(op, Threshold)} == {7}
    assert max(int(np.abs(op.weight).max()) for op in ops if hasattr(op, "weight")) <= 2**5


def test_folding_changes_nothing_and_the_difference_is_told(found):
    assert 0 <= found.fold_error < 1e-4


def test_exact_forms_equal_the_integer_network(found, dataset, numpy_evaluate):
    counts = dataset.counts[:PILOT]
    want = numpy_evaluate(found.integer, counts)
    for code in filter(is_exact, CODES):
        run = simulate(found.spiking[code], jnp.asarray(counts, jnp.float32))
        np.testing.assert_array_equal(decode(code, run.spikes["relu"]), want["relu"])
        np.testing.assert_array_equal(run.output, want[found.integer.output.name])


def test_options_out_of_range_are_refused(network, dataset):
    with pytest.raises(BadInput, match="levels"):
        forms(network, dataset, levels=0, weight_bits=8, steps=64)


def test_zeros_of_an_integer_network_reach_the_float_one():
    """Of two integer forms of one layer both must be zero; a layer of another shape stays as it is."""
    weight = np.array([[1.0, 2.0], [3.0, 4.0]])
    network = Graph("n", (Node("in", Input((2,))), Node("a", Dense(weight, None), ("in",))))
    one, none = np.ones(1, np.int64), np.zeros(1, np.int64)
    nodes = (
        Node("in", Input((2,), 3)),
        Node("p/a", Dense(np.array([[0, 1], [0, 0]]), None), ("in",)),
        Node("p", Threshold(one, none, 3), ("p/a",)),
        Node("q/a", Dense(np.array([[0, 0], [-5, 0]]), None), ("p",)),
        Node("q", Threshold(one, none, 3), ("q/a",)),
        Node("r/b", Dense(np.array([[7, 0]]), None), ("q",)),
        Node("r", Scale(one, none), ("r/b",)),
    )
    integer = Graph("i", nodes)
    np.testing.assert_array_equal(with_zeros(network, integer)["a"].op.weight, [[0, 2], [3, 0]])
    assert weight_bits(integer) == 4  # 7 takes three bits, and a sign
    last = (Node("p/a", Dense(np.array([[0, 1]]), None), ("in",)), Node("p", Scale(one, none), ("p/a",)))
    other = Graph("o", (Node("in", Input((2,), 3)), *last))
    np.testing.assert_array_equal(with_zeros(network, other)["a"].op.weight, weight)
