"""The integer network on a spiking chip, counted by hand on the smallest network (`tiny_integer`)."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from converters.encode import encode
from experiments import same_silicon
from experiments.arm import Arm, Machine
from experiments.run import mean_spikes, run
from experiments.same_silicon import mean_counts, offered, placed
from neuro.capability import realise
from neuro.chip import Chip, load, prices
from neuro.constants import Number, leaves
from neuro.cost import cost
from neuro.counts import Counts
from neuro.mapping import search
from neuro.traffic import arranged
from neuro.wiring import of_graph

ITEMS = np.array([[2, 1]])


@pytest.fixture(scope="module")
def found(tiny_integer) -> Callable[..., list[Arm]]:
    def build(chip: Chip | str, items: np.ndarray = ITEMS) -> list[Arm]:
        chip = load(chip) if isinstance(chip, str) else chip
        machine = Machine("neuromorphic", chip, partial(prices, chip))
        return same_silicon.arms(machine, tiny_integer, items, 0.9, items)

    return build


def events(arm: Arm) -> dict[str, float]:
    assert arm.counts is not None
    return {name: float(n) for name, n in arm.counts.events.items()}


def waits(counts: Counts) -> dict[str, float]:
    path = counts.latency
    return dict(zip(path.names, np.asarray(path.counts).sum(axis=(0, 1)).tolist(), strict=True))


def test_only_what_a_mapped_chip_prices_is_offered():
    ways = {name: offered(load(name)) for name in ("loihi1", "loihi2", "speck", "spinnaker2", "generic", "akida")}
    assert ways == {
        "loihi1": [], "loihi2": ["graded"], "speck": [], "spinnaker2": ["graded", "mac"], "generic": ["graded", "mac"],
        "akida": [],
    }  # fmt: skip


@pytest.mark.parametrize("name", ["loihi2", "generic"])
def test_graded_spikes_by_hand(name, found):
    arms = {(arm.precision, arm.regime): arm for arm in found(name)}
    one = arms["graded", "single"]
    seen = events(one)
    # Two inputs and two hidden neurons send: 3 synapses behind each input, 2 behind each of hidden
    # 0 and 1, zeros of dense rows among them.
    assert (seen["spike"], seen["synop_graded"]) == (4, 10)
    update = "neuron_program" if load(name).neuron.program else "neuron_update"
    # Input, hidden layer and read-out have a step each, and all 2 + 3 + 2 compartments are swept in all three.
    assert seen[update] == 3 * 7
    assert (seen["host_write"], seen["host_read"], seen["reset"]) == (2, 2, 1)
    assert (one.network, one.batch, one.units_used) == ("integer", 1, {"cores": 3, "chips": 1, "copies": 1})
    assert waits(one.counts)["barrier"] == 3
    # In a pipeline a sample enters in every step: a neuron integrates it while it sends the one before.
    stream = arms["graded", "stream"]
    copies = stream.batch
    assert copies == int(load(name).limits.cores.value) // 3
    assert events(stream)["synop_graded"] == copies * 10
    assert events(stream)[update] == copies * 7


def test_the_matrix_unit_multiplies_everything(found):
    (one,) = [arm for arm in found("generic") if (arm.precision, arm.regime) == ("mac", "single")]
    seen = events(one)
    assert seen["mac"] == 6 + 6
    assert seen["spike"] == 2 + 3  # every activation is sent, that of hidden 2 too
    assert seen["neuron_program" if load("generic").neuron.program else "neuron_update"] == 2 + 3  # nothing is swept
    (zeros,) = [a for a in found("generic", np.array([[0, 0]])) if (a.precision, a.regime) == ("mac", "single")]
    assert events(zeros) == seen


def test_counts_are_means_over_all_items(found, monkeypatch):
    """(0, 0) sends nothing, (2, 0) one input and two hidden neurons: 3 + 2 + 2 synapses."""
    items = np.array([[2, 1], [0, 0], [2, 0]])
    whole = found("loihi2", items)[0]
    assert events(whole)["synop_graded"] == pytest.approx((10 + 0 + 7) / 3)
    monkeypatch.setattr(same_silicon, "chunk_size", lambda *a: 2)  # the third item fills no chunk
    parts = found("loihi2", items)[0]
    assert events(parts) == pytest.approx(events(whole))


def test_a_matrix_unit_does_not_wait_for_ticks(found, tiny_integer):
    chip = load("spinnaker2")
    arms = {(arm.precision, arm.regime): arm for arm in found(chip)}
    assert waits(arms["graded", "single"].counts)["tick"] == 3
    matrix = arms["mac", "single"]
    assert not {"tick", "barrier", "barrier_level", "barrier_chip"} & set(waits(matrix.counts))
    table = prices(chip, {path: c.value for path, c in leaves(chip)}, "chip")  # of the chip as its file has it
    assert float(cost(matrix.counts, table).latency) < chip.time.tick.value
    # Over two chips too.
    few = Number(value="2", source="gonzalez2024", basis="datasheet")  # pyright: ignore
    small = chip.model_copy(update={"limits": chip.limits.model_copy(update={"cores": few})})
    placements, graph = placed(tiny_integer, small, "mac", ITEMS)
    assert placements["single"].chips == 2
    split = mean_counts(graph, placements["single"], "mac", ITEMS)["single"]
    assert cost(split, table).latency > 0  # nothing that happens is without a price


def test_an_integer_network_that_does_not_fit_is_listed_with_the_reason(found):
    chip = load("loihi2")
    few = Number(value="1", source="intel2021", basis="datasheet")  # pyright: ignore
    small = chip.model_copy(update={"limits": chip.limits.model_copy(update={"cores": few, "chips": None})})
    arms = found(small)
    assert [(arm.regime, arm.fits, arm.counts) for arm in arms] == [("single", False, None), ("stream", False, None)]
    assert all("needs 3 cores; loihi2 has 1" in (arm.reason or "") for arm in arms)


@pytest.mark.parametrize("structure", [0, 1])
def test_a_graded_spike_is_an_activation_that_is_not_zero(structure, random_network):
    """The converted network and the integer one are one thing: same cores, same events, alone and in a stream."""
    integer, chip = random_network(structure, np.random.default_rng(structure), 7, 7), load("loihi2")
    items = np.random.default_rng(1).integers(0, 8, (5, 2, 6, 5))
    machine = Machine("neuromorphic", chip, partial(prices, chip))
    spiking = encode(integer, "graded")
    way = realise(chip, "graded", spiking)
    spikes = mean_spikes(spiking, items)
    found = search(of_graph(spiking, chip, way), chip, way, spikes)
    placements = {(chip.name, regime): arranged(placement, spikes) for regime, placement in found.items()}
    counts = run(spiking, None, items, placements, lambda n: None).counts
    for arm in same_silicon.arms(machine, integer, items, None, items):
        there = placements[chip.name, arm.regime]
        assert arm.units_used == {"cores": there.number, "chips": 1, "copies": arm.batch}
        theirs = {name: float(np.mean(n)) for name, n in counts[chip.name, arm.regime].events.items()}
        assert events(arm) == pytest.approx(theirs)
    assert len(found) == 2
    assert max(placement.number for placement in found.values()) > 3
