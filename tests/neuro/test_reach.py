"""What arrives over a stage, against JAX walking the same operators, and its balance with what leaves."""

import jax.numpy as jnp
import numpy as np
import pytest

from neuro.graph import Graph
from neuro.layers import MaxPool
from neuro.reach import arrivals, fan_out
from neuro.stages import pattern, populations, propagate, sources


@pytest.mark.parametrize("structure", range(8))
def test_arrivals(structure, random_network):
    """As JAX propagates ones for synapses; summed over the layer they are what the synapses of all sources bring."""
    rng = np.random.default_rng(structure)
    graph: Graph = random_network(structure, rng)
    for node in populations(graph)[1:]:
        values = {s: rng.integers(0, 9, graph.size(s)).astype(float) for s in sources(graph, node.name)}
        found = arrivals(graph, node.name, values)
        reach = fan_out(graph)(node.name, np.ones((1, *graph.shapes[node.name])))
        assert found.sum() == sum(float(counts[0] @ values[s]) for s, counts in reach.items())
        if not isinstance(node.op, MaxPool):
            shaped = {s: jnp.asarray(v.reshape(1, *graph.shapes[s]), jnp.float32) for s, v in values.items()}
            np.testing.assert_array_equal(found, np.asarray(propagate(pattern(graph), node.name, shaped)).reshape(-1))
