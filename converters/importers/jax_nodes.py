"""What each JAX primitive becomes.

The meaning of primitives and their parameters is the one of `jax.lax`. The batch axis is followed, since `jax.vmap`
moves it; it has one value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any, TypeAlias

import numpy as np

from converters.importers.builder import Builder, spatial
from converters.importers.chain import NotKnown, Refused, Unknown
from converters.importers.jax_program import RANDOM, Equation
from converters.importers.pointwise import Expression, View
from converters.importers.recurrent import check_length
from neuro.layers import AvgPool, Conv, MaxPool, Shape

ONE = (
    "abs", "ceil", "erf", "erfc", "exp", "exp2", "expm1", "floor", "is_finite", "log", "log1p", "logistic", "neg",
    "not", "round", "rsqrt", "sign", "sqrt", "square", "tanh",
)  # fmt: skip
"""Functions of one value that `converters.importers.pointwise` has too."""
TWO = ("add", "and", "div", "eq", "ge", "gt", "le", "lt", "max", "min", "mul", "ne", "or", "pow", "sub")
"""Functions of two values."""
SAME = ("copy", "copy_p", "stop_gradient", "optimization_barrier", "name", "sharding_constraint")
"""Primitives that change no value."""


@dataclass(frozen=True)
class Traced:
    """A tensor computed from the network's input, per sample, and where its batch axis was."""

    value: View | Expression
    batch: int

    def sample_axis(self, axis: int) -> int:
        """An axis counted without the batch, which it must not be."""
        if axis == self.batch:
            raise Refused("it reduces, moves or joins the batch axis")
        return axis - (axis > self.batch)


Value: TypeAlias = "np.ndarray | Traced | Unknown"


@dataclass(frozen=True, eq=False)
class Call:
    """One equation with what it reads: tensors or constants."""

    builder: Builder
    equation: Equation
    inputs: tuple[Any, ...]

    def get(self, name: str, default: Any = None) -> Any:
        """A parameter of the primitive."""
        return self.equation.params.get(name, default)

    def named(self, kind: str, weighted: bool = False) -> str:
        """What the layer is called: the scope, and for those without weights what it does."""
        scope = self.equation.scope
        return (scope or kind) if weighted else f"{scope}/{kind}" if scope else kind

    def tensor(self, i: int = 0) -> Traced:
        """Input `i`, which must depend on the network's input."""
        found = self.inputs[i]
        if isinstance(found, Unknown):
            raise NotKnown
        if not isinstance(found, Traced):
            raise Refused(f"its operand {i} is a constant")
        return found

    def view(self, i: int = 0) -> View:
        """The same as values of a layer."""
        return self.builder.view(self.tensor(i).value)

    def constant(self, i: int) -> np.ndarray:
        """Input `i`, which must be a constant."""
        found = self.inputs[i]
        if isinstance(found, Traced):
            raise Refused(f"its operand {i} is computed from the network's input")
        if isinstance(found, Unknown):
            raise NotKnown
        return np.asarray(found)


def convert(call: Call) -> Traced | np.ndarray:
    """What `call` gives, its layers emitted, or a constant.

    Raises:
        Refused: there are none.
        NotKnown: it depends on the result of a refused primitive.
        ValueError: the primitive does not fit its inputs.
    """
    name = call.equation.name
    if name in RANDOM:
        raise Refused("it draws random numbers; bind the network in evaluation mode")
    if name in SAME:
        return call.tensor()
    if name in (*ONE, *TWO, "add_any", "integer_pow", "clamp", "select_n", "convert_element_type"):
        return _pointwise(call, name)
    match name:
        case "conv_general_dilated":
            return _conv(call)
        case "dot_general":
            return _matrix(call)
        case "reduce_window_max" | "reduce_window_sum":
            return _pool(call, name)
        case "reduce_max" | "reduce_sum":
            return _reduce(call, name)
        case "gather":
            return _gather(call)
        case "concatenate":
            return _concat(call)
        case "slice" | "rev":
            return _part(call, name)
        case "scan":
            check_length(int(call.get("length")))
        case "pad":
            return _pad(call)
        case "reshape" | "squeeze" | "expand_dims" | "broadcast_in_dim" | "transpose":
            return _moved(call, name)
    raise Refused("no layer here does this")


