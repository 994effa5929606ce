"""What every test runs under: strict JAX, no deadline for properties, real data where it is at hand; random integer
networks and a plain NumPy executor as their oracle."""

import ctypes
import gc
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Many tests compile the same programs, in this process, beside it and in commands that they run: compiled once.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "programs"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from neuro.graph import Graph, Node
from neuro.layers import (
    Add,
    AvgPool,
    Concat,
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
    output_shape,
)

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

ROOM = 3 * 2**30
"""Bytes of a process of tests; two of them and what they start have to fit a small machine."""

# The first example compiles, so a deadline would measure the compiler.
settings.register_profile("neuro", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("neuro")


@pytest.fixture(autouse=True, scope="module")
def _room():
    """What JAX has compiled is forgotten between files once a process holds more than `ROOM`."""
    yield
    held = Path("/proc/self/statm")
    if held.is_file() and int(held.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") > ROOM:
        jax.clear_caches()
        gc.collect()
        with suppress(OSError, AttributeError):  # where it is glibc that holds what is free
            ctypes.CDLL("libc.so.6").malloc_trim(0)


@pytest.fixture(scope="session")
def neuro_data() -> Path:
    """Folder of real data sets and networks, named by NEURO_DATA; tests that need it skip without it."""
    folder = os.environ.get("NEURO_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("NEURO_DATA names no folder of data sets")
    return Path(folder).resolve()


class _Builder:
    """Nodes of a random integer network under construction."""

    def __init__(
        self, structure: int, rng: np.random.Generator, levels: int, input_levels: int, rich: bool = False
    ) -> None:
        self.rich = rich
        self.pick = np.random.default_rng(structure)  # shapes and edges apart: few of them, so few compilations
        self.rng, self.levels = rng, levels
        self.nodes = [Node("in", Input((2, 6, 5), input_levels))]
        self.shape = {"in": (2, 6, 5)}
        self.neurons = ["in"]

    def add(self, op, *inputs: str) -> str:
        name = f"{type(op).__name__.lower()}{len(self.nodes)}"
        self.nodes.append(Node(name, op, inputs))
        self.shape[name] = output_shape(op, [self.shape[i] for i in inputs])
        return name

    def weights(self, *shape: int) -> np.ndarray:
        return self.rng.integers(-4, 5, shape)

    def fire(self, name: str, fan_in: int) -> str:
        shape = self.shape[name]
        axes = (shape[0], *(1,) * (len(shape) - 1))
        threshold = self.rng.integers(1, 2 + int(4 * fan_in**0.5), axes)
        bias = self.rng.integers(-9, 10, shape if self.pick.random() < 0.3 else axes)
        levels = self.levels if self.pick.random() < 0.7 else int(self.pick.choice([1, 3, 5, 7, 15]))
        if self.rich and self.pick.random() < 0.5:
            steps = int(self.pick.integers(1, 2 * levels + 1))
            reach = 2 + int(8 * fan_in**0.5)
            op = MultiThreshold(
                thresholds=self.rng.integers(-reach, reach, (steps, *axes)),
                signs=np.where(self.rng.random(steps) < 0.7, 1, -1),
                start=self.rng.integers(0, levels + 1, axes),
                bias=bias,
                levels=levels,
            )
            return self.neuron(self.add(op, name))
        return self.neuron(self.add(Threshold(threshold, bias, levels), name))

    def neuron(self, name: str) -> str:
        self.neurons.append(name)
        return name

    def conv(self, x: str, groups: int, stride: int) -> str:
        channels = self.shape[x][0]
        pads = ((1, 1), (1, 1)) if stride == 1 else ((0, 1), (1, 0))
        weight = self.weights(int(self.pick.choice([2, 4])), channels // groups, 3, 3)
        return self.add(Conv(weight, None, (stride, stride), pads, groups), x)

    def skip(self, y: str) -> str:
        """`y` with an earlier population of its shape added, through an integer weight or bare."""
        fitting = [p for p in self.neurons if self.shape[p] == self.shape[y]]
        if not fitting:
            return y
        x = str(self.pick.choice(fitting))
        return self.add(Add(), y, self.scaled(x) if self.pick.random() < 0.7 else x)

    def scaled(self, x: str) -> str:
        """One integer weight for each channel."""
        channels = self.shape[x][0]
        return self.add(Conv(self.weights(channels, 1, 1, 1), None, (1, 1), ((0, 0),) * 2, channels), x)

    def block(self, x: str) -> str:
        channels, height, width = self.shape[x]
        kind = self.pick.choice(["conv", "grouped", "strided", "residual", "residual", "sum", "max", "turned"])
        if kind in ("sum", "max", "turned", "strided") and min(height, width) < 3:
            kind = "residual"
        if self.rich and self.pick.random() < 0.4:
            y = self.fire(self.conv(x, 1, 1), 9 * channels)
            return self.add(Concat(0), *((y, x) if self.pick.random() < 0.5 else (x, y, y)))
        if kind == "max" and not x.startswith("concat"):
            kernel, stride, pad = [((2, 2), (2, 2), 0), ((3, 3), (2, 2), 1), ((3, 3), (1, 1), 1)][self.pick.integers(3)]
            return self.neuron(self.add(MaxPool(kernel, stride, ((pad, pad),) * 2), x))
        if kind == "turned" and not x.startswith("concat"):
            turned = self.add(Transpose((0, 2, 1)), x)
            return self.neuron(self.add(MaxPool((2, 3), (2, 1), ((0, 0), (1, 1))), turned))
        if kind == "sum":
            pooled = self.add(SumPool((2, 2), (2, 2), ((0, 0), (0, 0))), x)
            return self.fire(self.scaled(pooled), 4)
        y = self.conv(x, 2 if kind == "grouped" else 1, 2 if kind == "strided" else 1)
        return self.fire(self.skip(y) if kind == "residual" else y, 9 * channels)


def _random_network(
    structure: int, rng: np.random.Generator, levels: int = 7, input_levels: int = 7, rich: bool = False
) -> Graph:
    build = _Builder(structure, rng, levels, input_levels, rich)
    x = "in"
    for _ in range(1 + structure % 4):
        x = build.block(x)
    if build.pick.random() < 0.5:  # global pool, weights and neurons behind it
        x = build.add(SumPool(build.shape[x][1:], (1, 1), ((0, 0), (0, 0))), x)
    x = build.add(Reshape((int(np.prod(build.shape[x])),)), x)
    if build.pick.random() < 0.7:
        x = build.fire(build.add(Dense(build.weights(5, build.shape[x][0]), None), x), build.shape[x][0])
    x = build.add(Dense(build.weights(4, build.shape[x][0]), None), x)
    build.add(Scale(np.ones(4, np.int64), build.weights(4)), x)
    return Graph("random", tuple(build.nodes))


@pytest.fixture(scope="session")
def random_network() -> Callable[..., Graph]:
    """A function from (structure, rng, levels, input_levels) to an integer network on maps of 2 x 6 x 5.

    structure: seed of shapes, edges and levels; rng: weights, thresholds, biases. Structures are drawn from plain,
    grouped and strided convolutions, residual adds (weighted or bare, also around several layers), sum-pool, max-pool
    (overlapping, padded, transposed), global pool and dense layers; thresholds are per channel, biases per channel or
    per neuron, and layers may differ in levels. rich: concatenations and neurons of several thresholds besides.
    """
    return _random_network


def _numpy_apply(op, *inputs: np.ndarray) -> np.ndarray:
    x = inputs[0]
    match op:
        case Conv():
            return _windowed(x, op.weight.shape[2:], op, 0, partial(_group_products, op))
        case Dense():
            return x @ op.weight.T + (0 if op.bias is None else op.bias)
        case Scale():
            return x * op.factor + op.offset
        case Relu():
            return np.maximum(x, 0)
        case MaxPool():
            lowest = np.iinfo(np.int64).min if x.dtype.kind == "i" else -np.inf
            return _windowed(x, op.kernel, op, lowest, lambda w: w.reshape(*w.shape[:2], -1).max(axis=2))
        case SumPool():
            return _windowed(x, op.kernel, op, 0, lambda w: w.reshape(*w.shape[:2], -1).sum(axis=2))
        case AvgPool():
            return _windowed(x, op.kernel, op, 0, lambda w: w.reshape(*w.shape[:2], -1).mean(axis=2))
        case Add():
            return x + inputs[1]
        case Concat():
            return np.concatenate(inputs, axis=op.axis + 1)
        case MultiThreshold():
            value = np.broadcast_to(op.start, x.shape)
            for threshold, sign in zip(op.thresholds, op.signs, strict=True):
                value = value + sign * (x + op.bias >= threshold)
            return np.clip(value, 0, op.levels)
        case Reshape():
            return x.reshape(len(x), *op.shape)
        case Transpose():
            return np.stack([sample.transpose(op.order) for sample in x])
        case Pad():
            return np.pad(x, ((0, 0), *op.pads))
        case Softmax():
            powers = np.exp(x - x.max(axis=-1, keepdims=True))
            return powers / powers.sum(axis=-1, keepdims=True)
        case Threshold():
            return np.clip((x + op.bias + op.threshold // 2) // op.threshold, 0, op.levels)
    raise TypeError(op)


def _windowed(x: np.ndarray, kernel, op, fill, reduce) -> np.ndarray:
    """`reduce` of every window [batch, channel, *kernel], one output position after another."""
    padded = np.pad(x, ((0, 0), (0, 0), *op.pads), constant_values=fill)
    sizes = [(n - k) // s + 1 for n, k, s in zip(padded.shape[2:], kernel, op.stride, strict=True)]
    rows = []
    for position in np.ndindex(*sizes):
        cut = tuple(slice(p * s, p * s + k) for p, s, k in zip(position, op.stride, kernel, strict=True))
        rows.append(reduce(padded[(slice(None), slice(None), *cut)]))
    return np.stack(rows, axis=-1).reshape(len(x), -1, *sizes)


def _group_products(op: Conv, window: np.ndarray) -> np.ndarray:
    per_in, per_out = op.weight.shape[1], op.weight.shape[0] // op.groups
    axes = tuple(range(1, window.ndim))
    parts = [
        np.tensordot(window[:, g * per_in : (g + 1) * per_in], op.weight[g * per_out : (g + 1) * per_out], (axes, axes))
        for g in range(op.groups)
    ]
    return np.concatenate(parts, axis=1) + (0 if op.bias is None else op.bias)


@pytest.fixture(scope="session")
def numpy_apply() -> Callable[..., np.ndarray]:
    """One operator on a batch in plain NumPy: int64 stays int64, float64 stays float64."""
    return _numpy_apply


@pytest.fixture(scope="session")
def numpy_evaluate() -> Callable[[Graph, np.ndarray], dict[str, np.ndarray]]:
    """Every node's value for a batch in plain NumPy, in the type of the input."""

    def run(graph: Graph, x: np.ndarray) -> dict[str, np.ndarray]:
        values = {graph.input.name: x}
        for node in graph.nodes[1:]:
            values[node.name] = _numpy_apply(node.op, *(values[i] for i in node.inputs))
        return values

    return run
