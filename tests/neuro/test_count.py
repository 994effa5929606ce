"""Times of the network that is counted by hand, at every pace and over two chips; and counts that batches keep."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from converters.encode import encode
from neuro.bottleneck import bound, causes
from neuro.capability import realise
from neuro.chip import Chip, load, prices
from neuro.constants import Seconds, leaves
from neuro.cost import Prices, cost
from neuro.counts import Counts
from neuro.effects import load_events
from neuro.loads import loads
from neuro.placement import Placement, place
from neuro.wiring import of_graph

HOST = 4 * 100 + 2000
"""ns: two values written, two read, one reset, on Loihi 2."""


def nominal(chip: Chip) -> Prices:
    return prices(chip, {path: c.value for path, c in leaves(chip)}, "chip")


def changed(chip: Chip, kind: str, overlap: bool = False, **nanoseconds: float) -> Chip:
    """`chip` at another pace, with other times."""
    times = {k: Seconds(value=f"{v} ns", source="intel2021", basis="datasheet") for k, v in nanoseconds.items()}  # pyright: ignore
    return chip.model_copy(
        update={
            "pace": chip.pace.model_copy(update={"kind": kind, "overlap": overlap}),
            "time": chip.time.model_copy(update=times),
        }
    )


@pytest.fixture(scope="module")
def counted(tiny_network, counter) -> Callable[[Chip], tuple[Placement, dict[str, Counts]]]:
    """Unary code, inputs (2, 1); windows 0-1 and 2-3, five steps: see test_activity for every figure."""
    graph = encode(tiny_network, "unary")
    spikes = {"in": [[1, 1], [1, 0]], "hidden": [[1, 1, 0], [1, 1, 0]]}
    trains = {name: jnp.asarray(s, bool)[:, None] for name, s in spikes.items()}

    def on(chip: Chip) -> tuple[Placement, dict[str, Counts]]:
        way = realise(load(chip.name), "unary", graph)  # counted without steps too, where no chip would offer windows
        placement = place(of_graph(graph, chip, way), chip, way)
        return placement, counter(placement)(trains)

    return on


def nanoseconds(placement: Placement, counts: Counts, what: str = "latency") -> float:
    return float(getattr(cost(counts, nominal(placement.chip)), what).squeeze()) * 1e9


def path_events(counts: Counts) -> dict[str, float]:
    return dict(zip(counts.latency.names, np.asarray(counts.latency.counts).reshape(-1).tolist(), strict=True))


def test_overlap_by_hand(counted):
    """ns. A step takes the longer side of a core: what it sweeps and sends (8.4 a neuron, 3 + 5.1 a spike), or what it
    takes in (8 a packet, 1 a synapse).

    0: the inputs sweep 2 neurons and send 2 spikes, 33.0; hidden sweeps 25.2 and takes in 22. 1: hidden sweeps 25.2
    (the inputs 24.9). 2, 3: hidden sends two, 41.4; the outputs take in 2 packets and 4 synapses, 20. 4: 25.2.
    """
    placement, counts = counted(changed(load("loihi2"), "barrier", overlap=True))
    steps = 33.0 + 25.2 + 41.4 + 41.4 + 25.2
    assert nanoseconds(placement, counts["single"]) == pytest.approx(steps + 5 * 67 + HOST)
    events = path_events(counts["single"])
    assert (events["axon_in"], events["synop_dense"]) == (0, 0)  # no step waits for what arrives


def test_overlap_where_arrivals_are_slow(counted):
    """With 100 ns a packet. 0: hidden takes in 2 packets and 6 synapses, 206; 1: 103; 2, 3: outputs 204; 4: 25.2."""
    placement, counts = counted(changed(load("loihi2"), "barrier", overlap=True, axon_in=100))
    assert nanoseconds(placement, counts["single"]) == pytest.approx(206 + 103 + 2 * 204 + 25.2 + 5 * 67 + HOST)
    events = path_events(counts["single"])
    assert (events["axon_in"], events["synop_dense"]) == (2 + 1 + 2 + 2, 6 + 3 + 4 + 4)
    assert (events["neuron_program"], events["spike"]) == (3, 0)  # the last step alone waits for a sweep


def test_deadline_misses_by_hand(counted):
    """Ticks of 40 ns; one side after the other the steps take 47.2, 36.2, 41.4, 41.4 and 25.2: three are late."""
    placement, counts = counted(changed(load("loihi2"), "tick", tick=40))
    events = path_events(counts["single"])
    assert placement.schedule.total - events["tick"] == 3
    assert nanoseconds(placement, counts["single"]) == pytest.approx(47.2 + 2 * 41.4 + 2 * 40 + HOST)
    assert "barrier" not in events


def test_a_tick_that_is_long_enough_is_the_step(counted):
    placement, counts = counted(changed(load("loihi2"), "tick", tick=1000))
    assert path_events(counts["single"])["tick"] == 5
    assert nanoseconds(placement, counts["single"]) == pytest.approx(5 * 1000 + HOST)


def test_events_wait_for_the_busiest_core(counted):
    """No sweeps, no steps: hidden takes in 3 packets and 9 synapses and sends 4 spikes, 24 + 9 + 4 x 8.1 = 65.4 (the
    inputs 24.3, the outputs 40); three populations of 50 ns each."""
    placement, counts = counted(changed(load("loihi2"), "event", layer=50))
    assert nanoseconds(placement, counts["single"]) == pytest.approx(65.4 + 3 * 50 + HOST)
    assert not {"neuron_program", "barrier", "tick"} & {*path_events(counts["single"]), *counts["single"].events}


@pytest.fixture
def two_chips(altered_chip) -> Chip:
    """Loihi 2 with two cores a chip: inputs and hidden on the first, the outputs alone on the second."""
    return altered_chip("loihi2", cores=2)


def test_hops_over_two_chips_by_hand(counted, two_chips):
    """Hidden sends 4 packets from router (0, 0) to that of the chip to the right: 8 links east, 1 of them between the
    chips. The inputs share a router with hidden. Five steps over one border; power at rest of two chips."""
    placement, counts = counted(two_chips)
    single = counts["single"]
    assert (placement.chips, placement.chip_span, placement.tiles) == (2, 1, 1)
    assert float(single.events["chip_hop"][0]) == 4
    assert float(single.events["hop"][0]) == 4 * 7
    assert path_events(single)["barrier_chip"] == 5
    steps = 47.2 + 36.2 + 41.4 + 41.4 + 25.2
    assert nanoseconds(placement, single) == pytest.approx(steps + 5 * (67 + 48) + 400 + 2 * 2000)
    assert single.machines == 2
    price = nominal(two_chips)
    static = cost(single, price).energy["static"]
    assert float(static[0]) == pytest.approx(2 * 0.232 * nanoseconds(placement, single) * 1e-9)


def test_a_slow_link_is_what_steps_wait_for(counted, two_chips):
    """1 us a packet: in steps 2 and 3 two packets follow each other over the same links; the others cross none."""
    placement, counts = counted(changed(two_chips, "barrier", link=1000))
    single = counts["single"]
    assert path_events(single)["link"] == 4
    steps = 47.2 + 36.2 + 2 * 2000 + 25.2
    assert nanoseconds(placement, single) == pytest.approx(steps + 5 * (67 + 48) + 400 + 2 * 2000)
    time = nominal(placement.chip).time
    assert causes(single.latency, time)["links"] == pytest.approx(4e-6)
    host_free = {**time, **dict.fromkeys(("host_write", "host_read", "reset"), 0.0)}
    assert bound(single.latency, host_free) == "bound by the links (85% of the time)"  # 4 of 4.68 us


def test_copies_share_one_reset_and_meet_in_one_barrier(counted):
    """42 copies of three cores fill 126 cores on 32 routers: one reset of one chip for 42 samples, and a barrier of
    three doublings (the most), 67 + 3 x 44 ns; alone the network lies on one router."""
    placement, counts = counted(load("loihi2"))
    stream = counts["stream"]
    assert (placement.copies, placement.tiles) == (42, 1)
    assert float(stream.events["reset"][0]) == 1
    interval = dict(zip(stream.interval.names, np.asarray(stream.interval.counts).reshape(-1).tolist(), strict=True))
    assert (interval["reset"], interval["barrier"], interval["barrier_level"]) == (1, 2, 2 * 3)
    assert path_events(counts["single"])["barrier_level"] == 0


def test_cores_in_use_are_those_of_all_copies(counted):
    """A price of a core and step: 3 cores x 5 steps alone; 42 x 3 cores x 2 steps for 42 samples."""
    chip = load("loihi2")
    chip = chip.model_copy(update={"energy": chip.energy.model_copy(update={"core_step": chip.energy.hop})})
    _, counts = counted(chip)
    assert float(counts["single"].events["core_step"][0]) == 3 * 5
    assert float(counts["stream"].events["core_step"][0]) == 42 * 3 * 2


def test_power_at_rest_is_that_of_all_copies(counted):
    """Where only cores in use take it: 3 of 128 alone, 42 x 3 of 128 for 42 copies side by side."""
    chip = load("loihi2")
    _, counts = counted(chip.model_copy(update={"pace": chip.pace.model_copy(update={"static": "used cores"})}))
    assert float(counts["single"].machines) == 3 / 128
    assert float(counts["stream"].machines) == 42 * 3 / 128


def test_an_access_that_is_paid_with_the_update_still_takes_its_time(counted):
    chip = load("loihi1")
    energy = chip.energy.model_copy(update={"neuron_access": None})
    included = chip.included.model_copy(update={"energy": {"neuron_access": "measured with the update"}})
    _, counts = counted(chip)
    _, other = counted(chip.model_copy(update={"energy": energy, "included": included}))
    assert path_events(counts["single"])["neuron_access"] > 0
    assert path_events(other["single"]) == path_events(counts["single"])


@pytest.mark.parametrize(("pace", "cores"), [("overlap", 2), ("tick", 128), ("event", 2)])
def test_counts_do_not_depend_on_the_batch(pace, cores, paced_chip, tiny_network, counter):
    """Two batches of two give what one of four gives, sample by sample, to the last bit.

    In the stream regime a step holds samples that follow each other, so that its times depend on the neighbours;
    its energy does not, nor its times where all samples are the same.
    """
    graph = encode(tiny_network, "bits")
    chip = paced_chip(pace, cores=cores)
    way = realise(load(chip.name), "bits", graph)  # as it has it with steps
    run = counter(place(of_graph(graph, chip, way), chip, way))
    assert graph.schedule is not None
    rng = np.random.default_rng(0)
    spikes = {n: rng.random((w.steps, 4, *graph.shapes[n])) < 0.5 for n, w in graph.schedule.windows.items()}

    def of(samples: list[int]) -> dict[str, Counts]:
        return run({n: jnp.asarray(s[:, samples]) for n, s in spikes.items()})

    whole, parts = of([0, 1, 2, 3]), [of([0, 1]), of([2, 3])]
    assert len(np.unique(whole["single"].latency.counts.reshape(4, -1), axis=0)) > 1
    for values in zip(*(jax.tree_util.tree_leaves(c["single"]) for c in (whole, *parts)), strict=True):
        np.testing.assert_array_equal(values[0], np.concatenate(values[1:]))
    for name, number in whole["stream"].events.items():
        np.testing.assert_array_equal(number, np.concatenate([part["stream"].events[name] for part in parts]))
    few, many = jax.tree_util.tree_leaves(of([0, 0])["stream"]), jax.tree_util.tree_leaves(of([0] * 4)["stream"])
    for two, four in zip(few, many, strict=True):
        np.testing.assert_array_equal(np.tile(two[:1], (4,) + (1,) * (two.ndim - 1)), four)


def test_the_tiny_figures_are_those_of_the_file():
    """What the figures above are made of; a change of the file shows here first."""
    time = nominal(load("loihi2")).time
    got = [round(float(time[n]) * 1e9, 3) for n in ("neuron_program", "spike", "axon_out", "axon_in", "synop_dense")]
    assert got == [8.4, 3.0, 5.1, 8.0, 1.0]
    assert [round(float(time[n]) * 1e9, 3) for n in ("barrier", "barrier_level", "barrier_chip")] == [67, 44, 48]


def test_first_spikes_on_a_chip_without_a_program_by_hand(tiny_network, counter):
    """Loihi 1, ttfs, counts (2, 1) of 2: the inputs fire in steps 0 and 1, two hidden neurons in step 2.

    Two gates of two lines and six lines beside them: 2 close at the start, 8 open, 2 close. Four spikes, repeated after
    their window, meet 3, 3, 2 and 2 synapses, zeros of dense rows among them. Two compartments for each of 2 + 3 + 2
    neurons, and ten of the clock.
    """
    graph, chip = encode(tiny_network, "ttfs"), load("loihi1")
    way = realise(chip, "ttfs", graph)
    placement = place(of_graph(graph, chip, way), chip, way)
    spikes = {
        "in": jnp.asarray([[[1, 0]], [[0, 1]]], bool),
        "hidden": jnp.asarray([[[1, 1, 0]], [[0, 0, 0]]], bool),
    }
    (regime, found), *others = counter(placement)(spikes).items()
    assert (regime, others) == ("single", [])
    events = {event: float(n[0]) for event, n in found.events.items()}
    assert events["spike"] == 2 * 4 + 12
    assert sum(n for event, n in events.items() if event.startswith("synop")) == 2 * (3 + 3 + 2 + 2) + 12 * 3
    assert events["neuron_access"] == 5 * (2 * (2 + 3 + 2) + 10)
    load_of = np.asarray(loads(placement, spikes).core)[:, 0, :, load_events(placement).index("spike")].sum(axis=1)
    # in each step: what fires, what is repeated, and lines of the clock
    assert load_of.tolist() == [1 + 2, 1, 2 + 2 + 8, 0, 2 + 2]
    assert placement.used["axons_in"].tolist() == [0, 2 * 2 + 10, 2 * 3, 0]
