"""The microcontroller model against cycles by hand and MLPerf Tiny, and the fit that its constants come from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import least_squares

from baselines import mcu
from baselines.device import Mcu, load, nominal
from baselines.workload import Workload, convolution, dense, elementwise
from neuro.cost import cost

M4 = load("stm32l4r5")
assert isinstance(M4, Mcu)
TASKS = ("ic", "kws", "vww", "ad")
# MLPerf Tiny v1.1, closed division, STMicroelectronics: ms and uJ by task.
PUBLISHED = {
    "stm32l4r5": ((213.9953, 62.8733, 118.6944, 6.8573), (7019.1, 2833.1, 5618.3, 293.9)),
    "stm32h7a3": ((51.9481, 15.3532, 29.6288, 1.8183), (6310.7, 1869.4, 3699.4, 221.2)),
}


@pytest.mark.parametrize(
    ("layer", "kernel"),
    [
        (convolution("c", (8, 8), (3, 3), (1, 1), (6, 6), (4, 4)), "conv"),
        (convolution("c", (8, 8), (1, 1), (1, 1), (4, 4), (4, 4)), "pointwise"),
        (convolution("c", (8, 8), (3, 3), (1, 1), (6, 6), (4, 4), groups=8), "depthwise"),
        (convolution("c", (1, 8), (10, 4), (1, 1), (13, 7), (4, 4)), "depthwise"),
        (dense("d", 8, 8), "dense"),
        (elementwise("p", "pool", 16, 4), "element"),
        (elementwise("a", "add", 16, 8), "element"),
    ],
)
def test_kernel_of_a_layer(layer, kernel):
    assert mcu.kernel(layer) == kernel


def test_cycles_and_energy_by_hand():
    """conv: 16 × 8 × 72 = 9216 MACs, 128 outputs; pool: 128 values; dense: 160 MACs, 5 outputs; three layers."""
    conv = convolution("c", (8, 8), (3, 3), (1, 1), (6, 6), (4, 4))
    work = Workload("w", (conv, elementwise("p", "pool", 128, 32), dense("d", 32, 5)))
    spent = cost(mcu.counts(M4, work, "int8", 1), mcu.prices(M4, nominal(M4), "chip"))
    cycles = 9216 * 2.01 + 128 * 8 + 128 * 3 + 160 * 3.01 + 5 * 8 + 3 * 1000
    assert float(spent.latency) == pytest.approx(cycles / 120e6, rel=1e-5)
    assert float(spent.total) == pytest.approx(cycles / 120e6 * 41.6e-3, rel=1e-5)
    assert list(spent.energy) == ["static"]


@pytest.mark.parametrize("device", PUBLISHED)
@pytest.mark.parametrize("task", TASKS)
def test_latency_of_mlperf_tiny(networks, priced, device, task):
    """Predicted: Cortex-M4 0, -6, +6, -1 %; Cortex-M7 -1, -6, +6, -1 %. In sample: four constants on four rows."""
    published = PUBLISHED[device][0][TASKS.index(task)] * 1e-3
    assert float(priced(device, networks[task], "int8").latency) == pytest.approx(published, rel=0.12)


@pytest.mark.parametrize("device", PUBLISHED)
@pytest.mark.parametrize("task", TASKS)
def test_energy_of_mlperf_tiny(networks, priced, device, task):
    """Predicted: Cortex-M4 +26, -13, -7, -3 % (its power differs from task to task); Cortex-M7 0, -5, +4, 0 %."""
    published = PUBLISHED[device][1][TASKS.index(task)] * 1e-6
    predicted = float(priced(device, networks[task], "int8").total)
    assert published / 1.3 <= predicted <= published * 1.3


@pytest.mark.parametrize(
    ("name", "prior"),
    # Cycles per multiply-accumulate expected of a vendor's library, pointwise, conv, depthwise, dense.
    [("stm32l4r5", (1.5, 2.0, 4.5, 2.5)), ("stm32h7a3", (0.855, 1.14, 2.565, 1.425))],
)
def test_constants_are_those_of_the_fit(networks, name, prior):
    """Least squares of logarithms: 5 % on each of four latencies, 30 % on each of four expectations."""
    device = load(name)
    assert isinstance(device, Mcu)
    kinds = ("pointwise", "conv", "depthwise", "dense")
    rate, core = device.precision["int8"], device.core
    macs, rest, cycles = np.zeros((4, 4)), np.zeros(4), core.clock.value * 1e-3 * np.array(PUBLISHED[name][0])
    for i, task in enumerate(TASKS):
        for layer in networks[task].layers:
            rest[i] += core.layer.value
            if layer.macs:
                macs[i, kinds.index(mcu.kernel(layer))] += layer.macs
                rest[i] += core.output.value * layer.outputs
            else:
                rest[i] += rate.element.value * layer.inputs

    def residuals(logs):
        return np.r_[np.log((macs @ np.exp(logs) + rest) / cycles) / 0.05, (logs - np.log(prior)) / 0.3]

    fitted = np.exp(least_squares(residuals, np.log(prior)).x)
    shipped = [getattr(rate, kind).value for kind in kinds]
    assert shipped == pytest.approx(fitted, rel=0.01)


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
