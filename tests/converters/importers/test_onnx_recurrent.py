"""LSTM, GRU and RNN of ONNX against ONNX Runtime, the batch as the second axis, and what is refused."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters.importers.from_onnx import load
from neuro.errors import BadInput
from neuro.evaluate import evaluate
from tests.converters.importers.test_from_onnx import ints, node, refused, weights

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx import helper, numpy_helper  # noqa: E402

TOLERANCE = 1e-5
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
INPUTS, UNITS = 3, 4


def saved(folder: Path, nodes: list, shape: list, constants: dict[str, np.ndarray]) -> Path:
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    output.type.tensor_type.shape.SetInParent()
    entry = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "net", [entry], [output], tensors)
    path = folder / "net.onnx"
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def cell(op: str, ways: int, start: bool = False, seed: int = 0) -> tuple[str, dict[str, np.ndarray]]:
    """The inputs of a recurrent operator behind the first, and their values."""
    rows = GATES[op] * UNITS
    shapes = {"w": (ways, rows, INPUTS), "r": (ways, rows, UNITS), "b": (ways, 2 * rows)}
    names = "w r b"
    if start:
        shapes |= {"h0": (ways, 1, UNITS), "c0": (ways, 1, UNITS)}
        names += " - h0 c0" if op == "LSTM" else " - h0"
    named = {k: weights(*shape, seed=seed + i) * np.float32(0.7) for i, (k, shape) in enumerate(shapes.items())}
    return names, {k: v for k, v in named.items() if k in names.split()}


def agrees(path: Path, steps: int, batch: int, seed: int = 9) -> None:
    """batch: which axis of the input it is."""
    x = weights(3, steps, INPUTS, seed=seed)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    wanted = np.stack([session.run(None, {"x": np.expand_dims(sample, batch)})[0] for sample in x])
    graph = load(path)
    values = np.asarray(evaluate(graph, jnp.asarray(x))[graph.output.name])
    assert np.abs(values.reshape(wanted.shape) - wanted).max() < TOLERANCE


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    op=st.sampled_from(["LSTM", "GRU", "RNN"]),
    direction=st.sampled_from(["forward", "reverse", "bidirectional"]),
    output=st.sampled_from(["Y", "Y_h", "Y_c"]),
    steps=st.integers(1, 4),
    first=st.booleans(),
    start=st.booleans(),
    after=st.integers(0, 1),
    seed=st.integers(0, 1000),
)
def test_all_outputs_in_all_directions(tmp_path, op, direction, output, steps, first, start, after, seed):
    """first: the network's input has the batch first, and is transposed."""
    output = "Y_h" if op != "LSTM" and output == "Y_c" else output
    ways = 2 if direction == "bidirectional" else 1
    names, constants = cell(op, ways, start, seed)
    more = {"linear_before_reset": after} if op == "GRU" else {}
    recurrent = node(op, f"{'t' if first else 'x'} {names}", direction=direction, hidden_size=UNITS, **more)
    recurrent.output[:] = ["Y", "Y_h", "Y_c"][: 3 if op == "LSTM" else 2]
    order = [2, 0, 1, 3] if output == "Y" else [1, 0, 2]
    nodes = [*([node("Transpose", "x", "t", perm=[1, 0, 2])] if first else []), recurrent]
    nodes += [node("Transpose", output, "back", name="back", perm=order), node("Flatten", "back")]
    path = saved(tmp_path, nodes, ["n", steps, INPUTS] if first else [steps, "n", INPUTS], constants)
    agrees(path, steps, 0 if first else 1, seed)


def test_two_layers_in_both_directions_as_exporters_write_them(tmp_path):
    """Y [step, direction, batch, unit] is transposed and reshaped for the next layer; the last step is gathered."""
    names, constants = cell("LSTM", 2)
    second = {f"{k}2": weights(*v.shape[:-1], 2 * UNITS, seed=5) if k == "w" else v for k, v in constants.items()}
    nodes = [
        node("Transpose", "x", "t", perm=[1, 0, 2]),
        node("LSTM", f"t {names}", "Y", direction="bidirectional", hidden_size=UNITS),
        node("Transpose", "Y", "apart", name="back", perm=[0, 2, 1, 3]),
        node("Reshape", "apart shape", "wide"),
        node("LSTM", "wide w2 r2 b2", "Z", name="next", direction="bidirectional", hidden_size=UNITS),
        node("Transpose", "Z", "apart2", name="turned", perm=[0, 2, 1, 3]),
        node("Reshape", "apart2 shape", "wide2", name="joined"),
        node("Gather", "wide2 last", "end", axis=0),
        node("Gemm", "end m"),
    ]
    more = {"shape": ints(0, 0, -1), "last": np.array(-1), "m": weights(2 * UNITS, 2)}
    agrees(saved(tmp_path, nodes, ["n", 3, INPUTS], constants | second | more), 3, 0)


