"""From a folded float graph to an integer network: weights, thresholds, biases and level counts.

    V_c = sum_i W_ci N_i + B_c + floor(th_c / 2),   N_c = clip(floor(V_c / th_c), 0, L)

W = round(w s_in / s_w), th = max(1, round(s_out / s_w)), B = round(b / s_out th): biases are expressed in threshold
units, which removes the threshold's own rounding error, and no multiplier is left at run time.
"""

from dataclasses import dataclass, replace
from math import prod

import jax
import jax.numpy as jnp
import numpy as np

from neuro.errors import BadInput, Unsupported
from neuro.evaluate import apply, evaluate
from neuro.graph import Graph, Node
from neuro.layers import Add, AvgPool, Conv, Dense, Input, Relu, Reshape, Scale, SumPool, Threshold, Transpose
from neuro.stages import bounds, populations, propagate, sources, stage

EXACT_FLOAT32 = 2**24  # integers up to here are exact in float32
THRESHOLD_CAP = 2**16  # keeps channels with tiny weights from inflating thresholds and state
_CLIPS = np.linspace(0.15, 1.0, 35)  # fractions of the largest activation tried as clipping value
_SHRINKS = np.linspace(0.5, 1.0, 26)  # fractions of the largest weight tried as full scale


@dataclass(frozen=True)
class Quantised:
    """An integer network and what one count of each population stands for (`scales`, maps of the sample's shape)."""

    graph: Graph
    scales: dict[str, np.ndarray]


def reference(folded: Graph, counts: np.ndarray, input_levels: int, levels: int = 15, weight_bits: int = 8) -> Quantised:
    """The integer reference: per-channel clipping values of least squared error, layer after layer.

    counts [item, *shape]: calibration items as input counts; each layer is calibrated on the counts that the integer
    layers before it give.

    Raises:
        BadInput: levels or bits out of range, or sums that float32 cannot hold exactly. Unsupported: see `_lower`.
    """
    _check_range("--levels", levels, 1, 255)
    _check_range("--input-levels", input_levels, 1, 65535)
    _check_range("--weight-bits", weight_bits, 2, 8)
    shape = folded.shapes[folded.input.name]
    scales = {folded.input.name: np.ones(shape)}
    seen = {folded.input.name: jnp.asarray(counts, jnp.float32)}
    nodes = [Node(folded.input.name, Input(shape, input_levels))]
    for population in populations(folded)[1:]:
        if isinstance(population.op, Relu):
            real = {s: seen[s] * jnp.asarray(scales[s], jnp.float32)[None] for s in sources(folded, population.name)}
            activation = jnp.maximum(propagate(folded, population.name, real), jnp.float32(0))
            unit = _least_squares_clip(activation, levels) / levels
            scales[population.name] = np.broadcast_to(_along(unit, activation.ndim - 1), activation.shape[1:])
            nodes += _lower(folded, population.name, scales, weight_bits, unit, levels)
            values = {s: seen[s] for s in sources(folded, population.name)}
            integer = Graph(folded.name, tuple(nodes))
            arriving = propagate(integer, population.name, values)
            seen[population.name] = apply(integer[population.name].op, arriving)
        elif population.name == folded.output.name:
            nodes += _lower(folded, population.name, scales, weight_bits, None, 0)
        else:
            inner = stage(folded, population.name)
            nodes += [n for n in [*inner, population] if n.name not in {m.name for m in nodes}]
            values = propagate(folded, population.name, seen)
            seen[population.name] = apply(population.op, values)
            scale = propagate(folded, population.name, {s: jnp.asarray(scales[s], jnp.float32)[None] for s in scales})
            scales[population.name] = np.asarray(apply(population.op, scale))[0].astype(np.float64)
    return _checked(Quantised(Graph(folded.name, tuple(nodes)), scales))


