"""Integer networks back from the NIR files that `converters.exporters.to_nir` writes, by their metadata."""

from typing import Any

import numpy as np

from converters.importers.nir_file import File, operator, ordered
from neuro.errors import BadInput
from neuro.graph import Graph, Node
from neuro.layers import Add, Conv, Dense, Input, Op, Reshape, Scale, Threshold

VERSION = 1
LEVELS = 65535
"""Most levels of a population."""


def integer_graph(file: File) -> Graph:
    """The integer network of a file that says it holds one.

    Raises:
        BadInput: another version, or a node that is not as the exporter writes it.
    """
    if int(np.asarray(file.metadata.get("version", 0))) != VERSION:
        raise BadInput(f"{file.name}: its metadata are of another version; export the network again.")
    nodes: list[Node] = []
    names: dict[str, str] = {}
    for key in ordered(file):
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
            return Threshold(_whole(about["threshold"]), _whole(about["bias"]), _levels(about))
        case "Scale" if about.get("op") == "add":
            return Add()
        case "Scale" if about.get("op") == "readout":
            offset = _whole(about["bias"])
            return Scale(np.ones_like(offset), offset)
    op = operator(kind, node)
    match op:
        case Dense():
            return Dense(_whole(op.weight), None)
        case Conv():
            return Conv(_whole(op.weight), None, op.stride, op.pads, op.groups, op.dilation)
        case Reshape():
            return op
    raise ValueError("no such node is among those that are exported")


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
