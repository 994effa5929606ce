"""The bundled reference task: a small convolutional network for 8x8 digits, trained in JAX on first use."""

import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pooch
from jaxtyping import Array, Float, Int, Key
from rich.console import Console
from rich.progress import Progress

from experiments.datasets.arrays import CALIBRATION
from experiments.datasets.images import digit_images
from neuro.errors import BadInput
from neuro.file import replacing
from neuro.graph import Graph, Node
from neuro.layers import AvgPool, Conv, Dense, Input, Relu, Reshape, Scale

NAME = "digits-cnn"
LARGEST_COUNT = 16.0
EPSILON = 1e-5
PADS = ((1, 1), (1, 1))

Parameters: TypeAlias = dict[str, Float[Array, "..."]]
Statistics: TypeAlias = dict[str, tuple[Float[Array, "channel"], Float[Array, "channel"]]]


@dataclass(frozen=True)
class Training:
    """What decides the weights: layer widths, schedule and seed.

    shift: training images are moved by up to so many pixels along each axis.
    """

    channels: tuple[int, int, int] = (16, 32, 32)
    epochs: int = 20
    batch: int = 50
    rate: float = 4e-3
    decay: float = 1e-2
    shift: int = 1
    seed: int = 0


def digits_cnn(progress: bool = True, cache: Path | None = None, training: Training | None = None) -> Graph:
    """The trained network as a float graph from counts [1, 8, 8] to 10 logits.

    The weights are kept in `cache` (the user's cache folder) under a name that stands for this file, the training
    and the version of JAX; a damaged file is replaced.
    """
    training = training or Training()
    configuration = repr((sorted(asdict(training).items()), jax.__version__))
    key = sha256(Path(__file__).read_bytes() + configuration.encode()).hexdigest()[:16]
    path = (cache or Path(pooch.os_cache("neuro"))) / f"{NAME}-{key}.npz"
    weights = _stored(path, training)
    if weights is None:
        weights = train(training, progress)
        _store(path, weights)
    return graph(weights)


def train(training: Training, progress: bool = True) -> dict[str, np.ndarray]:
    """Weights by Adam with decoupled decay on a cosine schedule; batch norms keep the statistics of the training set.

    Always on the CPU, so that the weights do not depend on what else the machine has. Progress goes to standard
    error, and only to a terminal.
    """
    images, labels = (array[:CALIBRATION] for array in digit_images())
    # Optax mixes Python floats with integer counters, which strict promotion refuses.
    with jax.default_device(jax.devices("cpu")[0]), jax.numpy_dtype_promotion("standard"):
        x, y = jnp.asarray(images), jnp.asarray(labels, jnp.int32)
        key = jax.random.key(training.seed)
        parameters = initial(training, key)
        optimiser, epoch = _epoch(training, x, y)
        state = optimiser.init(parameters)
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not (progress and sys.stderr.isatty())) as bar:
            for i in bar.track(range(training.epochs), description=f"training {NAME}"):
                parameters, state = epoch(parameters, state, jax.random.fold_in(key, i + 1))
        _, statistics = forward(parameters, x)
    arrays = dict(parameters)
    for layer, (mean, variance) in statistics.items():
        arrays |= {f"{layer}.mean": mean, f"{layer}.variance": variance}
    return {name: np.asarray(array) for name, array in arrays.items()}


def initial(training: Training, key: Key[Array, ""]) -> Parameters:
    """Kaiming-normal weights; scales one, offsets zero."""
    a, b, c = training.channels
    shapes = {"conv1": (a, 1, 3, 3), "conv2": (b, a, 3, 3), "conv3": (c, b, 3, 3), "dense": (10, 4 * c)}
    keys = jax.random.split(key, len(shapes))
    parameters: Parameters = {}
    for k, (layer, shape) in zip(keys, shapes.items(), strict=True):
        spread = (2 / np.prod(shape[1:])) ** 0.5
        parameters[f"{layer}.weight"] = jnp.float32(spread) * jax.random.normal(k, shape, jnp.float32)
        parameters[f"{layer}.bias"] = jnp.zeros(shape[0], jnp.float32)
        if layer in ("conv1", "conv2"):
            parameters[f"{layer}.scale"] = jnp.ones(shape[0], jnp.float32)
    return parameters


