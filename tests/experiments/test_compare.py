"""The whole comparison on a tiny network: who is there, what is refused, what adds up."""

import json

import numpy as np
import pytest

from baselines import device
from experiments.compare import Options, compare
from experiments.datasets import data
from experiments.datasets.arrays import Arrays
from experiments.records.record import write
from experiments.summary import summary
from experiments.terminal import table
from experiments.verdict import TOLERANCE
from neuro import chip
from neuro.constants import adjusted
from neuro.errors import BadInput, DoesNotFit
from neuro.graph import Graph, Node
from neuro.layers import Add, Dense, Input, Relu


@pytest.fixture(scope="module")
def result(comparison):
    return summary(comparison, "record.h5")


def arms(result, **wanted):
    return [a for a in result["arms"] if all(a[k] == v for k, v in wanted.items())]


def test_all_codes_are_reported_with_their_proof(result):
    assert {c["code"]: (c["exact"], c["mismatches"]) for c in result["codes"]} == {
        "unary": (True, 0),
        "bits": (True, 0),
        "graded": (True, 0),
        "rate": (False, None),
    }
    exact = [c["accuracy"] for c in result["codes"] if c["exact"]]
    assert set(exact) == {result["accuracy"]["integer"]}


def test_the_json_survives_a_round_trip(result):
    assert json.loads(json.dumps(result)) == result


def test_bits_cannot_run_on_loihi1_and_the_reason_is_given(result):
    (single,) = arms(result, machine="loihi1", code="bits", regime="single")
    assert (single["fits"], single["energy_j"]) == (False, None)
    assert "doubles" in single["reason"]
    (stream,) = arms(result, machine="loihi1", code="rate", regime="stream")
    assert "clear" in stream["reason"]


def test_every_device_has_both_networks_and_both_batches(result):
    for name in ("jetson_orin_agx", "eyeriss_v1"):
        found = {(a["network"], a["regime"]) for a in arms(result, machine=name)}
        assert found == {(n, r) for n in ("float", "integer") for r in ("batch1", "best_batch")}


def test_components_add_up_to_the_nominal_energy(result):
    priced = [a for a in result["arms"] if a["energy_j"]]
    assert priced
    for arm in priced:
        assert sum(arm["components_j"].values()) == pytest.approx(arm["nominal_energy_j"], rel=1e-9)
        band = arm["energy_j"]
        assert 0 < band["p5"] <= band["p50"] <= band["p95"]
        assert band["p5"] / 3 < arm["nominal_energy_j"] < 3 * band["p95"]


def test_arms_on_spiking_chips_say_what_they_wait_for(result):
    for arm in result["arms"]:
        assert bool(arm["bound"]) == (arm["kind"] == "neuromorphic" and arm["energy_j"] is not None)


def test_the_integer_network_runs_on_the_same_silicon(result):
    graded = arms(result, machine="loihi2", network="integer")
    assert {(a["precision"], a["regime"]) for a in graded} == {("graded", "single"), ("graded", "stream")}
    assert all(a["accuracy"] == result["accuracy"]["integer"] and a["energy_j"] for a in graded)
    assert not arms(result, machine="loihi1", network="integer")  # its spikes carry no integers
    for verdict in result["verdict"].values():
        assert verdict["best_rival"].split("/")[0] not in ("loihi1", "loihi2")
        best, same = verdict["best_snn"].split("/")[0], verdict["classes"].get("same silicon")
        accurate = result["accuracy"]["integer"] >= result["accuracy"]["float"] - TOLERANCE
        assert (same is not None) == (best == "loihi2" and accurate)
        assert same is None or same["rival"].startswith("loihi2/integer/graded/")


def test_limits_broken_on_request_are_named(network, dataset, capsys):
    """Such an arm is priced, and the table says that the chip does not run it."""
    loihi = chip.load("loihi1")
    options = Options(draws=64, code="bits", allow_violations=True)
    comparison = compare(network, dataset, [loihi], [device.load("l4")], options)
    found = summary(comparison, "r")
    (single,) = arms(found, machine="loihi1", code="bits", regime="single")
    assert single["energy_j"]["p50"] > 0
    assert not single["fits"]
    table(comparison, found)
    printed = capsys.readouterr().out
    assert f"{single['name']} (in theory) " in printed
    assert f"{single['name']}: runs only in theory: loihi1 lacks a membrane that doubles" in printed
    assert single["reason"].startswith("runs only in theory: loihi1 lacks a membrane that doubles")


def test_the_verdict_names_arms_that_exist(result):
    names = {a["name"] for a in result["arms"]}
    for verdict in result["verdict"].values():
        assert {verdict["best_snn"], verdict["best_binary_snn"], verdict["best_rival"]} <= names
        assert 0 <= verdict["p_snn_wins"] <= 1
        assert len(verdict["drivers"]) == 3
    for name in ("latency", "edp"):
        assert result["verdict"][name]["best_snn"].endswith("/single")
        assert result["verdict"][name]["best_rival"].endswith("/batch1")


def test_ten_hertz_costs_more_than_back_to_back(result):
    for arm in arms(result, regime="single"):
        if arm["energy_j"]:
            assert result["duty_cycled"]["energy_j"][arm["name"]]["p50"] > arm["energy_j"]["p50"]


