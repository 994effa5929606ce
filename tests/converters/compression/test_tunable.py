"""A tunable graph begins as the graph itself; zeros and shared values stay whatever the parameters do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from converters.compression.clusters import clustered
from converters.compression.pruning import pruned, weights
from converters.compression.tunable import forward, layer_weights, offset_nodes, tunable, tuned
from neuro.evaluate import evaluate


def items(seed: int, shape=(2, 6, 6), number: int = 6):
    return jnp.asarray(np.random.default_rng(seed).integers(0, 16, (number, *shape)), jnp.float32)


def output(graph, x) -> np.ndarray:
    return np.asarray(jax.jit(lambda x: evaluate(graph, x)[graph.output.name])(x))


def test_it_begins_as_the_graph_itself(folded):
    graph, x = folded(0), items(0)
    net, parameters = tunable(graph, x)
    want = output(graph, x)
    got = jax.jit(lambda p: forward(net, p, x))(parameters)
    np.testing.assert_allclose(got, want, atol=1e-5 * np.abs(want).max())
    for name, weight in weights(tuned(net, parameters)).items():
        np.testing.assert_allclose(weight, weights(graph)[name], rtol=1e-6)


def test_the_tuned_graph_is_what_was_trained(folded):
    graph, x = folded(1), items(1)
    net, parameters = tunable(graph, x)
    rng = np.random.default_rng(0)
    moved = jax.tree.map(lambda p: p + np.float32(0.3) * rng.normal(size=p.shape).astype(np.float32), parameters)
    got = tuned(net, moved)
    want = np.asarray(jax.jit(lambda p: forward(net, p, x))(moved))
    np.testing.assert_allclose(output(got, x), want, atol=1e-5 * np.abs(want).max())
    assert set(moved["offsets"]) == set(offset_nodes(graph))


def test_a_weight_of_zero_has_no_gradient_and_stays(folded):
    graph, x = pruned(folded(2), 0.7), items(2)
    net, parameters = tunable(graph, x)
    gradient = jax.jit(jax.grad(lambda p: (forward(net, p, x) ** 2).sum()))(parameters)
    for name, weight in weights(graph).items():
        assert (np.asarray(gradient["weights"][name])[weight == 0] == 0).all()
    moved = jax.tree.map(lambda p: p + 1, parameters)
    for name, weight in layer_weights(net, moved).items():
        assert (np.asarray(weight)[weights(graph)[name] == 0] == 0).all()
        assert (np.asarray(weight)[weights(graph)[name] != 0] != 0).any()


def test_weights_that_share_a_value_move_together(mlp):
    """The gradient of a shared value is the sum of those of its weights, by the plain graph."""
    graph, shared = clustered(pruned(mlp(0), 0.3), 2)
    x = items(3, (12,))
    net, parameters = tunable(graph, x, shared)
    plain, own = tunable(graph, x)
    by_value, by_weight = (
        jax.jit(jax.grad(lambda p, n=n: (forward(n, p, x) ** 2).sum()))(start)["weights"]["dense1"]
        for n, start in ((net, parameters), (plain, own))
    )
    index, there = shared["dense1"].index, weights(graph)["dense1"] != 0
    for k in range(len(shared["dense1"].values)):
        want = float(np.asarray(by_weight)[(index == k) & there].sum())
        assert float(by_value[k]) == pytest.approx(want, rel=1e-3, abs=1e-3)
    moved = tuned(net, jax.tree.map(lambda p: p * 1.1 + 0.2, parameters))
    assert len(np.unique(weights(moved)["dense1"])) <= 4
