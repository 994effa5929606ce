"""A map by hand on the smallest network (`tiny_integer`), and its laws.

Under bits counts (2, 1) send one spike from each input and one from hidden 0 and 1. Input and hidden layer have windows
of two steps; with the step in which the read-out integrates a run takes five.
"""

import json
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from converters.encode import encode
from experiments.maps.chip_map import busy, core_rows, figure_path, fullness, link_packets, on_chip, summary
from neuro.chip import load
from neuro.constants import Number
from neuro.errors import BadInput, DoesNotFit
from neuro.topology import link_loads

ITEMS = np.array([[2, 1]])


def altered(name: str, mesh: dict[str, int] | None = None, **limits: int | None):
    """A bundled chip with other routers or limits."""
    chip = load(name)
    source = next(iter(chip.sources))

    def numbers(given):
        return {
            k: None if v is None else Number(value=str(v), source=source, basis="datasheet")  # pyright: ignore
            for k, v in given.items()
        }

    return chip.model_copy(
        update={
            "limits": chip.limits.model_copy(update=numbers(limits)),
            "mesh": chip.mesh.model_copy(update=numbers(mesh or {})),
        }
    )


@pytest.fixture(scope="module")
def on(tiny_integer):
    """Chip, code and regime to a map."""

    def build(chip, code="bits", regime="single", allow=False, items=ITEMS):
        chip = load(chip) if isinstance(chip, str) else chip
        graph = encode(tiny_integer, code, 4 if code == "rate" else None)
        return on_chip(graph, chip, code, items, regime, allow)

    return build


@pytest.fixture(scope="module")
def loihi2(on):
    return on("loihi2")


@pytest.fixture(scope="module")
def spread(on):
    """One neuron on each core, one core on each router of a line on which routers copy packets."""
    line = altered("spinnaker2", {"width": 8, "height": 1, "cores_per_router": 1}, cores=8, compartments=2)
    return on(line)


def test_rows_by_hand(loihi2):
    rows = core_rows(loihi2)
    assert [row["layers"] for row in rows] == [["in"], ["hidden"], ["out"]]
    assert [row["core"] for row in rows] == [0, 1, 2]
    assert len({row["site"] for row in rows}) == 3
    used = [(r["used"]["compartments"], r["used"]["axons_in"], r["used"]["axons_out"]) for r in rows]
    assert used == [(4, 0, 2), (6, 2, 3), (4, 3, 0)]  # two membranes a neuron
    assert [r["used"]["fan_in"] for r in rows] == [0, 2, 3]
    assert [(r["packets_out"], r["packets_in"]) for r in rows] == [(2, 0), (2, 2), (0, 2)]
    limits = load("loihi2").limits
    assert rows[0]["allowed"]["compartments"] == limits.compartments.value
    assert rows[0]["allowed"]["fan_in"] is None  # no limit
    # Of 8,192 compartments and 4,096 axons either way the hidden layer takes 6, 2 and 3, and 4 to 6 synapses of memory.
    assert rows[1]["full"] == pytest.approx(max(6 / 8192, 3 / 4096))
    np.testing.assert_allclose(fullness(loihi2), [row["full"] for row in rows])


def test_work_of_a_core_by_hand(loihi2):
    time = load("loihi2").time
    sweep = 5 * time.neuron_program.value
    sends = 2 * (time.spike.value + time.axon_out.value)
    hears = 2 * time.axon_in.value
    # Two inputs meet 3 synapses each, two hidden neurons 2 each, zeros among them.
    want = [2 * sweep + sends, 3 * sweep + sends + hears + 6 * time.synop_dense.value]
    want += [2 * sweep + hears + 4 * time.synop_dense.value]
    np.testing.assert_allclose(busy(loihi2), want, rtol=1e-6)


def test_in_a_pipeline_a_core_sweeps_once_a_period(on):
    stream, time = on("loihi2", regime="stream"), load("loihi2").time
    assert stream.placement.schedule.period(True) == 2
    gone = busy(on("loihi2")) - busy(stream)
    np.testing.assert_allclose(gone, (5 - 2) * time.neuron_program.value * np.array([2, 3, 2]), rtol=1e-5)
    found = summary(stream)
    assert found["regime"] == "stream"
    assert found["mean_hops"] < 10  # a packet's, not that of all copies together


def test_the_summary_is_plain_data_and_adds_up(loihi2):
    found = summary(loihi2)
    assert json.loads(json.dumps(found)) == found
    assert (found["cores"], found["chips"], found["violations"], found["packets"]) == (3, 1, [], 4)
    assert found["bound"]
    assert found["deadline"] is None
    assert sum(found["waits_s"].values()) == pytest.approx(found["latency_s"], rel=1e-5)
    spent = sum(row["energy_j"] for row in found["layers"].values())
    static = load("loihi2").power["chip"].active.value * found["interval_s"]
    assert spent + static == pytest.approx(found["energy_j"], rel=1e-5)
    assert found["layers"]["hidden"]["events"]["spike"] == 2
    assert found["layers"]["hidden"]["events"]["synop_dense"] == 6  # of those in front of it
    assert found["busiest_core_s"] == pytest.approx(busy(loihi2).max())


