"""Running a network on this machine against the clock: one sample at a time, and in batches of growing size.

Single-stream: batch 1, each run timed on its own. Offline: the batch of highest throughput. Inputs are prepared
before; on a GPU their way there and the result's way back are inside. Nothing is written, so that an interrupted
measurement leaves nothing behind.
"""

import importlib.metadata
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice
from math import prod
from pathlib import Path
from typing import Literal, TypeAlias

import jax
import numpy as np
from jaxtyping import Float

from baselines import counters
from baselines.counters import Found, Reading, Sensor
from neuro.errors import BadInput, DoesNotFit
from neuro.evaluate import evaluator
from neuro.graph import Graph

Runtime: TypeAlias = Literal["jax", "onnxruntime"]
Platform: TypeAlias = Literal["cpu", "gpu"]
Job: TypeAlias = Callable[[], object]

WARM_UP = 3
LEAST_RUNS = 5
MOST_RUNS = 100_000
STEP = 4
"""Factor from one batch size to the next."""
LARGEST_BATCH = 4096
MEMORY = 1 << 30
"""Bytes that the values of a batch may take, all layers counted."""


@dataclass(frozen=True)
class Runner:
    """A network ready to run. prepare: from a batch of samples to a job that runs it and waits for the result.

    shape: of a sample. largest: batch that it takes. threads: of the runtime, and how they are limited.
    """

    runtime: Runtime
    version: str
    platform: Platform
    device: str
    shape: tuple[int, ...]
    prepare: Callable[[np.ndarray], Job]
    largest: int
    threads: int
    threads_note: str


@dataclass(frozen=True)
class Latency:
    """Seconds of single samples: percentiles, mean and number of runs."""

    p50: float
    p90: float
    p99: float
    mean: float
    runs: int


@dataclass(frozen=True)
class Energy:
    """J per sample. total: with everything that the sensor sees; dynamic: less `idle` (W), measured at rest before."""

    total: float
    dynamic: float
    idle: float
    seconds: float
    sensor: Sensor


@dataclass(frozen=True)
class Offline:
    """Highest throughput (samples per second), its batch, and all (batch, samples per second) that were tried."""

    throughput: float
    batch: int
    tried: tuple[tuple[int, float], ...]
    stopped: str


@dataclass(frozen=True)
class Measured:
    """A network on this machine; an energy is a sentence where it is not measurable."""

    network: str
    runner: Runner
    seed: int | None
    single: Latency
    offline: Offline
    single_energy: Energy | str
    offline_energy: Energy | str

    @property
    def precision(self) -> str:
        """Networks run as they were trained."""
        return "fp32"


def measure(
    network: str,
    runner: Runner,
    seconds: float = 10.0,
    samples: Float[np.ndarray, "sample ..."] | None = None,
    seed: int = 0,
    sensor: Found | None = None,
    progress: Callable[[str], None] = lambda stage: None,
) -> Measured:
    """Times `runner` for about so many seconds, half single-stream and half offline; compilation comes on top.

    samples: inputs, taken in turn; default standard-normal ones from `seed`. sensor: default the machine's own.

    Raises:
        BadInput: no time, or samples of another shape.
    """
    if not 0 < seconds < float("inf"):
        raise BadInput(f"--seconds {seconds:g} must be above zero and finite.")
    if samples is not None and (not len(samples) or samples.shape[1:] != runner.shape):
        raise BadInput(
            f"samples of shape {samples.shape}; {network} takes [sample, {', '.join(map(str, runner.shape))}]."
        )
    sensor = counters.sensor(runner.platform) if sensor is None else sensor
    if seed < 0:
        raise BadInput(f"a seed of {seed}; give 0 or more.")
    source = _random(runner.shape, seed) if samples is None else samples
    resting: Reading | str = sensor if isinstance(sensor, str) else counters.rest(sensor, min(2.0, seconds / 5))
    progress("one sample at a time")
    single, single_energy = _single(runner, source, seconds / 2, resting)
    progress("batches")
    offline, offline_energy = _offline(runner, source, seconds / 2, single, resting)
    return Measured(network, runner, seed if samples is None else None, single, offline, single_energy, offline_energy)


def latency(times: list[float]) -> Latency:
    """Percentiles of `times` (s), interpolated linearly between neighbours."""
    p50, p90, p99 = np.percentile(times, [50, 90, 99]).tolist()
    return Latency(p50, p90, p99, float(np.mean(times)), len(times))


def repeated(job: Job, seconds: float, least: int = LEAST_RUNS) -> list[float]:
    """Seconds of each run of `job`, run again and again for so long, after a warm-up."""
    for _ in range(WARM_UP):
        job()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < least or (time.perf_counter() < end and len(times) < MOST_RUNS):
        begin = time.perf_counter()
        job()
        times.append(time.perf_counter() - begin)
    return times


def _single(runner: Runner, source: np.ndarray, seconds: float, resting: Reading | str) -> tuple[Latency, Energy | str]:
    jobs = cycle([runner.prepare(sample[None]) for sample in source[:16]])
    times, energy = _metered(lambda: repeated(lambda: next(jobs)(), seconds), 1, resting)
    return latency(times), energy


