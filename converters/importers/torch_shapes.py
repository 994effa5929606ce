"""ATen operators that move values without changing them; all must leave the batch axis where it is."""

from math import prod

import numpy as np

from converters.importers.chain import NotKnown, Refused, Unknown
from converters.importers.pointwise import View
from converters.importers.torch_call import Call

MOVING = (
    "permute", "transpose", "t", "swapaxes", "movedim", "view", "reshape", "_unsafe_view", "flatten", "unflatten",
    "squeeze", "unsqueeze", "expand", "slice", "select", "chunk", "split", "split_with_sizes",
)  # fmt: skip
"""Operators that move values, or leave some away."""


def concat(call: Call) -> View:
    """Tensors one behind the other."""
    found = [call.values[t.name] for t in call.step.arguments["tensors"]]
    if any(isinstance(v, Unknown) for v in found):
        raise NotKnown
    if any(isinstance(v, np.ndarray) for v in found):
        raise Refused("one of its inputs is a constant")
    views = [call.builder.view(v) for v in found]
    axis = call.axis("dim", len(views[0].shape) + 1, 0)
    if axis == 0:
        raise Refused("it joins along the batch axis")
    return views[0] if len(views) == 1 else call.builder.concat(call.step.layer, views, axis - 1)


def pad(call: Call) -> View:
    """Zeros around a tensor."""
    x = call.view("self")
    if (mode := call.get("mode", "constant")) != "constant":
        raise Refused(f"mode {mode}; only zeros")
    if (value := call.get("value", 0)) != 0:
        raise Refused(f"pads with {value}; only zeros")
    given = call.get("pad", [])
    inner = [(given[i], given[i + 1]) for i in range(0, len(given), 2)][::-1]  # the last axis comes first
    full = [*[(0, 0)] * (len(x.shape) + 1 - len(inner)), *inner]
    if len(full) != len(x.shape) + 1:
        raise ValueError(f"pads {given} do not fit an input of {x.shape}")
    if any(full[0]):
        raise Refused("pads the batch axis")
    return call.builder.pad(call.step.layer, x, tuple(full[1:])) if any(map(any, full)) else x


def moved(call: Call, op: str) -> View:
    """One of `MOVING`."""
    names = call.step.arguments
    if op not in MOVING or "self" not in names:
        raise Refused("no layer here does this")
    x = call.view("self")
    rank = len(x.shape) + 1
    target = call.step.outputs[0][1]
    if op in ("permute", "transpose", "t", "swapaxes", "movedim"):
        if op == "permute":
            order = call.axes(call.get("dims"), rank)
        elif op == "movedim":
            (a,), (b,) = (call.axes(list(call.ints(n, 1)), rank) for n in ("source", "destination"))
            order = [i for i in range(rank) if i != a]
            order.insert(b, a)
        else:
            a, b = (0, 1) if op == "t" else (call.axis(n, rank) for n in sorted(names) if n != "self")
            order = list(range(rank))
            order[a], order[b] = b, a
        if order[0] != 0:
            raise Refused(f"order {order} moves the batch axis")
        return call.builder.transpose(x, [i - 1 for i in order[1:]])
    if target is None:
        raise NotKnown
    if op in ("select", "slice") and (axis := call.axis("dim", rank, 0)) > 0:
        size = x.shape[axis - 1]
        place = call.get("index", 0)
        place += size if place < 0 else 0
        start, stop = call.cut(size) if op == "slice" else (place, place + 1)
        if not 0 <= start < stop <= size:
            raise ValueError(f"{x.shape} has no values {start} to {stop} along axis {axis}")
        part = call.builder.slice(call.step.layer, x, axis - 1, start, stop)
        return part if op == "slice" else call.builder.reshape(part, tuple(target[1:]))
    if len(target) == 0 or target[0] != 1 or (op in ("squeeze", "unsqueeze") and _touches_batch(call, op, rank)):
        raise Refused(f"{[1, *x.shape]} becomes {list(target)}, which does not keep the batch as the first of its axes")
    if prod(target) != prod(x.shape) or (op == "slice" and tuple(target[1:]) != x.shape):
        raise Refused(f"it takes a part of its input: {[1, *x.shape]} becomes {list(target)}")
    return call.builder.reshape(x, tuple(target[1:]))


def _touches_batch(call: Call, op: str, rank: int) -> bool:
    if "dim" not in call.step.arguments:
        return True  # a squeeze of all axes of one value takes the batch too
    dims = call.get("dim")
    count = rank + (op == "unsqueeze")
    return 0 in call.axes(dims if isinstance(dims, list) else [dims], count)
