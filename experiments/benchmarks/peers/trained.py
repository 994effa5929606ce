"""Really trained networks of the forms W1 and W2, made spiking: digits of MNIST and pictures of CIFAR-10.

Trained without biases as rectified networks for a minute or a few; weights then become int8 layer by layer and
thresholds integers, so that a neuron at the given percentile of activation fires at every step (Diehl et al. 2015,
doi:10.1109/IJCNN.2015.7280696). The converted network is approximate by design; it serves for its activity.
"""

import io
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float

from experiments.benchmarks.peers.layered import CONVOLUTIONAL, DENSE, LEVELS, Form
from experiments.benchmarks.peers.network import Network
from experiments.datasets.arrays import idx
from experiments.progress import Progress, silent

PERCENTILE = 99.9
CALIBRATION = 512
"""Training items of which the percentile is taken."""
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class Data:
    """Counts 0..15 as uint8 [item, ...] and labels [item]."""

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def mnist(root: Path) -> Data:
    """All of MNIST from `root`/image/mnist, one row of 784 counts an image."""
    read = {
        name: idx(root / "image" / "mnist" / f"{name}-ubyte.gz")
        for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    }
    images, labels, test, answers = read.values()
    return Data(images.reshape(-1, 784) >> 4, labels, test.reshape(-1, 784) >> 4, answers)


def cifar10(root: Path) -> Data:
    """The lossless part of CIFAR-10 under `root`/image/cifar10, with the JPEG part added to the training set."""
    from PIL import Image

    folder = root / "image" / "cifar10"
    with np.load(folder / "cifar10_lossless_subset.npz", allow_pickle=False) as f:
        x, y, x_test, y_test = (f[key] for key in ("x_train", "y_train", "x_test", "y_test"))
    with zipfile.ZipFile(folder / "cifar10_jpeg_train_16000.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")]
        lossy = np.stack([np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in names])
    of_lossy = np.asarray([CLASSES.index(Path(name).parent.name) for name in names])
    x, y = np.concatenate([x, lossy]), np.concatenate([y, of_lossy])
    return Data(x.transpose(0, 3, 1, 2) >> 4, y, x_test.transpose(0, 3, 1, 2) >> 4, y_test)


def forward(
    weights: tuple[Array, ...], x: Float[Array, "batch ..."], pooled: tuple[int, ...]
) -> list[Float[Array, "batch ..."]]:
    """What every layer of the rectified network holds before pooling, channels last; the last is not rectified."""
    held: list[Array] = []
    h = jnp.moveaxis(x, 1, -1) if x.ndim == 4 else x
    for layer, weight in enumerate(weights):
        if weight.ndim == 4:
            h = lax.conv_general_dilated(h, weight, (1, 1), "SAME", dimension_numbers=("NHWC", "OIHW", "NHWC"))
        else:
            h = (jnp.moveaxis(h, -1, 1) if h.ndim == 4 else h).reshape(len(h), -1) @ weight.T
        h = h if layer == len(weights) - 1 else jax.nn.relu(h)
        held.append(h)
        if layer in pooled:
            h = h.reshape(len(h), h.shape[1] // 2, 2, h.shape[2] // 2, 2, -1).max((2, 4))
    return held


def train(
    form: Form, data: Data, steps: int, batch: int, rate: float = 1e-3, progress: Progress = silent
) -> tuple[Array, ...]:
    """Adam with a cosine schedule on cross entropy, in `steps` random batches; pictures are mirrored at random."""
    rng = np.random.default_rng(0)
    weights = tuple(
        jnp.asarray(rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape), jnp.float32) for shape in form.weights
    )
    optimiser = optax.adam(lambda step: rate * (1 + jnp.cos(jnp.pi * jnp.asarray(step, jnp.float32) / steps)) / 2)

    @jax.jit
    def step(weights, state, x, y):
        def loss(weights):
            logits = forward(weights, x.astype(jnp.float32) / LEVELS, form.pooled)[-1]
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

        updates, state = optimiser.update(jax.grad(loss)(weights), state)
        return optax.apply_updates(weights, updates), state

    state, told = optimiser.init(weights), progress("training", steps)
    for _ in range(steps):
        chosen = rng.choice(len(data.x), batch, replace=False)
        x = data.x[chosen]
        if x.ndim == 4:
            mirror = rng.random(batch) < 0.5
            x = np.where(mirror[:, None, None, None], x[..., ::-1], x)
        weights, state = step(weights, state, jnp.asarray(x), jnp.asarray(data.y[chosen], jnp.int32))
        told(1)
    return weights


def accuracy(weights: tuple[Array, ...], form: Form, x: np.ndarray, y: np.ndarray) -> float:
    """The share of `x` that the rectified network puts into the right class."""
    run = jax.jit(lambda x: forward(weights, x, form.pooled)[-1].argmax(axis=1))
    found = [np.asarray(run(jnp.asarray(part, jnp.float32) / LEVELS)) for part in np.array_split(x, len(x) // 100)]
    return float((np.concatenate(found) == y).mean())


def spiking(weights: tuple[Array, ...], form: Form, data: Data) -> Network:
    """int8 weights, integer thresholds and as many test images as the form has inputs."""
    shown = jnp.asarray(data.x[:CALIBRATION], jnp.float32) / LEVELS
    held = jax.jit(lambda x: forward(weights, x, form.pooled))(shown)
    # A count of 15 stands for 1, and a spike at every step for the percentile of the layer.
    unit, thresholds, integers = 1 / LEVELS, [], []
    for weight, activation in zip(weights, held, strict=True):
        scale = 127 / float(jnp.abs(weight).max())
        full = float(np.percentile(np.asarray(activation), PERCENTILE))
        integers.append(np.rint(np.asarray(weight) * scale).astype(np.int8))
        thresholds.append(max(round(scale * full / unit), 1))
        unit = full
    x = data.x_test[: form.batch].astype(np.uint8)
    right = accuracy(weights, form, data.x_test, data.y_test)
    return Network(x, form.steps, tuple(integers), tuple(thresholds), form.pooled, "max", 1.0, right)


def root() -> Path:
    """The folder of data sets that NEURO_DATA names. KeyError: it is not set."""
    return Path(os.environ["NEURO_DATA"])


def digits(progress: Progress = silent) -> tuple[Network, np.ndarray]:
    """W1 trained on MNIST, and the labels of its inputs."""
    data = mnist(root())
    return spiking(train(DENSE, data, steps=1400, batch=128, progress=progress), DENSE, data), data.y_test[
        : DENSE.batch
    ]


def pictures(progress: Progress = silent) -> tuple[Network, np.ndarray]:
    """W2 trained on CIFAR-10, and the labels of its inputs. Minutes of training give real structure, not a record."""
    data = cifar10(root())
    weights = train(CONVOLUTIONAL, data, steps=150, batch=32, progress=progress)
    return spiking(weights, CONVOLUTIONAL, data), data.y_test[: CONVOLUTIONAL.batch]
