"""ONNX operators of transformers against ONNX Runtime, alone and as small blocks."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuro.layers import LayerNorm, Product, Slice, Softmax
from tests.converters.importers.test_from_onnx import agreeing, ints, node, refused, saved, weights

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("shape", [(5, 6), (2, 5, 6), (2, 3, 5, 6)])
def test_a_product_of_two_streams(tmp_path, shape):
    order = [*range(len(shape) - 1), len(shape), len(shape) - 1]
    nodes = [node("Transpose", "x", "t", perm=order), node("MatMul", "x t")]
    graph = agreeing(saved(tmp_path, nodes, shape))
    assert graph.output.op == Product()
    assert graph.shapes[graph.output.name] == (*shape[:-1], shape[-2])


def test_products_that_broadcast_are_refused(tmp_path):
    nodes = [node("Reshape", "x s", "r"), node("Flatten", "x", "f"), node("MatMul", "f r")]
    text = refused(saved(tmp_path, nodes, (2, 2), {"s": ints(1, 4, 1)}))
    assert "MatMul 'matmul': operands of (4,) and (4, 1)" in text


@pytest.mark.parametrize(("opset", "axis"), [(13, -1), (13, 3), (13, 1), (13, 2), (11, 3)])
def test_a_softmax_inside_over_any_axis(tmp_path, opset, axis):
    nodes = [node("Softmax", "x", "s", axis=axis), node("Relu", "s")]
    graph = agreeing(saved(tmp_path, nodes, (2, 3, 4), opset=opset))
    assert sum(n.op == Softmax() for n in graph.nodes) == 1


def test_softmax_over_several_axes_or_the_batch_is_refused(tmp_path):
    message = refused(saved(tmp_path, [node("Softmax", "x", axis=1)], (6, 2), opset=11))
    assert "Softmax 'softmax': axis 1 of an input of (6, 2)" in message
    assert "only one axis behind the batch" in refused(saved(tmp_path, [node("Softmax", "x", axis=0)], (6, 2)))
    inner = [node("LogSoftmax", "x", "s"), node("Relu", "s")]
    assert "only the last layer may be the logarithm" in refused(saved(tmp_path, inner, (6,)))


@pytest.mark.parametrize("bias", [True, False])
def test_layer_norm_over_the_last_axis(tmp_path, bias):
    nodes = [node("LayerNormalization", "x g b" if bias else "x g", axis=-1, epsilon=1e-3)]
    graph = agreeing(saved(tmp_path, nodes, (3, 5), {"g": weights(5), "b": weights(5, seed=1)}, opset=17))
    assert isinstance(graph.output.op, LayerNorm)
    assert graph.output.op.epsilon == pytest.approx(1e-3)


def test_layer_norm_over_more_axes_is_refused(tmp_path):
    nodes = [node("LayerNormalization", "x g", axis=1)]
    assert "only over the last" in refused(saved(tmp_path, nodes, (3, 5), {"g": weights(3, 5)}, opset=17))


@pytest.mark.parametrize("order", ["c x", "x c", "c x d"])
def test_a_constant_beside_a_stream(tmp_path, order):
    constants = {"c": weights(1, 1, 4), "d": weights(1, 2, 4, seed=1)}
    graph = agreeing(saved(tmp_path, [node("Concat", order, axis=1)], (3, 4), constants))
    assert graph.shapes[graph.output.name] == (6 if "d" in order else 4, 4)


@pytest.mark.parametrize(("axis", "index"), [(1, 0), (1, -1), (2, 3), (1, [1, 2]), (2, [0])])
def test_picked_tokens(tmp_path, axis, index):
    nodes = [node("Gather", "x i", axis=axis)]
    graph = agreeing(saved(tmp_path, nodes, (3, 4), {"i": np.array(index, np.int64)}))
    assert any(isinstance(n.op, Slice) for n in graph.nodes)


def test_other_picks_are_refused(tmp_path):
    scattered = refused(saved(tmp_path, [node("Gather", "x i", axis=1)], (3, 4), {"i": ints(0, 2)}))
    assert "do not follow each other" in scattered
    assert "samples of a batch" in refused(saved(tmp_path, [node("Gather", "x i")], (3, 4), {"i": ints(0)}))
    constants = {"s": ints(0), "e": ints(3), "a": ints(1), "t": ints(2)}
    assert "steps [2]" in refused(saved(tmp_path, [node("Slice", "x s e a t")], (3, 4), constants))


@pytest.mark.parametrize(("start", "end", "axis"), [(1, 3, 1), (0, -1, 2), (-2, 2**31, 2), (0, 9, 1)])
def test_slices(tmp_path, start, end, axis):
    constants = {"s": ints(start), "e": ints(end), "a": ints(axis)}
    agreeing(saved(tmp_path, [node("Slice", "x s e a", "c"), node("Relu", "c")], (3, 4), constants))


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 1000), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
def test_blocks_of_attention(tmp_path, seed, heads, size, tokens):
    """Class token, layer norm, heads, GELU and the choice of the class token, as exporters write them."""
    width = heads * size
    made = {name: weights(width, width, seed=seed + k) / width**0.5 for k, name in enumerate(("q", "k", "v", "o", "m"))}
    made |= {"c": weights(1, 1, width, seed=seed), "g": weights(width, seed=seed + 9), "zero": np.array(0, np.int64)}
    made |= {"heads": ints(0, -1, heads, size), "flat": ints(0, -1, width), "root": np.float32(size**-0.5)}
    nodes = [node("Concat", "c x", "t", axis=1), node("LayerNormalization", "t g", "n", axis=-1)]
    for side, order in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        nodes += [
            node("MatMul", f"n {side}", f"{side}1", f"{side}_matmul"),
            node("Reshape", f"{side}1 heads", f"{side}2", f"{side}_split"),
            node("Transpose", f"{side}2", f"{side}3", f"{side}_turned", perm=order),
        ]
    nodes += [
        node("MatMul", "q3 k3", "qk", "product"), node("Mul", "qk root", "s"), node("Softmax", "s", "p", axis=-1),
        node("MatMul", "p v3", "pv", "mixed"), node("Transpose", "pv", "u", "together", perm=[0, 2, 1, 3]),
        node("Reshape", "u flat", "w", "flattened"), node("MatMul", "w o", "a", "out"),
        node("Add", "a t", "r"), node("MatMul", "r m", "h", "mlp"), node("Gelu", "h", "e"),
        node("Add", "e r", "l", "last"), node("Gather", "l zero", axis=1),
    ]  # fmt: skip
    agreeing(saved(tmp_path, nodes, (tokens, width), made, opset=20))
