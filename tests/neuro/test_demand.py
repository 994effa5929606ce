"""What a layer asks of its cores: bounds never below exact counts, needs no larger than any cut's, times by hand."""

import numpy as np
import pytest

from converters.encode import encode
from neuro.blocks import WHOLE, Parts, parts
from neuro.capability import Realisation
from neuro.chip import load
from neuro.demand import Demand, event, stored
from neuro.graph import Graph, Node
from neuro.layers import Dense, Input
from neuro.wiring import of_graph

NATIVE = Realisation("native")


@pytest.mark.parametrize("structure", range(6))
def test_bounds_hold(structure, random_network, altered_chip):
    """Over all cuts: no core hears more packets than the bound says, needs of the whole are needs of all cores."""
    graph = encode(random_network(structure, np.random.default_rng(structure)), "rate", 9)
    chip = altered_chip("loihi2", axons_in=10)
    wiring = of_graph(graph, chip, NATIVE)
    rates = {layer.name: np.random.default_rng(1).random(layer.size) for layer in wiring.layers}
    for layer in wiring.layers[1:]:
        demand = Demand(wiring, layer, chip, NATIVE, rates)
        whole = demand.whole([])
        for cut in list(parts(layer.shape))[::3]:
            exact = demand.axons_in(cut)
            assert exact.sum() >= whole["axons_in"]
            assert demand.memory(cut).sum() >= whole["synapse_memory"] * (1 - 1e-6)
            heard = np.sum([(n > 0) @ rates[s] for s, n in demand.inward(cut).items()], axis=0)
            assert (demand.packets(cut) >= heard * (1 - 1e-6)).all()
            much = demand.hears_too_much(cut)
            assert (much is None) == (exact.max() <= 10)
            assert demand.step(cut, np.zeros(layer.size)).sum() >= demand.work(np.zeros(layer.size)) * (1 - 1e-6)


@pytest.mark.parametrize("name", ["loihi1", "generic"])
def test_time_of_a_dense_layer_by_hand(name):
    """4 inputs at 0.5 spikes a step on 6 neurons at 0.25, two cores, a packet for each spike: 2 packets and 2 x 3
    synaptic operations arrive at each; 3 x 0.25 spikes leave."""
    nodes = (Node("in", Input((4,), 1)), Node("d", Dense(np.ones((6, 4), int), None), ("in",)))
    chip, graph = load(name), encode(Graph("d", nodes), "rate", 9)
    wiring = of_graph(graph, chip, NATIVE)
    demand = Demand(wiring, wiring["d"], chip, NATIVE, {"in": np.full(4, 0.5), "d": np.full(6, 0.25)})
    time = {key: constant.value for key, constant in chip.time if constant is not None}
    sweep = time["neuron_update"] + (time["neuron_access"] if chip.energy.neuron_access else 0.0)
    sent = 3 * sweep + 0.75 * (time["spike"] + time["axon_out"])
    taken = 2 * time["axon_in"] + 6 * time["synop_dense"]
    want = max(sent, taken) if chip.pace.overlap else sent + taken
    np.testing.assert_allclose(demand.step(Parts(1, 1, 2), np.ones(6)), [want, want])
    assert demand.axons_in(WHOLE).tolist() == [4]


def test_rows_of_shared_kernels_are_sparse_entries(random_network):
    """A chip that keeps rows stores an index with every weight, one that keeps kernels does not."""
    wiring = of_graph(encode(random_network(1, np.random.default_rng(1)), "rate", 9), load("loihi2"), NATIVE)
    layer = next(layer for layer in wiring.layers if layer.format == "conv")
    assert (stored(load("loihi1"), layer), stored(load("loihi2"), layer)) == ("sparse", "conv")
    assert event(load("loihi1"), NATIVE, layer) == "synop_sparse"
    assert event(load("loihi1"), Realisation("native", synop="mac"), layer) == "mac"
