"""One stage of a folded float graph as integer operators: the weights between two populations."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace
from math import prod

import numpy as np
from jaxtyping import Float

from converters.calibrate import weight_scale
from converters.rounding import Fit, fitted, rows, whole
from converters.staircase import along
from neuro.errors import Refusal, Unsupported, unsupported
from neuro.evaluate import apply
from neuro.graph import Graph, Node
from neuro.layers import (
    Add,
    AvgPool,
    Concat,
    Conv,
    Dense,
    Op,
    Pad,
    Product,
    Reshape,
    Scale,
    Slice,
    SumPool,
    Transpose,
)
from neuro.stages import is_population, populations, propagate, sources, stage

THRESHOLD_CAP = 2**16
"""Keeps channels with tiny weights from inflating thresholds and state."""


@dataclass(frozen=True, eq=False)
class Values:
    """What the counts of every population stand for: origin + scale · count, maps of the sample's shape."""

    scales: dict[str, np.ndarray]
    origins: dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Lowered:
    """The integer nodes of a stage. last: the one whose result V the population receives. It stands for
    shift + scale · V; scale [channel], shift [*shape], float64."""

    nodes: list[Node]
    last: str
    scale: np.ndarray
    shift: np.ndarray


@dataclass(frozen=True)
class Synapses:
    """A weighted operator with the scale of its input counts, and of pools behind it, in its float weight."""

    op: Conv | Dense
    weight: np.ndarray


@dataclass(frozen=True)
class Counted:
    """A product of whole numbers, and what one of its result stands for."""

    op: Product
    scale: float


@dataclass(frozen=True, eq=False)
class Seen:
    """Calibration items at a stage: the counts of its sources, by name, and what the float network gives behind it."""

    counts: Mapping[str, np.ndarray]
    wanted: Float[np.ndarray, "item ..."]


def lower(
    folded: Graph,
    name: str,
    values: Values,
    weight_bits: int,
    unit: np.ndarray | None = None,
    per_channel: bool = True,
    smallest: bool = False,
    seen: Seen | None = None,
) -> Lowered:
    """The integer weights of the stage of population `name`.

    unit [channel]: what one output count will stand for, None for the read-out, whose logits share one scale, and for
    groups of neurons, whose membranes do.
    per_channel: whether scales may differ within the layer. smallest: whether weights that are quantised already take
    as few bits as they can, since no threshold is rounded to their scale. seen: what the stage received and should
    give on calibration items, to fit weights and bias to; None to round to the nearest.

    Raises:
        Unsupported: two weighted layers without an activation between them, or one layer pooled on one path only.
    """
    offset = folded[folded[name].inputs[0]] if is_population(folded[name]) else folded[name]
    assert isinstance(offset.op, Scale)
    products = _products(folded, name, values)
    if products and not any(isinstance(n.op, Conv | Dense | Scale) and n is not offset for n in stage(folded, name)):
        ((product, counted),) = products.items()
        return _product(folded, name, offset, product, counted)
    synapses, aligned = synapses_of(folded, name, offset.name, values.scales, products)
    full = 2 ** (weight_bits - 1) - 1
    channels = folded.shapes[name][0]
    origins = {s: values.origins[s].astype(np.float32)[None] for s in sources(folded, name)}
    origins |= {p: np.zeros((1, *folded.shapes[p]), np.float32) for p in products}
    shift = propagate(folded, name, origins)[0].astype(np.float64)
    if not any(at.any() for at in origins.values()):
        shift = np.broadcast_to(offset.op.offset, shift.shape)  # in float64
    fits = _fitted(folded, name, offset.name, synapses, products, seen, shift) if seen is not None and aligned else {}
    synapses |= {key: replace(synapses[key], weight=fit.weight) for key, fit in fits.items()}
    scale = weight_scale([s.weight for s in synapses.values()], full, channels if aligned else 1, smallest)
    if unit is None or not per_channel:
        scale = np.full_like(scale, scale.max())
    if unit is not None and not smallest:
        scale = np.maximum(scale, (unit if aligned else unit.max()) / THRESHOLD_CAP)
    integer: dict[str, Op] = {key: product.op for key, product in products.items()}
    for key, synapse in synapses.items():
        factor = scale.reshape(-1, *(1,) * (synapse.weight.ndim - 1))
        weight = np.clip(np.rint(synapse.weight / factor), -full, full).astype(np.int64)
        if key in fits:
            weight = whole(fits[key], np.broadcast_to(scale, (len(synapse.weight),)), full)
        integer[key] = replace(synapse.op, weight=weight)
    nodes = rebuilt(folded, name, offset.name, integer)
    scale = np.broadcast_to(scale, (channels,))
    last = nodes[-1].name if nodes else offset.inputs[0]
    return Lowered(nodes, last, scale, shift)


