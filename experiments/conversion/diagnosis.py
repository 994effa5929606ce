"""Where a conversion loses: the error of every layer by its causes, and what each layer and each cause cost.

A cause is switched on in one layer alone, everything else left as it is in the float network; its error is the mean
square of what that changes, relative to the mean square of the layer's own values. Errors of causes that do not know
of each other add up; what is left of the total is printed as the rest.
"""

from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from converters import fold, hybrid
from converters.hybrid import ALL, CHANGES, NONE, Change, Counts, Pair
from converters.quantise import Quantised
from converters.readout import real
from experiments import decision
from experiments.conversion.convert import Conversion
from experiments.datasets.data import take
from experiments.progress import Progress, silent
from experiments.run import chunk_size
from neuro.codes import is_exact
from neuro.layers import FIRING, MaxPool
from neuro.stages import populations

INHERITED = "inherited"
SATURATION = "saturation"
ORDER = (INHERITED, *CHANGES, "unevenness", "lateness", SATURATION)
"""Causes as they are listed."""
MOST_ITEMS = {True: 1000, False: 200}
"""Test items that are looked at by default, under an exact code or not."""


@dataclass(frozen=True)
class LayerLoss:
    """Errors of one layer, each a mean square relative to that of the layer's float values.

    levels: of its neurons, 0 for the read-out, None for a pool. clipped: share of its float values above the largest
    level. causes: inherited from the layers before; clipping, levels, weights, each alone in this layer; under the
    rate code unevenness (spikes that could not be taken back) and lateness (charge left at the end, or spikes of a pool
    that are missing), and with a limit saturation. total: of the layer in the whole conversion; rest: total less all
    causes. alone: the score if this layer alone were float.
    """

    layer: str
    levels: int | None
    clipped: float | None
    causes: dict[str, float]
    total: float
    rest: float
    alone: float | None


