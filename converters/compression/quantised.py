"""The integer network as something that can be trained: the same sums, with gradients straight through what rounds.

Layer by layer, in counts N of the layers before, with a threshold lambda and L levels for each layer:

    s_out = lambda / L,   th = max(1, round(s_out / s)),   s = s_out / th
    W = clip(round(w s_in / s), -full, full),   B = round(b / s)
    N = clip(floor((sum W N_in + B) / th + 1/2), 0, L)

which is QCFS of what the weights W s / s_in add up to, and what a `Threshold` of th does. s is one number for each
output channel, or for the layer where weights share values; the scale from which th follows is the layer's largest
weight over the largest integer, shrunk as least squared error has it before training.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from converters.calibrate import least_squares_clip, weight_scale
from converters.compression.pruning import with_weights
from converters.compression.qcfs import rounded, through, whole_level
from converters.compression.tunable import Parameters, Tunable, layer_offset, layer_weights, tuned
from converters.lower import THRESHOLD_CAP, Synapses, Values, rebuilt, synapses_of
from converters.quantise import Quantised, check_ranges, checked, pool
from converters.staircase import along, compact, function_of
from neuro.activations import Function
from neuro.errors import Refusal, unsupported
from neuro.evaluate import apply, evaluate, weighted
from neuro.graph import Graph, Node
from neuro.layers import Activation, Conv, Dense, Input, MaxPool, Op, Product, Relu, Scale, Threshold
from neuro.stages import is_population, populations, propagate, sources, stage

VALUES = 2**17
"""Values of a layer, evenly from all, on which its first threshold is chosen."""


@dataclass(frozen=True, eq=False)
class Stage:
    """The weights between two populations as integer operators.

    skeleton: its nodes with integer operators, whose weights are placeholders; ops: those with weights; spread: by
    node and source, what a weight of one becomes when one count of the source stands for one. last: the node whose
    result the population receives; offset: the node that adds the offset. channelwise: whether each channel has a
    scale of its own; shrink [channel or 1]: of the scale.
    """

    name: str
    skeleton: tuple[Node, ...]
    ops: dict[str, Conv | Dense]
    spread: dict[str, dict[str, np.ndarray]]
    last: str
    offset: str
    channelwise: bool
    shrink: np.ndarray


@dataclass(frozen=True, eq=False)
class Layers:
    """How a tunable graph is quantised. roots: by population, whose threshold its counts have (None: those of the
    input)."""

    net: Tunable
    stages: dict[str, Stage]
    roots: dict[str, str | None]
    levels: int
    weight_bits: int

    @property
    def full(self) -> int:
        """The largest integer weight."""
        return 2 ** (self.weight_bits - 1) - 1


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Whole:
    """Integers of one stage: weights by node, bias, threshold and what one unit of the membrane stands for."""

    weights: dict[str, Array]
    bias: Array
    threshold: Array
    scale: Array


def layers(
    net: Tunable, parameters: Parameters, counts: Float[Array, "item ..."], levels: int, weight_bits: int
) -> tuple[Layers, Parameters]:
    """`net` as it can be tuned under quantisation, and its parameters with thresholds of least squared error.

    counts: calibration items.

    Raises:
        BadInput: levels or bits out of range. Unsupported: layers that are no ReLU, all of them listed.
    """
    check_ranges(levels=levels, weight_bits=weight_bits)
    graph = tuned(net, parameters)
    roots = _roots(graph)
    values = jax.jit(lambda x: evaluate(graph, x))(counts)
    lambdas = {}
    for population in populations(graph)[1:]:
        if isinstance(population.op, Relu | Activation):
            flat = np.asarray(values[population.name]).reshape(-1)
            clip = float(least_squares_clip(flat[:: -(-len(flat) // VALUES)].reshape(-1, 1), levels)[0])
            lambdas[population.name] = min(clip, function_of(population.op).high)
    full = 2 ** (weight_bits - 1) - 1
    names = [p.name for p in populations(graph)[1:] if not isinstance(p.op, MaxPool)]
    stages = {name: _stage(net, graph, name, roots, lambdas, levels, full) for name in names}
    found = {name: jnp.log(jnp.float32(value)) for name, value in lambdas.items()}
    return Layers(net, stages, roots, levels, weight_bits), parameters | {"thresholds": found}


def wholes(of: Layers, parameters: Parameters) -> dict[str, Whole]:
    """The integers of every stage, by population."""
    weights = layer_weights(of.net, parameters)
    return {name: _whole(of, parameters, name, weights) for name in of.stages}


def _whole(of: Layers, parameters: Parameters, name: str, weights: dict[str, Array]) -> Whole:
    """The integers of the stage of population `name`, as floats with gradients straight through."""
    here = of.stages[name]
    units = {root: jnp.exp(own) / jnp.float32(of.levels) for root, own in parameters["thresholds"].items()}
    fixed = jax.lax.stop_gradient(units)
    scaled = {}
    for key in here.ops:
        spread = [jnp.asarray(part, jnp.float32) * (fixed[r] if (r := of.roots[s]) else jnp.float32(1))
                  for s, part in here.spread[key].items()]  # fmt: skip
        total = sum(spread[1:], spread[0])
        source = key.removeprefix(f"{name}/")
        scaled[key] = weights[source] * total if source in weights else total
    peak = jnp.stack([_peak(w, here.channelwise) for w in scaled.values()]).max(axis=0)
    start = jnp.maximum(peak, jnp.float32(1e-12)) * jnp.asarray(here.shrink, jnp.float32) / jnp.float32(of.full)
    if name in fixed:
        start = jnp.maximum(start, fixed[name] / jnp.float32(THRESHOLD_CAP))
        threshold = jnp.maximum(jnp.rint(fixed[name] / start), jnp.float32(1))
        scale = fixed[name] / threshold
    else:
        threshold, scale = jnp.ones_like(start), start
    scale, threshold = (jax.lax.stop_gradient(v) for v in (scale, threshold))
    top = jnp.float32(of.full)
    integers = {key: rounded(jnp.clip(w / _column(scale, w.ndim), -top, top)) for key, w in scaled.items()}
    offset = layer_offset(of.net, parameters, here.offset)
    return Whole(integers, rounded(offset / _column(scale, offset.ndim)), threshold, scale)


def forward(of: Layers, parameters: Parameters, x: Float[Array, "batch ..."]) -> Float[Array, "batch output"]:
    """The outputs of the quantised network for input counts: those of `integer` in real units, with gradients."""
    return outputs(of, parameters, wholes(of, parameters), x)


def outputs(
    of: Layers, parameters: Parameters, integers: dict[str, Whole], x: Float[Array, "batch ..."]
) -> Float[Array, "batch output"]:
    """As `forward`, for integers that are known."""
    graph = of.net.graph
    counts: dict[str, Array] = {graph.input.name: x}
    for population in populations(graph)[1:]:
        name = population.name
        if isinstance(population.op, MaxPool):
            counts[name] = apply(population.op, propagate(graph, name, {s: counts[s] for s in sources(graph, name)}))
            continue
        here, own = of.stages[name], integers[name]
        values = {s: counts[s] for s in sources(graph, name)}
        for node in here.skeleton:
            given = [values[i] for i in node.inputs]
            values[node.name] = (
                weighted(here.ops[node.name], own.weights[node.name], given[0])
                if node.name in here.ops
                else apply(node.op, *given)
            )
        membrane = values[here.last] + own.bias[None]
        if name not in parameters["thresholds"]:
            scale = _column(own.scale, membrane.ndim - 1)
            return (membrane * scale[None]).reshape(len(x), -1)
        learned = jnp.exp(parameters["thresholds"][name])
        one = through(jnp.float32(1), learned / jax.lax.stop_gradient(learned))
        threshold = _column(own.threshold, membrane.ndim - 1)[None] * one
        counts[name] = whole_level(membrane, threshold, of.levels) * one
    raise AssertionError("a graph ends with its read-out")


def integer(of: Layers, parameters: Parameters, input_levels: int) -> tuple[Quantised, Graph, dict[str, float]]:
    """The integer network, the folded float graph with its weights, and the learned threshold of every layer.

    In the float graph each function is cut off at its threshold, and each weight is what its integer stands for (one
    that two layers read in different scales stays as it was tuned).

    Raises:
        BadInput: sums that float32 cannot hold exactly.
    """
    graph = tuned(of.net, parameters)
    lambdas = {name: float(jnp.exp(own)) for name, own in parameters["thresholds"].items()}
    weights = layer_weights(of.net, parameters)
    every = jax.jit(lambda p: wholes(of, p))(parameters)
    first, shape = graph.input.name, graph.shapes[graph.input.name]
    nodes = [Node(first, Input(shape, input_levels))]
    values = Values({first: np.ones(shape)}, {first: np.zeros(shape)})
    real: dict[str, list[np.ndarray]] = {}
    for population in populations(graph)[1:]:
        name = population.name
        if isinstance(population.op, MaxPool):
            pool(graph, population, nodes, values)
            continue
        here, own = of.stages[name], every[name]
        found = {key: np.rint(np.asarray(w)).astype(np.int64) for key, w in own.weights.items()}
        nodes += [replace(n, op=replace(n.op, weight=found[n.name])) if n.name in found else n for n in here.skeleton]
        ndim, scale = len(graph.shapes[name]), np.asarray(own.scale, np.float64)
        bias = np.rint(np.asarray(own.bias)).astype(np.int64)
        unit = lambdas[name] / of.levels if name in lambdas else float(scale.max())
        if name in lambdas:
            threshold = np.broadcast_to(np.rint(np.asarray(own.threshold)).astype(np.int64), bias.shape[:1])
            neuron: Op = Threshold(along(threshold, ndim), compact(bias), of.levels)
            scale = unit / (threshold if here.channelwise else threshold[:1])
        else:
            neuron = Scale(np.ones_like(bias), bias)
        nodes.append(Node(name, neuron, (here.last,)))
        values.scales[name] = np.full(graph.shapes[name], unit)
        values.origins[name] = np.zeros(graph.shapes[name])
        for key, w in found.items():
            real.setdefault(key.removeprefix(f"{name}/"), []).append(_real(of, here, key, w, scale, lambdas))
    same = {name: parts[0] for name, parts in real.items() if len(parts) == 1 and name in weights}
    cut = (
        replace(n, op=Activation(Function("clip", (0.0, lambdas[n.name])))) if n.name in lambdas else n
        for n in with_weights(graph, same).nodes
    )
    quantised = checked(Quantised(Graph(graph.name, tuple(nodes)), values.scales, values.origins))
    return quantised, Graph(graph.name, tuple(cut)), lambdas


def _real(of: Layers, here: Stage, key: str, w: np.ndarray, scale: np.ndarray, lambdas: dict[str, float]) -> np.ndarray:
    """What the integer weights of a node stand for in the float graph."""
    units = {s: lambdas[root] / of.levels if (root := of.roots[s]) else 1.0 for s in here.spread[key]}
    spread = np.asarray(sum(units[s] * part for s, part in here.spread[key].items()))
    return w * along(scale, w.ndim) / spread


def _roots(graph: Graph) -> dict[str, str | None]:
    """By population, whose threshold its counts have. Raises Unsupported."""
    roots: dict[str, str | None] = {graph.input.name: None}
    refused = []
    for population in populations(graph)[1:]:
        name, op = population.name, population.op
        roots[name] = name
        if isinstance(op, MaxPool):
            found = {roots[s] for s in sources(graph, name)}
            roots[name] = found.pop()
            if found:
                refused.append(Refusal(name, "MaxPool", "a pool of several layers, which have thresholds of their own"))
        elif isinstance(op, Relu) or not is_population(population):
            pass
        elif not isinstance(op, Activation) or op.function.name != "clip" or op.function.low != 0:
            kind = op.function.name if isinstance(op, Activation) else type(op).__name__
            refused.append(Refusal(name, kind, "no ReLU, whose levels have one threshold"))
        refused += [Refusal(n.name, "Product", "a product") for n in stage(graph, name) if isinstance(n.op, Product)]
    if refused:
        advice = "Leave --cluster-bits out, and --levels and --weight-bits where you tune; convert what comes of it."
        what = "have no form with one threshold a layer, which shared weights and tuning under quantisation need"
        raise unsupported(graph.name, what, refused, advice)
    return roots


def _stage(
    net: Tunable,
    graph: Graph,
    name: str,
    roots: dict[str, str | None],
    lambdas: dict[str, float],
    levels: int,
    full: int,
) -> Stage:
    population = graph[name]
    offset = population.inputs[0] if is_population(population) else name
    ones = with_weights(
        graph, {n.name: np.ones_like(n.op.weight) for n in graph.nodes if isinstance(n.op, Conv | Dense)}
    )
    feeds = sources(graph, name)
    spread: dict[str, dict[str, np.ndarray]] = {}
    found: dict[str, Synapses] = {}
    aligned = True
    for source in feeds:
        alone = {s: np.full(graph.shapes[s], float(s == source)) for s in feeds}
        found, aligned = synapses_of(ones, name, offset, alone, {})
        for key, synapse in found.items():
            if synapse.weight.any():
                even = isinstance(graph[key].op, Conv | Dense) and np.ptp(synapse.weight) == 0
                part = synapse.weight[(slice(1),) * synapse.weight.ndim] if even else synapse.weight
                spread.setdefault(f"{name}/{key}", {})[source] = part
    units = {s: np.full(graph.shapes[s], lambdas[r] / levels if (r := roots[s]) else 1.0) for s in feeds}
    now = synapses_of(graph, name, offset, units, {})[0]
    ops = {f"{name}/{key}": synapse.op for key, synapse in found.items()}
    skeleton = rebuilt(graph, name, offset, {key: _blank(synapse.op) for key, synapse in found.items()})
    keys = [key for key in now if f"{name}/{key}" in ops]
    channelwise = aligned and name in lambdas and not any(key in net.shared for key in keys)
    weights = [now[key].weight for key in keys]
    channels = graph.shapes[name][0] if channelwise else 1
    peak = np.max([np.abs(w.reshape(channels, -1)).max(axis=1) for w in weights], axis=0)
    shrink = weight_scale(weights, full, channels) * full / np.maximum(peak, 1e-12)
    last = skeleton[-1].name if skeleton else graph[offset].inputs[0]
    return Stage(name, tuple(skeleton), ops, spread, last, offset, channelwise, np.clip(shrink, 0.25, 1.0))


def _blank(op: Conv | Dense) -> Conv | Dense:
    return replace(op, weight=np.zeros(op.weight.shape, np.int64), bias=None)


def _peak(weight: Array, channelwise: bool) -> Array:
    flat = jnp.abs(weight).reshape(len(weight) if channelwise else 1, -1)
    return jax.lax.stop_gradient(flat.max(axis=1))


def _column(scale: Array, ndim: int) -> Array:
    return scale.reshape(-1, *(1,) * (ndim - 1))
