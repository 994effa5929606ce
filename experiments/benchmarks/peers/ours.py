"""The compiled engine as the benchmark sees it: a layered network through the kernels, layer by layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from experiments.benchmarks.peers import network as files
from experiments.benchmarks.peers.bound import Rates
from experiments.benchmarks.peers.network import Network
from neuro import native
from neuro.engine import RATE_SOFT, Pool, driven, pooled
from neuro.entering import Entering, entering
from neuro.graph import Graph, Node
from neuro.layers import Conv, Dense, Input, MaxPool, Reshape, SumPool, Threshold
from neuro.stages import populations, propagate
from neuro.synaptic import Synapses, fire, synapses
from neuro.taps import Layout, by_channel, taps, windows
from neuro.trains import Packed, counts, lanes, unplaced

REPEATS, PROBE, TIMES = 15, 2**18, 200


@runtime_checkable
class Engine(Protocol):
    """One of our engines with one workload, everything compiled, packed and placed beforehand.

    `__call__` runs it once over all steps and samples and returns when that is done; nothing is kept from call to call.
    `counts` gives the spikes [batch, neuron] of every layer, neurons in the order (channel, row, column); for W3 what
    `cuba.checked` gives, for W4 the total of all spikes as [[n]]. `bytes_per_weight` is what a synaptic operation
    reads: the event bound is counted with it. `version` is free text for the record.
    """

    @property
    def bytes_per_weight(self) -> int | float: ...

    @property
    def version(self) -> str: ...

    def __call__(self) -> None: ...

    def counts(self) -> Sequence[np.ndarray]: ...


@dataclass(frozen=True, eq=False)
class Layered:
    """A `Network` on the kernels. run: spikes of the last layer (or, asked for all, of every layer) from the input."""

    run: partial
    network: Network
    bytes_per_weight: int | float
    version: str

    def __call__(self) -> None:
        """One run, to its end."""
        jax.block_until_ready(self.run(every=False))

    def counts(self) -> list[np.ndarray]:
        """Spikes [batch, neuron] of every layer."""
        return [np.asarray(c).reshape(len(self.network.x), -1) for c in self.run(every=True)]


def prepare(path: Path, threads: int, storage: str = "int8") -> Engine:
    """The compiled engine ready to run the workload file at `path` (see `network.load`).

    threads: how many cores it may use, which the process was given. storage: int8 or int16, of integer weights.
    NotImplementedError: a workload without layers.
    """
    here = native.kernels()
    if here.library is None:
        raise NotImplementedError(f"no compiled kernels: {here.reason}")
    return layered(files.load(path), storage)


def layered(network: Network, storage: str = "int8") -> Layered:
    """`network` prepared: the current of the first layer is computed once, all else event by event."""
    fired = spiking(network, storage)
    layers = [str(i) for i in range(len(network.weights))]

    @partial(jax.jit, static_argnames="every")
    def run(fired: jax.tree_util.Partial, every: bool) -> list[Array]:
        trains = fired()
        return [counts(trains[name], False) for name in (layers if every else layers[-1:])]

    kind = fired.args[0]["1"].weights.dtype
    how = f"{native.kernels().isa}, {kind} weights"
    return Layered(partial(run, fired), network, kind.itemsize, how)


def spiking(network: Network, storage: str = "int8") -> jax.tree_util.Partial:
    """The trains of all populations of `as_graph(network)` but the input, by name, once called under `jax.jit`."""
    graph = as_graph(network)
    real = np.issubdtype(network.weights[0].dtype, np.floating)
    layouts: dict[str, Layout] = {graph.input.name: by_channel(graph.input.op.shape)}  # type: ignore[union-attr]
    ready: dict[str, Synapses] = {}
    pools: dict[str, Pool] = {}
    first: Entering | None = None
    for node in populations(graph)[1:]:
        if isinstance(node.op, MaxPool):
            source, layouts[node.name], members = windows(graph, node.name, layouts)
            ends = np.cumsum([0, *(len(m) for m in members)]).astype(np.int32)
            pools[node.name] = Pool(source, ends, np.concatenate(members))
            continue
        found = taps(graph, node.name, layouts)
        layouts[node.name] = found.layout
        if found.sources != (graph.input.name,):
            made = synapses(found, [layouts[s] for s in found.sources], native.lane_bytes())
            ready[node.name] = made.stored(storage) if not real else made
        else:
            first = entering(graph, node.name)

    quarter = {i + 1 for i in network.pooled if network.pool == "average"}  # sums of four stand for their mean
    thresholds = [t * 4 if i in quarter else t for i, t in enumerate(network.thresholds)]

    def run(ready: dict[str, Synapses], first: Entering | None, x: Array) -> dict[str, Packed]:
        trains: dict[str, Packed] = {}
        for node in populations(graph)[1:]:
            layout = layouts[node.name]
            if node.name in pools:
                pool = pools[node.name]
                trains[node.name] = pooled(pool, trains[pool.source], layout, False)
                continue
            threshold = thresholds[int(node.name)]
            if node.name not in ready:
                if first is None:
                    arrived = propagate(graph, node.name, {graph.input.name: x})
                    drive = unplaced(arrived.astype(jnp.float32 if real else jnp.int32), layout)
                else:
                    drive = first(x)
                trains[node.name] = _driven(drive, threshold, network.steps, layout, real)
                continue
            neurons = _neurons(threshold, ready[node.name].lanes, layout, real)
            fired = fire(ready[node.name], neurons, False, trains, RATE_SOFT, network.steps, 0, watched=False)
            trains[node.name] = Packed(fired.bits, layout)
        return trains

    return jax.device_put(jax.tree_util.Partial(run, ready, first, jnp.asarray(network.x, jnp.float32)))


def as_graph(network: Network) -> Graph:
    """`network` as a graph whose populations are its layers by number; an average pool is a sum: its quarter is left
    to the threshold."""
    nodes = [Node("in", Input(tuple(network.x.shape[1:]), 15))]
    shape: tuple[int, ...] = tuple(network.x.shape[1:])
    last = "in"
    for i, weight in enumerate(network.weights):
        if weight.ndim == 4:
            nodes.append(Node(f"w{i}", Conv(weight, None, (1, 1), ((1, 1), (1, 1))), (last,)))
            shape = (len(weight), *shape[1:])
        else:
            if len(shape) > 1:
                nodes.append(Node(f"flat{i}", Reshape((prod(shape),)), (last,)))
                last = f"flat{i}"
            nodes.append(Node(f"w{i}", Dense(weight, None), (last,)))
            shape = (len(weight),)
        nodes.append(Node(str(i), Threshold(np.ones(1, np.int64), np.zeros(1, np.int64), 1), (f"w{i}",)))
        last = str(i)
        if i in network.pooled:
            pool = MaxPool if network.pool == "max" else SumPool
            nodes.append(Node(f"pool{i}", pool((2, 2), (2, 2), ((0, 0), (0, 0))), (last,)))
            shape, last = (shape[0], *(side // 2 for side in shape[1:])), f"pool{i}"
    return Graph("layered", tuple(nodes))


def _neurons(threshold: int | float, width: int, layout: Layout, real: bool) -> Array:
    """Threshold, no bias and a start of nothing; lanes beyond the channels are at rest and never fire."""
    channels = layout.neurons.shape[1]
    rows = np.zeros((3, 1, width), np.float32 if real else np.int32)
    rows[0] = 1
    rows[0, 0, :channels] = threshold
    return jnp.asarray(rows)


def _driven(drive: Array, threshold: int | float, steps: int, layout: Layout, real: bool) -> Packed:
    neurons = _neurons(threshold, lanes(layout), layout, real)
    return driven(drive, neurons, layout, RATE_SOFT, steps, 0, biased=False, watched=False)[0]


def rates() -> Rates | None:
    """What this core does now: bytes a second read and added from half a megabyte, seconds for one neuron update in
    registers with its spike stored as a bit; None without compiled kernels."""
    if native.kernels().library is None:
        return None
    call = jax.ffi.ffi_call(native.target("probe_read", native.kernels().isa), jax.ShapeDtypeStruct((8,), jnp.int16))
    read = jax.jit(partial(call, times=np.int32(TIMES)))
    data = jnp.ones(PROBE, jnp.int16)
    layout, steps = by_channel((4096,)), 512
    update = jax.jit(lambda drive: _driven(drive, 100, steps, layout, False).bits)
    drive = jnp.full((1, 1, 4096), 3, jnp.int32)
    return Rates(2 * PROBE * TIMES / _seconds(read, data), _seconds(update, drive) / (4096 * steps))


def _seconds(function, argument) -> float:
    jax.block_until_ready(function(argument))
    found = []
    for _ in range(REPEATS):
        begin = perf_counter()
        jax.block_until_ready(function(argument))
        found.append(perf_counter() - begin)
    return median(found)
