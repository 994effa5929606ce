"""Every operator against loops in NumPy, and integer division against Python's."""

import jax.numpy as jnp
import numpy as np
import pytest

from neuro.evaluate import apply, evaluate, evaluator, weighted
from neuro.graph import Graph, Node
from neuro.layers import (
    Add,
    AvgPool,
    Conv,
    Dense,
    Input,
    MaxPool,
    MultiThreshold,
    Pad,
    Relu,
    Reshape,
    Scale,
    Softmax,
    SumPool,
    Threshold,
    Transpose,
)

RNG = np.random.default_rng(0)
X, LINE, FLAT = RNG.normal(size=(3, 4, 6, 5)), RNG.normal(size=(3, 4, 9)), RNG.normal(size=(3, 7))


def conv(enter: int, leave: int, kernel: tuple, stride: tuple, pads: tuple, groups: int = 1, bias: bool = True) -> Conv:
    weight = RNG.normal(size=(leave, enter // groups, *kernel))
    return Conv(weight, RNG.normal(size=leave) if bias else None, stride, pads, groups)


OPERATORS = [
    (conv(4, 2, (3, 3), (1, 1), ((1, 1), (1, 1))), X),
    (conv(4, 6, (3, 2), (2, 1), ((0, 2), (1, 0)), groups=2), X),
    (conv(4, 4, (1, 1), (2, 2), ((0, 0), (0, 0)), groups=4, bias=False), X),
    (conv(4, 3, (4,), (2,), ((3, 1),)), LINE),
    (Dense(RNG.normal(size=(5, 7)), RNG.normal(size=5)), FLAT),
    (Dense(RNG.normal(size=(5, 7)), None), FLAT),
    (Scale(RNG.normal(size=(4, 1, 1)), RNG.normal(size=(4, 6, 5))), X),
    (Scale(np.array(2.0), RNG.normal(size=(5,))), X),
    (Relu(), X),
    (MaxPool((3, 2), (2, 1), ((1, 0), (0, 1))), X - 10),  # padding never wins, not even over negative values
    (AvgPool((3, 3), (2, 2), ((1, 0), (1, 1))), X),
    (SumPool((3, 3), (2, 2), ((1, 0), (1, 1))), X),
    (SumPool((3,), (2,), ((1, 0),)), LINE),
    (Reshape((6, 20)), X),
    (Transpose((2, 0, 1)), X),
    (Pad(((0, 0), (1, 2), (0, 1))), X),
    (Softmax(), FLAT * 30),
]


@pytest.fixture(params=[jnp.asarray, np.asarray], ids=["jax", "numpy"])
def array(request):
    """Makes the arrays of one of the two kinds that operators take."""
    return request.param


@pytest.mark.parametrize(
    ("op", "x"), OPERATORS, ids=lambda v: type(v).__name__ if not isinstance(v, np.ndarray) else ""
)
def test_operator_equals_loops(op, x, numpy_apply, array):
    want = numpy_apply(op, x)
    given = array(x, np.float32)
    before = np.array(given)
    got = apply(op, given)
    assert type(got) is type(given)
    assert got.dtype == np.float32
    assert (np.asarray(given) == before).all()  # nothing is changed in place that somebody else holds
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_add_takes_two(array):
    got = apply(Add(), array(FLAT, np.float32), array(2 * FLAT, np.float32))
    np.testing.assert_allclose(got, 3 * FLAT, rtol=1e-5)


@pytest.mark.parametrize("th", [1, 2, 3, 7, 49, 567, 4095, 65536])
def test_threshold_divides_as_integers_do(th, array):
    """Multiples of the threshold and their neighbours: a float quotient such as 567 k / 567 rounds across them."""
    near = np.array([k * th + d for k in range(-20, 22) for d in (-1, 0, 1)])
    v = np.unique(np.concatenate([near, [2**24 - 1, 1 - 2**24], RNG.integers(-(2**24), 2**24, 200)]))
    bias = 3
    op = Threshold(np.array([th]), np.array([bias]), 15)
    got = np.asarray(apply(op, array(v - bias - th // 2, np.float32)[:, None]))[:, 0]
    assert got.tolist() == [min(max(int(x) // th, 0), 15) for x in v]


def test_threshold_of_each_channel_and_bias_of_each_neuron(numpy_apply):
    v = RNG.integers(-300, 300, (5, 3, 4, 2))
    op = Threshold(RNG.integers(1, 40, (3, 1, 1)), RNG.integers(-50, 50, (3, 4, 2)), 7)
    np.testing.assert_array_equal(apply(op, jnp.asarray(v, jnp.float32)), numpy_apply(op, v))


def test_an_input_cannot_be_executed():
    with pytest.raises(TypeError, match="Input cannot be executed"):
        apply(Input((3,)), jnp.zeros((1, 3)))


def test_graph_runs_in_order_and_jitted_alike():
    graph = Graph(
        "g",
        (
            Node("in", Input((2,))),
            Node("d", Dense(np.array([[1.0, 2.0]]), np.array([3.0])), ("in",)),
            Node("s", Scale(np.array(2.0), np.array(-1.0)), ("d",)),
            Node("a", Add(), ("d", "s")),
        ),
    )
    x = jnp.asarray([[1.0, 1.0], [0.0, -2.0]])
    values = evaluate(graph, x)
    assert {k: np.asarray(v).ravel().tolist() for k, v in values.items() if k != "in"} == {
        "d": [6.0, -1.0], "s": [11.0, -3.0], "a": [17.0, -4.0],
    }  # fmt: skip
    a, d = evaluator(graph, ("a", "d"))(x)
    np.testing.assert_array_equal(a, values["a"])
    np.testing.assert_array_equal(d, values["d"])


@pytest.mark.parametrize("shape", [(9,), (3, 4, 5)])
@pytest.mark.parametrize(("steps", "own"), [(17, True), (40, True), (255, False), (16, True)])
def test_many_thresholds_are_all_counted(shape, steps, own, numpy_apply):
    rng = np.random.default_rng(steps)
    axes = (shape[0] if own else 1, *(1,) * (len(shape) - 1))
    op = MultiThreshold(
        thresholds=rng.integers(-50, 50, (steps, *axes)),
        signs=np.ones(steps, np.int64),
        start=rng.integers(0, 3, axes),
        bias=rng.integers(-5, 5, shape),
        levels=steps,
    )
    x = rng.integers(-80, 80, (6, *shape))
    got = np.asarray(apply(op, jnp.asarray(x, jnp.float32)))
    np.testing.assert_array_equal(got, numpy_apply(op, x))


def test_other_weights_in_place_of_an_operators_own():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 3, 5, 5)), jnp.float32)
    first, second = (rng.normal(size=(4, 3, 3, 3)).astype(np.float32) for _ in range(2))
    op, other = (Conv(w, None, (2, 1), ((1, 1), (0, 0))) for w in (first, second))
    np.testing.assert_array_equal(weighted(op, jnp.asarray(second), x), apply(other, x))
    flat = jnp.asarray(rng.normal(size=(2, 3)), jnp.float32)
    dense = Dense(np.zeros((4, 3), np.float32), np.ones(4))
    got = weighted(dense, jnp.asarray(first[:, :, 0, 0]), flat)
    np.testing.assert_allclose(got, np.asarray(flat) @ first[:, :, 0, 0].T, rtol=1e-5)  # without the bias
