"""Our engines and the plain matrix products; run by `protocol` with the interpreter of the project."""

import os
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from experiments.benchmarks.peers import network as files
from experiments.benchmarks.peers import ours, ours_w3, ours_w4, workloads
from experiments.benchmarks.peers.bound import work
from experiments.benchmarks.peers.network import Network

MOST = 4096
"""Rows of one product: enough for the full rate, and what is multiplied stays in the cache."""


def prepare(name: str, path: str) -> tuple:
    """What `protocol` asks of a runner: `compiled`, `jax` or `gemm`."""
    threads = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    if name in ("compiled", "compiled_int16"):
        engine = compiled(Path(path), threads, "int16" if name.endswith("int16") else "int8")
        return engine, engine.counts, engine.version, engine.bytes_per_weight
    network = files.load(Path(path))
    if name == "gemm":
        return products(network, workloads.events(Path(path))), list, f"numpy {np.__version__}", None
    run, counts = scanned(network)
    return run, counts, f"jax {jax.__version__}", None


def compiled(path: Path, threads: int, storage: str) -> ours.Engine:
    """The compiled engine of a workload, which the name of its file tells."""
    kind = path.name.split("-all")[0].split(".")[0]
    if kind in ("W3", "W4"):
        return {"W3": ours_w3, "W4": ours_w4}[kind].prepare(path)
    return ours.prepare(path, threads, storage)


def scanned(network: Network) -> tuple[Callable[[], None], Callable[[], list[np.ndarray]]]:
    """A plain scan over time in float32, channels first; a stand-in until the engine takes these networks."""
    weights = tuple(jnp.asarray(weight, jnp.float32) for weight in network.weights)
    x = jnp.asarray(network.x, jnp.float32)

    def product(h, weight):
        if weight.ndim == 4:
            return lax.conv_general_dilated(h, weight, (1, 1), "SAME")
        return h.reshape(len(h), -1) @ weight.T

    def pool(h):
        fours = h.reshape(*h.shape[:2], h.shape[2] // 2, 2, h.shape[3] // 2, 2)
        return fours.max((3, 5)) if network.pool == "max" else fours.mean((3, 5))

    def step(weights, first, membranes):
        h, after, fired = first, [], []
        for layer, threshold in enumerate(network.thresholds):
            v = membranes[layer] + (first if layer == 0 else product(h, weights[layer]))
            h = (v >= threshold).astype(jnp.float32)
            after.append(v - h * threshold)
            fired.append(h)
            h = pool(h) if layer in network.pooled else h
        return tuple(after), tuple(fired)

    def silent(weights, first):
        h, zeros = first, []
        for layer, weight in enumerate(weights):
            h = first if layer == 0 else product(h, weight)
            zeros.append(jnp.zeros_like(h))
            h = pool(h) if layer in network.pooled else h
        return tuple(zeros)

    def run(x, weights, every):
        first = product(x, weights[0])
        zeros = jax.tree.map(lambda z: jnp.zeros(z.shape), jax.eval_shape(silent, weights, first))

        def add(carry, _):
            membranes, fired = step(weights, first, carry[0])
            kept = fired if every else fired[-1:]
            return (membranes, tuple(t + f for t, f in zip(carry[1], kept, strict=True))), None

        return lax.scan(add, (zeros, zeros if every else zeros[-1:]), None, length=network.steps)[0][1]

    compiled = jax.jit(run, static_argnums=2)

    def once() -> None:
        jax.block_until_ready(compiled(x, weights, False))

    def counts() -> list[np.ndarray]:
        return [np.asarray(total).reshape(len(total), -1) for total in compiled(x, weights, True)]

    return once, counts


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
