"""Every primitive against JAX itself, layouts, frameworks on top of JAX, and what is refused."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from jax import lax

from converters.importers.from_jax import trace
from neuro.activations import Function
from neuro.errors import BadInput, Unsupported
from neuro.evaluate import evaluator
from neuro.graph import Graph
from neuro.layers import (
    Activation,
    Add,
    AvgPool,
    Concat,
    Conv,
    Dense,
    Embedding,
    MaxPool,
    Pad,
    Product,
    Relu,
    Reshape,
    Scale,
    Softmax,
    Transpose,
)

TOLERANCE = 1e-5
HIGHEST = lax.Precision.HIGHEST


@pytest.fixture(autouse=True)
def _as_users_have_it():
    """JAX with the promotions of its defaults, which the tests switch off elsewhere."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def weights(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def output(graph: Graph, x: np.ndarray) -> np.ndarray:
    return np.asarray(evaluator(graph, (graph.output.name,))(x.astype(np.float32))[0])


def agreeing(function, shape: tuple[int, ...], samples: int = 3) -> Graph:
    """The imported graph, once it agrees with the function on random inputs, one by one as traced."""
    graph = trace(function, shape)
    x = weights(samples, *shape, seed=5) * 2
    wanted = np.concatenate([np.asarray(function(jnp.asarray(sample[None]))) for sample in x])
    values = output(graph, x)
    assert values.shape == wanted.shape
    assert np.abs(values - wanted).max() < TOLERANCE * max(1, np.abs(wanted).max())
    return graph


def kinds(graph: Graph) -> list[type]:
    return [type(n.op) for n in graph.nodes[1:]]


def refused(function, shape: tuple[int, ...]) -> str:
    with pytest.raises(Unsupported) as caught:
        trace(function, shape)
    return str(caught.value)


# Functions of each value


@pytest.mark.parametrize(
    "function",
    [
        jax.nn.relu, lambda x: jnp.maximum(x, 0), lambda x: jnp.where(x > 0, x, 0), lambda x: x * (x > 0),
        lambda x: jnp.clip(x, 0), jax.jit(jax.nn.relu), jax.checkpoint(jax.nn.relu), lambda x: (x + abs(x)) / 2,
        lambda x: lax.max(x, jnp.zeros_like(x)),
    ],
)  # fmt: skip
def test_a_relu_is_a_relu_however_it_is_written(function):
    assert kinds(agreeing(function, (3, 4))) == [Relu]


@pytest.mark.parametrize(
    ("function", "name", "parameters"),
    [
        (jax.nn.relu6, "clip", (0, 6)),
        (lambda x: jnp.clip(x, -1, 2.5), "clip", (-1, 2.5)),
        (lambda x: lax.clamp(-1.0, x, 0.5), "clip", (-1, 0.5)),
        (lambda x: jnp.minimum(x, 1.0), "clip", (-np.inf, 1)),
        (jax.nn.hard_tanh, "clip", (-1, 1)),
        (jax.nn.leaky_relu, "leaky_relu", (0.01,)),
        (lambda x: jnp.where(x < 0, 0.3 * x, x), "leaky_relu", (0.3,)),
        (jax.nn.elu, "elu", (1,)),
        (lambda x: jax.nn.elu(x, 0.6), "elu", (0.6,)),
        (jax.nn.selu, "selu", (1.6732632, 1.050701)),
        (jax.nn.sigmoid, "sigmoid", ()),
        (lambda x: 1 / (1 + jnp.exp(-x)), "sigmoid", ()),
        (jnp.tanh, "tanh", ()),
        (jax.nn.hard_sigmoid, "hard_sigmoid", (0.16666667, 0.5)),
        (jax.nn.hard_swish, "hard_swish", ()),
        (jax.nn.softplus, "softplus", ()),
        (jax.nn.soft_sign, "softsign", ()),
        (jax.nn.silu, "silu", ()),
        (lambda x: x / (1 + jnp.exp(-x)), "silu", ()),
        (lambda x: jax.nn.gelu(x, approximate=False), "gelu", ()),
        (jax.nn.gelu, "gelu_tanh", ()),
        (jax.nn.mish, "mish", ()),
        (jnp.sign, "sign", ()),
        (lambda x: jnp.where(x >= 0, 0.7, -0.7), "bipolar", (0.7,)),
    ],
)
def test_functions_of_each_value(function, name, parameters):
    graph = agreeing(lambda x: function(x @ weights(6, 5)) @ weights(5, 3), (6,))
    assert kinds(graph) == [Dense, Activation, Dense]
    found = graph.nodes[2].op.function
    assert found.name == name
    assert found.parameters == pytest.approx(parameters, rel=1e-6)


