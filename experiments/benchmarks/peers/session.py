"""A runner's process seen from the benchmark: started, asked, ended."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks.peers import environments
from experiments.benchmarks.peers.roster import Entry
from experiments.benchmarks.peers.workloads import counts

HERE = Path(__file__).parent
POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Session:
    """A runner with its workload loaded. ready: its reply to that. differs: why it gets no ratio, or None."""

    entry: Entry
    process: subprocess.Popen
    ready: dict[str, Any]
    differs: str | None

    def go(self) -> dict[str, Any]:
        """Runs once: `wall` and `cpu` in s, `peak_mib`; or `error`."""
        return ask(self.process, {"go": True})

    def end(self) -> None:
        """Lets the runner go: closes its input, and kills it where that is not enough."""
        assert self.process.stdin
        with suppress(BrokenPipeError):  # it has ended by itself
            self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                stream.close()


@dataclass(frozen=True)
class Absent:
    """A runner that does not take part, and why."""

    entry: Entry
    reason: str


def start(entry: Entry, path: Path, threads: int | None, folder: Path, work: Path) -> Session | Absent:
    """`entry` with the workload at `path` loaded, run once, and its spikes compared.

    threads: 1, or None for all cores. folder: the environments. work: where results and what the runner says are kept.
    """
    interpreter = Path(sys.executable) if entry.group is None else environments.python(folder, entry.group)
    if not interpreter.is_file():
        return Absent(entry, f"no environment {entry.group}: run the benchmark's environments first")
    if entry.group is not None:
        for requirement, reason in environments.failures(folder, entry.group).items():
            if reason is not None and requirement.split("==")[0] == entry.distribution:
                return Absent(entry, reason)
    return launch(
        entry, [str(interpreter), "-P", str(HERE / "protocol.py"), str(HERE / entry.script)], path, threads, work
    )


def launch(entry: Entry, command: list[str], path: Path, threads: int | None, work: Path) -> Session | Absent:
    """As `start`, for the command that runs the runner; its name is added."""
    work.mkdir(parents=True, exist_ok=True)
    result, log = work / f"{entry.name}.npz", work / f"{entry.name}.log"
    with log.open("w") as said:
        process = subprocess.Popen(
            [*command, entry.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True,
            env=environment(threads, ours=entry.group is None),
        )  # fmt: skip
    ready = ask(process, {"load": str(path), "counts": str(result)})
    session = Session(entry, process, ready, None)
    if "error" in ready:
        session.end()
        return Absent(entry, ready["error"].splitlines()[0])
    different = compare(counts(result), counts(path.with_name(f"{path.stem}.counts.npz"))) if entry.counts else None
    return Session(entry, process, ready, different)


def environment(threads: int | None, ours: bool) -> dict[str, str]:
    """Variables of a runner: pools of `threads`, or of all cores; the project's own packages only for ours."""
    cores = threads or os.cpu_count() or 1
    found = os.environ | {name: str(cores) for name in POOLS} | {"JAX_PLATFORMS": "cpu"}
    found.pop("PYTHONPATH", None)
    if threads is not None:
        found["PEERS_CORES"] = str(threads)
        if threads == 1:
            found["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    if ours:
        found["PYTHONPATH"] = str(HERE.parents[2])
    return found


def ask(process: subprocess.Popen, request: dict[str, Any]) -> dict[str, Any]:
    """The reply; an error where the process has ended."""
    assert process.stdin
    assert process.stdout
    try:
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
    except BrokenPipeError:
        line = ""
    return json.loads(line) if line else {"error": f"the process ended with {process.wait()}; see its log"}


def compare(found: list[np.ndarray], expected: list[np.ndarray]) -> str | None:
    """None where all spikes are equal, else where and how far they are not."""
    if len(found) != len(expected):
        return f"{len(found)} layers instead of {len(expected)}"
    for layer, (ours, wanted) in enumerate(zip(found, expected, strict=True)):
        if ours.size != wanted.size:
            return f"layer {layer}: {ours.size} counts instead of {wanted.size}"
        wrong = np.abs(ours.reshape(wanted.shape).astype(np.float64) - wanted)
        if wrong.any():
            return (
                f"layer {layer}: {np.count_nonzero(wrong):,} of {wrong.size:,} counts differ, by up to {wrong.max():g}"
            )
    return None
