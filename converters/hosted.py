"""The part of a network that its host works out before the first spike: looking words up in a table."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from neuro.errors import BadInput
from neuro.evaluate import evaluate
from neuro.graph import Graph, Node
from neuro.layers import AvgPool, Embedding, Input, Reshape, Transpose


def split(network: Graph) -> tuple[Graph | None, Graph]:
    """What the host does, None where it does nothing, and the rest of the network, which reads its result.

    The host looks up, and averages what it has looked up where that comes next.

    Raises:
        BadInput: a table that is not looked up by the input itself.
    """
    tables = [n.name for n in network.nodes if isinstance(n.op, Embedding)]
    if not tables:
        return None, network
    front: list[Node] = [network.nodes[0]]
    for node in network.nodes[1:]:
        if node.inputs != (front[-1].name,) or not isinstance(node.op, Embedding | Reshape | Transpose | AvgPool):
            break
        front.append(node)
    while len(front) > 1 and not isinstance(front[-1].op, Embedding | AvgPool):
        front.pop()
    inside = {n.name for n in front}
    if any(name not in inside for name in tables) or any(
        i in inside - {front[-1].name} for n in network.nodes[len(front) :] for i in n.inputs
    ):
        raise BadInput(f"{network.name}: {tables[0]!r} looks up more than the network's own input; export it without.")
    last = front[-1].name
    entry = Node(last, Input(network.shapes[last]))
    return Graph(f"{network.name} (host)", tuple(front)), replace(network, nodes=(entry, *network.nodes[len(front) :]))


def looked_up(host: Graph, ids: np.ndarray) -> np.ndarray:
    """What the host gives for whole numbers `ids` [item, *shape]: float32 [item, *shape, feature].

    Raises:
        BadInput: numbers that the table has no row for.
    """
    for node in host.nodes:
        if isinstance(node.op, Embedding) and (ids.min() < 0 or ids.max() >= len(node.op.table)):
            raise BadInput(
                f"{host.name}: ids from {ids.min()} to {ids.max()}; the table {node.name!r} has rows 0 to "
                f"{len(node.op.table) - 1}. Use the vocabulary that the network was trained with."
            )
    step = jax.jit(lambda batch: evaluate(host, batch.astype(jnp.float32))[host.output.name])
    return np.concatenate([np.asarray(step(part)) for part in np.array_split(ids, max(1, len(ids) // 500))])
