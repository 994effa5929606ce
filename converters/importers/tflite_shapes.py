"""TFLite operators that move values without changing them; all must leave the batch axis where it is."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from converters.importers.layout import Builder
from converters.importers.onnx_call import Refused
from converters.importers.tflite_call import Call, Held
from neuro.layers import Shape


def axis(axis: int, x: Held) -> int:
    """An axis of the file as one of the sample."""
    rank = len(x.full)
    counted = axis + rank if axis < 0 else axis
    if not 0 <= counted < rank:
        raise ValueError(f"axis {axis} of {x.full} does not exist")
    if x.batched and counted == 0:
        raise Refused("it works along the batch axis")
    return counted - x.batched


def pad(build: Builder, call: Call) -> Held:
    x = call.held()
    wholes = call.wholes(1)
    if len(wholes) != 2 * len(x.full) or min(wholes, default=0) < 0:
        raise ValueError(f"pads {wholes} do not fit an input of {x.full}")
    pads = tuple(zip(wholes[::2], wholes[1::2], strict=True))
    if x.batched and any(pads[0]):
        raise Refused("pads the batch axis")
    return replace(x, stream=build.padded(x.stream, call.name, pads[x.batched :]))


def reshaped(build: Builder, call: Call) -> Held:
    """Every axis of the file counts; a leading one of size 1 with others behind it is the batch."""
    x = call.held()
    full = _target(call, x)
    batched = len(full) > 1 and full[0] == 1
    shape = full[1:] if batched else full
    return replace(x, stream=build.reshaped(x.stream, call.name, shape), batched=batched)


def _target(call: Call, x: Held) -> Shape:
    match call.operator.kind:
        case "SQUEEZE":
            dims: Sequence[int] = call.operator.options.get("SqueezeDims") or []
            axes = {d + len(x.full) if d < 0 else d for d in dims} or {i for i, n in enumerate(x.full) if n == 1}
            if any(not 0 <= a < len(x.full) or x.full[a] != 1 for a in axes):
                raise ValueError(f"axes {sorted(axes)} of {x.full} are not all of size 1")
            return tuple(n for i, n in enumerate(x.full) if i not in axes)
        case "EXPAND_DIMS":
            (axis,) = call.wholes(1) or (0,)
            axis = axis + len(x.full) + 1 if axis < 0 else axis
            return (*x.full[:axis], 1, *x.full[axis:])
    stored = len(call.tensors) > 1 and (t := call.tensors[1]) is not None and t.data is not None
    target = call.wholes(1) if stored else call.operator.options.get("NewShape") or list(call.result.shape)
    rest = prod(n for n in target if n != -1)
    if target.count(-1) > 1 or any(n < 1 and n != -1 for n in target):
        raise ValueError(f"shape {target}")
    return tuple(prod(x.full) // rest if n == -1 else n for n in target)


def transpose(build: Builder, call: Call) -> Held:
    x = call.held()
    order = call.wholes(1)
    if sorted(order) != list(range(len(x.full))):
        raise ValueError(f"order {order} does not fit an input of {x.full}")
    if x.batched and order[0] != 0:
        raise Refused(f"order {order} moves the batch axis")
    return replace(x, stream=build.permuted(x.stream, [o - x.batched for o in order[x.batched :]]))


def cast(call: Call) -> Held:
    x = call.held()
    if not x.ids or call.result.kind not in ("INT32", "INT64"):
        raise Refused(f"casts to {call.result.kind}")
    return x