@examples(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["relu", "tanh", "scale", "shift", "gelu", "self", "skip"]), min_size=1, max_size=7))
def test_any_sequence_of_functions(steps):
    """Scales, functions and sums of a tensor with itself, in any order, are taken apart again."""
    apply = {
        "relu": jax.nn.relu, "tanh": jnp.tanh, "scale": lambda x: 1.5 * x, "shift": lambda x: x - 0.25,
        "gelu": jax.nn.gelu, "self": lambda x: x + jnp.tanh(x), "skip": lambda x: x - jax.nn.relu(x),
    }  # fmt: skip

    def function(x):
        for step in steps:
            x = apply[step](x)
        return x

    agreeing(function, (4,))


def test_functions_that_are_none_are_refused_all_at_once():
    def function(x):
        y = jnp.sin(x) @ weights(4, 4)
        return jnp.exp(-y) + lax.cumsum(x * jnp.cos(x), axis=1)

    message = refused(function, (4,))
    for word in ("sin", "cos", "cumsum", "exp"):
        assert word in message


# Convolutions, matrices, pools


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "HWNC", "CHWN"])
@pytest.mark.parametrize("kernel", ["OIHW", "HWIO", "WIHO"])
@pytest.mark.parametrize("out", ["NCHW", "NHWC", "NWCH"])
def test_convolutions_of_any_layout(layout, kernel, out):
    sizes = {"O": 5, "I": 2, "H": 3, "W": 2}
    w = weights(*(sizes[a] for a in kernel))

    def function(x):
        if layout.index("N"):
            x = jnp.moveaxis(x, 0, layout.index("N"))
        numbers = (layout, kernel, out)
        return lax.conv_general_dilated(x, w, (2, 1), ((1, 0), (0, 1)), dimension_numbers=numbers, precision=HIGHEST)

    shape = tuple({"C": 2, "H": 7, "W": 6}[a] for a in layout if a != "N")
    graph = agreeing(function, shape)
    assert kinds(graph).count(Conv) == 1
    assert set(kinds(graph)) <= {Conv, Transpose}


def test_dilation_and_groups():
    def function(x):
        return lax.conv_general_dilated(
            x, weights(3, 2, 1, 8), (1, 1), "SAME", rhs_dilation=(2, 1), feature_group_count=4,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )  # fmt: skip

    graph = agreeing(function, (6, 5, 4))
    conv = next(n.op for n in graph.nodes if isinstance(n.op, Conv))
    assert (conv.groups, conv.dilation) == (4, (2, 1))


def test_series():
    def function(x):
        return lax.conv_general_dilated(x, weights(4, 3, 5), (2,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"))

    assert kinds(agreeing(function, (9, 3))) == [Transpose, Conv, Transpose]


@pytest.mark.parametrize(
    "function",
    [lambda x: x @ weights(6, 4), lambda x: (weights(4, 6) @ x.T).T,
     lambda x: jnp.einsum("oi,bi->bo", weights(4, 6), x), jax.vmap(lambda v: weights(4, 6) @ v + weights(4))],
)  # fmt: skip
def test_matrices(function):
    assert kinds(agreeing(function, (6,))) == [Dense]


def test_a_matrix_over_several_axes():
    graph = agreeing(lambda x: jnp.tensordot(x, weights(3, 4, 5, 2), ((1, 2), (0, 1))), (3, 4))
    assert kinds(graph) == [Reshape, Dense, Reshape]


def test_a_matrix_at_every_place_is_a_convolution_of_one_value():
    assert kinds(agreeing(lambda x: x @ weights(3, 5), (4, 6, 3))) == [Transpose, Conv, Transpose]
    assert kinds(agreeing(lambda x: jnp.einsum("btf,tu->buf", x, weights(4, 5)), (4, 3))) == [Conv]


def conv(x, seed: int, channels: int):
    w = weights(3, 3, x.shape[-1], channels, seed=seed) / 3
    return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), precision=HIGHEST)


