"""The trained network is the integer network: by the formula in float64, by counts, and under every parameter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from converters.compression.clusters import clustered
from converters.compression.pruning import pruned, weights, zero_share
from converters.compression.quantised import forward, integer, layers, outputs, wholes
from converters.compression.tunable import tunable
from neuro.activations import Function
from neuro.errors import BadInput, Unsupported
from neuro.evaluate import evaluate
from neuro.graph import Graph, Node
from neuro.layers import Activation, Conv, Dense, Input, MaxPool, Scale, Threshold


def items(seed: int, shape=(2, 6, 6), number: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 16, (number, *shape))


def moved(parameters, size: float, seed: int = 0):
    """Parameters as if trained."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda p: p + np.float32(size) * rng.normal(size=p.shape).astype(np.float32), parameters)


def made(graph: Graph, counts: np.ndarray, levels: int, bits: int, shared=None):
    x = jnp.asarray(counts, jnp.float32)
    return layers(*tunable(graph, x, shared), x, levels, bits)


@settings(max_examples=5)
@given(st.integers(0, 10**6), st.sampled_from([1, 3, 7, 15]), st.sampled_from([2, 4, 8]))
@example(0, 15, 8)  # membranes of a threshold and a half
def test_the_integer_network_gives_what_was_trained(folded, seed, levels, bits):
    graph, counts = folded(seed % 5), items(seed)
    of, parameters = made(graph, counts, levels, bits)
    parameters = moved(parameters, 0.2, seed)
    form, _, _ = integer(of, parameters, 15)
    x, last = jnp.asarray(counts, jnp.float32), form.graph.output.name
    own = jax.jit(lambda p: wholes(of, p))(parameters)  # compiled apart, a weight on the edge may round otherwise
    want = np.asarray(jax.jit(lambda p, own, x: outputs(of, p, own, x))(parameters, own, x))
    membrane = np.asarray(jax.jit(lambda x: evaluate(form.graph, x)[last])(x))
    got = membrane * form.scales[form.graph.output.name]
    np.testing.assert_allclose(got, want, atol=1e-5 * np.abs(want).max())
    assert {n.op.levels for n in form.graph.nodes if isinstance(n.op, Threshold)} == {levels}
    most = max(np.abs(w).max() for w in weights(form.graph).values())
    assert most <= 2 ** (bits - 1) - 1


def test_names_with_slashes_are_names(folded):
    """As in the ONNX files that PyTorch writes, and in Flax: /first/Conv behind /first.relu/Op."""
    graph, counts = folded(1), items(1)
    names = {n.name: f"/{n.name}/Op" for n in graph.nodes}
    renamed = tuple(Node(names[n.name], n.op, tuple(names[i] for i in n.inputs)) for n in graph.nodes)
    forms = []
    for each in (graph, Graph("slashed", renamed)):
        of, parameters = made(each, counts, 7, 4)
        forms.append(integer(of, parameters, 15))
    (plain, tuned, _), (found, same, _) = forms
    assert [n.op.weight.tolist() for n in found.graph.nodes if isinstance(n.op, Conv | Dense)] == [
        n.op.weight.tolist() for n in plain.graph.nodes if isinstance(n.op, Conv | Dense)
    ]
    for name, weight in weights(tuned).items():
        np.testing.assert_array_equal(weights(same)[names[name]], weight)


def test_the_integer_network_is_qcfs_of_quantised_weights_in_float64(mlp):
    """a = lambda clip(floor(z L / lambda + 1/2) / L, 0, 1) written down with the weights of the float graph.

    Where z L / lambda + 1/2 is whole, integers are exact and float64 is not: a millionth of a level decides for it.
    """
    graph, counts, levels = mlp(1), items(1, (12,), 500), 7
    of, parameters = made(graph, counts, levels, 4)
    form, tuned, thresholds = integer(of, moved(parameters, 0.1), 15)
    x, ties = counts.astype(np.float64), np.zeros(len(counts), bool)
    for k, name in enumerate(("relu1", "relu2")):
        op = form.graph[name].op
        bias = (op.bias / op.threshold * thresholds[name] / levels).ravel()  # what the integer bias stands for
        steps = (x @ weights(tuned)[f"dense{k}"].astype(np.float64).T + bias) * levels / thresholds[name] + 0.5
        ties |= (np.abs(steps - np.rint(steps)) < 1e-5).any(axis=1)
        x = thresholds[name] * np.clip(np.floor(steps + 1e-6) / levels, 0, 1)
        offset = tuned[tuned[name].inputs[0]].op.offset
        assert np.abs(offset - bias).max() <= 0.5 * thresholds[name] / levels / op.threshold.min() + 1e-6
    x = x @ weights(tuned)["dense2"].astype(np.float64).T
    x = x + form.graph.output.op.offset * form.scales[form.graph.output.name]
    got = np.asarray(evaluate(form.graph, jnp.asarray(counts, jnp.float32))[form.graph.output.name])
    np.testing.assert_allclose(got * form.scales[form.graph.output.name], x, atol=1e-5)
    assert (got.argmax(axis=1) == x.argmax(axis=1))[~ties].all()
    assert 0 < ties.sum() < len(counts)


