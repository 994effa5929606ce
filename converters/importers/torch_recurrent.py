"""ATen's recurrent operators: nn.LSTM, nn.GRU and nn.RNN, of any depth and in both directions, and their cells.

Definitions: PyTorch's documentation of `torch.nn`. The batch is the first axis of sequences; of the last states it is
the second, so that these are kept apart until one is taken out.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.importers import recurrent
from converters.importers.builder import Builder
from converters.importers.chain import NotKnown, Refused, Unknown
from converters.importers.pointwise import Expression, View
from converters.importers.recurrent import TANH, Cell, Kind, Tensor, Unrolled
from converters.importers.torch_call import Call
from neuro.layers import Relu

LAYERS: dict[str, Kind] = {"lstm": "lstm", "gru": "gru", "rnn_tanh": "rnn", "rnn_relu": "rnn"}
"""Operators over a sequence."""
CELLS: dict[str, Kind] = {"lstm_cell": "lstm", "gru_cell": "gru", "rnn_tanh_cell": "rnn", "rnn_relu_cell": "rnn"}
"""Operators that take one step."""
ORDERS: dict[Kind, str] = {"lstm": "ifco", "gru": "rzn", "rnn": "n"}
"""The order of the gates in weights."""


@dataclass(frozen=True)
class States:
    """The last states of a layer, one for each direction of each of its layers: the first axis of the tensor."""

    each: tuple[View, ...]


def layers(call: Call) -> list[View | States]:
    """All that a recurrent operator gives, written out step by step.

    Raises:
        Refused: projections, packed sequences, a batch that is not the first axis, or too long a sequence.
    """
    op = call.step.op
    return _one_step(call, CELLS[op]) if op in CELLS else _sequence(call, LAYERS[op])


def taken(call: Call, states: States) -> View:
    """One of several last states: the only things that can be done with them are `h[i]` and, of one, `squeeze(0)`."""
    count = len(states.each)
    match call.step.op:
        case "select" if call.get("dim", 0) in (0, -3):
            place = call.get("index", 0)
            if -count <= place < count:
                return states.each[place]
        case "squeeze" if count == 1 and call.get("dim") in (0, -3):
            return states.each[0]
    raise Refused("it reads the last states of all layers; take one of them, h[-1]")


def _one_step(call: Call, kind: Kind) -> list[View | States]:
    x = call.view("input")
    held = call.step.arguments["hx"]
    starts = [_begin(call, call.values[t.name], 0) for t in (held if isinstance(held, list) else [held])]
    names = ("w_ih", "w_hh", "b_ih", "b_hh")
    cell = _cell(call, kind, [call.constant(n) if call.has(n) else None for n in names])
    build = call.builder
    run = recurrent.unrolled(emitter(build), call.step.layer, [build.settled(x).layer], cell, False, *starts)
    return [build.whole(state) for state in (run.hidden, run.cell) if state is not None]


def _sequence(call: Call, kind: Kind) -> list[View | States]:
    build, name = call.builder, call.step.layer
    if "input" not in call.step.arguments or call.get("train", False):
        raise Refused("a packed sequence" if "input" not in call.step.arguments else "training mode")
    if not call.get("batch_first", False):
        raise Refused("the batch is its second axis; build it with batch_first=True")
    x = call.view("input")
    if len(x.shape) != 2:
        raise Refused("an input without a batch axis")
    steps, size = x.shape
    count, ways = call.get("num_layers", 1), 2 if call.get("bidirectional", False) else 1
    arrays = [call.values[t.name] for t in call.step.arguments["params"]]
    each = 4 if call.get("has_biases", True) else 2
    if len(arrays) != each * count * ways or not all(isinstance(a, np.ndarray) for a in arrays):
        raise Refused("projections (proj_size), or weights that are computed from the input")
    held = call.step.arguments["hx"]
    starts = [call.values[t.name] for t in (held if isinstance(held, list) else [held])]
    emit = emitter(build)
    recurrent.check_length(steps)
    current = recurrent.rows(emit, name, build.settled(x).layer, steps, size)
    ends: list[Unrolled] = []
    width = size
    for layer in range(count):
        found = []
        for way in range(ways):
            place = layer * ways + way
            cell = _cell(call, kind, [*arrays[place * each : (place + 1) * each], None, None][:4])
            label = name + (f"/layer{layer}" if count > 1 else "") + (("/forward", "/reverse")[way] if ways > 1 else "")
            begin = [_begin(call, state, place) for state in starts]
            found.append(recurrent.unrolled(emit, label, current, cell, way == 1, *begin))
        ends += found
        width = build.sizes[found[0].hidden][0]
        current = [recurrent.joined(emit, f"{name}/{layer}/{t}", [f.steps[t] for f in found]) for t in range(steps)]
    outputs: list[View | States] = [build.whole(recurrent.stacked(emit, name, current, ways * width))]
    for states in ([e.hidden for e in ends], [e.cell for e in ends]):
        known = [build.whole(s) for s in states if s is not None]
        outputs += [States(tuple(known))] if known else []
    return outputs


def emitter(build: Builder) -> recurrent.Emit:
    """How layers are added to `build`."""
    return lambda name, op, *inputs: build.emit(name, op, *inputs).layer


def _begin(call: Call, state: Any, place: int) -> Tensor:
    """An initial state: known, or computed from the network's input."""
    if isinstance(state, Unknown):
        raise NotKnown
    if isinstance(state, States):
        return call.builder.settled(state.each[place]).layer
    if isinstance(state, View | Expression):
        view = call.builder.view(state)
        if len(view.shape) != 1:
            raise Refused(f"an initial state of {view.shape} that is computed from the network's input")
        return call.builder.settled(view).layer
    return np.asarray(state, np.float32).reshape(-1, state.shape[-1])[place]


def _cell(call: Call, kind: Kind, arrays: list[np.ndarray | None]) -> Cell:
    weight, state, *biases = arrays
    assert weight is not None
    assert state is not None
    own, held = (np.zeros(len(weight), np.float32) if b is None else b for b in biases)
    weight, state, own, held = (recurrent.ordered(a, kind, ORDERS[kind]) for a in (weight, state, own, held))
    return Cell(kind, weight, state, own, held, candidate=Relu() if "relu" in call.step.op else TANH)
