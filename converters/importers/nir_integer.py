"""Integer networks back from the NIR files that `converters.exporters.to_nir` writes, by their metadata."""

from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from converters.float_form import float_form
from converters.importers.nir_file import File, operator, ordered
from converters.network_file import Converted
from converters.quantise import Quantised
from neuro.errors import BadInput
from neuro.graph import Graph, Node
from neuro.layers import Add, Conv, Dense, Input, Op, Pads, Reshape, Scale, SumPool, Threshold
from neuro.schedule import Code

VERSION = 1
LEVELS = 65535
"""Most levels of a population."""


def converted_form(file: File) -> Converted:
    """The integer network of a file that says it holds one, what its counts stand for, and a float form of its values.

    Raises:
        BadInput: as `integer_graph`, or a file that does not say what counts stand for.
    """
    graph, about = integer_graph(file), file.metadata
    if missing := [key for key in ("method", "code", "steps", "gain", "offset") if key not in about]:
        raise BadInput(f"{file.name}: it does not say what its counts stand for ({missing[0]}); export it again.")
    told = {str(n["metadata"].get("name")): n["metadata"] for n in file.nodes.values()}
    maps: dict[str, dict[str, np.ndarray]] = {"scale": {}, "origin": {}}
    try:
        for node in graph.nodes:
            if isinstance(node.op, Input | Threshold | Scale):
                for key, found in maps.items():
                    found[node.name] = np.broadcast_to(_real(told[node.name][key]), graph.shapes[node.name])
        shape = graph.shapes[graph.input.name]
        gain, offset = (_real(about[key]) for key in ("gain", "offset"))
        if np.broadcast_shapes(gain.shape, offset.shape, shape) != shape or not (gain != 0).all():
            raise ValueError(f"gain {gain.shape} and offset {offset.shape} of an input of {shape}")
        integer = Quantised(graph, maps["scale"], maps["origin"])
        return Converted(
            network=float_form(integer, gain, offset),
            integer=integer,
            method=str(about["method"]),
            code=TypeAdapter(Code).validate_python(about["code"]),
            steps=int(np.asarray(about["steps"])),
            levels=_levels({"levels": about["input_levels"]}),
            gain=gain,
            offset=offset,
            origin={"network": file.name, "format": "nir"},
        )
    except (KeyError, ValueError, TypeError) as error:
        raise BadInput(f"{file.name}: what counts stand for is damaged: {error}; export it again.") from None


def integer_graph(file: File) -> Graph:
    """The integer network of a file that says it holds one.

    Raises:
        BadInput: another version, or a node that is not as the exporter writes it.
    """
    if int(np.asarray(file.metadata.get("version", 0))) != VERSION:
        raise BadInput(f"{file.name}: its metadata are of another version; export the network again.")
    nodes: list[Node] = []
    names: dict[str, str] = {}
    for key in _as_written(file):
        node, kind = file.nodes[key], str(file.nodes[key].get("type"))
        if kind == "Output":
            continue
        try:
            names[key] = str(node["metadata"]["name"])
            op = _op(kind, node)
            nodes.append(Node(names[key], op, tuple(names[a] for a, b in file.edges if b == key)))
        except BadInput:
            raise
        except Exception as error:  # whatever a damaged file holds
            raise BadInput(f"{file.name}: node {key!r} ({kind}) is damaged: {error}; export it again.") from None
    return Graph(str(file.metadata.get("name", file.name)), tuple(nodes))


def _op(kind: str, node: dict[str, Any]) -> Op:
    about = node["metadata"]
    match kind:
        case "Input":
            return Input(tuple(int(n) for n in np.ravel(node["shape"])), _levels(about))
        case "IF":
            start, reset = str(about.get("start", "half")), str(about.get("reset", "subtract"))
            if start not in ("half", "zero") or reset not in ("subtract", "zero"):
                raise ValueError(f"start {start!r} and reset {reset!r}")
            return Threshold(_whole(about["threshold"]), _whole(about["bias"]), _levels(about), start, reset)
        case "Scale" if about.get("op") == "add":
            return Add()
        case "Scale" if about.get("op") == "readout":
            offset = _whole(about["bias"])
            return Scale(np.ones_like(offset), offset)
    op = operator(kind, node)
    match op:
        case Dense():
            return Dense(_whole(op.weight), None)
        case Conv() if about.get("op") == "sum":
            return SumPool(tuple(int(n) for n in about["kernel"]), op.stride, _pads(about, op.pads))
        case Conv():
            return _uneven(Conv(_whole(op.weight), None, op.stride, op.pads, op.groups, op.dilation), about)
        case Reshape() | SumPool():
            return op
    raise ValueError("no such node is among those that are exported")


def _as_written(file: File) -> list[str]:
    """The nodes in the order of the network that was exported; older files do not tell it, and any will do."""
    places: dict[str, int] = {}
    for key, node in file.nodes.items():
        try:
            place = node["metadata"].get("place", -1) if node.get("type") != "Output" else len(file.nodes)
            places[key] = int(np.asarray(place))
        except (KeyError, AttributeError, TypeError, ValueError) as error:
            raise BadInput(f"{file.name}: the place of node {key!r} is damaged: {error}; export it again.") from None
    return sorted(ordered(file), key=lambda key: places[key])


def _pads(about: dict[str, Any], pads: Pads) -> Pads:
    """The padding that a convolution was exported with, where NIR has another."""
    return tuple((int(a), int(b)) for a, b in np.asarray(about["pads"])) if "pads" in about else pads


def _uneven(op: Conv, about: dict[str, Any]) -> Conv:
    """The convolution without the zeros that its kernel got where padding differs at both ends."""
    pads = _pads(about, op.pads)
    extra = [(n - a, n - b) for (n, _), (a, b) in zip(op.pads, pads, strict=True)]
    kept = tuple(slice(a, n - b) for n, (a, b) in zip(op.weight.shape[2:], extra, strict=True))
    weight = np.ascontiguousarray(op.weight[(slice(None), slice(None), *kept)])
    if min(map(min, extra)) < 0 or not weight.size or np.count_nonzero(weight) != np.count_nonzero(op.weight):
        raise ValueError(f"pads {pads} beside a kernel of {op.weight.shape[2:]}")
    return replace(op, weight=weight, pads=pads)


def _real(values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{array.dtype} where numbers belong")
    return array.astype(np.float64)


def _levels(about: dict[str, Any]) -> int:
    levels = int(np.asarray(about["levels"]))
    if not 1 <= levels <= LEVELS:
        raise ValueError(f"{levels} levels")
    return levels


def _whole(values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise ValueError(f"{array.dtype} where whole numbers belong")
    return array.astype(np.int64)
