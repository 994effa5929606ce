"""FINN's and QONNX's `MultiThreshold` against its definition in float64, alone and through a whole conversion."""

import jax.numpy as jnp
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save_model

from converters import fold, quantise, readout
from converters.importers.from_onnx import load
from experiments.conversion.convert import Task, carry_out
from neuro.errors import BadInput, Unsupported
from neuro.evaluate import evaluate, evaluator
from neuro.layers import FIRING

DOMAINS = ("qonnx.custom_op.general", "finn.custom_op.general")
RANDOM = np.random.default_rng(0)


def saved(tmp_path, nodes, shape, constants, out):
    """A model file with the domains of both, which ONNX itself does not know."""
    inits = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    entering = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])
    leaving = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, out)
    imports = [helper.make_opsetid("", 20), *(helper.make_opsetid(d, 1) for d in DOMAINS)]
    model = helper.make_model(
        helper.make_graph(nodes, "net", [entering], [leaving], inits), opset_imports=imports, ir_version=9
    )
    save_model(model, tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def multi_threshold(x, thresholds, out_scale=1.0, out_bias=0.0, channel=1):
    """The operator by its definition, in float64: compared with each threshold of its channel, one by one."""
    x = np.moveaxis(x.astype(np.float64), channel, -1)
    y = np.zeros_like(x)
    for step in range(thresholds.shape[1]):
        y += x >= thresholds[:, step].astype(np.float64)  # [channel] or [1]
    return np.moveaxis(out_bias + out_scale * y, -1, channel)


def threshold_node(give, take, thresholds, domain=DOMAINS[0], **attributes):
    return helper.make_node("MultiThreshold", [take, thresholds], [give], domain=domain, **attributes)


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("channels", [1, 3])
def test_multi_thresholds_by_their_definition(tmp_path, domain, layout, channels):
    rng = np.random.default_rng(channels)
    thresholds = np.sort(rng.integers(-9, 10, (channels, 5)), axis=1).astype(np.float32) / 2
    shape = (3, 4, 5) if layout == "NCHW" else (4, 5, 3)
    attributes = {"out_scale": 0.25, "out_bias": -1.0, "out_dtype": "INT4", "data_layout": layout}
    nodes = [threshold_node("y", "x", "t", domain, **attributes)]
    graph = load(saved(tmp_path, nodes, shape, {"t": thresholds}, out=["n", *shape]))
    x = rng.integers(-12, 12, (6, *shape)) / 2  # half of them on a threshold
    (got,) = evaluator(graph, (graph.output.name,))(x.astype(np.float32))
    np.testing.assert_array_equal(got, multi_threshold(x, thresholds, 0.25, -1.0, 1 if layout == "NCHW" else 3))


def quantised_elsewhere(rng):
    """Whole weights, uneven thresholds: by channel behind a convolution and in NHWC behind it, common to a matrix."""
    return {
        "w": rng.integers(-7, 8, (4, 2, 3, 3)).astype(np.float32),
        "t": np.sort(rng.integers(-60, 60, (4, 7)), axis=1).astype(np.float32),
        "v": rng.integers(-7, 8, (4, 4, 1, 1)).astype(np.float32),
        "u": np.sort(rng.integers(-15, 25, (4, 3)), axis=1).astype(np.float32) + np.float32(0.5),
        "f": np.array([0, -1]),
        "m": rng.integers(-3, 4, (64, 6)).astype(np.float32),
        "c": np.sort(rng.choice(np.arange(-60, 61), (1, 6), replace=False)).astype(np.float32) / 2,
        "n": rng.integers(-3, 4, (6, 3)).astype(np.float32),
    }  # fmt: skip


def convolved(x, weight):
    """A convolution of stride one without padding, by its definition in float64."""
    rows, columns = (n - k + 1 for n, k in zip(x.shape[2:], weight.shape[2:], strict=True))
    y = np.zeros((len(x), len(weight), rows, columns))
    for i, j in np.ndindex(*weight.shape[2:]):
        y += np.einsum("nchw,oc->nohw", x[:, :, i : i + rows, j : j + columns], weight[:, :, i, j].astype(np.float64))
    return y


def test_a_network_of_multi_thresholds_converts_exactly(tmp_path):
    """Every count of the integer network stands for the value that the definition gives, also on thresholds."""
    rng = np.random.default_rng(5)
    given = quantised_elsewhere(rng)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        threshold_node("b", "a", "t", out_dtype="UINT3"),
        helper.make_node("Conv", ["b", "v"], ["d"]),
        helper.make_node("Transpose", ["d"], ["d2"], perm=[0, 2, 3, 1]),
        threshold_node("e", "d2", "u", DOMAINS[1], data_layout="NHWC", out_scale=0.5, out_bias=-0.5),
        helper.make_node("Transpose", ["e"], ["e2"], perm=[0, 3, 1, 2]),
        helper.make_node("Reshape", ["e2", "f"], ["g"]),
        helper.make_node("MatMul", ["g", "m"], ["h"]),
        threshold_node("i", "h", "c", data_layout="NC"),
        helper.make_node("MatMul", ["i", "n"], ["y"]),
    ]
    path = saved(tmp_path, nodes, (2, 6, 6), given, out=["n", 3])
    graph = load(path)
    counts = rng.integers(0, 8, (40, 2, 6, 6))
    folded = fold.fold(graph, np.ones((1, 1, 1)), np.zeros((1, 1, 1)))
    form = quantise.reference(folded, counts[:8], 7)
    found = evaluate(form.graph, jnp.asarray(counts, jnp.float32))
    b = multi_threshold(convolved(counts.astype(np.float64), given["w"]), given["t"])
    e = multi_threshold(convolved(b, given["v"]), given["u"], 0.5, -0.5)
    h = e.reshape(len(e), -1) @ given["m"]
    i = multi_threshold(h, given["c"])
    assert np.isin(h, given["c"]).sum() > 5  # on a threshold
    neurons = [n for n in form.graph.nodes if isinstance(n.op, FIRING)]
    assert [n.op.levels for n in neurons] == [7, 3, 6]
    for node, wanted in zip(neurons, (b, e, i), strict=True):
        value = form.origins[node.name] + form.scales[node.name] * np.asarray(found[node.name])
        np.testing.assert_array_equal(value, wanted.reshape(value.shape))
    got = readout.real(graph, form, np.asarray(found[form.graph.output.name]))
    np.testing.assert_allclose(got, i @ given["n"], rtol=1e-12)


