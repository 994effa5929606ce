"""What fine-tuning changes in a folded graph: weights that are there, offsets by channel, and thresholds.

Everything is in units of its own size, so that one rate of learning suits all: weights in the root mean square of their
layer, an offset in that of what it is added to, a threshold as its logarithm. A weight of zero stays zero; weights that
share a value move together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from converters.compression.clusters import Shared
from converters.compression.pruning import with_weights
from neuro.evaluate import apply, evaluate, weighted
from neuro.graph import Graph, Node
from neuro.layers import Conv, Dense, Scale
from neuro.stages import is_population, populations

Parameters: TypeAlias = dict[str, dict[str, Array]]
"""``weights`` and ``offsets`` by node, ``thresholds`` by population; each in its own units."""
TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Tunable:
    """A folded graph whose numbers can be changed.

    kept: by weighted layer, where it has weights; shared: who shares a value, of layers that do; sizes: by node, what
    one unit of a parameter is.
    """

    graph: Graph
    kept: dict[str, np.ndarray]
    shared: Mapping[str, Shared]
    sizes: dict[str, float]


def tunable(
    folded: Graph, counts: Float[Array, "item ..."], shared: Mapping[str, Shared] | None = None
) -> tuple[Tunable, Parameters]:
    """`folded` as it can be tuned, and the parameters that it has now. counts: calibration items."""
    layers = {n.name: n.op for n in folded.nodes if isinstance(n.op, Conv | Dense)}
    values = jax.jit(lambda x: evaluate(folded, x))(counts)
    sizes = {name: _size(op.weight[op.weight != 0]) for name, op in layers.items()}
    sizes |= {name: _size(np.asarray(values[name])) for name in offset_nodes(folded)}
    given = {} if shared is None else shared
    net = Tunable(folded, {name: op.weight != 0 for name, op in layers.items()}, given, sizes)
    starts = {name: given[name].values if name in given else op.weight for name, op in layers.items()}
    return net, {
        "weights": {name: jnp.asarray(start / sizes[name], jnp.float32) for name, start in starts.items()},
        "offsets": {n: jnp.zeros(folded.shapes[n][0], jnp.float32) for n in offset_nodes(folded)},
        "thresholds": {},
    }


def offset_nodes(folded: Graph) -> list[str]:
    """The nodes that add the offsets: one in front of each layer's function, and the output."""
    targets = [folded[p.inputs[0] if is_population(p) else p.name] for p in populations(folded)[1:]]
    return [n.name for n in targets if isinstance(n.op, Scale)]


def layer_weights(net: Tunable, parameters: Parameters) -> dict[str, Array]:
    """The weights of every layer, float32."""
    found = {}
    for name, own in parameters["weights"].items():
        whole = own[jnp.asarray(net.shared[name].index)] if name in net.shared else own
        found[name] = jnp.where(jnp.asarray(net.kept[name]), whole * jnp.float32(net.sizes[name]), jnp.float32(0))
    return found


def layer_offset(net: Tunable, parameters: Parameters, name: str) -> Float[Array, "#channel ..."]:
    """What the offset node `name` adds, float32, broadcastable to the sample."""
    shape = net.graph.shapes[name]
    op = net.graph[name].op
    assert isinstance(op, Scale)
    start = np.broadcast_to(op.offset, shape)
    own = parameters["offsets"][name] * jnp.float32(net.sizes[name])
    return jnp.asarray(start, jnp.float32) + own.reshape(-1, *(1,) * (len(shape) - 1))


def forward(net: Tunable, parameters: Parameters, x: Float[Array, "batch ..."]) -> Float[Array, "batch output"]:
    """The outputs of the float graph under these parameters; differentiable in them."""
    weights = layer_weights(net, parameters)
    values = {net.graph.input.name: x}
    for node in net.graph.nodes[1:]:
        given = [values[i] for i in node.inputs]
        if isinstance(node.op, Conv | Dense):
            values[node.name] = weighted(node.op, weights[node.name], given[0])
        elif node.name in parameters["offsets"]:
            values[node.name] = given[0] + layer_offset(net, parameters, node.name)[None]
        else:
            values[node.name] = apply(node.op, *given)
    return values[net.graph.output.name].reshape(len(x), -1)


def tuned(net: Tunable, parameters: Parameters) -> Graph:
    """The graph under these parameters; weights that share a value are equal to the last bit."""
    weights = {name: np.asarray(w) for name, w in layer_weights(net, parameters).items()}
    graph = with_weights(net.graph, weights)

    def moved(node: Node) -> Node:
        if node.name not in parameters["offsets"]:
            return node
        assert isinstance(node.op, Scale)
        offset = np.asarray(layer_offset(net, parameters, node.name), np.float64)
        return replace(node, op=replace(node.op, offset=offset))

    return Graph(graph.name, tuple(moved(n) for n in graph.nodes))


def _size(values: np.ndarray) -> float:
    return max(float(np.sqrt(np.mean(np.square(values, dtype=np.float64)))), TINY) if values.size else 1.0
