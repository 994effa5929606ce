"""From a folded float graph to an integer network: weights, thresholds, biases and level counts.

    V_c = sum_i W_ci N_i + B_c + floor(th_c / 2),   N_c = clip(floor(V_c / th_c), 0, L)

W = round(w s_in / s_w), th = max(1, round(s_out / s_w)), B = round(b / s_out th): biases are expressed in threshold
units, which removes the threshold's own rounding error, and no multiplier is left at run time.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from converters.calibrate import least_squares_clip, percentile
from converters.lower import along, lower, uniform
from neuro.errors import BadInput, Unsupported
from neuro.evaluate import apply, evaluate
from neuro.graph import Graph, Node
from neuro.layers import AvgPool, Input, Relu
from neuro.stages import bounds, populations, propagate, sources, stage

EXACT_FLOAT32 = 2**24
"""Integers up to here are exact in float32."""
RANGES = {"levels": (1, 255), "input_levels": (1, 65535), "weight_bits": (2, 8), "steps": (1, 4096)}
"""Smallest and largest value of each option."""


@dataclass(frozen=True)
class Quantised:
    """An integer network and what one count of each population stands for (`scales`, maps of the sample's shape)."""

    graph: Graph
    scales: dict[str, np.ndarray]


def check_ranges(**options: int) -> None:
    """Refuses `levels`, `input_levels`, `weight_bits` or `steps` outside `RANGES`.

    Raises:
        BadInput: naming the option, its value and its range.
    """
    for name, value in options.items():
        low, high = RANGES[name]
        if not low <= value <= high:
            raise BadInput(f"--{name.replace('_', '-')} {value} is out of range; give {low} to {high}.")


def reference(
    folded: Graph, counts: np.ndarray, input_levels: int, levels: int = 15, weight_bits: int = 8
) -> Quantised:
    """The integer reference: per-channel clipping values of least squared error, layer after layer.

    counts [item, *shape]: calibration items as input counts; each layer is calibrated on the counts that the integer
    layers before it give.

    Raises:
        BadInput: levels or bits out of range, or sums that float32 cannot hold exactly.
        Unsupported: layers that have no integer form.
    """
    check_ranges(levels=levels, input_levels=input_levels, weight_bits=weight_bits)
    nodes, scales = _start(folded, input_levels, 1.0)
    seen = {folded.input.name: jnp.asarray(counts, jnp.float32)}
    for population in populations(folded)[1:]:
        name, feeds = population.name, sources(folded, population.name)
        if isinstance(population.op, Relu):
            real = {s: seen[s] * jnp.asarray(scales[s], jnp.float32)[None] for s in feeds}
            activation = apply(population.op, propagate(folded, name, real))
            unit = least_squares_clip(activation, levels) / levels
            scales[name] = np.broadcast_to(along(unit, activation.ndim - 1), activation.shape[1:])
            nodes += lower(folded, name, scales, weight_bits, unit, levels)
        elif name == folded.output.name:
            nodes += lower(folded, name, scales, weight_bits)
            break
        else:
            nodes += _pool(folded, population, nodes)
            scale = {s: jnp.asarray(scales[s], jnp.float32)[None] for s in feeds}
            channel = uniform(np.asarray(propagate(folded, name, scale))[0].astype(np.float64))
            scales[name] = np.broadcast_to(along(channel, len(folded.shapes[name])), folded.shapes[name])
        integer = Graph(folded.name, tuple(nodes))
        seen[name] = apply(integer.output.op, propagate(integer, name, seen))
    return _checked(Quantised(Graph(folded.name, tuple(nodes)), scales))


def rate(folded: Graph, counts: np.ndarray, input_levels: int, steps: int = 64, weight_bits: int = 8) -> Quantised:
    """The classical rate-coded network: one threshold a layer at the 99.9th percentile of its activations.

    A spike stands for the percentile (Rueckauer 2017), so weights absorb the ratio of percentiles; weights of a layer
    share one scale, so that a layer has one threshold. `levels` of the result is the number of steps.

    Raises:
        BadInput: steps or bits out of range. Unsupported: layers that have no integer form.
    """
    check_ranges(steps=steps, input_levels=input_levels, weight_bits=weight_bits)
    values = evaluate(folded, jnp.asarray(counts, jnp.float32))
    nodes, scales = _start(folded, input_levels, float(input_levels))
    for population in populations(folded)[1:]:
        name, shape = population.name, folded.shapes[population.name]
        if isinstance(population.op, Relu):
            largest = percentile(values[name])
            scales[name] = np.full(shape, largest)
            unit = np.full(shape[0], largest)
            nodes += lower(folded, name, scales, weight_bits, unit, steps, per_channel=False)
        elif name == folded.output.name:
            nodes += lower(folded, name, scales, weight_bits)
        else:
            nodes += _pool(folded, population, nodes)
            scales[name] = np.full(shape, scales[sources(folded, name)[0]].flat[0])
    return _checked(Quantised(Graph(folded.name, tuple(nodes)), scales))


def _start(folded: Graph, levels: int, scale: float) -> tuple[list[Node], dict[str, np.ndarray]]:
    name = folded.input.name
    shape = folded.shapes[name]
    return [Node(name, Input(shape, levels))], {name: np.full(shape, scale)}


def _pool(folded: Graph, population: Node, nodes: list[Node]) -> list[Node]:
    """A max-pool of counts with what reshapes them before it, as it is."""
    inner = stage(folded, population.name)
    if any(isinstance(node.op, AvgPool) for node in inner):
        raise Unsupported(f"{folded.name}: layer {population.name!r}: a max-pool of averages; put a layer between.")
    return [node for node in [*inner, population] if node.name not in {n.name for n in nodes}]


def _checked(quantised: Quantised) -> Quantised:
    over = {name: bound for name, bound in bounds(quantised.graph).items() if bound >= EXACT_FLOAT32}
    if over:
        worst = max(over, key=lambda name: over[name])
        raise BadInput(
            f"{quantised.graph.name}: layer {worst!r} may reach {over[worst]:,}, beyond {EXACT_FLOAT32:,} "
            "which is exact; lower --input-levels, --levels or --weight-bits."
        )
    return quantised
