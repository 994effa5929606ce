"""From a folded float graph to an integer network: weights, thresholds, biases and level counts.

    V_c = sum_i W_ci N_i + B_c + floor(th_c / 2),   N_c = clip(floor(V_c / th_c), 0, L)

W = round(w s_in / s_w), th = max(1, round(s_out / s_w)), B = round(b / s_out th): biases are expressed in threshold
units, which removes the threshold's own rounding error, and no multiplier is left at run time.
"""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float

from converters import attention, grids, staircase
from converters.calibrate import balanced, least_squares_clip, percentile
from converters.lower import Lowered, Seen, Values, lower, uniform
from converters.staircase import Grid, along, function_of
from neuro.activations import Function
from neuro.errors import BadInput, Refusal, unsupported
from neuro.evaluate import apply, evaluate
from neuro.graph import Graph, Node
from neuro.layers import FIRING, Activation, AvgPool, Input, LayerNorm, Relu, Scale, Softmax, Threshold
from neuro.stages import bounds, is_population, magnitudes, populations, propagate, sources, stage

EXACT_FLOAT32 = 2**24
"""Integers up to here are exact in float32."""
LEVELS = 15
"""Levels of a layer unless the user or the network itself says otherwise."""
Rule: TypeAlias = Literal["percentile", "max", "mse", "ltb"]
"""How the rate code chooses thresholds; see `rate`."""
RANGES = {
    "levels": (1, 255),
    "operand_levels": (1, 255),
    "input_levels": (1, 65535),
    "weight_bits": (2, 8),
    "steps": (1, 4096),
}
"""Smallest and largest value of each option."""


@dataclass(frozen=True)
class Quantised:
    """An integer network and what one count of each population stands for: origin + scale · count, maps of the
    sample's shape. Those of the read-out turn its membrane into the network's own output."""

    graph: Graph
    scales: dict[str, np.ndarray]
    origins: dict[str, np.ndarray]


def check_ranges(**options: int) -> None:
    """Refuses options outside `RANGES`.

    Raises:
        BadInput: naming the option, its value and its range.
    """
    for name, value in options.items():
        low, high = RANGES[name]
        if not low <= value <= high:
            raise BadInput(f"--{name.replace('_', '-')} {value} is out of range; give {low} to {high}.")


def reference(
    folded: Graph,
    counts: np.ndarray,
    input_levels: int,
    levels: int | None = None,
    weight_bits: int = 8,
    operand_levels: int | None = None,
) -> Quantised:
    """The integer reference: per-channel clipping values of least squared error, layer after layer.

    counts [item, *shape]: calibration items as input counts; each layer is calibrated on the counts that the integer
    layers before it give. levels: of every layer; None for `LEVELS`, or a layer's own where it is quantised already.
    operand_levels: of neurons that only round and are one side of a product, such as those that hold the state of an
    LSTM; None for `levels`.

    Raises:
        BadInput: levels or bits out of range, or sums that float32 cannot hold exactly.
        Unsupported: layers that have no integer form.
    """
    asked = LEVELS if levels is None else levels
    held = asked if operand_levels is None else operand_levels
    check_ranges(levels=asked, operand_levels=held, input_levels=input_levels, weight_bits=weight_bits)
    nodes, values = _start(folded, input_levels, 1.0)
    seen = {folded.input.name: counts.astype(np.float32)}
    real = dict(seen)
    for population in populations(folded)[1:]:
        name = population.name
        wanted = propagate(folded, name, real)
        real[name] = apply(population.op, wanted) if is_population(population) else wanted
        if isinstance(population.op, Relu | Activation):
            function = function_of(population.op)
            if attention.rounds(population):
                activation = _as_counted(folded, population, seen, values)
                side = attention.feeds_product(folded, name)
                grid = attention.whole_zero(activation, held if side else asked, side)
                _fire(folded, population, nodes, values, weight_bits, grid)
            elif levels is None and function.steps is not None:
                grid = staircase.grid(function, real[name], asked, keep=True)
                _fire(folded, population, nodes, values, weight_bits, grid)
            elif attention.feeds_product(folded, name):
                grid = attention.whole_zero(real[name], asked, True)
                _fire(folded, population, nodes, values, weight_bits, grid, seen=Seen(seen, wanted), keep=True)
            else:
                grid = grids.widest(function, np.asarray(real[name]), asked)
                _fire(folded, population, nodes, values, weight_bits, grid, seen=Seen(seen, wanted))
        elif isinstance(population.op, Softmax | LayerNorm):
            activation = _as_counted(folded, population, seen, values)
            found = attention.grouped(folded, population, values, weight_bits, asked, activation)
            nodes += found.nodes
            values.scales[name], values.origins[name] = found.scale, found.origin
        elif name == folded.output.name:
            own = levels is None and _is_quantised(folded)
            _read_out(folded, nodes, values, weight_bits, None if own else Seen(seen, wanted))
            break
        else:
            pool(folded, population, nodes, values)
        integer = Graph(folded.name, tuple(nodes))
        seen[name] = apply(integer.output.op, propagate(integer, name, seen))
    return checked(Quantised(Graph(folded.name, tuple(nodes)), values.scales, values.origins))


