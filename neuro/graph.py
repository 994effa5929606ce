"""A network: named operators and edges, shapes checked when built."""

from dataclasses import dataclass, field
from hashlib import sha256
from math import prod

import numpy as np

from neuro.errors import BadInput
from neuro.layers import FIRING, Input, Op, Shape, arity, output_shape
from neuro.schedule import Schedule


@dataclass(frozen=True)
class Node:
    """One operator, its unique name and the names of the nodes that feed it."""

    name: str
    op: Op
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order; the first is the `Input`, the last the output.

    A graph with `Threshold` nodes is an integer network; with a `schedule` too it is a spiking one.

    Raises:
        BadInput: a wrong edge, shape or weight, with the layer's name.
    """

    name: str
    nodes: tuple[Node, ...]
    schedule: Schedule | None = None
    shapes: dict[str, Shape] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        shapes: dict[str, Shape] = {}
        if not self.nodes or not isinstance(self.nodes[0].op, Input):
            raise BadInput(f"{self.name}: a graph begins with its input.")
        for node in self.nodes:
            where = f"{self.name}: layer {node.name!r}"
            if isinstance(node.op, Input) and node is not self.nodes[0]:
                raise BadInput(f"{where} is a second input; a graph has one.")
            if node.name in shapes:
                raise BadInput(f"{where} appears twice; names must be unique.")
            if unknown := [i for i in node.inputs if i not in shapes]:
                raise BadInput(f"{where} reads {unknown}, which no earlier layer gives.")
            fewest, most = arity(node.op)
            if not fewest <= len(node.inputs) <= most:
                raise BadInput(f"{where} takes {fewest} input(s), not {len(node.inputs)}.")
            for array in vars(node.op).values():
                if isinstance(array, np.ndarray) and not np.isfinite(array).all():
                    raise BadInput(f"{where} has NaN or infinite weights; retrain or repair the network.")
            try:
                shapes[node.name] = output_shape(node.op, [shapes[i] for i in node.inputs])
            except ValueError as error:
                raise BadInput(f"{where}: {error}.") from None
        object.__setattr__(self, "shapes", shapes)

    @property
    def input(self) -> Node:
        """The node where samples enter."""
        return self.nodes[0]

    @property
    def output(self) -> Node:
        """The node that gives the result."""
        return self.nodes[-1]

    @property
    def vocabulary(self) -> str:
        """``"float"``, ``"integer"`` or ``"spiking"``."""
        if self.schedule is not None:
            return "spiking"
        return "integer" if any(isinstance(n.op, FIRING) for n in self.nodes) else "float"

    def __getitem__(self, name: str) -> Node:
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    def size(self, name: str) -> int:
        """Number of values that node `name` gives per sample."""
        return prod(self.shapes[name])

    def readers(self, name: str) -> list[Node]:
        """The nodes fed by `name`."""
        return [n for n in self.nodes if name in n.inputs]

    def __repr__(self) -> str:
        lines = [f"{self.vocabulary} graph {self.name!r}"]
        for n in self.nodes:
            feeds = f" <- {', '.join(n.inputs)}" if n.inputs else ""
            lines.append(f"  {n.name:<24} {type(n.op).__name__:<10} {self.shapes[n.name]}{feeds}")
        return "\n".join(lines)


def digest(graph: Graph) -> str:
    """sha256 over structure, layer names and weights; the graph's own name and its schedule are left out."""
    h = sha256()
    for node in graph.nodes:
        h.update(repr((type(node.op).__name__, node.inputs, node.name)).encode())
        for key, value in sorted(vars(node.op).items()):
            if isinstance(value, np.ndarray):
                h.update(f"{key}{value.shape}{value.dtype}".encode() + np.ascontiguousarray(value).tobytes())
            else:
                h.update(f"{key}={value!r}".encode())
    return h.hexdigest()
