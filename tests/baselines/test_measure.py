"""Measuring: percentiles and batches on jobs of known behaviour, energies from fake sensors, one real tiny run."""

import numpy as np
import pytest

from baselines import measure
from baselines.counters import Sensor
from baselines.measure import Energy, Runner, on_jax, on_onnxruntime
from neuro.errors import BadInput, DoesNotFit
from neuro.graph import Graph, Node
from neuro.layers import Dense, Input, Relu

NONE = "no counter in a test"


def tiny() -> Graph:
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal(shape).astype(np.float32) for shape in ((8, 4), (3, 8))]
    nodes = (
        Node("in", Input((4,))), Node("a", Dense(weights[0], None), ("in",)), Node("r", Relu(), ("a",)),
        Node("b", Dense(weights[1], None), ("r",)),
    )  # fmt: skip
    return Graph("tiny", nodes)


def counting(batches: list[int], largest: int = 64) -> Runner:
    """A runner that notes the batch of every run."""

    def prepare(x):
        return lambda: batches.append(len(x))

    return Runner("jax", "0", "cpu", "fake", (4,), prepare, largest, 1, "")


def test_percentiles_of_known_samples():
    """1 to 100: numpy's linear rule gives 50.5, 90.1 and 99.01."""
    found = measure.latency([float(i) for i in range(1, 101)][::-1])
    assert (found.p50, found.p90, found.p99) == pytest.approx((50.5, 90.1, 99.01))
    assert (found.mean, found.runs) == (50.5, 100)


def test_a_job_is_warmed_up_and_run_at_least_so_often():
    runs = []
    times = measure.repeated(lambda: runs.append(1), 0.0, least=7)
    assert (len(times), len(runs)) == (7, 7 + measure.WARM_UP)
    assert min(times) >= 0


def test_batches_grow_fourfold_up_to_the_largest():
    batches: list[int] = []
    found = measure.measure("fake", counting(batches), seconds=0.2, sensor=NONE)
    sizes = [batch for batch, _ in found.offline.tried]
    assert sizes == [1, 4, 16, 64][: len(sizes)]
    assert max(batches) <= 64
    assert found.offline.batch in sizes
    assert found.single_energy == found.offline_energy == NONE
    assert found.single.p50 <= found.single.p90 <= found.single.p99


def test_a_machine_that_takes_one_sample_only():
    found = measure.measure("fake", counting([], largest=1), seconds=0.1, sensor=NONE)
    assert found.offline.batch == 1
    assert found.offline.stopped == "batches of at most 1"


def test_energy_of_a_sample_less_the_idle_power():
    """A counter that gains 1 J with every sample, and 0.05 J with every reading: an interval, with two readings, has
    samples + 0.05 J, hence total = 1 + 0.05 / samples, and total - dynamic = idle power × seconds / samples."""
    total = [0.0]

    def prepare(x):
        def job():
            total[0] += len(x)

        return job

    runner = Runner("jax", "0", "cpu", "fake", (4,), prepare, 4, 1, "")
    sensor = Sensor("fake", "all", "J", 1e-9, 1e-4, "", read=lambda: total[0] + 1e-6)
    found = measure.measure("fake", runner, seconds=0.2, sensor=sensor)
    # At rest the counter stands still: that reading is within its resolution, and no figure may be given.
    assert isinstance(found.single_energy, str)

    reads = [0]

    def read():
        reads[0] += 1
        return total[0] + 0.05 * reads[0]

    found = measure.measure("fake", runner, seconds=0.2, sensor=Sensor("fake", "all", "J", 1e-9, 1e-4, "", read))
    for energy in (found.single_energy, found.offline_energy):
        assert isinstance(energy, Energy)
        assert energy.total == pytest.approx(1.0, rel=1e-2)
        samples = 0.05 / (energy.total - 1)
        assert energy.total - energy.dynamic == pytest.approx(energy.idle * energy.seconds / samples, rel=1e-2)
        assert energy.dynamic < energy.total


