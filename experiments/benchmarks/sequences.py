"""Recurrent networks that read the 8x8 digits row by row: trained here, converted, and held against their integers."""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from converters.importers.recurrent import Cell, rows, unrolled
from experiments.datasets.arrays import CALIBRATION
from experiments.datasets.digits import LARGEST_COUNT
from experiments.datasets.images import digit_images
from neuro.graph import Graph, Node
from neuro.layers import Dense, Input, Op

Kind = Literal["lstm", "gru"]
GATES = {"lstm": 4, "gru": 3}
SIZE = 8
"""Rows of an image, and pixels of a row."""


@dataclass(frozen=True)
class Training:
    """What decides the weights."""

    hidden: int = 32
    epochs: int = 40
    batch: int = 50
    rate: float = 1e-2
    decay: float = 1e-2
    seed: int = 0


def train(kind: Kind, training: Training | None = None) -> dict[str, np.ndarray]:
    """Weights of a cell and of a read-out of its last state, by Adam with decay on a cosine schedule, on the CPU.

    weight [gate, hidden, row], state [gate, hidden, hidden], bias and state_bias [gate, hidden], out [10, hidden] and
    out_bias [10]; gates in the order of `converters.importers.recurrent.GATES`.
    """
    training = training or Training()
    images, labels = (array[:CALIBRATION] for array in digit_images())
    # Optax mixes Python floats with integer counters, which strict promotion refuses.
    with jax.default_device(jax.devices("cpu")[0]), jax.numpy_dtype_promotion("standard"):
        x, y = jnp.asarray(images[:, 0] / np.float32(LARGEST_COUNT)), jnp.asarray(labels, jnp.int32)
        parameters = _initial(kind, training)
        batches = len(x) // training.batch
        schedule = optax.cosine_decay_schedule(training.rate, training.epochs * batches)
        optimiser = optax.adamw(schedule, weight_decay=training.decay)

        def loss(parameters, images, labels):
            logits = forward(kind, parameters, images)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        def step(carry, batch):
            parameters, state = carry
            updates, state = optimiser.update(jax.grad(loss)(parameters, *batch), state, parameters)
            return (optax.apply_updates(parameters, updates), state), None

        @jax.jit
        def epoch(carry, key):
            order = jax.random.permutation(key, len(x))[: batches * training.batch].reshape(batches, -1)
            return jax.lax.scan(step, carry, (x[order], y[order]))[0]

        carry = (parameters, optimiser.init(parameters))
        for key in jax.random.split(jax.random.key(training.seed + 1), training.epochs):
            carry = epoch(carry, key)
    return {name: np.asarray(array) for name, array in carry[0].items()}


def forward(kind: Kind, p: dict[str, Array], x: Float[Array, "batch row pixel"]) -> Float[Array, "batch class"]:
    """Logits of images in [0, 1]; `jax.lax.scan` over the rows."""

    def lstm(carry, row):
        h, c = carry
        z = [row @ w.T + h @ r.T + b for w, r, b in zip(p["weight"], p["state"], p["bias"] + p["state_bias"])]
        i, f, g, o = jax.nn.sigmoid(z[0]), jax.nn.sigmoid(z[1]), jnp.tanh(z[2]), jax.nn.sigmoid(z[3])
        c = f * c + i * g
        return (o * jnp.tanh(c), c), None

    def gru(carry, row):
        (h,) = carry
        read = [row @ w.T + b for w, b in zip(p["weight"], p["bias"])]
        held = [h @ w.T + b for w, b in zip(p["state"], p["state_bias"])]
        r, z = jax.nn.sigmoid(read[0] + held[0]), jax.nn.sigmoid(read[1] + held[1])
        n = jnp.tanh(read[2] + r * held[2])
        return ((1 - z) * n + z * h,), None

    start = jnp.zeros((x.shape[0], p["state"].shape[-1]), jnp.float32)
    cell, state = (lstm, (start, start)) if kind == "lstm" else (gru, (start,))
    (h, *_), _ = jax.lax.scan(cell, state, x.transpose(1, 0, 2))
    return h @ p["out"].T + p["out_bias"]


def network(kind: Kind, weights: dict[str, np.ndarray]) -> Graph:
    """The trained network as a float graph from images in [0, 1] [8, 8] to 10 logits."""
    nodes = [Node("image", Input((SIZE, SIZE)))]

    def emit(name: str, op: Op, *inputs: str) -> str:
        nodes.append(Node(name, op, inputs))
        return name

    cell = Cell(kind, *(weights[part] for part in ("weight", "state", "bias", "state_bias")))
    last = unrolled(emit, kind, rows(emit, kind, "image", SIZE, SIZE), cell).hidden
    emit("logits", Dense(weights["out"], weights["out_bias"]), last)
    return Graph(f"digits-{kind}", tuple(nodes))


def _initial(kind: Kind, training: Training) -> dict[str, Array]:
    gates, hidden = GATES[kind], training.hidden
    shapes = {"weight": (gates, hidden, SIZE), "state": (gates, hidden, hidden), "out": (10, hidden)}
    keys = jax.random.split(jax.random.key(training.seed), len(shapes))
    parameters = {
        name: jax.random.normal(key, shape, jnp.float32) * jnp.float32(shape[-1] ** -0.5)
        for key, (name, shape) in zip(keys, shapes.items(), strict=True)
    }
    zeros = jnp.zeros((gates, hidden), jnp.float32)
    return parameters | {"bias": zeros, "state_bias": zeros, "out_bias": jnp.zeros(10, jnp.float32)}
