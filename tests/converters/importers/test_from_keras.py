"""Every layer and option against Keras itself in both file formats, what is refused, and real networks."""

import gzip
import json
import os
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from converters.importers import keras_file
from converters.importers.from_keras import load
from converters.importers.hdf5_extract import extracted
from neuro.activations import Function
from neuro.errors import BadInput, Unsupported
from neuro.evaluate import evaluator
from neuro.graph import Graph
from neuro.layers import Activation, Add, Conv, Dense, Input, Relu, Reshape, Scale, Softmax, Transpose

os.environ.setdefault("KERAS_BACKEND", "jax")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    keras = pytest.importorskip("keras")

import jax

pytestmark = pytest.mark.filterwarnings("ignore")  # Keras's own, about formats and code that is being saved
layers = keras.layers
TOLERANCE = 1e-5


@pytest.fixture(autouse=True, scope="module")
def read_in_this_process():
    """These files are whole; that they are read by another process is tried in `test_keras_file`."""

    def store(_, data: bytes) -> dict:
        entries, arrays = extracted(data)
        rest = iter(arrays)
        return {k: {**e, "values": next(rest)} if e["kind"] == "array" else e for k, e in entries.items()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras_file, "store", store)
        yield


def values(graph: Graph, x: np.ndarray) -> np.ndarray:
    return np.asarray(evaluator(graph, (graph.output.name,))(np.asarray(x, np.float32))[0])


def with_weights(model, seed: int = 0):
    """Random weights, variances positive."""
    rng = np.random.default_rng(seed)
    for w in model.weights:
        if w.dtype.startswith("float"):
            positive = "variance" in w.path
            w.assign(rng.uniform(0.5, 2, w.shape) if positive else rng.normal(0, 0.5, w.shape))
    return model


def expected(model, x: np.ndarray) -> np.ndarray:
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return np.asarray(model(x, training=False))


def agreeing(folder: Path, model, x: np.ndarray | None = None, tolerance: float = TOLERANCE) -> Graph:
    """The graph of a model saved both ways, which must compute what Keras does."""
    if x is None:
        x = np.random.default_rng(1).normal(size=(3, *model.input_shape[1:])).astype(np.float32)
    wanted = expected(model, x)
    for ending in ("h5", "keras"):
        model.save(folder / f"net.{ending}")
        graph = load(folder / f"net.{ending}")
        got = values(graph, x)
        assert got.shape == wanted.shape
        assert np.abs(got - wanted).max() <= tolerance * max(1, np.abs(wanted).max()), ending
    return graph


def chain(shape: tuple[int, ...], *stack):
    return with_weights(keras.Sequential([keras.Input(shape), *stack]))


def kinds(graph: Graph) -> list[type]:
    return [type(n.op) for n in graph.nodes]