def _pointwise(call: Call, name: str) -> Traced | np.ndarray:
    if name == "mul" and any(not isinstance(i, Traced | Unknown) and not np.any(i) for i in call.inputs):
        return np.zeros(call.equation.outputs[0][1], np.float32)  # a state before the first step, forgotten or not
    batch = next(i.batch for i in call.inputs if isinstance(i, Traced))
    given = [_operand(call, i, batch) for i in range(len(call.inputs))]
    build, label = call.builder, call.named("*")
    match name:
        case "integer_pow":
            name, given = "pow", [*given, float(call.get("y"))]
        case "add_any":
            name = "add"
        case "clamp":
            low, x, high = given
            name, given = "min", [build.pointwise(label, "max", [x, low]), high]
        case "select_n" if len(given) == 3:
            name, given = "where", [given[0], given[2], given[1]]
        case "select_n":
            raise Refused(f"it chooses among {len(given) - 1} tensors")
        case "round" if int(call.get("rounding_method", 1)) == 0:
            raise Refused("it rounds halves away from zero, not to even")
        case "convert_element_type":
            kind = np.dtype(call.get("new_dtype"))
            if call.equation.whole:
                return Traced(build.pointwise(label, "truncate", given), batch)
            if kind == np.bool_:
                return Traced(build.pointwise(label, "ne", [*given, 0.0]), batch)
            if kind.name not in ("float32", "float64"):
                raise Refused(f"a conversion to {kind.name}, which loses digits; compute in float32")
            return call.tensor()
    return Traced(build.pointwise(label, name, given), batch)


def _operand(call: Call, i: int, batch: int) -> View | Expression | np.ndarray:
    """An operand of a function of each value: a tensor, or a constant without its batch axis."""
    found = call.inputs[i]
    if isinstance(found, Unknown):
        raise NotKnown
    if isinstance(found, Traced):
        if found.batch != batch:
            raise Refused("its operands have their batch axes at different places")
        return found.value
    constant = np.asarray(found)
    if constant.dtype == np.bool_:
        constant = constant.astype(np.float32)
    if constant.ndim <= batch:
        return constant
    if constant.shape[batch] != 1:
        raise Refused(f"a constant of {constant.shape} differs from sample to sample")
    return constant.squeeze(batch)


def _conv(call: Call) -> Traced:
    x, weight = call.tensor(), call.constant(1)
    numbers = call.get("dimension_numbers")
    if call.get("batch_group_count", 1) != 1:
        raise Refused(f"batch_group_count {call.get('batch_group_count')}")
    if any(d != 1 for d in call.get("lhs_dilation") or ()):
        raise Refused("a transposed convolution (lhs_dilation)")
    batch, *axes = numbers.lhs_spec
    if batch != x.batch:
        raise Refused("its batch axis is no longer the one of the network")
    spatial(len(axes) - 1)
    dilation = tuple(call.get("rhs_dilation") or ())
    kernel = np.ascontiguousarray(weight.transpose(numbers.rhs_spec), np.float32)
    pads = tuple((int(a), int(b)) for a, b in call.get("padding"))
    if min(p for pair in pads for p in pair) < 0:
        raise Refused(f"negative pads {pads}")
    op = Conv(
        kernel, None, tuple(call.get("window_strides")), pads, int(call.get("feature_group_count", 1)),
        dilation if any(d != 1 for d in dilation) else (),
    )  # fmt: skip
    first = call.builder.transpose(call.view(), [x.sample_axis(a) for a in axes])
    y = call.builder.conv(call.named("conv", True), first, op)
    after, *places = numbers.out_spec
    order = sorted(range(len(places)), key=lambda i: places[i])
    return Traced(call.builder.transpose(y, order), after)


