"""One network, written in every framework with the same weights, ends in the same integer network.

The network: two convolutions with batch norm around a residual addition, max-pool, mean and a matrix; also with a third
convolution whose branch is joined. Each framework's own output is the oracle for its importer, and after folding and
quantising the integers of all importers must be the same, population by population. Inputs are channels first in
PyTorch and ONNX, channels last in Flax, Keras and plain JAX.
"""

import os
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from converters.fold import fold
from converters.importers import from_jax, from_keras, from_onnx, from_torch
from converters.quantise import reference
from neuro.evaluate import evaluator
from neuro.graph import Graph
from neuro.layers import Input, Reshape, Scale, Transpose

SEEDS = range(8)
CHANNELS, SIZE, CLASSES, LEVELS = 6, 12, 5, 31
TOLERANCE = 1e-5
EPSILON = 1e-5
Weights = dict[str, np.ndarray]
pytestmark = [
    pytest.mark.filterwarnings(r"ignore:`isinstance\(treespec, LeafSpec\)`:FutureWarning"),  # PyTorch's own
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras's own
]


@pytest.fixture(autouse=True)
def _as_users_have_it():
    """JAX with the promotions of its defaults, which the tests switch off elsewhere."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


def drawn(seed: int, joined: bool) -> Weights:
    """Weights in PyTorch's layout [out, in, kernel] under the names of the layers."""
    rng = np.random.default_rng(seed)
    found: Weights = {}
    last = CHANNELS * (2 if joined else 1)
    for name, inputs in (("a", 2), ("b", CHANNELS), ("c", CHANNELS)):
        found[f"{name}.weight"] = rng.normal(size=(CHANNELS, inputs, 3, 3)) / np.sqrt(9 * inputs)
        found[f"{name}.bias"] = rng.normal(size=CHANNELS) * 0.1
        found[f"{name}.gain"], found[f"{name}.shift"] = rng.uniform(0.5, 1.5, CHANNELS), rng.normal(size=CHANNELS) * 0.2
        found[f"{name}.mean"], found[f"{name}.var"] = rng.normal(size=CHANNELS) * 0.2, rng.uniform(0.5, 2, CHANNELS)
    found["d.weight"] = rng.normal(size=(CLASSES, last * 9)) / np.sqrt(last * 9)
    found["d.bias"] = rng.normal(size=CLASSES) * 0.1
    return {k: v.astype(np.float32) for k, v in found.items()}


# The network in each framework: a graph, the framework's own output for a batch, and whether channels come last


Built = tuple[Graph, Callable[[np.ndarray], np.ndarray], bool]


def in_torch(w: Weights, joined: bool, folder: Path) -> Built:
    torch = pytest.importorskip("torch")
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            for name, inputs in (("a", 2), ("b", CHANNELS), ("c", CHANNELS)):
                conv, norm = nn.Conv2d(inputs, CHANNELS, 3, padding=1), nn.BatchNorm2d(CHANNELS, eps=EPSILON)
                given = (conv.weight, conv.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var)
                for tensor, key in zip(given, ("weight", "bias", "gain", "shift", "mean", "var"), strict=True):
                    tensor.data = torch.from_numpy(w[f"{name}.{key}"].copy())
                setattr(self, name, nn.Sequential(conv, norm))
            self.d = nn.Linear(w["d.weight"].shape[1], CLASSES)
            self.d.weight.data, self.d.bias.data = (torch.from_numpy(w[k].copy()) for k in ("d.weight", "d.bias"))

        def forward(self, x):
            x = nn.functional.max_pool2d(self.a(x).relu(), 2)
            y = torch.clamp(self.b(x) + x, min=0)
            if joined:
                y = torch.cat([y, nn.functional.relu(self.c(x))], dim=1)
            return self.d(nn.functional.avg_pool2d(y, 2).flatten(1))

    net = Net().eval()
    graph = from_torch.from_module(net, (2, SIZE, SIZE))
    torch.export.save(torch.export.export(net, (torch.zeros(1, 2, SIZE, SIZE),)), folder / "network.pt2")
    read = from_torch.load(folder / "network.pt2")
    assert repr(read) == repr(graph)
    return read, lambda x: net(torch.from_numpy(x)).detach().numpy(), False


