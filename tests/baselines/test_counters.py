"""Energy counters on fake trees and a fake driver: sums, overflow, what may not be read, what is too short."""

import ctypes

import pytest

from baselines import counters
from baselines.counters import Reading, Sensor

RANGE = 262_143_328_850


def zone(root, name, label, microjoules, span=RANGE):
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{label}\n")
    (folder / "max_energy_range_uj").write_text(f"{span}\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    return folder / "energy_uj"


def found(sensor) -> Sensor:
    assert isinstance(sensor, Sensor), sensor
    return sensor


def test_packages_and_memory_are_summed(tmp_path):
    """Two packages and one memory, in uJ; cores are part of a package, psys of none."""
    files = [zone(tmp_path, f"intel-rapl:{i}", f"package-{i}", 1_000_000) for i in range(2)]
    memory = zone(tmp_path, "intel-rapl:0:1", "dram", 500_000)
    for name, label in (("intel-rapl:0:0", "core"), ("intel-rapl:2", "psys"), ("intel-rapl-mmio:0", "package-0")):
        zone(tmp_path, name, label, 0)
    sensor = found(counters.rapl(tmp_path))
    assert sensor.domain == "processor package and memory"
    before = sensor.read()
    files[0].write_text("3000000")
    files[1].write_text("1500000")
    memory.write_text("600000")
    assert sensor.read() - before == pytest.approx(2.0 + 0.5 + 0.1)


def test_overflow_of_one_package_of_two(tmp_path):
    """The first counter starts again at zero: 1 J before its end to 2 J past it; the second goes on by 4 J."""
    first = zone(tmp_path, "intel-rapl:0", "package-0", RANGE - 1_000_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 7_000_000)
    sensor = found(counters.rapl(tmp_path))
    assert sensor.domain == "processor package, without memory"
    with counters.metered(sensor) as meter:
        first.write_text("2000000")
        second.write_text("11000000")
    assert meter.reading is not None
    assert meter.reading.joules == pytest.approx(3.0 + 4.0, rel=1e-6)


@pytest.mark.parametrize(("first", "last", "gone"), [(1.0, 4.0, 3.0), (9.0, 2.0, 3.0), (5.0, 5.0, 0.0)])
def test_advance(first, last, gone):
    assert counters.advance(first, last, 10.0) == gone


def test_no_counters(tmp_path):
    assert "no RAPL counters" in str(counters.rapl(tmp_path / "none"))
    zone(tmp_path, "dtpm", "package-0", 1)
    assert "no RAPL counters" in str(counters.rapl(tmp_path))


def test_permission_denied(tmp_path, monkeypatch):
    file = zone(tmp_path, "intel-rapl:0", "package-0", 1)
    opened = type(file).open

    def refuse(self, *arguments, **options):
        if self.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return opened(self, *arguments, **options)

    monkeypatch.setattr(type(file), "open", refuse)
    assert "root only" in str(counters.rapl(tmp_path))


class Driver:
    """A driver library of one GPU; `energy` in mJ or an error code, `power` in mW."""

    def __init__(self, energy=(), power=(), start=0, known=1):
        self.energy, self.power, self.start, self.known = list(energy), list(power), start, known

    def nvmlInit_v2(self):  # noqa: N802
        return self.start

    def nvmlDeviceGetHandleByIndex_v2(self, index, handle):  # noqa: N802
        return 0 if index.value < self.known else 2

    def nvmlDeviceGetTotalEnergyConsumption(self, handle, out):  # noqa: N802
        return self._give(self.energy, out, ctypes.c_ulonglong)

    def nvmlDeviceGetPowerUsage(self, handle, out):  # noqa: N802
        return self._give(self.power, out, ctypes.c_uint)

    @staticmethod
    def _give(values, out, kind):
        if not values:
            return 3
        ctypes.cast(out, ctypes.POINTER(kind))[0] = values.pop(0) if len(values) > 1 else values[0]
        return 0


def test_gpu_energy_counter():
    """The first value is read when the sensor is looked for; 5 J to 12.5 J later."""
    sensor = found(counters.nvml(library=Driver(energy=[1000, 5000, 12500])))
    with counters.metered(sensor) as meter:
        pass
    assert meter.reading is not None
    assert (sensor.unit, meter.reading.joules) == ("J", 7.5)


def test_gpu_power_is_sampled():
    """A constant 200 W over an interval is that power, whatever its length."""
    sensor = found(counters.nvml(library=Driver(power=[200_000])))
    reading = counters.rest(sensor, 0.2)
    assert sensor.unit == "W"
    assert reading.watts == pytest.approx(200.0)
    assert reading.seconds >= 0.2


def test_area_under_samples():
    """1 s from 10 to 20 W, then 2 s from 20 to 0 W: 15 + 20 J."""
    assert counters.area([(0.0, 10.0), (1.0, 20.0), (3.0, 0.0)]) == 35.0


@pytest.mark.parametrize(
    ("driver", "reason"),
    [
        (Driver(start=9), "does not start"),
        (Driver(known=0), "no GPU number 0"),
        (Driver(), "neither energy nor power"),
    ],
)
def test_gpu_without_a_reading(driver, reason):
    assert reason in str(counters.nvml(library=driver))


def test_readings_that_say_nothing():
    sensor = Sensor("fake", "all", "J", resolution=0.5, period=0.01, limits="", read=lambda: 0.0)
    assert Reading(20.0, 1.0, sensor).fault is None
    assert Reading(20.0, 1.0, sensor).watts == 20.0
    assert "too short" in str(Reading(20.0, 0.1, sensor).fault)
    assert "resolution" in str(Reading(2.0, 1.0, sensor).fault)