def _matrix(call: Call) -> Traced:
    (contracted, batches) = call.get("dimension_numbers")
    if any(map(len, batches)):
        raise Refused("a product of two batches of matrices")
    side = 0 if isinstance(call.inputs[0], Traced) else 1
    x, constant = call.tensor(side), call.constant(1 - side)
    own, others = (list(contracted[i]) for i in (side, 1 - side))
    rank = len(call.view(side).shape) + 1
    left = [a for a in range(rank) if a not in own]
    if x.batch not in left:
        raise Refused("it sums over the batch axis")
    view = call.builder.transpose(call.view(side), [x.sample_axis(a) for a in (*left, *own) if a != x.batch])
    kept = view.shape[: len(left) - 1]
    view = call.builder.reshape(view, (*kept, prod(view.shape[len(left) - 1 :])))
    new = [a for a in range(constant.ndim) if a not in others]
    sizes = tuple(constant.shape[a] for a in new)
    weight = constant.transpose([*new, *others]).reshape(prod(sizes), -1).astype(np.float32)
    y = call.builder.matrix(call.named("dense", True), view, len(kept), weight)
    y = call.builder.reshape(y, (*kept, *sizes))
    place = left.index(x.batch)
    if side == 0:
        return Traced(y, place)
    order = [*range(len(kept), len(kept) + len(sizes)), *range(len(kept))]
    return Traced(call.builder.transpose(y, order), len(sizes) + place)


def _pool(call: Call, name: str) -> Traced:
    x, build = call.tensor(), call.builder
    for key in ("base_dilation", "window_dilation"):
        if any(d != 1 for d in call.get(key) or ()):
            raise Refused(f"windows with dilation ({key})")
    kernel, stride, pads = (list(call.get(k)) for k in ("window_dimensions", "window_strides", "padding"))
    if (kernel.pop(x.batch), stride.pop(x.batch), tuple(pads.pop(x.batch))) != (1, 1, (0, 0)):
        raise Refused("its windows reach over the batch axis")
    edges = tuple((int(a), int(b)) for a, b in pads)
    if name == "reduce_window_max":
        return Traced(
            build.pool(call.named("max_pool"), call.view(), MaxPool, tuple(kernel), tuple(stride), edges), x.batch
        )
    label = call.named("avg_pool")
    y = build.pool(label, call.view(), AvgPool, tuple(kernel), tuple(stride), edges)
    return Traced(build.scale(f"{label}_count", y, float(prod(kernel)), 0.0), x.batch)


def _reduce(call: Call, name: str) -> Traced:
    x, view, build = call.tensor(), call.view(), call.builder
    full = [x.sample_axis(a) for a in call.get("axes")]
    batch = x.batch - sum(a < x.batch for a in call.get("axes"))
    if name == "reduce_max":
        return Traced(build.reduce(call.named("max_pool"), view, MaxPool, full), batch)
    label = call.named("avg_pool")
    count = float(prod(view.shape[a] for a in full))
    return Traced(build.scale(f"{label}_count", build.reduce(label, view, AvgPool, full), count, 0.0), batch)


def _gather(call: Call) -> Traced:
    table, x = call.constant(0), call.tensor(1)
    numbers, sizes = call.get("dimension_numbers"), tuple(call.get("slice_sizes"))
    shape = x.value.shape
    rows = (
        table.ndim == 2
        and sizes == (1, table.shape[1])
        and tuple(numbers.collapsed_slice_dims) == (0,)
        and tuple(numbers.start_index_map) == (0,)
        and tuple(numbers.offset_dims) == (len(shape),)
    )
    if not rows or shape[-1:] != (1,) or x.batch != 0:
        raise Refused("it takes other parts of a table than whole rows")
    value, index = x.value, shape[:-1]
    value = call.builder.reshape(value, index) if isinstance(value, View) else call.builder.rebased(value, index)
    return Traced(call.builder.embedding(call.named("embedding", True), value, table), 0)