def test_an_interval_too_short_for_the_sensor():
    slow = Sensor("slow", "all", "J", 1e-9, period=60.0, limits="", read=lambda: 0.0)
    found = measure.measure("fake", counting([]), seconds=0.1, sensor=slow)
    assert "too short for slow" in str(found.offline_energy)


def test_a_real_run_of_a_tiny_network():
    graph = tiny()
    runner = on_jax(graph)
    found = measure.measure("tiny", runner, seconds=0.3, sensor=NONE)
    assert runner.shape == (4,)
    assert 0 < found.single.p50 <= found.single.p99
    assert found.single.runs >= measure.LEAST_RUNS
    assert found.offline.throughput > 0
    assert [batch for batch, _ in found.offline.tried] == [4**i for i in range(len(found.offline.tried))]
    assert runner.threads >= 1
    assert found.precision == "fp32"


def test_inputs_are_repeatable_and_may_be_given():
    seen: list[np.ndarray] = []
    runner = Runner("jax", "0", "cpu", "fake", (4,), lambda x: (seen.append(x), lambda: None)[1], 1, 1, "")
    for _ in range(2):
        measure.measure("fake", runner, seconds=0.05, seed=3, sensor=NONE)
    half = len(seen) // 2
    assert all((a == b).all() for a, b in zip(seen[:half], seen[half:], strict=True))
    seen.clear()
    given = np.arange(8, dtype=np.float32).reshape(2, 4)
    found = measure.measure("fake", runner, seconds=0.05, samples=given, sensor=NONE)
    assert found.seed is None
    assert (seen[0] == given[:1]).all()
    assert (seen[1] == given[1:]).all()


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf")])
def test_no_time(seconds):
    with pytest.raises(BadInput, match="--seconds"):
        measure.measure("fake", counting([]), seconds=seconds, sensor=NONE)


def test_samples_of_another_shape():
    with pytest.raises(BadInput, match=r"takes \[sample, 4\]"):
        measure.measure("fake", counting([]), seconds=0.1, samples=np.zeros((2, 5), np.float32), sensor=NONE)


def test_no_such_platform(monkeypatch):
    def none(platform):
        raise RuntimeError("unknown backend")

    graph = tiny()
    monkeypatch.setattr(measure.jax, "devices", none)
    with pytest.raises(DoesNotFit, match="no gpu here"):
        on_jax(graph, "gpu")


def test_interruption_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def prepare(x):
        def job():
            raise KeyboardInterrupt

        return job

    with pytest.raises(KeyboardInterrupt):
        measure.measure("f", Runner("jax", "0", "cpu", "f", (4,), prepare, 1, 1, ""), seconds=0.1, sensor=NONE)
    assert list(tmp_path.iterdir()) == []


def onnx_file(path, batch):
    from onnx import TensorProto, helper, save

    kind = TensorProto.FLOAT
    entry = helper.make_tensor_value_info("x", kind, [batch, 4])
    leave = helper.make_tensor_value_info("y", kind, [batch, 4])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", [entry], [leave])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.mark.parametrize(("batch", "largest"), [("n", measure.LARGEST_BATCH), (1, 1)])
def test_onnxruntime(tmp_path, batch, largest):
    pytest.importorskip("onnxruntime")
    runner = on_onnxruntime(onnx_file(tmp_path / "relu.onnx", batch), (4,))
    assert runner.largest == largest
    found = measure.measure("relu", runner, seconds=0.1, sensor=NONE)
    assert found.single.p50 > 0


def test_onnxruntime_refuses(tmp_path):
    pytest.importorskip("onnxruntime")
    with pytest.raises(DoesNotFit, match="not single samples"):
        on_onnxruntime(onnx_file(tmp_path / "relu.onnx", 7), (4,))
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(DoesNotFit, match="cannot run it"):
        on_onnxruntime(broken, (4,))
