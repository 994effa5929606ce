"""What a run waits for, by cause, and the word for it."""

from collections.abc import Mapping

import numpy as np

from neuro.counts import Path

CAUSES: dict[str, tuple[str, ...]] = {
    "neuron sweep": ("neuron_access", "neuron_update", "neuron_program"),
    "synapses": ("axon_in", "synop_dense", "synop_sparse", "synop_conv", "synop_graded", "mac"),
    "sending": ("spike", "axon_out"),
    "links": ("link",),
    "barrier": ("barrier", "barrier_level", "barrier_chip"),
    "tick": ("tick",),
    "layers": ("layer",),
    "host": ("host_write", "host_read", "reset", "management"),
}
"""Timed events by what they are part of."""


def causes(path: Path, time: Mapping[str, float]) -> dict[str, float]:
    """Seconds of a path by cause, averaged over its items; they add up to its duration. time: s per event."""
    price = np.array([float(time[name]) for name in path.names])
    seconds = np.asarray(path.counts, np.float64) * price
    slowest = seconds.sum(axis=-1).argmax(axis=-1)  # the resource that each stage waits for
    waited = np.take_along_axis(seconds, slowest[..., None, None], axis=-2)[..., 0, :].sum(axis=-2)
    mean = waited.reshape(-1, len(path.names)).mean(axis=0)
    found = {cause: sum(mean[i] for i, n in enumerate(path.names) if n in events) for cause, events in CAUSES.items()}
    return {cause: float(t) for cause, t in found.items() if t > 0}


def bound(path: Path, time: Mapping[str, float]) -> str:
    """The cause that takes the longest, as in ``bound by the neuron sweep (61 % of the time)``.

    Where the host takes longer than everything on the cores the run is *I/O-bound*.
    """
    found = causes(path, time)
    total = sum(found.values())
    if found.get("host", 0.0) > total / 2:
        return f"I/O-bound: the host takes {found['host'] / total:.0%} of the time"
    worst = max(found, key=lambda cause: found[cause])
    return f"bound by the {worst} ({found[worst] / total:.0%} of the time)"
