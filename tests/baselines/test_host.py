"""The description of a CPU from probes: a machine of known constants is found again, and its predictions follow."""

import numpy as np
import pytest

from baselines import cpu, host
from baselines.cpu import Cpu
from baselines.device import nominal
from baselines.host import CONVOLUTIONS, Probes
from baselines.workload import Workload, convolution, dense
from neuro.constants import leaves
from neuro.cost import cost

CALL, KERNEL, RATE, CONVOLVED, PACKING, GRAIN = 2e-5, 3e-6, 8e10, 4e10, 500.0, 2e-4


def convolved(work: float, cores: float) -> float:
    """Seconds of a convolution: alone at a share of the rate, then on as many cores as have `GRAIN` each."""
    alone = work * cores / CONVOLVED
    return float(alone / np.clip(alone / GRAIN, 1.0, cores))


def synthetic(lanes: int, cores: float = 2.0) -> Probes:
    """What a machine with the constants above would take for each probe; small kernels run on one core of `cores`."""
    rows = [
        (b * side**2, np.ceil(out / lanes) * lanes, k * k * c, k) for b, c, out, side, k in CONVOLUTIONS
    ]  # as many vectors as the output channels need
    once = CALL + KERNEL
    return Probes(
        small_1=once,
        small_n=CALL + (1 + host.CHAIN) * KERNEL,
        product=once + host.BIG**3 / RATE,
        vector=once + 4 * host.VECTOR**2 / 2e10,
        convolutions=tuple(float(once + convolved(m * (n * k + runs * PACKING), cores)) for m, n, k, runs in rows),
        depthwise=once + 9 * 32 * 28**2 / 2e9,
        pool=once + 64 * 56**2 / 2e9,
        add=8 * host.COPY / 1e10,
        copy=8 * host.COPY / 4e10,
    )


def test_constants_are_found_again(monkeypatch):
    monkeypatch.setattr(host, "_lanes", lambda: 8)
    monkeypatch.setattr(host, "_clock", lambda: 2e9)
    device = host.describe(synthetic(8), cores=4)
    core, efficiency = device.core, device.efficiency
    assert core.number.value == 2
    assert core.number.value * core.clock.value * device.precision["fp32"].macs.value == pytest.approx(RATE, rel=1e-3)
    assert efficiency.convolution.value == pytest.approx(CONVOLVED / RATE, rel=1e-2)
    assert efficiency.packing.value == pytest.approx(PACKING, rel=2e-2)
    assert core.grain.value == pytest.approx(GRAIN, rel=5e-2)
    # Three probes shorter than a grain ran on one core of the two.
    assert efficiency.depthwise.value == pytest.approx(2e9 / (RATE / 2), rel=1e-3)
    assert efficiency.element.value * 2e9 == pytest.approx(2e9, rel=1e-3)
    assert device.cache.bandwidth.value == pytest.approx(2 * 2e10, rel=1e-3)
    assert device.memory.bandwidth.value * device.memory.efficiency.value == pytest.approx(1e10, rel=1e-3)
    assert device.overhead["compiled"].call.value == pytest.approx(CALL, rel=1e-3)
    assert device.overhead["compiled"].kernel.value == pytest.approx(KERNEL, rel=1e-3)


@pytest.mark.parametrize(("seen", "cores", "number"), [(1.0, 4, 1), (3.0, 4, 3), (16.0, 4, 4), (0.5, 4, 1)])
def test_cores_at_work(seen, cores, number):
    assert host.describe(synthetic(8, seen), cores).core.number.value == number


def test_prediction_is_that_of_the_machine_probed(monkeypatch):
    """A large dense layer and a convolution that no probe had, at the rates that the probes were made with."""
    monkeypatch.setattr(host, "_lanes", lambda: 8)
    device = host.describe(synthetic(8), cores=2)
    work = Workload(
        "w", (dense("d", 1024, 1024, rows=256), convolution("c", (24, 48), (3, 3), (1, 1), (34, 34), (32, 32)))
    )
    found = cost(cpu.counts(device, work, "fp32", 1), cpu.prices(device, nominal(device), "chip"))
    fork = device.overhead["compiled"].fork.value
    by_hand = CALL + 2 * KERNEL + 2 * fork + 256 * 1024**2 / RATE + 1024 * (48 * 216 + 3 * PACKING) / CONVOLVED
    assert float(found.latency) == pytest.approx(by_hand, rel=2e-2)


def test_convolutions_by_hand():
    """1e3 to 1e6 rows of 4 columns, depth 5 and 50, at 2e9 a second and core with 10 lost per run, 2 to a row: 20 and
    110 us for a thousand rows; from 0.8 ms for each a second core takes part, hence half the time from 1.6 ms on."""
    work = [(m, 4.0, k, 2, m * (4.0 * k + 20) / 2e9) for m in (10**3, 10**4, 10**5, 10**6) for k in (5, 50)]
    assert [alone for *_, alone in work[:2]] == pytest.approx([20e-6, 110e-6])
    seconds = [alone / min(max(alone / 8e-4, 1.0), 2.0) for *_, alone in work]
    found = host.convolutions([size[:4] for size in work], seconds, 2)
    assert found == pytest.approx((2e9, 10.0, 8e-4, 2.0), rel=2e-2)


def test_description_is_complete_and_says_what_was_measured():
    device = host.describe(synthetic(8))
    assert isinstance(device, Cpu)
    known = dict(leaves(device))
    assert known["core.number"].basis == "measured"
    assert all(constant.source in device.sources for constant in known.values())
    assert {c.basis for path, c in known.items() if path.startswith("power.")} == {"assumed"}
    assert device.evidence.energy == "undisclosed"


def test_probes_of_noise_still_describe_a_machine():
    """A machine so busy that a chain of kernels seems quicker than one has constants above zero all the same."""
    flat = Probes(**{name: 1e-3 for name in Probes.__annotations__ if name != "convolutions"},
                  convolutions=(1e-3,) * len(CONVOLUTIONS))  # fmt: skip
    assert all(constant.value > 0 for _, constant in leaves(host.describe(flat)))


def test_real_probes():
    found = host.probe(seconds=0.02)
    assert all(np.min(seconds) > 0 for seconds in vars(found).values())
    assert found.small_n > 0
    assert host.describe(found).core.number.value >= 1


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [("model name\t: Some CPU\nflags\t: avx avx2\n", "model name", "Some CPU"), ("a: 1\na: 2\n", "a", "1"),
     ("MemTotal: 8 kB\n", "Mem", "")],
)  # fmt: skip
def test_lines_of_the_system(tmp_path, text, key, value):
    file = tmp_path / "info"
    file.write_text(text)
    assert host._line(file, key) == value
    assert host._line(tmp_path / "none", key) == ""
