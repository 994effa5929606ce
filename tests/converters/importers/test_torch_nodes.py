"""Programs written by hand, without PyTorch."""

import jax.numpy as jnp
import numpy as np
import pytest

from converters.importers import torch_functions, torch_nodes, torch_shapes
from converters.importers.from_torch import converted
from converters.importers.torch_call import Call
from converters.importers.torch_program import Program, Step, Tensor, checked, layer_name, operator_name
from neuro.errors import BadInput, Unsupported
from neuro.evaluate import evaluate
from neuro.graph import Graph
from neuro.layers import Conv, Relu

X = Tensor("x")
W = np.arange(6, dtype=np.float32).reshape(2, 3)


def program(*steps: tuple, shape=(1, 3), **constants: np.ndarray) -> Graph:
    """A network of (operator, arguments, shape of the result); results are called 0, 1, 2 ..."""
    made = [Step(op, op, arguments, ((str(i), out),)) for i, (op, arguments, out) in enumerate(steps)]
    return converted(Program("net", "x", shape[1:], str(len(made) - 1), tuple(made), constants))


def test_a_matrix_and_a_relu():
    graph = program(
        ("linear", {"input": X, "weight": Tensor("w")}, (1, 2)), ("relu", {"self": Tensor("0")}, (1, 2)), w=W
    )
    y = evaluate(graph, jnp.array([[1.0, -1.0, 0.0]]))
    assert y["relu"].tolist() == [[0, 0]]
    assert y["linear"].tolist() == [[-1, -1]]


def test_same_padding_goes_behind_where_it_is_uneven():
    """A kernel of 2 with dilation 3 spans 4: three zeros, one before and two behind."""
    weight = np.ones((1, 1, 2), np.float32)
    given = {"input": X, "weight": Tensor("w"), "padding": "same", "dilation": [3]}
    (_, conv) = program(("conv1d", given, (1, 1, 5)), shape=(1, 1, 5), w=weight).nodes
    assert isinstance(conv.op, Conv)
    assert (conv.op.pads, conv.op.dilation) == (((1, 2),), (3,))


def test_counts_of_windows_at_the_edge():
    """Windows of 3 at -1, 1, 3 over five values with one zero on either side hold 2, 3 and 2 of them."""
    assert torch_nodes._counts((5,), (3,), (2,), ((1, 1),)).tolist() == [2, 3, 2]


def test_steps_that_reach_no_output_are_not_looked_at():
    graph = program(("mystery", {"self": X}, (1, 3)), ("relu", {"self": X}, (1, 3)))
    assert [type(n.op) for n in graph.nodes[1:]] == [Relu]


def test_all_refusals_are_listed():
    with pytest.raises(Unsupported, match=r"3 layers(.|\n)*mystery(.|\n)*only zeros(.|\n)*mystery"):
        program(
            ("mystery", {"self": X}, (1, 3)),
            ("pad", {"self": Tensor("0"), "pad": [1, 1], "value": 3.0}, (1, 5)),
            ("mystery", {"self": Tensor("1")}, (1, 5)),
        )


def test_long_chains_of_functions():
    """Neither deep recursion nor a search that grows with the cube of the length."""
    steps = [("tanh", {"self": Tensor(str(i - 1)) if i else X}, (1, 3)) for i in range(150)]
    assert len(program(*steps).nodes) == 151
    sums = [("add", {"self": Tensor(str(i - 1)) if i else X, "other": X}, (1, 3)) for i in range(150)]
    assert len(program(*sums).nodes) == 2  # 151 x


@pytest.mark.parametrize(
    "step",
    [
        ("linear", {"input": X, "weight": Tensor("v")}, (1, 2)),
        ("conv2d", {"input": X}, (1, 2)),
        ("permute", {"self": X, "dims": [0, 7]}, (1, 3)),
        ("relu", {"self": Tensor("nowhere")}, (1, 3)),
        ("leaky_relu", {"self": X, "negative_slope": "steep"}, (1, 3)),
    ],
)
def test_arguments_that_do_not_fit(step):
    with pytest.raises(BadInput, match="arguments do not fit"):
        program(step, v=W.T)


def test_inputs_and_outputs_are_counted():
    with pytest.raises(BadInput, match="2 inputs"):
        checked("net", ("x", "y"), ("z",), {}, [], {})
    with pytest.raises(BadInput, match="batch axis of one"):
        checked("net", ("x",), ("z",), {"x": (4, 3)}, [], {})
    with pytest.raises(BadInput, match="more than"):
        checked("net", ("x",), ("z",), {"x": (1, 2**40)}, [], {})
    with pytest.raises(BadInput, match="no step gives 'z'"):
        checked("net", ("x",), ("z",), {"x": (1, 3)}, [Step("relu", "relu", {"self": X}, (("y", (1, 3)),))], {})
    with pytest.raises(BadInput, match="gives nothing"):
        checked("net", ("x",), ("x",), {"x": (1, 3)}, [Step("relu", "relu", {"self": X}, ())], {})
    with pytest.raises(BadInput, match="open size"):
        checked("net", ("x",), ("z",), {"x": None}, [], {})


def test_names():
    assert operator_name("torch.ops.aten.conv2d.padding") == operator_name("aten::conv2d") == "conv2d"
    assert operator_name("torch.ops.mine.conv2d.default") == "torch.ops.mine.conv2d.default"
    assert layer_name("features.0", "torch.nn.modules.conv.Conv2d", "conv2d") == "features.0"
    assert layer_name("features", "net.Features", "conv2d") == "conv2d"


def test_no_operator_is_listed_twice():
    """Each of these tables stands for other operators."""
    tables = [torch_nodes.SAME, tuple(torch_functions.ONE), tuple(torch_functions.TWO), torch_shapes.MOVING]
    names = [name for table in tables for name in table]
    assert len(names) == len(set(names))
    assert Call.__doc__


def test_bounds_may_be_constant_tensors_of_one_value():
    bounds = {"low": np.array(-1, np.float32), "high": np.array([2.0], np.float32)}
    for op in ("clamp", "clip"):
        graph = program((op, {"self": X, "min": Tensor("low"), "max": Tensor("high")}, (1, 3)), **bounds)
        assert evaluate(graph, jnp.array([[-5.0, 0.5, 9.0]]))[op].tolist() == [[-1, 0.5, 2]]
    with pytest.raises(Unsupported, match=r"its min is a tensor of \(3,\); only one value"):
        program(("clamp", {"self": X, "min": Tensor("low")}, (1, 3)), low=np.arange(3, dtype=np.float32))
    with pytest.raises(Unsupported, match="its min is computed from the network's input"):
        program(("clamp", {"self": X, "min": X}, (1, 3)))


def test_a_softplus_that_turns_straight_early_is_another_function():
    """ln(1 + e^3) is 3.049, but a threshold of 3 gives 3 from there on."""
    assert len(program(("softplus", {"self": X, "threshold": 20}, (1, 3))).nodes) == 2
    with pytest.raises(Unsupported, match="make up no function that is known"):
        program(("softplus", {"self": X, "threshold": 3}, (1, 3)))