@pytest.mark.parametrize(
    ("chip", "code"), [("spinnaker2", "bits"), ("speck", "rate"), ("loihi1", "unary"), ("akida", "rate")]
)
def test_energies_add_up_on_every_kind_of_chip(on, chip, code):
    found = on(chip, code, allow=True)
    told = summary(found)
    spent = sum(row["energy_j"] for row in told["layers"].values())
    boundary = next(iter(found.placement.chip.power.values()))
    static = found.placement.machines() * boundary.active.value * told["interval_s"]
    if found.placement.chip.clock is None:
        assert spent + static == pytest.approx(told["energy_j"], rel=1e-4)
    assert sum(told["waits_s"].values()) == pytest.approx(told["latency_s"], rel=1e-4)


def test_deadlines_are_for_ticks(on):
    ticking = load("spinnaker2")
    relaxed = summary(on(ticking))["deadline"]
    assert relaxed["tick_s"] == ticking.time.tick.value
    assert relaxed["missed_steps"] == pytest.approx(0)
    assert relaxed["mean_step_s"] == pytest.approx(ticking.time.tick.value, rel=1e-4)
    short = ticking.time.tick.model_copy(update={"value": 1e-12})
    hurried = ticking.model_copy(update={"time": ticking.time.model_copy(update={"tick": short})})
    late = summary(on(hurried))["deadline"]
    assert late["missed_steps"] == pytest.approx(5)
    assert late["mean_step_s"] > ticking.time.neuron_program.value


def test_links_carry_what_is_sent_one_by_one(on):
    line = altered("loihi2", {"width": 8, "height": 1, "cores_per_router": 1}, cores=8, compartments=2)
    found = on(line)
    assert found.placement.number == 7
    p = found.placement
    want = link_loads(p.topology, p.site, found.traffic)
    np.testing.assert_allclose(found.links, want)
    silent = replace(p, chip=p.chip.model_copy(update={"time": p.chip.time.model_copy(update={"link": None})}))
    np.testing.assert_allclose(link_packets(silent, found.spikes, found.traffic), want)


def test_a_link_carries_a_copied_packet_once(spread):
    """On a line a neuron's packets cross all that lies between its core and the furthest ones that hear it."""
    p = replace(spread.placement, site=np.arange(7))  # in the order of the layers, so that ways are shared
    assert p.chip.mesh.multicast
    crossed = 0.0
    for name, mean in spread.spikes.items():
        fans = [fan for fan in p.fans if fan.source == name]
        for neuron, spikes in enumerate(mean):
            heard = [c for fan in fans for c, n in zip(fan.cores, fan.synapses[:, neuron], strict=True) if n]
            here, there = int(p.core[name][neuron]), np.array(heard)
            crossed += float(spikes) * (max(0, there.max() - here) + max(0, here - there.min()))
    assert link_packets(p, spread.spikes, spread.traffic).sum() == pytest.approx(crossed)
    assert crossed < link_loads(p.topology, p.site, spread.traffic).sum()
    told = summary(spread)
    assert told["mean_hops"] == pytest.approx(spread.links.sum() / spread.traffic.sum())


def test_limits_that_do_not_hold_are_refused_or_named(on):
    few = altered("loihi2", cores=2, chips=None)
    with pytest.raises(DoesNotFit, match="tiny needs 3 cores; loihi2 has 2"):
        on(few)
    found = summary(on(few, allow=True))
    assert found["violations"][0].startswith("tiny needs 3 cores; loihi2 has 2")
    assert found["chips"] == 2
    with pytest.raises(BadInput, match="loihi1 lacks a membrane that doubles"):
        on("loihi1")
    assert "lacks a membrane that doubles" in summary(on("loihi1", allow=True))["violations"][0]
    with pytest.raises(BadInput, match="cannot clear a neuron's state"):
        on("loihi1", "rate", regime="stream")


def test_a_priced_chip_has_one_core_that_stands_for_all(on):
    found = summary(on("akida", "rate", allow=True))
    assert (found["scope"], len(found["rows"]), found["packets"]) == ("priced", 1, found["rows"][0]["packets_in"])
    assert found["evidence"] == {"energy": "undisclosed", "latency": "undisclosed"}


def test_the_fullest_core_is_the_one_nearest_to_its_own_limit(on):
    """Speck's cores differ: the use that is printed is held against the limit of that same core."""
    found = on("speck", "rate")
    told = {row["limit"]: row for row in summary(found)["limits"]}
    p = found.placement
    for limit in ("compartments", "synapse_memory"):
        shares = p.used[limit] / p.limits[limit]
        assert told[limit]["used_most"] / told[limit]["allowed"] == pytest.approx(shares.max())
    assert told["axons_in"]["allowed"] is None


def test_where_the_figure_goes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(figure_path(None, "nets/small.onnx", "my/chip.toml")) == "runs/map-small-chip.png"
    assert figure_path(tmp_path / "a.png", "n", "c") == tmp_path / "a.png"
    with pytest.raises(BadInput, match=r"a.pdf: the figure is a PNG; give it the ending .png"):
        figure_path(tmp_path / "a.pdf", "n", "c")


def test_more_spikes_are_more_work(on):
    quiet, loud = (on("loihi2", "unary", items=np.array([item])) for item in ([1, 0], [2, 1]))
    assert (busy(loud) >= busy(quiet)).all()
    assert loud.traffic.sum() > quiet.traffic.sum()
    assert jnp.asarray(loud.counts.events["spike"]) > jnp.asarray(quiet.counts.events["spike"])
