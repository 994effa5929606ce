"""A converted network as a NIR graph of integrate-and-fire neurons, with a report of what NIR cannot say.

NIR's neurons reset to a value, begin at zero and know neither whole numbers nor levels. So every node carries what is
missing as metadata: a reader that knows it (`converters.importers.from_nir`) gets the same counts, any other one runs
plain neurons with hard reset, whose bias comes in equal parts over the steps.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from converters.network_file import Converted
from neuro.codes import is_exact
from neuro.errors import Refusal, unsupported
from neuro.file import replacing
from neuro.graph import Graph, Node
from neuro.layers import Add, Conv, Dense, Input, Pads, Reshape, Scale, SumPool, Threshold

LOST = (
    "reset by subtraction: a NIR neuron resets to a value; metadata reset = subtract",
    "the membrane before the first step, floor(threshold / 2): a NIR neuron begins at 0; metadata v0",
    "firing on the threshold itself: a NIR neuron fires above it; metadata fires = at threshold",
    "whole numbers: NIR has no types; weights and thresholds are stored as int64, the sums are those of the reader",
)
WINDOWS = "waiting: neurons of an exact code fire once their input is complete; metadata code, levels"
ONCE = "biases that come once: they are spread evenly over the steps; metadata bias"


def export(converted: Converted, path: Path) -> list[str]:
    """Writes `converted` as NIR to `path`, whole or not at all; what a reader without our metadata loses, in words.

    Raises:
        BadInput: `path` cannot be written. Unsupported: layers that NIR has no node for, all of them listed.
    """
    import nir

    made, lost = graph(converted)
    with replacing(path, "--to") as part:
        nir.write(str(part), made)
    return lost


def graph(converted: Converted) -> tuple[Any, list[str]]:
    """The network as `nir.NIRGraph`, and what is lost. Raises as `export`."""
    import nir

    integer, exact = converted.integer.graph, is_exact(converted.code)
    refusals = [r for n in integer.nodes if (r := _refusal(integer, n)) is not None]
    if refusals:
        others = ".onnx or .h5, which hold every integer network" if exact else ".h5, which holds every network"
        raise unsupported(integer.name, "have no NIR form", refusals, f"Export it as {others}.")
    levels = [n.op.levels for n in integer.nodes if isinstance(n.op, Threshold)]
    steps = converted.steps if not exact else max(levels, default=1)
    biases, homeless = _biases(integer)
    nodes, names = {}, _names(integer)
    for place, node in enumerate(integer.nodes):
        shape = integer.shapes[node.inputs[0]] if node.inputs else ()
        made = _node(nir, integer, node, shape, biases.get(node.name), steps if exact else 1)
        made.metadata |= {"place": place} | _stands_for(converted, node.name)
        nodes[names[node.name]] = made
    nodes["output"] = nir.Output(output_type={"output": np.array(integer.shapes[integer.output.name])})
    edges = [(names[source], names[node.name]) for node in integer.nodes for source in node.inputs]
    edges.append((names[integer.output.name], "output"))
    about = {
        "format": "neuro", "version": 1, "code": converted.code, "steps": steps, "input_levels": converted.levels,
        "name": integer.name, "method": converted.method,
        "gain": np.asarray(converted.gain), "offset": np.asarray(converted.offset),
    }  # fmt: skip
    lost = [*LOST, *((WINDOWS, ONCE) if exact else ())]
    lost += [f"bias of {name}: NIR has no place for it; metadata bias" for name in homeless]
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata=about, type_check=False), lost


def _stands_for(converted: Converted, name: str) -> dict[str, np.ndarray]:
    """What a count of a population, or the membrane of the read-out, stands for: origin + scale · count."""
    scales, origins = converted.integer.scales, converted.integer.origins
    if name not in scales:
        return {}
    return {"scale": _once(scales[name]), "origin": _once(origins[name])}


def _once(values: np.ndarray) -> np.ndarray:
    """A map, with axes along which it does not vary kept once."""
    cut = np.asarray(values, np.float64)
    for axis in range(cut.ndim):
        first = cut.take([0], axis=axis)
        cut = first if (cut == first).all() else cut
    return cut


def _names(graph: Graph) -> dict[str, str]:
    """The names of nodes in NIR, where a slash would make a group and "output" is taken."""
    names: dict[str, str] = {}
    for node in graph.nodes:
        name, k = node.name.replace("/", "."), 1
        while name in (*names.values(), "output"):
            name, k = f"{node.name.replace('/', '.')}_{k}", k + 1
        names[node.name] = name
    return names


def _refusal(graph: Graph, node: Node) -> Refusal | None:
    op, name = node.op, type(node.op).__name__
    why = ""
    match op:
        case Input() | Dense() | Add() | Scale() | Threshold():
            pass
        case Reshape(shape=shape):
            why = "" if len(shape) == 1 else "NIR can flatten, not reshape"
        case Conv() | SumPool():
            if len(op.stride) > 2:
                why = "NIR has convolutions over one and two axes"
            elif any(a != b for a, b in op.pads) and isinstance(op, Conv) and set(op.dilation) - {1}:
                why = "padding that differs at both ends, with dilation"
        case _:
            why = "NIR has no such node"
    return Refusal(node.name, name, why) if why else None


def _biases(graph: Graph) -> tuple[dict[str, np.ndarray], list[str]]:
    """Biases by the weighted node that can hold them, one value per channel; populations whose bias finds no place."""
    found: dict[str, np.ndarray] = {}
    homeless = []
    for node in graph.nodes:
        if not isinstance(node.op, Threshold | Scale):
            continue
        bias = node.op.bias if isinstance(node.op, Threshold) else node.op.offset
        if not bias.any():
            continue
        shape = graph.shapes[node.name]
        flat = np.broadcast_to(bias, shape).reshape(shape[0], -1)
        holder = graph[node.inputs[0]]
        while isinstance(holder.op, Add):
            holder = next((graph[i] for i in holder.inputs if isinstance(graph[i].op, Conv | Dense)), graph.input)
        if (flat == flat[:, :1]).all() and isinstance(holder.op, Conv | Dense) and len(graph.readers(holder.name)) == 1:
            found[holder.name] = flat[:, 0]
        else:
            homeless.append(node.name)
    return found, homeless


def _node(nir: Any, graph: Graph, node: Node, shape: tuple, bias: np.ndarray | None, steps: int) -> Any:
    op, about = node.op, {"name": node.name}
    each = None if bias is None else bias / steps
    match op:
        case Input():
            return nir.Input(input_type=np.array(op.shape), metadata=about | {"levels": op.levels})
        case Dense():
            weight = np.asarray(op.weight)
            return (
                nir.Linear(weight=weight, metadata=about)
                if each is None
                else nir.Affine(weight=weight, bias=each, metadata=about)
            )
        case SumPool() if len(op.kernel) == 2 and all(a == b for a, b in op.pads) and each is None:
            return nir.SumPool2d(
                kernel_size=np.array(op.kernel), stride=np.array(op.stride), padding=np.array([a for a, _ in op.pads]),
                metadata=about,
            )  # fmt: skip
        case Conv() | SumPool():
            return _conv(nir, op, shape, each, about)
        case Reshape():
            return nir.Flatten(input_type={"input": np.array(shape)}, start_dim=0, end_dim=-1, metadata=about)
        case Add():
            return nir.Scale(scale=np.ones(shape), metadata=about | {"op": "add"})
        case Scale():
            return nir.Scale(scale=np.ones(shape), metadata=about | {"op": "readout", "bias": np.asarray(op.offset)})
        case Threshold():
            threshold = np.broadcast_to(op.threshold, graph.shapes[node.name])
            told = {
                "reset": op.reset, "start": op.start, "v0": np.asarray(op.initial), "bias": np.asarray(op.bias),
                "threshold": np.asarray(op.threshold), "levels": op.levels, "fires": "at threshold",
            }  # fmt: skip
            full = threshold.astype(np.float64)
            return nir.IF(r=np.ones_like(full), v_threshold=full, v_reset=np.zeros_like(full), metadata=about | told)
    raise TypeError(op)


def _conv(nir: Any, op: Conv | SumPool, shape: tuple, bias: np.ndarray | None, about: dict[str, Any]) -> Any:
    """A convolution, also for a sum; where padding differs at both ends the kernel gets zeros instead."""
    if any(a != b for a, b in op.pads):
        about = about | {"pads": np.array(op.pads)}
    if isinstance(op, SumPool):
        about = about | {"op": "sum", "kernel": np.array(op.kernel)}
        op = Conv(np.ones((shape[0], 1, *op.kernel), np.int64), None, op.stride, op.pads, shape[0])
    op = even(op)
    values = np.zeros(op.weight.shape[0]) if bias is None else bias
    dilation = op.dilation or (1,) * len(op.stride)
    padding = tuple(a for a, _ in op.pads)
    if len(op.stride) == 1:
        return nir.Conv1d(
            input_shape=int(shape[1]), weight=np.asarray(op.weight), stride=op.stride[0], padding=padding[0],
            dilation=dilation[0], groups=op.groups, bias=values, metadata=about,
        )  # fmt: skip
    return nir.Conv2d(
        input_shape=tuple(shape[1:]), weight=np.asarray(op.weight), stride=op.stride, padding=padding,
        dilation=dilation, groups=op.groups, bias=values, metadata=about,
    )  # fmt: skip


def even(op: Conv) -> Conv:
    """The same convolution with equal padding at both ends of every axis, its kernel widened by zeros."""
    if all(a == b for a, b in op.pads):
        return op
    most = [max(pads) for pads in op.pads]
    wider = [(m - a, m - b) for m, (a, b) in zip(most, op.pads, strict=True)]
    pads: Pads = tuple((m, m) for m in most)
    return replace(op, weight=np.pad(op.weight, ((0, 0), (0, 0), *wider)), pads=pads)
