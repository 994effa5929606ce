"""A layered network of integrate-and-fire neurons with its input: what a benchmark runs, in one file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Shaped

from neuro.file import replacing

Pool: TypeAlias = Literal["max", "average"]


@dataclass(frozen=True)
class Network:
    """V += I; a spike where V >= threshold; V -= threshold there. V starts at 0; every layer fires, the last one too.

    x [batch, ...]: the input of every step; its current is the same at all times. weights: [out, in], or
    [out, in, 3, 3] with one row of zeros around. thresholds: one a layer. pooled: layers after which 2x2 pooling
    follows, the greatest of four spikes or their mean. grid: everything is a multiple of it, so a simulator that fires
    on V > threshold gives the same spikes if it starts at half of it.
    """

    x: Shaped[np.ndarray, "batch ..."]
    steps: int
    weights: tuple[np.ndarray, ...]
    thresholds: tuple[int | float, ...]
    pooled: tuple[int, ...] = ()
    pool: Pool = "max"
    grid: float = 1.0
    accuracy: float | None = None
    """Of a trained network before it was quantised, on the test set."""


def save(network: Network, path: Path) -> None:
    """One .npz: x, T, pooled, pool, grid, accuracy (NaN for none), and weight{i} and threshold{i} of every layer."""
    arrays = {f"weight{i}": weight for i, weight in enumerate(network.weights)}
    arrays |= {f"threshold{i}": np.asarray(threshold) for i, threshold in enumerate(network.thresholds)}
    accuracy = np.nan if network.accuracy is None else network.accuracy
    write(
        path, x=network.x, T=np.asarray(network.steps), pooled=np.asarray(network.pooled, np.int64),
        pool=np.asarray(network.pool), grid=np.asarray(network.grid), accuracy=np.asarray(accuracy), **arrays,
    )  # fmt: skip


def load(path: Path) -> Network:
    """What `save` wrote."""
    with np.load(path, allow_pickle=False) as found:
        layers = sum(name.startswith("weight") for name in found.files)
        accuracy = float(found["accuracy"])
        return Network(
            found["x"],
            int(found["T"]),
            tuple(found[f"weight{i}"] for i in range(layers)),
            tuple(found[f"threshold{i}"].item() for i in range(layers)),
            tuple(int(i) for i in found["pooled"]),
            "max" if str(found["pool"]) == "max" else "average",
            float(found["grid"]),
            None if np.isnan(accuracy) else accuracy,
        )


def write(path: Path, **arrays: np.ndarray) -> None:
    """`arrays` as .npz, whole or not at all: a run that was stopped leaves no half file behind."""
    with replacing(path) as part, part.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