def test_channels_last_stays_inside():
    """One transpose after the input; after flattening, the columns of the matrix are permuted instead."""

    def function(x):
        x = jax.nn.relu(conv(x, 1, 4) + weights(4))
        x = jax.nn.relu(conv(x, 2, 4) * weights(4) + x)
        x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        x = jnp.concatenate([x, jax.nn.gelu(conv(x, 3, 2))], axis=-1)
        x = jnp.pad(x, ((0, 0), (1, 0), (0, 1), (0, 0)))
        return x.reshape(x.shape[0], -1) @ weights(96, 3)

    graph = agreeing(function, (6, 6, 2))
    found = kinds(graph)
    assert found == [
        Transpose, Conv, Relu, Conv, Scale, Add, Relu, MaxPool, Conv, Activation, Concat, Pad, Reshape, Dense
    ]  # fmt: skip
    assert graph.shapes[graph.nodes[2].name] == (4, 6, 6)


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 2, 1), (1, 2, 1, 1), "SAME"), MaxPool),
        (lambda x: x.max(axis=(1, 2)), MaxPool),
        (lambda x: x.mean(axis=(1, 2)), AvgPool),
        (lambda x: x.mean(axis=(1, 2), keepdims=True), AvgPool),
        (lambda x: x.mean(axis=3), AvgPool),
        (lambda x: x.sum(axis=2), AvgPool),
        (lambda x: x.mean(axis=(1, 2, 3))[:, None], AvgPool),
        (lambda x: lax.reduce_window(x, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4, AvgPool),
        (lambda x: lax.reduce_window(x, 0.0, lax.add, (1, 3, 3, 1), (1, 2, 2, 1), "SAME") / 9, AvgPool),
    ],
)
def test_pools(function, kind):
    assert kind in kinds(agreeing(function, (6, 5, 3)))


def test_a_pool_of_a_map_without_channels():
    def function(x):
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2), (1, 2, 2), "VALID")

    assert kinds(agreeing(function, (6, 4))) == [Reshape, MaxPool, Reshape]


def test_a_mean_without_padding_is_a_mean_and_a_map_of_factors():
    def function(x):
        window = ((1, 3, 3, 1), (1, 2, 2, 1), "SAME")
        return lax.reduce_window(x, 0.0, lax.add, *window) / lax.reduce_window(jnp.ones_like(x), 0.0, lax.add, *window)

    assert kinds(agreeing(function, (5, 5, 2)))[:3] == [Transpose, AvgPool, Scale]


# Arithmetic, shapes


def test_batch_norm_is_one_scale():
    mean, var, gain, shift = weights(3), weights(3) ** 2 + 0.1, weights(3, seed=1), weights(3, seed=2)

    def function(x):
        return (x - mean) * (lax.rsqrt(var + 1e-5) * gain) + shift

    assert kinds(agreeing(function, (4, 5, 3))) == [Scale]


def test_arithmetic_with_constants():
    assert kinds(agreeing(lambda x: 2 - (-x / weights(4) - 1) * 3, (4,))) == [Scale]
    assert kinds(agreeing(lambda x: weights(2, 4) - x.reshape(-1, 2, 4), (8,))) == [Scale, Reshape]
    assert (
        kinds(agreeing(lambda x: x.reshape(-1, 2, 4).transpose(0, 2, 1).reshape(-1, 8) * weights(8), (8,)))[1] is Scale
    )


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.reshape(-1, 24), lambda x: x.transpose(0, 3, 1, 2),
        lambda x: x.transpose(0, 2, 1, 3).reshape(-1, 6, 4),
        lambda x: x[:, None].swapaxes(1, 2), lambda x: jnp.squeeze(x[..., None], -1) * 2, lambda x: x[:, :, :3] + 1,
        lambda x: jnp.pad(x, ((0, 0), (1, 2), (0, 0), (0, 1))), lambda x: x.transpose(3, 0, 1, 2).transpose(1, 2, 3, 0),
        lambda x: x.transpose(0, 2, 1, 3).reshape(-1, 3, 8) + x.reshape(-1, 3, 8),
        lambda x: jnp.concatenate([x, x.transpose(0, 1, 2, 3) * 2], axis=2),
        lambda x: x.transpose(0, 3, 1, 2).reshape(-1, 8, 3) @ weights(3, 2),
    ],
)  # fmt: skip
def test_values_moved(function):
    agreeing(function, (2, 3, 4))


@pytest.mark.parametrize(
    "function", [jax.nn.softmax, lambda x: jnp.exp(x) / jnp.exp(x).sum(-1, keepdims=True), jax.jit(jax.nn.softmax)]
)
def test_a_last_softmax(function):
    assert kinds(agreeing(lambda x: function(x @ weights(4, 3)), (4,))) == [Dense, Softmax]


