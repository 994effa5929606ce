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

from pathlib import Path
from typing import Any, Literal

import numpy as np

from converters.importers.nir_file import Fault, File, operator, ordered, read, shape_of
from converters.importers.nir_integer import integer_graph
from neuro.dynamics import Dynamics
from neuro.errors import BadInput, Refusal, unsupported
from neuro.graph import Graph
from neuro.layers import Shape
from neuro.stepped import Layer, Stepped

Reset = Literal["hard", "soft"]
STEP = 1e-4
"""Seconds of a step unless said otherwise: what NIR's own files of trained networks have."""
DAMAGE = (KeyError, ValueError, TypeError, IndexError, AttributeError, ArithmeticError)
"""What parameters of other types and sizes than NIR writes raise."""


def load(path: Path, dt: float = STEP, reset: Reset = "hard") -> Stepped | Graph:
    """The network in a NIR file: an integer one if we exported it, otherwise one to be stepped.

    dt: seconds of a step. reset: what a spike does to a membrane, which NIR leaves to its readers.

    Raises:
        BadInput: no such file, or a damaged one. Unsupported: nodes that cannot be represented, all of them listed.
    """
    found = read(path)
    try:
        return integer_graph(found) if str(found.metadata.get("format")) == "neuro" else stepped(found, dt, reset)
    except DAMAGE as error:
        raise BadInput(f"{found.name} is damaged: {error}; write it again.") from None


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
        except Fault as fault:
            refusals.append(Refusal(name, kind, str(fault)))
        except DAMAGE as error:
            raise BadInput(f"{file.name}: node {name!r} ({kind}) is damaged: {error}; write it again.") from None
    if refusals:
        raise unsupported(file.name, "cannot be stepped", refusals, "Export the network with other nodes.")
    last = feeds[leaving[0]]
    if len(last) != 1:
        raise BadInput(f"{file.name}: its output reads {len(last)} nodes; one is needed.")
    layers.sort(key=lambda layer: layer.name == last[0])
    shape = file.nodes[entering[0]].get("shape", file.nodes[entering[0]].get("input_type"))
    return Stepped(file.name, entering[0], shape_of(shape), tuple(layers))


def _layer(name: str, kind: str, node: dict[str, Any], inputs: tuple[str, ...], dt: float, reset: Reset) -> Layer:
    if kind in ("IF", "LIF", "CubaLIF", "Threshold", "I", "LI", "CubaLI"):
        neurons, gain, shape = _neurons(kind, node, dt, reset)
        return Layer(name, inputs, None, neurons, shape, gain)
    return Layer(name, inputs, operator(kind, node))


def _neurons(kind: str, node: dict[str, Any], dt: float, reset: Reset) -> tuple[Dynamics, np.ndarray, Shape]:
    """Dynamics over the flattened neurons, the factor on what arrives [*shape], and the shape."""
    like = node["threshold"] if kind == "Threshold" else node["v_threshold"] if kind.endswith("IF") else node["r"]
    shape = shape_of(np.array(np.shape(like) or (1,)))

    def each(key: str, default: float = 0.0) -> np.ndarray:
        return np.broadcast_to(np.asarray(node.get(key, default), np.float64), shape)

    def rate(key: str) -> np.ndarray:
        if (each(key) < dt).any():
            raise Fault(f"{key} of {each(key).min():g} s is below the step of {dt:g} s; give a smaller dt")
        return dt / each(key)

    if each("v_reset").any():
        raise Fault("its membrane is reset to another value than 0")
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
