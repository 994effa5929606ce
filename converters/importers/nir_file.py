"""NIR files as they lie on disk: nodes with their parameters, the order they run in, and their linear operators."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.importers import hdf5_file
from neuro.errors import BadInput
from neuro.layers import AvgPool, Conv, Dense, Op, Reshape, Scale, Shape, SumPool


@dataclass(frozen=True, eq=False)
class File:
    """A NIR file: nodes by name with their `type` and parameters, edges, and the metadata of the graph."""

    name: str
    nodes: dict[str, dict[str, Any]]
    edges: tuple[tuple[str, str], ...]
    metadata: dict[str, Any]


def read(path: Path) -> File:
    """Nodes and edges of a NIR file, read in a process of its own. Raises BadInput."""
    store = hdf5_file.content(path)
    nodes: dict[str, dict[str, Any]] = {}
    about: dict[str, Any] = {}
    for place, entry in store.items():
        parts = place.split("/")
        if entry["kind"] == "group":
            continue
        if parts[:2] == ["node", "metadata"] and len(parts) == 3:
            about[parts[2]] = _value(path.name, place, entry)
        if parts[:2] != ["node", "nodes"] or len(parts) < 4:
            continue
        name, keys = parts[2], parts[3:]
        node = nodes.setdefault(name, {"metadata": {}})
        if len(keys) == 1:
            node[keys[0]] = _value(path.name, place, entry)
        elif keys[0] == "metadata" and len(keys) == 2:
            node["metadata"][keys[1]] = _value(path.name, place, entry)
        else:
            node["type"] = "NIRGraph"
    if odd := [name for name, node in nodes.items() if not isinstance(node.get("type"), str)]:
        raise BadInput(f"{path.name}: node {odd[0]!r} states no type; write it again with nir.write.")
    edges = store.get("node/edges", {})
    words = edges.get("words", [])
    if not nodes or edges.get("kind") != "words" or edges["shape"] != [len(words) // 2, 2] or None in words:
        raise BadInput(f"{path.name} holds no NIR graph (node/nodes, node/edges); write it with nir.write.")
    pairs = tuple(zip(words[::2], words[1::2], strict=True))
    if unknown := {str(n) for pair in pairs for n in pair} - set(nodes):
        raise BadInput(f"{path.name}: its edges name {sorted(unknown)[0]!r}, which is no node; write it again.")
    return File(path.name, nodes, pairs, about)


def _value(file: str, place: str, entry: dict[str, Any]) -> Any:
    if entry["kind"] == "words":
        return entry["words"][0] if not entry["shape"] else entry["words"]
    if entry["kind"] == "array":
        if not np.isfinite(entry["values"]).all():
            raise BadInput(f"{file}: {place} holds NaN or infinite numbers; repair the network.")
        return entry["values"]
    if entry["kind"] == "flags":
        return np.array(entry["words"]).reshape(entry["shape"])
    raise BadInput(f"{file}: {place} {entry.get('why', 'cannot be read')}; write it again with nir.write.")


def ordered(file: File) -> list[str]:
    """Nodes from the input on, each behind those that feed it, but for edges that close a loop."""
    readers: dict[str, list[str]] = {name: [] for name in file.nodes}
    for a, b in file.edges:
        readers[a].append(b)
    done: list[str] = []
    seen: set[str] = set()
    for root in sorted(file.nodes, key=lambda name: file.nodes[name].get("type") != "Input"):
        stack = [] if root in seen else [(root, iter(readers[root]))]
        seen.add(root)
        while stack:
            name, behind = stack[-1]
            following = next((n for n in behind if n not in seen), None)
            if following is None:
                done.append(name)
                stack.pop()
            else:
                seen.add(following)
                stack.append((following, iter(readers[following])))
    return done[::-1]


class Fault(Exception):
    """Why a node cannot be represented."""


def operator(kind: str, node: dict[str, Any]) -> Op:
    """The linear operator of a NIR node. Raises Fault: there is none. ValueError: its parameters are no numbers."""
    for key in {"weight", "bias", "scale"} & node.keys():
        if not isinstance(node[key], np.ndarray):
            raise ValueError(f"its {key} is no array of numbers")
    match kind:
        case "Affine" | "Linear":
            if node["weight"].ndim != 2:
                raise Fault(f"its weight has {node['weight'].ndim} axes, not two")
            return Dense(node["weight"], node["bias"] if kind == "Affine" else None)
        case "Conv1d" | "Conv2d":
            ndim = int(kind[-2])
            if isinstance(node["padding"], str):
                raise Fault(f"padding {node['padding']!r}; numbers are needed")
            stride, padding, dilation = (_several(node[key], ndim) for key in ("stride", "padding", "dilation"))
            pads = tuple((p, p) for p in padding)
            dilation = dilation if max(dilation) > 1 else ()  # as everywhere for neighbours
            return Conv(node["weight"], node["bias"], stride, pads, int(node["groups"]), dilation)
        case "SumPool2d" | "AvgPool2d":
            kernel, stride, padding = (_several(node[key], 2) for key in ("kernel_size", "stride", "padding"))
            pool = SumPool if kind == "SumPool2d" else AvgPool
            return pool(kernel, stride, tuple((p, p) for p in padding))
        case "Scale":
            return Scale(node["scale"], np.zeros_like(node["scale"]))
        case "Flatten":
            shape = shape_of(node["input_type"])
            first, last = int(node.get("start_dim", 0)), int(node.get("end_dim", -1)) % len(shape)
            if first > last:
                raise Fault(f"flattens axes {first} to {last} of {shape}")
            return Reshape((*shape[:first], int(np.prod(shape[first : last + 1])), *shape[last + 1 :]))
    raise Fault("no such node is known here")


def _several(values: Any, number: int) -> tuple[int, ...]:
    """One number for each axis."""
    flat = np.broadcast_to(np.asarray(values), (number,))
    if flat.dtype.kind not in "iu":
        raise ValueError(f"{values} are no whole numbers")
    return tuple(int(v) for v in flat)


def shape_of(values: Any) -> Shape:
    """A shape written in a file. Raises BadInput: no such array can be held."""
    shape = tuple(int(v) for v in np.ravel(values))
    if not shape or min(shape) < 1 or np.prod(shape, dtype=np.float64) > 2**28:
        raise BadInput(f"a node has shape {shape}; 1 to {2**28:,} values are possible.")
    return shape