def rate(
    folded: Graph,
    counts: np.ndarray,
    input_levels: int,
    steps: int = 64,
    weight_bits: int = 8,
    rule: Rule = "percentile",
    start: Literal["half", "zero"] = "half",
    reset: Literal["subtract", "zero"] = "subtract",
    members: int = 1,
) -> Quantised:
    """The classical rate-coded network. A spike stands for the threshold of its neuron, which `rule` chooses:

    percentile  the 99.9th percentile of a layer's activations (Rueckauer 2017)
    max         a layer's largest activation (Diehl 2015)
    mse         per channel what `steps` levels of least squared error need (Li 2021)
    ltb         per channel, balanced on clipped activations of the layers before (see `calibrate.balanced`)

    Weights absorb the ratio of thresholds; where a layer has one threshold, its weights share one scale. start, reset:
    as in `Threshold`. members: spikes that a neuron can send in a step, of which each stands for that part of the
    threshold. `levels` of the result is the number of spikes that a run can have.

    Raises:
        BadInput: steps or bits out of range.
        Unsupported: layers that have no integer form, or whose function no firing rate follows.
    """
    check_ranges(steps=steps, input_levels=input_levels, weight_bits=weight_bits)
    reason = "no firing rate follows it; ReLU alone has one"
    acts = [(n.name, n.op.function) for n in folded.nodes if isinstance(n.op, Activation) and not attention.rounds(n)]
    other = attention.refusals(folded)
    if other := [*other, *(Refusal(name, function.name, reason) for name, function in acts if not _is_rate(function))]:
        raise unsupported(folded.name, "have no rate code", other, "Use an exact code, or train with ReLU.")
    evaluated = {} if rule == "ltb" else evaluate(folded, counts.astype(np.float32))
    clipped = {folded.input.name: counts.astype(np.float32)}
    nodes, values = _start(folded, input_levels, input_levels / members)
    for population in populations(folded)[1:]:
        name, channels = population.name, folded.shapes[population.name][0]
        if isinstance(population.op, Relu | Activation):
            highest = function_of(population.op).high
            if rule == "ltb":
                activation = apply(population.op, propagate(folded, name, clipped))
                largest = np.minimum(balanced(activation), highest)
                ceiling = along(largest, activation.ndim - 1)[None]
                clipped[name] = np.minimum(activation, ceiling.astype(np.float32))
            elif rule == "mse":
                largest = np.minimum(least_squares_clip(evaluated[name], steps * members), highest)
            else:
                one = percentile(evaluated[name], 100.0 if rule == "max" else 99.9)
                largest = np.full(channels, min(one, highest))
            grid = Grid(np.zeros(channels), largest / members, steps * members)
            _fire(folded, population, nodes, values, weight_bits, grid, rule=rule)
            fires = nodes[-1].op
            assert isinstance(fires, Threshold)
            nodes[-1] = replace(nodes[-1], op=replace(fires, start=start, reset=reset))
        elif name == folded.output.name:
            _read_out(folded, nodes, values, weight_bits)
        else:
            pool(folded, population, nodes, values)
            if rule == "ltb":
                clipped[name] = apply(population.op, propagate(folded, name, clipped))
    return checked(Quantised(Graph(folded.name, tuple(nodes)), values.scales, values.origins))


def _as_counted(folded: Graph, population: Node, seen: dict[str, np.ndarray], values: Values) -> np.ndarray:
    """The values of a layer when its sources have those that their counts stand for."""
    feeds = {}
    for name in sources(folded, population.name):
        scale, origin = (maps[name].astype(np.float32)[None] for maps in (values.scales, values.origins))
        feeds[name] = seen[name] * scale + origin
    return apply(population.op, propagate(folded, population.name, feeds))


def _is_quantised(folded: Graph) -> bool:
    """Whether every function has steps of its own, so that the network's weights are to be kept as they are."""
    functions = [function_of(n.op) for n in folded.nodes if isinstance(n.op, Relu | Activation)]
    return bool(functions) and all(f.steps is not None for f in functions)


def _is_rate(function: Function) -> bool:
    """Whether a firing rate between zero and one follows the function up to a factor: ReLU, cut off or not."""
    return function.name == "clip" and function.low == 0


def _start(folded: Graph, levels: int, scale: float) -> tuple[list[Node], Values]:
    name = folded.input.name
    shape = folded.shapes[name]
    return [Node(name, Input(shape, levels))], Values({name: np.full(shape, scale)}, {name: np.zeros(shape)})


