"""Training what is left of a network, or what is quantised of it, on labelled items."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from converters.compression.tunable import Parameters
from converters.readout import check_classes
from neuro.errors import BadInput

Forward: TypeAlias = Callable[[Parameters, Float[Array, "batch ..."]], Float[Array, "batch output"]]
"""The outputs of a network for parameters and input counts."""


@dataclass(frozen=True)
class Schedule:
    """Passes over the items, items of a step, the rate of learning at the start (it falls to zero along a cosine), and
    the seed of the order."""

    epochs: int = 10
    batch: int = 50
    rate: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1 or not self.rate > 0 or self.seed < 0:
            raise BadInput(f"{self}: epochs and batch begin at 1, the seed at 0, and the rate is above 0.")


def finetuned(
    forward: Forward,
    parameters: Parameters,
    counts: Int[np.ndarray, "item ..."],
    labels: Int[np.ndarray, "item"],
    schedule: Schedule,
    advance: Callable[[int], None] = lambda done: None,
) -> Parameters:
    """The parameters after training by Adam on the cross-entropy of the outputs; of one output on that of yes and no.

    Deterministic on one machine. advance: called after every epoch.

    Raises:
        BadInput: fewer items than labels or none, labels beyond the outputs, or a loss that is no number any more.
    """
    outputs = jax.eval_shape(forward, parameters, jnp.zeros((1, *counts.shape[1:]), jnp.float32)).shape[1]
    if not len(counts) or len(counts) != len(labels):
        raise BadInput(f"{len(counts):,} training items and {len(labels):,} labels; fine-tuning needs one for each.")
    check_classes(labels, outputs, "y_train")
    size = min(schedule.batch, len(counts))
    steps = schedule.epochs * (len(counts) // size)
    optimiser = optax.adam(optax.cosine_decay_schedule(schedule.rate, steps))

    def loss(parameters: Parameters, x: Array, y: Array) -> Array:
        found = forward(parameters, x)
        if outputs == 1:
            return optax.sigmoid_binary_cross_entropy(found[:, 0], y.astype(jnp.float32)).mean()
        return optax.softmax_cross_entropy_with_integer_labels(found, y).mean()

    @jax.jit
    def step(parameters, state, x, y):
        missed, gradient = jax.value_and_grad(loss)(parameters, x, y)
        updates, state = optimiser.update(gradient, state, parameters)
        return optax.apply_updates(parameters, updates), state, missed

    rng = np.random.default_rng(schedule.seed)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes Python floats with integer counters
        state, missed = optimiser.init(parameters), jnp.float32(0)
        for _ in range(schedule.epochs):
            order = rng.permutation(len(counts))
            for first in range(0, len(counts) - size + 1, size):
                chosen = order[first : first + size]
                x, y = jnp.asarray(counts[chosen], jnp.float32), jnp.asarray(labels[chosen], jnp.int32)
                parameters, state, missed = step(parameters, state, x, y)
            advance(1)
    if not np.isfinite(float(missed)):
        raise BadInput(f"fine-tuning diverged at a rate of {schedule.rate:g}; give a smaller --rate.")
    return parameters
