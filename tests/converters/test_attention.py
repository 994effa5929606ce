"""Small transformer blocks: float, integer and spiking, against NumPy with 64 bits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters import fold, network_file, quantise
from converters.attention import norm_neurons, not_spiking, softmax_neurons, whole_zero
from converters.encode import encode
from converters.network_file import Converted
from converters.staircase import Grid
from neuro.activations import Function
from neuro.capability import realise
from neuro.chip import load
from neuro.codes import CODES, decode, is_exact
from neuro.engine import Plain, engine
from neuro.errors import BadInput, Unsupported
from neuro.evaluate import evaluate
from neuro.graph import Graph, Node, digest
from neuro.layers import (
    FIRING,
    Activation,
    Add,
    AvgPool,
    Conv,
    Dense,
    Input,
    LayerNorm,
    MultiThreshold,
    NormNeurons,
    Pad,
    Product,
    Relu,
    Reshape,
    Scale,
    Slice,
    Softmax,
    SoftmaxNeurons,
    SumPool,
    Threshold,
    Transpose,
)
from neuro.sigma_delta import Delays, stream
from neuro.simulate import simulate
from neuro.stages import bounds
from neuro.wiring import of_graph
from tests.neuro.test_attention import norm_by_hand, softmax_by_hand

LEVELS = 16


class Net:
    """A network under construction; layers get their weights from one generator."""

    def __init__(self, seed: int, shape: tuple[int, ...]) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes = [Node("in", Input(shape))]

    def add(self, op, *inputs: str) -> str:
        self.nodes.append(Node(f"{type(op).__name__.lower()}{len(self.nodes)}", op, inputs))
        return self.nodes[-1].name

    def linear(self, x: str, size: int, out: int) -> str:
        """A matrix product at every token of [token, feature]."""
        weight = self.rng.normal(0, size**-0.5, (out, size, 1)).astype(np.float32)
        conv = Conv(weight, self.rng.normal(0, 0.1, out).astype(np.float32), (1,), ((0, 0),))
        return self.add(Transpose((1, 0)), self.add(conv, self.add(Transpose((1, 0)), x)))

    def norm(self, x: str, size: int) -> str:
        return self.add(LayerNorm(*self.rng.normal((1, 0), 0.2, (size, 2)).astype(np.float32).T, 1e-5), x)


def block(seed: int, tokens: int, heads: int, size: int, pre: bool, class_token: bool) -> Graph:
    """A class token, one block of attention and perceptron with layer norm before or after, and a linear read-out."""
    net, width = Net(seed, (tokens, size)), heads * size
    x = net.linear("in", size, width)
    if class_token:
        token = np.zeros((tokens + 1, width), np.float32)
        token[0] = net.rng.normal(size=width)
        x = net.add(Scale(np.ones((), np.float32), token), net.add(Pad(((1, 0), (0, 0))), x))
    tokens += class_token
    y = net.norm(x, width) if pre else x
    sides = []
    for order in ((1, 0, 2), (1, 2, 0), (1, 0, 2)):  # query, key turned, value
        split = net.add(Reshape((tokens, heads, size)), net.linear(y, width, width))
        sides.append(net.add(Transpose(order), split))
    scaled = net.add(Scale(np.full((), size**-0.5), np.zeros(())), net.add(Product(), sides[0], sides[1]))
    mixed = net.add(Transpose((1, 0, 2)), net.add(Product(), net.add(Softmax(), scaled), sides[2]))
    x = net.add(Add(), x, net.linear(net.add(Reshape((tokens, width)), mixed), width, width))
    x = x if pre else net.norm(x, width)
    y = net.norm(x, width) if pre else x
    y = net.linear(net.add(Activation(Function("gelu")), net.linear(y, width, 2 * width)), 2 * width, width)
    x = net.add(Add(), x, y)
    if class_token:
        x = net.add(Reshape((width,)), net.add(Slice(0, 0, 1), x))
    else:
        pooled = net.add(AvgPool((tokens,), (tokens,), ((0, 0),)), net.add(Transpose((1, 0)), x))
        x = net.add(Reshape((width,)), pooled)
    net.add(Dense(net.rng.normal(size=(3, width)).astype(np.float32), None), x)
    return Graph("block", tuple(net.nodes))


def counted(graph: Graph, seed: int, items: int = 24) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, LEVELS + 1, (items, *graph.shapes["in"]))


def whole_numbers(graph: Graph, x: np.ndarray) -> dict[str, np.ndarray]:
    """Every node of an integer graph for x [item, *shape] in int64, written without the project's evaluator."""
    values = {graph.input.name: x.astype(np.int64)}
    for node in graph.nodes[1:]:
        op, a = node.op, values[node.inputs[0]]
        match op:
            case Conv():  # kernels of one value
                w = op.weight.reshape(op.groups, -1, op.weight.shape[1]).astype(np.int64)
                y = np.einsum("goi,ngit->ngot", w, a.reshape(len(a), op.groups, w.shape[2], -1))
                y = y.reshape(len(a), -1, *a.shape[2:])
            case Dense():
                y = a @ op.weight.T
            case Add():
                y = a + values[node.inputs[1]]
            case Product():
                y = np.einsum("n...ik,n...kj->n...ij", a - op.zeros[0], values[node.inputs[1]] - op.zeros[1])
            case Reshape():
                y = a.reshape(len(a), *op.shape)
            case Transpose():
                y = np.moveaxis(a, [i + 1 for i in op.order], range(1, a.ndim))
            case Pad():
                y = np.pad(a, ((0, 0), *op.pads))
            case Slice():
                y = a.take(range(op.start, op.stop), axis=op.axis + 1)
            case SumPool():  # over all tokens
                y = a.sum(axis=-1, keepdims=True)
            case Scale():
                y = a + op.offset
            case Threshold():
                y = np.clip((a + op.bias + op.threshold // 2) // op.threshold, 0, op.levels)
            case MultiThreshold():
                steps = (a + op.bias)[:, None] >= op.thresholds
                y = np.clip(op.start + (steps * op.signs.reshape(-1, *(1,) * (a.ndim - 1))).sum(1), 0, op.levels)
            case SoftmaxNeurons() | NormNeurons():
                by_hand = softmax_by_hand if isinstance(op, SoftmaxNeurons) else norm_by_hand
                rows = (a + op.bias).reshape(-1, a.shape[-1]).tolist()
                y = np.array([by_hand(op, row) for row in rows]).reshape(a.shape)
            case _:
                raise TypeError(op)
        values[node.name] = y
    return values


def converted(graph: Graph, counts: np.ndarray, levels: int) -> tuple[Graph, quantise.Quantised]:
    gain, offset = np.array([2 / LEVELS]), np.array([-1.0])
    folded = fold.fold(graph, gain, offset)
    real = (counts * gain + offset).astype(np.float32)
    assert fold.check(graph, folded, real, counts) < 1e-4
    return folded, quantise.reference(folded, counts, LEVELS, levels)


@settings(max_examples=2, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(2, 3), st.integers(1, 2), st.integers(2, 3), st.booleans(), st.booleans(),
    st.sampled_from([7, 15, 255]), st.sampled_from([c for c in CODES if is_exact(c)]),
)  # fmt: skip
def test_blocks_are_whole_number_arithmetic_and_their_spikes_equal_it(
    seed, tokens, heads, size, pre, class_token, levels, code
):
    graph = block(seed, tokens, heads, size, pre, class_token)
    counts = counted(graph, seed)
    integer = converted(graph, counts, levels)[1].graph
    want = whole_numbers(integer, counts[:4])
    got = jax.jit(lambda batch: evaluate(integer, batch))(jnp.asarray(counts[:4], jnp.float32))
    for name, value in want.items():
        assert (np.asarray(got[name]) == value).all(), name
    largest = bounds(integer)
    spiking = encode(integer, code)
    ran = jax.jit(lambda batch: simulate(spiking, batch))(jnp.asarray(counts[:4], jnp.float32))
    for node in integer.nodes:
        if isinstance(node.op, FIRING):
            assert (np.asarray(decode(code, ran.spikes[node.name])) == want[node.name]).all(), node.name
            assert np.abs(want[node.inputs[0]]).max() <= largest[node.name]
    assert (np.asarray(ran.output) == want[integer.output.name]).all()


@pytest.mark.parametrize("code", ["sd_ternary", "sd_pow2"])
def test_changes_in_any_order_come_to_rest_at_the_same_numbers(code):
    """Online codes: queries, keys and values change one after the other, by single events with delays of their own."""
    graph = block(5, 2, 2, 2, True, False)
    counts = counted(graph, 5, 6)
    integer = converted(graph, counts, 7)[1].graph
    frames = [counts[:2], counts[2:4], counts[4:]]
    for frame, settled in zip(frames, stream(integer, frames, code, Delays(3, True, 1)), strict=True):
        want = whole_numbers(integer, frame)
        for name, tracer in settled.tracers.items():
            assert (tracer == want[name]).all(), name
        assert (settled.output == want[integer.output.name]).all()


@pytest.mark.parametrize(("pre", "class_token"), [(True, True), (False, False)])
def test_more_levels_come_closer_to_the_float_network(pre, class_token):
    graph = block(3, 4, 2, 4, pre, class_token)
    counts = counted(graph, 1, 200)
    errors = []
    for levels in (15, 255):
        folded, found = converted(graph, counts, levels)
        real = np.asarray(evaluate(folded, jnp.asarray(counts, jnp.float32))[folded.output.name])
        membrane = np.asarray(evaluate(found.graph, jnp.asarray(counts, jnp.float32))[found.graph.output.name])
        close = membrane * found.scales[folded.output.name]
        errors.append(np.sqrt(((close - real) ** 2).mean()) / real.std())
    assert errors[1] < 0.5 * errors[0]
    assert errors[1] < 0.06


def test_the_table_of_a_softmax_comes_within_half_a_level():
    rng = np.random.default_rng(4)
    membrane = rng.integers(-4000, 4000, (200, 6))
    real = membrane * 0.0011
    want = np.exp(real - real.max(-1, keepdims=True))
    want /= want.sum(-1, keepdims=True)
    op = softmax_neurons(np.zeros(1, np.int64), 0.0011, 6, 100, np.asarray(want, np.float32))
    got = np.array([softmax_by_hand(op, row) for row in membrane.tolist()]) / op.whole
    assert np.abs(got - want).max() <= 0.5 / op.whole + 0.005
    assert op.table[-1] == 0


@pytest.mark.parametrize(("members", "scale"), [(2, 0.3), (48, 0.01), (768, 0.0001)])
def test_a_norm_of_integers_comes_within_half_a_level(members, scale):
    rng = np.random.default_rng(5)
    membrane = rng.integers(-3000, 3000, (50, members))
    op = LayerNorm(rng.normal(1, 0.3, members), rng.normal(0, 0.5, members), 1e-5)
    real = membrane * scale
    want = (real - real.mean(-1, keepdims=True)) / np.sqrt(real.var(-1, keepdims=True) + 1e-5) * op.gain + op.offset
    grid = Grid(np.full(members, -4.0), np.full(members, 8 / 255), 255)
    made = norm_neurons(np.zeros(1, np.int64), scale, op, grid)
    got = np.array([norm_by_hand(made, row) for row in membrane.tolist()]) * grid.unit + grid.low
    inside = (want > -4) & (want < 4)
    assert np.abs(got - want)[inside].max() < 0.5 * 8 / 255 + 2 * 2.0**-8  # differences keep 8 to 14 bits


def test_a_norm_beyond_32_bits_is_refused():
    op = LayerNorm(np.full(4, 1e9), np.zeros(4), 1e-5)
    with pytest.raises(BadInput, match="more than 32 bits"):
        norm_neurons(np.zeros(1, np.int64), 1.0, op, Grid(np.zeros(4), np.full(4, 1e-3), 15))


def test_one_level_stands_for_zero():
    rng = np.random.default_rng(6)
    values = np.asarray(rng.normal(1, 2, (300, 3, 4)), np.float32)
    for common in (True, False):
        grid = whole_zero(values, 15, common)
        zero = -grid.low / grid.unit
        assert np.abs(zero - np.rint(zero)).max() < 1e-9
        assert ((zero >= 0) & (zero <= 15)).all()
        assert len(np.unique(grid.unit)) == (1 if common else 3)


def test_what_does_not_spike_is_named_and_no_rate_code_or_chip_takes_it():
    graph = block(1, 3, 2, 2, True, False)
    counts = counted(graph, 1)
    folded, found = converted(graph, counts, 15)
    named = not_spiking(graph)
    kinds = [type(graph[name].op) for name in named]
    assert (kinds.count(LayerNorm), kinds.count(Product), kinds.count(Softmax)) == (2, 2, 1)
    with pytest.raises(Unsupported, match="no firing rate follows it") as error:
        quantise.rate(folded, counts, LEVELS)
    assert set(named) <= {r.layer for r in error.value.refusals}
    spiking = encode(found.graph, "bits")
    program, why = engine(spiking)
    assert isinstance(program, Plain)
    assert "softmax and norms of populations" in why
    for chip in ("loihi1", "loihi2", "spinnaker2"):
        way = realise(load(chip), "bits", spiking)
        assert way.status == "impossible"
        assert "softmax" in way.missing
    with pytest.raises(Unsupported, match="cannot be mapped") as refused:
        of_graph(spiking, load("loihi2"), realise(load("loihi2"), "bits"))
    wanted = {n.name for n in spiking.nodes if isinstance(n.op, Product | SoftmaxNeurons | NormNeurons)}
    assert {r.layer for r in refused.value.refusals} == wanted


def test_a_converted_block_comes_back_from_its_file(tmp_path):
    graph = block(2, 3, 1, 3, True, True)
    found = converted(graph, counted(graph, 2), 15)[1]
    whole = Converted(graph, found, "exact", "bits", 64, LEVELS, np.ones(1), np.zeros(1), {})
    back = network_file.load(network_file.save(whole, tmp_path / "block.h5"))
    assert (digest(back.network), digest(back.integer.graph)) == (digest(graph), digest(found.graph))


def test_networks_without_attention_get_no_neurons_between_layers():
    net = Net(0, (4,))
    x = net.add(Dense(np.eye(4, dtype=np.float32), None), net.add(Dense(np.eye(4, dtype=np.float32), None), "in"))
    net.add(Dense(np.eye(4, dtype=np.float32), None), net.add(Relu(), x))
    with pytest.raises(Unsupported, match="no activation before it"):
        converted(Graph("net", tuple(net.nodes)), np.ones((4, 4), np.int64), 15)
