"""What does not run is refused with limit, value and what to try; on request it is placed, and says so."""

import jax.numpy as jnp
import numpy as np
import pytest

from converters.encode import encode
from neuro.capability import realise
from neuro.chip import load, prices
from neuro.constants import leaves
from neuro.cost import cost
from neuro.counts import Counts
from neuro.errors import BadDescription, DoesNotFit
from neuro.graph import Graph, Node
from neuro.layers import Conv, Dense, Input, Reshape, Scale, Threshold
from neuro.placement import Placement, place
from neuro.testing import check_chip
from neuro.wiring import of_graph


def dense() -> Graph:
    """20 inputs, 10 neurons, 2 outputs; weights of 60 (seven bits)."""
    nodes = (
        Node("in", Input((20,), 3)),
        Node("w", Dense(np.full((10, 20), 60), None), ("in",)),
        Node("t", Threshold(np.full(10, 100), np.zeros(10, np.int64), 3), ("w",)),
        Node("v", Dense(np.ones((2, 10), np.int64), None), ("t",)),
        Node("out", Scale(np.ones(2, np.int64), np.zeros(2, np.int64)), ("v",)),
    )
    return Graph("dense", nodes)


def conv() -> Graph:
    """One 5 x 5 convolution."""
    nodes = (
        Node("in", Input((1, 6, 6), 3)),
        Node("c", Conv(np.ones((2, 1, 5, 5), np.int64), None, (1, 1), ((0, 0), (0, 0))), ("in",)),
        Node("t", Threshold(np.ones((2, 1, 1), np.int64), np.zeros((2, 1, 1), np.int64), 3), ("c",)),
        Node("f", Reshape((8,)), ("t",)),
        Node("v", Dense(np.ones((2, 8), np.int64), None), ("f",)),
        Node("out", Scale(np.ones(2, np.int64), np.zeros(2, np.int64)), ("v",)),
    )
    return Graph("conv", nodes)


def placed(graph: Graph, chip, code: str, allow: bool = False) -> Placement:
    spiking = encode(graph, code, 3 if code == "rate" else None)
    way = realise(chip, code, spiking)
    return place(of_graph(spiking, chip, way), chip, way, allow=allow)


REFUSED: dict[str, tuple[str, dict[str, float], str]] = {
    "cores": ("loihi2", {"cores": 2, "chips": 1}, r"dense needs 3 cores; loihi2 has 2\. .*try a smaller network"),
    "fan_in": ("loihi2", {"fan_in": 16}, r"layer 't' has 20 synapses; loihi2 allows 16\. .*fewer inputs, or prune"),
    "axons_in": ("loihi2", {"axons_in": 12}, r"layer 't' hears 20 axons in; .* allows 12\. Use a layer with fewer"),
    "weight_bits": ("loihi2", {"weight_bits": 6}, r"'t' has 7-bit weights; loihi2 stores 6\. Lower --weight-bits"),
    "state_bits": ("loihi2", {"state_bits": 8}, r"needs 13 bits of state; loihi2 has 8\. Lower --input-levels"),
    "synapse_memory": ("loihi2", {"synapse_memory": 100}, r"'t' needs 160 synapse memory .*; loihi2 allows 100\. Use"),
    "kernel": ("generic", {"kernel": 3}, r"layer 't' has windows of 5; generic allows 3\. Use smaller kernels"),
}


@pytest.mark.parametrize("limit", REFUSED)
def test_a_limit_is_named_with_its_value_and_a_remedy(limit, altered_chip):
    name, limits, message = REFUSED[limit]
    graph, chip = conv() if limit == "kernel" else dense(), altered_chip(name, **limits)
    with pytest.raises(DoesNotFit, match=message) as refused:
        placed(graph, chip, "bits")
    anyway = placed(graph, chip, "bits", allow=True)
    assert str(refused.value) in anyway.violations
    assert set(anyway.core) == {"in", "t", "out"}


def test_a_reset_that_the_chip_lacks(altered_chip):
    """On request the network runs as if every compartment could subtract, which the placement says."""
    chip = load("loihi2")
    chip = chip.model_copy(update={"neuron": chip.neuron.model_copy(update={"soft_reset": None, "program": False})})
    with pytest.raises(DoesNotFit, match=r"loihi2 lacks reset by subtraction"):
        placed(dense(), chip, "rate")
    anyway = placed(dense(), chip, "rate", allow=True)
    assert any("reset by subtraction" in broken for broken in anyway.violations)


def test_several_limits_are_all_named(altered_chip):
    chip = altered_chip("loihi2", weight_bits=6, state_bits=8, fan_in=16, cores=2, chips=1)
    broken = " ".join(placed(dense(), chip, "bits", allow=True).violations)
    for word in ("7-bit weights", "bits of state", "20 synapses", "needs 3 cores"):
        assert word in broken


def test_what_fits_has_no_violations():
    assert placed(dense(), load("loihi2"), "bits", allow=True).violations == ()


@pytest.fixture(scope="module")
def tiny_counts(tiny_network, counter) -> Counts:
    placement = placed(tiny_network, load("loihi2"), "rate")
    windows = placement.schedule.windows
    spikes = {n: jnp.ones((w.steps, 1, len(placement.core[n])), bool) for n, w in windows.items()}
    return counter(placement)(spikes)["single"]


@pytest.mark.parametrize("missing", ["energy.spike", "energy.hop", "time.axon_in", "time.barrier_level"])
def test_an_event_that_occurs_has_a_price(missing, tiny_counts):
    """Refused by the conformance suite before anything runs, and by the cost when the event is there; never free."""
    table, event = missing.split(".")
    chip = load("loihi2")
    chip = chip.model_copy(update={table: getattr(chip, table).model_copy(update={event: None})})
    with pytest.raises(BadDescription, match=rf"1 fault.*\n.*{missing}: happens here; give a price, or"):
        check_chip(chip)
    values = {path: c.value for path, c in leaves(chip)}
    with pytest.raises(BadDescription, match=rf"no price for {missing}; add a constant with its source to the file"):
        cost(tiny_counts, prices(chip, values, "chip"))
