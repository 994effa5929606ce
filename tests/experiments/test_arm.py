"""Pricing of arms: the ledger, the algebra of constants and rates, the bootstrap."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from baselines import device
from baselines.device import load
from experiments.arm import Arm, Machine, half_widths, item_events, latents, mean_counts, price, pricer
from experiments.replays import model_error
from experiments.replays.model_error import ModelError
from experiments.uncertainty import Draws
from neuro import chip
from neuro.constants import leaves
from neuro.counts import Counts, Path


def spiking(number: float = 3.0) -> Arm:
    """Two samples with `number` and 2 `number` dense synaptic operations and one barrier each."""
    one = Path(("barrier",), np.ones((2, 1, 1, 1), np.float32))
    events = {"synop_dense": np.array([number, 2 * number], np.float32)}
    return Arm(machine(), "spiking", "single", "spikes", 0.9, "bits", Counts(events, one, one))


def machine(**changed) -> Machine:
    loihi = chip.load("loihi1")
    energy = loihi.energy.model_copy(update=changed)
    changed_chip = loihi.model_copy(update={"energy": energy})
    return Machine("neuromorphic", changed_chip, partial(chip.prices, changed_chip))


def draws(machines, factor: float = 1.0, score: float = 0.0) -> Draws:
    return Draws(np.full((1, len(latents(machines))), factor), np.full((1, len(machines), 2), score))


def priced(arm: Arm, rate=None, **kwargs):
    machines, arms = [arm.machine], (arm,)
    events, nominal = item_events(arms, 2), mean_counts(arms, 2)
    run = pricer(arms, machines, "chip", rows=4)
    return price(
        run, arms, draws(machines, **kwargs), machines, events.mean(axis=0, keepdims=True), nominal, "chip", rate
    )


def test_energy_by_hand():
    constants = dict(leaves(chip.load("loihi1")))
    barrier, synop = constants["time.barrier"].value, constants["energy.synop_dense"].value
    static = constants["power.chip.active"].value * barrier
    result = priced(spiking())
    assert result.components[0] == pytest.approx({"synop_dense": 4.5 * synop, "static": static}, rel=1e-5)
    assert result.energy[0, 0] == pytest.approx(4.5 * synop + static, rel=1e-5)
    assert result.latency[0, 0] == pytest.approx(barrier, rel=1e-5)


def test_idle_power_fills_the_time_until_the_next_sample():
    constants = dict(leaves(chip.load("loihi1")))
    idle, barrier = constants["power.chip.idle"].value, constants["time.barrier"].value
    duty = priced(spiking(), rate=100.0)
    assert duty.components[0]["idle"] == pytest.approx(idle * (0.01 - barrier), rel=1e-4)
    assert duty.energy[0, 0] == pytest.approx(sum(duty.components[0].values()), rel=1e-5)


def test_a_rate_that_cannot_be_kept_is_known():
    assert priced(spiking(), rate=1e5).keeps_rate(0)
    assert not priced(spiking(), rate=1e7).keeps_rate(0)


def test_doubling_a_constant_doubles_its_component_and_nothing_else():
    joules = chip.load("loihi1").energy.synop_dense
    doubled = joules.model_copy(update={"value": 2 * joules.value})
    before = priced(spiking()).components[0]
    arm = Arm(machine(synop_dense=doubled), "spiking", "single", "spikes", 0.9, "bits", spiking().counts)
    after = priced(arm).components[0]
    assert after["synop_dense"] == pytest.approx(2 * before["synop_dense"], rel=1e-6)
    assert after["static"] == before["static"]


def test_energy_scales_with_all_constants_together_and_with_the_model_error(monkeypatch):
    monkeypatch.setattr(model_error, "load", dict)
    # E = n c + P t: twice every constant gives 2 n c + 4 P t
    plain = priced(spiking())
    twice = priced(spiking(), factor=2.0)
    parts = plain.components[0]
    assert twice.energy[0, 0] == pytest.approx(2 * parts["synop_dense"] + 4 * parts["static"], rel=1e-5)
    # Without cases of its own Loihi 1 has the grade "same chip": at a score of 1 its model is 1.3 times too low.
    assert priced(spiking(), score=1.0).energy[0, 0] == pytest.approx(1.3 * plain.energy[0, 0], rel=1e-6)
    assert priced(spiking(), score=-2.0).latency[0, 0] == pytest.approx(plain.latency[0, 0] / 1.3**2, rel=1e-6)


def test_models_err_as_measured_and_measurements_do_not(monkeypatch):
    known = {("gpu", "batch 1", "energy"): ModelError(0.1, 9, 3), ("gpu", "batch", "time"): ModelError(0.2, 9, 3)}
    monkeypatch.setattr(model_error, "load", lambda: known)
    a100 = load("a100_pcie_40gb")
    one = Arm(Machine("gpu", a100, partial(device.prices, a100)), "integer", "batch1", "int8", None)
    assert half_widths(one) == pytest.approx((0.1, np.log(1.3)))
    counts = replace(spiking().counts, batch=8)
    assert half_widths(replace(one, counts=counts)) == pytest.approx((np.log(1.3), 0.2))
    assert half_widths(replace(one, machine=replace(one.machine, kind="measured"))) == (0.0, 0.0)


def test_no_chip_speaks_for_another(monkeypatch):
    """The error of a chip's model is known by the chip's name: TrueNorth's says nothing of Loihi."""
    known = {("neuromorphic-truenorth", "batch 1", "energy"): ModelError(0.07, 9, 1)}
    monkeypatch.setattr(model_error, "load", lambda: known)
    assert machine().model == "neuromorphic-loihi1"
    assert half_widths(spiking()) == pytest.approx((np.log(1.3), np.log(1.3)))
    known[("neuromorphic-loihi1", "batch 1", "energy")] = ModelError(0.4, 3, 1)
    assert half_widths(spiking()) == pytest.approx((0.4, np.log(1.3)))


def test_events_of_items_are_laid_out_and_put_back():
    arms = (spiking(), replace(spiking(), network="integer", counts=mean_counts((spiking(),), 2)[0]), spiking(5.0))
    events = item_events(arms, 2)
    assert events.shape == (2, 6)  # synop_dense and the barrier of two paths, of the two spiking arms
    first, rival, last = mean_counts(arms, 2)
    assert float(first.events["synop_dense"]) == float(rival.events["synop_dense"]) == 4.5
    assert float(last.events["synop_dense"]) == 7.5
    assert last.latency.counts.shape == (1, 1, 1)


def test_limits_are_no_prices():
    assert all(not latent.path.startswith(("limits", "neuron", "mesh")) for latent in latents([machine()]))
    assert {"energy.hop", "time.barrier", "power.chip.active"} <= {latent.path for latent in latents([machine()])}


def test_names_are_built_from_machine_network_code_and_regime():
    assert spiking().name == "loihi1/spiking/bits/single"
    assert Arm(machine(), "float", "batch1", "fp16", None).name == "loihi1/float/fp16/batch1"