@dataclass(frozen=True)
class Diagnosis:
    """What a conversion loses on `items` items.

    measure: "accuracy", or "rmse" in `unit`. scores: of the float network and of the converted one. on: the score with
    one cause alone in all layers; off: with this one left out of the conversion, None where it cannot be.
    """

    code: str
    items: int
    measure: str
    unit: str
    scores: dict[str, float | None]
    on: dict[str, float | None]
    off: dict[str, float | None]
    layers: tuple[LayerLoss, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def diagnose(
    done: Conversion, items: int | None = None, limit: float = float("inf"), progress: Progress = silent
) -> Diagnosis:
    """The diagnosis of a conversion on its first `items` test items, by default at most `MOST_ITEMS`.

    limit: under the rate code the largest magnitude of a membrane, where it saturates.
    """
    exact = is_exact(done.converted.code)
    counts = done.dataset.counts[: items or MOST_ITEMS[exact]]
    network, integer = done.source.network, done.converted.integer
    folded = fold.fold(network, done.dataset.gain, done.dataset.offset)
    steps = 0 if exact else done.converted.steps
    found = hybrid.pair(folded, integer, counts, steps)
    names = [n.name for n in populations(found.integer)[1:] if steps or not isinstance(n.op, MaxPool)]
    size = chunk_size(done.spiking, len(counts))
    runs = _runs(found, names, limit)
    advance = progress("diagnosis", len(runs) * len(counts))
    outputs: dict[str, list[np.ndarray]] = {key: [] for key in runs}
    sums: dict[str, dict[str, float]] = {name: {} for name in names}
    errors = jax.jit(lambda batch: _errors(found, batch, names, limit))
    for first in range(0, len(counts), size):
        batch = jnp.asarray(counts[first : first + size], jnp.float32)
        for name, entry in errors(batch).items():
            for key, value in entry.items():
                sums[name][key] = sums[name].get(key, 0.0) + float(value)
        for key, execute in runs.items():
            outputs[key].append(np.asarray(execute(batch)))
            advance(len(batch))
    form = Quantised(found.integer, dict(found.scales), dict(found.origins))
    scores = {key: _score(done, real(network, form, np.concatenate(parts))) for key, parts in outputs.items()}
    measure, unit = ("accuracy", "") if done.dataset.targets is None else ("rmse", done.dataset.unit)
    causes = (*CHANGES, *(("code",) if steps else ()))
    return Diagnosis(
        code=done.converted.code,
        items=len(counts),
        measure=measure,
        unit=unit,
        scores={"float": scores["float"], "converted": scores["converted"]},
        on={cause: scores.get(f"on {cause}") for cause in causes},
        off={cause: scores.get(f"off {cause}") for cause in causes},
        layers=tuple(_loss(found, name, sums[name], scores.get(f"alone {name}")) for name in names),
    )


def _runs(pair: Pair, names: list[str], limit: float) -> dict[str, Any]:
    """Functions from input counts to the read-out's membrane: the networks that are compared, by name."""
    last = pair.integer.output.name

    def still(changes):
        return jax.jit(lambda batch: _flat(hybrid.run(pair, pair.entering(batch), changes)[last]))

    def spiking(floats: frozenset[str]):
        return jax.jit(lambda batch: _flat(hybrid.fire(pair, batch, floats, limit)[last]))

    runs = {"float": still(lambda name: NONE)}
    for cause in CHANGES:
        runs[f"on {cause}"] = still(lambda name, cause=cause: frozenset([cause]))
    if pair.steps:
        runs["off code"] = still(lambda name: ALL)
    for cause in CHANGES if not pair.steps else ():
        runs[f"off {cause}"] = still(lambda name, cause=cause: ALL - {cause})
    runs["converted"] = spiking(frozenset()) if pair.steps else still(lambda name: ALL)
    for name in names:
        if isinstance(pair.integer[name].op, MaxPool):
            continue
        if pair.steps:
            runs[f"alone {name}"] = spiking(frozenset([name]))
        else:
            runs[f"alone {name}"] = still(lambda own, name=name: NONE if own == name else ALL)
    return runs


def _flat(values: Array) -> Array:
    return values.reshape(values.shape[0], -1)


def _errors(pair: Pair, batch: Array, names: list[str], limit: float) -> dict[str, dict[str, Array]]:
    """Sums of squares by layer and cause, over a batch; `signal` and `clipped` among them."""
    exact = hybrid.run(pair, pair.entering(batch), lambda name: NONE)
    actual = (
        hybrid.fire(pair, batch, limit=limit)
        if pair.steps
        else hybrid.run(pair, pair.entering(batch), lambda name: ALL)
    )
    return {name: _layer_errors(pair, name, exact, actual) for name in names}


def _layer_errors(pair: Pair, name: str, exact: Counts, actual: Counts) -> dict[str, Array]:
    op, scale = pair.integer[name].op, jnp.asarray(pair.scales[name], jnp.float32)[None]

    def square(difference: Array) -> Array:
        return ((difference * scale) ** 2).sum()

    found = {"signal": (pair.real(name, exact[name]) ** 2).sum(), "total": square(actual[name] - exact[name])}
    found["size"] = jnp.float32(exact[name].size)
    found[INHERITED] = square(hybrid.layer(pair, name, actual, NONE) - exact[name])
    possible: tuple[Change, ...] = CHANGES if isinstance(op, FIRING) else ()
    if not isinstance(op, (*FIRING, MaxPool)):
        possible = ("weights",)
    for cause in possible:
        found[cause] = square(hybrid.layer(pair, name, exact, frozenset([cause])) - exact[name])
    if isinstance(op, FIRING):
        found["clipped"] = (exact[name] > np.float32(op.levels * (1 + 1e-6))).sum(dtype=jnp.float32)
    if pair.steps:
        free = actual.get(f"{name}!", actual[name])
        if isinstance(op, (*FIRING, MaxPool)):
            off = free - hybrid.layer(pair, name, actual, ALL)
            found["unevenness"], found["lateness"] = square(jnp.maximum(off, 0)), square(jnp.minimum(off, 0))
        if f"{name}!" in actual:
            found[SATURATION] = square(actual[name] - free)
    return found


def _loss(pair: Pair, name: str, sums: dict[str, float], alone: float | None) -> LayerLoss:
    op, signal = pair.integer[name].op, max(sums["signal"], 1e-30)
    causes = {cause: sums[cause] / signal for cause in ORDER if cause in sums}
    total = sums["total"] / signal
    return LayerLoss(
        layer=name,
        levels=op.levels if isinstance(op, FIRING) else None if isinstance(op, MaxPool) else 0,
        clipped=sums["clipped"] / sums["size"] if "clipped" in sums else None,
        causes=causes,
        total=total,
        rest=total - sum(causes.values()),
        alone=alone,
    )


def _score(done: Conversion, values: np.ndarray) -> float | None:
    """Accuracy, or the root mean square error where there are real targets, on the first items."""
    dataset = done.dataset if len(values) == len(done.dataset.x) else take(done.dataset, len(values))
    if (error := decision.error(values, dataset)) is not None:
        return error["rmse"]
    return decision.accuracy(decision.classes(done.source.network, values), dataset)
