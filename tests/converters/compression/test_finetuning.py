"""Training: it learns, it repeats itself, it refuses what it cannot learn from."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from converters.compression.finetuning import Schedule, finetuned
from converters.compression.pruning import pruned, weights
from converters.compression.quantised import forward as quantised_forward
from converters.compression.quantised import layers
from converters.compression.tunable import forward, tunable, tuned
from neuro.errors import BadInput


@pytest.fixture(scope="module")
def task():
    """Items of five classes that a linear rule tells apart."""
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 16, (300, 12))
    return counts, ((counts - 7.5) @ rng.normal(size=(12, 5))).argmax(axis=1)


def share(run, parameters, counts, labels) -> float:
    return float((np.asarray(run(parameters, jnp.asarray(counts, jnp.float32))).argmax(axis=1) == labels).mean())


def test_a_pruned_network_learns_and_keeps_its_zeros(mlp, task):
    counts, labels = task
    graph = pruned(mlp(0), 0.5)
    net, parameters = tunable(graph, jnp.asarray(counts, jnp.float32))
    run, told = partial(forward, net), []
    found = finetuned(run, parameters, counts, labels, Schedule(epochs=8, batch=10, rate=0.03), told.append)
    assert share(run, found, counts, labels) > share(run, parameters, counts, labels) + 0.2
    assert told == [1] * 8
    for name, weight in weights(tuned(net, found)).items():
        assert ((weight == 0) >= (weights(graph)[name] == 0)).all()


def test_the_quantised_network_learns_and_training_repeats_itself(mlp, task):
    counts, labels = task
    x = jnp.asarray(counts, jnp.float32)
    of, parameters = layers(*tunable(mlp(0), x), x, 7, 4)
    run = partial(quantised_forward, of)
    first, second = (
        finetuned(run, parameters, counts, labels, Schedule(epochs=4, batch=10, rate=0.03, seed=3)) for _ in range(2)
    )
    assert share(run, first, counts, labels) > share(run, parameters, counts, labels) + 0.2
    for name in first["thresholds"]:
        assert float(first["thresholds"][name]) == float(second["thresholds"][name])
    assert any(float(first["thresholds"][n]) != float(parameters["thresholds"][n]) for n in first["thresholds"])


def test_refusals(mlp, task):
    counts, labels = task
    net, parameters = tunable(mlp(0), jnp.asarray(counts, jnp.float32))
    run = partial(forward, net)
    with pytest.raises(BadInput, match="0 to 4 apart"):
        finetuned(run, parameters, counts, labels + 1, Schedule())
    with pytest.raises(BadInput, match="0 training items"):
        finetuned(run, parameters, counts[:0], labels[:0], Schedule())
    with pytest.raises(BadInput, match="diverged"):
        finetuned(run, parameters, counts, labels, Schedule(epochs=2, rate=1e30))
    with pytest.raises(BadInput, match="epochs"):
        Schedule(epochs=0)
