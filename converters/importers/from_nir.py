"""NIR files as networks that can be stepped; those that `converters.exporters.to_nir` wrote as integer networks.

NIR says what neurons do in continuous time; a step of `dt` seconds is taken by Euler's rule, as most of its readers do:

=========  ===========================================================================================
IF         v = v + r I
LIF        v = (1 - dt/tau) v + dt/tau (r I + v_leak)
CubaLIF    i = (1 - dt/tau_syn) i + dt/tau_syn w_in I;  v = (1 - dt/tau_mem) v + dt/tau_mem (r i + v_leak)
Threshold  v = I
=========  ===========================================================================================

A neuron fires above its threshold and is reset to zero (or by subtraction, if asked for). I, LI and CubaLI never fire.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from converters.importers import hdf5_file
from neuro.dynamics import Dynamics
from neuro.errors import BadInput, Refusal, unsupported
from neuro.graph import Graph
from neuro.layers import AvgPool, Conv, Dense, Op, Reshape, Scale, Shape, SumPool
from neuro.stepped import Layer, Stepped

Reset = Literal["hard", "soft"]
STEP = 1e-4
"""Seconds of a step unless said otherwise: what NIR's own files of trained networks have."""


@dataclass(frozen=True, eq=False)
class File:
    """A NIR file: nodes by name with their `type` and parameters, edges, and the metadata of the graph."""

    name: str
    nodes: dict[str, dict[str, Any]]
    edges: tuple[tuple[str, str], ...]
    metadata: dict[str, Any]


def load(path: Path, dt: float = STEP, reset: Reset = "hard") -> Stepped | Graph:
    """The network in a NIR file: an integer one if we exported it, otherwise one to be stepped.

    dt: seconds of a step. reset: what a spike does to a membrane, which NIR leaves to its readers.

    Raises:
        BadInput: no such file, or a damaged one. Unsupported: nodes that cannot be represented, all of them listed.
    """
    found = read(path)
    if found.metadata.get("format") == "neuro":
        from converters.importers.nir_integer import integer_graph

        return integer_graph(found)
    return stepped(found, dt, reset)


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


def stepped(file: File, dt: float, reset: Reset) -> Stepped:
    """A NIR graph to be stepped. Raises as `load`."""
    order = ordered(file)
    feeds = {name: tuple(a for a, b in file.edges if b == name) for name in order}
    entering = [name for name in order if file.nodes[name].get("type") == "Input"]
    leaving = [name for name in order if file.nodes[name].get("type") == "Output"]
    if len(entering) != 1 or len(leaving) != 1:
        raise BadInput(f"{file.name} has {len(entering)} input(s) and {len(leaving)} output(s); one of each is needed.")
    layers, refusals = [], []
    for name in order:
        node = file.nodes[name]
        kind = str(node.get("type"))
        if kind in ("Input", "Output"):
            continue
        try:
            layers.append(_layer(name, kind, node, feeds[name], dt, reset))
        except _Fault as fault:
            refusals.append(Refusal(name, kind, str(fault)))
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise BadInput(f"{file.name}: node {name!r} ({kind}) is damaged: {error}; write it again.") from None
    if refusals:
        raise unsupported(file.name, "cannot be stepped", refusals, "Export the network with other nodes.")
    last = feeds[leaving[0]]
    if len(last) != 1:
        raise BadInput(f"{file.name}: its output reads {len(last)} nodes; one is needed.")
    layers.sort(key=lambda layer: layer.name == last[0])
    shape = file.nodes[entering[0]].get("shape", file.nodes[entering[0]].get("input_type"))
    return Stepped(file.name, entering[0], _shape(shape), tuple(layers))


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


class _Fault(Exception):
    """Why a node cannot be represented."""


def _layer(name: str, kind: str, node: dict[str, Any], inputs: tuple[str, ...], dt: float, reset: Reset) -> Layer:
    if kind in ("IF", "LIF", "CubaLIF", "Threshold", "I", "LI", "CubaLI"):
        neurons, gain, shape = _neurons(kind, node, dt, reset)
        return Layer(name, inputs, None, neurons, shape, gain)
    return Layer(name, inputs, operator(kind, node))