def _fire(
    folded: Graph,
    population: Node,
    nodes: list[Node],
    values: Values,
    weight_bits: int,
    grid: Grid,
    rule: Rule | None = None,
    seen: Seen | None = None,
    keep: bool = False,
) -> None:
    """Appends the stage of a population and its neurons; under the rate code they have equal steps.

    rule: of the rate code. seen: what there is to fit weights, levels and bias to; the levels stay if `keep`.
    """
    assert isinstance(population.op, Relu | Activation)
    name, shape = population.name, folded.shapes[population.name]
    function = function_of(population.op)
    placed = rule is None and not staircase.is_straight(function, grid)
    per_channel = rule in (None, "mse", "ltb")
    while True:
        found = lower(folded, name, values, weight_bits, grid.unit, per_channel, smallest=placed, seen=seen)
        behind = Graph(folded.name, (*nodes, *found.nodes, Node(name, _never(len(shape)), (found.last,))))
        fits = weight_bits == 2 or _reach(behind, name) < EXACT_FLOAT32 // 2
        if fits or not attention.weighs_products(found.nodes):
            break
        weight_bits -= 1  # products of many levels leave their weights less room
    nodes += found.nodes
    grid = attention.matched(grid, found.scale) if attention.rounds(population) else grid
    if seen is not None:
        arriving = _received(behind, found, seen)
        wanted = apply(population.op, seen.wanted)
        if keep:
            added = (seen.wanted - arriving).mean(axis=(0, *range(2, arriving.ndim))).astype(np.float64)
        else:
            grid, added = grids.fitted(function, arriving, wanted, grid)
        found = replace(found, shift=found.shift + along(added, len(shape)))
    if rule is not None:
        neuron = staircase.straight(grid, found.scale, found.shift)
    else:
        neuron = staircase.neurons(function, grid, found.scale, found.shift, _reach(behind, name))
    nodes.append(Node(name, neuron, (found.last,)))
    values.scales[name] = np.broadcast_to(along(grid.unit, len(shape)), shape)
    values.origins[name] = np.broadcast_to(along(grid.low, len(shape)), shape)


def _received(behind: Graph, found: Lowered, seen: Seen) -> Float[np.ndarray, "item ..."]:
    """What the membranes of the last population of `behind` stand for on the calibration items."""
    membranes = propagate(behind, behind.output.name, seen.counts)
    ndim = found.shift.ndim
    return membranes * along(found.scale, ndim).astype(np.float32)[None] + found.shift.astype(np.float32)[None]


def _never(ndim: int) -> Threshold:
    """Neurons that stand for those still to be made."""
    one = np.ones((1,) * ndim, np.int64)
    return Threshold(one, 0 * one, 1)


def _reach(graph: Graph, name: str) -> int:
    """The largest magnitude that the input of a population can add up to."""
    peaks = {s: np.full((1, *graph.shapes[s]), _peak(graph, s), np.float32) for s in sources(graph, name)}
    return int(np.ceil(float(propagate(magnitudes(graph), name, peaks).max()) * 1.001))


def _peak(graph: Graph, name: str) -> int:
    """The largest count of a population; of a pool that of its source."""
    op = graph[name].op
    if isinstance(op, (Input, *FIRING)):
        return op.levels
    return max(_peak(graph, s) for s in sources(graph, name))


def _read_out(folded: Graph, nodes: list[Node], values: Values, weight_bits: int, seen: Seen | None = None) -> None:
    """Appends the last stage; all outputs share one scale, so that their membranes compare."""
    name = folded.output.name
    found = lower(folded, name, values, weight_bits, seen=seen)
    shape = folded.shapes[name]
    if seen is not None:
        behind = Graph(folded.name, (*nodes, *found.nodes, Node(name, _never(len(shape)), (found.last,))))
        missing = (seen.wanted - _received(behind, found, seen)).mean(axis=(0, *range(2, len(shape) + 1)))
        found = replace(found, shift=found.shift + along(missing.astype(np.float64), len(shape)))
    bias = np.rint(found.shift / found.scale.max()).astype(np.int64)
    nodes += [*found.nodes, Node(name, Scale(np.ones_like(bias), bias), (found.last,))]
    values.scales[name], values.origins[name] = np.full(shape, found.scale.max()), np.zeros(shape)


def pool(folded: Graph, population: Node, nodes: list[Node], values: Values) -> None:
    """Appends a max-pool of counts with what reshapes them before it, as it is."""
    name, feeds = population.name, sources(folded, population.name)
    inner = stage(folded, name)
    if any(isinstance(node.op, AvgPool) for node in inner):
        refusal = Refusal(name, "MaxPool", "a max-pool of averages")
        raise unsupported(folded.name, "have no integer form", [refusal], "Put a layer between.")
    nodes += [node for node in [*inner, population] if node.name not in {n.name for n in nodes}]
    shape = folded.shapes[name]
    for maps in (values.scales, values.origins):
        moved = propagate(folded, name, {s: maps[s].astype(np.float32)[None] for s in feeds})
        channel = uniform(moved[0].astype(np.float64))
        maps[name] = np.broadcast_to(along(channel, len(shape)), shape)


def checked(quantised: Quantised) -> Quantised:
    """`quantised`, if no sum in it can leave the integers that float32 holds exactly.

    Raises:
        BadInput: naming the layer.
    """
    over = {name: bound for name, bound in bounds(quantised.graph).items() if bound >= EXACT_FLOAT32}
    if over:
        worst = max(over, key=lambda name: over[name])
        raise BadInput(
            f"{quantised.graph.name}: layer {worst!r} may reach {over[worst]:,}, beyond {EXACT_FLOAT32:,} "
            "which is exact; lower --input-levels, --levels or --weight-bits."
        )
    return quantised
