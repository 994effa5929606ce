"""Random layered networks whose thresholds are set so that every layer fires at a wanted density.

The current of the first layer is constant; deeper layers hear the spikes of the one before. Weights are integers as of
a quantised network, or multiples of a power of 2 with a threshold near 1: in both, float32 sums are exact in any order.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Shaped

from experiments.benchmarks.peers.network import Network, Pool
from experiments.benchmarks.peers.reference import currents, pooled, spikes_of

Kind: TypeAlias = Literal["int8", "float32"]
LEVELS = 15
"""Greatest count of an input."""
GRID = 2.0**-16
"""Of float32 weights and thresholds: 24 bits then hold membranes up to 128 thresholds, half steps included."""
COARSE = 2.0**-13
"""The same up to 1,024 thresholds, where every neuron fires in every step and many hear much more than one."""
DEVIATION = 127 / 4
"""Of int8 weights: one in 16,000 is cut off at 127."""


@dataclass(frozen=True)
class Form:
    """The shape of a network: of one input, of its weights, where it is pooled; how many inputs and steps."""

    inputs: tuple[int, ...]
    weights: tuple[tuple[int, ...], ...]
    pooled: tuple[int, ...]
    batch: int
    steps: int


DENSE = Form((784,), ((1200, 784), (1200, 1200), (10, 1200)), (), 128, 32)
CONVOLUTIONAL = Form(
    (3, 32, 32),
    ((64, 3, 3, 3), (64, 64, 3, 3), (128, 64, 3, 3), (128, 128, 3, 3), (256, 128, 3, 3), (256, 256, 3, 3), (10, 4096)),
    (1, 3, 5),
    32,
    16,
)


def draw(form: Form, kind: Kind, density: float, pool: Pool = "max", seed: int = 0) -> Network:
    """A network of `form` all layers of which fire at `density`, the same for the same arguments; at 1 with positive
    weights only, as every neuron fires in every step."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, LEVELS + 1, (form.batch, *form.inputs))
    if len(form.inputs) == 1:
        x *= rng.random(x.shape) < 0.5  # as an image with a dark ground
    x = x.astype(np.uint8)
    grid = 1.0 if kind == "int8" else COARSE if density == 1 else GRID
    weights, thresholds, h = [], [], np.broadcast_to(x, (form.steps, *x.shape))
    for layer, shape in enumerate(form.weights):
        drawn = rng.standard_normal(shape).astype(np.float32)
        if density == 1:
            drawn = np.abs(drawn)
        elif layer == 0:  # inputs are never negative: with a mean left in, a whole channel would fire or be silent
            drawn -= drawn.mean(axis=tuple(range(1, drawn.ndim)), keepdims=True)
        weight, threshold, spikes = calibrated(h, drawn, density, grid)
        weights.append(weight)
        thresholds.append(threshold)
        h = np.stack([pooled(s, pool) for s in spikes]) if layer in form.pooled else spikes
    return Network(x, form.steps, tuple(weights), tuple(thresholds), form.pooled, pool, grid)


def calibrated(
    h: Shaped[np.ndarray, "time batch ..."], drawn: np.ndarray, density: float, grid: float
) -> tuple[np.ndarray, int | float, Shaped[np.ndarray, "time batch ..."]]:
    """Weights on `grid` from normal deviates (int8 where that is 1), the threshold that gives `density`, and the spikes
    of the layer."""
    if grid == 1:
        weight = np.clip(np.rint(drawn * DEVIATION), -127, 127).astype(np.float32)
        current = over_time(h, weight)
        threshold = threshold_at(current, density)
        return weight.astype(np.int8), int(threshold), spikes_of(current, threshold)
    drawn = drawn / threshold_at(over_time(h, drawn), density, grid=None)
    weight = (np.rint(drawn / grid) * grid).astype(np.float32)
    current = over_time(h, weight)
    threshold = threshold_at(current, density, grid)
    return weight, threshold, spikes_of(current, threshold)


def over_time(h: Shaped[np.ndarray, "time batch ..."], weight: np.ndarray) -> Shaped[np.ndarray, "time batch ..."]:
    """Currents of every step, float32; a constant input is multiplied once."""
    if h.strides[0] == 0:
        return np.broadcast_to(constant := currents(h[0], weight), (len(h), *constant.shape))
    return np.stack([currents(step, weight) for step in h])


def threshold_at(current: Shaped[np.ndarray, "time batch ..."], density: float, grid: float | None = 1.0) -> float:
    """The threshold, a multiple of `grid`, above which fewer than `density` of all neurons and steps fire.

    Bisection on a logarithmic scale: density falls as the threshold rises. All fire at what the least of them gets.
    """
    if density == 1:
        least = float(current.min())
        return least if grid is None else max(np.floor(least / grid), 1) * grid
    low, high = grid or 1e-6, 2 * float(np.abs(current).max()) * len(current)
    while high / low > 1.001:
        middle = float(np.sqrt(low * high))
        found = spikes_of(current, middle).mean()
        if abs(found / density - 1) < 0.005:
            low = high = middle
        elif found > density:
            low = middle
        else:
            high = middle
    return high if grid is None else max(round(high / grid), 1) * grid
