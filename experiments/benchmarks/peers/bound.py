"""What a workload costs at least: plain products at the rate of a matrix product, or its events at that of L2."""

from dataclasses import dataclass
from math import prod

from experiments.benchmarks.peers.network import Network


@dataclass(frozen=True)
class Work:
    """products: multiply-adds of dense products in all steps; operations: synaptic operations that spikes bring about.

    The product of the first layer counts once, its current being constant, and no spike brings it about. updates:
    neurons x steps x batch. rows: of the matrix product of every layer, all steps in one, its inner and outer length.
    """

    products: int
    operations: int
    updates: int
    rows: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Rates:
    """Measured on one core: bytes a second read and added from L2; s for one neuron update in registers."""

    bandwidth: float
    update: float


def work(network: Network, events: list[int]) -> Work:
    """events: of each layer, what leaves it (behind its pooling) in all steps and samples."""
    batch, steps = len(network.x), network.steps
    shape: tuple[int, ...] = network.x.shape[1:]
    rows: list[tuple[int, int, int]] = []
    operations, updates, products = 0.0, 0, 0
    for layer, weight in enumerate(network.weights):
        inner, outer, times = prod(weight.shape[1:]), len(weight), 1 if layer == 0 else steps
        out = (outer, *shape[1:]) if weight.ndim == 4 else (outer,)
        places = prod(out[1:])
        rows.append((times * batch * places, inner, outer))
        products += times * batch * places * inner * outer
        updates += batch * steps * places * outer
        if layer:
            operations += events[layer - 1] * outer * (9 * inside(shape) if weight.ndim == 4 else 1)
        shape = (outer, *(side // 2 for side in out[1:])) if layer in network.pooled else out
    return Work(products, round(operations), updates, tuple(rows))


def inside(shape: tuple[int, ...]) -> float:
    """The share of the nine places around a neuron of a [channel, row, column] layer inside it, over all neurons."""
    return (1 - 2 / (3 * shape[1])) * (1 - 2 / (3 * shape[2]))


def seconds(found: Work, bytes_per_weight: int | float, rates: Rates) -> float:
    """The event bound of one core: operations x bytes over the bandwidth of L2, and the updates."""
    return found.operations * bytes_per_weight / rates.bandwidth + found.updates * rates.update
