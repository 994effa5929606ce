"""Tensors of any layout against NumPy: random sequences of moves, then a layer."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from converters.importers.builder import Builder
from converters.importers.chain import Refused
from converters.importers.pointwise import Expression
from neuro.evaluate import evaluate
from neuro.graph import Graph
from neuro.layers import AvgPool, Dense, Input, MaxPool, Reshape, Transpose

SHAPES = [(2, 3, 4), (4, 3, 2), (6, 4), (4, 6), (24,), (2, 12), (2, 1, 3, 4), (3, 8, 1)]


def value(build: Builder, x, samples: np.ndarray) -> np.ndarray:
    graph = Graph("net", build.finished(x))
    return np.asarray(evaluate(graph, jnp.asarray(samples))[graph.output.name])


@examples(max_examples=40, deadline=None)
@given(st.data())
def test_moves_then_a_layer(data):
    """Whatever order axes and shapes come in, each operator does what NumPy does to the tensor as the user sees it."""
    build = Builder("x", (2, 3, 4))
    samples = np.random.default_rng(0).normal(size=(2, 2, 3, 4)).astype(np.float32)
    view, wanted = build.input, samples.astype(np.float64)
    for _ in range(data.draw(st.integers(0, 6))):
        rank = wanted.ndim - 1
        match data.draw(st.sampled_from(["transpose", "reshape", "scale", "add", "pad", "concat", "pool", "reduce"])):
            case "transpose":
                order = data.draw(st.permutations(range(rank)))
                view = build.transpose(view, order)
                wanted = wanted.transpose(0, *(i + 1 for i in order))
            case "reshape" if wanted[0].size == 24:
                shape = data.draw(st.sampled_from(SHAPES))
                view, wanted = build.reshape(view, shape), wanted.reshape(2, *shape)
            case "scale":
                axes = data.draw(st.lists(st.booleans(), min_size=rank, max_size=rank))
                shape = [n if keep else 1 for n, keep in zip(wanted.shape[1:], axes, strict=True)]
                factor = np.random.default_rng(1).normal(size=shape)
                view, wanted = build.scale("scale", view, factor, factor + 1), wanted * factor + factor + 1
            case "add":
                order = data.draw(st.permutations(range(rank)))
                other = build.transpose(build.transpose(view, order), np.argsort(order).tolist())
                view = build.add("add", view, build.scale("twice", other, 2.0, 0.0))
                wanted = wanted * 3
            case "pad" if wanted[0].size < 100:
                pads = tuple(data.draw(st.tuples(st.integers(0, 1), st.integers(0, 1))) for _ in range(rank))
                view, wanted = build.pad("pad", view, pads), np.pad(wanted, ((0, 0), *pads))
            case "concat" if wanted[0].size < 100:
                axis = data.draw(st.integers(0, rank - 1))
                view = build.concat("concat", [view, build.scale("minus", view, -1.0, 0.0)], axis)
                wanted = np.concatenate([wanted, -wanted], axis=axis + 1)
            case "pool" if 1 < rank < 4 and wanted[0].size > 4:
                axis = data.draw(st.integers(0, rank - 1))
                if wanted.shape[axis + 1] > 1:
                    kernel = tuple(2 if i == axis else 1 for i in range(rank))
                    view = build.pool("pool", view, MaxPool, kernel, (1,) * rank, ((0, 0),) * rank)
                    windows = np.lib.stride_tricks.sliding_window_view(wanted, 2, axis=axis + 1)
                    wanted = windows.max(axis=-1)
            case "reduce" if 1 < rank < 4:
                axis = data.draw(st.integers(0, rank - 1))
                view, wanted = build.reduce("mean", view, AvgPool, [axis]), wanted.mean(axis=axis + 1)
    assert view.shape == wanted.shape[1:]
    if data.draw(st.booleans()) and wanted.ndim <= 4:
        axis = data.draw(st.integers(0, wanted.ndim - 2))
        weight = np.random.default_rng(2).normal(size=(5, wanted.shape[axis + 1]))
        view = build.matrix("matrix", view, axis, weight.astype(np.float32))
        wanted = np.moveaxis(wanted, axis + 1, -1) @ weight.T
    found = value(build, view, samples)
    assert found.shape == (wanted.shape if wanted.ndim > 1 else (2, 1))
    assert np.abs(found - wanted).max() < 1e-4 * max(1, np.abs(wanted).max())


def test_channels_last_costs_no_transpose_before_a_matrix():
    build = Builder("x", (2, 3, 4))
    view = build.reshape(build.transpose(build.input, (1, 2, 0)), (24,))
    weight = np.arange(48, dtype=np.float32).reshape(2, 24)
    nodes = build.finished(build.matrix("d", view, 0, weight))
    assert [type(n.op) for n in nodes] == [Input, Reshape, Dense]
    assert nodes[-1].op.weight[0].reshape(2, 3, 4)[1, 0, 2] == 5  # at (0, 2, 1) of [3, 4, 2], which is 0 + 4 + 1


def test_a_transpose_is_made_once():
    build = Builder("x", (2, 3))
    view = build.transpose(build.input, (1, 0))
    total = build.add("sum", build.settled(view), build.settled(view))
    assert [type(n.op) for n in build.finished(total)].count(Transpose) == 1


def test_what_an_expression_needs_is_found_once():
    build = Builder("x", (3,))
    twice = Expression("mul", (build.input, 2.0), build.input, "twice")
    first = build.view(twice)
    assert build.view(twice) == first
    assert build.known(twice) == first


def test_a_gate_whose_tensor_was_needed_in_between():
    """x sigmoid(x) of x = 2 in, where x has become a layer before the product."""
    build = Builder("in", (3,))
    x = build.pointwise("x", "mul", [build.input, np.asarray(2.0)])
    gate = build.pointwise("gate", "logistic", [x])
    build.view(x)
    nodes = build.finished(build.pointwise("silu", "mul", [x, gate]))
    assert [(n.name, n.inputs) for n in nodes] == [("in", ()), ("x", ("in",)), ("silu", ("x",))]


def test_refusals():
    build = Builder("x", (3,))
    with pytest.raises(Refused, match="enlarges"):
        build.scale("s", build.input, np.ones((2, 3)), 0.0)
    with pytest.raises(Refused, match="equal shapes"):
        build.add("a", build.input, build.reshape(build.input, (3, 1)))
    with pytest.raises(Refused, match="limit"):
        build.pad("p", build.input, ((0, 2**40),))
    with pytest.raises(ValueError, match="reshaped"):
        build.reshape(build.input, (4,))
    odd = Expression("pow", (build.input, 3.0), build.input, "cube")
    assert build.finished(build.view(odd)) == ()
    assert build.problems == [
        ("pow", "cube", "pow of one tensor make up no function that is known; see neuro.activations")
    ]
