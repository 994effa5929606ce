"""NIR exports: readable by NIR's own library, the same counts when we read them back, losses named."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from converters import fold, quantise
from converters.exporters import replay, to_nir
from converters.importers import from_nir
from converters.network_file import Converted
from neuro.errors import BadInput, Unsupported
from neuro.evaluate import apply
from neuro.graph import Graph, Node, digest
from neuro.layers import Add, AvgPool, Conv, Dense, Input, MaxPool, Relu, Reshape, Threshold, output_shape

nir = pytest.importorskip("nir")
ONE = ((1, 1), (1, 1))


def network(pool: bool = False) -> Graph:
    """Uneven pads, a depthwise convolution, a residual, a mean, dense layers; biases and an offset of the input."""
    rng = np.random.default_rng(3)

    def weight(*shape: int) -> np.ndarray:
        return rng.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape)

    shrink = MaxPool if pool else AvgPool
    return Graph(
        "small",
        (
            Node("in", Input((2, 7, 7))),
            Node("c", Conv(weight(4, 2, 3, 3), rng.normal(0, 0.1, 4), (2, 2), ((0, 1), (2, 1))), ("in",)),
            Node("a", Relu(), ("c",)),
            Node("d", Conv(weight(4, 1, 3, 3), rng.normal(0, 0.1, 4), (1, 1), ONE, 4), ("a",)),
            Node("sum", Add(), ("d", "a")),
            Node("b", Relu(), ("sum",)),
            Node("pool", shrink((2, 2), (1, 1), ((0, 0), (0, 0))), ("b",)),
            Node("flat", Reshape((24,)), ("pool",)),
            Node("e", Dense(weight(6, 24), rng.normal(size=6)), ("flat",)),
            Node("r", Relu(), ("e",)),
            Node("out", Dense(weight(3, 6), rng.normal(size=3)), ("r",)),
        ),
    )


def converted(code: str = "bits", pool: bool = False) -> Converted:
    graph, gain, offset = network(pool), np.full((1, 1, 1), 0.1), np.full((1, 1, 1), -0.3)
    folded = fold.fold(graph, gain, offset)
    form = (quantise.rate if code == "rate" else quantise.reference)(folded, counts(), 15, 9)
    return Converted(graph, form, "exact", code, 9, 15, gain, offset, {})  # pyright: ignore


def counts() -> np.ndarray:
    return np.random.default_rng(4).integers(0, 16, (20, 2, 7, 7))


@pytest.mark.parametrize("code", ["bits", "ttfs", "rate"])
def test_our_own_export_gives_the_same_counts(code, tmp_path):
    made = converted(code)
    lost = to_nir.export(made, tmp_path / "n.nir")
    assert any("subtract" in line for line in lost)
    assert any("v0" in line for line in lost)
    assert any(line.startswith("bias of a") for line in lost)  # a map: zeros are padded behind the offset
    again = from_nir.load(tmp_path / "n.nir")
    assert isinstance(again, Graph)
    assert replay.check(replay.record(made, counts()), again) is None


def test_a_changed_threshold_in_the_file_is_found(tmp_path):
    made = converted()
    graph, _ = to_nir.graph(made)
    graph.nodes["r"].metadata["threshold"] = graph.nodes["r"].metadata["threshold"] // 2 + 1
    nir.write(tmp_path / "n.nir", graph)
    again = from_nir.load(tmp_path / "n.nir")
    assert isinstance(again, Graph)
    found = replay.check(replay.record(made, counts()), again)
    assert found is not None
    assert found.layer == "r"


def test_nir_reads_it(tmp_path):
    to_nir.export(converted(), tmp_path / "n.nir")
    found = nir.read(tmp_path / "n.nir", type_check=False)
    neurons = [node for node in found.nodes.values() if isinstance(node, nir.IF)]
    assert [n.v_threshold.shape for n in neurons][:2] == [(4, 3, 4), (4, 3, 4)]
    assert found.nodes["a.c"].weight.dtype.kind == "i"


def test_a_plain_reader_gets_the_bias_over_all_steps():
    graph, _ = to_nir.graph(converted())
    integer = converted().integer.graph
    op = integer["r"].op
    assert isinstance(op, Threshold)
    np.testing.assert_allclose(graph.nodes["r.e"].bias * 9, np.broadcast_to(op.bias, 6))
    assert graph.metadata["steps"] == 9


def test_max_pools_are_refused_by_name(tmp_path):
    with pytest.raises(Unsupported, match="pool") as error:
        to_nir.export(converted(pool=True), tmp_path / "n.nir")
    assert [r.op for r in error.value.refusals] == ["MaxPool"]
    assert list(tmp_path.iterdir()) == []


def test_sums_of_windows_are_nodes_of_nir():
    graph, _ = to_nir.graph(converted())
    (pool,) = (n for n in graph.nodes.values() if isinstance(n, nir.SumPool2d))
    assert (pool.kernel_size.tolist(), pool.stride.tolist(), pool.padding.tolist()) == ([2, 2], [1, 1], [0, 0])


@pytest.mark.parametrize(("start", "reset"), [("zero", "subtract"), ("half", "zero")])
def test_start_and_reset_of_a_rate_code_are_kept(start, reset, tmp_path):
    made = converted("rate")
    nodes = tuple(
        replace(n, op=replace(n.op, start=start, reset=reset)) if isinstance(n.op, Threshold) else n
        for n in made.integer.graph.nodes
    )
    made = replace(made, integer=replace(made.integer, graph=Graph("small", nodes)))
    to_nir.export(made, tmp_path / "n.nir")
    again = from_nir.load(tmp_path / "n.nir")
    assert isinstance(again, Graph)
    op = again["r"].op
    assert isinstance(op, Threshold)
    assert (op.start, op.reset) == (start, reset)
    assert replay.check(replay.record(made, counts()), again) is None


def test_uneven_pads_as_zeros_of_the_kernel():
    rng = np.random.default_rng(0)
    op = Conv(rng.integers(-3, 4, (2, 3, 2, 4)), None, (2, 3), ((0, 1), (2, 0)))
    other = to_nir.even(op)
    assert all(a == b for a, b in other.pads)
    x = jnp.asarray(rng.integers(0, 9, (5, 3, 7, 9)), jnp.float32)
    np.testing.assert_array_equal(apply(op, x), apply(other, x))


@pytest.mark.parametrize("pads", [((0, 0), (0, 0)), ((1, 0), (0, 1))])
def test_the_file_gives_the_same_network_back(pads, tmp_path):
    """Node by node, in the same order behind the branches of a residual sum, and without the zeros of uneven pads."""
    graph = network()
    op = AvgPool((2, 2), (1, 1), pads)
    size = int(np.prod(output_shape(op, [graph.shapes["b"]])))
    flat = {"pool": op, "flat": Reshape((size,)), "e": Dense(np.random.default_rng(5).normal(size=(6, size)), None)}
    nodes = tuple(replace(n, op=flat.get(n.name, n.op)) for n in graph.nodes)
    folded = fold.fold(Graph("small", nodes), np.full((1, 1, 1), 0.1), np.full((1, 1, 1), -0.3))
    made = replace(converted(), integer=quantise.reference(folded, counts(), 15, 9))
    to_nir.export(made, tmp_path / "n.nir")
    again = from_nir.load(tmp_path / "n.nir")
    assert isinstance(again, Graph)
    assert [n.name for n in again.nodes] == [n.name for n in made.integer.graph.nodes]
    assert digest(again) == digest(made.integer.graph)


def test_what_was_exported_wrongly_is_an_error(tmp_path):
    graph, _ = to_nir.graph(converted())
    del graph.nodes["r"].metadata["levels"]
    nir.write(tmp_path / "n.nir", graph)
    with pytest.raises(BadInput, match="'r'"):
        from_nir.load(tmp_path / "n.nir")
    graph, _ = to_nir.graph(converted())
    graph.metadata["version"] = 9
    nir.write(tmp_path / "n.nir", graph)
    with pytest.raises(BadInput, match="version"):
        from_nir.load(tmp_path / "n.nir")