def _offline(
    runner: Runner, source: np.ndarray, seconds: float, single: Latency, resting: Reading | str
) -> tuple[Offline, Energy | str]:
    """Batch after batch, four times the last, until memory, time or a falling throughput stops it; the best again."""
    tried: list[tuple[int, float]] = []
    batch, per_sample, stopped = 1, single.p50, ""
    left = seconds
    while not stopped:
        run = float(np.median(repeated(_job(runner, source, batch), min(left / 4, 0.5), 3)))
        tried.append((batch, batch / run))
        per_sample, left = run / batch, left - max(min(left / 4, 0.5), 3 * run)
        best = max(rate for _, rate in tried)
        batch *= STEP
        if batch > runner.largest:
            stopped = f"batches of at most {runner.largest}"
        elif (3 + WARM_UP) * batch * per_sample > left / 2:
            stopped = "time"
        elif len(tried) > 2 and max(rate for _, rate in tried[-2:]) < 0.9 * best:
            stopped = "falling throughput"
    best_batch = max(tried, key=lambda pair: pair[1])[0]
    job = _job(runner, source, best_batch)
    times, energy = _metered(lambda: repeated(job, max(left, seconds / 4), 3), best_batch, resting)
    return Offline(best_batch / float(np.median(times)), best_batch, tuple(tried), stopped), energy


def _metered(run: Callable[[], list[float]], batch: int, resting: Reading | str) -> tuple[list[float], Energy | str]:
    """Times of `run` and the energy of each of its samples."""
    if isinstance(resting, str):
        return run(), resting
    with counters.metered(resting.sensor) as meter:
        times = run()
    reading = meter.reading
    assert reading is not None
    if fault := resting.fault or reading.fault:
        return times, fault
    samples = batch * (len(times) + WARM_UP)
    dynamic = (reading.watts - resting.watts) * reading.seconds
    return times, Energy(reading.joules / samples, dynamic / samples, resting.watts, reading.seconds, reading.sensor)


def _job(runner: Runner, source: np.ndarray, batch: int) -> Job:
    return runner.prepare(np.stack(list(islice(cycle(source), batch))))


def _random(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((16, *shape)).astype(np.float32)


def on_jax(graph: Graph, platform: Platform = "cpu") -> Runner:
    """`graph` compiled by XLA, in float32 without shortcuts.

    Raises:
        DoesNotFit: JAX finds no such device.
    """
    try:
        device = jax.devices(platform)[0]
    except RuntimeError:
        raise DoesNotFit(f"JAX finds no {platform} here; install its {platform} support, or measure the cpu.") from None
    run = evaluator(graph, (graph.output.name,))

    def prepare(x: np.ndarray) -> Job:
        # On a CPU the input lies where the network runs; a GPU is handed it by the host, and hands the result back.
        if platform == "cpu":
            placed = jax.device_put(x, device)
            return lambda: jax.block_until_ready(run(placed))
        return lambda: jax.device_get(run(jax.device_put(x, device)))

    values = 4 * sum(prod(shape) for shape in graph.shapes.values())
    largest = max(1, min(LARGEST_BATCH, MEMORY // values))
    shape = tuple(graph.shapes[graph.input.name])
    note = "processors on which the process may run; fewer by taskset or a container's limit"
    return Runner("jax", jax.__version__, platform, device.device_kind, shape, prepare, largest, threads(), note)


def on_onnxruntime(path: Path, shape: tuple[int, ...]) -> Runner:
    """The network in an ``.onnx`` file, whose samples have `shape`, by ONNX Runtime on the CPU.

    Raises:
        DoesNotFit: it is not installed, or cannot run the file.
    """
    try:
        import onnxruntime
    except ImportError:
        raise DoesNotFit("ONNX Runtime is not installed; pip install onnxruntime.") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own exceptions share no base class
        raise DoesNotFit(f"{path}: ONNX Runtime cannot run it: {str(error).splitlines()[0]}") from None
    entry = session.get_inputs()[0]
    first, *rest = (size if isinstance(size, int) else None for size in entry.shape)
    inner = [size or own for size, own in zip(rest, shape, strict=False)] if len(rest) == len(shape) else rest
    if first not in (None, 1) or prod(size or 1 for size in inner) != prod(shape):
        raise DoesNotFit(f"{path}: takes {entry.shape}, not single samples of {shape}; export it with a batch of 1.")

    def prepare(x: np.ndarray) -> Job:
        feed = {entry.name: np.ascontiguousarray(x, np.float32).reshape([len(x), *(size or 1 for size in inner)])}
        return lambda: session.run(None, feed)

    largest = 1 if first else LARGEST_BATCH
    version = importlib.metadata.version("onnxruntime")
    return Runner(
        "onnxruntime", version, "cpu", "CPU", shape, prepare, largest, threads(), "its option intra_op_num_threads"
    )


def threads() -> int:
    """Hardware threads on which the process may run."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
