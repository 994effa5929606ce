"""Which chip can run which code, and what it lacks otherwise."""

import pytest

from converters.encode import encode
from neuro.capability import Realisation, realise, signed_bits, state_bits
from neuro.chip import load

NATIVE_PROGRAM = Realisation("native", 1, 2, "neuron_program", streams=True)


@pytest.mark.parametrize(
    ("chip", "code", "want"),
    [
        ("loihi1", "rate", Realisation("gadget", 2)),
        ("loihi1", "unary", Realisation("gadget", 2, clock=1, clock_bias=2)),
        ("loihi2", "rate", Realisation("native", 1, streams=True)),
        ("loihi2", "unary", NATIVE_PROGRAM),
        ("loihi2", "bits", NATIVE_PROGRAM),
    ],
)
def test_realisation(chip, code, want):
    assert realise(load(chip), code) == want


def without(name: str, *capabilities: str):
    chip = load(name)
    return chip.model_copy(update={"neuron": chip.neuron.model_copy(update=dict.fromkeys(capabilities, None))})


@pytest.mark.parametrize(
    ("chip", "code", "missing"),
    [
        (load("loihi1"), "bits", "a membrane that doubles in every step"),
        (without("loihi1", "soft_reset"), "rate", "reset by subtraction"),
        (without("loihi1", "soft_reset"), "unary", "reset by subtraction"),
        (without("loihi1", "soft_reset"), "bits", "reset by subtraction"),
        (without("loihi2", "soft_reset"), "bits", "reset by subtraction"),
        (without("loihi1", "clock_weight"), "unary", "a phase in which neurons wait"),
        (without("loihi1", "clock_weight"), "bits", "a membrane that doubles in every step"),
    ],
)
def test_what_is_missing_is_named(chip, code, missing):
    realisation = realise(chip, code)
    assert realisation.status == "impossible"
    assert missing in realisation.missing


def test_a_chip_without_clock_axons_still_runs_rates():
    assert realise(without("loihi1", "clock_weight"), "rate").status == "gadget"


@pytest.mark.parametrize(
    ("magnitude", "bits"), [(0, 1), (1, 2), (2, 3), (3, 3), (4, 4), (127, 8), (128, 9), (2**17 - 1, 18)]
)
def test_signed_bits_hold_both_signs(magnitude, bits):
    """Two's complement of b bits reaches 2^(b-1) - 1."""
    assert signed_bits(magnitude) == bits
    assert magnitude <= 2 ** (bits - 1) - 1 < 2 * magnitude + 1


def test_state_of_the_tiny_network(tiny_network):
    """Largest: the output, 3 weights of one times 2 levels; hidden: 2 x 2 + 1. 0.1 % rounds 6 up to 7: four bits."""
    spiking = encode(tiny_network, "unary")
    assert state_bits(spiking, Realisation("native")) == ("out", 4)
    assert state_bits(spiking, Realisation("gadget", clock=1)) == ("out", 5)


def test_gates_are_as_strong_as_the_membrane(tiny_network):
    """A clock axon of weight 32,640 closes any small network; one of weight 4 needs two for a reach of 7."""
    spiking = encode(tiny_network, "unary")
    chip = load("loihi1")
    assert realise(chip, "unary", spiking).clock == 1
    weight = chip.neuron.clock_weight.model_copy(update={"value": 4.0})
    weak = chip.model_copy(update={"neuron": chip.neuron.model_copy(update={"clock_weight": weight})})
    assert realise(weak, "unary", spiking).clock == 2
