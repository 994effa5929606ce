"""What kernels ask of a machine: fusing, parameters, zeros; by hand and by conservation."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines.workload import (
    Workload,
    compiled,
    convolution,
    dense,
    elementwise,
    memory_need,
    product,
    pruned,
    stored_bytes,
    value_bytes,
    weight_bytes,
)

KERNELS = [
    dense("dense", 8, 8, rows=4),
    product("product", 4, 4, 8, groups=2),
    convolution("conv", (2, 4), (3, 3), (1, 1), (6, 6), (4, 4)),
    elementwise("pool", "pool", 64, 16),
    elementwise("norm", "norm", 32, 32, weights=16),
    replace(elementwise("table", "embedding", 32, 32), stored=1000),
    elementwise("activation", "activation", 32, 32, fusable=True),
    elementwise("residual", "add", 64, 32, fusable=True),
    elementwise("bias", "add", 32, 32, fusable=True, weights=8),
    elementwise("softmax", "softmax", 32, 32, fusable=True),
    elementwise("concat", "copy", 96, 96, fusable=True),
    replace(dense("beside", 8, 8, rows=4), fusable=True),
]


@given(st.lists(st.sampled_from(KERNELS), min_size=1, max_size=12))
def test_fusing_conserves_work_and_weights(layers):
    eager = Workload("net", tuple(layers), "eager")
    work = compiled(eager)
    assert (work.macs, work.weight_count) == (eager.macs, eager.weight_count)
    assert sum(layer.weight_count for layer in work.layers) == sum(layer.weight_count for layer in layers)
    # Fusing only takes values off the memory, and nothing is left to fuse.
    assert sum(value_bytes(layer, "int8") for layer in work.layers) <= sum(value_bytes(x, "int8") for x in layers)
    assert min(min(layer.inputs, layer.outputs) for layer in work.layers) >= 0
    assert compiled(work) == work
    assert work.mode == "compiled"


def test_residual_is_read_by_the_kernel_that_adds_it():
    layers = (dense("a", 8, 8, rows=4), elementwise("sum", "add", 64, 32, fusable=True))
    (layer,) = compiled(Workload("net", layers, "eager")).layers
    assert (layer.inputs, layer.outputs, layer.macs) == (32 + 32, 32, 256)


def test_scores_stay_on_chip():
    """Two heads, 3 positions, 5 keys, 4 values: scores of 2 × 15 values and a mask of 15."""
    layers = (
        product("scores", 3, 5, 4, groups=2),
        elementwise("mask", "add", 45, 30, fusable=True),
        elementwise("softmax", "softmax", 30, 30, fusable=True),
        product("sum", 3, 4, 5, groups=2),
    )
    first, second = compiled(Workload("net", layers, "eager")).layers
    assert (first.inputs, first.outputs) == (2 * (12 + 20) + 15, 0)
    assert (second.inputs, second.outputs) == (2 * 20, 24)


def test_scores_that_no_product_follows_are_written():
    layers = (product("p", 3, 5, 4), elementwise("softmax", "softmax", 15, 15, fusable=True), dense("d", 15, 2))
    first, second = compiled(Workload("net", layers, "eager")).layers
    assert (first.outputs, second.inputs) == (15, 15)


def test_products_side_by_side_become_one():
    """Queries, keys and values: one product of [4, 8] and [8, 24] that reads its input once."""
    parts = tuple(replace(dense(n, 8, 8, rows=4), fusable=n != "q") for n in "qkv")
    (layer,) = compiled(Workload("net", parts, "eager")).layers
    assert (layer.m, layer.n, layer.k, layer.macs) == (4, 24, 8, 768)
    assert (layer.inputs, layer.outputs, layer.weight_count) == (32, 96, 216)


def test_gate_that_halves_its_input():
    layers = (dense("up", 8, 16, rows=4), elementwise("gate", "activation", 64, 32, fusable=True))
    (layer,) = compiled(Workload("net", layers, "eager")).layers
    assert (layer.inputs, layer.outputs) == (32, 32)


def test_tables_are_held_but_not_read():
    table = replace(elementwise("words", "embedding", 32, 32), stored=1000)
    again = replace(dense("again", 8, 8), stored=0)
    work = Workload("net", (table, dense("first", 8, 8), again))
    assert work.weight_count == 1000 + 72
    assert [weight_bytes(layer, "fp16") for layer in work.layers] == [0, 144, 144]
    assert [stored_bytes(layer, "fp16") for layer in work.layers] == [2000, 144, 0]
    assert memory_need(work, "fp16", 3, 1e6).amount == 2000 + 144 + 3 * 128


def test_bias_is_a_choice():
    assert dense("d", 3, 5).weight_count - dense("d", 3, 5, bias=False).weight_count == 5
    shape = ("c", (2, 6), (3,), (1,), (8,), (6,))
    assert convolution(*shape).weight_count - convolution(*shape, bias=False).weight_count == 6


@pytest.mark.parametrize(
    ("row", "density", "pattern"),
    [
        ((1, 2, 3, 4), 1.0, "dense"),
        ((1, 0, 2, 0), 0.5, "2:4"),
        ((0, 0, 0, 3), 0.25, "2:4"),
        ((1, 2, 3, 0), 0.75, "unstructured"),
        ((1, 1, 1, 0, 0, 0, 0, 0), 0.375, "unstructured"),
    ],
)
def test_patterns_of_zeros(row, density, pattern):
    layer = pruned(dense("d", len(row), 2), np.array([row, row]))
    assert (layer.density, layer.pattern) == (density, pattern)


def test_zeros_travel_unless_the_machine_unpacks_them_and_are_stored_packed():
    """100 weights, a quarter left: 25 bytes and 100 bits where packed; at three quarters of 1 bit nothing is gained."""
    layer = replace(dense("d", 10, 10, bias=False), density=0.25, pattern="unstructured")
    assert weight_bytes(layer, "int8") == weight_bytes(layer, "int8", ("2:4",)) == pytest.approx(100)
    assert weight_bytes(layer, "int8", ("unstructured",)) == stored_bytes(layer, "int8") == pytest.approx(25 + 12.5)
    assert stored_bytes(layer, "int1") == pytest.approx(12.5)
    assert weight_bytes(replace(layer, density=1.0, pattern="dense", weight_bits=4), "fp16") == pytest.approx(50)


def test_two_of_four_keep_half_whatever_else_is_zero():
    """Half of 8 bits and one bit each for the places."""
    layer = replace(dense("d", 10, 10, bias=False), density=0.1, pattern="2:4")
    assert weight_bytes(layer, "int8", ("2:4",)) == pytest.approx(100 * (4 + 1) / 8)
