"""A runner as a process: one JSON object a line in, one a line out. Run as a script, by the Python of any environment.

usage: protocol.py RUNNER.py NAME

RUNNER.py has `prepare(name, path)`, which gives the fields of a `Prepared` as a tuple: it imports nothing from here, as
it may be run where nothing else of this package is. Requests and replies:

{"load": workload.npz, "counts": result.npz}
    {"ready": true, "first_s": s of the first run, "load_s": s, "version": text, "bytes_per_weight": n or null}
{"go": true}
    {"wall": s, "own_clock": the simulator measured that itself, "cpu": s, "peak_mib": MiB}, of one run: the mean of a
    turn, which is as many runs as begin within WARM, not measured, and then as many as begin within TURN
anything that fails
    {"error": text}

Uses nothing but NumPy and the standard library, so that it runs beside any simulator. PEERS_CORES=N keeps the process
on the last N cores where the system can.
"""

import importlib.util
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

WARM, TURN = 0.2, 0.2
"""Seconds of a turn. Batches come one after another, but a process that has waited for its turn comes back cold: the
others have emptied the caches, and its first run can take seven times as long as the second."""


@dataclass(frozen=True)
class Prepared:
    """A network ready to run.

    run: once over all steps, results thrown away; seconds where the simulator keeps the time itself (what it runs is a
    process of its own, say), else None. counts: spikes [batch, neuron] of every layer; it may take longer.
    """

    run: Callable[[], float | None]
    counts: Callable[[], Sequence[np.ndarray]]
    version: str
    bytes_per_weight: int | float | None = None


def cpu() -> float:
    """s of processor time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def peak_mib() -> float:
    """The greatest resident memory of this process so far, MiB.

    Linux counts what the parent held before the process began, except in its own file.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        return next(int(row.split()[1]) for row in status.read_text().splitlines() if row.startswith("VmHWM")) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def replies(
    prepare: Callable[[str, str], tuple], name: str, requests: Iterator[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """The reply to every request; an error is a reply too."""
    prepared: Prepared | None = None
    for request in requests:
        try:
            if "load" in request:
                start = time.perf_counter()
                prepared = Prepared(*prepare(name, request["load"]))
                loaded = time.perf_counter()
                prepared.run()
                first = time.perf_counter()
                found = {f"counts{i}": np.asarray(count) for i, count in enumerate(prepared.counts())}
                np.savez(request["counts"], allow_pickle=False, **found)
                yield {
                    "ready": True, "load_s": loaded - start, "first_s": first - loaded, "version": prepared.version,
                    "bytes_per_weight": prepared.bytes_per_weight,
                }  # fmt: skip
            elif prepared is None:
                yield {"error": "nothing is loaded"}
            else:
                runs(prepared.run, WARM)
                start, used = time.perf_counter(), cpu()
                own = runs(prepared.run, TURN)
                wall, used = (time.perf_counter() - start) / len(own), (cpu() - used) / len(own)
                itself = [seconds for seconds in own if seconds is not None]
                if itself:
                    wall = sum(itself) / len(itself)
                yield {"wall": wall, "own_clock": bool(itself), "cpu": used, "peak_mib": peak_mib()}
        except Exception as error:
            yield {"error": f"{type(error).__name__}: {error}"}


def runs(run: Callable[[], float | None], seconds: float) -> list[float | None]:
    """What the runs give that begin within `seconds`, one at least."""
    start, found = time.perf_counter(), [run()]
    while time.perf_counter() < start + seconds:
        found.append(run())
    return found


def lines(source: TextIO) -> Iterator[dict[str, Any]]:
    """Requests as they come; ends with the stream."""
    for line in source:
        if line.strip():
            yield json.loads(line)


def keep_to(cores: int) -> None:
    """Leaves this process the last `cores` of the cores that it has, where the system lets it choose."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-cores:])


def main(script: str, name: str) -> None:
    """Answers standard input on standard output, which simulators that print cannot reach: they write to the errors."""
    if os.environ.get("PEERS_CORES"):
        keep_to(int(os.environ["PEERS_CORES"]))
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    spec = importlib.util.spec_from_file_location("runner_script", script)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        prepare = module.prepare
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"

        def prepare(name: str, path: str) -> tuple:
            raise ImportError(reason)

    for reply in replies(prepare, name, lines(sys.stdin)):
        print(json.dumps(reply), file=out, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
