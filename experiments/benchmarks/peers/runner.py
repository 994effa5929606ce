"""Our engines and the plain matrix products; run by `protocol` with the interpreter of the project."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from experiments.benchmarks.peers import network as files
from experiments.benchmarks.peers import ours, ours_w3, ours_w4, workloads
from experiments.benchmarks.peers.bound import work
from experiments.benchmarks.peers.network import Network

MOST = 4096
"""Rows of one product: enough for the full rate, and what is multiplied stays in the cache."""


def prepare(name: str, path: str) -> tuple:
    """What `protocol` asks of a runner: `compiled`, `compiled_int16` or `gemm`."""
    threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    if name in ("compiled", "compiled_int16"):
        engine = compiled(Path(path), threads, "int16" if name.endswith("int16") else "int8")
        return engine, engine.counts, engine.version, engine.bytes_per_weight
    network = files.load(Path(path))
    return products(network, workloads.events(Path(path))), list, f"numpy {np.__version__}", None


def compiled(path: Path, threads: int, storage: str) -> ours.Engine:
    """The compiled engine of a workload, which the name of its file tells."""
    kind = path.name.split("-all")[0].split(".")[0]
    if kind in ("W3", "W4"):
        return {"W3": ours_w3, "W4": ours_w4}[kind].prepare(path)
    return ours.prepare(path, threads, storage)


def products(network: Network, events: list[int]) -> Callable[[], None]:
    """The plain products of all layers by NumPy in float32, `MOST` rows at a time, results thrown away.

    As many multiply-adds, in as large matrices, as a dense simulator cannot avoid; nothing is gathered for them.
    """
    rng = np.random.default_rng(0)
    shapes = work(network, events).rows
    most = max(min(rows, MOST) * max(inner, outer) for rows, inner, outer in shapes)
    pool = rng.random(most, np.float32)
    rights = [rng.random((inner, outer), np.float32) for _, inner, outer in shapes]
    out = np.empty(most, np.float32)

    def run() -> None:
        for right, (rows, inner, outer) in zip(rights, shapes, strict=True):
            for start in range(0, rows, MOST):
                n = min(MOST, rows - start)
                np.matmul(pool[: n * inner].reshape(n, inner), right, out=out[: n * outer].reshape(n, outer))

    return run
