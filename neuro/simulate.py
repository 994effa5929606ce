"""Time-stepped execution of a spiking graph with JAX: spikes in, spikes out, layer after layer.

A feed-forward layer runs all its time steps before the next one starts: its spikes are the same, only shifted by
the schedule. Between layers there are only spikes, so a faster kernel can take the place of any layer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from neuro import codes
from neuro.evaluate import apply
from neuro.graph import Graph
from neuro.layers import (
    Add,
    Concat,
    Input,
    MaxPool,
    MultiThreshold,
    NormNeurons,
    Op,
    Product,
    Reshape,
    Scale,
    SoftmaxNeurons,
    Threshold,
    Transpose,
)
from neuro.trains import Trains


@partial(jax.tree_util.register_dataclass, data_fields=["spikes", "output", "peak"], meta_fields=[])
@dataclass(frozen=True)
class Run:
    """What a batch of samples did.

    spikes: by population, the step axis local to its window. output: the read-out's membrane. peak: the largest
    membrane that a sample would have reached under the rate code, which has no bound but the run; 0 under exact
    codes, whose bound is proved.
    """

    spikes: Mapping[str, Trains]
    output: Float[Array, "batch ..."]
    peak: Float[Array, "batch"]


def simulate(graph: Graph, counts: Float[Array, "batch ..."], limit: float = float("inf")) -> Run:
    """Spikes of every population and the read-out's membrane for a batch of input counts.

    The input's spikes are produced and counted step by step, but under an exact code its receivers integrate the
    window at once: the membrane after it is the same. limit: under the rate code membranes saturate at this
    magnitude, as they do on a chip; exact codes are proved never to get there.

    Raises:
        ValueError: the graph carries no schedule.
    """
    if graph.schedule is None:
        raise ValueError(f"{graph.name} has no schedule; encode it first")
    code = graph.schedule.code
    spikes: dict[str, Array] = {}
    trains: dict[str, Array] = {}  # spikes of every population, also reshaped and transposed
    currents: dict[str, Array] = {}  # [step, batch, ...] of every node
    peak = jnp.zeros(counts.shape[0], jnp.float32)
    for node in graph.nodes:
        feeds = [currents[i] for i in node.inputs]
        match node.op:
            case Input(levels=levels):
                window = graph.schedule.windows[node.name].steps
                spikes[node.name] = codes.encode(code, counts, levels, window)
                at_once = codes.is_exact(code)
                currents[node.name] = counts[None] if at_once else spikes[node.name].astype(jnp.float32)
            case Threshold():
                spikes[node.name], reached = _fire(code, node.op, feeds[0], limit)
                peak = jnp.maximum(peak, reached)
                currents[node.name] = spikes[node.name].astype(jnp.float32)
            case MaxPool():
                spikes[node.name] = codes.pool(code, node.op, trains[node.inputs[0]])
                currents[node.name] = spikes[node.name].astype(jnp.float32)
            case MultiThreshold() | SoftmaxNeurons() | NormNeurons():
                if not codes.is_exact(code):
                    raise ValueError(f"{node.name}: its neurons emit only after their window")
                spikes[node.name] = codes.emit_value(code, node.op, codes.integrate(code, feeds[0]))
                currents[node.name] = spikes[node.name].astype(jnp.float32)
            case Product():
                # every spike of one side brings the other's sum so far: once both windows are over, the values' product
                currents[node.name] = apply(node.op, *(codes.integrate(code, feed) for feed in feeds))[None]
            case Add():
                currents[node.name] = jnp.add(*_aligned(feeds))
            case Concat():
                currents[node.name] = jnp.concatenate(_aligned(feeds), axis=node.op.axis + 2)
            case Scale():  # the read-out: its bias comes once, or in every step of the rate code
                bias = jnp.asarray(node.op.offset, jnp.float32)[None]
                if code == "rate":
                    output, reached = codes.accumulate(feeds[0] + bias[None], limit)
                    peak = jnp.maximum(peak, reached)
                else:
                    output = codes.integrate(code, feeds[0]) + bias
                currents[node.name] = output[None]
            case _:
                currents[node.name] = _each_step(node.op, feeds[0])
                if node.inputs[0] in trains and isinstance(node.op, Reshape | Transpose):
                    moved = trains[node.inputs[0]]
                    trains[node.name] = _each_step(node.op, moved.astype(jnp.float32)).astype(moved.dtype)
        if node.name in spikes:
            trains[node.name] = spikes[node.name]
    final = currents[graph.output.name]
    output = final[0] if isinstance(graph.output.op, Scale) else codes.integrate(code, final)
    return Run(spikes, output, peak)


def _each_step(op: Op, values: Array) -> Array:
    step, batch, *rest = values.shape
    result = apply(op, values.reshape(step * batch, *rest))
    return result.reshape(step, batch, *result.shape[1:])


def _fire(
    code: codes.Code, op: Threshold, currents: Float[Array, "step batch ..."], limit: float
) -> tuple[Array, Array]:
    if code == "rate":
        return codes.fire_rate(op, currents, limit)
    start = jnp.asarray(op.bias + op.initial, jnp.float32)
    membrane = codes.integrate(code, currents)
    membrane = membrane + start.reshape((1,) * (membrane.ndim - start.ndim) + start.shape)
    return codes.emit(code, op, membrane), jnp.zeros(membrane.shape[0], jnp.float32)


def _aligned(feeds: list[Array]) -> list[Array]:
    """All currents with the longest one's number of steps: windows end together, so silence comes first."""
    longest = max(current.shape[0] for current in feeds)
    return [jnp.pad(c, ((longest - c.shape[0], 0),) + ((0, 0),) * (c.ndim - 1)) for c in feeds]