def test_levels_can_be_asked_for(tmp_path):
    given = {
        "t": np.arange(1, 8, dtype=np.float32)[None],
        "m": RANDOM.normal(size=(5, 5)).astype(np.float32),
        "n": RANDOM.normal(size=(5, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "m"], ["a"]),
        threshold_node("b", "a", "t"),
        helper.make_node("MatMul", ["b", "n"], ["y"]),
    ]
    graph = load(saved(tmp_path, nodes, (5,), given, out=["n", 3]))
    folded = fold.fold(graph, np.ones(1), np.zeros(1))
    counts = np.random.default_rng(0).integers(0, 8, (30, 5))
    for levels, wanted in ((None, 7), (3, 3)):
        form = quantise.reference(folded, counts, 7, levels)
        assert [n.op.levels for n in form.graph.nodes if isinstance(n.op, FIRING)] == [wanted]


@pytest.mark.parametrize(
    ("attributes", "thresholds", "message"),
    [
        ({"out_scale": -1.0}, np.zeros((1, 3)), "must go up"),
        ({"data_layout": "HCNW"}, np.zeros((1, 3)), None),
        ({"data_layout": "NHCW"}, np.zeros((1, 3)), "second axis or the last"),
        ({}, np.full((3, 2), np.nan), "must be numbers"),
    ],
)
def test_multi_thresholds_that_are_refused(tmp_path, attributes, thresholds, message):
    nodes = [threshold_node("y", "x", "t", **attributes)]
    constants = {"t": thresholds.astype(np.float32)}
    path = saved(tmp_path, nodes, (3, 2, 2), constants, out=["n", 3, 2, 2])
    if message is None:
        assert load(path).output.op.function.steps == 3
        return
    with pytest.raises(Unsupported, match=message) as error:
        load(path)
    assert error.value.refusals[0].op == f"{DOMAINS[0]}::MultiThreshold"


