"""The microcontroller model against cycles by hand and MLPerf Tiny, and the constants that were fitted on it."""

import csv
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines import device as machines
from baselines import mcu
from baselines.device import Mcu, load, nominal
from baselines.workload import Workload, convolution, dense, elementwise, product
from neuro.constants import locate
from neuro.cost import cost
from neuro.errors import BadDescription, DoesNotFit

CASES = Path(__file__).parents[2] / "experiments" / "cases" / "mcu.csv"
BOARDS = ("stm32l4r5", "stm32h7a3", "stm32u575", "ra6m4")


def board(name: str) -> Mcu:
    device = load(name)
    assert isinstance(device, Mcu)
    return device


M4 = board("stm32l4r5")
TASKS = ("ic", "kws", "vww", "ad")
# MLPerf Tiny v1.1, closed division, STMicroelectronics: ms and uJ by task.
PUBLISHED = {
    "stm32l4r5": ((213.9953, 62.8733, 118.6944, 6.8573), (7019.1, 2833.1, 5618.3, 293.9)),
    "stm32h7a3": ((51.9481, 15.3532, 29.6288, 1.8183), (6310.7, 1869.4, 3699.4, 221.2)),
}
CONV = convolution("c", (8, 8), (3, 3), (1, 1), (6, 6), (4, 4))


def slower_than_the_vendor() -> dict[str, list[float]]:
    """By stack: the published latencies over those of STMicroelectronics' v1.1 results, from the table of cases."""
    stacks = {"plumerai": "plumerai", "bosch": "bosch", "Skymizer": "onnc", "MICROTVM-CMSIS": "microtvm_cmsis_nn",
              "MICROTVM-NATIVE": "microtvm"}  # fmt: skip
    with CASES.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["quantity"] == "latency" and "v1.1" in row["source"]]
    vendor = {(r["target"], r["workload"]): float(r["value"]) for r in rows if "STMicro" in r["source"]}
    found: dict[str, list[float]] = {}
    for row in rows:
        for mark, stack in stacks.items():
            if mark in row["source"]:
                found.setdefault(stack, []).append(float(row["value"]) / vendor[row["target"], row["workload"]])
    return found


@pytest.mark.parametrize(
    ("layer", "kernel"),
    [
        (CONV, "conv"),
        (convolution("c", (8, 8), (1, 1), (1, 1), (4, 4), (4, 4)), "pointwise"),
        (convolution("c", (8, 8), (3, 3), (1, 1), (6, 6), (4, 4), groups=8), "depthwise"),
        (convolution("c", (1, 8), (10, 4), (1, 1), (13, 7), (4, 4)), "depthwise"),
        (dense("d", 8, 8), "dense"),
        (product("q", 4, 4, 8), "dense"),
        (elementwise("p", "pool", 16, 4), "element"),
        (elementwise("a", "add", 16, 8), "element"),
    ],
)
def test_kernel_of_a_layer(layer, kernel):
    assert mcu.kernel(layer) == kernel


def test_cycles_and_energy_by_hand():
    """conv: 16 × 8 × 72 = 9216 MACs, 128 outputs; pool: 128 values; dense: 160 MACs, 5 outputs; three layers."""
    work = Workload("w", (CONV, elementwise("p", "pool", 128, 32), dense("d", 32, 5)))
    spent = cost(mcu.counts(M4, work, "int8", 1), mcu.prices(M4, nominal(M4), "chip"))
    cycles = 1.02 * (9216 * 2.0 + 128 * 8 + 128 * 3 + 160 * 3.0 + 5 * 8 + 3 * 1000)
    assert float(spent.latency) == pytest.approx(cycles / 120e6, rel=1e-5)
    assert float(spent.total) == pytest.approx(cycles / 120e6 * 41.6e-3, rel=1e-5)
    assert list(spent.energy) == ["static"]


def test_fused_operations_take_no_time_of_their_own():
    fused = Workload("w", (CONV, elementwise("a", "activation", 128, 128, fusable=True)), "eager")
    prices = mcu.prices(M4, nominal(M4), "chip")
    alone = cost(mcu.counts(M4, Workload("w", (CONV,)), "int8", 1), prices)
    assert float(cost(mcu.counts(M4, fused, "int8", 1), prices).latency) == pytest.approx(float(alone.latency))


@pytest.mark.parametrize("device", PUBLISHED)
@pytest.mark.parametrize("task", TASKS)
def test_latency_of_mlperf_tiny(networks, priced, device, task):
    """Predicted: Cortex-M4 +1, -9, +8, +1 %; Cortex-M7 +4, -7, +8, -5 %; one fitted constant for each board."""
    published = PUBLISHED[device][0][TASKS.index(task)] * 1e-3
    assert float(priced(device, networks[task], "int8").latency) == pytest.approx(published, rel=0.12)


@pytest.mark.parametrize("device", PUBLISHED)
@pytest.mark.parametrize("task", TASKS)
def test_energy_of_mlperf_tiny(networks, priced, device, task):
    """Predicted: Cortex-M4 +27, -17, -6, -3 % (its power differs from task to task); Cortex-M7 +5, -6, +6, -4 %."""
    published = PUBLISHED[device][1][TASKS.index(task)] * 1e-6
    predicted = float(priced(device, networks[task], "int8").total)
    assert published / 1.3 <= predicted <= published * 1.3


