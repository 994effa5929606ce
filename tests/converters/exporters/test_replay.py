import contextlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters import fold, quantise
from converters.exporters import replay
from converters.network_file import Converted
from neuro.errors import BadInput
from neuro.graph import Graph, Node
from neuro.layers import Dense, Input, Relu, Threshold


def converted(code: str) -> Converted:
    rng = np.random.default_rng(0)
    graph = Graph(
        "net",
        (
            Node("in", Input((6,))),
            Node("w", Dense(rng.normal(size=(5, 6)), rng.normal(size=5)), ("in",)),
            Node("r", Relu(), ("w",)),
            Node("out", Dense(rng.normal(size=(3, 5)), rng.normal(size=3)), ("r",)),
        ),
    )
    folded = fold.fold(graph, np.full(6, 0.2), np.zeros(6))
    form = (quantise.rate if code == "rate" else quantise.reference)(folded, counts(), 15, 12)
    return Converted(graph, form, "exact", code, 12, 15, np.full(6, 0.2), np.zeros(6), {})


def counts() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 16, (25, 6))


@pytest.mark.parametrize("code", ["unary", "bits", "naf", "ttfs", "graded", "rate"])
def test_vectors_replay_on_the_simulator_and_survive_the_disk(code, tmp_path):
    made = converted(code)
    vectors = replay.load(replay.save(replay.record(made, counts()), tmp_path / "v.npz"))
    assert list(vectors.values) == ["in", "r", "output"]
    assert (vectors.code, vectors.steps) == (code, 12)
    assert replay.check(vectors, made.integer.graph) is None
    wanted = np.maximum(0.2 * counts() @ made.network["w"].op.weight.T + made.network["w"].op.bias, 0)
    wanted = wanted @ made.network["out"].op.weight.T + made.network["out"].op.bias
    assert np.abs(vectors.outputs - wanted).mean() < 0.1 * np.abs(wanted).mean()


def test_vectors_of_one_exact_code_hold_for_another():
    made = converted("bits")
    assert replay.check(replay.record(made, counts()), made.integer.graph, "ttfs") is None


def test_a_change_is_found():
    made = converted("bits")
    graph = made.integer.graph
    op = graph["r"].op
    assert isinstance(op, Threshold)
    bias = np.array(op.bias)
    bias[3] += 2 * op.threshold[3]
    nodes = tuple(replace(n, op=replace(op, bias=bias)) if n.name == "r" else n for n in graph.nodes)
    found = replay.check(replay.record(made, counts()), Graph("other", nodes))
    assert found is not None
    assert (found.layer, found.index) == ("r", (3,))


def test_what_is_no_file_of_vectors_is_refused(tmp_path):
    with pytest.raises(BadInput, match="no such file"):
        replay.load(tmp_path / "v.npz")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(BadInput, match="about"):
        replay.load(tmp_path / "other.npz")


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    return replay.save(replay.record(converted("bits"), counts()[:3]), tmp_path_factory.mktemp("v") / "v.npz")


@settings(max_examples=40)
@given(at=st.floats(0, 1), cut=st.booleans(), value=st.integers(0, 255))
def test_damaged_vectors_give_an_error_or_are_read(stored, at, cut, value):
    data = bytearray(stored.read_bytes())
    place = int(at * (len(data) - 1))
    data[place] = value
    path = stored.with_name("damaged.npz")
    path.write_bytes(data[:place] if cut else data)
    with contextlib.suppress(BadInput):
        replay.load(path)