@pytest.mark.parametrize(
    ("moving", "more"),
    [
        ([node("Squeeze", "h a", "s"), node("Relu", "s")], {"a": ints(0)}),
        ([node("Slice", "Y from to a", "s"), node("Squeeze", "s sq", "t"), node("Tanh", "t")],
         {"from": ints(-1), "to": ints(99), "a": ints(0), "sq": ints(0, 1)}),
        ([node("Squeeze", "h a", "s"), node("Unsqueeze", "s u", "t"), node("Transpose", "t", "v", perm=[1, 0, 2]),
          node("Flatten", "v")], {"a": ints(0), "u": ints(0)}),
        ([node("Concat", "h h", "s", axis=2), node("Gather", "s i")], {"i": np.array(0)}),
    ],
)  # fmt: skip
def test_ways_to_take_the_last_state(tmp_path, moving, more):
    names, constants = cell("GRU", 1)
    recurrent = node("GRU", f"x {names}", "Y", hidden_size=UNITS)
    recurrent.output.append("h")
    agrees(saved(tmp_path, [recurrent, *moving], [4, 1, INPUTS], constants | more), 4, 1)


def test_a_state_that_another_layer_hands_on(tmp_path):
    names, constants = cell("GRU", 1)
    first = node("GRU", f"x {names}", "Y", hidden_size=UNITS)
    first.output.append("h")
    nodes = [first, node("GRU", "x w r b - h", "Z", name="next", hidden_size=UNITS), node("Squeeze", "Z a", "s")]
    nodes += [node("Transpose", "s", "y", perm=[1, 0, 2])]
    agrees(saved(tmp_path, nodes, [3, 1, INPUTS], constants | {"a": ints(1)}), 3, 1)


@pytest.mark.parametrize("names", [["Relu"], ["Softsign"]])
def test_other_functions(tmp_path, names):
    inputs, constants = cell("RNN", 1)
    nodes = [node("RNN", f"x {inputs}", "Y", hidden_size=UNITS, activations=names)]
    nodes += [node("Transpose", "Y", "t", perm=[2, 0, 1, 3]), node("Flatten", "t")]
    agrees(saved(tmp_path, nodes, [3, 1, INPUTS], constants), 3, 1)


@pytest.mark.parametrize(
    ("options", "extra", "reason"),
    [
        ({"clip": 3.0}, "", "clip or input_forget"),
        ({"activations": ["Sigmoid", "Affine", "Tanh"]}, "", "activations Affine; only sigmoid, tanh, relu"),
        ({}, " - - - p", "peepholes"),
        ({}, " lens", "sequence_lens other than 4"),
    ],
)
def test_what_no_cell_has(tmp_path, options, extra, reason):
    names, constants = cell("LSTM", 1)
    constants |= {"p": weights(1, 3 * UNITS)} if " p" in extra else {}
    constants |= {"lens": np.array([3], np.int32)} if "lens" in extra else {}
    nodes = [node("LSTM", f"x {names}{extra}", "Y", hidden_size=UNITS, **options)]
    nodes += [node("Transpose", "Y", "t", perm=[2, 0, 1, 3]), node("Flatten", "t")]
    assert reason in refused(saved(tmp_path, nodes, [4, 1, INPUTS], constants))


def test_long_sequences_and_batches_elsewhere_are_refused(tmp_path):
    names, constants = cell("LSTM", 1)
    recurrent = node("LSTM", f"x {names}", "Y", hidden_size=UNITS)
    end = [node("Transpose", "Y", "t", perm=[2, 0, 1, 3]), node("Flatten", "t")]
    assert "a sequence of 65 steps" in refused(saved(tmp_path, [recurrent, *end], [65, 1, INPUTS], constants))
    message = refused(saved(tmp_path, [recurrent, node("Relu", "Y")], [4, 1, INPUTS], constants))
    assert "Relu 'relu': the batch is axis 2 of what it reads" in message
    assert "its batch is axis 2, not the first" in refused(
        saved(tmp_path, [recurrent, node("Identity", "Y")], [4, 1, INPUTS], constants)
    )
    steps_first = [node("Identity", "x", "same"), node("LSTM", f"same {names}", "Y", hidden_size=UNITS), *end]
    assert "the batch is axis 0 of its input, not 1" in refused(saved(tmp_path, steps_first, [1, 4, INPUTS], constants))


def test_weights_that_do_not_fit_are_bad_input(tmp_path):
    names, constants = cell("GRU", 1)
    constants["w"] = weights(1, 3 * UNITS, INPUTS + 1)
    nodes = [node("GRU", f"x {names}", "Y", hidden_size=UNITS), node("Transpose", "Y", "t", perm=[2, 0, 1, 3])]
    with pytest.raises(BadInput, match=r"gru.*do not fit|valid ONNX"):
        load(saved(tmp_path, [*nodes, node("Flatten", "t")], [4, 1, INPUTS], constants))


@pytest.mark.parametrize("direction", ["reverse", "bidirectional"])
def test_the_batch_first_layout_gives_the_same(tmp_path, direction):
    """ONNX Runtime has no layout 1: held against layout 0, which is held against ONNX Runtime above."""
    names, constants = cell("LSTM", 2 if direction == "bidirectional" else 1, start=True)
    x, found = weights(2, 3, INPUTS, seed=4), []
    for layout in (0, 1):
        given = constants | {k: constants[k].swapaxes(0, layout) for k in ("h0", "c0")}
        nodes = [node("LSTM", f"x {names}", "Y", hidden_size=UNITS, direction=direction, layout=layout)]
        nodes += (
            [node("Flatten", "Y")] if layout else [node("Transpose", "Y", "t", perm=[2, 0, 1, 3]), node("Flatten", "t")]
        )
        graph = load(saved(tmp_path, nodes, [1, 3, INPUTS] if layout else [3, 1, INPUTS], given))
        found.append(np.asarray(evaluate(graph, jnp.asarray(x))[graph.output.name]))
    assert (found[0] == found[1]).all()