CHAINS = {
    "dense": ((5,), lambda: [layers.Dense(4, activation="relu"), layers.Dense(3, use_bias=False)]),
    "tokens": ((6, 5), lambda: [layers.Dense(4, activation="relu"), layers.Dense(3)]),
    "places": ((4, 3, 5), lambda: [layers.Dense(4)]),
    "deep places": ((2, 3, 2, 5), lambda: [layers.Dense(4)]),
    "one place": ((1, 1, 5), lambda: [layers.Dense(4)]),
    "conv2d": ((7, 6, 3), lambda: [layers.Conv2D(4, (3, 2), activation="relu")]),
    "conv2d same": ((7, 6, 3), lambda: [layers.Conv2D(4, 3, strides=2, padding="same")]),
    "conv2d same 4": ((8, 9, 2), lambda: [layers.Conv2D(4, 4, strides=(3, 2), padding="same")]),
    "conv2d dilated": ((9, 9, 2), lambda: [layers.Conv2D(4, 3, dilation_rate=2, padding="same")]),
    "conv2d groups": ((5, 5, 4), lambda: [layers.Conv2D(6, 3, groups=2)]),
    "conv1d": ((9, 3), lambda: [layers.Conv1D(4, 3, strides=2, padding="same", activation="tanh")]),
    "conv1d causal": ((9, 3), lambda: [layers.Conv1D(4, 3, dilation_rate=2, padding="causal")]),
    "depthwise": ((6, 6, 3), lambda: [layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same")]),
    "depthwise1d": ((8, 3), lambda: [layers.DepthwiseConv1D(3, strides=2, use_bias=False)]),
    "separable": ((6, 6, 3), lambda: [layers.SeparableConv2D(5, 3, depth_multiplier=2, activation="relu")]),
    "separable1d": ((8, 3), lambda: [layers.SeparableConv1D(5, 3, padding="same")]),
    "flatten": ((4, 5, 3), lambda: [layers.Conv2D(2, 2), layers.ReLU(), layers.Flatten(), layers.Dense(4)]),
    "flatten, norm": ((4, 5, 3), lambda: [layers.Conv2D(2, 2), layers.Flatten(), layers.BatchNormalization()]),
    "flatten, softmax": ((4, 5, 3), lambda: [layers.Conv2D(2, 2), layers.Flatten(), layers.Softmax()]),
    "flatten last": ((4, 5, 3), lambda: [layers.Conv2D(2, 2), layers.Flatten()]),
    "reshape": ((4, 6), lambda: [layers.Conv1D(6, 1), layers.Reshape((-1, 3)), layers.Conv1D(2, 2)]),
    "reshape flat": ((4, 6), lambda: [layers.Conv1D(6, 1), layers.Flatten(), layers.Reshape((2, 12)), layers.Dense(2)]),
    "unit axes": ((5, 3), lambda: [layers.Conv1D(4, 2), layers.Reshape((4, 1, 4)), layers.Conv2D(2, (2, 1))]),
    "permute": ((4, 6), lambda: [layers.Conv1D(5, 2), layers.Permute((2, 1)), layers.Conv1D(2, 2), layers.Flatten()]),
    "permute, dense": ((3, 4, 2), lambda: [layers.Permute((3, 1, 2)), layers.Flatten(), layers.Dense(3)]),
    "max pool": ((7, 6, 2), lambda: [layers.MaxPooling2D(3, 2, padding="same")]),
    "max pool 1d": ((7, 2), lambda: [layers.MaxPooling1D(2)]),
    "average pool": ((7, 6, 2), lambda: [layers.AveragePooling2D((2, 3), 2)]),
    "average pool 1d": ((8, 2), lambda: [layers.AveragePooling1D(2, padding="same")]),
    "global average": ((7, 6, 2), lambda: [layers.GlobalAveragePooling2D(), layers.Dense(3)]),
    "global max": ((7, 2), lambda: [layers.GlobalMaxPooling1D(keepdims=True)]),
    "global max 2d": ((3, 7, 2), lambda: [layers.GlobalMaxPooling2D()]),
    "global average 1d": ((7, 2), lambda: [layers.GlobalAveragePooling1D(keepdims=True), layers.Dense(3)]),
    "norm": ((5, 4, 3), lambda: [layers.Conv2D(4, 2), layers.BatchNormalization(), layers.ReLU()]),
    "norm, no scale": ((5,), lambda: [layers.Dense(4), layers.BatchNormalization(scale=False, epsilon=0.1)]),
    "norm, no center": ((5, 2), lambda: [layers.BatchNormalization(center=False, axis=1)]),
    "rescaling": ((5, 2), lambda: [layers.Rescaling([0.5, 2.0], 1.0), layers.Conv1D(2, 2)]),
    "normalization": ((5, 2), lambda: [layers.Normalization(mean=[1.0, 2.0], variance=[4.0, 0.25])]),
    "normalization, one": ((5, 2), lambda: [layers.Normalization(axis=None, mean=1.0, variance=4.0)]),
    "zero padding": ((5, 4, 3), lambda: [layers.ZeroPadding2D(((1, 0), (2, 1))), layers.Conv2D(2, 3)]),
    "zero padding 1d": ((5, 3), lambda: [layers.Conv1D(2, 2), layers.ZeroPadding1D((1, 2))]),
    "zero padding, one": ((5, 4, 3), lambda: [layers.ZeroPadding2D(1), layers.MaxPooling2D(2)]),
    "idle": ((5,), lambda: [layers.Dropout(0.5), layers.GaussianNoise(1.0), layers.Dense(2), layers.Identity()]),
    "softmax": ((5,), lambda: [layers.Dense(4, activation="softmax")]),
    "softmax of a map": ((4, 4, 3), lambda: [layers.Conv2D(5, 4, activation="softmax"), layers.Flatten()]),
    "nested": (
        (6, 6, 2),
        lambda: [
            keras.Sequential([layers.Conv2D(3, 3, name="c"), layers.BatchNormalization(name="n"), layers.ReLU()]),
            keras.Sequential([layers.Conv2D(3, 3, name="c"), keras.Sequential([layers.Flatten(), layers.Dense(4)])]),
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_layers_compute_what_keras_does(tmp_path, name):
    shape, stack = CHAINS[name]
    agreeing(tmp_path, chain(shape, *stack()))


def test_channels_first(tmp_path):
    stack = [layers.Conv2D(4, 3, data_format="channels_first"), layers.MaxPooling2D(2, data_format="channels_first")]
    graph = agreeing(tmp_path, chain((3, 7, 8), *stack, layers.BatchNormalization(axis=1)))
    assert Transpose not in kinds(graph)


FUNCTIONS = {
    "relu": None, "relu6": "clip", "elu": "elu", "selu": "selu", "sigmoid": "sigmoid", "tanh": "tanh",
    "hard_sigmoid": "hard_sigmoid", "softplus": "softplus", "softsign": "softsign", "silu": "silu", "swish": "silu",
    "gelu": "gelu", "leaky_relu": "leaky_relu", "mish": "mish", "hard_silu": "hard_swish", "hard_swish": "hard_swish",
    "hard_tanh": "clip", "linear": "",
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_compute_what_keras_does(tmp_path, name):
    x = np.linspace(-8, 8, 60, dtype=np.float32).reshape(3, 20)
    graph = agreeing(tmp_path, chain((20,), layers.Activation(name)), x)
    ops = [n.op.function.name for n in graph.nodes if isinstance(n.op, Activation)]
    assert ops == ([FUNCTIONS[name]] if FUNCTIONS[name] else [])
    assert (Relu in kinds(graph)) == (name == "relu")


LAYERS = {
    "relu": lambda: layers.ReLU(),
    "bounded": lambda: layers.ReLU(max_value=2.5),
    "leaking": lambda: layers.ReLU(negative_slope=0.25),
    "leaky": lambda: layers.LeakyReLU(0.1),
    "elu": lambda: layers.ELU(0.7),
    "argument": lambda: layers.Dense(3, activation=layers.LeakyReLU(0.1)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_function_layers_compute_what_keras_does(tmp_path, name):
    x = np.linspace(-4, 4, 60, dtype=np.float32).reshape(3, 20)
    agreeing(tmp_path, chain((20,), LAYERS[name]()), x)


def test_embedding_and_mean_over_tokens(tmp_path):
    stack = [layers.Embedding(11, 4), layers.GlobalAveragePooling1D(), layers.Dense(3, activation="softmax")]
    agreeing(tmp_path, chain((6,), *stack), np.random.default_rng(0).integers(0, 11, (5, 6)))


def test_learned_normalization(tmp_path):
    layer = layers.Normalization()
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        layer.adapt(np.random.default_rng(0).normal(3, 2, (50, 4)).astype(np.float32))
        model = keras.Sequential([keras.Input((4,)), layer, layers.Dense(2)])
    agreeing(tmp_path, model)


def branched():
    x = keras.Input((8, 8, 3), name="image")
    a = layers.Conv2D(4, 3, padding="same", name="a")(x)
    b = layers.DepthwiseConv2D(3, padding="same", name="b")(a)
    c = layers.Add(name="sum")([a, b, layers.ReLU(name="r")(a)])
    inner_x = keras.Input((8, 8, 4))
    inner = keras.Model(inner_x, layers.Add()([inner_x, layers.Conv2D(4, 1, name="a")(inner_x)]), name="inner")
    d = layers.Concatenate(name="join")([inner(c), b])
    e = layers.Concatenate(axis=1, name="rows")([d, d])
    f = layers.Flatten(name="flat")(e)
    g = layers.Add(name="flat_sum")([f, layers.Flatten(name="flat_2")(e)])
    y = layers.Concatenate(name="features")([layers.Dense(4, name="d")(g), layers.Dense(3, name="d2")(f)])
    return with_weights(keras.Model(x, layers.Dense(2, name="last")(y)))


def test_branches_and_nested_networks(tmp_path):
    graph = agreeing(tmp_path, branched())
    assert graph["inner/a"].op.weight.shape == (4, 4, 1, 1)
    assert len([k for k in kinds(graph) if k is Add]) == 4


def test_columns_are_moved_instead_of_maps(tmp_path):
    """A flattened map of 2 x 2 x 2 channels: Keras's column 4 y + 2 x + c lies at 4 c + 2 y + x."""
    model = chain((2, 2, 2), layers.Conv2D(2, 1), layers.Flatten(), layers.Dense(1, use_bias=False))
    graph = agreeing(tmp_path, model)
    assert kinds(graph) == [Input, Transpose, Conv, Reshape, Dense]
    kernel = np.asarray(model.layers[-1].kernel)[:, 0]
    moved = graph.output.op.weight[0]
    assert [moved[4 * c + 2 * y + x] for y in (0, 1) for x in (0, 1) for c in (0, 1)] == kernel.tolist()


def test_names_and_shapes(tmp_path):
    stack = [layers.Conv2D(2, 3, activation="relu", name="first"), layers.BatchNormalization(name="norm")]
    graph = agreeing(
        tmp_path, chain((4, 4, 1), *stack, layers.Flatten(name="flat"), layers.Dense(2, "softmax", name="d"))
    )
    assert [n.name for n in graph.nodes[2:]] == ["first", "first_activation", "norm", "flat", "d", "d_softmax"]
    assert graph.input.op.shape == (4, 4, 1)
    assert graph.name == "net"


def refusal(folder: Path, model) -> str:
    texts = []
    for ending in ("h5", "keras"):
        model.save(folder / f"net.{ending}")
        with pytest.raises(Unsupported) as caught:
            load(folder / f"net.{ending}")
        texts.append(str(caught.value).split(": ", 1)[1])
    assert texts[0] == texts[1]
    return texts[0]


def test_all_that_is_refused_is_listed(tmp_path):
    stack = [
        layers.Cropping1D((0, 1), name="cut"),
        layers.Lambda(lambda x: x * 2, name="code", output_shape=(3, 3)),
        layers.Conv1D(2, 2, activation="exponential", name="rising"),
        layers.AveragePooling1D(2, 1, padding="same", name="pool"),
        layers.LayerNormalization(name="norm"),
    ]
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        model = keras.Sequential([keras.Input((4, 3)), *stack])
    assert refusal(tmp_path, model) == (
        "4 layers cannot be represented:\n"
        "  Cropping1D 'cut': no layer here does this\n"
        "  Lambda 'code': it holds code, which is never run\n"
        "  Conv1D 'rising': activation 'exponential' is not known\n"
        "  LayerNormalization 'norm': no layer here does this\n"
        "Replace them in the network and train it again."
    )


REFUSED = {
    "same mean": ((5, 2), lambda: layers.AveragePooling1D(2, 1, padding="same"), "out of the mean"),
    "masked": ((5,), lambda: layers.Embedding(4, 2, mask_zero=True), "mask_zero"),
    "threshold": ((5,), lambda: layers.ReLU(threshold=1.0), "threshold"),
    "both": ((5,), lambda: layers.ReLU(max_value=1.0, negative_slope=0.1), "max_value"),
    "rising": ((5,), lambda: layers.LeakyReLU(1.5), "out of range"),
    "prelu": ((5,), lambda: layers.PReLU(), "no layer"),
    "cropping": ((5, 2), lambda: layers.Cropping1D(1), "no layer"),
    "code": ((5,), lambda: layers.Dense(2, activation=lambda x: x), "custom code"),
    "places": ((5, 2), lambda: layers.Softmax(), "5 places"),
    "axis": ((5, 2), lambda: layers.Softmax(axis=1), "axis 1"),
    "inverse": ((2,), lambda: layers.Normalization(mean=1.0, variance=1.0, invert=True), "invert"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_options_that_are_refused(tmp_path, name):
    shape, layer, reason = REFUSED[name]
    assert reason in refusal(tmp_path, chain(shape, layer()))


def test_uses_that_are_refused(tmp_path):
    x = keras.Input((4,))
    twice = layers.Dense(4, name="twice")
    assert "it is used 2 times" in refusal(tmp_path, keras.Model(x, twice(twice(x))))
    assert "only equal shapes" in refusal(tmp_path, keras.Model(x, layers.Add()([x, layers.Dense(1)(x)])))
    y = layers.Softmax(name="early")(x)
    assert "Softmax 'early': only the last" in refusal(tmp_path, keras.Model(x, layers.Dense(2)(y)))
    two = keras.Model([x, keras.Input((3,))], layers.Dense(2)(x))
    two.save(tmp_path / "two.keras")
    with pytest.raises(BadInput, match="2 inputs"):
        load(tmp_path / "two.keras")


def test_operations_outside_of_layers(tmp_path):
    x = keras.Input((4,))
    with jax.numpy_dtype_promotion("standard"):
        agreeing(tmp_path, with_weights(keras.Model(x, x + layers.Dense(4)(x))))
        keras.Model(x, keras.ops.exp(x)).save(tmp_path / "a.keras")
        with pytest.raises(Unsupported, match="an operation outside of a layer"):
            load(tmp_path / "a.keras")
        assert "called with 2.0" in refusal(tmp_path, keras.Model(x, x + 2.0))


def rewritten(source: Path, target: Path, change) -> Path:
    """A `.keras` file with another configuration."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                change(config)
                content = json.dumps(config).encode()
            new.writestr(name, content)
    return target


@pytest.fixture
def saved(tmp_path) -> Path:
    chain((4, 4, 2), layers.Conv2D(3, 2, name="c"), layers.Flatten(), layers.Dense(2, name="d")).save(
        tmp_path / "a.keras"
    )
    return tmp_path / "a.keras"


def layer(config, name: str) -> dict:
    return next(s for s in config["config"]["layers"] if s["config"]["name"] == name)


CHANGES = {
    "kernel": (lambda c: layer(c, "c")["config"].update(kernel_size=[3, 3]), "kernel_size"),
    "stride": (lambda c: layer(c, "c")["config"].update(strides=[0, 1]), "at least 1"),
    "type": (lambda c: layer(c, "c")["config"].update(strides="many"), "whole numbers"),
    "padding": (lambda c: layer(c, "c")["config"].update(padding="none"), "padding 'none'"),
    "bias": (lambda c: layer(c, "d")["config"].update(use_bias=False), "needs the weights kernel"),
    "yes": (lambda c: layer(c, "d")["config"].update(use_bias="yes"), "neither true nor false"),
    "options": (lambda c: layer(c, "d").update(config=[]), "has no name"),
    "names": (lambda c: layer(c, "d")["config"].update(name="c"), "two layers"),
    "open": (lambda c: c["config"]["layers"][0]["config"].update(batch_shape=[None, None, 4, 2]), "fixed sizes"),
    "batch": (lambda c: c["config"]["layers"][0]["config"].update(batch_shape=[2, 4, 4, 2]), "batch of 2"),
    "shape": (
        lambda c: c["config"]["layers"][0]["config"].update(batch_shape=[None, 10**9, 10**9, 2]),
        "exceed the limit",
    ),
    "channels": (lambda c: c["config"]["layers"][0]["config"].update(batch_shape=[None, 4, 4, 3]), "does not fit"),
    "no layers": (lambda c: c["config"].update(layers=[]), "without a list of layers"),
    "no class": (lambda c: layer(c, "d").pop("class_name"), "names no class"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_malformed_configurations(saved, tmp_path, name):
    change, text = CHANGES[name]
    with pytest.raises(BadInput, match=text) as caught:
        load(rewritten(saved, tmp_path / "b.keras", change))
    assert str(caught.value).startswith("b.keras")


def test_networks_that_are_code(saved, tmp_path):
    with pytest.raises(Unsupported, match="keeps its structure in code"):
        load(rewritten(saved, tmp_path / "b.keras", lambda c: c.update(class_name="MyNet", module="my.nets")))
    with pytest.raises(Unsupported, match="Dense 'd': a custom layer"):
        load(rewritten(saved, tmp_path / "b.keras", lambda c: layer(c, "d").update(registered_name="mine>Dense")))


def test_networks_nested_too_deep(saved, tmp_path):
    def wrap(config):
        for i in range(20):
            inner = dict(config)
            first = {"class_name": "InputLayer", "config": {"name": "x", "batch_shape": [None, 4, 4, 2]}}
            config.update(class_name="Sequential", config={"name": f"n{i}", "layers": [first, {**inner, "name": "y"}]})

    with pytest.raises(BadInput, match="nested deeper than 16"):
        load(rewritten(saved, tmp_path / "b.keras", wrap))


def test_circles(tmp_path):
    x = keras.Input((4,), name="x")
    a = layers.Dense(4, name="a")(x)
    keras.Model(x, layers.Dense(4, name="b")(a)).save(tmp_path / "a.keras")

    def swap(config):
        call = layer(config, "a")["inbound_nodes"][0]["args"][0]["config"]
        call["keras_history"] = ["b", 0, 0]

    with pytest.raises(BadInput, match="in a circle"):
        load(rewritten(tmp_path / "a.keras", tmp_path / "b.keras", swap))


def test_hard_sigmoid_of_keras_2(tmp_path):
    model = chain((3,), layers.Activation("hard_sigmoid"))
    model.save(tmp_path / "new.keras")
    graph = load(tmp_path / "new.keras")
    assert graph.output.op.function == Function("hard_sigmoid", (1 / 6, 0.5))
    with zipfile.ZipFile(tmp_path / "new.keras") as old, zipfile.ZipFile(tmp_path / "old.keras", "w") as new:
        for name in old.namelist():
            new.writestr(name, b'{"keras_version": "2.15.0"}' if name == "metadata.json" else old.read(name))
    assert load(tmp_path / "old.keras").output.op.function == Function("hard_sigmoid", (0.2, 0.5))


def test_residual_network_agrees_with_keras(neuro_data, tmp_path):
    path = neuro_data / "models" / "mlperf_tiny" / "ic_resnet8.h5"
    model = keras.models.load_model(path, compile=False)
    data = np.load(neuro_data / "image" / "cifar10" / "cifar10_lossless_subset.npz")
    x, y = data["x_test"].astype(np.float32), data["y_test"]
    graph = load(path)
    got = values(graph, x)
    assert (got.argmax(1) == y).mean() == 0.89
    assert np.abs(got[:5] - values(agreeing(tmp_path, model, x[:5]), x[:5])).max() < TOLERANCE
    assert sum(isinstance(n.op, Scale) for n in graph.nodes) == 7


def test_digits_network_ends_in_a_flat_softmax(neuro_data):
    folder = neuro_data / "image" / "mnist"
    graph = load(neuro_data / "models" / "keras" / "nxtf_mnist_cnn.h5")
    assert isinstance(graph.output.op, Softmax)
    with (
        gzip.open(folder / "t10k-images-idx3-ubyte.gz") as images,
        gzip.open(folder / "t10k-labels-idx1-ubyte.gz") as f,
    ):
        x = np.frombuffer(images.read()[16:], np.uint8).reshape(-1, 28, 28, 1)[:1000] / np.float32(255)
        y = np.frombuffer(f.read()[8:], np.uint8)[:1000]
    right = (values(graph, x).argmax(1) == y).sum()
    assert right == 984


def test_steering_network_of_keras_2_2(neuro_data):
    graph = load(neuro_data / "models" / "keras" / "deeppicar_lane_navigation.h5")
    data = np.load(neuro_data / "driving" / "deeppicar_lane_150.npz")
    angles = values(graph, data["x"] / np.float32(255))[:, 0]
    assert abs(np.abs(angles - data["angle"]).mean() - 1.99) < 0.005
