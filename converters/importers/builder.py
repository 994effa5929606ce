"""Building a graph from operators on tensors of any layout.

Frameworks name axes freely: channels last, a matrix applied to the last of several axes, means over any of them. A
`View` says how the tensor of the framework lies in the values of a layer. Layers are built channels first; a
permutation is carried along rather than executed, and ends in the columns of the next matrix where it can.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np

from converters.importers.chain import Refused, check_size, reaching, unique, with_biases, with_scales_joined
from converters.importers.pointwise import LONGEST, Expression, Operand, View, cuts, execute, numbers, parts, recognised
from converters.importers.recurrent import times
from neuro.graph import Node
from neuro.layers import (
    Activation,
    Add,
    Concat,
    Conv,
    Dense,
    Embedding,
    Input,
    Op,
    Pad,
    Pads,
    Reshape,
    Scale,
    Shape,
    Slice,
    Softmax,
    Transpose,
    output_shape,
)


class Builder:
    """Layers found so far, and refused ones (operator, name, reason); local to one import. Shapes are per sample."""

    def __init__(self, name: str, shape: Shape) -> None:
        self.nodes = [Node(name, Input(shape))]
        self.sizes: dict[str, Shape] = {name: shape}
        self.input = self.whole(name)
        self.problems: list[tuple[str, str, str]] = []
        self._wanted = {name: name}
        self._done: dict[tuple, str] = {}
        self._realised: dict[int, tuple[Expression, View]] = {}

    def emit(self, name: str, op: Op, *layers: str) -> View:
        """One more layer and all of its values."""
        key = (repr(op), layers) if isinstance(op, Reshape | Transpose) else None
        if key in self._done:
            return self.whole(self._done[key])
        layer = unique(name, set(self.sizes))
        size = output_shape(op, [self.sizes[i] for i in layers])
        check_size(size)
        self.sizes[layer] = size
        self._wanted[layer] = name
        self.nodes.append(Node(layer, op, layers))
        if key is not None:
            self._done[key] = layer
        return self.whole(layer)

    def placeholder(self, name: str, shape: Shape) -> View:
        """What a refused operator would have given, so that the walk can go on."""
        layer = unique(name, set(self.sizes))
        self.sizes[layer] = shape
        return self.whole(layer)

    def finished(self, output: View | Expression) -> tuple[Node, ...]:
        """The layers that lead to `output`, with biases and joined scales; none if there are problems or gaps."""
        last = self.settled(self.view(output)).layer
        if self.problems:
            return ()
        nodes, _ = with_biases(reaching(self.nodes, last), {})
        if {i for n in nodes for i in n.inputs} - {n.name for n in nodes}:
            return ()  # it reads what nothing gives: a layer of which a damaged file tells too little
        names: dict[str, str] = {}
        for node in (nodes := with_scales_joined(nodes)):  # names that dropped layers had are free again
            names[node.name] = unique(self._wanted[node.name], set(names.values()))
        return tuple(replace(n, name=names[n.name], inputs=tuple(names[i] for i in n.inputs)) for n in nodes)

    # Where values lie

    def whole(self, layer: str) -> View:
        """All values of a layer."""
        shape = self.sizes[layer]
        return View(layer, tuple(range(len(shape))), shape)

    def _turned(self, x: View) -> Shape:
        return tuple(self.sizes[x.layer][i] for i in x.order)

    def plain(self, x: View) -> bool:
        """Whether `x` is its layer with permuted axes, and nothing more."""
        return self._turned(x) == x.shape

    def settled(self, x: View) -> View:
        """`x` as a layer of its own, nothing permuted; a tensor without axes becomes one value."""
        shape = self.sizes[x.layer]
        long = [i for i in x.order if shape[i] != 1]
        if long != sorted(long):  # else only axes of one value move, which changes no order
            y = self.emit(f"{x.layer}_transpose", Transpose(x.order), x.layer)
            return self.settled(View(y.layer, y.order, x.shape))
        wanted = x.shape or (1,)
        return self.whole(x.layer) if shape == wanted else self.emit(f"{x.layer}_reshape", Reshape(wanted), x.layer)

    def transpose(self, x: View, order: Sequence[int]) -> View:
        """The axes of `x` permuted."""
        if list(order) == sorted(order):
            return x
        x = x if self.plain(x) else self.settled(x)
        return View(x.layer, tuple(x.order[i] for i in order), tuple(x.shape[i] for i in order))

    def rebased(self, x: Expression, shape: Shape) -> Expression:
        """The same expression over its base under another shape."""
        base, made = self.reshape(x.base, shape), {}

        def moved(operand: Operand) -> Operand:
            if isinstance(operand, float):
                return operand
            return base if isinstance(operand, View) else made[id(operand)]

        for part in parts(x):
            made[id(part)] = Expression(part.op, tuple(moved(o) for o in part.operands), base, part.name)
        return made[id(x)]

    def reshape(self, x: View, shape: Shape) -> View:
        """The same values in row-major order under another shape."""
        if prod(shape) != prod(x.shape):
            raise ValueError(f"{x.shape} cannot be reshaped to {shape}")
        return View(x.layer, x.order, tuple(shape))

    def _placed(self, x: View, constant: np.ndarray) -> np.ndarray:
        """A constant that broadcasts against `x`, as it broadcasts against the layer of `x`."""
        rank = len(x.shape)
        extra = max(constant.ndim - rank, 0)
        if prod(constant.shape[:extra]) != 1 or np.broadcast_shapes(constant.shape[extra:], x.shape) != x.shape:
            raise Refused(f"a constant of {constant.shape} enlarges an input of {x.shape}")
        inner = constant.reshape(constant.shape[extra:])
        if inner.size == 1:
            return inner.reshape(())
        if self.plain(x):
            inner = inner.reshape((1,) * (rank - inner.ndim) + inner.shape)
        else:
            inner = np.broadcast_to(inner, x.shape).reshape(self._turned(x))
        return np.ascontiguousarray(inner.transpose(np.argsort(x.order)))

    def _framed(self, views: list[View]) -> tuple[list[View], View]:
        """`views` laid out alike, and one of them as the model: one with permuted axes, channels being first there."""
        if not all(self.plain(v) for v in views):
            views = [self.settled(v) for v in views]
        model = next((v for v in views if list(v.order) != sorted(v.order)), views[0])
        back = np.argsort(model.order).tolist()
        return [View(self.settled(self.transpose(v, back)).layer, model.order, v.shape) for v in views], model

    # Functions of single values

    def view(self, x: View | Expression) -> View:
        """`x` as values of a layer: the fewest layers that its operations make up.

        An expression that is no function that is known is noted among the problems.
        """
        steps: list[tuple[Expression, tuple[Op, ...]]] = []
        y = x
        while isinstance(y, Expression) and id(y) not in self._realised:
            try:
                cut, ops = self._last_step(y)
            except (Refused, RecursionError) as refusal:
                reason = str(refusal) if isinstance(refusal, Refused) else "too many operations of one tensor"
                self.problems.append((y.op, _labelled(y.name, y.op), reason))
                cut, ops = self.placeholder(_labelled(y.name, y.op), y.shape), ()
            steps.append((y, ops))
            y = cut
        made = y if isinstance(y, View) else self._realised[id(y)][1]
        for step, ops in reversed(steps):
            for op in ops:
                made = View(self.emit(_labelled(step.name, op), op, made.layer).layer, made.order, made.shape)
            self._realised[id(step)] = (step, made)  # kept with its view, so that no other gets its id
        return made

    def known(self, x: Operand) -> Operand:
        """`x`, or its values where some layer has needed them already."""
        return self._realised[id(x)][1] if id(x) in self._realised else x

    def pointwise(self, name: str, op: str, operands: Sequence[np.ndarray | Operand]) -> View | Expression:
        """`op` (see `importers.pointwise`) of each value; constants broadcast against the tensors, batch left out."""
        if op == "sub" and (around := _rest_of(operands)) is not None:
            op, operands = "logistic", [self.pointwise(name, "neg", [around])]
        given = [_number(o) if isinstance(o, np.ndarray) else self.known(o) for o in operands]
        streams = [o for o in given if isinstance(o, View | Expression)]
        shape = streams[0].shape
        for constant in (o for o in operands if isinstance(o, np.ndarray)):
            if np.broadcast_shapes(constant.shape, shape) != shape:
                raise Refused(f"a constant of {constant.shape} enlarges an input of {shape}")
        if any(isinstance(o, np.ndarray) for o in given):
            return self._with_constant(name, op, given)
        raw = [_number(o) if isinstance(o, np.ndarray) else o for o in operands]  # where only one of them is known
        for choice in (given, raw):
            parts_of = tuple(o for o in choice if not isinstance(o, np.ndarray))
            bases = {o if isinstance(o, View) else o.base for o in parts_of if isinstance(o, View | Expression)}
            if len(bases) == 1:
                return Expression(op, parts_of, bases.pop(), name)
        if op in ("add", "sub") and len(streams) == 2:
            return self.add(_labelled(name, op), self.view(streams[0]), self.view(streams[1]), minus=op == "sub")
        if op == "mul" and len(streams) == 2:
            return self.times(_labelled(name, op), self.view(streams[0]), self.view(streams[1]))
        raise Refused("both operands are computed from the network's input")

    def _with_constant(self, name: str, op: str, given: list) -> View:
        """Arithmetic of a tensor and a constant that differs from value to value."""
        if op not in ("add", "sub", "mul", "div"):
            raise Refused(f"{op} with a constant that differs from value to value")
        left, right = given
        first = isinstance(left, View | Expression)
        x, c = (self.view(left), right) if first else (self.view(right), left)
        scope = name.removesuffix("*").removesuffix("/") or "scale"
        match op:
            case "add":
                return self.scale(scope, x, 1.0, c)
            case "sub":
                return self.scale(scope, x, 1.0 if first else -1.0, -c if first else c)
            case "mul":
                return self.scale(scope, x, c, 0.0)
        if not first:
            raise Refused("divides a constant by what it reads")
        return self.scale(scope, x, 1 / c.astype(np.float64), 0.0)

    def _last_step(self, x: Expression) -> tuple[Expression | View, tuple[Op, ...]]:
        """The part or tensor of which `x` is a known function, as early as possible, and that function's layers."""
        for cut in cuts(x)[-LONGEST:]:
            ops = recognised(lambda values, cut=cut: execute(x, cut, values), numbers(x, cut))
            if ops is not None:
                return cut, ops
        if x.op in ("add", "sub"):
            first, second = x.operands
            if isinstance(first, View | Expression) and isinstance(second, View | Expression):
                name = _labelled(x.name, x.op)
                return self.add(name, self.view(first), self.view(second), minus=x.op == "sub"), ()
        made = ", ".join(dict.fromkeys(part.op for part in parts(x)))
        raise Refused(f"{made} of one tensor make up no function that is known; see neuro.activations")

    # Layers

    def scale(self, name: str, x: View, factor: np.ndarray | float, offset: np.ndarray | float) -> View:
        """factor * x + offset, which broadcast against `x`."""
        a, b = (self._placed(x, np.asarray(c, np.float32)) for c in (factor, offset))
        return View(self.emit(name, Scale(a, b), x.layer).layer, x.order, x.shape)

    def add(self, name: str, first: View, second: View, minus: bool = False) -> View:
        """Sum or difference of two tensors of one shape."""
        if first.shape != second.shape:
            raise Refused(f"operands of {first.shape} and {second.shape}; only equal shapes can be added")
        second = self.scale(f"{name}_minus", second, -1.0, 0.0) if minus else second
        (a, b), model = self._framed([first, second])
        return View(self.emit(name, Add(), a.layer, b.layer).layer, model.order, first.shape)

    def concat(self, name: str, views: list[View], axis: int) -> View:
        """Tensors one behind the other along `axis`."""
        views, model = self._framed(views)
        y = self.emit(name, Concat(model.order[axis]), *(v.layer for v in views))
        return View(y.layer, model.order, tuple(self.sizes[y.layer][i] for i in model.order))

    def slice(self, name: str, x: View, axis: int, start: int, stop: int) -> View:
        """The values from `start` up to `stop` along `axis`."""
        if (start, stop) == (0, x.shape[axis]):
            return x
        x = x if self.plain(x) else self.settled(x)
        y = self.emit(name, Slice(x.order[axis], start, stop), x.layer)
        return View(y.layer, x.order, tuple(self.sizes[y.layer][i] for i in x.order))

    def times(self, name: str, first: View, second: View) -> View:
        """Two tensors of one shape, multiplied value by value."""
        if first.shape != second.shape:
            raise Refused(f"operands of {first.shape} and {second.shape}; only equal shapes can be multiplied")
        (a, b), model = self._framed([first, second])

        def emit(label: str, op: Op, *layers: str) -> str:
            return self.emit(label, op, *layers).layer

        y = times(emit, name, a.layer, b.layer, self.sizes[a.layer])
        return View(y, model.order, first.shape)

    def pad(self, name: str, x: View, pads: Pads) -> View:
        """Zeros around `x`."""
        if min(p for pair in pads for p in pair) < 0:
            raise Refused(f"negative pads {pads}")
        x = x if self.plain(x) else self.settled(x)
        placed = tuple(pads[i] for i in np.argsort(x.order))
        y = self.emit(name, Pad(placed), x.layer)
        return View(y.layer, x.order, tuple(self.sizes[y.layer][i] for i in x.order))

    def conv(self, name: str, x: View, op: Conv) -> View:
        """A convolution of `x`, its channels first."""
        spatial(op.weight.ndim - 2)
        return self.emit(name, op, self.settled(x).layer)

    def matrix(self, name: str, x: View, axis: int, weight: np.ndarray, bias: np.ndarray | None = None) -> View:
        """weight [out, in] times `axis` of `x`, at every place of the other axes; the result's last axis."""
        others = tuple(n for i, n in enumerate(x.shape) if i != axis)
        if x.shape[axis] != weight.shape[1]:
            raise ValueError(f"a matrix of {weight.shape} does not fit axis {axis} of {x.shape}")
        if prod(others) == 1:
            columns = np.arange(prod(x.shape)).reshape(self.sizes[x.layer]).transpose(x.order).ravel()
            flat = self.settled(View(x.layer, tuple(range(len(x.order))), (prod(x.shape),)))
            y = self.emit(name, Dense(np.ascontiguousarray(weight[:, np.argsort(columns)]), bias), flat.layer)
            return self.reshape(y, (*others, len(weight)))
        long = [i for i, n in enumerate(x.shape) if n != 1 and i != axis]
        x = self.reshape(x, tuple(n for i, n in enumerate(x.shape) if n != 1 or i == axis))
        spatial(len(long))
        place = sum(i < axis for i in long)
        first = self.transpose(x, [place, *(i for i in range(len(long) + 1) if i != place)])
        ones = (1,) * len(long)
        kernel = np.ascontiguousarray(weight.reshape(*weight.shape, *ones))
        y = self.conv(name, first, Conv(kernel, bias, ones, ((0, 0),) * len(long)))
        return self.reshape(self.transpose(y, [*range(1, len(long) + 1), 0]), (*others, len(weight)))

    def pool(self, name: str, x: View, kind: type, kernel: Shape, stride: Shape, pads: Pads) -> View:
        """`kind` (`MaxPool` or `AvgPool`) of windows; kernel, stride and pads for every axis of `x`."""
        moved = [i for i in range(len(x.shape)) if (kernel[i], stride[i], pads[i]) != (1, 1, (0, 0))]
        if not moved:
            return x
        still = [i for i, n in enumerate(x.shape) if i not in moved and n != 1]
        if not still:  # one channel, in front
            x, at = self.reshape(x, (1, *(x.shape[i] for i in moved))), [-1, *moved]
        else:
            kept = sorted([*moved, *still])
            x = self.reshape(x, tuple(x.shape[i] for i in kept))
            first = still[-1]
            if self.plain(x):  # the axis that comes first in the layer already, where it may
                first = min(still, key=lambda i: x.order[kept.index(i)])
            at = [first, *(i for i in kept if i != first)]
            x = self.transpose(x, [kept.index(i) for i in at])
        spatial(len(at) - 1)
        sizes, steps, edges = (tuple(of[i] for i in at[1:]) for of in (kernel, stride, pads))
        y = self.emit(name, kind(sizes, steps, edges), self.settled(x).layer)
        back = sorted(range(len(at)), key=lambda i: at[i])
        lengths = dict(zip(at, self.sizes[y.layer], strict=True))
        return self.reshape(self.transpose(y, back), tuple(lengths.get(i, 1) for i in range(len(kernel))))

    def reduce(self, name: str, x: View, kind: type, axes: Sequence[int], keep: bool = False) -> View:
        """`kind` (`MaxPool` or `AvgPool`) over whole axes, kept as axes of one value or dropped."""
        shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
        result = shape if keep else tuple(n for i, n in enumerate(shape) if i not in axes)
        if prod(shape) == 1:  # the order of values does not matter then
            x = View(x.layer, tuple(range(len(x.order))), (prod(x.shape),))
            axes = [0]
        kernel = tuple(n if i in axes else 1 for i, n in enumerate(x.shape))
        y = self.pool(name, x, kind, kernel, kernel, ((0, 0),) * len(kernel))
        return self.reshape(y, result)

    def embedding(self, name: str, x: View | Expression, table: np.ndarray) -> View:
        """Rows of `table` by the values of `x`, as a last axis; what changes none of its whole numbers is left out."""
        entries = np.arange(len(table), dtype=np.float64)
        if isinstance(x, Expression) and (execute(x, x.base, entries) == entries).all():
            x = x.base
        rows = np.ascontiguousarray(table, np.float32)
        return self.emit(name, Embedding(rows), self.settled(self.view(x)).layer)

    def softmax(self, name: str, x: View) -> View:
        """Softmax over a flat sample."""
        if len([n for n in x.shape if n != 1]) > 1:
            raise Refused(f"an input of {x.shape}; only over a flat sample")
        flat = self.settled(self.reshape(x, (prod(x.shape),)))
        return self.reshape(self.emit(name, Softmax(), flat.layer), x.shape)