def in_onnx(w: Weights, joined: bool, folder: Path) -> Built:
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    from onnx import helper, numpy_helper

    def block(name: str, x: str) -> list:
        norm = [f"{name}.{k}" for k in ("gain", "shift", "mean", "var")]
        return [
            helper.make_node("Conv", [x, f"{name}.weight", f"{name}.bias"], [f"{name}1"], name=name, pads=[1] * 4),
            helper.make_node("BatchNormalization", [f"{name}1", *norm], [f"{name}2"], epsilon=EPSILON),
        ]

    def relu(x: str, y: str) -> list:
        return [helper.make_node("Relu", [x], [y])]

    square = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [*block("a", "x"), *relu("a2", "a3"), helper.make_node("MaxPool", ["a3"], ["a4"], **square)]
    nodes += [*block("b", "a4"), helper.make_node("Add", ["b2", "a4"], ["b3"]), *relu("b3", "y")]
    if joined:
        nodes += [*block("c", "a4"), *relu("c2", "c3"), helper.make_node("Concat", ["y", "c3"], ["z"], axis=1)]
    nodes += [
        helper.make_node("AveragePool", ["z" if joined else "y"], ["p"], **square),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "d.weight", "d.bias"], ["out"], transB=1),
    ]
    used = {i for n in nodes for i in n.input}
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 2, SIZE, SIZE])],
        [helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, [1, CLASSES])],
        [numpy_helper.from_array(v, k) for k, v in w.items() if k in used],
    )
    path = folder / "network.onnx"
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    session = runtime.InferenceSession(str(path))
    return from_onnx.load(path), lambda x: np.concatenate([session.run(None, {"x": s[None]})[0] for s in x]), False


def columns(weight: np.ndarray) -> np.ndarray:
    """The matrix behind a flattened map, for channels last: [in, out]."""
    channels = weight.shape[1] // 9
    return weight.reshape(-1, channels, 3, 3).transpose(2, 3, 1, 0).reshape(-1, len(weight))


def in_flax(w: Weights, joined: bool, _: Path) -> Built:
    nn = pytest.importorskip("flax.linen")

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            def block(name, x):
                y = nn.Conv(CHANNELS, (3, 3), precision="highest", name=name)(x)
                return nn.BatchNorm(use_running_average=True, epsilon=EPSILON, name=f"{name}_norm")(y)

            x = nn.max_pool(nn.relu(block("a", x)), (2, 2), (2, 2))
            y = nn.relu(block("b", x) + x)
            if joined:
                y = jnp.concatenate([y, nn.relu(block("c", x))], axis=-1)
            y = nn.avg_pool(y, (2, 2), (2, 2))
            return nn.Dense(CLASSES, precision="highest", name="d")(y.reshape(y.shape[0], -1))

    names = "abc" if joined else "ab"
    params = {n: {"kernel": w[f"{n}.weight"].transpose(2, 3, 1, 0), "bias": w[f"{n}.bias"]} for n in names}
    params |= {f"{n}_norm": {"scale": w[f"{n}.gain"], "bias": w[f"{n}.shift"]} for n in names}
    params |= {"d": {"kernel": columns(w["d.weight"]), "bias": w["d.bias"]}}
    stats = {f"{n}_norm": {"mean": w[f"{n}.mean"], "var": w[f"{n}.var"]} for n in names}

    def function(x):
        return Net().apply({"params": params, "batch_stats": stats}, x)

    return from_jax.trace(function, (SIZE, SIZE, 2)), lambda x: np.asarray(function(x)), True


