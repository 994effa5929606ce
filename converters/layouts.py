"""Transpositions moved behind the sums and paddings that read them; parts of a matrix as matrices.

Behind a weighted layer its channels come first, and every channel may have a weight scale and a unit of its own. A
matrix product at every token is such a layer between two transpositions; a residual stream that is added up behind the
second one would have tokens as its channels.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from neuro.graph import Graph, Node
from neuro.layers import Add, Dense, Pad, Scale, Slice, Transpose


def behind_sums(graph: Graph) -> Graph:
    """`graph` with Add(T(a), b) as T(Add(a, T⁻¹(b))) and Pad(T(a)) as T(Pad(a)); layers keep their names."""
    nodes: list[Node] = []
    taken = {n.name for n in graph.nodes}
    turned: dict[str, Node] = {}  # transpositions, by name

    def add(name: str, op, *inputs: str) -> str:
        while name in taken:
            name += "_"
        taken.add(name)
        nodes.append(Node(name, op, inputs))
        return name

    for node in graph.nodes:
        first = next((turned[i] for i in node.inputs if i in turned), None)
        if first is None or not isinstance(node.op, Add | Pad):
            nodes.append(node)
        else:
            assert isinstance(first.op, Transpose)
            order = first.op.order
            back = Transpose(tuple(int(i) for i in np.argsort(order)))
            feeds = []
            for i in node.inputs:
                same = i in turned and turned[i].op == first.op
                feeds.append(turned[i].inputs[0] if same else add(f"{node.name}.turned", back, i))
            op = node.op if isinstance(node.op, Add) else Pad(tuple(node.op.pads[i] for i in back.order))
            inner = add(f"{node.name}.inner", op, *feeds)
            nodes.append(Node(node.name, Transpose(order), (inner,)))
        if isinstance(nodes[-1].op, Transpose):
            turned[node.name] = nodes[-1]
    return replace(graph, nodes=tuple(_reaching(nodes)))


def rows_apart(graph: Graph) -> Graph:
    """`graph` with a matrix of which only parts are read as a matrix for each part, also behind sums and scales; and
    where a sum of matrices is read turned around besides, with matrices for that.

    The gates of a recurrent cell are often one matrix, cut afterwards: each gate is a layer with a function of its own,
    and so with scales of its own. What is left by a gate, 1 - s(x) = s(-x), is another.
    """
    parts = _Parts(graph, {n.name: n for n in graph.nodes}, {n.name: graph.readers(n.name) for n in graph.nodes})
    for node in graph.nodes:
        if (wanted := parts.wanted(node)) is not None:
            parts.instead[node.name] = parts.part(node.inputs[0], *wanted)
        else:
            parts.nodes.append(replace(node, inputs=tuple(parts.instead.get(i, i) for i in node.inputs)))
    return replace(graph, nodes=tuple(_reaching(parts.nodes))) if parts.instead else graph


@dataclass(frozen=True, eq=False)
class _Parts:
    """The nodes of a graph whose matrices are taken apart, and the parts that are there already: by the node whose
    values they are, the first and last of these, and their sign. instead: the part that a dropped node was."""

    graph: Graph
    by_name: dict[str, Node]
    readers: dict[str, list[Node]]
    nodes: list[Node] = field(default_factory=list)
    made: dict[tuple[str, int, int, float], str] = field(default_factory=dict)
    instead: dict[str, str] = field(default_factory=dict)

    def wanted(self, node: Node) -> tuple[int, int, float] | None:
        """Which part of its input a node is, and its sign; None where that has to be computed as a whole."""
        if not node.inputs or len(self.graph.shapes[feed := node.inputs[0]]) != 1 or not self._is_apart(feed):
            return None
        others = self.readers[feed]
        if isinstance(node.op, Slice) and all(isinstance(r.op, Slice) for r in others):
            return node.op.start, node.op.stop, 1.0
        if isinstance(node.op, Scale) and (node.op.factor == -1).all() and not node.op.offset.any() and len(others) > 1:
            return 0, self.graph.size(feed), -1.0
        return None

    def _is_apart(self, name: str) -> bool:
        """Whether a node gives sums of matrices that nobody else reads."""
        node = self.by_name[name]
        if isinstance(node.op, Add | Scale):
            return all(len(self.readers[i]) == 1 and self._is_apart(i) for i in node.inputs)
        return isinstance(node.op, Dense)

    def part(self, name: str, start: int, stop: int, sign: float) -> str:
        """The node that gives values `start` to `stop` of node `name`, times `sign`."""
        if (key := (name, start, stop, sign)) in self.made:
            return self.made[key]
        node, op = self.by_name[name], self.by_name[name].op
        feeds = node.inputs
        match op:
            case Dense(weight=weight, bias=bias):
                weight, bias = (None if a is None else np.float32(sign) * a[start:stop] for a in (weight, bias))
                assert weight is not None
                op, feeds = Dense(weight, bias), tuple(self.instead.get(i, i) for i in feeds)
            case Scale(factor=factor, offset=offset):
                factor, offset = (a[start:stop] if a.size > 1 else a for a in (factor, offset))
                op, feeds = (
                    Scale(factor, np.asarray(np.float32(sign) * offset)),
                    (self.part(feeds[0], start, stop, sign),),
                )
            case _:
                feeds = tuple(self.part(i, start, stop, sign) for i in feeds)
        self.made[key] = f"{name}.{'' if sign > 0 else '-'}{start}-{stop}"
        self.nodes.append(Node(self.made[key], op, feeds))
        return self.made[key]


def _reaching(nodes: list[Node]) -> list[Node]:
    """The input, and all that the last node depends on."""
    needed = {nodes[-1].name, nodes[0].name}
    for node in reversed(nodes):
        needed.update(node.inputs if node.name in needed else ())
    return [n for n in nodes if n.name in needed]
