"""What a cut asks of the layers before it by hand, and cores that hear a neuron against the exact ones."""

import numpy as np
import pytest

from converters.encode import encode
from neuro.blocks import Parts, parts
from neuro.capability import Realisation
from neuro.chip import load
from neuro.graph import Graph, Node
from neuro.layers import Conv, Input
from neuro.search import Search, Task
from neuro.wiring import of_graph

NATIVE = Realisation("native")


def search(graph, chip, rates=None) -> Search:
    """A search without any limit on compartments but the chip's."""
    wiring = of_graph(graph, chip, NATIVE)
    return Search(wiring, chip, NATIVE, False, rates or {})


@pytest.fixture
def convolved(altered_chip):
    """A map of 2 x 4 x 4 under a 3 x 3 kernel of 6 channels, every weight there; a core sends to 24 axons."""
    weight = np.ones((6, 2, 3, 3), np.int64)
    nodes = (Node("in", Input((2, 4, 4), 3)), Node("k", Conv(weight, None, (1, 1), ((1, 1), (1, 1))), ("in",)))
    return search(encode(Graph("k", nodes), "rate", 9), altered_chip("loihi2", axons_out=24))


@pytest.mark.parametrize(
    ("cut", "axons"),
    [
        (None, 32),  # at least one for each of 32 neurons
        (Parts(1, 1, 3), 96),  # every channel group hears all
        (Parts(2, 1, 1), 48),  # two of four rows are heard by both bands
        (Parts(2, 2, 1), 72),  # of 16 places 4 by four blocks, 8 by two, 4 by one: 36, in two channels
        (Parts(2, 2, 2), 144),
    ],
)
def test_cores_asked_for_by_hand(convolved, cut, axons):
    """Axons out over 24 a core."""
    layers = convolved.wiring.layers
    task = Task(convolved, layers[1], {}, layers[:1], np.inf)
    assert task.asked(cut) == -(-axons // 24)


def test_time_asked_for_by_hand(convolved):
    """A neuron that spikes in every step and sends a packet to each of three groups; one core may take a tenth."""
    layers, time = convolved.wiring.layers, convolved.chip.time
    rates = {"in": np.ones(32), "k": np.zeros(96)}
    timed = Search(convolved.wiring, convolved.chip, NATIVE, False, rates)
    task = Task(timed, layers[1], {}, layers[:1], np.inf)
    swept = time.neuron_update.value + (time.neuron_access.value if time.neuron_access else 0.0)
    sent = time.spike.value + 3 * time.axon_out.value
    assert task.asked(Parts(1, 1, 3), 32 * (swept + sent) / 9.5) == 10


@pytest.mark.parametrize("structure", range(6))
@pytest.mark.parametrize("name", ["loihi1", "loihi2"])
def test_never_too_few_hearers(structure, name, random_network):
    """Cores that hear a neuron are counted exactly or, where weights of zero are left out, from above."""
    graph = encode(random_network(structure, np.random.default_rng(structure)), "rate", 9)
    found = search(graph, load(name))
    for layer in found.wiring.layers[1:]:
        demand = found.demand(layer)
        for cut in list(parts(layer.shape))[::5]:
            for source in layer.sources:
                heard, exact = demand.heard(cut, source), demand.reached(cut, source)
                assert (heard >= exact).all()
                assert name == "loihi1" or (heard == exact).all()