def test_streaming_never_costs_more_energy_than_one_at_a_time(result):
    for arm in arms(result, regime="stream"):
        if arm["energy_j"]:
            (single,) = arms(result, machine=arm["machine"], code=arm["code"], regime="single")
            assert arm["nominal_energy_j"] <= single["nominal_energy_j"]


def test_the_same_command_gives_identical_counts(comparison, network, dataset):
    chips = [chip.load("loihi2")]
    again = compare(network, dataset, chips, [device.load("eyeriss_v1")], Options(draws=256))
    for first, second in zip(comparison.runs, again.runs, strict=True):
        np.testing.assert_array_equal(first.spikes, second.spikes)
        for key in second.counts:
            for name, events in second.counts[key].events.items():
                np.testing.assert_array_equal(first.counts[key].events[name], events)


def test_a_boundary_without_a_price_leaves_the_arm_listed_and_unranked(network, dataset):
    chips = [chip.load("loihi2")]
    options = Options(draws=64, boundary="board")
    found = summary(compare(network, dataset, chips, [device.load("eyeriss_v1")], options), "r")
    spiking = arms(found, machine="loihi2")
    assert spiking
    assert all(a["fits"] and a["energy_j"] is None and "board" in a["reason"] for a in spiking)
    assert found["verdict"]["energy"]["best_snn"] is None


def test_a_chip_that_is_priced_on_its_board_only_is_mapped_and_priced_there(network, dataset):
    loihi = chip.load("loihi2")
    board = loihi.model_copy(update={"power": {"board": loihi.power["chip"]}})
    found = summary(compare(network, dataset, [board], [], Options(draws=64, boundary="board", code="bits")), "r")
    (single,) = arms(found, machine="loihi2", code="bits", regime="single")
    assert single["energy_j"]["p50"] > 0


@pytest.mark.parametrize("code", ["naf", "ttfs"])
def test_a_code_that_is_asked_for_is_run_besides(network, dataset, code):
    found = summary(compare(network, dataset, [chip.load("loihi2")], [], Options(draws=64, code=code)), "r")
    assert [c["code"] for c in found["codes"]] == ["unary", "bits", "graded", "rate", code]
    assert {c["mismatches"] for c in found["codes"] if c["exact"]} == {0}
    assert {a["code"] for a in arms(found, network="spiking")} == {code}
    assert all(a["energy_j"] for a in arms(found, network="spiking"))


def test_a_code_that_a_named_chip_lacks_is_an_error(network, dataset):
    with pytest.raises(BadInput, match=r"loihi1 cannot run the bits code: it lacks a membrane that doubles"):
        compare(network, dataset, [chip.load("loihi1")], [], Options(code="bits"), named=True)


def test_a_network_that_fits_nowhere_is_an_error_with_the_limit(network, dataset):
    loihi = chip.load("loihi2")
    one = loihi.limits.cores.model_copy(update={"value": 1.0, "low": 1.0, "high": 1.0})
    small = loihi.model_copy(update={"limits": loihi.limits.model_copy(update={"cores": one, "chips": None})})
    with pytest.raises(DoesNotFit, match=r"(?s)no chip can run.*needs 4 cores; loihi2 has 1"):
        compare(network, dataset, [small], [], Options())


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"levels": 0}, "--levels 0 is out of range; give 1 to 255"),
        ({"weight_bits": 99}, "--weight-bits 99 is out of range; give 2 to 8"),
        ({"steps": 0}, "--steps 0 is out of range"),
    ],
)
def test_options_out_of_range(network, dataset, option, message):
    with pytest.raises(BadInput, match=message):
        compare(network, dataset, [chip.load("loihi2")], [], Options(**option))


def test_relays_repeat_what_waits_too_long(tmp_path):
    """A skip over four layers, 4 x 15 steps under the unary code; with delays of 20 steps three relays repeat it."""
    rng = np.random.default_rng(0)
    nodes, before = [Node("in", Input((12,)))], "in"
    for k in range(5):
        weights = Dense(rng.normal(size=(12, 12)) / 3, None)
        nodes += [Node(f"w{k}", weights, (before,)), Node(f"a{k}", Relu(), (f"w{k}",))]
        before = f"a{k}"
    nodes += [
        Node("add", Add(), ("a0", before)),
        Node("sum", Relu(), ("add",)),
        Node("out", Dense(rng.normal(size=(3, 12)), None), ("sum",)),
    ]
    x = rng.integers(0, 16, (20, 12))
    items = data.from_arrays("skips", Arrays(x=x, y=np.arange(20) % 3, x_calibration=x, description="random counts"))
    long = chip.load("loihi2")
    found = [
        compare(
            Graph("skips", tuple(nodes)), items, [each], [device.load("stm32h7a3")], Options(draws=16, code="unary")
        )
        for each in (long, adjusted(long, {"limits.delay": 20.0}))
    ]
    spikes, relays = [], []
    for each in found:
        placement = each.placements["loihi2", "unary", "single"]
        relays.append([name for name in placement.core if "relay" in name])
        arm = next(a for a in each.arms if a.name == "loihi2/spiking/unary/single")
        assert arm.counts is not None
        spikes.append(float(arm.counts.events["spike"].mean()))
    assert relays == [[], ["a0.relay", "a0.relay.relay", "a0.relay.relay.relay"]]
    (run,) = (r for r in found[1].runs if r.code == "unary")
    assert spikes[1] - spikes[0] == pytest.approx(3 * run.by_layer["a0"])
    assert write(found[1], tmp_path / "skips.h5", "neuro compare").is_file()
