"""Chips as machines of measurements: predictions by hand, a user's own file, what is refused."""

import json

import numpy as np
import pytest

from experiments.replays import published, simulated, target
from experiments.replays.measurement import Measurement
from experiments.replays.replay import replay
from experiments.replays.spiking import Spiking
from experiments.validate import carry_out
from neuro import chip
from neuro.errors import BadInput


def measured(**changes) -> Measurement:
    row = {
        "case": "a", "set": "s", "target": "loihi1", "workload": "activity:steps=10,neurons=100,synops=5000",
        "precision": "int8", "batch": 1, "mode": "compiled", "quantity": "core energy", "value": 2e-7,
        "boundary": "chip",
    }  # fmt: skip
    return Measurement(**row | changes)


def test_energy_of_cores_by_hand():
    (found,) = replay([measured()], {})
    by_hand = 1000 * (51.2e-12 + 21.6e-12) + 5000 * 35.5e-12
    assert found.value == pytest.approx(by_hand)
    assert found.naive == pytest.approx(5000 * 35.5e-12)
    assert (found.kind, found.model) == ("neuromorphic", "neuromorphic-loihi1")
    assert found.draws.std() > 0


@pytest.mark.parametrize(
    ("quantity", "of"),
    [
        ("latency", lambda p, t: t),
        ("step time", lambda p, t: t / 10),
        ("throughput", lambda p, t: 1 / t),
        ("power", lambda p, t: p),
        ("energy", lambda p, t: p * t),
        ("synop energy", lambda p, t: p * t / 5000),
    ],
)
def test_quantities_are_ratios_of_one_time_and_one_power(quantity, of):
    cores = 10 * 100 * 9.7e-9 + 5000 * 3.8e-9
    time = cores + 10 * 0.6e-6
    power = 96.2e-3 + (1000 * 72.8e-12 + 5000 * 35.5e-12) / time
    (found,) = replay([measured(quantity=quantity, value=1.0)], {})
    assert found.value == pytest.approx(of(power, time), rel=1e-6)
    assert bool(found.bound) == (quantity in ("latency", "step time", "throughput"))


def test_settings_are_constants_of_the_chip_or_counts():
    settings = (("energy.synop_dense", "10 pJ"), ("neurons", "1"))
    (found,) = replay([measured(settings=settings)], {})
    assert found.value == pytest.approx(10 * 72.8e-12 + 5e-8)


def test_doubt_of_the_activity_enters_the_band():
    """Nearest neighbours: spikes known to +-6 %, cores to a factor of 2.6."""
    stated = (("cores", "1550"), ("spikes", "707"), ("span", "10"))
    sure = replay([measured(workload="knn_76800", quantity="step time", settings=stated)], {})[0]
    unsure = replay([measured(workload="knn_76800", quantity="step time")], {})[0]
    assert unsure.value == pytest.approx(sure.value)
    assert np.log(unsure.draws).std() > 1.2 * np.log(sure.draws).std()


def test_shapes_at_a_rate():
    settings = (("rate", "0.05"), ("steps", "16"))
    (found,) = replay([measured(workload="mlperf_tiny_kws", settings=settings)], {})
    assert found.naive == pytest.approx(24.0e-12 * 0.05 * 16 * target.from_shapes.load("mlperf_tiny_kws").macs)
    assert found.value > found.naive


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"workload": "mlperf_tiny_kws"}, "no rate and steps in settings"),
        ({"workload": "mlperf_tiny_kws", "settings": (("rate", "x"), ("steps", "2"))}, "setting rate"),
        ({"workload": "mlperf_tiny_kws", "settings": (("rate", "1"), ("steps", "2"), ("cores", "3"))}, "cores follows"),
        ({"workload": "mlperf_tiny"}, "unknown workload 'mlperf_tiny'.*mlperf_tiny_kws"),
        ({"batch": 2}, "one sample at a time"),
        ({"workload": "activity:neurons=10", "quantity": "synop energy"}, "has no synops"),
        ({"settings": (("energy.synop", "1 pJ"),)}, "no constant 'energy.synop'"),
        ({"workload": "activity:chips=2,chip_hops=1,cores=500"}, "500 cores; 2 x loihi1 have 256"),
        ({"target": "edge_tpu", "workload": "mobilenet_v1"}, "known of spiking chips only"),
        ({"target": "loihi3"}, "unknown device or chip 'loihi3'.*loihi1"),
    ],
)
def test_what_cannot_be_replayed(changes, message):
    with pytest.raises(BadInput, match=message):
        replay([measured(**changes)], {})


def test_an_event_without_a_price_is_never_free():
    with pytest.raises(Exception, match=r"odin has no price for energy\.management, time\.management"):
        replay([measured(target="odin", workload="activity:synops=10,management=yes")], {})


def test_names_of_workloads_do_not_meet():
    """A name means one thing."""
    names = [*published.known(), *simulated.KNOWN, *target.from_shapes.known()]
    assert len(set(names)) == len(names)


def test_without_data_simulated_cases_are_listed(monkeypatch):
    monkeypatch.delenv("NEURO_DATA", raising=False)
    (found,) = replay([measured(workload="lsnn_smnist", kind="neuromorphic")], {})
    assert "NEURO_DATA" in found.reason
    assert not found.tests


def test_a_users_own_chip_activity_and_network(tmp_path):
    """A copied chip file under another name, an activity file beside it, stated text and a network at a rate."""
    text = (chip.locate("generic", chip.PACKAGE, "chip")).read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(text.replace('name = "generic"', 'name = "mine"'))
    (tmp_path / "run.toml").write_text(
        'name = "run"\nsteps = { value = "5", source = "s", basis = "measured" }\n'
        'neurons = { value = "900", source = "s", basis = "measured" }\n'
        '[sources.s]\ntitle = "t"\nyear = 2020\n'
    )
    path = tmp_path / "cases.csv"
    path.write_text(
        "case,target,workload,precision,quantity,value,unit,settings\n"
        "a,mine.toml,run.toml,int8,latency,1,ms,\n"
        'b,mine.toml,"activity:steps=4,neurons=50,rate=0.1,synapses=20",int8,core energy,5,nJ,\n'
        "c,loihi2,mlperf_tiny_kws,int8,throughput,100,1/s,rate = 0.05; steps = 16\n"
        "d,l4,resnet50,int8,latency,1,ms,\n"
    )
    result, summary = carry_out("all", path, tmp_path / "v.h5")
    assert [c["error"] is not None for c in summary["cases"]] == [True] * 4
    assert [row.replay.model for row in result.rows] == [
        "neuromorphic-mine", "neuromorphic-mine", "neuromorphic-loihi2", "gpu",
    ]  # fmt: skip
    json.dumps(summary, allow_nan=False)


def test_draws_without_ranges_have_no_axis():
    m = measured()
    machine = Spiking(chip.load("loihi1"))
    assert machine.counts(m, machine.task(m), 16).events["synop_dense"].shape == ()
