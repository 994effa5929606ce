"""Recurrent networks that read the 8x8 digits row by row: trained here, converted, and held against their integers."""

from dataclasses import astuple, dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from converters.encode import encode
from converters.fold import fold
from converters.importers.recurrent import Cell, rows, unrolled
from converters.quantise import reference
from converters.readout import real
from experiments.datasets.arrays import CALIBRATION
from experiments.datasets.data import fit, from_arrays, preprocess
from experiments.datasets.dataset import Preprocessing
from experiments.datasets.digits import LARGEST_COUNT
from experiments.datasets.images import digit_images, digits
from experiments.progress import silent
from experiments.run import outputs, run
from neuro.codes import Code
from neuro.graph import Graph, Node
from neuro.layers import Dense, Input, Op

Kind = Literal["lstm", "gru"]
GATES = {"lstm": 4, "gru": 3}
SIZE = 8
"""Rows of an image, and pixels of a row."""
LEVELS = ((7, None), (15, None), (63, None), (255, None), (7, 63), (15, 63))
"""Levels of layers and of operands of products that are tried."""


@dataclass(frozen=True)
class Training:
    """What decides the weights."""

    hidden: int = 24
    epochs: int = 40
    batch: int = 50
    rate: float = 1e-2
    decay: float = 0.3
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

    def each(x, weight, bias):
        return [x @ weight[gate].T + bias[gate][None] for gate in range(len(weight))]

    def lstm(carry, row):
        h, c = carry
        read, held = each(row, p["weight"], p["bias"]), each(h, p["state"], p["state_bias"])
        i, f, g, o = (a + b for a, b in zip(read, held, strict=True))
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    def gru(carry, row):
        (h,) = carry
        read, held = each(row, p["weight"], p["bias"]), each(h, p["state"], p["state_bias"])
        r, z = jax.nn.sigmoid(read[0] + held[0]), jax.nn.sigmoid(read[1] + held[1])
        n = jnp.tanh(read[2] + r * held[2])
        return ((1 - z) * n + z * h,), None

    start = jnp.zeros((x.shape[0], p["state"].shape[-1]), jnp.float32)
    cell, state = (lstm, (start, start)) if kind == "lstm" else (gru, (start,))
    (h, *_), _ = jax.lax.scan(cell, state, x.transpose(1, 0, 2))
    return h @ p["out"].T + p["out_bias"][None]


def network(kind: Kind, weights: dict[str, np.ndarray]) -> Graph:
    """The trained network as a float graph from images in [0, 1] [8, 8] to 10 logits."""
    nodes = [Node("image", Input((SIZE, SIZE)))]

    def emit(name: str, op: Op, *inputs: str) -> str:
        nodes.append(Node(name, op, inputs))
        return name

    cell = Cell(kind, weights["weight"], weights["state"], weights["bias"], weights["state_bias"])
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


@dataclass(frozen=True)
class Row:
    """One conversion.

    operands: levels of neurons that only round and feed a product. exact, integer: accuracy of the float and of the
    integer network, in %; agreement: share of decisions that both make alike, in %; error: of the integer logits, root
    mean square relative to that of the float ones. mismatches: of `checked` values between spikes and integers: all
    neurons, items and logits.
    """

    kind: Kind
    levels: int
    operands: int
    neurons: int
    steps: int
    exact: float
    integer: float
    agreement: float
    error: float
    mismatches: int
    checked: int


def row(kind: Kind, graph: Graph, levels: int, operands: int | None = None, code: Code = "bits") -> Row:
    """Converts a network of images in [0, 1], runs it under `code` and compares."""
    dataset = preprocess(from_arrays("digits", digits()), Preprocessing(scale=1 / LARGEST_COUNT))
    fitted = fit(dataset, graph.shapes[graph.input.name], None)
    folded = fold(graph, fitted.gain, fitted.offset)
    form = reference(folded, fitted.calibration_counts, fitted.levels, levels, operand_levels=operands)
    spiking = encode(form.graph, code)
    ran = run(spiking, form.graph, fitted.counts, {}, silent("code", 0))
    exact, got = outputs(graph, fitted.network_input), real(graph, form, outputs(form.graph, fitted.counts))
    decided, wanted = exact.argmax(1), got.argmax(1)
    assert spiking.schedule is not None
    assert ran.checked is not None
    assert ran.mismatches is not None
    return Row(
        kind=kind,
        levels=levels,
        operands=operands or levels,
        neurons=ran.neurons,
        steps=spiking.schedule.total,
        exact=100 * float((decided == fitted.y).mean()),
        integer=100 * float((wanted == fitted.y).mean()),
        agreement=100 * float((decided == wanted).mean()),
        error=float(np.sqrt(((got - exact) ** 2).mean() / (exact**2).mean())),
        mismatches=ran.mismatches,
        checked=ran.checked,
    )


def main(levels: tuple[tuple[int, int | None], ...] = LEVELS) -> list[Row]:
    """Trains and converts both cells and prints a line for each of `levels` (of layers, of operands)."""
    rows = []
    print(",".join(Row.__dataclass_fields__))
    for kind in ("lstm", "gru"):
        graph = network(kind, train(kind))
        for each, operands in levels:
            rows.append(row(kind, graph, each, operands))
            print(",".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in astuple(rows[-1])), flush=True)
    return rows


if __name__ == "__main__":
    main()
