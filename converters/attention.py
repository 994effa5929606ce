"""Neurons of attention in integers: those that only round, softmax and layer norm.

A count of neurons that only round stands for (count - zero) unit with a whole `zero`, and all neurons of the layer have
one unit. So the product of two such populations is that of two integers times one scale.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log, log2, sqrt

import numpy as np
from jaxtyping import Float, Int

from converters.calibrate import CLIPS, SMALLEST, least_squares_clip
from converters.lower import Lowered, Values, lower
from converters.rewriter import LAYOUT, SAME, channels
from converters.staircase import Grid
from neuro.attention import FRACTION
from neuro.errors import BadInput, Refusal
from neuro.evaluate import apply
from neuro.graph import Graph, Node
from neuro.layers import Activation, Conv, Dense, LayerNorm, NormNeurons, Product, Softmax, SoftmaxNeurons

RESOLUTION = 0.01
"""How far apart exponents of neighbours in a table lie, unless the membranes are coarser."""
PRECISION = 16
"""Bits of the largest exponential in a table."""
WAITS = "its value needs all of its operands; no firing rate follows it"


@dataclass(frozen=True, eq=False)
class Grouped:
    """The stage and the neurons of a softmax or layer norm, and what a count stands for: origin + scale · count."""

    nodes: list[Node]
    scale: np.ndarray
    origin: np.ndarray


def refusals(graph: Graph) -> list[Refusal]:
    """The layers of a folded graph that no rate code has, because of attention."""
    return [
        Refusal(n.name, type(n.op).__name__, WAITS)
        for n in graph.nodes
        if isinstance(n.op, Product | Softmax | LayerNorm)
    ]


def not_spiking(graph: Graph) -> list[str]:
    """The layers of a float network whose conversion takes more than sums of spikes: products of two spike-coded
    operands, softmax and layer norm."""
    inner = graph.nodes[:-1] if isinstance(graph.output.op, Softmax) else graph.nodes
    return [n.name for n in inner if isinstance(n.op, Product | Softmax | LayerNorm)]


def rounds(node: Node) -> bool:
    """Whether the neurons of a population only round."""
    return isinstance(node.op, Activation) and node.op.function == SAME


def feeds_product(folded: Graph, name: str) -> bool:
    """Whether a product reads the counts of a population, moved or not."""
    readers = folded.readers(name)
    moved = (n for n in readers if isinstance(n.op, LAYOUT))
    return any(isinstance(n.op, Product) for n in readers) or any(feeds_product(folded, n.name) for n in moved)


def weighs_products(nodes: Sequence[Node]) -> bool:
    """Whether weights follow products among the nodes of a stage."""
    return any(isinstance(n.op, Product) for n in nodes) and any(isinstance(n.op, Conv | Dense) for n in nodes)


def whole_zero(activation: Float[np.ndarray, "item channel ..."], levels: int, common: bool) -> Grid:
    """Levels of least squared error, one of which is zero. common: whether all channels share them.

    Both ends of the values are drawn in alike, by the fractions `converters.calibrate.CLIPS`.
    """
    values = np.asarray(activation).reshape(activation.shape[0], 1 if common else activation.shape[1], -1)
    low = np.minimum(values.min(axis=(0, 2)).astype(np.float64), 0)
    high = np.maximum(values.max(axis=(0, 2)).astype(np.float64), 0)
    units = np.outer(CLIPS, np.maximum(high - low, SMALLEST) / levels)
    zeros = np.clip(np.rint(-low * CLIPS[:, None] / units), 0, levels)
    errors = []
    for unit, zero in zip(units.astype(np.float32)[..., None], zeros.astype(np.float32)[..., None], strict=True):
        rounded = np.clip(np.floor(values / unit + np.float32(0.5)), -zero, levels - zero) * unit
        errors.append(((rounded - values) ** 2).mean(axis=(0, 2), dtype=np.float64))
    best = np.array(errors).argmin(axis=0)
    number = np.arange(units.shape[1])
    unit, zero = (np.broadcast_to(a[best, number], activation.shape[1:2]) for a in (units, zeros))
    return Grid(-zero * unit, unit, levels)


def matched(grid: Grid, scale: Float[np.ndarray, "channel"]) -> Grid:
    """`grid` with a unit of whole thresholds, so that rounding these changes nothing; unless scales differ."""
    if grid.levels == 1 or (scale != scale[0]).any():
        return grid
    unit = np.maximum(1, np.rint(grid.unit / scale)) * scale
    return Grid(np.rint(grid.low / grid.unit) * unit, unit, grid.levels)


def grouped(
    folded: Graph,
    population: Node,
    values: Values,
    weight_bits: int,
    levels: int,
    activation: Float[np.ndarray, "item ..."],
) -> Grouped:
    """The integer form of a softmax or layer norm of a folded graph; `activation`: its values for calibration items.

    Raises:
        BadInput: groups too large for 32 bits. Unsupported: as `converters.lower.lower`.
    """
    name, shape = population.name, folded.shapes[population.name]
    found = lower(folded, name, values, weight_bits)
    bias = np.rint(found.shift / found.scale[0]).astype(np.int64)
    bias = bias if bias.any() else np.zeros((1,) * len(shape), np.int64)
    if isinstance(population.op, Softmax):
        op = softmax_neurons(bias, float(found.scale[0]), shape[-1], levels, activation)
        scale, origin = np.full(shape, 1 / op.whole), np.zeros(shape)
    else:
        assert isinstance(population.op, LayerNorm)
        features = np.moveaxis(activation, -1, 1)
        grid = whole_zero(features, levels, False)
        if not _apart(folded, name, np.broadcast_to(grid.unit, shape)):
            grid = whole_zero(features, levels, True)
        op = norm_neurons(bias, float(found.scale[0]), population.op, grid, name)
        scale, origin = np.broadcast_to(grid.unit, shape), np.broadcast_to(grid.low, shape)
    return Grouped([*found.nodes, _fed(found, name, op)], scale, origin)


def _fed(found: Lowered, name: str, op: SoftmaxNeurons | NormNeurons) -> Node:
    return Node(name, op, (found.last,))


def softmax_neurons(
    bias: Int[np.ndarray, "..."], scale: float, members: int, levels: int, activation: Float[np.ndarray, "item ..."]
) -> SoftmaxNeurons:
    """Softmax neurons whose membrane V stands for scale · V: a table of 2^bits e^-x down to where that rounds to 0.

    The value of one is `levels` or more, where the calibration items never get there. Neither the sum of a group nor a
    share times the value of one reaches 2^31.
    """
    clip = float(least_squares_clip(activation.reshape(len(activation), 1, -1), levels)[0])
    whole = max(levels, round(levels / clip))
    bits = min(PRECISION, 30 - ceil(log2(max(members, whole, 2))))
    divisor = max(1, round(RESOLUTION / scale))
    entries = ceil((bits + 1) * log(2) / (scale * divisor)) + 1
    table = np.rint(2.0**bits * np.exp(-scale * divisor * np.arange(entries + 1))).astype(np.int64)
    return SoftmaxNeurons(bias, table, divisor, whole, levels)


def norm_neurons(
    bias: Int[np.ndarray, "..."], scale: float, op: LayerNorm, grid: Grid, name: str = "norm"
) -> NormNeurons:
    """Layer-norm neurons whose membrane V stands for scale · V, and whose levels `grid` gives by feature.

    Squares of differences with `bits` bits add up to 2^29 at most, as much again is left for epsilon; gain and offset
    have as many bits as 32 leave.

    Raises:
        BadInput: so many features, or levels so fine, that there are none.
    """
    members = len(op.gain)
    bits = min(14, (29 - ceil(log2(members))) // 2)
    extra = members * op.epsilon / scale**2 * 4.0 ** (bits - np.arange(32))
    gain, offset = op.gain * sqrt(members) / grid.unit, (op.offset - grid.low) / grid.unit + 0.5
    room = min(29 - log2(max(np.abs(gain).max(), 2.0**-30)), 30 - log2(np.abs(offset).max() + 1), 30.0)
    if bits < 6 or (shift := floor(room)) < 4:
        raise BadInput(f"layer {name!r}: a norm of {members} features needs more than 32 bits; use fewer --levels.")
    return NormNeurons(
        bias=bias,
        gain=np.rint(gain * 2.0 ** (shift - FRACTION)).astype(np.int64),
        offset=np.rint(offset * 2.0**shift).astype(np.int64),
        extra=np.minimum(np.rint(extra), 2.0**29).astype(np.int64),
        bits=bits,
        shift=shift,
        levels=grid.levels,
    )


def _apart(folded: Graph, name: str, units: np.ndarray) -> bool:
    """Whether all that read a population may have a scale of its own for every feature: weights take it up."""
    for node in folded.readers(name):
        match node.op:
            case Dense():
                continue
            case Conv() if channels(units) is not None:
                continue
            case op if isinstance(op, LAYOUT):
                moved = apply(op, units.astype(np.float32)[None])[0]
                if _apart(folded, node.name, moved):
                    continue
        return False
    return True
