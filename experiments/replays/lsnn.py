"""The long short-term memory spiking network for sequential MNIST that was measured on Loihi (calibration case N-A5).

80 input lines, 140 plain and 100 adaptive neurons, recurrent, 10 read-out neurons that never fire; an image is read
pixel by pixel in 784 steps, then a cue of 56 steps asks for the answer. The arithmetic is Loihi's: integers, membrane
decay 204 / 4096, weights times 2^6, thresholds times 2^6. Source: intel-nrc-ecosystem/models, modules `lsnn`.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int, UInt8

from experiments.datasets.arrays import idx
from neuro.dynamics import Dynamics
from neuro.errors import BadInput
from neuro.network import Network, Neurons, Projection
from neuro.trace import Trace

PIXELS, CUE = 784, 56
STEPS = PIXELS + CUE
LINES, PLAIN, ADAPTIVE, CLASSES = 80, 140, 100, 10
UNIT = 2**6  # of weights and thresholds
FINE = 2**2  # more of both in adaptive neurons, so that their adaptation is less coarse
THRESHOLD = 127
KEPT = 4096 - 4096 // 20  # of 4096 per step, for a time constant of 20 steps
ADAPTATION_KEPT = 4096 - 4096 // 700
ADAPTATION = int(1_390_000 * (1 / (700 * 20) - 1 / 700**2))  # beta spread over the time constants: 96
LARGEST = 2**23 - 1
MEASURED = 200  # images of the measured run


def network(folder: Path, distributed: bool = True) -> Network:
    """The network with the weights in `folder` (w_in.npy, w_rec.npy, w_out.npy).

    distributed: with the 80 relay neurons, one per line, on a core of their own, that stood between the embedded
    processor and the network when it was measured; a spike takes one step more.

    An adaptive neuron is two compartments: the second one receives -96 x 4 with each spike, decays by 5 / 4096 and is
    added to the membrane of the first one in every step.

    Raises:
        BadInput: a file that is missing or of another shape.
    """
    recurrent = PLAIN + ADAPTIVE
    incoming, inside, outgoing = (
        _weights(folder / f"w_{name}.npy", shape)
        for name, shape in (("in", (LINES, recurrent)), ("rec", (recurrent, recurrent)), ("out", (recurrent, CLASSES)))
    )
    plain = _loihi(THRESHOLD * UNIT)
    adaptive = _loihi(
        THRESHOLD * UNIT * FINE,
        adaptation=ADAPTATION * FINE,
        adaptation_decay=ADAPTATION_KEPT / 4096,
        adapts="current",
    )
    populations = [
        Neurons("plain", (PLAIN,), plain),
        Neurons("adaptive", (ADAPTIVE,), adaptive),
        Neurons("out", (CLASSES,), _loihi(float("inf"))),
    ]
    sources = {
        "in": incoming,
        "plain": np.hstack([inside[:PLAIN], outgoing[:PLAIN]]),
        "adaptive": np.hstack([inside[PLAIN:], outgoing[PLAIN:]]),
    }
    projections = []
    for source, weights in sources.items():
        parts = np.split(weights, [PLAIN, recurrent], axis=1)
        for target, part in zip(("plain", "adaptive", "out"), parts, strict=True):
            if part.any():
                scale = UNIT * FINE if target == "adaptive" else UNIT
                origin = "relay" if distributed and source == "in" else source
                projections.append(_dense(origin, target, part * scale))
    if distributed:
        populations.insert(0, Neurons("relay", (LINES,), Dynamics(100 * UNIT, decay=0.0, strict=True)))
        projections.insert(0, _dense("in", "relay", 200 * UNIT * np.eye(LINES, dtype=np.int64)))
    return Network("lsnn-smnist", (Neurons("in", (LINES,)), *populations), tuple(projections))


def encode(images: UInt8[np.ndarray, "image 28 28"]) -> Bool[np.ndarray, "image step line"]:
    """Input spikes: line 2k when the next pixel crosses threshold k upwards, 2k + 1 downwards (k = 1..38).

    Line 78 tells a pixel at its largest, line 79 the cue.
    """
    pixels = images.reshape(len(images), PIXELS).astype(np.int64)
    levels = np.floor(np.linspace(0, 255, LINES // 2)).astype(np.int64)
    above = pixels[:, :, None] >= levels[1:-1]
    spikes = np.zeros((len(images), STEPS, LINES), bool)
    spikes[:, : PIXELS - 1, 2:-2:2] = ~above[:, :-1] & above[:, 1:]
    spikes[:, : PIXELS - 1, 3:-2:2] = above[:, :-1] & ~above[:, 1:]
    spikes[:, :PIXELS, -2] = pixels == levels[-1]
    spikes[:, PIXELS:, -1] = True
    return spikes


def decisions(trace: Trace) -> Int[np.ndarray, "image"]:
    """The read-out neuron of the largest membrane after the last step, the first among equals."""
    return trace.membranes["out"].argmax(axis=-1)


def measured_items(root: Path) -> tuple[UInt8[np.ndarray, "image 28 28"], UInt8[np.ndarray, "image"]]:
    """Images and labels of the measured run: 200 of the MNIST test set, drawn with NumPy's seed 0, in its order."""
    folder = root / "image" / "mnist"
    images, labels = (idx(folder / f"t10k-{name}-ubyte.gz") for name in ("images-idx3", "labels-idx1"))
    chosen = np.random.RandomState(0).choice(len(images), MEASURED, replace=False)
    return images[chosen], labels[chosen]


def _loihi(threshold: int | float, **adaptation) -> Dynamics:
    return Dynamics(threshold, decay=KEPT / 4096, strict=True, quantum=1.0, saturation=LARGEST, **adaptation)


def _dense(source: str, target: str, weights: np.ndarray) -> Projection:
    """The non-zero weights [pre, post] as synapses."""
    pre, post = np.nonzero(weights)
    return Projection(source, target, pre, post, weights[pre, post])


def _weights(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """Whole weights [pre, post] as int64."""
    if not path.is_file():
        raise BadInput(f"{path}: no such file; it holds weights of the network of calibration case N-A5.")
    weights = np.load(path, allow_pickle=False)
    if weights.shape != shape:
        raise BadInput(f"{path} holds an array of {weights.shape}; it must be {shape}.")
    return weights.astype(np.int64)
