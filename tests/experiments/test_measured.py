"""A measurement as the command's result and as arms: what was measured is what is priced, and nothing is made up."""

import json

import numpy as np
import pytest

from baselines import measure
from baselines.counters import Sensor
from baselines.device import load, nominal
from baselines.measure import Energy, Latency, Measured, Offline, Runner
from experiments import measured, measured_output
from experiments.measured import Prediction, Result
from neuro.constants import leaves
from neuro.cost import cost

SENSOR = Sensor("fake", "package", "J", 1e-6, 1e-3, "made for a test", read=lambda: 0.0)
REASON = "no counters here"


def run(energies: tuple[Energy | str, Energy | str], batch: int = 64) -> Measured:
    """2 ms a sample, 2500 samples a second at `batch`."""
    runner = Runner("jax", "0.1", "cpu", "cpu", (4,), lambda x: lambda: None, 4096, 2, "taskset")
    single = Latency(p50=2e-3, p90=3e-3, p99=4e-3, mean=2.1e-3, runs=500)
    offline = Offline(2500.0, batch, ((1, 500.0), (batch, 2500.0)), "time")
    return Measured("net", runner, 0, single, offline, *energies)


def counted() -> Measured:
    """At 10 W of rest: 50 mJ a sample in 2 ms, 20 mJ of them at rest; 12 mJ in 0.4 ms, 4 mJ at rest."""
    return run((Energy(50e-3, 30e-3, 10.0, 1.0, SENSOR), Energy(12e-3, 8e-3, 10.0, 1.0, SENSOR)))


def spent(arm, every=None):
    values = {path: constant.value for path, constant in leaves(arm.machine.description)}
    return cost(arm.counts, arm.machine.prices(values, "chip"), every)


def test_arms_cost_what_was_measured():
    one, many = measured.arms(counted(), 0.9)
    assert [(a.regime, a.batch, a.precision, a.accuracy) for a in (one, many)] == [
        ("batch1", 1, "fp32", 0.9), ("best_batch", 64, "fp32", 0.9),
    ]  # fmt: skip
    assert float(spent(one).total) == pytest.approx(50e-3, rel=1e-5)
    assert float(spent(one).latency) == pytest.approx(2e-3, rel=1e-5)
    assert float(spent(many).total) == pytest.approx(12e-3, rel=1e-5)
    assert float(spent(many).interval) == pytest.approx(1 / 2500, rel=1e-5)
    assert float(spent(many).latency) == pytest.approx(64 / 2500, rel=1e-5)


def test_at_a_rate_the_rest_is_idle_power():
    """At 10 a second: 50 mJ, and 10 W for the other 98 ms."""
    one, _ = measured.arms(counted(), None)
    assert float(spent(one, every=0.1).total) == pytest.approx(50e-3 + 10 * 98e-3, rel=1e-5)


def test_ranges_are_those_of_the_runs_and_of_the_sensor():
    """Times spread as p90 over p50, 1.5; energies by 5 %."""
    known = dict(leaves(measured.machine_of(counted())))
    assert known["latency"].high == pytest.approx(3e-3)
    assert known["latency"].low == pytest.approx(2e-3 / 1.5)
    assert known["single"].high == pytest.approx(30e-3 * 1.05)
    assert {c.basis for c in known.values()} == {"measured"}


def test_without_counters_there_is_a_reason_and_no_energy():
    arms = measured.arms(run((REASON, REASON)), 0.9)
    assert all(arm.counts is None and arm.fits for arm in arms)
    assert all(f"not measurable here ({REASON})" in (arm.reason or "") for arm in arms)
    assert "2 ms" in (arms[0].reason or "")
    assert "2500 samples a second at batch 64" in (arms[1].reason or "")
    assert set(dict(leaves(arms[0].machine.description))) == {"latency", "interval"}
    assert arms[0].machine.description.power == {}


def test_a_sample_no_dearer_than_rest_has_a_price_all_the_same():
    tired = run((Energy(20e-3, -1e-3, 10.5, 1.0, SENSOR), Energy(4e-3, 0.0, 10.0, 1.0, SENSOR)))
    one, _ = measured.arms(tired, None)
    assert float(spent(one).total) == pytest.approx(10.5 * 2e-3, rel=1e-4)


def test_summary_and_store(tmp_path):
    result = Result("net", (counted(), run((REASON, REASON))), ("no gpu",), None, Prediction(1e-3, 5000.0))
    row = measured_output.summary(result)
    assert row["runs"][0]["single_stream"]["energy"]["joules"] == 50e-3
    assert row["runs"][1]["offline"]["energy"] == {"joules": None, "reason": REASON}
    assert row["prediction"]["latency_error"] == pytest.approx(-0.5)
    assert row["prediction"]["throughput_error"] == pytest.approx(1.0)
    path = tmp_path / "runs" / "net.json"
    measured_output.store(result, path)
    assert json.loads(path.read_text()) == json.loads(json.dumps(row))
    assert list(path.parent.iterdir()) == [path]


def test_interrupted_store_keeps_the_last_good_one(tmp_path, monkeypatch):
    path = tmp_path / "net.json"
    path.write_text("good")

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(measured_output.json, "dumps", stopped)
    with pytest.raises(KeyboardInterrupt):
        measured_output.store(Result("net", (), (), None, None), path)
    assert path.read_text() == "good"
    assert list(tmp_path.iterdir()) == [path]


def test_print(capsys):
    result = Result("net", (counted(),), ("JAX finds no gpu here",), None, Prediction(1e-3, 5000.0))
    measured_output.print_result(result)
    printed = " ".join(capsys.readouterr().out.split())
    for text in (
        "net, measured in fp32",
        "50 mJ a sample, 30 mJ above 10 W at rest",
        "no gpu here",
        "(-50%)",
        "(+100%)",
    ):
        assert text in printed


def test_prediction_is_the_models(digits_graph):
    device = load("xeon_8380")
    found = measured.predicted(device, digits_graph, run((REASON, REASON), batch=16))
    assert found.latency > device.overhead["compiled"].call.value
    assert found.throughput > 1 / found.latency
    faster = measured.predicted(
        measured.conventional.adjusted(device, {"overhead.compiled.call": 1e-9}), digits_graph, run((REASON, REASON))
    )
    assert faster.latency < found.latency
    assert nominal(device)["core.number"] == 40


@pytest.fixture
def digits_graph():
    import jax

    from experiments.datasets.digits import Training, graph, initial

    parameters = {k: np.asarray(v) for k, v in initial(Training(), jax.random.key(0)).items()}
    for layer, width in (("conv1", 16), ("conv2", 32)):
        parameters |= {f"{layer}.mean": np.zeros(width, np.float32), f"{layer}.variance": np.ones(width, np.float32)}
    return graph(parameters)


def test_carry_out(digits_graph, monkeypatch):
    """A whole measurement, short: JAX on the CPU, no ONNX Runtime for a bundled network, no probes asked for."""
    monkeypatch.setattr(measured.networks, "load", lambda name: digits_graph)
    monkeypatch.setattr(measure.counters, "sensor", lambda platform: REASON)
    found = measured.carry_out("digits-cnn", seconds=0.2, platform="cpu", predict=False)
    (only,) = found.runs
    assert (only.runner.runtime, only.runner.platform, only.network) == ("jax", "cpu", digits_graph.name)
    assert found.predicted is None
    assert only.single_energy == REASON