def test_thresholds_are_the_learned_ones(folded):
    graph, counts = folded(0), items(0)
    of, parameters = made(graph, counts, 7, 5)
    parameters = moved(parameters, 0.1)
    form, tuned, thresholds = integer(of, parameters, 15)
    for name, own in parameters["thresholds"].items():
        assert thresholds[name] == pytest.approx(float(np.exp(own)), rel=1e-6)
        np.testing.assert_allclose(form.scales[name], thresholds[name] / 7)
        assert tuned[name].op.function == Function("clip", (0.0, thresholds[name]))


def test_zeros_are_zeros_in_both_forms(folded):
    graph, counts = pruned(folded(2), 0.7), items(2)
    of, parameters = made(graph, counts, 7, 8)
    form, tuned, _ = integer(of, moved(parameters, 0.1), 15)
    for node in form.graph.nodes:
        name = node.name.split("/")[-1]
        if name in weights(graph) and isinstance(node.op, type(graph[name].op)):
            assert (node.op.weight[weights(graph)[name] == 0] == 0).all()
    assert zero_share(tuned) >= zero_share(graph)


def test_shared_values_are_few_integers(mlp):
    graph, shared = clustered(pruned(mlp(2), 0.4), 3)
    counts = items(3, (12,))
    of, parameters = made(graph, counts, 7, 8, shared)
    form, tuned, _ = integer(of, moved(parameters, 0.05), 15)
    for found in (form.graph, tuned):
        assert all(len(np.unique(w)) <= 8 for w in weights(found).values())


def test_the_gradient_of_weights_and_threshold_by_hand():
    """One weight 1, one input count 3, read-out 1: with L = 4 and lambda = 6, z = 3 is level 2, a = 3.

    d(a)/dw = 3, and d(a)/d(log lambda) = a - z = 0; at z = 2 (w = 2/3) a is 1.5, so that it is -0.5.
    """
    nodes = (
        Node("in", Input((1,))),
        Node("w", Dense(np.ones((1, 1)), None), ("in",)),
        Node("o", Scale(np.ones(1), np.zeros(1)), ("w",)),
        Node("f", Activation(Function("clip", (0.0, 6.0))), ("o",)),
        Node("v", Dense(np.ones((1, 1)), None), ("f",)),
        Node("out", Scale(np.ones(1), np.zeros(1)), ("v",)),
    )
    x = jnp.full((1, 1), 3, jnp.float32)
    of, parameters = layers(*tunable(Graph("one", nodes), x), x, 4, 8)
    parameters["thresholds"]["f"] = jnp.log(jnp.float32(6.0))
    slope = jax.jit(jax.value_and_grad(lambda p: forward(of, p, x)[0, 0]))
    _, gradient = slope(parameters)
    assert float(gradient["weights"]["w"].squeeze()) == pytest.approx(3.0, rel=1e-2)
    assert float(gradient["thresholds"]["f"]) == pytest.approx(0.0, abs=0.05)
    parameters["weights"]["w"] = parameters["weights"]["w"] * jnp.float32(2 / 3)
    value, gradient = slope(parameters)
    assert float(value) == pytest.approx(1.5, rel=1e-2)
    assert float(gradient["thresholds"]["f"]) == pytest.approx(-0.5, abs=0.05)


def test_a_max_pool_has_the_threshold_of_its_source(folded):
    graph = next(g for g in map(folded, range(20)) if any(isinstance(n.op, MaxPool) for n in g.nodes))
    of, _ = made(graph, items(0), 7, 8)
    pools = [n.name for n in graph.nodes if isinstance(n.op, MaxPool)]
    for name in pools:
        assert of.roots[name] not in pools


def test_what_has_no_threshold_is_refused(mlp):
    graph = mlp(0)
    nodes = [Node(n.name, Activation(Function("tanh")), n.inputs) if n.name == "relu1" else n for n in graph.nodes]
    with pytest.raises(Unsupported, match="tanh 'relu1': no ReLU"):
        made(Graph("t", tuple(nodes)), items(0, (12,)), 7, 4)
    with pytest.raises(BadInput, match="weight-bits"):
        made(graph, items(0, (12,)), 7, 9)
