"""The bundled chips, and prices by dotted path."""

import pytest

from neuro.chip import Included, known, load, prices
from neuro.constants import leaves

SI = {"J": (1e-13, 1e-3), "s": (1e-11, 1e-2), "W": (1e-3, 10)}


@pytest.mark.parametrize("name", known())
def test_bundled_chip_is_plausible(name):
    chip = load(name)
    assert chip.name == name
    assert chip.limits.cores.value == chip.mesh.width.value * chip.mesh.height.value * chip.mesh.cores_per_router.value
    for path, constant in leaves(chip):
        if constant.unit in SI:
            low, high = SI[constant.unit]
            assert low <= constant.low <= constant.high <= high, path
    assert chip.power["chip"].idle.value <= chip.power["chip"].active.value
    assert not chip.neuron.program or (chip.energy.neuron_program and chip.time.neuron_program)
    assert (chip.energy.management is None) == (chip.time.management is None)


def test_published_constants_of_loihi():
    """Davies 2018: 128 cores, 16,384 words of 64 bits a core. SANA-FE: access 51.2 + update 21.6 pJ, 6.0 + 3.7 ns."""
    chip = load("loihi1")
    assert (chip.limits.cores.value, chip.limits.synapse_memory.value) == (128, 16384 * 64)
    assert (chip.energy.neuron_access.value, chip.energy.neuron_update.value) == pytest.approx((51.2e-12, 21.6e-12))
    assert (chip.time.neuron_access.value, chip.time.neuron_update.value) == pytest.approx((6.0e-9, 3.7e-9))


def test_prices_come_by_path():
    values = {"energy.hop": 1.0, "energy.spike": 2.0, "time.hop": 3.0, "power.chip.active": 4.0, "power.chip.idle": 5.0,
              "power.board.active": 6.0, "power.board.idle": 7.0, "limits.cores": 8.0}  # fmt: skip
    chip = load("loihi2").model_copy(update={"included": Included(energy={"axon_out": "part of the spike"})})
    p = prices(chip, values, "chip")
    assert (p.energy, p.time) == ({"axon_out": 0.0, "hop": 1.0, "spike": 2.0}, {"hop": 3.0})
    assert (p.active_power, p.idle_power) == (4.0, 5.0)
    assert prices(chip, values, "board").active_power == 6.0
    with pytest.raises(KeyError):
        prices(chip, values, "system")
