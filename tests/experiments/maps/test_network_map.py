"""Networks on chips: events counted from the run by hand, energies from the chip's own prices, and refusals."""

import numpy as np
import pytest

from experiments.maps.chip_map import summary
from experiments.maps.network_map import network_on_chip
from neuro.chip import load
from neuro.dynamics import Dynamics
from neuro.errors import DoesNotFit
from neuro.network import Network, Neurons, Projection
from neuro.trace import simulate, synops

STEPS = 40


def network(**model) -> Network:
    """10 inputs and 20 neurons, recurrent."""
    rng = np.random.default_rng(0)
    ends = [np.nonzero(rng.random((n, 20)) < 0.3) for n in (10, 20)]
    projections = (
        Projection("in", "cells", *ends[0], rng.integers(1, 9, len(ends[0][0]))),
        Projection("cells", "cells", *ends[1], rng.integers(-3, 4, len(ends[1][0])), 2),
    )
    cells = Neurons("cells", (20,), Dynamics(**{"threshold": 10.0, "decay": 0.75, "quantum": 1.0} | model))
    return Network("small", (Neurons("in", (10,)), cells), projections)


TRAIN = np.random.default_rng(1).random((STEPS, 10)) < 0.3


@pytest.mark.parametrize("name", ["loihi1", "loihi2", "spinnaker2"])
def test_events_are_those_of_the_run(name):
    net, chip = network(), load(name)
    trace = simulate(net, {"in": TRAIN}, STEPS)
    found = network_on_chip(net, chip, {"in": TRAIN}, STEPS)
    events = {event: float(n) for event, n in found.counts.events.items()}
    assert events["spike"] == sum(s.sum() for s in trace.spikes.values())
    assert sum(n for e, n in events.items() if e.startswith("synop")) == sum(n.sum() for n in synops(net, trace))
    if "neuron_access" in events:
        assert events["neuron_access"] == 30 * STEPS
        assert events["neuron_update"] == trace.updated["cells"].sum()
    assert events["host_write"] == TRAIN.sum()
    told = summary(found)
    assert told["energy_j"] > 0
    assert told["latency_s"] > 0
    assert told["cores"] == found.placement.number


def test_a_network_without_inputs():
    """Driven by their bias alone: 3 a step, over a threshold of 9 in every fourth step, that is 10 of 40."""
    cells = Neurons("cells", (20,), Dynamics(9.0, bias=3.0, strict=True))
    net = Network("alone", (cells,), ())
    told: list[int] = []
    found = network_on_chip(net, load("loihi1"), {}, STEPS, progress=lambda stage, parts: told.append)
    assert float(found.counts.events["spike"]) == 20 * STEPS / 4
    assert float(found.counts.events["host_write"]) == 0
    assert sum(told) == STEPS


@pytest.mark.parametrize("steps", [1, 7])
def test_neurons_that_nobody_hears_send_no_copies(steps):
    """On a chip whose routers copy packets: 20 read-out neurons on a core of their own send to none."""
    net = network()
    silent = Neurons("out", (20,), Dynamics(5.0))
    onto = Projection("cells", "out", np.arange(20), np.arange(20), np.full(20, 9))
    net = Network("read out", (*net.populations, silent), (*net.projections, onto))
    found = network_on_chip(net, load("spinnaker2"), {"in": TRAIN[:steps]}, steps)
    trace = simulate(net, {"in": TRAIN[:steps]}, steps)
    assert float(found.counts.events["spike"]) == sum(s.sum() for s in trace.spikes.values())
    assert not found.traffic[found.placement.cores_of("out")].any()


def test_what_a_chip_cannot_do():
    with pytest.raises(DoesNotFit, match="2 synaptic currents; loihi1 is described with one"):
        network_on_chip(network(current_decay=(0.5, 0.75)), load("loihi1"), {"in": TRAIN}, STEPS)
    found = network_on_chip(network(current_decay=(0.5, 0.75)), load("loihi2"), {"in": TRAIN}, STEPS)
    assert "neuron_program" in found.counts.events
    with pytest.raises(DoesNotFit, match="'cells' resets by subtraction; odin cannot"):
        network_on_chip(network(reset="soft"), load("odin"), {"in": TRAIN}, STEPS)
    adapting = network_on_chip(network(reset="soft", adaptation=2.0), load("loihi1"), {"in": TRAIN}, STEPS)
    assert adapting.placement.swept.sum() == 10 + 20 * 3