def test_a_last_log_softmax_becomes_its_exponential():
    graph = trace(lambda x: jax.nn.log_softmax(x @ weights(4, 3)), (4,))
    x = weights(5, 4, seed=3)
    assert kinds(graph) == [Dense, Softmax]
    assert np.abs(output(graph, x) - np.asarray(jax.nn.softmax(x @ weights(4, 3)))).max() < TOLERANCE


@pytest.mark.parametrize(
    "function",
    [lambda x: jnp.asarray(weights(7, 3))[x], lambda x: jnp.take(weights(7, 3), x, axis=0),
     lambda x: jnp.asarray(weights(7, 3))[x.astype(int)]],
)  # fmt: skip
@pytest.mark.parametrize("whole", [True, False])
def test_embedding(function, whole):
    def network(x):
        return function(x if whole else x.astype(int)).reshape(-1, 12) @ weights(12, 2)

    graph = trace(network, (4,), whole=whole)
    x = np.array([[0, 6, 3, 1], [5, 5, 2, 4]])
    assert kinds(graph) == [Embedding, Reshape, Dense]
    assert np.abs(output(graph, x) - np.asarray(network(jnp.asarray(x)))).max() < TOLERANCE


# What is refused


@pytest.mark.parametrize(
    ("function", "word"),
    [
        (lambda x: x * x.sum(1, keepdims=True), "only equal shapes can be multiplied"),
        (lambda x: x @ x.T @ x, "computed from the network's input"),
        (lambda x: x - x.mean(0), "batch axis"),
        (lambda x: x[:, ::2], "steps"),
        (lambda x: jnp.pad(x, ((0, 0), (1, 1)), constant_values=1.0), "only zeros"),
        (lambda x: x.T, "batch"),
        (lambda x: jnp.sort(x, axis=1), "sort"),
        (lambda x: lax.while_loop(lambda y: y.sum() < 9, lambda y: y * 2, x), "while"),
        (lambda x: jax.nn.softmax(x) * 2, "exp|computed"),
        (lambda x: jnp.maximum(x, weights(4)), "differs from value to value"),
        (lambda x: x * jax.random.bernoulli(jax.random.key(0), 0.5, (4,)), "random numbers"),
        (lambda x: x.astype(jnp.bfloat16).astype(jnp.float32), "loses digits"),
        (lambda x: jnp.argmax(x, axis=1)[:, None], "argmax"),
    ],
)
def test_what_is_refused(function, word):
    message = refused(function, (4,))
    assert re.search(word, message), message


def test_a_transposed_convolution_is_refused():
    def function(x):
        return lax.conv_transpose(x, weights(3, 3, 2, 4), (2, 2), "SAME")

    assert "transposed" in refused(function, (4, 4, 2))


def test_functions_that_cannot_be_traced():
    with pytest.raises(BadInput, match=r"jax\.make_jaxpr fails"):
        trace(lambda x: x @ weights(5, 2), (4,))
    with pytest.raises(BadInput, match="2 arrays"):
        trace(lambda x: (x, x), (4,))
    with pytest.raises(BadInput, match="does not depend"):
        trace(lambda x: jnp.ones((1, 3)), (4,))


# Frameworks


def test_flax_linen():
    nn = pytest.importorskip("flax.linen")

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            y = nn.relu(nn.BatchNorm(use_running_average=not train)(nn.Conv(4, (3, 3), strides=2)(x)))
            y = nn.Conv(4, (3, 3), feature_group_count=2)(y) + nn.Conv(4, (1, 1), strides=2)(x)
            y = nn.max_pool(nn.gelu(y), (2, 2), strides=(2, 2))
            y = nn.avg_pool(y, (2, 2), padding="SAME", count_include_pad=False)
            y = nn.Dropout(0.5, deterministic=not train)(y.reshape(y.shape[0], -1))
            return nn.log_softmax(nn.Dense(3)(nn.PReLU()(nn.Dense(8, name="hidden")(y))))

    model, x = Block(), jnp.asarray(weights(4, 8, 8, 2))
    variables = model.init(jax.random.key(0), x, train=False)
    variables = jax.tree.map(lambda a: abs(weights(*a.shape, seed=a.size)) + 0.1 if a.ndim == 1 else a, variables)

    def function(x):
        return model.apply(variables, x, train=False)

    graph = trace(function, (8, 8, 2))
    assert np.abs(output(graph, np.asarray(x)) - np.exp(np.asarray(function(x)))).max() < TOLERANCE
    assert {"Block/Conv_0", "Block/BatchNorm_0", "Block/hidden"} <= {n.name for n in graph.nodes}
    assert kinds(graph).count(Transpose) == 1
    with pytest.raises(Unsupported, match="random numbers"):
        trace(lambda x: model.apply(variables, x, train=True, rngs={"dropout": jax.random.key(0)},
                                    mutable=["batch_stats"])[0], (8, 8, 2))  # fmt: skip


