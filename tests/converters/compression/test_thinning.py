"""Channels that go: outputs equal where they received nothing, by hand where they did, and real smaller graphs."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from converters.compression.pruning import weights, with_weights
from converters.compression.spaces import spaces
from converters.compression.thinning import dead, thinned
from neuro.errors import BadInput
from neuro.evaluate import evaluate
from neuro.graph import Graph
from neuro.layers import Scale


def output(graph: Graph, counts: np.ndarray) -> np.ndarray:
    return np.asarray(evaluate(graph, jnp.asarray(counts, jnp.float32))[graph.output.name])


def silenced(graph: Graph, share: float, rng: np.random.Generator) -> tuple[Graph, dict[str, np.ndarray]]:
    """`graph` with all weights into some channels zero, one choice for every space; offsets stay."""
    found = spaces(graph)
    chosen: dict[str, np.ndarray] = {}
    changed = {}
    for name, weight in weights(graph).items():
        space = found.of[name]
        if space in found.fixed:
            continue
        if space not in chosen:
            out = np.zeros(len(weight), bool)
            out[rng.permutation(len(weight))[: int(share * len(weight) + 1e-9)]] = True  # as `thinned` does
            chosen[space] = out
        changed[name] = np.where(chosen[space].reshape(-1, *(1,) * (weight.ndim - 1)), 0, weight)
    return with_weights(graph, changed), chosen


@settings(max_examples=6)
@given(st.integers(0, 10**6), st.floats(0.2, 0.8))
@example(0, 0.7999999999999999)  # four of five channels
def test_channels_without_weights_go_and_the_outputs_stay(folded, seed, share):
    rng = np.random.default_rng(seed)
    graph, chosen = silenced(folded(seed % 7), share, rng)
    counts = rng.integers(0, 16, (5, 2, 6, 6))
    want = output(graph, counts)
    for found in (dead(graph), thinned(graph, share)):
        assert found.removed["other"] == chosen[spaces(graph).of["other"]].sum()
        np.testing.assert_allclose(output(found.graph, counts), want, rtol=0, atol=2e-6 * np.abs(want).max())
        for name, weight in weights(found.graph).items():
            gone = found.removed.get(name, 0)
            assert len(weight) == len(weights(graph)[name]) - gone


def test_a_channel_with_weights_goes_with_what_it_gave(mlp):
    graph = mlp(3)
    found = thinned(graph, 0.5)
    first = weights(graph)["dense0"]
    kept = np.sort(np.argsort((first**2).sum(axis=1), kind="stable")[8:])
    np.testing.assert_array_equal(weights(found.graph)["dense0"], first[kept])
    assert found.removed == {"dense0": 8, "dense1": 8}
    assert found.kept == {"dense2": "they are the output"}
    # the second layer reads eight channels only, and its own offsets stay
    hidden = np.maximum(np.arange(12) @ first[kept].T + offset(graph, "relu1")[kept], 0)
    second = weights(graph)["dense1"]
    left = np.sort(np.argsort((second**2).sum(axis=1), kind="stable")[8:])
    hidden = np.maximum(hidden @ second[left][:, kept].T + offset(graph, "relu2")[left], 0)
    want = hidden @ weights(graph)["dense2"][:, left].T + graph.output.op.offset
    np.testing.assert_allclose(output(found.graph, np.arange(12)[None])[0], want, rtol=1e-4, atol=1e-5)


def offset(graph: Graph, layer: str) -> np.ndarray:
    return graph[graph[layer].inputs[0]].op.offset


def test_the_last_channel_stays(mlp):
    graph = with_weights(mlp(0), {"dense0": np.zeros((16, 12))})
    assert len(weights(dead(graph).graph)["dense0"]) == 1


def test_offsets_of_what_is_left_are_untouched_where_nothing_is_constant(folded):
    graph = folded(2)
    found = thinned(graph, 0.3).graph
    left = {n.name: n.op.offset for n in found.nodes if isinstance(n.op, Scale)}
    name = graph.output.name
    np.testing.assert_array_equal(left[name], graph[name].op.offset)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_out_of_range(folded, share):
    with pytest.raises(BadInput, match="cannot be removed"):
        thinned(folded(0), share)


def test_nothing_to_remove_changes_nothing(folded):
    graph = folded(0)
    same = thinned(graph, 0.0)
    assert not any(same.removed.values())
    for name, weight in weights(graph).items():
        np.testing.assert_array_equal(weights(same.graph)[name], weight)