def _fitted(
    folded: Graph,
    name: str,
    offset: str,
    synapses: dict[str, Synapses],
    products: dict[str, Counted],
    seen: Seen,
    shift: np.ndarray,
) -> dict[str, Fit]:
    """The weights of a stage fitted to its float output, one operator after the other; not those behind products.

    Nothing is fitted where there is anything but sums between weights and output, or weights are quantised already.
    """
    nodes = {n.name: n for n in stage(folded, name)}
    values = dict(seen.counts)
    for node in nodes.values():
        if node.name not in synapses and all(i in values for i in node.inputs):  # else weights are behind
            op = SumPool(*astuple(node.op)) if isinstance(node.op, AvgPool) else node.op
            op = products[node.name].op if node.name in products else op
            values[node.name] = apply(op, *(values[i] for i in node.inputs))
    if not all(_only_sums(list(nodes.values()), key, offset) for key in synapses):
        return {}
    given = {key: values[nodes[key].inputs[0]] for key in synapses}
    ops = {key: replace(s.op, weight=s.weight) for key, s in synapses.items()}
    parts = {key: apply(ops[key], given[key]) for key in synapses} if len(synapses) > 1 else {}
    missing = seen.wanted - shift[None].astype(np.float32)
    for part in parts.values():
        missing -= part
    result = {}
    for key, synapse in synapses.items():
        if _is_behind(nodes, key, products):
            continue
        taken = rows(ops[key], given[key])
        target = taken.of(missing) + (taken.of(parts[key]) if parts else 0)
        result[key] = fitted(taken, synapse.weight, target)
        if parts and not np.isinf(result[key].damping):
            missing += parts[key]
            missing -= apply(replace(ops[key], weight=result[key].weight), given[key])
    return result


def _is_behind(nodes: Mapping[str, Node], key: str, products: Mapping[str, Counted]) -> bool:
    """Whether a node reads a product, moved or not."""
    (feed,) = nodes[key].inputs
    return feed in products or (feed in nodes and len(nodes[feed].inputs) == 1 and _is_behind(nodes, feed, products))


def _only_sums(nodes: list[Node], key: str, offset: str) -> bool:
    readers = [n for n in nodes if key in n.inputs]
    if not readers:
        return True
    return len(readers) == 1 and (
        readers[0].name == offset or (isinstance(readers[0].op, Add) and _only_sums(nodes, readers[0].name, offset))
    )


def _products(folded: Graph, name: str, values: Values) -> dict[str, Counted]:
    """The products of a stage: (A - zero) (B - zero) of counts, their scale that of both sides."""
    found: dict[str, Counted] = {}
    for product in stage(folded, name):
        if not isinstance(product.op, Product):
            continue
        scale, zeros = product.op.factor, []
        for side in product.inputs:
            while not is_population(folded[side]):
                (side,) = folded[side].inputs
            unit, origin = (float(maps[side].flat[0]) for maps in (values.scales, values.origins))
            scale *= unit
            zeros.append(round(-origin / unit))
        found[product.name] = Counted(Product((zeros[0], zeros[1])), scale)
    return found


def _product(folded: Graph, name: str, offset: Node, product: str, counted: Counted) -> Lowered:
    """The stage of a product that stands alone: its membranes are the product itself."""
    assert isinstance(offset.op, Scale)
    nodes = rebuilt(folded, name, offset.name, {product: counted.op})
    shape = folded.shapes[name]
    return Lowered(nodes, nodes[-1].name, np.full(shape[:1], counted.scale), np.broadcast_to(offset.op.offset, shape))