@pytest.mark.parametrize("device", PUBLISHED)
def test_every_network_is_met_by_a_pace_fitted_on_the_other_three(networks, priced, device):
    """log(pace) is the mean of log(measured / predicted at pace 1); median error 7.8 %, at the most 12.3 %."""
    shipped = nominal(load(device))["core.pace"]
    at_one = np.log([float(priced(device, networks[t], "int8").latency) / shipped for t in TASKS])
    ratio = np.log(np.array(PUBLISHED[device][0]) * 1e-3) - at_one
    assert shipped == pytest.approx(np.exp(ratio.mean()), rel=0.01)
    errors = [abs(np.expm1(np.delete(ratio, i).mean() - ratio[i])) for i in range(len(TASKS))]
    assert np.median(errors) < 0.12
    assert max(errors) < 0.15


@pytest.mark.parametrize(("stack", "ratios"), slower_than_the_vendor().items())
def test_stacks_are_the_published_ratios(stack, ratios):
    """Geometric mean and range on boards of the round."""
    constant = M4.stack[stack].slowdown
    assert constant.value == pytest.approx(np.exp(np.mean(np.log(ratios))), rel=0.02)
    assert (constant.low, constant.high) == pytest.approx((min(ratios), max(ratios)), rel=0.02)


def test_stack_multiplies_time_and_energy_and_must_be_known(tmp_path):
    text = Path(str(locate("stm32l4r5", machines.PACKAGE, "device"))).read_text(encoding="utf-8")
    path = tmp_path / "other.toml"
    path.write_text('runs = "microtvm"\n' + text, encoding="utf-8")
    other, work = load(path), Workload("w", (CONV,))
    vendor = cost(machines.counts(M4, work, "int8", 1), machines.prices(M4, nominal(M4), "chip"))
    spent = cost(machines.counts(other, work, "int8", 1), machines.prices(other, nominal(other), "chip"))
    assert float(spent.latency / vendor.latency) == pytest.approx(2.12, rel=1e-5)
    assert float(spent.total / vendor.total) == pytest.approx(2.12, rel=1e-5)
    path.write_text('runs = "mine"\n' + text, encoding="utf-8")
    with pytest.raises(BadDescription, match="runs: 'mine' is no stack; there are vendor"):
        load(path)


def test_cores_rank_by_clock_over_pace(networks, priced):
    """120 / 1.02, 160 / 0.92, 200 / 0.97 and 280 / 0.595 million cycles of a Cortex-M4 per second."""
    latency = [float(priced(name, networks["ic"], "int8").latency) for name in BOARDS]
    speed = np.array([120 / 1.02, 280 / 0.595, 160 / 0.92, 200 / 0.97])
    assert np.array(latency) * speed == pytest.approx(np.full(4, latency[0] * speed[0]), rel=1e-4)


@pytest.mark.parametrize("name", [*BOARDS, "ndp120"])
def test_latency_is_never_below_the_roofline(networks, priced, name):
    device = board(name)
    for task in TASKS:
        bound = networks[task].macs / mcu.roof(device, "int8")[0]
        assert float(priced(name, networks[task], "int8").latency) >= bound


def test_flash_and_ram_are_limits():
    """ra6m4: 1 MiB of flash, 256 KiB of RAM. 1024 × 1023 + 1023 bytes fit the flash, one output more does not."""
    device = load("ra6m4")
    assert machines.fits(device, Workload("w", (dense("d", 1023, 1024),)), "int8", 1) is None
    with pytest.raises(DoesNotFit, match=r"weights of w need 1,049,600 bytes of flash .* 1,048,576"):
        machines.counts(device, Workload("w", (dense("d", 1024, 1024),)), "int8", 1)
    with pytest.raises(DoesNotFit, match=r"values of w need 262,145 bytes of RAM .* 262,144"):
        machines.counts(device, Workload("w", (elementwise("a", "add", 131073, 131072),)), "int8", 1)


@given(
    enter=st.integers(1, 64), leave=st.integers(1, 64), out=st.integers(1, 20), batch=st.integers(1, 4),
    key=st.sampled_from(["enter", "leave", "out", "batch"]), grown=st.integers(1, 20),
)  # fmt: skip
def test_more_work_is_never_faster_and_energy_is_power_times_time(enter, leave, out, batch, key, grown):
    prices = mcu.prices(M4, nominal(M4), "chip")

    def run(enter: int, leave: int, out: int, batch: int) -> float:
        layer = convolution("c", (enter + 1, leave), (3, 3), (1, 1), (out + 2, out + 2), (out, out))
        spent = cost(mcu.counts(M4, Workload("w", (layer,)), "int8", batch), prices)
        assert float(spent.total) == pytest.approx(float(spent.latency) / batch * 41.6e-3, rel=1e-5)
        return float(spent.latency)

    sizes = {"enter": enter, "leave": leave, "out": out, "batch": batch}
    assert run(**{**sizes, key: sizes[key] + grown}) > run(**sizes)


def test_autoencoder_is_ten_layers(networks):
    """264,192 MACs: 640 × 128 twice, 128 × 128 six times, 128 × 8 twice."""
    sizes = (640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640)
    events = mcu.counts(M4, networks["ad"], "int8", 1).latency
    totals = np.asarray(events.counts).sum(axis=(0, 1))
    assert totals[events.names.index("dense_int8")] == sum(a * b for a, b in pairwise(sizes)) == 264_192
    assert totals[events.names.index("layer")] == 10
