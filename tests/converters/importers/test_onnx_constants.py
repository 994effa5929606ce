"""Nodes of constants, computed one at a time, and those that are not computed."""

import numpy as np
import pytest

from converters.importers.onnx_call import NotKnown, Refused, Stream, Unknown
from converters.importers.onnx_constants import first_shape, folded, is_constant

onnx = pytest.importorskip("onnx")

from onnx import helper  # noqa: E402

STREAM = Stream("before", (3, 4))
ONES = np.ones((2, 3), np.float32)


def node(op: str, count: int, outputs: int = 1, **attributes):
    names = [f"o{i}" for i in range(outputs)]
    return helper.make_node(op, [f"i{i}" for i in range(count)], names, **attributes)


def test_what_is_constant():
    assert is_constant(node("Add", 2), (ONES, ONES))
    assert is_constant(node("Constant", 0), ())
    assert not is_constant(node("Add", 2), (ONES, STREAM))
    assert is_constant(node("Shape", 1), (STREAM,))
    for op, inputs in (("Add", (ONES, Unknown())), ("Shape", (Stream("refused", None),))):
        with pytest.raises(NotKnown):
            is_constant(node(op, len(inputs)), inputs)


def test_values_by_hand():
    assert folded(node("Shape", 1), (STREAM,), 13)["o0"].tolist() == [1, 3, 4]
    assert folded(node("Shape", 1, start=1), (STREAM,), 15)["o0"].tolist() == [3, 4]
    assert folded(node("Mul", 2), (2 * ONES, 3 * ONES), 13)["o0"].tolist() == [[6] * 3] * 2
    clip = helper.make_node("Clip", ["i0", "", "i2"], ["o0"])
    assert folded(clip, (5 * ONES, None, np.full((), 2, np.float32)), 13)["o0"].tolist() == [[2] * 3] * 2


def test_every_output_of_a_node():
    parts = folded(node("Split", 1, outputs=2, axis=1, split=[1, 2]), (ONES,), 11)
    assert {name: part.shape for name, part in parts.items()} == {"o0": (2, 1), "o1": (2, 2)}


@pytest.mark.parametrize(
    ("made", "inputs", "reason"),
    [
        (node("Odd", 1, domain="vendor"), (ONES,), "a non-standard operator"),
        (node("RandomNormalLike", 1), (ONES,), "drawn at random"),
        (node("Bernoulli", 1), (ONES,), "drawn at random"),
        (node("Tile", 2), (ONES, np.array([1 << 20, 1 << 20])), "a constant of shape (2097152, 3145728)"),
        (node("Expand", 2), (np.ones((1, 1), np.float32), np.array([1 << 20, 1 << 20])), "the limit is 1 GiB"),
        (node("NonZero", 1), (ONES,), "a constant of shape unknown"),
        (node("NoSuchThing", 1), (ONES,), "cannot be computed"),
        (node("MatMul", 2), (ONES, ONES), "cannot be computed"),
    ],
)
def test_what_is_not_computed(made, inputs, reason):
    with pytest.raises(Refused) as caught:
        folded(made, inputs, 15)
    assert reason in str(caught.value)


def test_loops_are_not_run():
    body = helper.make_graph([node("Identity", 1)], "body", [], [])
    branch = helper.make_node("If", ["c"], ["o0"], then_branch=body, else_branch=body)
    with pytest.raises(Refused, match="computed by a subgraph"):
        folded(branch, (np.array(True),), 13)


def test_shapes_behind_refused_nodes():
    assert first_shape(node("Sigmoid", 1), (STREAM,), 13) == (1, 3, 4)
    assert first_shape(node("Concat", 2, axis=1), (STREAM, np.ones((1, 2, 4), np.float32)), 13) == (1, 5, 4)
    assert first_shape(node("Sigmoid", 1), (Stream("refused", None),), 13) is None
    assert first_shape(node("Odd", 1, domain="vendor"), (STREAM,), 13) is None
    assert first_shape(node("NoSuchThing", 1), (STREAM,), 13) is None


@pytest.mark.parametrize("opset", [10, 13, 19, 21])
@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_dequantised_constants_are_those_of_the_runtime(opset, axis):
    """Quantisers write operator set 13 mostly, which the reference evaluator does not know."""
    runtime = pytest.importorskip("onnxruntime")
    if axis is not None and opset < 13:
        pytest.skip("one scale alone")
    rng = np.random.default_rng(3)
    value = rng.integers(-128, 128, (3, 4, 2), dtype=np.int8)
    size = () if axis is None else (value.shape[axis],)
    scale, zero = rng.uniform(0.01, 2, size).astype(np.float32), rng.integers(-9, 10, size).astype(np.int8)
    made = node("DequantizeLinear", 3, **({} if axis is None else {"axis": axis}))
    inputs = {f"i{k}": array for k, array in enumerate((value, scale, zero))}
    told = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in inputs.items()
    ]
    out = helper.make_tensor_value_info("o0", onnx.TensorProto.FLOAT, value.shape)
    model = helper.make_model(
        helper.make_graph([made], "g", told, [out]), opset_imports=[helper.make_opsetid("", opset)], ir_version=8
    )
    (wanted,) = runtime.InferenceSession(model.SerializeToString()).run(None, inputs)
    np.testing.assert_array_equal(folded(made, tuple(inputs.values()), opset)["o0"], wanted)


@pytest.mark.parametrize(
    ("attributes", "scale"), [({"axis": 5}, np.ones(3)), ({"axis": 0}, np.ones(4)), ({"block_size": 2}, np.ones(1))]
)
def test_scales_that_do_not_fit_are_refused(attributes, scale):
    inputs = (np.ones((3, 4), np.int8), scale.astype(np.float32))
    with pytest.raises(Refused, match="scales"):
        folded(node("DequantizeLinear", 2, **attributes), inputs, 21)
