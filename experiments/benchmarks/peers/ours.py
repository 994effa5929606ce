"""The compiled engine as the benchmark sees it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from experiments.benchmarks.peers.bound import Rates


@runtime_checkable
class Engine(Protocol):
    """One of our engines with one workload, everything compiled, packed and placed beforehand.

    `__call__` runs it once over all steps and samples and returns when that is done; nothing is kept from call to call.
    `counts` gives the spikes [batch, neuron] of every layer, neurons in the order (channel, row, column); for W3 what
    `cuba.checked` gives, for W4 the total of all spikes as [[n]]. `bytes_per_weight` is what a synaptic operation
    reads: the event bound is counted with it. `version` is free text for the record.
    """

    bytes_per_weight: int | float
    version: str

    def __call__(self) -> None: ...

    def counts(self) -> Sequence[np.ndarray]: ...


def prepare(path: Path, threads: int) -> Engine:
    """The compiled engine ready to run the workload file at `path` (see `network.load`, `cuba.load`, `workloads`).

    threads: how many cores it may use. NotImplementedError: the engine is not there yet.
    """
    raise NotImplementedError("the compiled engine is not part of this version")


def rates() -> Rates | None:
    """What this core was measured to do, now, for the event bound; None where that cannot be measured."""
    return None