def synapses_of(
    folded: Graph, name: str, offset: str, scales: Mapping[str, np.ndarray], products: Mapping[str, Counted]
) -> tuple[dict[str, Synapses], bool]:
    """The weighted nodes of a stage, and whether axis 0 of every weight is axis 0 of the population.

    scales: by source, a map of what one count stands for. products: those of the stage.

    Raises:
        Unsupported: as `lower`.
    """
    values: dict[str, np.ndarray | None] = {s: scales[s] for s in sources(folded, name)}  # None: weights are behind
    found: dict[str, Synapses] = {}
    behind: dict[str, dict[str, int]] = {s: {} for s in values}  # weighted nodes, and how many values pools add up
    aligned, faults = True, []
    for node in stage(folded, name):
        if node.name == offset:
            continue
        scale = values[node.inputs[0]]
        behind[node.name] = {key: size for i in node.inputs for key, size in behind[i].items()}
        values[node.name] = None
        match node.op:
            case Product():
                values[node.name] = np.full(folded.shapes[node.name], products[node.name].scale)
            case Conv() | Dense() | Scale():
                if scale is None:
                    faults.append(Refusal(node.name, type(node.op).__name__, "no activation before it"))
                    scale = np.ones(folded.shapes[node.inputs[0]])
                found[node.name] = _absorb(node.op, scale, folded.shapes[node.name])
                behind[node.name] = {node.name: 1}
            case Concat(axis=axis):
                each = [values[i] for i in node.inputs]
                if all(e is not None for e in each):
                    values[node.name] = np.concatenate([e for e in each if e is not None], axis=axis)
                else:  # fold gives either all of them weights or none
                    aligned = False
            case Add():
                first, second = (behind[i] for i in node.inputs)
                if any(first[key] != second[key] for key in first.keys() & second.keys()):
                    faults.append(Refusal(node.name, "Add", "the same layer arrives pooled and not pooled"))
            case AvgPool(kernel=kernel) if scale is None:
                behind[node.name] = {key: size * prod(kernel) for key, size in behind[node.name].items()}
            case Pad(pads=pads) if scale is not None:  # zeros have no scale of their own
                values[node.name] = np.pad(scale, pads, mode="edge")
            case AvgPool() if scale is not None:
                channel = uniform(scale) / prod(node.op.kernel)
                values[node.name] = np.broadcast_to(along(channel, scale.ndim), folded.shapes[node.name])
            case _ if scale is not None:
                moved = apply(node.op, scale.astype(np.float32)[None])
                values[node.name] = moved[0].astype(np.float64)
            case Reshape(shape=shape) if len(shape) > 1 and shape[0] == folded.shapes[node.inputs[0]][0]:
                pass
            case Reshape() | Transpose() | Slice():
                aligned = False
            case Pad(pads=pads) if any(pads[0]):
                aligned = False
    if faults:
        advice = "Merge layers, or put an activation between, and export again."
        raise unsupported(folded.name, "have no integer form", faults, advice)
    pooled = behind[folded[offset].inputs[0]]
    return {key: replace(s, weight=s.weight / pooled[key]) for key, s in found.items()}, aligned


def _absorb(op: Conv | Dense | Scale, scale: np.ndarray, shape: tuple[int, ...]) -> Synapses:
    """`op` with the scale of its input counts in its float weights; a `Scale` becomes one synapse per neuron."""
    if isinstance(op, Dense):
        return Synapses(op, op.weight * scale)
    if isinstance(op, Conv):
        channel = uniform(scale)
        grouped = channel.reshape(op.groups, 1, -1).repeat(op.weight.shape[0] // op.groups, axis=1)
        spread = grouped.reshape(op.weight.shape[0], -1, *(1,) * (op.weight.ndim - 2))
        return Synapses(op, op.weight * spread)
    gain = np.broadcast_to(op.factor * scale, shape)
    if len(shape) == 1:
        return Synapses(Dense(np.diag(gain), None), np.diag(gain))
    space = len(shape) - 1
    weight = uniform(gain).reshape(-1, *(1,) * (space + 1))
    return Synapses(Conv(weight, None, (1,) * space, ((0, 0),) * space, shape[0]), weight)


def uniform(scale: np.ndarray) -> np.ndarray:
    """The scale of each channel of a map of scales.

    Raises:
        Unsupported: it differs within a channel, as after a dense layer reshaped to a map.
    """
    flat = scale.reshape(scale.shape[0], -1)
    if not np.allclose(flat, flat[:, :1], rtol=1e-5):
        raise Unsupported("a map whose values have different scales cannot feed a convolution or pool; flatten it.")
    return flat[:, 0]


def rebuilt(folded: Graph, name: str, offset: str, integer: dict[str, Op]) -> list[Node]:
    """The stage's nodes with integer operators, named after the population, since two stages may share nodes."""
    renamed: dict[str, str] = {}
    nodes: list[Node] = []
    for node in stage(folded, name):
        if node.name == offset:
            continue
        op = integer.get(node.name, node.op)
        if isinstance(op, AvgPool):
            op = SumPool(op.kernel, op.stride, op.pads)
        renamed[node.name] = f"{name}/{node.name}"
        nodes.append(Node(renamed[node.name], op, tuple(renamed.get(i, i) for i in node.inputs)))
    return nodes


def origins(integer: Graph) -> dict[str, str]:
    """By name of a linear node of an integer network, that of the node which `rebuilt` made it from. Names may hold
    slashes of their own, as those of PyTorch's ONNX files do."""
    return {
        node.name: node.name.removeprefix(f"{population.name}/")
        for population in populations(integer)
        for node in stage(integer, population.name)
    }
