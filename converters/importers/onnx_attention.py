"""ONNX operators of transformers: products of two streams, softmax, layer norm, class tokens and picked tokens."""

import numpy as np

from converters.importers.chain import Refused, Stream
from converters.importers.onnx_call import Call, within
from neuro.layers import Concat, LayerNorm, Op, Pad, Product, Reshape, Scale, Slice, Softmax, Transpose


def product(call: Call) -> tuple[Op, ...]:
    """A matrix product of two streams, over axes behind the batch."""
    left, right = call.shape(0), call.shape(1)
    if len(left) < 2 or len(left) != len(right) or left[:-2] != right[:-2]:
        raise Refused(f"operands of {left} and {right}; only as many axes each, all but the last two alike")
    return (Product(),)


def softmax(call: Call) -> tuple[Op, ...]:
    """A softmax over one axis; older operator sets take it over all axes from one on, which is the last or none."""
    shape, axis = call.shape(), call.get("axis", -1 if call.opset >= 13 else 1)
    (axis,) = within([axis], len(shape) + 1)
    if axis == 0 or (call.opset < 13 and axis != len(shape)):
        raise Refused(f"axis {axis} of an input of {shape}; only one axis behind the batch")
    if call.op == "LogSoftmax" and not call.last:
        raise Refused("only the last layer may be the logarithm of a softmax")
    order = (*(i for i in range(len(shape)) if i != axis - 1), axis - 1)
    if order == tuple(range(len(shape))):
        return (Softmax(),)
    return Transpose(order), Softmax(), Transpose(tuple(int(i) for i in np.argsort(order)))


def layer_norm(call: Call) -> tuple[Op, ...]:
    """A layer norm over the last axis."""
    shape = call.shape()
    (axis,) = within([call.get("axis", -1)], len(shape) + 1)
    if axis != len(shape):
        raise Refused(f"from axis {axis} of an input of {shape}; only over the last")
    gain = np.broadcast_to(call.floats(1, "scale"), shape[-1:])
    offset = np.broadcast_to(call.floats(2, "bias"), shape[-1:]) if call.has(2) else np.zeros(shape[-1:], np.float32)
    return (LayerNorm(gain.copy(), offset.copy(), float(call.get("epsilon", 1e-5))),)


def concat(call: Call) -> tuple[Op, ...]:
    """Streams one behind the other; a constant besides one stream, such as a class token, is added to zeros."""
    streams = [i for i, value in enumerate(call.inputs) if not isinstance(value, np.ndarray)]
    shape = call.shape(streams[0])
    (axis,) = within([call.get("axis", 1)], len(shape) + 1)
    if axis == 0:
        raise Refused("joins samples of a batch")
    if len(streams) == len(call.inputs):
        return () if len(streams) == 1 else (Concat(axis - 1),)
    if len(streams) > 1:
        raise Refused("constants besides several inputs; join them one after the other")
    parts = []
    for i in range(len(call.inputs)):
        part = np.zeros(shape, np.float32) if i == streams[0] else _sample(call.floats(i, "operand"), len(shape))
        parts.append(part)
    sizes = [part.shape[axis - 1] for part in parts]
    before = sum(sizes[: streams[0]])
    pads = [(0, 0)] * len(shape)
    pads[axis - 1] = (before, sum(sizes) - before - shape[axis - 1])
    return Pad(tuple(pads)), Scale(np.ones((), np.float32), np.concatenate(parts, axis - 1))


def _sample(constant: np.ndarray, rank: int) -> np.ndarray:
    if constant.ndim != rank + 1 or len(constant) != 1:
        raise Refused(f"a constant of {constant.shape} beside an input of {rank} axes and the batch")
    return constant[0]


def picked(call: Call) -> tuple[Op, ...]:
    """Gather of one index, such as a class token, or of several that follow each other."""
    shape = call.shape()
    (axis,) = within([call.get("axis", 0)], len(shape) + 1)
    if axis == 0:
        raise Refused("picks samples of a batch")
    index = call.constant(1, "indices")
    size = shape[axis - 1]
    places = [i + size if i < 0 else i for i in call.numbers(1, "indices")]
    if not places or places != list(range(places[0], places[0] + len(places))) or index.ndim > 1:
        raise Refused("picks values that do not follow each other")
    cut = Slice(axis - 1, places[0], places[-1] + 1)
    rest = (*shape[: axis - 1], *shape[axis:])
    if index.ndim:
        return (cut,)
    if not rest:
        raise Refused("picks single values")
    return cut, Reshape(rest)


def sliced(call: Call) -> tuple[Op, ...]:
    """Slices with a step of one."""
    shape = call.shape()
    starts, ends = (_numbers(call, i, role) for i, role in ((1, "starts"), (2, "ends")))
    axes = _numbers(call, 3, "axes") or list(range(len(starts)))
    steps = _numbers(call, 4, "steps") if call.has(4) else [1] * len(starts)
    if any(step != 1 for step in steps):
        raise Refused(f"steps {steps}; only 1")
    cuts = []
    for axis, start, end in zip(within(axes, len(shape) + 1), starts, ends, strict=True):
        if axis == 0:
            raise Refused("picks samples of a batch")
        size = shape[axis - 1]
        first, last = (min(max(n + size if n < 0 else n, 0), size) for n in (start, end))
        if (first, last) != (0, size):
            cuts.append(Slice(axis - 1, first, last))
    return tuple(cuts)


def _numbers(call: Call, i: int, role: str) -> list[int]:
    """Whole numbers from an input, or in operator sets before 10 from an attribute."""
    if call.opset < 10:
        return [int(n) for n in call.get(role, ())]
    return call.numbers(i, role) if call.has(i) else []


def is_product(call: Call) -> bool:
    """Whether both operands come from the network's input."""
    return all(not isinstance(value, np.ndarray) for value in call.inputs) and isinstance(call.inputs[0], Stream)
