"""The CPU that the program runs on, described by probes: a few kernels of known size against the clock.

Each probe is a small function under XLA, never a network that is to be predicted. What the probes give is filled
into the description of a CPU (``baselines.cpu``) so that a prediction can stand beside every measurement.
"""

import itertools
import platform
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import Precision
from scipy.optimize import least_squares

from baselines.cpu import Cpu
from baselines.measure import Job, repeated, threads

CPUINFO = Path("/proc/cpuinfo")
MEMINFO = Path("/proc/meminfo")
CACHE = Path("/sys/devices/system/cpu/cpu0/cache")
SECONDS = 0.3
"""Time for each probe, in `ROUNDS` parts, all probes in turn."""
ROUNDS = 3
QUICK = 0.5
"""Share of the runs that are quicker than the one that counts: what other programs take is no part of the machine."""
CHAIN = 16
BIG, VECTOR, COPY = 768, 768, 1 << 23
# Convolutions, (batch, channels in and out, side, kernel side), that rate, packing and sharing are taken from.
CONVOLUTIONS = (
    (1, 1, 8, 24, 3), (8, 1, 8, 24, 3), (64, 1, 8, 24, 3), (1, 3, 16, 24, 3), (8, 3, 16, 24, 3), (64, 3, 16, 24, 3),
    (1, 8, 8, 24, 3), (4, 8, 8, 24, 3), (64, 8, 8, 24, 3), (4, 8, 32, 16, 5), (64, 8, 32, 16, 5),
    (4, 32, 32, 14, 3), (1, 64, 64, 28, 3), (1, 128, 128, 14, 3),
)  # fmt: skip
FEW = 0.02
"""Weight of the logarithm of the cores beside the errors of a fit."""
DEEP = (1, 32, 28)
POOLED = (1, 64, 56)


@dataclass(frozen=True)
class Probes:
    """Seconds of each probe, its own dispatch included.

    small_1, small_n: 1 and 1 + `CHAIN` tiny convolutions in one call. product: `BIG`³. vector: [1, `VECTOR`] by a
    square. convolutions: `CONVOLUTIONS`. depthwise: `DEEP`. pool: 2×2 over `POOLED`. add, copy: over `COPY` values,
    by the runtime and in memory alone.
    """

    small_1: float
    small_n: float
    product: float
    vector: float
    convolutions: tuple[float, ...]
    depthwise: float
    pool: float
    add: float
    copy: float