def test_multi_thresholds_of_another_shape_or_that_are_computed(tmp_path):
    path = saved(tmp_path, [threshold_node("y", "x", "t")], (3, 2, 2), {"t": np.zeros((2, 3), np.float32)},
                 out=["n", 3, 2, 2])  # fmt: skip
    with pytest.raises(BadInput, match="2 channels do not fit"):
        load(path)
    path = saved(tmp_path, [threshold_node("y", "x", "x")], (3,), {}, out=["n", 3])
    with pytest.raises(Unsupported, match="computed from the network's input"):
        load(path)


def _bipolar(x):
    return np.where(x >= 0, 0.5, -0.5)


WAYS = {
    # node, constants, definition in float64, levels; membranes are whole numbers of sixteenths, many on a border
    "MultiThreshold": (
        threshold_node("b", "a", "k", out_scale=0.5, out_bias=-1.0),
        {"k": np.sort(RANDOM.integers(-40, 40, (12, 5)), axis=1) / np.float32(16)},
        lambda x, k: multi_threshold(x, k["k"], 0.5, -1.0),
        [5],
    ),
    "Quant": (
        helper.make_node("Quant", ["a", "s", "z", "bits"], ["b"], domain=DOMAINS[0], signed=1, narrow=0),
        {"s": np.float32(0.125), "z": np.float32(0), "bits": np.float32(3)},
        lambda x, _: np.clip(np.rint(x / 0.125), -4, 3) * 0.125,
        [7],
    ),
    "BipolarQuant": (
        helper.make_node("BipolarQuant", ["a", "s"], ["b"], domain=DOMAINS[0]),
        {"s": np.float32(0.5)},
        lambda x, _: _bipolar(x),
        [1],
    ),
    "Sign": (helper.make_node("Sign", ["a"], ["b"]), {}, lambda x, _: np.sign(x), [2]),
}


@pytest.mark.parametrize("kind", WAYS)
def test_the_command_keeps_levels_and_values(tmp_path, kind):
    """From the file to the outputs of the spiking network on real images: those of the definition, and its levels."""
    node, constants, function, levels = WAYS[kind]
    given = {
        "f": np.array([0, -1]),
        "m": RANDOM.integers(-2, 3, (64, 12)).astype(np.float32) / 8,
        "n": RANDOM.integers(-3, 4, (12, 10)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Reshape", ["x", "f"], ["r"]),
        helper.make_node("MatMul", ["r", "m"], ["a"]),
        node,
        helper.make_node("MatMul", ["b", "n"], ["y"]),
    ]
    path = saved(tmp_path, nodes, (1, 8, 8), given | constants, ["n", 10])
    done, summary = carry_out(Task(str(path), data="digits", samples=80))
    x = done.dataset.network_input.reshape(80, 64).astype(np.float64)
    membranes = x @ given["m"]
    np.testing.assert_array_equal(16 * membranes, np.rint(16 * membranes) + 0)
    wanted = function(membranes, constants) @ given["n"]
    np.testing.assert_allclose(done.values["spiking"], wanted, rtol=1e-9, atol=1e-9)
    assert summary["levels"] == levels
    assert summary["equivalence"]["mismatches"] == 0
    assert summary["accuracy"]["float"] == summary["accuracy"]["spiking"]
    _, other = carry_out(Task(str(path), data="digits", samples=20, levels=3))
    assert other["levels"] == [3]
