"""Folding against the original network executed in float64, and the constructions that it refuses."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.fold import check, fold
from neuro.errors import BadInput, Unsupported
from neuro.evaluate import evaluate
from neuro.graph import Graph, Node
from neuro.layers import (
    Add,
    AvgPool,
    Conv,
    Dense,
    Input,
    MaxPool,
    Pad,
    Relu,
    Reshape,
    Scale,
    Slice,
    Softmax,
    Threshold,
    Transpose,
)

NO_PADS = ((0, 0), (0, 0))
GAIN, OFFSET = np.array([0.25, -0.5]).reshape(2, 1, 1), np.array([-1.0, 2.0]).reshape(2, 1, 1)


class Net:
    """A float network on maps of 2 x 4 x 5, layer after layer, with the weights of one seed."""

    def __init__(self, seed: int = 0, shape: tuple[int, ...] = (2, 4, 5)) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes = [Node("in", Input(shape))]

    def random(self, *shape: int) -> np.ndarray:
        return self.rng.normal(size=shape).astype(np.float32)

    def add(self, op, *inputs: str) -> str:
        name = f"{type(op).__name__.lower()}{len(self.nodes)}"
        self.nodes.append(Node(name, op, inputs or (self.nodes[-1].name,)))
        return name

    def conv(self, source: str, enter: int, leave: int, groups: int = 1, pads=((1, 1), (1, 1)), bias=True) -> str:
        weight = self.random(leave, enter // groups, 3, 3)
        return self.add(Conv(weight, self.random(leave) if bias else None, (1, 1), pads, groups), source)

    def norm(self, source: str, channels: int) -> str:
        """Batch norm after training: a factor, of either sign, and an offset for each channel."""
        return self.add(Scale(self.random(channels, 1, 1), self.random(channels, 1, 1)), source)

    def graph(self) -> Graph:
        return Graph("net", tuple(self.nodes))


def outputs(net: Net, numpy_evaluate, gain=GAIN, offset=OFFSET) -> tuple[Graph, np.ndarray, np.ndarray]:
    """Folded graph, and the outputs of the original (float64) and of the folded one (as the project runs it)."""
    graph = net.graph()
    counts = net.rng.integers(0, 17, (4, *graph.shapes["in"]))
    folded = fold(graph, gain, offset)
    want = numpy_evaluate(graph, counts * gain + offset)[graph.output.name]
    with jax.disable_jit():
        got = evaluate(folded, jnp.asarray(counts, jnp.float32))[folded.output.name]
    return folded, want, np.asarray(got)


def assert_normal_form(folded: Graph) -> None:
    """No bias, no batch norm: each ReLU and the output read an offset, other scales have no offset."""
    assert isinstance(folded.output.op, Scale)
    for node in folded.nodes:
        match node.op:
            case Conv(bias=bias) | Dense(bias=bias):
                assert bias is None
            case Relu():
                offset = folded[node.inputs[0]].op
                assert isinstance(offset, Scale)
                assert (offset.factor == 1).all()
            case Scale(factor=factor, offset=offset) if (factor != 1).any():
                assert (offset == 0).all()
            case Softmax() | Threshold():
                pytest.fail(f"{node.name} in a folded graph")


STRUCTURES = 12


def random_net(seed: int) -> Net:
    """Structure from seed % STRUCTURES, weights from the seed."""
    pick = np.random.default_rng(seed % STRUCTURES)
    net = Net(seed)
    x, channels, last = "in", 2, None
    if pick.random() < 0.4:
        x = net.add(Scale(np.float32([[[0.5]], [[2.0]]]), np.float32([[[0.3]], [[-0.4]]])), x)  # mean and deviation
    if pick.random() < 0.4:
        x = net.add(Pad(((0, 0), (1, 0), (2, 1))), x)
    for _ in range(3):
        groups = int(pick.choice([1, 2]))
        pads = ((1, 1), (1, 1))
        x = net.conv(x, channels, 4, groups, pads, bool(pick.random() < 0.7))
        channels = 4
        if pick.random() < 0.7:
            x = net.norm(x, 4)
        if last is not None and pick.random() < 0.6:
            x = net.add(Add(), x, last)
        if pick.random() < 0.3:
            x = net.add(AvgPool((2, 2), (1, 1), ((0, 1), (0, 1))), x)
        if pick.random() < 0.3:
            x = net.add(MaxPool((3, 3), (1, 1), ((1, 1), (1, 1))), x)
        last = x = net.add(Relu(), x)
        if pick.random() < 0.3:
            last = x = net.norm(x, 4)  # batch norm behind the activation: absorbed by what follows
    shape = net.graph().shapes[x]
    if pick.random() < 0.5:
        x = net.add(Transpose((2, 0, 1)), x)
    x = net.add(Reshape((int(np.prod(shape)),)), x)
    x = net.add(Dense(net.random(6, int(np.prod(shape))), net.random(6)), x)
    if pick.random() < 0.5:
        net.add(Scale(net.random(6), net.random(6)), x)
    return net


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1))
def test_random_networks_keep_their_output(seed, numpy_evaluate):
    folded, want, got = outputs(random_net(seed), numpy_evaluate)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * np.abs(want).max())
    assert_normal_form(folded)


def norm_then_relu(net: Net) -> None:
    net.add(Relu(), net.norm(net.conv("in", 2, 4), 4))


def read_twice(net: Net) -> None:
    """A normalised convolution feeds a block and the sum behind it: its weights may not be scaled for one reader."""
    b = net.norm(net.conv("in", 2, 4), 4)
    c = net.conv(net.add(Relu(), b), 4, 4)
    net.add(Relu(), net.add(Add(), net.norm(c, 4), b))


def added_to_itself(net: Net) -> None:
    b = net.norm(net.conv("in", 2, 4), 4)
    net.add(Relu(), net.add(Add(), b, b))


def negative_norm_before_relu(net: Net) -> None:
    c = net.conv("in", 2, 4)
    net.add(Relu(), net.add(Scale(-np.abs(net.random(4, 1, 1)), net.random(4, 1, 1)), c))


def negative_norm_behind_relu(net: Net) -> None:
    r = net.add(Relu(), net.conv("in", 2, 4))
    net.conv(net.add(Scale(-np.abs(net.random(4, 1, 1)), net.random(4, 1, 1)), r), 4, 3)


def pool_before_relu(net: Net) -> None:
    net.add(Relu(), net.add(MaxPool((2, 2), (2, 2), NO_PADS), net.norm(net.conv("in", 2, 4), 4)))


def pool_of_a_part(net: Net) -> None:
    """Never below zero: two of four channels behind a ReLU."""
    part = net.add(Slice(0, 1, 3), net.add(Relu(), net.conv("in", 2, 4)))
    net.conv(net.add(MaxPool((2, 2), (1, 1), NO_PADS), part), 2, 2)


def padded_mean(net: Net) -> None:
    r = net.add(Relu(), net.conv("in", 2, 4))
    net.conv(net.add(AvgPool((3, 3), (2, 2), ((1, 1), (1, 1))), r), 4, 2)


def mean_of_the_input(net: Net) -> None:
    net.conv(net.add(AvgPool((2, 2), (1, 1), ((0, 1), (1, 0))), "in"), 2, 3)


def padded_twice(net: Net) -> None:
    net.conv(net.add(Pad(((0, 0), (2, 0), (0, 1))), "in"), 2, 3)


def map_of_factors(net: Net) -> None:
    r = net.add(Relu(), net.conv("in", 2, 3))
    f = net.add(Scale(np.abs(net.random(3, 4, 5)), net.random(3, 4, 5)), r)
    net.add(Dense(net.random(4, 60), None), net.add(Reshape((60,)), f))


def softmax_at_the_end(net: Net) -> None:
    net.add(Dense(net.random(4, 40), net.random(4)), net.add(Reshape((40,)), "in"))


@pytest.mark.parametrize(
    "build",
    [norm_then_relu, read_twice, added_to_itself, negative_norm_before_relu, negative_norm_behind_relu,
     pool_before_relu, padded_mean, mean_of_the_input, padded_twice, map_of_factors, softmax_at_the_end],
)  # fmt: skip
def test_construction_keeps_its_output(build: Callable[[Net], None], numpy_evaluate):
    net = Net(3)
    build(net)
    folded, want, got = outputs(net, numpy_evaluate)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * np.abs(want).max())
    assert_normal_form(folded)
    assert np.abs(want).max() > 0


def test_zero_padding_follows_the_offset():
    """One pixel of count 0 stands for -1; a 3x3 kernel of ones with padding sees one -1 and eight zeros, so the
    offset is -1, and at the corner of a 2x2 map it sees four of them: a map, not a number per channel."""
    kernel = Conv(np.ones((1, 1, 3, 3), np.float32), None, (1, 1), ((1, 1), (1, 1)))
    graph = Graph("corner", (Node("in", Input((1, 1, 3))), Node("c", kernel, ("in",))))
    folded = fold(graph, np.array(0.5), np.array(-1.0))
    assert folded.output.op.offset.tolist() == [[[-2.0, -3.0, -2.0]]]
    assert (folded["c"].op.weight == 0.5).all()


def test_batch_norm_goes_into_weights_and_offset():
    """w = 3, b = 1, then 2 y - 5 for input 0.5 n: 3 n - 3."""
    dense = Dense(np.float32([[3]]), np.float32([1]))
    norm = Scale(np.float32([2]), np.float32([-5]))
    graph = Graph("bn", (Node("in", Input((1,))), Node("d", dense, ("in",)), Node("n", norm, ("d",))))
    folded = fold(graph, np.array(0.5), np.array(0.0))
    assert [type(n.op) for n in folded.nodes] == [Input, Dense, Scale]
    assert folded["d"].op.weight.tolist() == [[3.0]]
    assert folded.output.op.offset.tolist() == [-3.0]
    assert graph["d"].op.weight.tolist() == [[3.0]]  # the original stays


def test_softmax_at_the_end_is_left_out():
    dense = Dense(np.eye(3, dtype=np.float32), None)
    graph = Graph("s", (Node("in", Input((3,))), Node("d", dense, ("in",)), Node("p", Softmax(), ("d",))))
    folded = fold(graph, np.array(1.0), np.array(0.0))
    counts = np.array([[1.0, 2.0, 4.0]], np.float32)
    assert np.asarray(evaluate(folded, jnp.asarray(counts))[folded.output.name]).tolist() == counts.tolist()
    assert check(graph, folded, counts, counts) == 0


def test_relu_of_what_is_never_negative_is_no_layer():
    net = Net()
    net.add(Relu(), net.add(MaxPool((2, 2), (1, 1), NO_PADS), net.add(Relu(), net.conv("in", 2, 2))))
    folded = fold(net.graph(), GAIN, OFFSET)
    assert sum(isinstance(n.op, Relu) for n in folded.nodes) == 1


def test_all_refusals_are_listed_at_once():
    net = Net()
    scaled = net.add(Scale(net.random(2, 4, 5), np.zeros(())), "in")
    a = net.add(AvgPool((2, 2), (1, 1), NO_PADS), scaled)
    m = net.add(Relu(), net.add(Scale(np.full((), 2.0), np.zeros(())), a))
    p = net.add(MaxPool((2, 2), (1, 1), NO_PADS), net.norm("in", 2))
    net.add(Dense(net.random(2, 2), None), net.add(Dense(net.random(2, 24), None), net.add(Reshape((24,)), m)))
    net.nodes.append(Node("sink", Dense(net.random(2, 24), None), (net.add(Reshape((24,)), p),)))
    with pytest.raises(Unsupported) as error:
        fold(net.graph(), GAIN, OFFSET)
    text = str(error.value)
    assert f"AvgPool '{a}': a scale that differs within its windows" in text
    assert f"MaxPool '{p}': max-pool of values that may be negative" in text
    assert m not in text  # the placeholder for the average does not bring faults of its own
    assert text.startswith("net: 2 layers")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda n: n.conv(n.add(Scale(n.random(2, 4, 5), n.random(2, 4, 5)), "in"), 2, 2), "differs over the map"),
        (lambda n: n.add(AvgPool((2, 2), (1, 1), NO_PADS), n.add(Scale(n.random(2, 4, 5), n.random(1, 1, 1)), "in")),
         "differs within its windows"),
        (lambda n: n.conv(n.add(MaxPool((2, 2), (1, 1), NO_PADS), n.conv("in", 2, 2)), 2, 2), "may be negative"),
        (pool_of_a_part, "that no one layer of neurons sends"),
        (lambda n: n.add(Threshold(np.ones(1, np.int64), np.zeros(1, np.int64), 3), "in"), "unknown operator"),
    ],
)  # fmt: skip
def test_refusal_says_why(build, message):
    net = Net()
    build(net)
    with pytest.raises(Unsupported, match=message):
        fold(net.graph(), GAIN, OFFSET)


def test_check_measures_the_difference():
    net = Net(1)
    norm_then_relu(net)
    graph = net.graph()
    folded = fold(graph, GAIN, OFFSET)
    counts = net.rng.integers(0, 17, (3, 2, 4, 5))
    real = (counts * GAIN + OFFSET).astype(np.float32)
    assert check(graph, folded, real, counts) < 1e-5
    with pytest.raises(BadInput, match="folding changed the output by"):
        check(graph, folded, real + np.float32(0.1), counts)


@pytest.mark.parametrize(
    ("weight", "gain", "told"), [(1e30, 1.0, "layer 'w' reach 1e"), (1.0, 1e30, "the input reach")]
)
def test_values_that_float32_does_not_carry_are_named(weight, gain, told):
    nodes = (Node("in", Input((2,))), Node("w", Dense(np.full((1, 2), weight), None), ("in",)))
    graph, counts = Graph("n", nodes), np.array([[1, 0]])
    folded = fold(graph, np.array([gain]), np.zeros(1))
    with pytest.raises(BadInput, match=told):
        check(graph, folded, (counts * gain).astype(np.float32), counts)