def probe(seconds: float = SECONDS) -> Probes:
    """The probes on the CPU, about so many seconds each."""
    rng = np.random.default_rng(0)

    def array(*shape: int) -> jax.Array:
        return jax.device_put(rng.standard_normal(shape).astype(np.float32), jax.devices("cpu")[0])

    jobs: dict[str, Job] = {}

    def add(name: str, function: Callable[..., jax.Array], *arguments: jax.Array) -> None:
        run = jax.jit(function)
        jobs[name] = lambda: run(*arguments).block_until_ready()

    tiny = [array(8, 8, 3, 3) for _ in range(1 + CHAIN)]

    def chain(x, kernels):
        for kernel in kernels:
            x = jnp.maximum(_convolve(x, kernel), jnp.float32(0))
        return x

    def convolution(name: str, batch: int, enter: int, leave: int, side: int, size: int, groups: int = 1) -> None:
        kernel = array(leave, enter // groups, size, size)
        add(name, lambda x: _convolve(x, kernel, groups), array(batch, enter, side, side))

    add("small_1", lambda x: chain(x, tiny[:1]), array(1, 8, 4, 4))
    add("small_n", lambda x: chain(x, tiny), array(1, 8, 4, 4))
    add("product", _multiply, array(BIG, BIG), array(BIG, BIG))
    add("vector", _multiply, array(1, VECTOR), array(VECTOR, VECTOR))
    for i, shape in enumerate(CONVOLUTIONS):
        convolution(f"convolution {i}", *shape)
    convolution("depthwise", DEEP[0], DEEP[1], DEEP[1], DEEP[2], 3, groups=DEEP[1])
    add("pool", _pooled, array(*POOLED, POOLED[2]))
    add("add", lambda x: x + jnp.float32(1), array(COPY))
    source, target = np.ones(COPY, np.float32), np.empty(COPY, np.float32)
    jobs["copy"] = lambda: np.copyto(target, source)
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(ROUNDS):
        for name, job in jobs.items():
            times[name] += repeated(job, seconds / ROUNDS)
    found = {name: float(np.quantile(runs, QUICK)) for name, runs in times.items()}
    convolved = tuple(found.pop(f"convolution {i}") for i in range(len(CONVOLUTIONS)))
    return Probes(convolutions=convolved, **found)


def describe(probes: Probes, cores: int | None = None) -> Cpu:
    """This machine's CPU under XLA, from its probes.

    cores: hardware threads (default those usable); as many are taken as the probes show to be at work. The rate that
    the large product reached is the peak: every other kernel is relative to it. Powers are not probed: they are
    bounds, and no energy rests on them.
    """
    kernel = max((probes.small_n - probes.small_1) / CHAIN, 1e-8)
    call = max(probes.small_1 - kernel, 1e-7)

    def net(seconds: float) -> float:
        return max(seconds - call - kernel, 0.1 * seconds)

    lanes, usable = _lanes(), cores or threads()
    sizes = [(b * side**2, float(np.ceil(out / lanes)) * lanes, k * k * c, k) for b, c, out, side, k in CONVOLUTIONS]
    convolution = convolutions(sizes, [net(seconds) for seconds in probes.convolutions], usable)
    number = int(np.clip(round(convolution.cores), 1, usable))

    def alone(seconds: float) -> float:
        """Time of a probe's work on one core: as the model has it, all take part in what then lasts beyond a grain."""
        return net(seconds) * (number if net(seconds) > convolution.grain else 1)

    rate = BIG**3 / alone(probes.product)
    values = float(prod(POOLED[:2])) * POOLED[2] ** 2
    deep = 9.0 * prod(DEEP[:2]) * DEEP[2] ** 2
    clock = _clock()
    peak = rate / clock

    def stated(value: float, unit: str = "", note: str = "") -> dict[str, str]:
        return {"value": f"{value:.6g} {unit}".strip(), "source": "probes", "basis": "measured", "note": note}

    def guessed(value: float, low: float, high: float, unit: str = "") -> dict[str, str]:
        bounds = {"value": value, "low": low, "high": high}
        return {key: f"{x:g} {unit}".strip() for key, x in bounds.items()} | {"source": "guess", "basis": "assumed"}

    overhead = {
        "call": stated(call, "s", "tiny function, from the call to its result"),
        "kernel": stated(kernel, "s", "one more tiny convolution"),
        "fork": guessed(5e-6, 2e-6, 15e-6, "s"),
    }
    return Cpu.model_validate(
        {
            "name": "this-machine",
            "title": f"{name()}, {number} core(s) at work under XLA",
            "year": 2026,
            "process": "unknown",
            "deployment": "data centre",
            "kind": "cpu",
            "evidence": {"energy": "undisclosed", "latency": "same chip"},
            "sources": {
                "probes": {"title": "Probes of this machine", "year": 2026},
                "guess": {"title": "Not probed: a range that holds most machines", "year": 2026},
            },
            "power": {"chip": {"active": guessed(60.0, 5.0, 300.0, "W"), "idle": guessed(30.0, 1.0, 150.0, "W")}},
            "precision": {"fp32": {"macs": stated(peak, note="by the large product, which is the peak here")}},
            "core": {
                "number": stated(float(number), note="large against small products and convolutions"),
                "clock": stated(clock, "Hz", "as the system gives it"),
                "lanes": stated(float(lanes)),
                "grain": stated(convolution.grain, "s", "small convolutions against large batches of them"),
                "power": guessed(5.0, 0.5, 15.0, "W"),
            },
            "efficiency": {
                "product": stated(1.0),
                "convolution": stated(convolution.rate * convolution.cores / number / rate),
                "winograd": stated(1.0, note="XLA has none"),
                "depthwise": stated(deep / alone(probes.depthwise) / rate),
                "element": stated(values / alone(probes.pool) / clock),
                "packing": stated(convolution.packing),
            },
            "cache": {
                "capacity": stated(_cache_bytes(), "byte"),
                "bandwidth": stated(
                    number * 4 * VECTOR**2 / alone(probes.vector), "byte/s", "weights of a product of one row"
                ),
                "share": guessed(0.6, 0.4, 0.9),
                "energy": guessed(15e-12, 5e-12, 40e-12, "J"),
            },
            "memory": {
                "capacity": stated(_memory_bytes(), "byte"),
                "bandwidth": stated(8 * COPY / probes.copy, "byte/s", "read and written by a copy"),
                "efficiency": stated(min(probes.copy / probes.add, 1.0), note="of an addition, which allocates"),
                "energy": guessed(130e-12, 40e-12, 240e-12, "J"),
            },
            "overhead": {"compiled": overhead, "eager": overhead},
        }
    )


class Convolutions(NamedTuple):
    """rate: multiply-accumulates per second of one core. packing: those lost per run of a patch. grain: s of work for
    which one more core takes part, up to `cores` in effect."""

    rate: float
    packing: float
    grain: float
    cores: float


def convolutions(sizes: list[tuple[int, float, int, int]], seconds: list[float], usable: int) -> Convolutions:
    """What comes nearest to the times of several convolutions on `usable` hardware threads.

    work = rows × (columns × depth + runs × packing) / rate; seconds = work / cores at work, these 1 to `cores` as work
    is to grain; by least squares of the logarithms, with the fewest cores where that decides nothing. sizes: (rows,
    columns, depth, runs) of each.
    """
    rows, columns, depth, runs = np.array(sizes, np.float64).T

    def errors(logs: np.ndarray) -> np.ndarray:
        rate, packing, grain, cores = np.exp(logs)
        work = rows * (columns * depth + runs * packing) / rate
        off = np.log(work / np.clip(work / grain, 1.0, cores) / np.array(seconds))
        return np.append(off, FEW * np.log(cores))

    low, high = (1e6, 1e-2, 1e-6, 1.0), (1e15, 1e6, 1e-3, usable + 1e-6)
    # The kinks of the shared work make valleys: from one packing alone, the deepest is missed on some machines.
    starts = itertools.product([1e10], (1e1, 1e2, 1e3), (1e-5, 1e-4, 9e-4), (1.01, usable**0.5, usable))
    bounds = (np.log(low), np.log(high))
    fits = [
        least_squares(errors, np.log(np.clip(start, *np.exp(bounds))), loss="soft_l1", f_scale=0.3, bounds=bounds)
        for start in starts
    ]
    return Convolutions(*np.exp(min(fits, key=lambda fit: fit.cost).x).tolist())


def _convolve(x, kernel, groups: int = 1):
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), ((1, 1), (1, 1)), feature_group_count=groups, precision=Precision.HIGHEST
    )