def operator(kind: str, node: dict[str, Any]) -> Op:
    """The linear operator of a NIR node."""
    match kind:
        case "Affine" | "Linear":
            if node["weight"].ndim != 2:
                raise _Fault(f"its weight has {node['weight'].ndim} axes, not two")
            return Dense(node["weight"], node["bias"] if kind == "Affine" else None)
        case "Conv1d" | "Conv2d":
            ndim = int(kind[-2])
            if isinstance(node["padding"], str):
                raise _Fault(f"padding {node['padding']!r}; numbers are needed")
            stride, padding, dilation = (_several(node[key], ndim) for key in ("stride", "padding", "dilation"))
            pads = tuple((p, p) for p in padding)
            return Conv(node["weight"], node["bias"], stride, pads, int(node["groups"]), dilation)
        case "SumPool2d" | "AvgPool2d":
            kernel, stride, padding = (_several(node[key], 2) for key in ("kernel_size", "stride", "padding"))
            pool = SumPool if kind == "SumPool2d" else AvgPool
            return pool(kernel, stride, tuple((p, p) for p in padding))
        case "Scale":
            return Scale(node["scale"], np.zeros_like(node["scale"]))
        case "Flatten":
            shape = _shape(node["input_type"])
            first, last = int(node.get("start_dim", 0)), int(node.get("end_dim", -1)) % len(shape)
            if first > last:
                raise _Fault(f"flattens axes {first} to {last} of {shape}")
            return Reshape((*shape[:first], int(np.prod(shape[first : last + 1])), *shape[last + 1 :]))
    raise _Fault("no such node is known here")


def _neurons(kind: str, node: dict[str, Any], dt: float, reset: Reset) -> tuple[Dynamics, np.ndarray, Shape]:
    """Dynamics over the flattened neurons, the factor on what arrives [*shape], and the shape."""
    like = node["threshold"] if kind == "Threshold" else node["v_threshold"] if kind.endswith("IF") else node["r"]
    shape = _shape(np.array(np.shape(like) or (1,)))

    def each(key: str, default: float = 0.0) -> np.ndarray:
        return np.broadcast_to(np.asarray(node.get(key, default), np.float64), shape)

    def rate(key: str) -> np.ndarray:
        if (each(key) < dt).any():
            raise _Fault(f"{key} of {each(key).min():g} s is below the step of {dt:g} s; give a smaller dt")
        return dt / each(key)

    if each("v_reset").any():
        raise _Fault("its membrane is reset to another value than 0")
    fires = kind.endswith("IF") or kind == "Threshold"
    threshold = np.asarray(like, np.float64).ravel() if fires else np.inf
    r = each("r", 1.0)
    if kind in ("IF", "I", "Threshold"):
        decay, gain, bias, fading = np.float64(kind != "Threshold"), r, 0 * r, 0.0
    elif kind in ("LIF", "LI"):
        pace = rate("tau")
        decay, gain, bias, fading = 1 - pace, pace * r, pace * each("v_leak"), 0.0
    else:
        pace, inner = rate("tau_mem"), rate("tau_syn")
        decay, bias, fading = 1 - pace, pace * each("v_leak"), (1 - inner).ravel()
        gain = pace * r * inner * each("w_in", 1.0)
    made = Dynamics(threshold, bias.ravel(), np.ravel(decay), fading, reset, strict=True)
    return made, gain, shape


def _several(values: Any, number: int) -> tuple[int, ...]:
    """One number for each axis."""
    flat = np.broadcast_to(np.asarray(values), (number,))
    if flat.dtype.kind not in "iu":
        raise ValueError(f"{values} are no whole numbers")
    return tuple(int(v) for v in flat)


def _shape(values: Any) -> Shape:
    shape = tuple(int(v) for v in np.ravel(values))
    if not shape or min(shape) < 1 or np.prod(shape, dtype=np.float64) > 2**28:
        raise BadInput(f"a node has shape {shape}; 1 to {2**28:,} values are possible.")
    return shape
