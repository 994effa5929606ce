"""The two small networks on digits that conversions are judged on: 64-128x4-10, and eight layers of convolutions."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from neuro.evaluate import apply
from neuro.graph import Graph, Node
from neuro.layers import AvgPool, Conv, Dense, Input, Op, Relu, Reshape

Kind = Literal["mlp", "cnn"]
LARGEST_COUNT = 16.0
BATCH, RATE, DECAY = 50, 2e-3, 1e-2


def layers(kind: Kind, seed: int) -> list[Op]:
    """Operators with random weights (Kaiming) and no biases yet."""
    rng = np.random.default_rng(seed)

    def dense(enter: int, leave: int) -> Dense:
        weight = rng.normal(size=(leave, enter)) * (2 / enter) ** 0.5
        return Dense(weight.astype(np.float32), np.zeros(leave, np.float32))

    def conv(enter: int, leave: int) -> Conv:
        weight = rng.normal(size=(leave, enter, 3, 3)) * (2 / (9 * enter)) ** 0.5
        return Conv(weight.astype(np.float32), np.zeros(leave, np.float32), (1, 1), ((1, 1), (1, 1)))

    if kind == "mlp":
        hidden = [op for enter in (64, 128, 128, 128) for op in (dense(enter, 128), Relu())]
        return [Reshape((64,)), *hidden, dense(128, 10)]
    before = [op for sizes in ((1, 16), (16, 24), (24, 24)) for op in (conv(*sizes), Relu())]
    after = [op for sizes in ((24, 32), (32, 32), (32, 32)) for op in (conv(*sizes), Relu())]
    pool = AvgPool((2, 2), (2, 2), ((0, 0), (0, 0)))
    return [*before, pool, *after, Reshape((512,)), dense(512, 64), Relu(), dense(64, 10)]


def trained(kind: Kind, seed: int, x: np.ndarray, y: np.ndarray, epochs: int = 30) -> Graph:
    """A network trained by Adam on counts x [item, 1, 8, 8] and classes y; its input are counts / 16."""
    ops = layers(kind, seed)
    parameters = {
        str(k): (jnp.asarray(op.weight), jnp.asarray(op.bias))
        for k, op in enumerate(ops)
        if isinstance(op, Conv | Dense)
    }

    def forward(parameters, batch):
        for k, op in enumerate(ops):
            if isinstance(op, Conv | Dense):
                weight, bias = parameters[str(k)]
                batch = _weighted(op, weight, batch) + bias.reshape(1, -1, *(1,) * (batch.ndim - 2))
            else:
                batch = apply(op, batch)
        return batch

    def loss(parameters, images, labels):
        return optax.softmax_cross_entropy_with_integer_labels(forward(parameters, images), labels).mean()

    batches = len(x) // BATCH
    optimiser = optax.adamw(optax.cosine_decay_schedule(RATE, epochs * batches), weight_decay=DECAY)

    @jax.jit
    def epoch(carry, key):
        order = jax.random.permutation(key, len(x))[: batches * BATCH].reshape(batches, BATCH)
        shifts = jax.random.randint(jax.random.fold_in(key, 1), (batches, 2), -1, 2)

        def step(carry, batch):
            parameters, state = carry
            items, shift = batch
            moved = jnp.roll(images[items], (shift[0], shift[1]), (2, 3))
            updates, state = optimiser.update(jax.grad(loss)(parameters, moved, labels[items]), state, parameters)
            return (optax.apply_updates(parameters, updates), state), None

        return jax.lax.scan(step, carry, (order, shifts))[0]

    images, labels = jnp.asarray(x, jnp.float32) / LARGEST_COUNT, jnp.asarray(y, jnp.int32)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes Python floats with integer counters
        carry = (parameters, optimiser.init(parameters))
        for key in jax.random.split(jax.random.key(seed), epochs):
            carry = epoch(carry, key)
    found = {k: (np.asarray(weight), np.asarray(bias)) for k, (weight, bias) in carry[0].items()}
    nodes = [Node("input", Input((1, 8, 8)))]
    for k, op in enumerate(ops):
        if isinstance(op, Conv):
            weight, bias = found[str(k)]
            op = Conv(weight, bias, op.stride, op.pads)
        elif isinstance(op, Dense):
            weight, bias = found[str(k)]
            op = Dense(weight, bias)
        nodes.append(Node(f"{k}", op, (nodes[-1].name,)))
    return Graph(kind, tuple(nodes))


def _weighted(op: Conv | Dense, weight, batch):
    if isinstance(op, Dense):
        return batch @ weight.T
    return jax.lax.conv_general_dilated(batch, weight, op.stride, op.pads)