def rate(folded: Graph, counts: np.ndarray, input_levels: int, steps: int = 64, weight_bits: int = 8) -> Quantised:
    """The classical rate-coded network: one threshold a layer at the 99.9th percentile of its activations.

    A spike stands for the percentile (Rueckauer 2017), so weights absorb the ratio of percentiles; weights of a layer
    share one scale, so that a layer has one threshold. `levels` of the result is the number of steps.
    """
    _check_range("--steps", steps, 1, 4096)
    _check_range("--weight-bits", weight_bits, 2, 8)
    shape = folded.shapes[folded.input.name]
    values = evaluate(folded, jnp.asarray(counts, jnp.float32))
    scales = {folded.input.name: np.full(shape, float(input_levels))}
    nodes = [Node(folded.input.name, Input(shape, input_levels))]
    for population in populations(folded)[1:]:
        if isinstance(population.op, Relu):
            largest = max(float(np.percentile(np.asarray(values[population.name]), 99.9)), 1e-9)
            unit = np.full(folded.shapes[population.name][0], largest)
            scales[population.name] = np.full(folded.shapes[population.name], largest)
            nodes += _lower(folded, population.name, scales, weight_bits, unit, steps, per_channel=False)
        elif population.name == folded.output.name:
            nodes += _lower(folded, population.name, scales, weight_bits, None, 0)
        else:
            inner = stage(folded, population.name)
            nodes += [n for n in [*inner, population] if n.name not in {m.name for m in nodes}]
            (source,) = sources(folded, population.name)
            scales[population.name] = np.full(folded.shapes[population.name], scales[source].flat[0])
    return _checked(Quantised(Graph(folded.name, tuple(nodes)), scales))


def _lower(
    folded: Graph,
    name: str,
    scales: dict[str, np.ndarray],
    weight_bits: int,
    unit: np.ndarray | None,
    levels: int,
    per_channel: bool = True,
) -> list[Node]:
    """The integer nodes of the stage of population `name`: weights of one unit, then `Threshold` (or the read-out).

    unit [channel]: value of one output count, None for the read-out.

    Raises:
        Unsupported: two weighted layers without an activation between them.
    """
    offset_node = folded[folded[name].inputs[0]] if unit is not None else folded[name]
    weighted, aligned = _unit_weights(folded, name, scales, offset_node)
    full = 2 ** (weight_bits - 1) - 1
    channels = folded.shapes[name][0]
    per_channel = per_channel and aligned
    scale = _weight_scale([w for _, w in weighted.values()], full, channels if aligned else 1)
    if unit is None or not per_channel:
        scale = np.full_like(scale, scale.max())  # logits, and thresholds shared by a layer, need one scale
    if unit is not None:
        scale = np.maximum(scale, (unit if aligned else unit.max()) / THRESHOLD_CAP)
    nodes = []
    for node, (op, weight) in weighted.items():
        factor = scale.reshape(-1, *(1,) * (weight.ndim - 1))
        integer = np.clip(np.rint(weight / factor), -full, full).astype(np.int64)
        bare = replace(op, weight=integer) if isinstance(op, Conv | Dense) else op
        nodes.append((node, bare))
    offset = offset_node.op.offset if isinstance(offset_node.op, Scale) else np.zeros(1)
    lowered = _rebuild(folded, name, offset_node.name, dict(nodes))
    before = lowered[-1].name if lowered else sources(folded, name)[0]
    unit_map = _along(np.broadcast_to(scale, (channels,)), offset.ndim)
    if unit is None:
        bias = np.rint(offset / unit_map).astype(np.int64)
        return [*lowered, Node(name, Scale(np.ones_like(bias), bias), (before,))]
    threshold = np.maximum(1, np.rint(unit / np.broadcast_to(scale, unit.shape))).astype(np.int64)
    bias = np.rint(offset / _along(unit, offset.ndim) * _along(threshold, offset.ndim)).astype(np.int64)
    return [*lowered, Node(name, Threshold(_along(threshold, offset.ndim), _compact(bias), levels), (before,))]


