"""A network measured on this machine: the command's result, the model's prediction beside it, and an arm to compare.

An arm of this kind is no model: its machine has the measured times and energies as its constants, with the spread of
the runs and the accuracy of the sensor as their ranges.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from baselines import device as conventional
from baselines import host, measure
from baselines.cpu import Cpu
from baselines.from_graph import workload
from baselines.measure import Energy, Measured, Platform
from baselines.workload import compiled
from experiments import networks
from experiments.arm import Arm, Machine
from experiments.progress import Progress, silent
from neuro.constants import Boundary, Description, Joules, Seconds
from neuro.constants import Power as Powers
from neuro.cost import Prices, Scalar, cost
from neuro.counts import Counts
from neuro.counts import Path as Way
from neuro.errors import DoesNotFit, Unsupported
from neuro.graph import Graph
from neuro.units import show

SENSOR_ERROR = 0.05
"""Relative error of an energy counter; NVML states 5 %, RAPL has been found within that."""
REGIMES = ("batch1", "best_batch")


@dataclass(frozen=True)
class Prediction:
    """What the model of this CPU, built from probes, says of a measured network: s and samples per second."""

    latency: float
    throughput: float


@dataclass(frozen=True)
class Result:
    """A network under every runtime that could be measured, and why others were not.

    predicted: the model's figures for the run by JAX on the CPU; None where there was none.
    """

    network: str
    runs: tuple[Measured, ...]
    skipped: tuple[str, ...]
    processor: Cpu | None
    predicted: Prediction | None


def carry_out(
    network: str,
    seconds: float = 10.0,
    platform: Platform | Literal["all"] = "all",
    inputs: np.ndarray | None = None,
    seed: int = 0,
    predict: bool = True,
    progress: Progress = silent,
) -> Result:
    """Measures a bundled network or an ``.onnx`` file, about `seconds` for each runtime.

    inputs: samples to run, else random ones from `seed`. predict: probe the CPU too (about 10 s) and predict.

    Raises:
        NeuroError: a network that cannot be read, no device of that platform, or inputs that do not fit.
    """
    graph = networks.load(network)
    runners, skipped = [], []
    for wanted in ("cpu", "gpu") if platform == "all" else (platform,):
        try:
            runners.append(measure.on_jax(graph, wanted))
        except DoesNotFit as error:
            if platform != "all":
                raise
            skipped.append(str(error))
    if network.endswith(".onnx") and platform != "gpu":
        try:
            runners.append(measure.on_onnxruntime(Path(network), runners[0].shape))
        except DoesNotFit as error:
            skipped.append(str(error))
    runs = []
    for runner in runners:
        done = progress(f"{runner.runtime} on {runner.platform}", 2)
        runs.append(
            measure.measure(graph.name, runner, seconds, inputs, seed, progress=lambda stage, done=done: done(1))
        )
    on_cpu = next((run for run in runs if (run.runner.runtime, run.runner.platform) == ("jax", "cpu")), None)
    if not predict or on_cpu is None:
        return Result(graph.name, tuple(runs), tuple(skipped), None, None)
    progress("probes", 1)
    processor = host.describe(host.probe(), on_cpu.runner.threads)
    try:
        return Result(graph.name, tuple(runs), tuple(skipped), processor, predicted(processor, graph, on_cpu))
    except Unsupported as error:
        return Result(graph.name, tuple(runs), (*skipped, f"no prediction: {error}"), processor, None)


def predicted(processor: Cpu, graph: Graph, run: Measured) -> Prediction:
    """The model's latency of one sample and throughput at the batch that `run` found best.

    Raises:
        Unsupported: a layer without a model.
    """
    work = compiled(workload(graph))
    prices = conventional.prices(processor, conventional.nominal(processor), "chip")
    one, many = (cost(conventional.counts(processor, work, "fp32", batch), prices) for batch in (1, run.offline.batch))
    return Prediction(float(one.latency), 1 / float(many.interval))


class MeasuredMachine(Description):
    """This machine as one network found it. latency: of a single sample; interval: between the samples of the best
    batch; single, offline: energy of a sample of either, less what the machine takes at rest. Without energies it has
    a price at no boundary."""

    power: dict[Boundary, Powers]
    latency: Seconds
    interval: Seconds
    single: Joules | None = None
    offline: Joules | None = None


def arms(run: Measured, accuracy: float | None) -> list[Arm]:
    """The run as arms of a comparison, one for each regime; without counts where its energy was not measurable.

    At rest the machine takes its idle power, while it works also the energy of each sample.
    """
    machine = Machine("measured", machine_of(run), prices)
    single, offline = run.single, run.offline
    speeds = (
        f"a sample takes {show(single.p50, 's')} (99 %: {show(single.p99, 's')})",
        f"{offline.throughput:.4g} samples a second at batch {offline.batch}",
    )
    found = []
    for regime, speed, energy, batch in zip(
        REGIMES, speeds, (run.single_energy, run.offline_energy), (1, offline.batch), strict=True
    ):
        shared = {"machine": machine, "network": "float", "regime": regime, "precision": run.precision}
        if isinstance(run.single_energy, str) or isinstance(energy, str):
            why = f"measured: {speed}; energy: not measurable here ({_reason(run)})"
            found.append(Arm(accuracy=accuracy, reason=why, **shared))
            continue
        found.append(Arm(accuracy=accuracy, counts=_counts(batch), units_used={"devices": 1}, **shared))
    return found


def machine_of(run: Measured) -> MeasuredMachine:
    """The constants of `run`, without energies where one was not measurable."""
    single, offline = run.single_energy, run.offline_energy
    spread = max(run.single.p90 / run.single.p50, 1.0)

    def constant(value: float, unit: str, factor: float) -> dict[str, str]:
        texts = {"value": value, "low": value / factor, "high": value * factor}
        return {key: f"{x:.9g} {unit}" for key, x in texts.items()} | {"source": "run", "basis": "measured"}

    energies: dict[str, Any] = {"power": {}}
    if isinstance(single, Energy) and isinstance(offline, Energy):
        # A constant is above zero; a sample that took no more than the machine at rest is given a trace.
        rest = constant(max(single.idle, 1e-6), "W", 1 + SENSOR_ERROR)
        least = 1e-6 * single.total
        energies = {
            "power": {"chip": {"active": rest, "idle": rest}},
            "single": constant(max(single.dynamic, least), "J", 1 + SENSOR_ERROR),
            "offline": constant(max(offline.dynamic, least), "J", 1 + SENSOR_ERROR),
        }
    return MeasuredMachine.model_validate(
        {
            "name": f"this-{run.runner.platform}-{run.runner.runtime}",
            "title": f"{title(run)}, measured",
            "year": 2026,
            "process": "unknown",
            "deployment": "data centre",
            "evidence": {"energy": "same chip", "latency": "same chip"},
            "sources": {"run": {"title": "Measurement on this machine", "year": 2026}},
            "latency": constant(run.single.p50, "s", spread),
            "interval": constant(1 / run.offline.throughput, "s", spread),
            **energies,
        }
    )


def prices(values: Mapping[str, Scalar], boundary: str) -> Prices:
    """Measured J and s of a sample by regime, and the idle power under both."""
    return Prices(
        {"single": values["single"], "offline": values["offline"]},
        {"single": values["latency"], "offline": values["interval"]},
        values[f"power.{boundary}.active"],
        values[f"power.{boundary}.idle"],
    )


def _counts(batch: int) -> Counts:
    """A batch that takes `batch` times the time and the energy of a sample; one sample has its own."""
    name = "single" if batch == 1 else "offline"
    way = Way((name,), jnp.full((1, 1, 1), batch, jnp.float32))
    return Counts({name: jnp.float32(batch)}, latency=way, interval=way, batch=batch)


def title(run: Measured) -> str:
    """The machine's name."""
    return host.name() if run.runner.platform == "cpu" else run.runner.device


def _reason(run: Measured) -> str:
    return next(e for e in (run.single_energy, run.offline_energy) if isinstance(e, str))
