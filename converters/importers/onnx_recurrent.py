"""ONNX operators of sequences: LSTM, GRU and RNN, and what moves values where the batch is not the first axis.

Recurrent operators have the sequence as the first axis and the batch as the second unless their layout is 1. Streams
carry the place of their batch axis, which has one value; shapes are without it.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np

from converters.importers import recurrent
from converters.importers.chain import Refused, Stream
from converters.importers.onnx_call import Call, within
from converters.importers.recurrent import SIGMOID, TANH, Cell, Emit, Kind, Tensor
from neuro.activations import Function
from neuro.layers import Activation, Concat, Op, Relu, Reshape, Slice, Transpose

RECURRENT: dict[str, Kind] = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn"}
ORDERS: dict[Kind, str] = {"lstm": "iofc", "gru": "zrn", "rnn": "n"}
"""The order of the gates in weights."""
DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
"""Whether each direction begins at the end."""
FUNCTIONS: dict[str, Op] = {
    "sigmoid": SIGMOID,
    "tanh": TANH,
    "relu": Relu(),
    "softsign": Activation(Function("softsign")),
}
"""Functions of gates, by their names in small letters."""
MOVING = ("Transpose", "Squeeze", "Unsqueeze", "Reshape", "Gather", "Slice", "Concat", "Identity", "Dropout")
"""Operators that may read streams with the batch elsewhere."""


def layers(call: Call, name: str, emit: Emit) -> list[Stream]:
    """The layers of a recurrent operator, written out step by step by `emit`, and all its outputs: Y, Y_h, Y_c.

    Raises:
        Refused: options that no cell here has, weights computed from the input, or too long a sequence.
        ValueError: weights that do not fit each other or the input.
    """
    kind, layout = RECURRENT[call.op], call.get("layout", 0)
    given = call.inputs[0]
    steps, size = _sequence(call, layout)
    assert isinstance(given, Stream)
    if (direction := call.get("direction", "forward")) not in DIRECTIONS:
        raise ValueError(f"direction {direction!r} does not exist")
    ways = DIRECTIONS[direction]
    cells = _cells(call, kind, len(ways), size, steps)
    width = cells[0].state.shape[-1]
    x = recurrent.rows(emit, name, given.layer, steps, size)
    found = []
    for way, (reverse, cell) in enumerate(zip(ways, cells, strict=True)):
        label = name if len(ways) == 1 else f"{name}/{'reverse' if reverse else 'forward'}"
        starts = [_start(call, i, way, width, f"{label}/{part}", emit) for i, part in ((5, "hidden"), (6, "cell"))]
        found.append(recurrent.unrolled(emit, label, x, cell, reverse, *starts))
    each = [recurrent.joined(emit, f"{name}/{t}", [f.steps[t] for f in found]) for t in range(steps)]
    lines = recurrent.stacked(emit, name, each, len(ways) * width)
    every = emit(f"{name}/directions", Reshape((steps, len(ways), width)), lines)
    outputs = [Stream(every, (steps, len(ways), width), 0 if layout else 2)]
    for states in ([f.hidden for f in found], [f.cell for f in found]):
        known = [s for s in states if s is not None]
        if len(known) == len(ways):
            ends = recurrent.stacked(emit, f"{name}/last", known, width)
            outputs.append(Stream(ends, (len(ways), width), 0 if layout else 1))
    return outputs


def moves(call: Call) -> bool:
    """Whether the batch is elsewhere than in front, before the operator or after it.

    Raises:
        Refused: it is, and the operator does more than move values.
    """
    if call.batch == 0:
        before = call.op == "Unsqueeze" and 0 in (call.get("axes", None) or call.constant(1, "axes").ravel())
        return before or (call.op == "Transpose" and (call.get("perm", None) or [1])[0] != 0)
    if call.op not in MOVING:
        raise Refused(f"the batch is axis {call.batch} of what it reads; transpose it to the front before")
    return True


def moved(call: Call) -> tuple[tuple[Op, ...], int]:
    """One of `MOVING` for a stream whose batch is anywhere: its layers, and where the batch is afterwards."""
    shape, batch = call.shape(), call.batch
    rank = len(shape) + 1
    full = (*shape[:batch], 1, *shape[batch:])
    match call.op:
        case "Identity" | "Dropout":
            return (), batch
        case "Transpose":
            order = call.get("perm", None) or list(range(rank))[::-1]
            if sorted(order) != list(range(rank)):
                raise ValueError(f"order {order} does not fit an input of {full}")
            inner = tuple(i - (i > batch) for i in order if i != batch)
            return (() if inner == tuple(sorted(inner)) else (Transpose(inner),)), order.index(batch)
        case "Squeeze":
            axes = call.axes(rank)
            if axes is None or batch in axes or any(full[a] != 1 for a in axes):
                raise Refused(f"it removes axes {axes if axes is not None else 'of one value'}, the batch among them")
            kept = [i for i in range(rank) if i not in axes]
            return (Reshape(tuple(full[i] for i in kept if i != batch)),), kept.index(batch)
        case "Unsqueeze":
            count = len(call.get("axes", ())) or call.constant(1, "axes").size
            axes = call.axes(rank + count) or []
            places = [i for i in range(rank + count) if i not in axes]
            sizes = iter(full)
            new = [1 if i in axes else next(sizes) for i in range(rank + count)]
            return _sized(new, places[batch]), places[batch]
        case "Reshape":
            return _reshaped(call, full, batch)
        case "Concat":
            (axis,) = within([call.get("axis", 1)], rank)
            if axis == batch or any(not isinstance(v, Stream) for v in call.inputs):
                raise Refused("joins samples of a batch, or constants to them")
            return (Concat(axis - (axis > batch)),), batch
        case "Gather":
            return _picked(call, batch)
    return _sliced(call, full, batch)


def _sized(full: Sequence[int], batch: int) -> tuple[Op, ...]:
    return (Reshape(tuple(n for i, n in enumerate(full) if i != batch)),)


def _reshaped(call: Call, full: tuple[int, ...], batch: int) -> tuple[tuple[Op, ...], int]:
    target = call.numbers(1, "shape")
    if any(n == 0 and i >= len(full) for i, n in enumerate(target)):
        raise ValueError(f"{target} copies more axes than there are")
    target = target if call.get("allowzero", 0) else [full[i] if n == 0 else n for i, n in enumerate(target)]
    rest = prod(n for n in target if n != -1)
    target = [prod(full) // rest if n == -1 and rest else n for n in target]
    before = prod(full[:batch])
    places = [i for i, n in enumerate(target) if n == 1 and prod(target[:i]) == before]
    if prod(target) != prod(full) or not places:
        raise Refused(f"{list(full)} becomes {target}, which does not keep the batch as one of its axes")
    place = batch if batch in places else places[0]
    return _sized(target, place), place


def _picked(call: Call, batch: int) -> tuple[tuple[Op, ...], int]:
    """Gather of one index."""
    shape = call.shape()
    (axis,) = within([call.get("axis", 0)], len(shape) + 1)
    index = call.constant(1, "indices")
    if axis == batch or index.size != 1 or index.ndim > 1:
        raise Refused("picks samples of a batch or several places")
    own = axis - (axis > batch)
    place = int(index.ravel()[0]) + (shape[own] if int(index.ravel()[0]) < 0 else 0)
    cut: tuple[Op, ...] = (Slice(own, place, place + 1),) if shape[own] > 1 else ()
    if not 0 <= place < shape[own]:
        raise ValueError(f"{shape} has no place {place} along axis {axis}")
    if index.ndim:
        return cut, batch
    return (*cut, Reshape((*shape[:own], *shape[own + 1 :]))), batch - (axis < batch)


def _sliced(call: Call, full: tuple[int, ...], batch: int) -> tuple[tuple[Op, ...], int]:
    """Slices with a step of one."""
    roles = ("starts", "ends", "axes", "steps")
    starts, ends, axes, steps = (_numbers(call, i, role) for i, role in enumerate(roles, start=1))
    cuts: list[Op] = []
    for axis, start, end, step in zip(
        within(axes or list(range(len(starts))), len(full)), starts, ends, steps or [1] * len(starts), strict=True
    ):
        first, last, _ = slice(start, end).indices(full[axis])
        if step != 1 or (axis == batch and (first, last) != (0, 1)):
            raise Refused(f"steps of {step} along axis {axis}, the batch being axis {batch}")
        if (first, last) != (0, full[axis]):
            cuts.append(Slice(axis - (axis > batch), first, last))
    return tuple(cuts), batch


def _numbers(call: Call, i: int, role: str) -> list[int]:
    return call.numbers(i, role) if call.has(i) else [int(n) for n in call.get(role, ())]


def _sequence(call: Call, layout: int) -> tuple[int, int]:
    """How many steps of how many values the operator reads."""
    shape = call.shape()
    if len(shape) != 2 or layout not in (0, 1):
        raise ValueError(f"an input of {shape} besides the batch, or layout {layout}")
    if call.batch != 1 - layout:
        raise Refused(
            f"the batch is axis {call.batch} of its input, not {1 - layout}: its steps are samples of a batch"
        )
    if call.has(4) and (call.constant(4, "sequence_lens").ravel() != shape[0]).any():
        raise Refused(f"sequence_lens other than {shape[0]}; sequences must have one length")
    recurrent.check_length(shape[0])
    return shape[0], shape[1]


def _cells(call: Call, kind: Kind, ways: int, size: int, steps: int) -> list[Cell]:
    weight, state = call.floats(1, "weight"), call.floats(2, "recurrence weight")
    width, gates = state.shape[-1], len(ORDERS[kind])
    if weight.shape != (ways, gates * width, size) or state.shape != (ways, gates * width, width):
        raise ValueError(f"weights {weight.shape} and {state.shape} do not fit an input of {(steps, size)}")
    bias = call.floats(3, "bias") if call.has(3) else np.zeros((ways, 2 * gates * width), np.float32)
    if bias.shape != (ways, 2 * gates * width) or call.get("hidden_size", width) != width:
        raise ValueError(f"bias {bias.shape} or hidden_size {call.get('hidden_size', width)} do not fit {width} units")
    if call.get("clip", 0.0) or call.get("input_forget", 0):
        raise Refused("clip or input_forget, which no cell here has")
    if call.has(7) and call.constant(7, "peepholes").any():
        raise Refused("peepholes, which no cell here has")
    functions = _functions(call, kind, ways)
    cells = []
    for way in range(ways):
        arrays = (weight[way], state[way], *np.split(bias[way], 2))
        each, held, own, inner = (recurrent.ordered(a, kind, ORDERS[kind]) for a in arrays)
        cell = Cell(kind, each, held, own, inner, reset_after=bool(call.get("linear_before_reset", 0)))
        own = functions[way]
        if kind == "rnn":
            cell = replace(cell, candidate=own[0])
        else:
            cell = replace(cell, gate=own[0], candidate=own[1], squash=own[-1])
        cells.append(cell)
    return cells


def _functions(call: Call, kind: Kind, ways: int) -> list[list[Op]]:
    """The functions of each direction."""
    default = {"lstm": ("Sigmoid", "Tanh", "Tanh"), "gru": ("Sigmoid", "Tanh"), "rnn": ("Tanh",)}[kind]
    names = [n.decode() if isinstance(n, bytes) else str(n) for n in call.get("activations", ())] or [*default] * ways
    if len(names) != len(default) * ways:
        raise ValueError(f"activations {names} are not {len(default) * ways}")
    if unknown := [n for n in names if n.lower() not in FUNCTIONS]:
        raise Refused(f"activations {', '.join(unknown)}; only {', '.join(FUNCTIONS)}")
    found = [FUNCTIONS[n.lower()] for n in names]
    return [found[i : i + len(default)] for i in range(0, len(found), len(default))]


def _start(call: Call, i: int, way: int, width: int, name: str, emit: Emit) -> Tensor | None:
    """An initial state of one direction: known, computed from the network's input, or left out."""
    if not call.has(i):
        return None
    given = call.inputs[i]
    if isinstance(given, np.ndarray):
        state = given.astype(np.float32)
        if state.shape[2:] != (width,) or state.size != state.shape[call.get("layout", 0)] * width:
            raise ValueError(f"an initial state of {state.shape} does not fit {width} units and one sample")
        return state.reshape(-1, width)[way]
    shape = call.shape(i)
    if len(shape) != 2 or shape[1] != width or way >= shape[0]:
        raise ValueError(f"an initial state of {shape} does not fit {width} units")
    assert isinstance(given, Stream)
    cut = given.layer if shape[0] == 1 else emit(f"{name}.start", Slice(0, way, way + 1), given.layer)
    return emit(f"{name}.begin", Reshape((width,)), cut)
