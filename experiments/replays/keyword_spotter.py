"""The keyword spotter of Blouw et al. (2019), calibration case N-A1, as a spiking network with stand-in inputs.

390 - 256 - 256 - 29, dense, trained with rectifiers; on Loihi the 29 read-outs are off the chip and an inference is 10
steps. Neither the recordings nor the firing rates of the chip were published. What is known is the structure; what
follows from it are bounds. Here the neurons are integrate-and-fire with reset by subtraction, whose rates are those of
the rectifiers up to one spike per step, and the inputs are random: the activity is a plausible one, not the chip's.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from neuro.dynamics import Dynamics
from neuro.errors import BadInput
from neuro.network import Network, Neurons, Projection

STEPS = 10
SIZES = (390, 256, 256)


def network(path: Path, rate: float = 1.0) -> Network:
    """What was on the chip: input neurons, two hidden layers.

    rate: spikes per step at a rectifier's output of one; it scales the biases, thresholds stay one.

    Raises:
        BadInput: a missing file or arrays of other shapes.
    """
    if not path.is_file():
        raise BadInput(f"{path}: no such file; it holds weights of the network of calibration case N-A1.")
    populations, projections = [Neurons("in", (SIZES[0],))], []
    with np.load(path, allow_pickle=False) as file:
        for layer, (before, size) in enumerate(pairwise(SIZES)):
            weight, bias = file[f"w{layer}"], file[f"b{layer}"]
            if weight.shape != (before, size) or bias.shape != (size,):
                raise BadInput(f"{path}: layer {layer} has {weight.shape} weights; it must have {(before, size)}.")
            name, source = f"hidden{layer}", populations[-1].name
            populations.append(Neurons(name, (size,), Dynamics(1.0, bias.astype(np.float64) * rate, reset="soft")))
            pre, post = np.nonzero(weight)
            projections.append(Projection(source, name, pre, post, weight[pre, post].astype(np.float64)))
    return Network("keyword-spotter", tuple(populations), tuple(projections))


def stand_in(values: Float[np.ndarray, "item 390"], rng: np.random.Generator) -> Bool[np.ndarray, "item step 390"]:
    """Input spikes at rates `values` (spikes per step, cut to 0..1), each neuron at a random phase."""
    phase = rng.random((len(values), 1, SIZES[0]))
    sent = np.floor(phase + np.clip(values, 0, 1)[:, None] * np.arange(STEPS + 1)[None, :, None])
    return np.diff(sent, axis=1) > 0
