"""What a graph asks of a machine, held against sums by hand and against convolutions of ones."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines.from_graph import workload
from baselines.workload import value_bytes, weight_bytes
from neuro.errors import BadInput
from neuro.evaluate import evaluate
from neuro.graph import Graph, Node
from neuro.layers import (
    Add,
    AvgPool,
    Conv,
    Dense,
    Input,
    MaxPool,
    Relu,
    Reshape,
    Scale,
    Softmax,
    SumPool,
    Threshold,
    Transpose,
)

PADS = ((1, 1), (1, 1))


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def residual(*between: Node, joined: str = "conv2") -> Graph:
    """Two convolutions with a shortcut around the second, a pool and a classifier."""
    nodes = [
        Node("in", Input((3, 8, 8))),
        Node("conv1", Conv(ones(4, 3, 3, 3), ones(4), (1, 1), PADS), ("in",)),
        Node("relu1", Relu(), ("conv1",)),
        Node("conv2", Conv(ones(4, 4, 3, 3), ones(4), (1, 1), PADS), ("relu1",)),
        *between,
        Node("add", Add(), (joined, "relu1")),
        Node("relu2", Relu(), ("add",)),
        Node("pool", MaxPool((2, 2), (2, 2), ((0, 0), (0, 0))), ("relu2",)),
        Node("flat", Reshape((64,)), ("pool",)),
        Node("fc", Dense(ones(10, 64), ones(10)), ("flat",)),
        Node("soft", Softmax(), ("fc",)),
    ]
    return Graph("residual", tuple(nodes))


def test_residual_network_by_hand():
    work = workload(residual(), {"conv2": 0.25, "fc": 0.5})
    conv1, conv2, pool, fc = work.layers
    assert [layer.operator for layer in work.layers] == ["conv", "conv", "pool", "dense"]
    assert (conv1.m, conv1.n, conv1.k, conv1.groups) == (64, 4, 27, 1)
    assert (conv1.macs, conv1.weight_count, conv1.inputs, conv1.outputs) == (6912, 112, 192, 256)
    assert (conv1.kernel, conv1.stride, conv1.input_map, conv1.output_map) == ((3, 3), (1, 1), (10, 10), (8, 8))
    # The second one reads the shortcut as well as its own input: 256 + 256 values.
    assert (conv2.macs, conv2.weight_count, conv2.inputs, conv2.outputs) == (64 * 4 * 36, 148, 512, 256)
    assert (pool.macs, pool.weight_count, pool.inputs, pool.outputs) == (0, 0, 256, 64)
    assert (fc.m, fc.n, fc.k, fc.macs, fc.weight_count) == (1, 10, 64, 640, 650)
    assert [layer.zeros for layer in work.layers] == [0.0, 0.25, 0.0, 0.5]
    assert [layer.zero_outputs for layer in work.layers] == [0.25, 0.0, 0.5, 0.0]
    assert work.macs == 6912 + 9216 + 640
    assert work.weight_count == 112 + 148 + 650


def test_batch_norm_costs_nothing_behind_a_convolution():
    norm = Node("norm", Scale(ones(4, 1, 1), ones(4, 1, 1)), ("conv2",))
    assert workload(residual(norm, joined="norm")).layers == workload(residual()).layers


def test_scale_of_the_input_and_addition_of_pools_are_kernels_of_their_own():
    pool = AvgPool((2, 2), (2, 2), ((0, 0), (0, 0)))
    nodes = (
        Node("in", Input((2, 4, 4))),
        Node("norm", Scale(ones(2, 1, 1), ones(2, 1, 1)), ("in",)),
        Node("a", pool, ("norm",)),
        Node("b", pool, ("norm",)),
        Node("sum", Add(), ("a", "b")),
    )
    work = workload(Graph("pools", nodes))
    assert [(w.name, w.operator, w.inputs, w.outputs) for w in work.layers] == [
        ("norm", "scale", 32, 32),
        ("a", "pool", 32, 8),
        ("b", "pool", 32, 8),
        ("sum", "add", 16, 8),
    ]


def test_integer_graph_is_the_same_work_as_the_float_one():
    def net(activation, pool):
        return Graph("net", (
            Node("in", Input((1, 6, 6), levels=3)),
            Node("conv", Conv(ones(2, 1, 3, 3), None, (1, 1), ((0, 0), (0, 0))), ("in",)),
            Node("act", activation, ("conv",)),
            Node("pool", pool, ("act",)),
            Node("turn", Transpose((1, 2, 0)), ("pool",)),
        ))  # fmt: skip

    window = ((2, 2), (2, 2), ((0, 0), (0, 0)))
    threshold = Threshold(np.ones((2, 1, 1), np.int64), np.zeros((2, 1, 1), np.int64), 3)
    assert workload(net(threshold, SumPool(*window))).layers == workload(net(Relu(), AvgPool(*window))).layers


def test_convolution_on_a_line():
    weight = Conv(ones(8, 2, 5), ones(8), (2,), ((2, 2),))
    (layer,) = workload(Graph("line", (Node("in", Input((2, 20))), Node("c", weight, ("in",))))).layers
    assert (layer.m, layer.n, layer.k, layer.macs) == (10, 8, 10, 800)
    assert (layer.kernel, layer.input_map, layer.output_map) == ((5,), (24,), (10,))


@given(
    groups=st.sampled_from([1, 2, 3]), enter=st.integers(1, 3), leave=st.integers(1, 3),
    kernel=st.integers(1, 3), stride=st.integers(1, 2), size=st.integers(3, 7),
)  # fmt: skip
def test_macs_are_the_products_of_a_convolution_of_ones(groups, enter, leave, kernel, stride, size):
    """Without padding every product of ones adds one to an output, so that the outputs sum to the products."""
    op = Conv(ones(leave * groups, enter, kernel, kernel), None, (stride, stride), ((0, 0), (0, 0)), groups)
    graph = Graph("ones", (Node("in", Input((enter * groups, size, size))), Node("c", op, ("in",))))
    (layer,) = workload(graph).layers
    values = evaluate(graph, jnp.ones((1, enter * groups, size, size), jnp.float32))
    assert layer.macs == layer.groups * layer.m * layer.n * layer.k == int(values["c"].sum())
    assert (layer.operator == "depthwise") == (groups > 1 and enter == 1)


@pytest.mark.parametrize(("zeros", "message"), [({"conv3": 0.5}, "'conv3'.*conv1"), ({"fc": 1.5}, "'fc'.*1.5")])
def test_wrong_zeros_are_refused(zeros, message):
    with pytest.raises(BadInput, match=message):
        workload(residual(), zeros)


def test_published_sizes(networks):
    """4.089 GMAC and 25.5 M weights (ResNet-50 v1.5); MLPerf Tiny: 12.5, 2.66, 7.49 and 0.264 M MAC."""
    resnet = networks["resnet50"]
    assert resnet.macs == 4089184256
    assert resnet.weight_count == pytest.approx(25.5e6, rel=0.01)
    assert sum(layer.macs > 0 for layer in resnet.layers) == 54
    sizes = [networks[name].macs / 1e6 for name in ("ic", "kws", "vww", "ad")]
    assert sizes == pytest.approx([12.5, 2.66, 7.49, 0.264], rel=0.01)


def test_weights_of_fewer_bits_are_stored_in_them():
    """Twice as many weights of 4 bits in the same bytes; values keep the precision of the machine."""
    plain, narrow = workload(residual()), workload(residual(), weight_bits=4)
    for a, b in zip(plain.layers, narrow.layers, strict=True):
        assert weight_bytes(b, "int8") == weight_bytes(a, "int8") / 2
        assert weight_bytes(b, "int2") == weight_bytes(a, "int2")
        assert value_bytes(b, "int8") == value_bytes(a, "int8")
