"""Cores given by hand: what they hold, counted on paper."""

import numpy as np
import pytest

from converters.encode import encode
from neuro.assignment import assigned
from neuro.capability import Realisation
from neuro.chip import load
from neuro.errors import BadInput
from neuro.wiring import of_graph

WAY = Realisation("native")


def test_two_populations_share_a_core_by_hand(tiny_network):
    """Inputs and hidden neurons on core 0, outputs on core 1; 8-bit weights, dense rows.

    Core 0 hears its own 2 inputs, core 1 the 3 hidden neurons. Both matrices keep their 6 weights, of which two
    are zero: 48 bits each. Every spike goes to one core.
    """
    wiring = of_graph(encode(tiny_network, "rate", 4), load("loihi2"), WAY)
    core = {"in": np.zeros(2, int), "hidden": np.zeros(3, int), "out": np.ones(2, int)}
    found = assigned(wiring, load("loihi2"), WAY, core)
    assert found.used["compartments"].tolist() == [5, 2]
    assert found.used["axons_in"].tolist() == [2, 3]
    assert found.used["axons_out"].tolist() == [5, 0]
    assert found.used["synapse_memory"].tolist() == [48, 48]
    assert found.used["fan_in"].tolist() == [2, 3]
    assert found.inward["hidden"]["in"].tolist() == [[3, 3]]
    assert found.inward["out"]["hidden"].tolist() == [[2, 2, 2]]


def test_cores_without_a_gap(tiny_network):
    wiring = of_graph(encode(tiny_network, "rate", 4), load("loihi2"), WAY)
    core = {"in": np.zeros(2, int), "hidden": np.zeros(3, int), "out": np.full(2, 2)}
    with pytest.raises(BadInput, match="core 1 holds no neuron; count the cores from 0"):
        assigned(wiring, load("loihi2"), WAY, core)
