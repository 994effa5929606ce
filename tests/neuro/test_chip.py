"""Reading chip files: rules that fields keep between them, and prices by dotted path."""

import pytest

from neuro.chip import PACKAGE, Chip, load, prices
from neuro.constants import bundled, leaves, locate, parsed, read
from neuro.errors import BadDescription

NEEDS = [
    ("synop_graded needs a price in energy and in time", lambda t: t["time"].pop("synop_graded")),
    ("need energy.neuron_program", lambda t: (t["energy"].pop("neuron_program"), t["time"].pop("neuron_program"))),
    ("needs time.tick", lambda t: t["pace"].update(kind="tick")),
    ("needs time.barrier", lambda t: t["time"].pop("barrier")),
    ("energy.cycle and clock belong together", lambda t: t["energy"].update(cycle=t["energy"]["hop"])),
    ("'hopp' is no event", lambda t: t.update(included={"energy": {"hopp": "within the packet"}})),
    ("hop has a price of its own too", lambda t: t.update(included={"energy": {"hop": "within the packet"}})),
    ("core_kinds describe 3 of 128 cores", lambda t: t.update(core_kinds=[_kind(t)])),
]


def _kind(tree: dict) -> dict:
    limits = tree["limits"]
    three = {**limits["cores"], "value": "3", "low": "3"}
    return {"cores": three, "compartments": limits["compartments"], "synapse_memory": limits["synapse_memory"]}


@pytest.mark.parametrize(("message", "spoil"), NEEDS)
def test_fields_that_belong_together(message, spoil):
    path = locate("generic", PACKAGE, "chip")
    tree = parsed(path)
    spoil(tree)
    with pytest.raises(BadDescription) as error:
        read(path, Chip, tree)
    assert message in str(error.value)


def test_every_bundled_chip_can_be_joined_as_often_as_it_says():
    assert {name: load(name).chips for name in bundled(PACKAGE) if load(name).chips > 1} == {
        "generic": 16, "loihi1": 768, "loihi2": 1152, "spinnaker2": 48,
    }  # fmt: skip


def test_published_constants_of_loihi():
    """Davies 2018: 128 cores, 16,384 words of 64 bits a core. SANA-FE: access 51.2 + update 21.6 pJ, 6.0 + 3.7 ns."""
    chip = load("loihi1")
    assert (chip.limits.cores.value, chip.limits.synapse_memory.value) == (128, 16384 * 64)
    assert (chip.energy.neuron_access.value, chip.energy.neuron_update.value) == pytest.approx((51.2e-12, 21.6e-12))
    assert (chip.time.neuron_access.value, chip.time.neuron_update.value) == pytest.approx((6.0e-9, 3.7e-9))


def test_prices_come_by_path():
    chip = load("loihi1")
    values = {
        "energy.hop": 1.0, "energy.spike": 2.0, "time.spike": 3.0, "power.chip.active": 4.0, "power.chip.idle": 5.0,
        "power.board.active": 6.0, "power.board.idle": 7.0, "limits.cores": 8.0,
    }  # fmt: skip
    p = prices(chip, values, "chip")
    assert (p.energy, p.time) == ({"hop": 1.0, "spike": 2.0}, {"spike": 3.0})
    assert (p.active_power, p.idle_power) == (4.0, 5.0)
    assert prices(chip, values, "board").active_power == 6.0
    with pytest.raises(KeyError):
        prices(chip, values, "system")


def test_what_is_included_costs_nothing_by_itself_and_a_clock_runs_all_the_time():
    chip = load("odin")
    values = {path: constant.value for path, constant in leaves(chip)}
    p = prices(chip, values, "chip")
    assert (p.energy["spike"], p.time["axon_in"]) == (0.0, 0.0)
    assert p.active_power == pytest.approx(27.3e-6 + 75 * 1.78e-6)
    assert p.idle_power == pytest.approx(27.3e-6 + 75 * 1.78e-6)