def in_jax(w: Weights, joined: bool, _: Path) -> Built:
    def function(x):
        def block(name, x):
            kernel = w[f"{name}.weight"].transpose(2, 3, 1, 0)
            y = lax.conv_general_dilated(
                x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), precision=lax.Precision.HIGHEST
            )
            factor = w[f"{name}.gain"] / jnp.sqrt(w[f"{name}.var"] + EPSILON)
            return (y + w[f"{name}.bias"]) * factor + (w[f"{name}.shift"] - w[f"{name}.mean"] * factor)

        def windows(x, start, reduce):
            return lax.reduce_window(x, start, reduce, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")

        y = block("a", x)
        x = windows(jnp.where(y > 0, y, 0.0), -jnp.inf, lax.max)
        y = jnp.maximum(x + block("b", x), 0)
        if joined:
            y = jnp.concatenate([y, jax.nn.relu(block("c", x))], axis=3)
        y = windows(y, 0.0, lax.add) / 4
        flat = y.transpose(0, 3, 1, 2).reshape(y.shape[0], -1)
        return jnp.dot(flat, w["d.weight"].T, precision=lax.Precision.HIGHEST) + w["d.bias"]

    return from_jax.trace(function, (SIZE, SIZE, 2)), lambda x: np.asarray(function(x)), True


def in_keras(w: Weights, joined: bool, folder: Path) -> Built:
    os.environ.setdefault("KERAS_BACKEND", "jax")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras's own
        keras = pytest.importorskip("keras")
    layers = keras.layers

    def block(name: str, x):
        y = layers.Conv2D(CHANNELS, 3, padding="same", name=name)(x)
        return layers.BatchNormalization(epsilon=EPSILON, name=f"{name}_norm")(y)

    given = keras.Input((SIZE, SIZE, 2))
    x = layers.MaxPooling2D(2)(layers.ReLU()(block("a", given)))
    y = layers.ReLU()(layers.Add()([block("b", x), x]))
    if joined:
        y = layers.Concatenate()([y, layers.ReLU()(block("c", x))])
    net = keras.Model(given, layers.Dense(CLASSES, name="d")(layers.Flatten()(layers.AveragePooling2D(2)(y))))
    for name in "abc" if joined else "ab":
        net.get_layer(name).set_weights([w[f"{name}.weight"].transpose(2, 3, 1, 0), w[f"{name}.bias"]])
        net.get_layer(f"{name}_norm").set_weights([w[f"{name}.{key}"] for key in ("gain", "shift", "mean", "var")])
    net.get_layer("d").set_weights([columns(w["d.weight"]), w["d.bias"]])
    net.save(folder / "network.keras")

    def own(x: np.ndarray) -> np.ndarray:
        with jax.default_matmul_precision("highest"):
            return np.asarray(net(x, training=False))

    return from_keras.load(folder / "network.keras"), own, True


FRAMEWORKS = {"torch": in_torch, "onnx": in_onnx, "flax": in_flax, "jax": in_jax, "keras": in_keras}
NEEDED = {"torch": ("torch",), "onnx": ("onnx", "onnxruntime"), "flax": ("flax",), "jax": (), "keras": ("keras",)}
"""What has to be installed for each."""


def samples(seed: int, count: int) -> np.ndarray:
    """Input counts, channels first."""
    return np.random.default_rng([seed, 1]).integers(0, LEVELS + 1, (count, 2, SIZE, SIZE)).astype(np.float32)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("joined", [False, True])
def test_the_float_graph_gives_what_the_framework_gives(framework, joined, tmp_path):
    for seed in SEEDS:
        graph, own, last = FRAMEWORKS[framework](drawn(seed, joined), joined, tmp_path)
        x = samples(seed, 8) / LEVELS
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if last else x
        (values,) = evaluator(graph, (graph.output.name,))(x)
        assert np.abs(np.asarray(values) - own(x)).max() < TOLERANCE


def integers(built: Built, counts: np.ndarray) -> list[tuple[str, dict[str, np.ndarray]]]:
    """Weights, thresholds and biases of the integer network in order; how values are moved is left out."""
    graph, _, last = built
    given = counts.transpose(0, 2, 3, 1) if last else counts
    folded = fold(graph, np.asarray(1 / LEVELS), np.asarray(0.0))
    quantised = reference(folded, np.ascontiguousarray(given), LEVELS).graph
    found = []
    for node in quantised.nodes:
        if not isinstance(node.op, Input | Reshape | Transpose):
            arrays = {k: v for k, v in vars(node.op).items() if v is not None}
            found.append((type(node.op).__name__, arrays))
    return found


@pytest.mark.parametrize("joined", [False, True])
def test_all_frameworks_give_the_same_integers(joined, tmp_path):
    """No integer differs."""
    installed = {name for name, packages in NEEDED.items() if all(map(find_spec, packages))}
    compared = Counter()
    for seed in SEEDS:
        weights, counts = drawn(seed, joined), samples(seed, 32)
        found = {}
        for name, build in FRAMEWORKS.items():
            with suppress(pytest.skip.Exception):
                found[name] = integers(build(weights, joined, tmp_path), counts)
        assert found.keys() == installed  # so that no skip hides a framework that is there
        wanted = next(iter(found.values()))
        for name, layers in found.items():
            assert [kind for kind, _ in layers] == [kind for kind, _ in wanted], name
            for (kind, arrays), (_, others) in zip(layers, wanted, strict=True):
                assert arrays.keys() == others.keys()
                for key, value in arrays.items():
                    assert np.shape(value) == np.shape(others[key])
                    compared[name] += np.size(value)
                    assert np.array_equal(value, others[key]), (seed, name, kind, key)
    assert min(compared.values()) > 5_000


def test_the_comparison_sees_one_changed_weight(tmp_path):
    """Another sign of one weight, another bias of one channel: the integers differ."""
    weights, counts = drawn(0, False), samples(0, 32)
    before = integers(in_jax(weights, False, tmp_path), counts)
    for key in ("b.weight", "a.bias"):
        changed = {k: v.copy() for k, v in weights.items()}
        changed[key].flat[3] *= -1
        after = integers(in_jax(changed, False, tmp_path), counts)
        same = all(np.array_equal(a[k], b[k]) for (_, a), (_, b) in zip(before, after, strict=True) for k in a)
        assert not same
    assert any(kind == Scale.__name__ for kind, _ in before)