def _multiply(x, y):
    return jnp.matmul(x, y, precision=Precision.HIGHEST)


def _pooled(x):
    window = (1, 1, 2, 2)
    return jax.lax.reduce_window(x, np.float32(-np.inf), jax.lax.max, window, window, ((0, 0),) * 4)


def name() -> str:
    """The processor's name as the system gives it."""
    return _line(CPUINFO, "model name") or platform.processor() or platform.machine()


def _clock() -> float:
    """Hz; 1 GHz where the system does not say, which no prediction depends on."""
    return 1e6 * float(_line(CPUINFO, "cpu MHz") or 1000)


def _lanes() -> int:
    """fp32 results of a vector instruction."""
    flags = _line(CPUINFO, "flags").split()
    return 16 if "avx512f" in flags else 8 if "avx" in flags else 4


def _cache_bytes() -> float:
    """Capacity of the last cache level; 8 MiB where the system does not say."""
    sizes = [file.read_text().strip() for file in sorted(CACHE.glob("index*/size"))]
    units = {"K": 1024, "M": 1024**2}
    return max((float(size[:-1]) * units[size[-1]] for size in sizes if size[-1:] in units), default=8.0 * 1024**2)


def _memory_bytes() -> float:
    return 1024 * float((_line(MEMINFO, "MemTotal") or "8388608").split()[0])


def _line(file: Path, key: str) -> str:
    """The value behind the first `key` of a file of "key: value" lines."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), "")
