import jax.numpy as jnp
import numpy as np
import pytest

from converters import hybrid, quantise
from converters.encode import encode
from converters.fold import fold
from converters.importers.recurrent import TANH, Cell, rows, unrolled
from converters.quantise import Quantised
from neuro import trains
from neuro.activations import Function
from neuro.evaluate import evaluate
from neuro.graph import Graph, Node
from neuro.layers import Activation, Add, Conv, Dense, Input, MaxPool, Relu, Reshape, Scale, Threshold
from neuro.simulate import simulate
from neuro.stages import populations

ONE = np.ones(1, np.int64)


def residual(last: Function | None = None) -> Graph:
    rng = np.random.default_rng(5)
    pads = ((1, 1), (1, 1))
    conv = [Conv(rng.normal(0, 0.4, (3, c, 3, 3)), rng.normal(0, 0.3, 3), (1, 1), pads) for c in (1, 3)]
    return Graph(
        "residual",
        (
            Node("in", Input((1, 4, 4))),
            Node("conv1", conv[0], ("in",)),
            Node("relu1", Relu(), ("conv1",)),
            Node("conv2", conv[1], ("relu1",)),
            Node("sum", Add(), ("conv2", "relu1")),
            Node("relu2", Relu() if last is None else Activation(last), ("sum",)),
            Node("pool", MaxPool((2, 2), (2, 2), ((0, 0), (0, 0))), ("relu2",)),
            Node("flat", Reshape((12,)), ("pool",)),
            Node("dense", Dense(rng.normal(size=(3, 12)), rng.normal(size=3)), ("flat",)),
        ),
    )


@pytest.fixture(scope="module")
def counts() -> np.ndarray:
    return np.random.default_rng(6).integers(0, 16, (20, 1, 4, 4))


@pytest.fixture(scope="module", params=[None, Function("tanh"), Function("gelu")], ids=["relu", "tanh", "gelu"])
def exact(request, counts):
    folded = fold(residual(request.param), np.array(1 / 15), np.array(0.0))
    return hybrid.pair(folded, quantise.reference(folded, counts, 15, 7), counts)


def test_no_change_is_the_float_network(exact, counts):
    found = hybrid.run(exact, exact.entering(counts), lambda name: hybrid.NONE)
    wanted = evaluate(exact.folded, jnp.asarray(counts, jnp.float32))
    for node in populations(exact.folded):
        np.testing.assert_allclose(exact.real(node.name, found[node.name]), wanted[node.name], atol=2e-5)


def test_all_changes_are_the_integer_network(exact, counts):
    found = hybrid.run(exact, exact.entering(counts), lambda name: hybrid.ALL)
    wanted = evaluate(exact.integer, jnp.asarray(counts, jnp.float32))
    for node in populations(exact.integer):
        np.testing.assert_array_equal(found[node.name], wanted[node.name])


def test_whole_weights_alone_change_little_and_tend_to_nothing(counts):
    folded = fold(residual(Function("gelu")), np.array(1 / 15), np.array(0.0))
    off = []
    for bits in (4, 8):
        pair = hybrid.pair(folded, quantise.reference(folded, counts, 15, 15, bits), counts)
        alone = hybrid.run(pair, pair.entering(counts), lambda name: frozenset(["weights"]))["relu2"]
        none = hybrid.run(pair, pair.entering(counts), lambda name: hybrid.NONE)["relu2"]
        off.append(float(jnp.abs(alone - none).mean()))
    assert 8 * off[1] < off[0] < 1  # four bits more: sixteen times finer


def single(weight, threshold: int, levels: int, steps: int = 0, scale: float = 2.0, input_levels: int = 15):
    """Inputs to one ReLU to a read-out; a count of the ReLU stands for `scale`."""
    weight = np.array(weight)
    zero = 0 * ONE
    folded = Graph(
        "one",
        (
            Node("in", Input((weight.shape[1],))),
            Node("w", Dense(weight, None), ("in",)),
            Node("relu.offset", Scale(np.ones(1), np.zeros(1)), ("w",)),
            Node("relu", Relu(), ("relu.offset",)),
            Node("v", Dense(np.ones((1, 1)), None), ("relu",)),
            Node("output", Scale(np.ones(1), np.zeros(1)), ("v",)),
        ),
    )
    graph = Graph(
        "one",
        (
            Node("in", Input((weight.shape[1],), input_levels)),
            Node("relu/w", Dense(weight, None), ("in",)),
            Node("relu", Threshold(threshold * ONE, zero, levels), ("relu/w",)),
            Node("output/v", Dense(np.ones((1, 1), np.int64), None), ("relu",)),
            Node("output", Scale(ONE, zero), ("output/v",)),
        ),
    )
    width = weight.shape[1]
    scales = {"in": np.full(width, input_levels if steps else 1.0), "relu": scale * ONE, "output": scale * ONE}
    origins = {"in": np.zeros(width), "relu": np.zeros(1), "output": np.zeros(1)}
    return hybrid.pair(folded, Quantised(graph, scales, origins), np.ones((1, width), np.int64), steps)