def test_flax_nnx():
    nnx = pytest.importorskip("flax.nnx")

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.conv = nnx.Conv(2, 4, (3, 3), rngs=rngs)
            self.norm = nnx.BatchNorm(4, rngs=rngs)
            self.drop = nnx.Dropout(0.5, rngs=rngs)
            self.head = nnx.Linear(4, 3, rngs=rngs)

        def __call__(self, x):
            return self.head(self.drop(nnx.silu(self.norm(self.conv(x)))).mean(axis=(1, 2)))

    net = Net(nnx.Rngs(0))
    net.norm.mean[...] = weights(4)
    net.eval()
    assert kinds(agreeing(net, (6, 6, 2))) == [Transpose, Conv, Scale, Activation, AvgPool, Reshape, Dense]


def test_equinox():
    eqx = pytest.importorskip("equinox")

    class Net(eqx.Module):
        conv: eqx.nn.Conv2d
        norm: eqx.nn.LayerNorm | None
        pool: eqx.nn.MaxPool2d
        mean: eqx.nn.AvgPool2d
        head: eqx.nn.Linear

        def __init__(self, key):
            self.conv, self.norm = eqx.nn.Conv2d(2, 3, 3, padding=1, key=key), None
            self.pool, self.mean = eqx.nn.MaxPool2d(2, 2), eqx.nn.AvgPool2d(2, 1)
            self.head = eqx.nn.Linear(27, 4, key=key)

        def __call__(self, x):
            return self.head(self.mean(self.pool(jax.nn.relu(self.conv(x)))).reshape(-1))

    net = jax.vmap(Net(jax.random.key(0)))
    assert kinds(agreeing(net, (2, 8, 8))) == [Conv, Relu, MaxPool, AvgPool, Reshape, Dense]


# Loops of a fixed length


@pytest.mark.parametrize("reverse", [False, True])
def test_a_scan_is_written_out_from_either_end(reverse):
    w, r = weights(3, 4), weights(4, 4, seed=1)

    def step(carry, row):
        h = jnp.tanh(row @ w + carry @ r)
        return h, h * 2

    def function(x):
        last, every = lax.scan(step, jnp.zeros((x.shape[0], 4)), x.swapaxes(0, 1), reverse=reverse)
        return every.swapaxes(0, 1).reshape(x.shape[0], -1), last

    graph = agreeing(lambda x: function(x)[0], (3, 3))
    assert sum(n.op == Activation(Function("tanh")) for n in graph.nodes) == 3
    agreeing(lambda x: function(x)[1], (3, 3))


def test_a_gated_cell_by_hand():
    """Products of two tensors, one matrix cut into gates, and what a gate leaves."""
    w, r, b = weights(3, 15), weights(5, 15, seed=1), weights(15, seed=2)

    def step(h, row):
        z, n, o = jnp.split(row @ w + h @ r + b, 3, axis=-1)
        z = jax.nn.sigmoid(z)
        return (1 - z) * jnp.tanh(n) + z * h * jax.nn.sigmoid(o), None

    graph = agreeing(lambda x: lax.scan(step, jnp.zeros((x.shape[0], 5)), x.swapaxes(0, 1))[0], (4, 3))
    assert sum(isinstance(n.op, Product) for n in graph.nodes) == 4 + 2 * 3  # nothing is kept in the first step


def test_parts_and_reversed_axes():
    agreeing(lambda x: x[:, 1:3].reshape(x.shape[0], -1), (4, 3))
    agreeing(lambda x: jnp.flip(x, 1)[:, 0] * x[:, 2], (4, 3))
    agreeing(lambda x: x[:, 1:], (4,))
    agreeing(lambda x: lax.fori_loop(0, 3, lambda i, y: jnp.tanh(y * 2), x), (4,))


def test_long_scans_are_refused():
    message = refused(
        lambda x: lax.scan(lambda h, row: (jnp.tanh(h + row), None), x[:, 0], x.swapaxes(0, 1))[0], (65, 3)
    )
    assert "a sequence of 65 steps; up to 64 are written out" in message
