"""Keras's recurrent layers: LSTM, GRU, SimpleRNN, RNN over one of their cells, and Bidirectional around them.

Kernels lie as [input, gate * unit], biases of a GRU that resets behind its matrix as [2, gate * unit]. Definitions: the
Keras API reference, https://keras.io/api/layers/recurrent_layers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from converters.importers import recurrent
from converters.importers.keras_call import Layer, custom
from converters.importers.keras_functions import named
from converters.importers.layout import Builder, Stream, plain
from converters.importers.onnx_call import Refused
from converters.importers.recurrent import Cell, Kind
from neuro.errors import BadInput
from neuro.layers import Add, Op, Scale, Softmax

RECURRENT = ("LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional")
"""Layers that run over a sequence."""
CELLS: dict[str, Kind] = {"LSTM": "lstm", "GRU": "gru", "SimpleRNN": "rnn"}
ORDERS: dict[Kind, str] = {"lstm": "ifco", "gru": "zrn", "rnn": "n"}
"""The order of the gates in weights."""
ROLES = ("kernel", "recurrent_kernel", "bias")


@dataclass(frozen=True, eq=False)
class _Way:
    """One direction: a layer of one of `CELLS`, its options taken from its cell if it is an RNN; `folder` holds its
    weights in a `.keras` file. back: whether it runs from the end of the sequence."""

    kind: Kind
    layer: Layer
    folder: str
    back: bool


def check(layer: Layer) -> None:
    """Refuse cells and options that no input could make fit."""
    for way in _ways(layer):
        _functions(way)


def convert(build: Builder, layer: Layer, x: Stream) -> Stream:
    """The layers of a recurrent layer, written out step by step."""
    if len(x.shape) != 2:
        raise ValueError(f"{layer.kind} does not fit an input of {x.shape}")
    steps, size = x.shape
    recurrent.check_length(steps)
    ways = _ways(layer)
    rows = recurrent.rows(build.add, layer.name, build.settled(x).layer, steps, size)
    found = []
    for way, arrays in zip(ways, _weights(layer, ways), strict=True):
        label = layer.name if len(ways) == 1 else f"{layer.name}/{'backward' if way.back else 'forward'}"
        found.append(recurrent.unrolled(build.add, label, rows, _cell(way, arrays), way.back))
    if not ways[0].layer.flag("return_sequences", False):
        last = _merged(build, layer, layer.name, [f.hidden for f in found])
        return plain(last, build.shapes[last])
    order = range(steps)[::-1] if len(ways) == 1 and ways[0].back else range(steps)  # of the steps as they are taken
    each = [_merged(build, layer, f"{layer.name}/{t}", [f.steps[t] for f in found]) for t in order]
    whole = recurrent.stacked(build.add, layer.name, each, build.shapes[each[0]][0])
    return plain(whole, build.shapes[whole])


def _merged(build: Builder, layer: Layer, name: str, states: list[str]) -> str:
    """What both directions give, as one."""
    if len(states) == 1:
        return states[0]
    match layer.text("merge_mode", "concat"):
        case "concat":
            return recurrent.joined(build.add, f"{name}/joined", states)
        case "mul":
            return recurrent.times(build.add, f"{name}/times", states[0], states[1], build.shapes[states[0]])
        case "sum":
            return build.add(f"{name}/sum", Add(), *states)
    half = Scale(np.full((), 0.5, np.float32), np.zeros((), np.float32))
    return build.add(f"{name}/mean", half, build.add(f"{name}/sum", Add(), *states))


def _ways(layer: Layer) -> list[_Way]:
    """The directions of a recurrent layer, forward first."""
    path, config = layer.place.path, layer.config
    if layer.kind != "Bidirectional":
        return [_way(layer, path, layer.flag("go_backwards", False))]
    forward, given = _inner(layer, config.get("layer")), config.get("backward_layer")
    backward = forward if given is None else _inner(layer, given)
    found = [_way(forward, f"{path}/forward_layer", False), _way(backward, f"{path}/backward_layer", True)]
    if len({way.layer.flag("return_sequences", False) for way in found}) > 1:
        raise ValueError("only one of its directions returns sequences")
    if forward.flag("go_backwards", False) or (given is not None and not backward.flag("go_backwards", False)):
        raise Refused("its first layer goes backwards, or its second one does not")
    if (mode := config.get("merge_mode", "concat")) not in ("concat", "sum", "ave", "mul"):
        raise Refused(f"merge_mode {str(mode)[:40]!r}; only concat, sum, ave and mul")
    return found


def _inner(layer: Layer, spec: Any) -> Layer:
    """The layer that a Bidirectional, or the cell that an RNN, holds."""
    if not isinstance(spec, Mapping) or not isinstance(spec.get("config"), Mapping):
        raise ValueError(f"{layer.kind} holds no layer")
    if custom(spec.get("module"), spec.get("registered_name")):
        raise Refused("it holds a custom layer, whose code is never run")
    return replace(layer, kind=str(spec.get("class_name")), config=spec["config"], module=str(spec.get("module")))


def _way(layer: Layer, folder: str, back: bool) -> _Way:
    if on := [key for key in ("return_state", "stateful", "time_major") if layer.flag(key, False)]:
        raise Refused(f"{on[0]}=True; only what a layer gives for one sequence is known here")
    cell = layer
    if layer.kind == "RNN":
        cell = _inner(layer, layer.config.get("cell"))
        cell = replace(cell, kind=cell.kind.removesuffix("Cell"))
    if cell.kind not in CELLS:
        raise Refused(f"a cell {cell.kind[:40]!r}; only those of {', '.join(CELLS)}")
    options = {**cell.config, "return_sequences": layer.config.get("return_sequences", False)}
    return _Way(CELLS[cell.kind], replace(cell, config=options), f"{folder}/cell", back)


def _functions(way: _Way) -> list[Op]:
    """The functions of gates and of candidates."""
    found: list[Op] = []
    for key, default in (("recurrent_activation", "sigmoid"), ("activation", "tanh")):
        op = named(way.layer.config.get(key, default), way.layer.version)
        if op is None or isinstance(op, Softmax):
            raise Refused(f"{key} {way.layer.config.get(key)!r} in a cell")
        found.append(op)
    return found


def _weights(layer: Layer, ways: list[_Way]) -> list[list[np.ndarray]]:
    """Kernel, kernel of the state and bias, if there is one, of each direction."""
    source, place = layer.source, layer.place
    count = 3 if ways[0].layer.flag("use_bias", True) else 2
    if source.native:
        return [replace(layer, place=replace(place, path=way.folder)).weights(*ROLES[:count]) for way in ways]
    names = [n for n in source.names(place.outer) if place.outer == place.name or place.name in n.split("/")]
    arrays = [source.array(f"{place.outer}/{n}") for n in names]
    found = [a for a in arrays if a is not None and a.dtype.kind == "f"]
    if len(found) != count * len(ways) or len(arrays) != len(found):
        raise BadInput(
            f"{source.file}: layer {layer.name!r} ({layer.kind}) needs {count * len(ways)} arrays of weights, but "
            f"{len(found)} are stored; save the model again."
        )
    return [found[i : i + count] for i in range(0, len(found), count)]


def _cell(way: _Way, arrays: list[np.ndarray]) -> Cell:
    kind, order = way.kind, ORDERS[way.kind]
    kernel, state, *rest = (a.astype(np.float32) for a in arrays)
    after = kind == "gru" and way.layer.flag("reset_after", True)
    bias = rest[0] if rest else np.zeros(kernel.shape[-1:] if not after else (2, *kernel.shape[-1:]), np.float32)
    if kernel.ndim != 2 or state.ndim != 2 or bias.ndim != 1 + after:
        raise ValueError(f"weights {kernel.shape}, {state.shape} and bias {bias.shape} do not fit a cell")
    own, held = (bias[0], bias[1]) if after else (bias, np.zeros_like(bias))
    kernel, state, own, held = (recurrent.ordered(a, kind, order) for a in (kernel.T, state.T, own, held))
    gate, candidate = _functions(way)
    return Cell(kind, kernel, state, own, held, reset_after=after, gate=gate, candidate=candidate, squash=candidate)
