"""Steps played event by event on placed networks: figures by hand, and the busiest core as their lower bound."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from converters.encode import encode
from neuro.capability import realise
from neuro.chip import load
from neuro.errors import BadInput
from neuro.placement import place
from neuro.simulate import simulate
from neuro.stepwise import steps
from neuro.wiring import of_graph


def placed(graph, chip):
    spiking = encode(graph, "rate", 6)
    way = realise(chip, "rate", spiking)
    return spiking, place(of_graph(spiking, chip, way), chip, way)


def trains_of(spiking, counts):
    with jax.disable_jit():
        spikes = simulate(spiking, jnp.asarray(counts, jnp.float32)).spikes
    return {name: np.asarray(s)[:, 0].reshape(len(s), -1) for name, s in spikes.items()}


def test_one_spike_by_hand(tiny_network):
    """Input neuron 0 fires alone in step 0; all three cores hang on one router, so no hop takes time.

    Two compartments a neuron: a sweep of one takes 2 x (6.0 + 3.7) = 19.4 ns. The packet is ready after 19.4 + 30 + 5.1
    ns; the hidden core takes 16 ns and 3 dense synapses of 3.8 ns. The hidden core's own sweep lasts 3 x 19.4 = 58.2
    ns, the packet's end comes at 54.5 + 27.4 = 81.9 ns. The barrier of one tile takes 0.6 us.
    """
    spiking, placement = placed(tiny_network, load("loihi1"))
    trains = {name: np.zeros((6, spiking.size(name)), bool) for name in ("in", "hidden")}
    trains["in"][0, 0] = True
    found = steps(placement, trains)
    assert len(found) == placement.schedule.total
    assert found[0].duration == pytest.approx(81.9e-9 + 0.6e-6)
    assert found[1].duration == pytest.approx(58.2e-9 + 0.6e-6)  # only the longest sweep
    assert found[0].received[placement.cores_of("hidden")[0]] == pytest.approx(81.9e-9)


def test_packets_of_one_core_follow_each_other(tiny_network):
    """Both inputs fire: the second packet is ready 19.4 + 30 + 5.1 ns after the first and is taken in afterwards."""
    spiking, placement = placed(tiny_network, load("loihi1"))
    trains = {name: np.zeros((6, spiking.size(name)), bool) for name in ("in", "hidden")}
    trains["in"][0] = True
    found = steps(placement, trains)
    assert found[0].sent[placement.cores_of("in")[0]] == pytest.approx(2 * 54.5e-9)
    assert found[0].duration == pytest.approx(2 * 54.5e-9 + 27.4e-9 + 0.6e-6)


@pytest.mark.parametrize("structure", [0, 1])
def test_work_is_conserved_and_no_step_beats_its_busiest_core(structure, random_network, altered_chip):
    """Sweeps, spikes and packets of every core add up to what the counted loads say, and bound the step from below."""
    graph = random_network(structure, np.random.default_rng(structure), 3, 4)
    spiking, placement = placed(graph, altered_chip("loihi1", compartments=40))
    trains = trains_of(spiking, np.random.default_rng(1).integers(0, 5, (1, 2, 6, 5)))
    time = placement.chip.time
    total, found = np.zeros(placement.number), steps(placement, trains)
    for step in found:
        total += step.sent
        assert step.duration >= step.sent.max()
    blocked = sum(step.blocked for step in found)
    sweep = (time.neuron_access.value + time.neuron_update.value) * placement.swept * placement.schedule.total
    fired, packets = np.zeros(placement.number), np.zeros(placement.number)
    for name, train in trains.items():
        number = train.sum(axis=0)
        np.add.at(fired, placement.core[name], number)
        for fan in placement.fans:
            if fan.source == name:
                np.add.at(packets, placement.core[name], number * (fan.synapses > 0).sum(axis=0))
    want = sweep + time.spike.value * fired + time.axon_out.value * packets
    assert (total >= want - 1e-12).all()
    np.testing.assert_allclose(total.sum() - blocked, want.sum(), rtol=1e-6)


@pytest.mark.parametrize(
    ("field", "value", "message"), [("topology", "torus", "has a torus"), ("multicast", True, "has routers that copy")]
)
def test_networks_that_are_not_played_are_refused(tiny_network, field, value, message):
    """Loihi's mesh as a torus, or with routers that copy packets."""
    _, placement = placed(tiny_network, load("loihi1"))
    chip = placement.chip
    other = chip.model_copy(update={"mesh": chip.mesh.model_copy(update={field: value})})
    with pytest.raises(BadInput, match=rf"{message}.*only on a mesh that takes each packet .*Leave out --detailed"):
        steps(dataclasses.replace(placement, chip=other), {})


def test_chips_without_buffers_are_refused(tiny_network):
    _, placement = placed(tiny_network, load("loihi2"))
    with pytest.raises(BadInput, match=r"loihi2: steps are played .*leave out --detailed"):
        steps(placement, {})
