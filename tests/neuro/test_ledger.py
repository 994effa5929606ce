"""Who spends what: by hand, and that nothing is lost or made up."""

import jax.numpy as jnp
import numpy as np
import pytest

from converters.encode import encode
from neuro.capability import realise
from neuro.chip import load
from neuro.ledger import REST, ledger
from neuro.placement import Placement, place
from neuro.wiring import of_graph

SPIKES = {"in": [[1, 1], [1, 0]], "hidden": [[1, 1, 0], [1, 1, 0]]}
CHIP = {"management", "reset", "core_step"}
"""Events of the chip as a whole."""


@pytest.fixture(autouse=True)
def compiled(monkeypatch, counter):
    """The ledger's own count, compiled as a whole: a fraction of the time."""
    monkeypatch.setattr("neuro.ledger.count", lambda placement, spikes: counter(placement)(spikes))


def on(graph, chip, code: str) -> Placement:
    spiking = encode(graph, code, 2 if code == "rate" else None)
    way = realise(chip, code, spiking)
    return place(of_graph(spiking, chip, way), chip, way)


def trains(placement: Placement) -> dict:
    """The spikes of the network that is counted by hand, and the same with the last one left out."""
    found = {}
    for name, window in placement.schedule.windows.items():
        rows = np.array(SPIKES[name], bool)[: window.steps]
        found[name] = jnp.asarray(np.stack([rows, rows & (np.arange(rows.size).reshape(rows.shape) > 0)], axis=1))
    return found


def test_by_hand(tiny_network):
    """Unary, five steps. The inputs spike 3 times and meet 3 hidden neurons each, hidden 4 times and 2 outputs:
    synapses are booked on the layer that they lead to. Without the first spike of both: 2 and 3."""
    placement = on(tiny_network, load("loihi2"), "unary")
    got = {name: {e: n.tolist() for e, n in row.items()} for name, row in ledger(placement, trains(placement)).items()}
    zero = [0, 0]
    assert got["in"] == {
        "neuron_program": [10, 10],
        "spike": [3, 2],
        "axon_out": [3, 2],
        "hop": zero,
        "host_write": [2, 2],
    }
    hidden = {"neuron_program": [15, 15], "spike": [4, 3], "axon_out": [4, 3], "hop": zero, "synop_dense": [9, 6]}
    assert got["hidden"] == hidden
    assert got["out"] == {"neuron_program": [10, 10], "synop_dense": [8, 6], "host_read": [2, 2]}
    assert {event: n for event, n in got[REST].items() if any(n)} == {"reset": [1, 1]}


@pytest.mark.parametrize(
    ("name", "code", "limits"),
    [
        ("loihi1", "unary", {"cores": 2}),
        ("spinnaker2", "bits", {}),
        ("generic", "rate", {"cores": 1}),
        ("speck", "rate", {}),
    ],
)
def test_the_ledger_sums_to_the_total_exactly(name, code, limits, tiny_network, altered_chip, counter):
    """Every event to the last one. What no layer is the cause of is the chip's, or the clock's where there is one."""
    chip = altered_chip(name, **limits) if limits else load(name)
    chip = chip.model_copy(update={"energy": chip.energy.model_copy(update={"core_step": chip.energy.hop})})
    placement = on(tiny_network, chip, code)
    spikes = trains(placement)
    total = counter(placement)(spikes)["single"].events
    rows = ledger(placement, spikes)
    assert set(rows) == {"in", "hidden", "out", REST}
    assert set(rows[REST]) == set(total)
    for event, number in total.items():
        booked = sum(row.get(event, np.zeros(2)) for row in rows.values())
        np.testing.assert_array_equal(booked, np.asarray(number), err_msg=event)
    assert all((n >= 0).all() for row in rows.values() for n in row.values())
    rest = {event for event, n in rows[REST].items() if n.any()}
    clock = {"neuron_access", "neuron_update", "spike", "axon_out", "hop", "chip_hop", "synop_dense"}
    assert rest & set(total) <= CHIP | (clock if placement.realisation.clock else set())
    if placement.realisation.clock:
        lines = 3 * placement.realisation.clock + placement.realisation.clock_bias
        assert rows[REST]["spike"].tolist() == [lines, lines]  # one core is gated
        assert rows[REST]["synop_dense"].tolist() == [3 * lines, 3 * lines]