def spatial(count: int) -> None:
    """Refuses maps of other than one or two axes."""
    if count not in (1, 2):
        raise Refused(f"{count} spatial axes; only 1 or 2")


def _number(constant: np.ndarray) -> np.ndarray | float:
    """A constant as a number, where all its values are the same."""
    same = constant.size > 0 and (constant == constant.flat[0]).all()
    return float(constant.flat[0]) if same else constant


def _rest_of(operands: Sequence[np.ndarray | Operand]) -> Operand | None:
    """x of 1 - logistic(x), which is logistic(-x): the rest of a gate, so that both are functions of single values."""
    one, gate = (_number(o) if isinstance(o, np.ndarray) else o for o in operands)
    is_rest = isinstance(gate, Expression) and gate.op == "logistic" and isinstance(one, float) and one == 1
    return gate.operands[0] if is_rest and isinstance(gate, Expression) else None


def _labelled(name: str, op: Op | str) -> str:
    """The name of a layer; `*` at its end stands for what it does, scales bear the name of the scope."""
    if isinstance(op, Activation):
        return name.replace("*", op.function.name)
    if isinstance(op, Scale):
        return name.removesuffix("*").removesuffix("/") or "scale"
    return name.replace("*", op if isinstance(op, str) else type(op).__name__.lower())
