"""An LSTM and a GRU that read the digits row by row: trained, converted, run, and equal to their integers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from converters import fold, quantise
from converters.encode import encode
from converters.importers.from_jax import trace
from experiments.benchmarks.sequences import SIZE, Training, forward, network, row, train
from experiments.datasets.images import digit_images
from neuro.evaluate import evaluate
from neuro.graph import Graph, digest
from neuro.layers import FIRING, Activation, Product
from neuro.sigma_delta import Delays, stream
from neuro.simulate import simulate
from neuro.stages import populations
from tests.converters.test_attention import whole_numbers

KINDS = ("lstm", "gru")


@pytest.fixture(scope="module")
def weights() -> dict[str, dict[str, np.ndarray]]:
    return {kind: train(kind, Training(hidden=16, epochs=15)) for kind in KINDS}


def images() -> np.ndarray:
    return digit_images()[0][:, 0]


def reference(graph: Graph, **options) -> quantise.Quantised:
    folded = fold.fold(graph, np.full((1, 1), 1 / 16), np.zeros((1, 1)))
    fold.check(graph, folded, images()[:50] / np.float32(16), images()[:50])
    return quantise.reference(folded, images()[:300], 16, **options)


def float_logits(kind: str, weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    with jax.numpy_rank_promotion("allow"):
        return np.asarray(forward(kind, {k: jnp.asarray(v) for k, v in weights.items()}, jnp.asarray(x)))


@pytest.mark.parametrize("kind", KINDS)
def test_training_learns_and_the_graph_is_the_trained_network(weights, kind):
    """Written out step by step, the network gives what `jax.lax.scan` gives."""
    x = images()[1000:] / np.float32(16)
    wanted = float_logits(kind, weights[kind], x)
    graph = network(kind, weights[kind])
    got = np.asarray(evaluate(graph, jnp.asarray(x))[graph.output.name])
    assert np.abs(got - wanted).max() < 1e-5
    assert (wanted.argmax(1) == digit_images()[1][1000:]).mean() > 0.8


@pytest.mark.parametrize("kind", KINDS)
def test_neurons_and_spikes_are_the_integers_that_numpy_gives(weights, kind):
    """All neurons, all steps and the logits, on test items: int64 without the project's evaluator, then every code."""
    form = reference(network(kind, weights[kind]), levels=15)
    x = images()[1000:1060].astype(np.int64)
    wanted = whole_numbers(form.graph, x)
    values = evaluate(form.graph, jnp.asarray(x, jnp.float32))
    assert all((np.asarray(values[name]) == wanted[name]).all() for name in wanted)
    assert sum(isinstance(n.op, Product) for n in form.graph.nodes) >= 8 * 2
    for code in ("bits", "ttfs", "graded"):
        ran = simulate(encode(form.graph, code), jnp.asarray(x, jnp.float32))
        assert (np.asarray(ran.output) == wanted[form.graph.output.name]).all()
    settled = next(stream(form.graph, [x[:6]], "sd_pow2", Delays(2, each_event=True, seed=1)))
    for name, tracers in settled.tracers.items():
        assert (tracers == wanted[name][:6]).all()
    assert (settled.output == wanted[form.graph.output.name][:6]).all()


@pytest.mark.parametrize(("kind", "levels", "loss"), [("lstm", 63, 2.0), ("gru", 15, 3.0)])
def test_no_value_differs_on_all_test_items(weights, kind, levels, loss):
    found = row(kind, network(kind, weights[kind]), levels)
    assert found.mismatches == 0
    assert found.checked == 797 * (found.neurons + 10)
    assert found.exact - found.integer <= loss
    assert found.agreement > 90


def test_a_step_has_one_population_for_each_gate_and_state(weights):
    """Gates feed products themselves, and both products of c' = f c + i g add up in one membrane."""
    graph = reference(network("lstm", weights["lstm"]), levels=15).graph
    third = [n.name for n in populations(graph) if n.name.startswith("lstm/3/")]
    wanted = ("input", "candidate", "forget", "cell.neurons", "output", "squashed", "hidden.product.neurons")
    assert sorted(third) == sorted(f"lstm/3/{what}" for what in wanted)


def test_the_state_may_have_levels_of_its_own(weights):
    graph = reference(network("lstm", weights["lstm"]), levels=15, operand_levels=63).graph
    levels = {n.name: n.op.levels for n in graph.nodes if isinstance(n.op, FIRING)}
    assert levels["lstm/3/cell.neurons"] == 63  # a side of the next product
    assert {v for k, v in levels.items() if "cell" not in k and "admitted" not in k} == {15}


def test_products_of_many_levels_stay_exact(weights):
    """At 255 levels weights of 8 bits behind two products would leave float32: they get fewer."""
    graph = reference(network("lstm", weights["lstm"]), levels=255).graph
    kept = [n for n in graph.nodes if n.name.startswith("lstm/3/cell.neurons/") and hasattr(n.op, "weight")]
    assert 1 <= max(np.abs(n.op.weight).max() for n in kept) < 127


@pytest.mark.parametrize("kind", KINDS)
def test_traced_and_built_end_in_the_same_integers(weights, kind):
    """The cell of `forward`, whose gates are one matrix product and whose 1 - z is a subtraction, traced by JAX."""
    built = reference(network(kind, weights[kind]), levels=15).graph
    with jax.numpy_rank_promotion("allow"):
        held = {k: jnp.asarray(v) for k, v in weights[kind].items()}
        traced = reference(trace(lambda x: forward(kind, held, x), (SIZE, SIZE)), levels=15).graph
    assert digest(built) != digest(traced)  # layers have other names
    ops = [[n.op for n in g.nodes if isinstance(n.op, FIRING)] for g in (built, traced)]
    assert len(ops[0]) == len(ops[1])
    x = jnp.asarray(images()[1000:1100], jnp.float32)
    first, second = (np.asarray(evaluate(g, x)[g.output.name]) for g in (built, traced))
    assert (first == second).all()


def test_gates_are_functions_of_single_values(weights):
    graph = network("gru", weights["gru"])
    names = {n.op.function.name for n in graph.nodes if isinstance(n.op, Activation)}
    assert names == {"sigmoid", "tanh"}
