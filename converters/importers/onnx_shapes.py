"""ONNX operators that move values without changing them; all must leave the batch axis where it is."""

from math import prod

from converters.importers.chain import Refused
from converters.importers.onnx_call import Call, pairs, within
from neuro.layers import Op, Pad, Reshape, Transpose


def flatten(call: Call) -> tuple[Op, ...]:
    axis = call.get("axis", 1)
    if axis != 1 and (axis >= 0 or axis + len(call.shape()) != 0):
        raise Refused(f"axis {axis}; only axis 1 keeps the batch")
    return _reshaped(call, [1, prod(call.shape())])


def reshape(call: Call) -> tuple[Op, ...]:
    target = call.numbers(1, "shape")
    full = (1, *call.shape())
    sizes = list(target)
    if not call.get("allowzero", 0):
        if any(n == 0 and i >= len(full) for i, n in enumerate(sizes)):
            raise ValueError(f"{target} copies more axes than there are")
        sizes = [full[i] if n == 0 else n for i, n in enumerate(sizes)]
    if -1 in sizes:
        rest = prod(n for n in sizes if n != -1)
        sizes = [prod(full) // rest if n == -1 and rest else n for n in sizes]
    return _reshaped(call, sizes)


def squeeze(call: Call) -> tuple[Op, ...]:
    full = (1, *call.shape())
    axes = call.axes(len(full))
    if axes is None:
        raise Refused("it names no axes, so a batch of one would go too")
    if 0 in axes:
        raise Refused("it removes the batch axis")
    if any(full[a] != 1 for a in axes):
        raise ValueError(f"axes {axes} of {full} are not all of size 1")
    return _reshaped(call, [n for i, n in enumerate(full) if i not in axes])


def unsqueeze(call: Call) -> tuple[Op, ...]:
    shape = call.shape()
    count = len(call.get("axes", ())) or (call.constant(1, "axes").size if call.has(1) else 0)
    axes = call.axes(len(shape) + 1 + count) or []
    if 0 in axes:
        raise Refused("it puts an axis before the batch")
    sizes = iter((1, *shape))
    return _reshaped(call, [1 if i in axes else next(sizes) for i in range(len(shape) + 1 + len(axes))])


def _reshaped(call: Call, sizes: list[int]) -> tuple[Op, ...]:
    if len(sizes) < 2 or sizes[0] != 1:
        raise Refused(f"{[1, *call.shape()]} becomes {sizes}, which does not keep the batch as the first of its axes")
    return () if tuple(sizes[1:]) == call.shape() else (Reshape(tuple(sizes[1:])),)


def transpose(call: Call) -> tuple[Op, ...]:
    order = call.get("perm", None)
    if order is None or order[0] != 0:
        raise Refused(f"order {order or 'reversed'} moves the batch axis")
    if sorted(order) != list(range(len(call.shape()) + 1)):
        raise ValueError(f"order {order} does not fit an input of {call.shape()}")
    return () if order == sorted(order) else (Transpose(tuple(i - 1 for i in order[1:])),)


def pad(call: Call) -> tuple[Op, ...]:
    if (mode := call.get("mode", "constant")) != "constant":
        raise Refused(f"mode {mode}; only zeros")
    value = call.constant(2, "value").item() if call.has(2) else call.get("value", 0.0)
    if value != 0:
        raise Refused(f"pads with {value}; only zeros")
    given = call.get("pads", None) if call.opset < 11 else call.numbers(1, "pads")
    rank = len(call.shape()) + 1
    axes = within(call.numbers(3, "axes"), rank) if call.has(3) else list(range(rank))
    pads = dict(zip(axes, pairs(given or (), len(axes)), strict=True))
    if any(pads.pop(0, (0, 0))):
        raise Refused("pads the batch axis")
    full = tuple(pads.get(i, (0, 0)) for i in range(1, rank))
    return (Pad(full),) if any(map(any, full)) else ()