def test_every_change_by_hand():
    """Levels 0, 2, 4, 6: five lies in the middle and goes up, nine is cut to six."""
    pair = single([[1]], threshold=2, levels=3)
    x = {"in": jnp.asarray([[5.0], [9.0], [4.0]])}
    for changes, wanted in (
        ((), [2.5, 4.5, 2.0]),
        (("clipping",), [2.5, 3.0, 2.0]),
        (("levels",), [3.0, 5.0, 2.0]),
        (("weights",), [2.5, 4.5, 2.0]),
        (("clipping", "levels", "weights"), [3.0, 3.0, 2.0]),
    ):
        assert hybrid.layer(pair, "relu", x, frozenset(changes))[:, 0].tolist() == wanted


def test_a_threshold_that_was_rounded_counts_among_the_weights():
    pair = single([[1]], threshold=3, levels=3)  # a level stands for two, but takes three
    assert hybrid.layer(pair, "relu", {"in": jnp.asarray([[6.0]])}, frozenset(["weights"])).tolist() == [[2.0]]


def test_a_spike_that_cannot_be_taken_back():
    """One input fires in all four steps (+2), the other once, in step two (-10): the first spike is sent by then."""
    pair = single([[2, -10]], threshold=2, levels=4, steps=4, input_levels=4)
    found = hybrid.fire(pair, jnp.asarray([[4.0, 1.0]]))
    assert found["in"].tolist() == [[4.0, 1.0]]
    assert found["relu"].tolist() == [[1.0]]
    assert hybrid.layer(pair, "relu", found, hybrid.ALL).tolist() == [[0.0]]


@pytest.mark.parametrize("limit", [float("inf"), 120.0])
def test_the_rate_code_is_that_of_the_simulator(counts, limit):
    folded = fold(residual(), np.array(1 / 15), np.array(0.0))
    integer = quantise.rate(folded, counts, 15, steps=12)
    pair = hybrid.pair(folded, integer, counts, 12)
    data = jnp.asarray(counts, jnp.float32)
    found, wanted = hybrid.fire(pair, data, limit=limit), simulate(encode(integer.graph, "rate", 12), data, limit)
    for name, spikes in wanted.spikes.items():
        np.testing.assert_array_equal(found[name], trains.value(spikes, "rate"))
    np.testing.assert_array_equal(found["output"], wanted.output)
    assert float(wanted.peak.max()) > 120
    assert ("relu1!" in found) == np.isfinite(limit)
    if np.isfinite(limit):
        assert any((found[f"{name}!"] != found[name]).any() for name in ("relu1", "relu2"))


def test_a_float_layer_in_a_run_sends_its_own_value(counts):
    folded = fold(residual(), np.array(1 / 15), np.array(0.0))
    pair = hybrid.pair(folded, quantise.rate(folded, counts, 15, steps=15), counts, 15)
    found = hybrid.fire(pair, jnp.asarray(counts, jnp.float32), frozenset(["relu1"]))
    wanted = evaluate(folded, jnp.asarray(counts, jnp.float32))["relu1"]
    np.testing.assert_allclose(pair.real("relu1", found["relu1"]), wanted, atol=1e-5)  # input rates are exact


def test_whole_run_counts_every_bias_in_every_step(counts):
    folded = fold(residual(), np.array(1 / 15), np.array(0.0))
    integer = quantise.rate(folded, counts, 15, steps=30)
    form = hybrid.whole_run(integer, 30)
    values = evaluate(form.graph, jnp.asarray(2 * counts, jnp.float32))
    wanted = evaluate(folded, jnp.asarray(counts, jnp.float32))
    for name in ("relu1", "relu2", "output"):
        got = values[name] * jnp.asarray(form.scales[name], jnp.float32)[None]
        off = float(jnp.abs(got - wanted[name]).mean() / jnp.abs(wanted[name]).mean())
        assert off < 0.1, name  # thirty levels; a bias counted once would be off by far more


def test_a_membrane_of_products_stands_for_what_the_float_network_has():
    """Behind products of tanhs the membrane at counts of zero is not zero: tanh(f c + i g) of an LSTM's last step."""
    rng, nodes = np.random.default_rng(0), [Node("x", Input((2, 3)))]

    def emit(name, op, *inputs):
        nodes.append(Node(name, op, inputs))
        return name

    shapes = ((4, 5, 3), (4, 5, 5), (4, 5), (4, 5))
    cell = Cell("lstm", *(rng.normal(0, 0.8, shape).astype(np.float32) for shape in shapes), gate=TANH)
    run = unrolled(emit, "cell", rows(emit, "cell", "x", 2, 3), cell)
    emit("out", Dense(rng.normal(size=(2, 5)).astype(np.float32), None), run.hidden)
    folded = fold(Graph("g", tuple(nodes)), np.full((1, 1), 0.1), np.full((1, 1), -0.8))
    counts = rng.integers(0, 17, (40, 2, 3))
    form = quantise.reference(folded, counts, 16, 63)
    pair = hybrid.pair(folded, form, counts)
    exact = hybrid.run(pair, pair.entering(counts), lambda name: hybrid.NONE)
    name = "cell/1/squashed"
    changed = hybrid.layer(pair, name, exact, frozenset(["weights"]))
    assert float(jnp.abs(changed - exact[name]).max()) < 1  # of 63 levels
    whole = hybrid.run(pair, pair.entering(counts), lambda name: hybrid.ALL)
    wanted = evaluate(form.graph, jnp.asarray(counts, jnp.float32))
    assert all((np.asarray(whole[n]) == np.asarray(wanted[n])).all() for n in whole if n != form.graph.output.name)
