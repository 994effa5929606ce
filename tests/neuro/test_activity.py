"""Counts of a network small enough to count by hand, conservation laws, and time against a step-by-step maximum."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.encode import encode
from neuro.activity import activity, fan_outs
from neuro.capability import realise
from neuro.chip import Chip, load, prices
from neuro.constants import leaves
from neuro.cost import cost
from neuro.counts import Path
from neuro.graph import Graph
from neuro.layers import MaxPool
from neuro.placement import Placement, place
from neuro.simulate import simulate
from neuro.stages import populations
from neuro.wiring import as_stored, of_graph


def nominal(chip: Chip):
    return prices(chip, {path: c.value for path, c in leaves(chip)}, "chip")


def seconds(path: Path, time) -> np.ndarray:
    """Time of each item: over stages the sum of the slowest resource."""
    return (np.asarray(path.counts) @ np.array([time[name] for name in path.names])).max(axis=-1).sum(axis=-1)


def placed(graph: Graph, chip: Chip, code: str) -> Placement:
    spiking = encode(graph, code, 9 if code == "rate" else None)
    way = realise(chip, code, spiking)
    return place(of_graph(spiking, chip, way), chip, way)


def tiny(tiny_network, name: str):
    """The network counted by hand, as placed, with the spikes of counts (2, 1)."""
    placement = placed(tiny_network, load(name), "unary")
    run = simulate(encode(tiny_network, "unary"), jnp.asarray([[2.0, 1.0]]))
    assert np.asarray(run.spikes["in"])[:, 0].astype(int).tolist() == [[1, 1], [1, 0]]
    assert np.asarray(run.spikes["hidden"])[:, 0].astype(int).tolist() == [[1, 1, 0], [1, 1, 0]]
    return placement, run.spikes


def events(counts) -> dict[str, float]:
    return {name: float(n[0]) for name, n in counts.events.items()}


def test_single_sample_by_hand(tiny_network, counter):
    """Three cores on one router, windows 0-1 and 2-3, five steps.

    3 + 4 spikes, each to one core. Two thirds of both matrices are filled: rows without indices, in which
    zeros stand too. Inputs meet 3 hidden neurons each, 3 x 3 synapses; hidden ones 2 outputs, 4 x 2. 7 compartments
    are swept 5 times.
    """
    placement, spikes = tiny(tiny_network, "loihi2")
    assert events(counter(placement)(spikes)["single"]) == {
        "neuron_program": 35, "spike": 7, "axon_out": 7, "hop": 0, "synop_dense": 17,
        "host_write": 2, "host_read": 2, "reset": 1,
    }  # fmt: skip


def test_time_by_hand(tiny_network, counter):
    """ns of the slowest core: sweep n x 8.4, spike 3, packet out 5.1, packet in 8, synapse 1.

    0 hidden hears two spikes, 6 synapses: 25.2 + 16 + 6 (the inputs send them in 33.0); 1 hidden hears one (3
    synapses): 25.2 + 8 + 3; 2 and 3 hidden sends two: 25.2 + 6 + 10.2 (the outputs hear them in 36.8); 4 hidden is
    swept: 25.2. With five barriers of 67 ns, 2 + 2 host items of 100 ns and a reset of 2 µs.
    """
    placement, spikes = tiny(tiny_network, "loihi2")
    counts = counter(placement)(spikes)
    time = nominal(placement.chip).time
    steps = 47.2 + 36.2 + 41.4 + 41.4 + 25.2
    assert float(seconds(counts["single"].latency, time)[0]) == pytest.approx((steps + 5 * 67 + 400 + 2000) * 1e-9)
    # Stream, a period of 2 steps: steps 0, 2, 4 of three samples together, then 1 and 3.
    # hidden: 25.2 + 16 + 6 + 16.2 and 25.2 + 8 + 3 + 16.2. 42 copies share the barriers and the reset; they fill 32
    # routers, so that a barrier takes 67 + 3 x 44.
    period = 63.4 + 52.4
    stream = counts["stream"]
    assert stream.batch == 42
    assert float(seconds(stream.interval, time)[0]) == pytest.approx((period + 2 * 199 + 42 * 400 + 2000) * 1e-9)
    assert float(seconds(stream.latency, time)[0]) == pytest.approx((period * 2.5 + 5 * 199 + 400 + 2000) * 1e-9)


def test_stream_by_hand(tiny_network, counter):
    """As the single sample, but 7 compartments are swept only twice a sample; 42 copies share one reset."""
    placement, spikes = tiny(tiny_network, "loihi2")
    counts = counter(placement)(spikes)
    want = {name: 42 * n for name, n in events(counts["single"]).items()} | {"neuron_program": 42 * 7 * 2, "reset": 1}
    assert events(counts["stream"]) == want


def test_clock_by_hand(tiny_network, counter):
    """Loihi 1 waits with a clock: 1 axon of a gate at the start, gate and 2 of bias when the window opens, 1 when it
    closes: 5 axons with a synapse to each of 3 neurons. Two compartments a neuron, 4 clock neurons on their own core:
    18 are swept in each of 5 steps."""
    placement, spikes = tiny(tiny_network, "loihi1")
    counts = counter(placement)(spikes)
    assert set(counts) == {"single"}
    got = events(counts["single"])
    assert got["neuron_update"] == 18 * 5
    assert (got["spike"], got["axon_out"]) == (7 + 5, 7 + 5)
    assert got["synop_dense"] == 17 + 5 * 3
    assert got["management"] == 5


def test_activity_by_hand(tiny_network):
    _, spikes = tiny(tiny_network, "loihi2")
    fan = fan_outs(encode(tiny_network, "unary"))
    assert {k: v.tolist() for k, v in fan.items()} == {"in": [2, 2], "hidden": [1, 2, 1], "out": [0, 0]}
    got = activity(fan, spikes)
    assert {k: float(v[0]) for k, v in got.spikes.items()} == {"in": 3, "hidden": 4}
    assert {k: float(v[0]) for k, v in got.synops.items()} == {"in": 6, "hidden": 6}


@pytest.fixture(scope="module")
def runs(random_network):
    """By structure and code: the network and the spikes of three samples."""
    done = {}

    def get(structure: int, code: str):
        if (structure, code) not in done:
            graph = random_network(structure, np.random.default_rng(structure), 3, 4)
            counts = jnp.asarray(np.random.default_rng(9).integers(0, 5, (3, 2, 6, 5)), jnp.float32)
            spiking = encode(graph, code, 9 if code == "rate" else None)
            with jax.disable_jit():
                spikes = simulate(spiking, counts).spikes
            done[structure, code] = graph, spikes
        return done[structure, code]

    return get


@pytest.mark.parametrize(
    ("name", "code", "structure"), [("loihi1", "unary", 0), ("loihi2", "rate", 2), ("loihi2", "bits", 1)]
)
def test_events_are_conserved(name, code, structure, runs, counter, altered_chip):
    """Spikes and synaptic operations depend on the network only; packets on how many cores a neuron reaches."""
    graph, spikes = runs(structure, code)
    for chip in (load(name), altered_chip(name, compartments=32))[structure != 1 :]:
        placement = placed(graph, chip, code)
        got = counter(placement)(spikes)["single"].events
        network = activity(fan_outs(as_stored(graph, load(name))), spikes)
        lines, clocked, packets = clock_events(placement)
        np.testing.assert_array_equal(got["spike"], sum(network.spikes.values()) + lines)
        np.testing.assert_array_equal(
            sum(n for name, n in got.items() if name.startswith("synop")), sum(network.synops.values()) + clocked
        )
        sent = np.zeros(3)
        for fan in placement.fans:
            fired = np.asarray(spikes[fan.source]).sum(axis=0).reshape(3, -1)
            sent += fired @ (fan.synapses > 0).sum(axis=0)
        np.testing.assert_array_equal(got["axon_out"], sent + packets)
        assert (np.asarray(got[placement.realisation.update]) == placement.swept.sum() * len_of(placement)).all()


def len_of(placement: Placement) -> int:
    return placement.schedule.total


def clock_events(placement: Placement) -> tuple[float, float, float]:
    """Spikes, synaptic operations and packets of the clock: three volleys a layer, to each of its cores."""
    gate, bias = placement.realisation.clock, placement.realisation.clock_bias
    lines = synapses = 0
    for name in placement.gated:
        lines += (3 * gate + bias) * len(placement.cores_of(name))
        synapses += (3 * gate + bias) * len(placement.core[name])
    return lines, synapses, lines


@pytest.mark.parametrize("structure", [0, 2])
def test_stream_events(structure, runs, altered_chip, counter):
    graph, spikes = runs(structure, "bits")
    placement = placed(graph, altered_chip("loihi2", cores=24), "bits")
    counts = counter(placement)(spikes)
    single, stream = counts["single"].events, counts["stream"].events
    period, copies = placement.schedule.period(True), placement.copies
    assert copies == 24 // placement.number
    assert counts["stream"].batch == copies
    for name in single:
        steps = period / len_of(placement) if name == "neuron_program" else 1
        shared = copies if name == "reset" else 1
        np.testing.assert_allclose(stream[name], np.asarray(single[name]) * copies * steps / shared, rtol=1e-6)


def loads(placement: Placement, spikes, sample: int) -> np.ndarray:
    """[step, core, (sweep, spike, packet out, packet in, synapse)] of one sample, neuron by neuron."""
    schedule = placement.schedule
    load = np.zeros((schedule.total, placement.number, 5))
    load[:, :, 0] = placement.swept
    for name, trains in spikes.items():
        flat = np.asarray(trains)[:, sample].reshape(len(trains), -1)
        for t, neuron in np.argwhere(flat):
            step, own = schedule.windows[name].start + t, placement.core[name][neuron]
            load[step, own, 1] += 1
            for fan in placement.fans:
                if fan.source == name:
                    for core, synapses in zip(fan.cores, fan.synapses[:, neuron], strict=True):
                        if synapses:
                            load[step, own, 2] += 1
                            load[step, core, 3:] += 1, synapses
    return load


def core_seconds(placement: Placement) -> np.ndarray:
    """[core, 5] nominal seconds of what `loads` counts."""
    time = placement.chip.time
    table = np.zeros((placement.number, 5))
    table[:, :4] = [
        getattr(time, placement.realisation.update).value + (time.neuron_access.value if time.neuron_access else 0.0),
        time.spike.value,
        time.axon_out.value,
        time.axon_in.value,
    ]
    for name, stored in placement.formats.items():
        table[placement.cores_of(name), 4] = getattr(time, f"synop_{stored}").value
    return table


@pytest.mark.parametrize(
    ("name", "code", "structure"),
    [("loihi1", "rate", 0), ("loihi2", "rate", 0), ("loihi2", "bits", 0), ("loihi2", "bits", 2)],
)
def test_time_is_the_slowest_core_of_every_step(name, code, structure, runs, counter, altered_chip):
    graph, spikes = runs(structure, code)
    placement = placed(graph, altered_chip(name, compartments=24), code)
    counts = counter(placement)(spikes)
    time, table = nominal(placement.chip).time, core_seconds(placement)
    total = len_of(placement)
    levels = min(3, np.log2(placement.tiles))
    step = time["barrier"] + levels * time["barrier_level"] + time.get("management", 0.0)
    host = graph.size("in") * time["host_write"] + graph.size(graph.output.name) * time["host_read"]
    waits = [(loads(placement, spikes, k) * table).sum(axis=2) for k in range(3)]  # [step, core] of each sample
    got = np.asarray(seconds(counts["single"].latency, time))
    want = [w.max(axis=1).sum() + total * step + host + time["reset"] for w in waits]
    np.testing.assert_allclose(got, want, rtol=1e-5)
    if "stream" not in counts:
        return
    # In step t of a period sample k is at its own step t, the one before it a period further, and so on; sweeps once.
    period = placement.schedule.period(placement.realisation.membranes > 1)
    sweep = placement.swept * table[:, 0]
    combined = np.zeros((3, period, placement.number)) + sweep
    for k in range(3):
        for d in range(-(-total // period)):
            part = waits[(k - d) % 3][d * period : (d + 1) * period] - sweep
            combined[k, : len(part)] += part
    slowest = combined.max(axis=2)  # [sample, step]; copies hold consecutive samples
    copies = placement.copies
    together = [np.max([slowest[(k - c) % 3] for c in range(copies)], axis=0).sum() for k in range(3)]
    filled = placement.topology.stops if copies > 1 else placement.tiles  # one core is left over at most
    every = time["barrier"] + min(3, np.log2(filled)) * time["barrier_level"] + time.get("management", 0.0)
    want = np.array(together) + period * every + copies * host + time["reset"]
    np.testing.assert_allclose(np.asarray(seconds(counts["stream"].interval, time)), want, rtol=1e-5)


@settings(max_examples=8)
@given(seed=st.integers(0, 2**32 - 1), structure=st.integers(0, 1))
def test_a_spike_more_never_costs_less(seed, structure, runs, counter):
    graph, spikes = runs(structure, "bits")
    placement = placed(graph, load("loihi2"), "bits")
    rng = np.random.default_rng(seed)
    name = str(rng.choice(list(spikes)))
    silent = np.argwhere(~np.asarray(spikes[name]))
    more = spikes | {name: jnp.asarray(spikes[name]).at[tuple(rng.choice(silent))].set(True)}
    chip = nominal(placement.chip)
    counts = counter(placement)
    before, after = counts(spikes), counts(more)
    for regime in before:
        energy = [sum(np.asarray(n) * chip.energy[e] for e, n in c[regime].events.items()) for c in (before, after)]
        assert (energy[1] >= energy[0]).all()
        assert energy[1].sum() > energy[0].sum()


def test_an_event_without_a_price_is_no_free_event(tiny_network, counter):
    placement, spikes = tiny(tiny_network, "loihi2")
    one = jax.tree_util.tree_map(lambda n: n[0], counter(placement)(spikes)["single"])
    chip = nominal(placement.chip)
    assert float(cost(one, chip).total) > 0
    for missing in ("energy", "time"):
        table = dict(getattr(chip, missing))
        del table["neuron_program"]
        with pytest.raises(Exception, match=rf"{missing}\.neuron_program"):
            cost(one, replace(chip, **{missing: table}))


def test_pools_are_swept_once_and_neurons_as_often_as_they_have_compartments(random_network):
    for structure in range(12):
        graph = random_network(structure, np.random.default_rng(0), 3, 4)
        if any(isinstance(n.op, MaxPool) for n in graph.nodes):
            break
    placement = placed(graph, load("loihi1"), "rate")
    want = sum(graph.size(n.name) * (1 if isinstance(n.op, MaxPool) else 2) for n in populations(graph))
    assert placement.swept.sum() == want
