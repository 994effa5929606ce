"""Transpositions moved behind the sums and paddings that read them.

Behind a weighted layer its channels come first, and every channel may have a weight scale and a unit of its own. A
matrix product at every token is such a layer between two transpositions; a residual stream that is added up behind the
second one would have tokens as its channels.
"""

from dataclasses import replace

import numpy as np

from neuro.graph import Graph, Node
from neuro.layers import Add, Pad, Transpose


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
    needed = {nodes[-1].name, nodes[0].name}
    for node in reversed(nodes):
        needed.update(node.inputs if node.name in needed else ())
    return replace(graph, nodes=tuple(n for n in nodes if n.name in needed))
