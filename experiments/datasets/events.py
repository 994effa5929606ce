"""Data sets of events: what a camera or a touch sensor reports where something changes."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from experiments.datasets.arrays import Arrays, members, mixed, place, ranks, unzipped
from neuro.errors import BadInput

NMNIST = "https://www.garrickorchard.com/datasets/n-mnist"
BRAILLE = "https://zenodo.org/records/7050094"
SIDE = 34
BYTES = 5
LARGEST_RECORDING = 16 * 2**20
CALIBRATION_REPETITIONS = 10


@dataclass(frozen=True, eq=False)
class Events:
    """Events of a camera in order of time: column x, row y, polarity 0 (darker) or 1, time t in microseconds."""

    x: Int64[np.ndarray, "event"]
    y: Int64[np.ndarray, "event"]
    polarity: Int64[np.ndarray, "event"]
    t: Int64[np.ndarray, "event"]


def nmnist(root: Path | None) -> Arrays:
    """Handwritten digits before an event camera: events of each whole recording, [item, polarity, 34, 34].

    From `root`/event/nmnist_9_samples.zip; `recordings` has the events with their times.
    """
    labelled, others = recordings(root)
    if not labelled or not others:
        raise BadInput(f"nmnist: {len(labelled)} recordings DIGIT.bin and {len(others)} others; both kinds are needed.")
    x, calibration = (np.stack([frames(e, 1, None)[0] for e in of]) for of in (list(labelled.values()), others))
    description = (
        f"N-MNIST, {len(x)} recordings, one of a digit, events counted over all of it; calibration: "
        f"{len(others)} other recording(s)"
    )
    return Arrays(x, np.array(list(labelled)), calibration, description)


def recordings(root: Path | None) -> tuple[dict[int, Events], list[Events]]:
    """The recordings of `nmnist` by digit, and those without a label.

    Raises:
        BadInput: no file, or a damaged one.
    """
    path = place(root, "event/nmnist_9_samples.zip", NMNIST)
    labelled: dict[int, Events] = {}
    others: list[Events] = []
    for name, content in sorted(unzipped(path, LARGEST_RECORDING).items()):
        found = atis(content, f"{path}: {name}")
        if re.fullmatch(r"\d\.bin", name):
            labelled[int(name[0])] = found
        else:
            others.append(found)
    return labelled, others


def atis(content: bytes, where: str) -> Events:
    """The events of a recording in N-MNIST's form: 5 bytes each, x, y, then polarity (1 bit) and time (23 bits).

    where: its name, for messages.

    Raises:
        BadInput: empty, cut within an event, or an event beyond the 34x34 pixels.
    """
    if not content or len(content) % BYTES:
        raise BadInput(f"{where}: {len(content):,} bytes; an event takes {BYTES}, and there must be one.")
    x, y, high, middle, low = np.frombuffer(content, np.uint8).reshape(-1, BYTES).T.astype(np.int64)
    outside = np.flatnonzero((x >= SIDE) | (y >= SIDE))
    if len(outside):
        i = outside[0]
        raise BadInput(f"{where}: event {i:,} is at ({x[i]}, {y[i]}); the sensor has {SIDE}x{SIDE} pixels.")
    return Events(x, y, high >> 7, (high & 127) << 16 | middle << 8 | low)


def frames(events: Events, steps: int, width: int | None) -> Int64[np.ndarray, "step polarity row column"]:
    """Events counted in `steps` frames of `width` microseconds from time 0, later ones left out; None: of any width."""
    step = np.zeros_like(events.t) if width is None else events.t // width
    kept = step < steps
    counts = np.zeros((steps, 2, SIDE, SIDE), np.int64)
    np.add.at(counts, (step[kept], events.polarity[kept], events.y[kept], events.x[kept]), 1)
    return counts


def braille(root: Path | None) -> Arrays:
    """Braille letters under a fingertip of 12 taxels: events in 76 steps of 25 ms, [item, step, taxel].

    From `root`/event/braille_letters_tactile.npz. A taxel reports an event whenever its reading of 0..255 has changed
    by one, up or down, as in "sigma-delta" coding of threshold 1.
    """
    path = place(root, "event/braille_letters_tactile.npz", BRAILLE)
    readings, length, y = members(path, {"x": ("n", 77, 12), "length": ("n",), "y": ("n",)})
    x = crossings(readings, length)
    test = ranks(y) >= CALIBRATION_REPETITIONS
    if test.all() or not test.any():
        raise BadInput(f"{path}: each letter needs more than {CALIBRATION_REPETITIONS} repetitions.")
    description = (
        "Braille letters, 27 classes, changes of 12 taxels by one level in steps of 25 ms; calibration: the first "
        f"{CALIBRATION_REPETITIONS} repetitions of each letter"
    )
    order = mixed(y[test])
    return Arrays(x[test][order], y[test][order], x[~test], description)


def crossings(
    readings: UInt8[np.ndarray, "item reading taxel"], length: np.ndarray
) -> Int64[np.ndarray, "item step taxel"]:
    """By how many levels each taxel changed from one reading to the next; 0 beyond an item's `length` of readings."""
    change = np.abs(np.diff(readings.astype(np.int64), axis=1))
    inside = np.arange(change.shape[1]) + 1 < np.asarray(length)[:, None]
    return change * inside[:, :, None]
