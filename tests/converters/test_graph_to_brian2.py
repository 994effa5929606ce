"""Spiking graphs in Brian2 under every code: the spikes and the output of `neuro.simulate`."""

import jax.numpy as jnp
import numpy as np
import pytest

from converters.encode import encode
from converters.graph_to_brian2 import graph_to_brian2
from neuro.errors import BadInput
from neuro.simulate import simulate

pytestmark = [
    pytest.mark.timeout(300),  # importing Brian2 takes long
    pytest.mark.filterwarnings("ignore::DeprecationWarning:brian2"),  # it calls pyparsing by names of old
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pyparsing"),
]


@pytest.mark.parametrize("code", ["unary", "bits", "rate"])
@pytest.mark.parametrize("structure", [0, 3])
def test_every_spike_and_output_is_that_of_brian2(code, structure, random_network):
    brian2 = pytest.importorskip("brian2")
    brian2.prefs.codegen.target = "numpy"
    rng = np.random.default_rng(structure)
    graph = encode(random_network(structure, rng), code, 9 if code == "rate" else None)
    assert graph.schedule is not None
    counts = rng.integers(0, graph.input.op.levels + 1, graph.input.op.shape)
    run = simulate(graph, jnp.asarray(counts, jnp.float32)[None])
    there = graph_to_brian2(graph, counts)
    spikes = there.run(graph.schedule.total)
    for name, window in graph.schedule.windows.items():
        ours = np.asarray(run.spikes[name])[:, 0].reshape(window.steps, -1)
        np.testing.assert_array_equal(spikes[name][window.start : window.end], ours, err_msg=name)
        assert spikes[name].sum() == ours.sum()
    np.testing.assert_array_equal(np.asarray(there.groups[graph.output.name].v), np.asarray(run.output).ravel())


def test_other_codes_are_refused(random_network):
    graph = encode(random_network(0, np.random.default_rng(0)), "ttfs")
    with pytest.raises(BadInput, match="the ttfs code has no form in Brian2; encode it under unary, bits, rate"):
        graph_to_brian2(graph, np.zeros((2, 6, 5), int))


def test_a_graph_needs_a_schedule(random_network):
    with pytest.raises(ValueError, match="no schedule; encode it first"):
        graph_to_brian2(random_network(0, np.random.default_rng(0)), np.zeros((2, 6, 5), int))
