"""The conformance suite of chip files: each fault is found, and all of them at once."""

import pytest

from neuro.chip import Chip, Included, load
from neuro.constants import Evidence, Source
from neuro.errors import BadDescription
from neuro.testing import check_chip, happening

CHIP = "generic"


def changed(table, **fields):
    """`table` with other fields, which nothing validates."""
    return table.model_copy(update=fields)


def constant(chip: Chip, path: str, **fields) -> Chip:
    """The chip with one constant changed, such as ``energy.hop``."""
    table, key = path.split(".")
    inner = getattr(chip, table)
    return changed(chip, **{table: changed(inner, **{key: changed(getattr(inner, key), **fields)})})


def without(chip: Chip, path: str) -> Chip:
    """The chip without one constant."""
    table, key = path.split(".")
    return changed(chip, **{table: changed(getattr(chip, table), **{key: None})})


FAULTS = {
    "energy.hop: low <= value": lambda c: constant(c, "energy.hop", low=c.energy.hop.high * 2),
    "energy.spike: low <= value": lambda c: constant(c, "energy.spike", value=-1.0),
    "is a prefix wrong": lambda c: constant(c, "energy.synop_dense", value=1e-5, high=1e-5),
    "time.synop_conv:": lambda c: constant(c, "time.synop_conv", low=1e-15),
    "needs a range": lambda c: constant(c, "energy.reset", low=1e-6, value=1e-6, high=1e-6),
    "limits.cores: ": lambda c: constant(c, "limits.cores", value=100.5),
    "wider than the state": lambda c: constant(c, "limits.weight_bits", value=32.0, high=32.0),
    "limits.synapse_memory: does not hold": lambda c: constant(c, "limits.synapse_memory", value=7.0, low=7.0),
    "deployment: milliwatt is below 0.1 W": lambda c: changed(
        c,
        deployment="milliwatt",
        power={"chip": changed(c.power["chip"], active=changed(c.power["chip"].active, value=0.1))},
    ),
    "energy.hop: happens here": lambda c: without(c, "energy.hop"),
    "energy.chip_hop: happens here": lambda c: without(c, "energy.chip_hop"),
    "time.axon_in: happens here": lambda c: without(c, "time.axon_in"),
    "time.barrier_level: happens here": lambda c: without(c, "time.barrier_level"),
    "time.neuron_program: happens here": lambda c: without(without(c, "energy.neuron_program"), "time.neuron_program"),
    "energy.synop_graded: happens here": lambda c: without(c, "energy.synop_graded"),
    "mac: needs a price in energy and in time": lambda c: without(c, "time.mac"),
    "time.tick: happens here": lambda c: changed(c, pace=changed(c.pace, kind="tick")),
    "time.barrier: has no meaning at pace 'event'": lambda c: changed(c, pace=changed(c.pace, kind="event")),
    "pace.overlap": lambda c: changed(c, pace=changed(c.pace, kind="event", overlap=True)),
    "clock: needs energy.cycle": lambda c: changed(c, energy=changed(c.energy, cycle=c.energy.hop)),
    "cannot: a chip that is only priced": lambda c: changed(c, scope="priced"),
    "stands alone": lambda c: changed(c, scope="priced"),
    "whole_layers and core_kinds": lambda c: changed(c, scope="priced", whole_layers=True),
    "neuron.soft_reset": lambda c: changed(c, neuron=changed(c.neuron, soft_reset=None)),
    "needs neuron.graded": lambda c: changed(c, neuron=changed(c.neuron, graded=False)),
    "32 places for 128 cores": lambda c: constant(c, "mesh.width", value=2.0, low=2.0),
    "a star has one router": lambda c: changed(c, mesh=changed(c.mesh, topology="star")),
    "a tree has two branches": lambda c: constant(
        changed(c, mesh=changed(c.mesh, topology="tree")), "mesh.width", value=1.0, low=1.0
    ),
    "power.board: below": lambda c: changed(
        c, power=c.power | {"board": changed(c.power["chip"], idle=changed(c.power["chip"].idle, value=1e-4, low=1e-5))}
    ),
    "mesh.chips_wide": lambda c: without(c, "limits.chips"),
    "idle is above active": lambda c: changed(
        c, power={"chip": changed(c.power["chip"], idle=changed(c.power["chip"].idle, value=0.1))}
    ),
    "power.board: below that of a boundary inside it": lambda c: changed(
        c, power=c.power | {"board": changed(c.power["chip"], active=c.power["chip"].idle)}
    ),
    "say what power.board takes in": lambda c: changed(c, power=c.power | {"board": c.power["chip"]}),
    "sources.spare: no constant uses it": lambda c: changed(
        c, sources=c.sources | {"spare": Source(title="t", year=2000, doi="10.1/2")}
    ),
    "sources.lost: is not declared": lambda c: constant(c, "energy.hop", source="lost"),
    "needs a doi or a url": lambda c: changed(c, sources={"rounded": Source(title="t", year=2000)}),
    "say which constants of energy": lambda c: changed(c, notes=["power.chip takes in the chip"]),
    "energy.hop: assumed and undisclosed, yet": lambda c: constant(c, "energy.hop", low=1.9e-12, high=2.1e-12),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found(fault):
    with pytest.raises(BadDescription) as error:
        check_chip(FAULTS[fault](load(CHIP)))
    assert fault in str(error.value)


def test_core_kinds_agree_with_the_limits():
    speck = load("speck")
    with pytest.raises(BadDescription, match=r"limits\.compartments: must be that of the largest"):
        check_chip(constant(speck, "limits.compartments", value=32768.0, low=32768.0))


def test_all_faults_are_listed_at_once():
    chip = without(without(constant(load(CHIP), "limits.cores", value=100.5), "energy.spike"), "time.reset")
    with pytest.raises(BadDescription) as error:
        check_chip(chip)
    message = str(error.value)
    assert message.startswith("generic: 3 fault(s)")
    assert all(key in message for key in ("limits.cores", "energy.spike", "time.reset"))


def test_a_reason_stands_in_for_a_price():
    chip = without(load(CHIP), "energy.axon_out")
    with pytest.raises(BadDescription):
        check_chip(chip)
    check_chip(changed(chip, included=Included(energy={"axon_out": "measured along with the spike"})))


def test_a_narrow_range_is_no_fault_where_the_constants_are_known():
    chip = constant(load(CHIP), "energy.hop", low=1.9e-12, high=2.1e-12)
    check_chip(changed(chip, evidence=Evidence(energy="same chip", latency="undisclosed")))


def test_what_happens_follows_from_the_description():
    """A chip without steps sweeps no neuron, one that stands alone has no borders, one core no hops."""
    energy, time = happening(load("speck"))
    assert "neuron_update" not in energy | time
    assert {"hop", "layer", "axon_in"} <= energy | time
    assert "hop" not in happening(load("odin"))[0]
    assert "chip_hop" in happening(load("loihi1"))[0] - happening(load("truenorth"))[0]
    assert "barrier_chip" in happening(load("loihi1"))[1] - happening(load("spinnaker2"))[1]
