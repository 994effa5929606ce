"""Spike counts that every simulator must reproduce: NumPy in float64, where all sums of the workloads are exact."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Shaped

from experiments.benchmarks.peers.network import Network, Pool
from neuro.errors import BadInput

EXACT = 2**24
"""Integers up to here have a float32."""


def currents(h: Shaped[np.ndarray, "batch ..."], weight: np.ndarray) -> Shaped[np.ndarray, "batch ..."]:
    """What `weight`, [out, in] or [out, in, 3, 3] padded by one, makes of `h`, in the number type of `weight`."""
    if weight.ndim == 2:
        return h.reshape(len(h), -1).astype(weight.dtype) @ weight.T
    batch, channels, height, width = h.shape
    padded = np.pad(h.astype(weight.dtype), ((0, 0), (0, 0), (1, 1), (1, 1)))
    patches = np.lib.stride_tricks.sliding_window_view(padded, (1, 1, 3, 3))  # [batch, in, row, column, 1, 1, 3, 3]
    rows = patches.transpose(0, 2, 3, 1, 4, 5, 6, 7).reshape(batch * height * width, channels * 9)
    found = rows @ weight.reshape(len(weight), -1).T
    return found.reshape(batch, height, width, -1).transpose(0, 3, 1, 2)


def pooled(
    spikes: Shaped[np.ndarray, "batch channel row column"], pool: Pool
) -> Shaped[np.ndarray, "batch channel i j"]:
    """2x2: the greatest of four, or their mean as float32."""
    batch, channels, height, width = spikes.shape
    fours = spikes.reshape(batch, channels, height // 2, 2, width // 2, 2)
    return fours.max(axis=(3, 5)) if pool == "max" else fours.mean(axis=(3, 5), dtype=np.float32)


@dataclass(frozen=True)
class Counted:
    """counts: spikes of every neuron over all steps, layer by layer [batch, neuron], neurons as (channel, row, column).

    events: of each layer, what leaves it behind its pooling that is not zero.
    """

    counts: list[Shaped[np.ndarray, "batch _"]]
    events: list[int]


def run(network: Network) -> Counted:
    """What `network` does.

    BadInput: a membrane leaves the range in which float32 holds every multiple of half the grid.
    """
    weights = [weight.astype(np.float64) for weight in network.weights]
    first = currents(network.x, weights[0])
    membranes: list[np.ndarray] = []
    fired: list[np.ndarray] = []
    events, greatest = [0] * len(weights), 0.0
    for _ in range(network.steps):
        spikes: np.ndarray | None = None
        for layer, (weight, threshold) in enumerate(zip(weights, network.thresholds, strict=True)):
            current = first if spikes is None else currents(spikes, weight)
            if layer == len(membranes):
                membranes.append(np.zeros_like(current))
                fired.append(np.zeros(current.shape, np.int32))
            membranes[layer] += current
            greatest = max(greatest, float(np.abs(membranes[layer]).max()))
            spikes = membranes[layer] >= threshold
            membranes[layer] -= spikes * threshold
            fired[layer] += spikes
            if layer in network.pooled:
                spikes = pooled(spikes, network.pool)
            events[layer] += np.count_nonzero(spikes)
    if greatest >= EXACT * network.grid / 2:
        raise BadInput(
            f"a membrane of the workload reaches {greatest:g}, beyond {EXACT * network.grid / 2:g}: float32 simulators "
            f"would round it; use a coarser grid than {network.grid:g}"
        )
    return Counted([count.reshape(len(count), -1) for count in fired], events)


def spikes_of(
    current: Shaped[np.ndarray, "time batch ..."], threshold: int | float
) -> Bool[np.ndarray, "time batch ..."]:
    """The spikes of one layer of integrate-and-fire neurons."""
    membrane, spikes = np.zeros_like(current[0]), np.empty(current.shape, bool)
    for step, arriving in enumerate(current):
        membrane += arriving
        np.greater_equal(membrane, threshold, out=spikes[step])
        membrane -= spikes[step] * current.dtype.type(threshold)
    return spikes


def densities(found: Sequence[np.ndarray], steps: int) -> list[float]:
    """Spikes for each neuron and step, layer by layer."""
    return [float(count.mean()) / steps for count in found]
