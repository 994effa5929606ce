"""Energy counters of the machine that the program runs on: RAPL of the processor package, NVML of an NVIDIA GPU.

A sensor is found or there is a sentence why none is: no number is ever made up for a machine without counters.
"""

import ctypes
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeAlias

POWERCAP = Path("/sys/class/powercap")
NVML_PERIOD = 0.1
RAPL_PERIOD = 1e-3
PERIODS = 20
"""An interval shorter than so many updates of a sensor is too short to be read off it."""


@dataclass(frozen=True)
class Sensor:
    """What can be read of one part of the machine.

    domain: what is inside. unit: ``J`` where `read` gives a running total that starts again at zero after `span`
    (inf: never), ``W`` where it gives power, which has to be sampled. resolution: smallest step of a reading. period:
    seconds between two updates. limits: what a reader of the figures has to know.
    """

    name: str
    domain: str
    unit: Literal["J", "W"]
    resolution: float
    period: float
    limits: str
    read: Callable[[], float] = field(repr=False, compare=False)
    span: float = float("inf")


@dataclass(frozen=True)
class Reading:
    """Energy of an interval (J) and its length (s), by `sensor`."""

    joules: float
    seconds: float
    sensor: Sensor

    @property
    def watts(self) -> float:
        """Mean power."""
        return self.joules / self.seconds if self.seconds > 0 else 0.0

    @property
    def fault(self) -> str | None:
        """Why the interval says nothing, if it does."""
        if self.seconds < PERIODS * self.sensor.period:
            least = PERIODS * self.sensor.period
            return f"{self.seconds:.3g} s is too short for {self.sensor.name}; measure for {least:.3g} s or more"
        if self.joules < PERIODS * self.sensor.resolution and self.sensor.unit == "J":
            return f"{self.joules:.3g} J is within the resolution of {self.sensor.name}, {self.sensor.resolution:.3g} J"
        return None


Found: TypeAlias = Sensor | str
"""A sensor, or the reason why there is none."""


class Meter:
    """A running measurement: `reading` is complete once the interval has ended."""

    reading: Reading | None = None


@contextmanager
def metered(sensor: Sensor, clock: Callable[[], float] = time.perf_counter) -> Iterator[Meter]:
    """Energy of what happens inside the ``with`` block; a power sensor is sampled by a thread meanwhile."""
    meter = Meter()
    if sensor.unit == "J":
        first, begin = sensor.read(), clock()
        yield meter
        seconds = clock() - begin
        meter.reading = Reading(advance(first, sensor.read(), sensor.span), seconds, sensor)
        return
    stop, samples = threading.Event(), [(clock(), sensor.read())]

    def sample() -> None:
        while not stop.wait(sensor.period / 2):
            samples.append((clock(), sensor.read()))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield meter
    finally:
        stop.set()
        thread.join()
    samples.append((clock(), sensor.read()))
    meter.reading = Reading(area(samples), samples[-1][0] - samples[0][0], sensor)


def advance(first: float, last: float, span: float) -> float:
    """How far a counter went that starts again at zero after `span`, at most once."""
    return last - first if last >= first else last - first + span


def area(samples: list[tuple[float, float]]) -> float:
    """Energy under (s, W) samples joined by straight lines."""
    return sum((later - sooner) * (a + b) / 2 for (sooner, a), (later, b) in pairwise(samples))


def rest(sensor: Sensor, seconds: float, sleep: Callable[[float], None] = time.sleep) -> Reading:
    """The machine as it idles, for so many seconds; other programs that run meanwhile count as idle."""
    with metered(sensor) as meter:
        sleep(seconds)
    assert meter.reading is not None
    return meter.reading


def rapl(root: Path = POWERCAP) -> Found:
    """The processor packages, and their memory where it is told apart, by the kernel's powercap tree."""
    packages = [
        zone
        for zone in sorted(root.glob("*rapl:*"))
        if _text(zone / "name").startswith(("package", "dram")) and not zone.name.startswith("intel-rapl-mmio")
    ]
    if not packages:
        return f"no RAPL counters under {root}: another processor, a virtual machine or a container"
    blocked = [zone for zone in packages if not _readable(zone / "energy_uj")]
    if blocked:
        return f"{blocked[0] / 'energy_uj'} may be read by root only; run as root or give read permission"
    spans = [1e-6 * float(_text(zone / "max_energy_range_uj") or "inf") for zone in packages]
    kinds = {_text(zone / "name").partition("-")[0] for zone in packages}
    totals = Totals([zone / "energy_uj" for zone in packages], spans)
    return Sensor(
        name="RAPL",
        domain="processor package" + (" and memory" if "dram" in kinds else ", without memory"),
        unit="J",
        resolution=61e-6,
        period=RAPL_PERIOD,
        limits="whole package with all that runs on it; updated about every 1 ms; one overflow a measurement",
        read=totals,
    )


class Totals:
    """Sum of several counters in J, each carried on over its own overflow from one reading to the next."""

    def __init__(self, files: list[Path], spans: list[float]) -> None:
        self.files, self.spans = files, spans
        self.last = [self._joules(file) for file in files]
        self.total = 0.0

    def __call__(self) -> float:
        """J since the first reading."""
        now = [self._joules(file) for file in self.files]
        self.total += sum(map(advance, self.last, now, self.spans))
        self.last = now
        return self.total

    @staticmethod
    def _joules(file: Path) -> float:
        return 1e-6 * float(file.read_text())


def nvml(index: int = 0, library: Any = None) -> Found:
    """NVIDIA GPU number `index` by its driver's library: the energy counter, or power where there is none."""
    try:
        library = library or ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return "no NVIDIA driver library (libnvidia-ml.so.1)"
    if code := library.nvmlInit_v2():
        return f"NVML does not start (error {code})"
    handle = ctypes.c_void_p()
    if code := library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle)):
        return f"NVML knows no GPU number {index} (error {code})"
    energy, power = ctypes.c_ulonglong(), ctypes.c_uint()

    def joules() -> float:
        _checked(library.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(energy)))
        return 1e-3 * energy.value

    def watts() -> float:
        _checked(library.nvmlDeviceGetPowerUsage(handle, ctypes.byref(power)))
        return 1e-3 * power.value

    reason = ""
    limits = "whole board with all that runs on it; updated about every 100 ms, within 5 % or 5 W"
    for name, unit, read in (("NVML energy counter", "J", joules), ("NVML power", "W", watts)):
        try:
            read()
        except OSError as error:
            reason = str(error)
            continue
        return Sensor(name, "GPU board with memory", unit, 1e-3, NVML_PERIOD, limits, read)  # type: ignore[arg-type]
    return f"the GPU gives neither energy nor power ({reason})"


def sensor(platform: str, root: Path = POWERCAP, library: Any = None) -> Found:
    """The sensor of what runs on a platform of JAX, ``cpu`` or ``gpu``."""
    return nvml(library=library) if platform == "gpu" else rapl(root)


def _checked(code: int) -> None:
    if code:
        raise OSError(f"NVML error {code}")


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def _readable(file: Path) -> bool:
    try:
        with file.open() as opened:
            return opened.readline().strip().isdigit()
    except OSError:
        return False