def _unit_weights(folded: Graph, name: str, scales: dict[str, np.ndarray], offset_node: Node):
    """The weighted nodes of a stage with the scale of their input (and of pools behind them) in the weights.

    Result: {node name: (op, float weight)}, and whether axis 0 of every weight is axis 0 of the population.
    """
    inner = [n for n in stage(folded, name) if n.name != offset_node.name]
    values: dict[str, np.ndarray | None] = {s: scales[s] for s in sources(folded, name)}  # None behind weights
    weighted: dict[str, tuple[object, np.ndarray]] = {}
    factors: dict[str, float] = {}
    aligned, faults = True, []
    for node in inner:
        scale = values[node.inputs[0]]
        match node.op:
            case Conv() | Dense() | Scale():
                if scale is None:
                    faults.append(f"  {type(node.op).__name__} {node.name!r}: no activation before it")
                    scale = np.ones(folded.shapes[node.inputs[0]])
                weighted[node.name] = _absorb(node.op, scale, folded.shapes[node.name])
                factors[node.name] = 1.0
                values[node.name] = None
            case AvgPool() if scale is None:
                for key in _behind(folded, node, weighted):
                    factors[key] /= prod(node.op.kernel)
                values[node.name] = None
            case AvgPool():
                mean = np.asarray(apply(node.op, jnp.asarray(scale, jnp.float32)[None]))[0]
                values[node.name] = mean.astype(np.float64) / prod(node.op.kernel)
            case Add():
                for k, branch in enumerate(node.inputs):
                    if values[branch] is not None:
                        key = f"{node.name}.skip{k}"
                        weighted[key] = _absorb(Scale(np.ones(()), np.zeros(())), values[branch], folded.shapes[branch])
                        factors[key] = 1.0
                values[node.name] = None
            case _:
                aligned = aligned and (scale is not None or not isinstance(node.op, Reshape | Transpose))
                shaped = None if scale is None else np.asarray(apply(node.op, jnp.asarray(scale, jnp.float32)[None]))[0]
                values[node.name] = None if shaped is None else shaped.astype(np.float64)
    last = offset_node.inputs[0]
    if values.get(last) is not None:
        key = f"{offset_node.name}.skip"
        weighted[key] = _absorb(Scale(np.ones(()), np.zeros(())), values[last], folded.shapes[last])
        factors[key] = 1.0
    if faults:
        raise Unsupported(
            f"{folded.name}: {len(faults)} weighted layer(s) follow another without an activation:\n"
            + "\n".join(faults) + "\nMerge them into one layer and export again."
        )  # fmt: skip
    return {key: (op, weight * factors[key]) for key, (op, weight) in weighted.items()}, aligned


