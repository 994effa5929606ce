"""What a person or a program sees of a measurement of this machine."""

import json
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from baselines.measure import Energy, Measured
from experiments.measured import Result, title
from experiments.terminal import screen
from neuro.file import replacing
from neuro.units import show


def summary(result: Result) -> dict[str, Any]:
    """The result as JSON-ready data; SI units, energies per sample."""
    return {
        "network": result.network,
        "runs": [_run(run) for run in result.runs],
        "skipped": list(result.skipped),
        "prediction": None if result.predicted is None else _prediction(result),
    }


def _run(run: Measured) -> dict[str, Any]:
    runner, single, offline = run.runner, run.single, run.offline
    return {
        "runtime": runner.runtime,
        "version": runner.version,
        "platform": runner.platform,
        "machine": title(run),
        "threads": runner.threads,
        "threads_limited_by": runner.threads_note,
        "precision": run.precision,
        "seed": run.seed,
        "single_stream": {
            "p50_s": single.p50, "p90_s": single.p90, "p99_s": single.p99, "mean_s": single.mean, "runs": single.runs,
            "energy": _energy(run.single_energy),
        },
        "offline": {
            "throughput_hz": offline.throughput, "batch": offline.batch, "stopped_by": offline.stopped,
            "tried": [{"batch": batch, "throughput_hz": rate} for batch, rate in offline.tried],
            "energy": _energy(run.offline_energy),
        },
    }  # fmt: skip


def _energy(energy: Energy | str) -> dict[str, Any]:
    if isinstance(energy, str):
        return {"joules": None, "reason": energy}
    return {
        "joules": energy.total, "dynamic_joules": energy.dynamic, "idle_w": energy.idle, "seconds": energy.seconds,
        "sensor": energy.sensor.name, "domain": energy.sensor.domain, "limits": energy.sensor.limits,
    }  # fmt: skip


def _prediction(result: Result) -> dict[str, Any]:
    assert result.predicted is not None
    run = next(r for r in result.runs if (r.runner.runtime, r.runner.platform) == ("jax", "cpu"))
    found = result.predicted
    return {
        "latency_s": found.latency,
        "throughput_hz": found.throughput,
        "latency_error": found.latency / run.single.p50 - 1,
        "throughput_error": found.throughput / run.offline.throughput - 1,
    }


def print_result(result: Result) -> None:
    """Prints the runs, their energy or why there is none, and the model's prediction with its error."""
    out = screen()
    table = Table("runtime", "machine", "threads", "p50", "p90", "p99", "runs", "best batch", "samples/s")
    for run in result.runs:
        runner, single = run.runner, run.single
        times = (show(t, "s") for t in (single.p50, single.p90, single.p99))
        table.add_row(
            f"{runner.runtime} {runner.version}", title(run), str(runner.threads), *times, f"{single.runs:,}",
            str(run.offline.batch), f"{run.offline.throughput:,.4g}",
        )  # fmt: skip
    heading = ", measured in fp32; single-stream latency, offline throughput"
    out.print(Text.assemble((result.network, "bold"), heading))
    out.print(table)
    for run in result.runs:
        name = f"{run.runner.runtime} on {run.runner.platform}"
        texts = [_energy_text(run.single_energy), _energy_text(run.offline_energy)]
        for regime, text in zip(("single-stream", "offline"), texts, strict=True):
            if text not in texts[: regime == "offline"]:
                out.print(f"  {name}, {regime}: {text}" if texts[0] != texts[1] else f"  {name}: {text}")
        out.print(f"  {name}: threads: {run.runner.threads_note}; batches ended by {run.offline.stopped}", style="dim")
    for reason in result.skipped:
        out.print(f"  not measured: {reason}", style="dim")
    if result.predicted is not None:
        row = _prediction(result)
        out.print(
            f"model of this CPU from probes: {show(row['latency_s'], 's')} a sample ({row['latency_error']:+.0%}), "
            f"{row['throughput_hz']:,.4g} samples/s ({row['throughput_error']:+.0%})"
        )


def _energy_text(energy: Energy | str) -> str:
    if isinstance(energy, str):
        return f"energy: not measurable here ({energy})"
    return (
        f"{show(energy.total, 'J')} a sample, {show(energy.dynamic, 'J')} above {show(energy.idle, 'W')} at rest "
        f"({energy.sensor.name}: {energy.sensor.domain}; {energy.sensor.limits})"
    )


def store(result: Result, path: Path) -> None:
    """Writes the summary to `path`, whole or not at all. Raises BadInput: it cannot be written."""
    with replacing(path) as part:
        part.write_text(json.dumps(summary(result), indent=1), encoding="utf-8")