def _concat(call: Call) -> Traced:
    found = [call.tensor(i) for i in range(len(call.inputs))]
    if len({t.batch for t in found}) > 1:
        raise Refused("its operands have their batch axes at different places")
    axis = found[0].sample_axis(int(call.get("dimension")))
    views = [call.view(i) for i in range(len(found))]
    y = views[0] if len(views) == 1 else call.builder.concat(call.named("concat"), views, axis)
    return Traced(y, found[0].batch)


def _part(call: Call, name: str) -> Traced:
    """A part of a tensor, every axis from one place up to another, or a tensor with axes the other way round."""
    x, view, label = call.tensor(), call.view(), call.named(name)
    if name == "rev":
        for axis in (x.sample_axis(a) for a in call.get("dimensions")):
            size = view.shape[axis]
            check_length(size)
            places = [call.builder.slice(label, view, axis, i, i + 1) for i in reversed(range(size))]
            view = places[0] if size == 1 else call.builder.concat(call.named("concat"), places, axis)
        return Traced(view, x.batch)
    if any(step != 1 for step in call.get("strides") or ()):
        raise Refused(f"steps {call.get('strides')}; only 1")
    for axis, cut in enumerate(zip(call.get("start_indices"), call.get("limit_indices"), strict=True)):
        if axis != x.batch:
            view = call.builder.slice(label, view, x.sample_axis(axis), *(int(n) for n in cut))
    return Traced(view, x.batch)


def split(call: Call) -> list[Traced]:
    """The parts of a tensor along an axis."""
    x, view, axis = call.tensor(), call.view(), int(call.get("axis"))
    ends = np.cumsum([0, *call.get("sizes")]).tolist()
    label, own = call.named("slice"), x.sample_axis(axis)
    cuts = pairwise(ends)
    return [Traced(call.builder.slice(label, view, own, start, stop), x.batch) for start, stop in cuts]


def _pad(call: Call) -> Traced:
    x, value = call.tensor(), float(call.constant(1))
    config = [tuple(int(n) for n in axis) for axis in call.get("padding_config")]
    if config.pop(x.batch) != (0, 0, 0):
        raise Refused("pads the batch axis")
    if any(inner for _, _, inner in config):
        raise Refused("it puts zeros between values")
    pads = tuple((low, high) for low, high, _ in config)
    if not any(map(any, pads)):
        return x
    if value != 0:
        raise Refused(f"pads with {value}; only zeros")
    return Traced(call.builder.pad(call.named("pad"), call.view(), pads), x.batch)


def _moved(call: Call, name: str) -> Traced:
    """Primitives that move values without changing them; the batch stays an axis of its own."""
    x = call.tensor()
    target = call.equation.outputs[0][1]
    rank = len(x.value.shape) + 1
    if name == "transpose":
        order = list(call.get("permutation"))
        return Traced(
            call.builder.transpose(call.view(), [x.sample_axis(a) for a in order if a != x.batch]), order.index(x.batch)
        )
    match name:
        case "squeeze":
            gone = [d % rank for d in call.get("dimensions")]
            if x.batch in gone:
                raise Refused("it removes the batch axis")
            batch = x.batch - sum(d < x.batch for d in gone)
        case "broadcast_in_dim":
            batch = int(call.get("broadcast_dimensions")[x.batch])
        case "expand_dims":
            batch = x.batch + sum(d <= x.batch for d in call.get("dimensions"))
        case _:
            batch = x.batch
            if name == "reshape" and batch != 0:
                raise Refused("a reshape with the batch axis in the middle")
    shape = _without(target, batch)
    if prod(shape) != prod(x.value.shape):
        raise Refused(f"it repeats its input: {x.value.shape} becomes {shape}")
    if call.equation.whole and isinstance(x.value, Expression):  # indices of a table, not to become a layer
        return Traced(call.builder.rebased(x.value, shape), batch)
    return Traced(call.builder.reshape(call.view(), shape), batch)


def _without(shape: Sequence[int], batch: int) -> Shape:
    if batch >= len(shape) or shape[batch] != 1:
        raise Refused(f"its result of {list(shape)} does not keep the batch axis")
    return tuple(n for i, n in enumerate(shape) if i != batch)
