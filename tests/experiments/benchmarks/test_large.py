"""The large network in small: its synapses and delays as asked for, run by the kernels as by NumPy."""

import numpy as np

from experiments.benchmarks import large
from neuro import recurrent
from neuro.trace import simulate


def test_it_is_the_network_asked_for_and_runs_as_it_should():
    network = large.network(300, 12)
    assert network.synapses == 300 * 12
    assert sorted(p.delay for p in network.projections) == [1, 5, 10]
    found, wanted = recurrent.run(recurrent.prepare(network, "fixed"), {}, 60), simulate(network, {}, 60)
    assert wanted.spikes["cells"].sum() > 300
    np.testing.assert_array_equal(found.spikes["cells"], wanted.spikes["cells"])


def test_it_says_what_it_took(capsys):
    large.main(200, 10, 20)
    out = capsys.readouterr().out
    assert "200 neurons, 2,000 synapses, 20 steps" in out
    assert "synaptic operations" in out
