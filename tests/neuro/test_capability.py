"""Which chip can run which code, and what it lacks otherwise."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from converters.encode import encode
from neuro.capability import Realisation, realise, realise_neurons, signed_bits, state_bits
from neuro.chip import load
from neuro.codes import CODES, is_exact
from neuro.graph import Graph, Node
from neuro.layers import Dense, Input, MaxPool, Scale, Threshold
from neuro.simulate import simulate
from neuro.stages import bounds, populations, propagate, sources

NATIVE_PROGRAM = Realisation("native", 1, 2, "neuron_program", streams=True)


@pytest.mark.parametrize(
    ("chip", "code", "want"),
    [
        ("loihi1", "rate", Realisation("gadget", 2)),
        ("loihi1", "unary", Realisation("gadget", 2, clock=1, clock_bias=2)),
        ("loihi2", "rate", Realisation("native", 1, streams=True)),
        ("loihi2", "unary", NATIVE_PROGRAM),
        ("loihi2", "bits", NATIVE_PROGRAM),
        ("loihi1", "ttfs", Realisation("gadget", 2, clock=2, clock_bias=6, sends=2)),
        ("loihi2", "ttfs", replace(NATIVE_PROGRAM, membranes=3)),
        ("loihi2", "naf", replace(NATIVE_PROGRAM, synop="synop_graded")),
        ("loihi2", "graded", replace(NATIVE_PROGRAM, status="gadget", synop="synop_graded", divides=False)),
        ("spinnaker2", "graded", replace(NATIVE_PROGRAM, synop="synop_graded")),
        ("spinnaker1", "graded", replace(NATIVE_PROGRAM, status="gadget", synop="synop_graded", divides=False)),
    ],
)
def test_realisation(chip, code, want):
    assert realise(load(chip), code) == want


def without(name: str, *capabilities: str):
    chip = load(name)
    return chip.model_copy(update={"neuron": chip.neuron.model_copy(update=dict.fromkeys(capabilities, None))})


def at_pace(name: str, kind: str):
    chip = load(name)
    return chip.model_copy(update={"pace": chip.pace.model_copy(update={"kind": kind})})


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
        (load("loihi1"), "naf", "spikes that carry a sign"),
        (load("loihi1"), "graded", "spikes that carry an integer"),
        (without("loihi2", "graded"), "naf", "spikes that carry a sign"),
        (without("loihi2", "program", "soft_reset"), "naf", "reset by subtraction"),
        (without("loihi2", "program"), "naf", "a membrane that doubles in every step"),
        (without("loihi2", "program"), "graded", "floor(V/th) as the value of a spike"),
        (without("loihi1", "ramp"), "ttfs", "a membrane that ramps"),
        (without("loihi1", "clock_weight"), "ttfs", "a phase in which neurons wait"),
        (load("speck"), "ttfs", "a membrane that ramps"),
        (load("speck"), "unary", "a phase in which neurons wait"),
        (at_pace("loihi1", "event"), "unary", "steps, in which windows are counted"),
        (at_pace("loihi2", "event"), "bits", "steps, in which windows are counted"),
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


def test_a_hard_reset_suffices_for_first_spikes():
    assert realise(without("loihi1", "soft_reset"), "ttfs") == realise(load("loihi1"), "ttfs")


def test_only_capabilities_decide():
    """Another name and other prices change nothing."""
    chip = load("loihi2").model_copy(update={"name": "other", "energy": load("generic").energy})
    assert [realise(chip, code) for code in CODES] == [realise(load("loihi2"), code) for code in CODES]


@pytest.mark.parametrize(
    ("code", "levels", "bits"),
    [
        # V up to 10 x 1 + 40 = 50, 51 with rounding: seven bits with the sign. Then what the code compares with:
        ("unary", 7, 7),
        ("graded", 7, 7),
        ("bits", 7, 10),  # (7 + 1) x 40 = 320
        ("naf", 7, 10),  # 40 x 8 = 320
        ("ttfs", 7, 10),  # 40 x 7 = 280
        ("bits", 4, 9),  # (4 + 1) x 40 = 200; 40 x 4 = 160
        ("naf", 4, 10),  # 40 x 8 = 320
        ("ttfs", 4, 9),  # 40 x 4 = 160
    ],
)
def test_state_holds_what_a_code_compares_with(code, levels, bits):
    graph = Graph("one", (
        Node("in", Input((1,), 10)),
        Node("w", Dense(np.array([[1]]), None), ("in",)),
        Node("n", Threshold(np.array([40]), np.array([0]), levels), ("w",)),
        Node("v", Dense(np.array([[1]]), None), ("n",)),
        Node("out", Scale(np.ones(1, np.int64), np.zeros(1, np.int64)), ("v",)),
    ))  # fmt: skip
    assert state_bits(encode(graph, code), Realisation("native")) == ("n", bits)


@pytest.mark.parametrize("code", [c for c in CODES if is_exact(c)])
def test_no_membrane_leaves_the_declared_bits(code, random_network, numpy_apply):
    """The state of every neuron, step by step while it integrates and sends, on inputs at the ends of their range."""
    for structure in range(3):
        rng = np.random.default_rng(structure)
        graph = encode(random_network(structure, rng, 7, 7), code)
        proved, (_, bits) = bounds(graph), state_bits(graph, Realisation("native"))
        extremes = np.array([0, 7])[rng.integers(0, 2, (20, 2, 6, 5))]
        with jax.disable_jit():
            run = simulate(graph, jnp.asarray(extremes, jnp.float32))
        for node in populations(graph)[1:]:
            if isinstance(node.op, MaxPool):
                continue
            arriving = [np.asarray(run.spikes[s]).astype(np.int64) for s in sources(graph, node.name)]
            assert np.abs(highest(code, graph, node, arriving)).max() <= proved[node.name] < 2 ** (bits - 1)


def highest(code: str, graph: Graph, node: Node, trains: list[np.ndarray]) -> np.ndarray:
    """The membrane after every step in which `node` integrates trains that end together, in int64."""
    steps = max(len(t) for t in trains)
    v = slope = 0
    seen = []
    for t in range(steps):
        arrived = {}
        for source, train in zip(sources(graph, node.name), trains, strict=True):
            at = t - (steps - len(train))
            arrived[source] = jnp.asarray(train[at] if at >= 0 else 0 * train[0], jnp.float32)
        offset = node.op.offset if isinstance(node.op, Scale) else 0  # not a current
        current = np.asarray(propagate(graph, node.name, arrived)).astype(np.int64) - offset
        slope = slope + current
        v = v + slope if code == "ttfs" else (2 if code in ("bits", "naf") else 1) * v + current
        seen += [v, slope] if code == "ttfs" else [v]
    return np.stack(seen)


def test_gates_are_as_strong_as_the_membrane(tiny_network):
    """A clock axon of weight 32,640 closes any small network; one of weight 4 needs two for a reach of 7."""
    spiking = encode(tiny_network, "unary")
    chip = load("loihi1")
    assert realise(chip, "unary", spiking).clock == 1
    weight = chip.neuron.clock_weight.model_copy(update={"value": 4.0})
    weak = chip.model_copy(update={"neuron": chip.neuron.model_copy(update={"clock_weight": weight})})
    assert realise(weak, "unary", spiking).clock == 2


@pytest.mark.parametrize(
    ("chip", "method", "missing"),
    [
        (load("speck"), "srp", "a run before that silences neurons"),
        (load("loihi1"), "burst", "spikes that carry an integer"),
        (load("loihi1"), "sd-ternary", "spikes that carry a sign"),
        (without("loihi2", "program"), "sd-pow2", "a tracer beside the membrane"),
        (without("loihi2", "soft_reset"), "cos", "reset by subtraction"),
    ],
)
def test_neurons_of_their_own_need_what_is_named(chip, method, missing):
    found = realise_neurons(chip, method)
    assert found.status == "impossible"
    assert missing in found.missing


def test_a_quotient_takes_a_division():
    assert realise_neurons(load("spinnaker2"), "burst") == replace(NATIVE_PROGRAM, membranes=1, synop="synop_graded")
    assert realise_neurons(load("loihi2"), "burst").status == "gadget"
    assert realise_neurons(load("loihi2"), "sd-pow2").status == "native"