def _absorb(op, scale: np.ndarray, shape: tuple[int, ...]):
    """`op` with the scale of its input counts in its float weights; a `Scale` becomes one weight per channel."""
    if isinstance(op, Dense):
        return op, op.weight * scale
    if isinstance(op, Conv):
        flat = scale.reshape(scale.shape[0], -1)
        if not np.allclose(flat, flat[:, :1], rtol=1e-5):
            flat = np.full_like(flat, flat.max())
        grouped = flat[:, 0].reshape(op.groups, 1, -1).repeat(op.weight.shape[0] // op.groups, axis=1)
        return op, op.weight * grouped.reshape(op.weight.shape[0], -1, *(1,) * (op.weight.ndim - 2))
    gain = np.broadcast_to(op.factor * scale, shape)
    if len(shape) == 1:
        return Dense(np.diag(gain), None), np.diag(gain)
    channel = gain.reshape(shape[0], -1)[:, 0]
    space = len(shape) - 1
    weight = channel.reshape(-1, 1, *(1,) * space)
    return Conv(weight, None, (1,) * space, ((0, 0),) * space, shape[0]), weight


def _behind(folded: Graph, node: Node, weighted) -> list[str]:
    """The weighted nodes whose result flows into `node` without passing another population."""
    found, pending = [], list(node.inputs)
    while pending:
        name = pending.pop()
        if name in weighted:
            found.append(name)
        else:
            found += [key for key in weighted if key.startswith(f"{name}.skip")]
            pending.extend(folded[name].inputs)
    return found


def _rebuild(folded: Graph, name: str, stop: str, weighted: dict[str, object]) -> list[Node]:
    """The stage's nodes with integer operators, unit weights inserted on branches that have none."""
    result: list[Node] = []
    renamed: dict[str, str] = {}
    for node in stage(folded, name):
        if node.name == stop:
            key = f"{stop}.skip"
            if key in weighted:
                result.append(Node(f"{name}/{key}", weighted[key], (renamed.get(node.inputs[0], node.inputs[0]),)))
            continue
        inputs = []
        for k, branch in enumerate(node.inputs):
            feed = renamed.get(branch, branch)
            if (key := f"{node.name}.skip{k}") in weighted:
                result.append(Node(f"{name}/{key}", weighted[key], (feed,)))
                feed = result[-1].name
            inputs.append(feed)
        op = weighted.get(node.name, node.op)
        if isinstance(op, AvgPool):
            op = SumPool(op.kernel, op.stride, op.pads)
        renamed[node.name] = f"{name}/{node.name}"
        result.append(Node(renamed[node.name], op, tuple(inputs)))
    return result


def _weight_scale(weights: list[np.ndarray], full: int, channels: int) -> np.ndarray:
    """Scale per output channel of least squared rounding error, over a grid of fractions of the largest weight."""
    flat = np.concatenate([w.reshape(channels, -1) for w in weights], axis=1)
    largest = np.maximum(np.abs(flat).max(axis=1), 1e-12)
    best, error = largest / full, np.full(channels, np.inf)
    for shrink in _SHRINKS:
        scale = largest * shrink / full
        rounded = np.clip(np.rint(flat / scale[:, None]), -full, full) * scale[:, None]
        squared = ((rounded - flat) ** 2).sum(axis=1)
        best, error = np.where(squared < error, scale, best), np.minimum(squared, error)
    return best


def _least_squares_clip(activation, levels: int) -> np.ndarray:
    """Per channel the clipping value λ = f max(a) that minimises mean((q(a) - a)^2) on the grid of f.

    q(a) = clip(floor(a L / λ + 1/2), 0, L) λ / L. A channel that never fires takes the layer's largest value.
    """
    axes = (0, *range(2, activation.ndim))
    peak = np.asarray(activation.max(axis=axes)).astype(np.float64)
    peak = np.where(peak > 0, peak, max(peak.max(), 1e-9))

    @jax.jit
    def error(clip):
        clip = clip.reshape(1, -1, *(1,) * (activation.ndim - 2))
        quantised = jnp.clip(jnp.floor(activation * levels / clip + 0.5), 0, levels) * clip / levels
        return ((quantised - activation) ** 2).mean(axis=axes)

    errors = np.stack([np.asarray(error(jnp.asarray(peak * f, jnp.float32))) for f in _CLIPS])
    return peak * _CLIPS[errors.argmin(axis=0)]


def _along(channel: np.ndarray, ndim: int) -> np.ndarray:
    return channel.reshape(-1, *(1,) * (ndim - 1))


def _compact(bias: np.ndarray) -> np.ndarray:
    """One bias per channel where it does not vary over the map."""
    flat = bias.reshape(bias.shape[0], -1)
    return _along(flat[:, 0], bias.ndim) if (flat == flat[:, :1]).all() else bias


def _check_range(option: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise BadInput(f"{option} {value} is out of range; give {low} to {high}.")


def _checked(quantised: Quantised) -> Quantised:
    over = {name: bound for name, bound in bounds(quantised.graph).items() if bound >= EXACT_FLOAT32}
    if over:
        worst = max(over, key=lambda name: over[name])
        raise BadInput(
            f"{quantised.graph.name}: layer {worst!r} may reach {over[worst]:,}, beyond {EXACT_FLOAT32:,} "
            "which is exact; lower --input-levels, --levels or --weight-bits."
        )
    return quantised
