"""Who takes part: simulators, our engines, and what they are held against."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["peer", "ours", "floor"]
LAYERED = ("W1", "W1-float32", "W2", "W2-float32", "W2-average")
DENSE = ("W1", "W1-float32")


@dataclass(frozen=True)
class Entry:
    """A runner: its name, whether a peer, ours or a floor, its environment (None: this one), script and workloads.

    A floor is no simulator: its spikes are not compared where `counts` is False. distribution: what must be installed.
    """

    name: str
    kind: Kind
    group: str | None
    script: str
    workloads: tuple[str, ...]
    distribution: str = ""
    counts: bool = True


ROSTER = (
    Entry("compiled", "ours", None, "runner.py", (*LAYERED, "W3", "W4", "W4-mlp")),
    Entry("compiled_int16", "ours", None, "runner.py", ("W1", "W2")),
    Entry("gemm", "floor", None, "runner.py", LAYERED, counts=False),
    Entry("snntorch", "peer", "torch", "torch_runner.py", LAYERED, "snntorch"),
    Entry("spikingjelly", "peer", "torch", "torch_runner.py", LAYERED, "spikingjelly"),
    Entry("spikingjelly_multi", "peer", "torch", "torch_runner.py", LAYERED, "spikingjelly"),
    Entry("norse", "peer", "torch", "torch_runner.py", LAYERED, "norse"),
    Entry("sinabs", "peer", "torch", "torch_runner.py", LAYERED, "sinabs"),
    Entry("torch_dense", "peer", "torch", "torch_runner.py", LAYERED, "torch"),
    Entry("jax_scan", "peer", "jax", "jax_runner.py", LAYERED, "jax"),
    Entry("spyx", "peer", "jax", "jax_runner.py", LAYERED, "spyx"),
    Entry("brainevent", "peer", "jax", "jax_runner.py", (*DENSE, "W3"), "brainevent"),
    Entry("brian2_standalone", "peer", "brian", "brian2_runner.py", ("W3",), "brian2"),
    Entry("brian2_cython", "peer", "brian", "brian2_runner.py", ("W3",), "brian2"),
    Entry("sanafe_simple", "peer", "sanafe", "sanafe_runner.py", ("W4", "W4-mlp"), "sanafe"),
    Entry("sanafe_detailed", "peer", "sanafe", "sanafe_runner.py", ("W4", "W4-mlp"), "sanafe"),
)


def of(workload: str) -> tuple[Entry, ...]:
    """Who runs `workload`, in the order of a round."""
    return tuple(entry for entry in ROSTER if workload in entry.workloads)