def forward(p: Parameters, x: Float[Array, "batch 1 8 8"]) -> tuple[Float[Array, "batch 10"], Statistics]:
    """Logits of a batch normalised by its own statistics, and those statistics."""
    statistics: Statistics = {}

    def conv(h, layer):
        return jax.lax.conv_general_dilated(h, p[f"{layer}.weight"], (1, 1), PADS)

    def per_channel(v):
        return v[None, :, None, None]

    def normalised(h, layer):
        mean, variance = h.mean((0, 2, 3)), h.var((0, 2, 3))
        statistics[layer] = (mean, variance)
        scale = p[f"{layer}.scale"] * jax.lax.rsqrt(variance + EPSILON)
        return (h - per_channel(mean)) * per_channel(scale) + per_channel(p[f"{layer}.bias"])

    def pooled(h):
        return h.reshape(*h.shape[:2], h.shape[2] // 2, 2, h.shape[3] // 2, 2).mean((3, 5))

    h = jax.nn.relu(normalised(conv(x / LARGEST_COUNT, "conv1"), "conv1"))
    h = pooled(jax.nn.relu(normalised(conv(h, "conv2"), "conv2")))
    h = pooled(jax.nn.relu(conv(h, "conv3") + per_channel(p["conv3.bias"])))
    return h.reshape(len(x), -1) @ p["dense.weight"].T + p["dense.bias"][None], statistics


def graph(weights: dict[str, np.ndarray]) -> Graph:
    """The network of `weights`: each batch norm a `Scale`, the input divided by its largest count."""

    def normalise(layer: str) -> Scale:
        factor = weights[f"{layer}.scale"] / np.sqrt(weights[f"{layer}.variance"] + np.float32(EPSILON))
        offset = weights[f"{layer}.bias"] - factor * weights[f"{layer}.mean"]
        return Scale(factor[:, None, None], offset[:, None, None])

    def conv(layer: str, bias: bool) -> Conv:
        return Conv(weights[f"{layer}.weight"], weights[f"{layer}.bias"] if bias else None, (1, 1), PADS)

    pool = AvgPool((2, 2), (2, 2), ((0, 0), (0, 0)))
    unit = Scale(np.full((1, 1, 1), 1 / LARGEST_COUNT, np.float32), np.zeros((1, 1, 1), np.float32))
    operators = {
        "input": Input((1, 8, 8)),
        "scale": unit,
        "conv1": conv("conv1", bias=False),
        "norm1": normalise("conv1"),
        "relu1": Relu(),
        "conv2": conv("conv2", bias=False),
        "norm2": normalise("conv2"),
        "relu2": Relu(),
        "pool2": pool,
        "conv3": conv("conv3", bias=True),
        "relu3": Relu(),
        "pool3": pool,
        "flat": Reshape((weights["dense.weight"].shape[1],)),
        "dense": Dense(weights["dense.weight"], weights["dense.bias"]),
    }
    names = list(operators)
    feeds = [(), *((name,) for name in names[:-1])]
    return Graph(NAME, tuple(Node(n, operators[n], f) for n, f in zip(names, feeds, strict=True)))


def _epoch(
    training: Training, x: Float[Array, "item 1 8 8"], y: Int[Array, "item"]
) -> tuple[optax.GradientTransformation, Callable]:
    """The optimiser, and a jitted pass over the training set in an order drawn from a key."""
    batches = len(x) // training.batch
    schedule = optax.cosine_decay_schedule(training.rate, training.epochs * batches)
    optimiser = optax.adamw(schedule, weight_decay=training.decay)

    def loss(parameters, images, labels):
        logits, _ = forward(parameters, images)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def step(carry, batch):
        parameters, state = carry
        images, labels, (down, right) = batch
        # Wrapped around: the digits fill the height of the image, so that a border of zeros would cut strokes off.
        moved = jax.vmap(lambda image, d, r: jnp.roll(image, (d, r), (1, 2)))(images, down, right)
        updates, state = optimiser.update(jax.grad(loss)(parameters, moved, labels), state, parameters)
        return (optax.apply_updates(parameters, updates), state), None

    @jax.jit
    def epoch(parameters, state, key):
        order_key, shift_key = jax.random.split(key)
        order = jax.random.permutation(order_key, len(x))[: batches * training.batch].reshape(batches, -1)
        shifts = jax.random.randint(shift_key, (batches, 2, training.batch), -training.shift, training.shift + 1)
        return jax.lax.scan(step, (parameters, state), (x[order], y[order], (shifts[:, 0], shifts[:, 1])))[0]

    return optimiser, epoch


def _stored(path: Path, training: Training) -> dict[str, np.ndarray] | None:
    """The weights in `path`, or None where there is no such file or it is damaged."""
    shapes = {name: array.shape for name, array in initial(training, jax.random.key(0)).items()}
    for layer, width in zip(("conv1", "conv2"), training.channels, strict=False):
        shapes |= {f"{layer}.mean": (width,), f"{layer}.variance": (width,)}
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            weights = {name: file[name] for name in shapes}
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile):
        return None
    fits = all(a.shape == shapes[n] and a.dtype == np.float32 and np.isfinite(a).all() for n, a in weights.items())
    return weights if fits else None


def _store(path: Path, weights: dict[str, np.ndarray]) -> None:
    """Write under another name and rename, so that a killed run leaves no half file; a cache may fail silently."""
    with suppress(BadInput), replacing(path) as part, part.open("wb") as file:
        np.savez(file, allow_pickle=False, **weights)
