"""Which channels of a graph belong together, so that one cannot go without the other, and where they end up.

Each node's axis 0 is a space of channels. Weights that read all channels (`Conv`, `Dense`) begin a new one; sums,
functions, pools, scales and depthwise convolutions go on in that of their inputs. `Concat`, `Transpose` and flattening
only move values: channels can be followed through them to the weights that read them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from neuro.evaluate import apply
from neuro.graph import Graph, Node
from neuro.layers import (
    Activation,
    Add,
    AvgPool,
    Concat,
    Conv,
    Dense,
    MaxPool,
    Op,
    Pad,
    Relu,
    Reshape,
    Scale,
    Transpose,
)

Gone = Mapping[str, Bool[np.ndarray, "channel"]]
"""By space, which of its channels go."""


@dataclass(frozen=True, eq=False)
class Spaces:
    """of: the space of every node that has one, named after its first node. fixed: by space, why its channels stay."""

    of: dict[str, str]
    fixed: dict[str, str]


def spaces(graph: Graph) -> Spaces:
    """The spaces of a float graph; those of the input and the output are fixed."""
    home: dict[str, str] = {}
    within: dict[str, set[str]] = {}  # of nodes that only move values: the spaces that they hold
    whole: dict[str, bool] = {}  # whether what they hold still lies channel by channel along axis 0
    faults: dict[str, str] = {}

    def root(name: str) -> str:
        while home[name] != name:
            name = home[name]
        return name

    def held(name: str) -> set[str]:
        return within.get(name, {name})

    def fix(names: set[str], why: str) -> None:
        for name in names:
            faults.setdefault(name, why)

    for node in graph.nodes:
        name, op = node.name, node.op
        feeds = set().union(*(held(i) for i in node.inputs))
        moved = [i for i in node.inputs if i in within]
        lies = all(whole.get(i, True) for i in node.inputs)
        if _moves(op) or (isinstance(op, AvgPool) and moved):
            within[name] = feeds
            whole[name] = lies and isinstance(op, Concat | Pad | AvgPool)
            if (isinstance(op, Pad) and any(op.pads[0])) or (isinstance(op, Concat) and op.axis != 0):
                fix(feeds, f"{name} ({type(op).__name__}) is not along channels")
            if isinstance(op, Reshape) and len(op.shape) > 1:
                fix(feeds, f"{name} (Reshape) makes a map of them")
            continue
        home[name] = name
        if isinstance(op, Dense) or (isinstance(op, Conv) and op.groups == 1):
            if isinstance(op, Conv) and not lies:
                fix(feeds, f"{name} convolves what was moved")
        elif _keeps(op) and not moved:
            first, *others = node.inputs
            home[name] = root(first)
            for other in others:
                home[root(other)] = root(first)
        else:
            fix({*feeds, name}, f"{name} ({type(op).__name__}) needs all of them")
    faults[graph.input.name] = "they are the input"
    fix(held(graph.output.name), "they are the output")
    fixed: dict[str, str] = {}
    for name, why in faults.items():
        fixed.setdefault(root(name), why)
    return Spaces({name: root(name) for name in home}, fixed)


def marks(graph: Graph, found: Spaces, gone: Gone) -> dict[str, Bool[np.ndarray, "..."]]:
    """Which values of every node go, where these channels of its space do; of its shape."""
    result: dict[str, np.ndarray] = {}
    for node in graph.nodes:
        shape = graph.shapes[node.name]
        space = found.of.get(node.name)
        if space is not None and space in gone:
            result[node.name] = np.broadcast_to(gone[space].reshape(-1, *(1,) * (len(shape) - 1)), shape)
        elif space is None:
            result[node.name] = _moved(node.op, [result[i] for i in node.inputs], shape)
        else:
            result[node.name] = np.zeros(shape, bool)
    return result


def cut(node: Node, marked: Mapping[str, Bool[np.ndarray, "..."]]) -> Op:
    """The operator of a node without the values of its inputs and of its own that are marked."""
    op = node.op
    if not node.inputs:
        return op
    left, entering = ~marked[node.name], ~marked[node.inputs[0]]
    rows = _channels(left)
    match op:
        case Dense(weight=weight):
            return Dense(weight[rows][:, entering], None if op.bias is None else op.bias[rows])
        case Conv(weight=weight, bias=bias, groups=groups):
            bias = None if bias is None else bias[rows]
            if groups == 1:
                return Conv(weight[rows][:, _channels(entering)], bias, op.stride, op.pads, 1, op.dilation)
            return Conv(weight[rows], bias, op.stride, op.pads, groups * int(rows.sum()) // len(rows), op.dilation)
        case Scale():
            factor, offset = (a[rows] if a.ndim == left.ndim and len(a) > 1 else a for a in (op.factor, op.offset))
            return Scale(factor, offset)
        case Reshape(shape=shape) if len(shape) == 1:
            return Reshape((int(left.sum()),))
    return op


def _moves(op: Op) -> bool:
    return isinstance(op, Concat | Pad | Reshape | Transpose)


def _keeps(op: Op) -> bool:
    """Whether channel c of the result is made of channel c of each input alone."""
    if isinstance(op, Conv):
        return op.groups == len(op.weight) and op.weight.shape[1] == 1
    return isinstance(op, Scale | Relu | Activation | MaxPool | AvgPool | Add)


def _moved(op: Op, given: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    if isinstance(op, Pad):
        return np.broadcast_to(_any(given[0]).reshape(-1, *(1,) * (len(shape) - 1)), shape)
    return np.asarray(apply(op, *(jnp.asarray(m, jnp.float32)[None] for m in given)))[0] > 0


def _any(values: np.ndarray) -> np.ndarray:
    return np.asarray(values.reshape(len(values), -1).any(axis=1))


def _channels(left: np.ndarray) -> np.ndarray:
    return np.asarray(left.reshape(len(left), -1).all(axis=1))
