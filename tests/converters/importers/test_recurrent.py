"""Cells written out step by step against the equations in float64, and what is refused."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.importers.chain import Refused
from converters.importers.recurrent import GATES, LIMIT, Cell, check_length, ordered, rows, stacked, unrolled
from neuro.activations import Function
from neuro.evaluate import evaluate
from neuro.graph import Graph, Node
from neuro.layers import Activation, Dense, Input, Op, Product

INPUTS, UNITS = 3, 4


class Layers:
    """Nodes that a cell adds."""

    def __init__(self, steps: int) -> None:
        self.nodes = [Node("x", Input((steps, INPUTS)))]

    def emit(self, name: str, op: Op, *inputs: str) -> str:
        self.nodes.append(Node(name, op, inputs))
        return name


def drawn(kind: str, seed: int, **options) -> Cell:
    rng, gates = np.random.default_rng(seed), len(GATES[kind])
    shapes = ((gates, UNITS, INPUTS), (gates, UNITS, UNITS), (gates, UNITS), (gates, UNITS))
    return Cell(kind, *(rng.normal(0, 0.7, shape).astype(np.float32) for shape in shapes), **options)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_hand(cell: Cell, x: np.ndarray, h: np.ndarray, c: np.ndarray, reverse: bool) -> tuple[np.ndarray, np.ndarray]:
    """h after every step [item, step, unit] and the last c, for x [item, step, input], in float64."""
    w, r, b, d = (a.astype(np.float64) for a in (cell.weight, cell.state, cell.bias, cell.state_bias))
    steps = x.shape[1]
    h, c = np.broadcast_to(h, (len(x), UNITS)), np.broadcast_to(c, (len(x), UNITS))
    found = np.zeros((len(x), steps, UNITS))
    for t in range(steps)[:: -1 if reverse else 1]:
        z = [x[:, t] @ w[k].T + b[k] for k in range(len(w))]
        y = [h @ r[k].T + d[k] for k in range(len(w))]
        match cell.kind:
            case "lstm":
                i, f, g, o = (z[k] + y[k] for k in range(4))
                c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
                h = sigmoid(o) * np.tanh(c)
            case "gru":
                reset, keep = sigmoid(z[0] + y[0]), sigmoid(z[1] + y[1])
                inner = reset * y[2] if cell.reset_after else (reset * h) @ r[2].T + d[2]
                h = (1 - keep) * np.tanh(z[2] + inner) + keep * h
            case _:
                h = np.tanh(z[0] + y[0])
        found[:, t] = h
    return found, c


@settings(max_examples=12, deadline=None)
@given(st.sampled_from(["lstm", "gru", "rnn"]), st.integers(1, 4), *[st.booleans()] * 3, st.integers(0, 2**31))
def test_every_step_is_that_of_the_equations(kind, steps, reverse, after, known, seed):
    rng = np.random.default_rng(seed)
    cell = drawn(kind, seed, reset_after=after)
    h, c = rng.normal(size=(2, UNITS)).astype(np.float32) if known else np.zeros((2, UNITS), np.float32)
    layers = Layers(steps)
    run = unrolled(
        layers.emit, "cell", rows(layers.emit, "cell", "x", steps, INPUTS), cell, reverse,
        h if known else None, c if known else None,
    )  # fmt: skip
    last = layers.emit("again", Dense(np.eye(UNITS, dtype=np.float32), None), run.hidden)
    ends = [run.cell, last] if run.cell else [last]
    stacked(layers.emit, "cell", [*run.steps, *ends], UNITS)
    x = rng.normal(size=(3, steps, INPUTS)).astype(np.float32)
    graph = Graph("g", tuple(layers.nodes))
    values = {k: np.asarray(v) for k, v in evaluate(graph, jnp.asarray(x)).items()}
    wanted, memory = by_hand(cell, x.astype(np.float64), h, c, reverse)
    np.testing.assert_allclose(values[graph.output.name][:, :steps], wanted, atol=1e-6)
    np.testing.assert_allclose(values[last], wanted[:, 0 if reverse else -1], atol=1e-6)
    if kind == "lstm":
        np.testing.assert_allclose(values[run.cell], memory, atol=1e-6)


def test_steps_share_their_matrices():
    layers = Layers(5)
    unrolled(layers.emit, "cell", rows(layers.emit, "cell", "x", 5, INPUTS), drawn("lstm", 0))
    weights = {id(n.op.weight) for n in layers.nodes if isinstance(n.op, Dense)}
    assert len(weights) == 8  # four gates, each with a matrix for the input and one for the state
    assert sum(isinstance(n.op, Product) for n in layers.nodes) == 3 * 5 - 1  # nothing is kept in the first step


def test_a_gate_that_is_not_symmetric_leaves_the_rest_by_a_scale():
    """1 - s(x) = s(-x) holds for a sigmoid, not for a softsign."""
    for name, scales in (("sigmoid", 0), ("softsign", 2)):
        layers = Layers(2)
        cell = drawn("gru", 1, gate=Activation(Function(name)))
        unrolled(layers.emit, "cell", rows(layers.emit, "cell", "x", 2, INPUTS), cell)
        assert sum(n.name.endswith("/rest") and type(n.op).__name__ == "Scale" for n in layers.nodes) == scales


def test_gates_are_put_in_order():
    stored = np.repeat(np.arange(4.0), 2)[:, None]
    assert ordered(stored, "lstm", "iofc")[:, 0, 0].tolist() == [0, 2, 3, 1]
    assert ordered(stored[:6], "gru", "zrn")[:, 1, 0].tolist() == [1, 0, 2]
    with pytest.raises(ValueError, match="7 rows"):
        ordered(np.zeros((7, 1)), "lstm", "ifco")


def test_long_sequences_are_refused_with_advice():
    check_length(LIMIT)
    with pytest.raises(Refused, match=r"65 steps; up to 64 are written out: shorten it"):
        unrolled(Layers(1).emit, "cell", ["x"] * 65, drawn("rnn", 0))


def test_weights_that_do_not_fit():
    good = drawn("gru", 0)
    with pytest.raises(ValueError, match="not those of 3 gates"):
        Cell("gru", good.weight, good.state, good.bias[:2], good.state_bias)
