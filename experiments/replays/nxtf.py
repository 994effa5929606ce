"""The convolutional network for MNIST that was measured on Loihi, compiled by NxTF (calibration case N-A3).

28 x 28 pixels drive 784 neurons; three convolutions of 16, 32 and 64 channels follow, then ten neurons that only
integrate. Every image runs for 512 steps. The network is quantised by the published recipe, simulated step by step, cut
by the mapper as any other network, and its step times are counted and priced with the chip's constants; nothing in it
is fitted. Source: intel-nrc-ecosystem/models, module `dnn`, and doi 10.1145/3501770.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TypeAlias

import h5py
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from experiments.datasets.arrays import idx
from experiments.progress import Progress, silent
from neuro.blocks import Parts, core_of, parts
from neuro.capability import Realisation
from neuro.chip import Chip, load
from neuro.count import MOST_LEVELS, count
from neuro.counts import Counts
from neuro.demand import Demand, allowed
from neuro.dynamics import Dynamics, advance, initial
from neuro.errors import BadInput
from neuro.graph import Graph, Node
from neuro.layers import Conv, Input, Threshold
from neuro.partition import partition
from neuro.placement import assemble
from neuro.schedule import Schedule, Window
from neuro.wiring import Wiring, of_graph

FILE = Path("models") / "keras" / "nxtf_mnist_cnn.h5"
STEPS, THRESHOLD, LARGEST_WEIGHT = 512, 512, 255
STRIDES = (2, 1, 2, 1)
NAMES = ("input", "conv1", "conv2", "conv3", "conv4")
MEASURED = 128  # images of the measured run, the first of the test set
SAVED = 8  # images of which the notebook shows the times
CHUNK = 16  # images simulated together: 60 MB of spikes
READ_OUT = Dynamics(float("inf"), decay=3840 / 4096, quantum=1 / 64, saturation=2**17 - 1)
"""The read-out does not fire; it loses 256 / 4096 of its membrane in every step and saturates at 17 bits."""
PRICED = ("neuron_access", "neuron_update", "spike", "axon_out", "axon_in", "synop_sparse")
UNPACED = ("host_write", "host_read", "reset", "management")
"""What the published time of a step leaves out."""


Spikes: TypeAlias = dict[str, Bool[jax.Array, "step image _ _ _"]]


@dataclass(frozen=True)
class Replay:
    """What the models say of the measured run.

    step_time [image]: mean seconds of a step. waited [image]: by event, how often it happens in a step on the core that
    the others wait for, on average over the steps. decided, labels [image]: classes. activity: mean spikes per step by
    layer; synops: mean synaptic operations per step. parts: how each layer was cut; cores, neurons: in all. others:
    mean seconds of a step under all admissible partitions, see `others`; of the first images, in proportion.
    """

    step_time: Float[np.ndarray, "image"]
    waited: dict[str, Float[np.ndarray, "image"]]
    decided: Int[np.ndarray, "image"]
    labels: UInt8[np.ndarray, "image"]
    activity: dict[str, float]
    synops: float
    parts: dict[str, Parts]
    cores: int
    neurons: int
    others: Float[np.ndarray, "partition"]

    @property
    def correct(self) -> int:
        """Images decided as labelled."""
        return int((self.decided == self.labels).sum())


@dataclass(frozen=True, eq=False)
class Quantised:
    """Whole weights [out, in, row, column] and biases [out] of every convolution, -255..255."""

    weights: tuple[Int[np.ndarray, "_ _ _ _"], ...]
    biases: tuple[Int[np.ndarray, "_"], ...]


def replay(folder: Path, images: int = MEASURED, progress: Progress = silent) -> Replay:
    """The first `images` of the measured run on Loihi 1; `folder` holds the trained network and MNIST.

    Raises:
        BadInput: a file that is missing or of another shape. DoesNotFit: never on the bundled chip.
    """
    network = quantised(folder / FILE)
    mnist = folder / "image" / "mnist"
    pictures, labels = (idx(mnist / f"t10k-{name}-ubyte.gz")[:images] for name in ("images-idx3", "labels-idx1"))
    chip, way = load("loihi1"), Realisation("native")
    wiring = of_graph(graph(network), chip, way)
    cuts = partition(wiring, chip, way)
    placement = assemble(wiring, chip, way, cuts, [])
    simulate = simulator(network)
    advanced = progress("images", images)
    names: tuple[str, ...] = ()
    times, waits, met, decided, spoken, shown = [], [], [], [], [], {}
    for start in range(0, images, CHUNK):
        spikes = simulate(pictures[start : start + CHUNK])
        decided.append(decisions(network, np.asarray(spikes["conv3"])))
        counts = count(placement, spikes)["single"]
        names = counts.latency.names
        times.append(step_times(counts, chip))
        met.append(np.asarray(counts.events["synop_sparse"], np.float64))
        waits.append(np.asarray(counts.latency.counts, np.float64).sum(axis=(-3, -2)) / STEPS)
        spoken.append(np.stack([np.asarray(each.sum(axis=(0, 2, 3, 4))) for each in (spikes[name] for name in NAMES)]))
        shown = shown or {name: np.asarray(each[:, :SAVED]) for name, each in spikes.items()}
        advanced(len(decided[-1]))
    seconds = np.concatenate(times)
    here = {name: cut.parts for name, cut in cuts.items()}
    scale = seconds.mean() / seconds[:SAVED].mean()
    return Replay(
        step_time=seconds,
        waited=dict(zip(names, np.concatenate(waits).T, strict=True)),
        decided=np.concatenate(decided),
        labels=labels,
        activity=dict(zip(NAMES, (np.concatenate(spoken, axis=1).mean(axis=1) / STEPS).tolist(), strict=True)),
        synops=float(np.concatenate(met).mean()) / STEPS,
        parts=here,
        cores=placement.number,
        neurons=wiring.neurons,
        others=others(wiring, chip, here, shown) * scale,
    )


def quantised(path: Path) -> Quantised:
    """The trained network at `path` (Keras, HDF5) by the published recipe.

    m = max over a layer's weights and biases of their magnitude; W = trunc(255 W / m), B = trunc(255 B / m).

    Raises:
        BadInput: no such file, or not this network.
    """
    if not path.is_file():
        raise BadInput(f"{path}: no such file; it holds the network of calibration case N-A3.")
    weights, biases = [], []
    with h5py.File(path, "r") as file:
        for i in range(1, 5):
            names = [f"model_weights/conv2d_{i}/conv2d_{i}/{kind}:0" for kind in ("kernel", "bias")]
            if any(name not in file for name in names):
                raise BadInput(f"{path} holds no layer conv2d_{i}; it is not the network of calibration case N-A3.")
            weight, bias = (np.asarray(file[name], np.float32) for name in names)
            most = max(np.abs(weight).max(), np.abs(bias).max())
            scaled = (np.trunc(each / most * LARGEST_WEIGHT).astype(np.int64) for each in (weight, bias))
            weight, bias = scaled
            weights.append(weight.transpose(3, 2, 0, 1))
            biases.append(bias)
    return Quantised(tuple(weights), tuple(biases))


def graph(network: Quantised) -> Graph:
    """Its layers as a spiking graph, all of which run in every step."""
    nodes, last = [Node("input", Input((1, 28, 28), LARGEST_WEIGHT))], "input"
    for name, weight, bias, stride in zip(NAMES[1:], network.weights, network.biases, STRIDES, strict=True):
        kernel = Conv(weight, None, (stride, stride), ((0, 0), (0, 0)))
        nodes.append(Node(name if name == NAMES[-1] else f"kernel of {name}", kernel, (last,)))
        if name != NAMES[-1]:
            one = np.ones((len(bias), 1, 1), np.int64)
            nodes.append(Node(name, Threshold(THRESHOLD * one, bias[:, None, None], 1), (nodes[-1].name,)))
        last = name
    every = {name: Window(0, STEPS) for name in NAMES}
    return Graph("nxtf-mnist", tuple(nodes), Schedule("rate", every, {}, STEPS, (STEPS, STEPS)))


def simulator(network: Quantised, steps: int = STEPS) -> Callable[[UInt8[np.ndarray, "image 28 28"]], Spikes]:
    """A function from images to the spikes of every layer in every step; a layer hears the step before.

    Whole numbers, exact in float32; compiled once for a number of images.

    The pixel is the current of its input neuron in every step. V += W s + b, a spike at V >= 512 resets V to 0.
    """
    firing = [Dynamics(THRESHOLD, bias) for bias in (np.zeros(1), *network.biases[:-1])]
    shapes = [(28, 28, 1)]  # channels last, which is the quicker order on a CPU
    for weight, stride in zip(network.weights[:-1], STRIDES, strict=False):
        side = (shapes[-1][0] - weight.shape[2]) // stride + 1
        shapes.append((side, side, len(weight)))
    kernels = [jnp.asarray(weight.transpose(2, 3, 1, 0), jnp.float32) for weight in network.weights[:-1]]
    order = ("NHWC", "HWIO", "NHWC")

    def run(current):
        def step(carry, _):
            states, before = carry
            arriving = [current] + [
                jax.lax.conv_general_dilated(spikes, kernel, (stride, stride), "VALID", dimension_numbers=order)
                for spikes, kernel, stride in zip(before, kernels, STRIDES, strict=False)
            ]
            done = [advance(*each, jnp) for each in zip(firing, states, arriving, strict=True)]
            spikes = [outcome.spikes for _, outcome in done]
            return ([state for state, _ in done], [each.astype(jnp.float32) for each in spikes]), spikes

        batch = current.shape[:1]
        start = [initial(model, batch + shape, jnp) for model, shape in zip(firing, shapes, strict=True)]
        silence = [jnp.zeros(batch + shape, jnp.float32) for shape in shapes]
        _, spikes = jax.lax.scan(step, (start, silence), None, length=steps)
        none = jnp.zeros((steps, *batch, 1, 1, 10), bool)  # the read-out does not fire
        return {name: each.transpose(0, 1, 4, 2, 3) for name, each in zip(NAMES, [*spikes, none], strict=True)}

    compiled = jax.jit(run)
    return lambda images: compiled(jnp.asarray(images, jnp.float32)[..., None])


def decisions(
    network: Quantised, spikes: Bool[np.ndarray, "step image channel row column"]
) -> Int[np.ndarray, "image"]:
    """The read-out neuron of the largest membrane after the last step; `spikes`: of the layer before."""
    steps, images = spikes.shape[:2]
    weight = network.weights[-1].reshape(10, -1).astype(np.float64)
    state = initial(READ_OUT, (images, 10))
    before = np.zeros((images, weight.shape[1]))
    for step in range(steps):
        state, _ = advance(READ_OUT, state, before @ weight.T + network.biases[-1])
        before = spikes[step].reshape(images, -1).astype(np.float64)
    return np.asarray(state.membrane).argmax(axis=1)


def step_times(counts: Counts, chip: Chip) -> Float[np.ndarray, "image"]:
    """Mean seconds of a step at nominal prices, without the host and without the embedded processor."""
    path = counts.latency
    price = np.array([0.0 if name in UNPACED else _seconds(chip, name) for name in path.names])
    return np.asarray(path.counts, np.float64).sum(axis=(-3, -2)) @ price / STEPS


def others(
    wiring: Wiring, chip: Chip, chosen: dict[str, Parts], spikes: dict[str, np.ndarray]
) -> Float[np.ndarray, "partition"]:
    """Mean seconds of a step under every admissible partition, from `spikes` [step, image, ...].

    Admissible: each layer in blocks, on no more cores than in `chosen`, within the limits of the chip with every kernel
    stored once a core: the packing of synapses is the compiler's, the limits are the chip's. As counted, the time of a
    step is that of its busiest core; links are left out.
    """
    plain = chip.model_copy(update={"memory": None})
    price = {event: _seconds(chip, event) for event in (*PRICED, "barrier", "barrier_level")}
    flat = {name: each.reshape(each.shape[0] * each.shape[1], -1).astype(np.float32) for name, each in spikes.items()}
    demands = {layer.name: Demand(wiring, layer, plain, Realisation("native")) for layer in wiring.layers}
    options = {
        name: [p for p in parts(wiring[name].shape, 1, chosen[name].number) if _holds(demands[name], p)]
        for name in NAMES
    }
    sweep = price["neuron_access"] + price["neuron_update"]

    def received(name: str, cut: Parts) -> np.ndarray:
        """[step and image, core]"""
        total = np.zeros((len(flat[name]), cut.number), np.float32)
        for source, synapses in demands[name].inward(cut).items():
            each = synapses * price["synop_sparse"] + (synapses > 0) * price["axon_in"]
            total = total + flat[source] @ each.T.astype(np.float32)
        return total

    def busiest(name: str, cut: Parts, heard: np.ndarray, takes: np.ndarray) -> np.ndarray:
        own = core_of(wiring[name].shape, cut)[:, None] == np.arange(cut.number)
        each = own * (price["spike"] + price["axon_out"] * heard)[:, None]
        return (
            flat[name] @ each.astype(np.float32) + own.sum(axis=0, dtype=np.float32) * np.float32(sweep) + takes
        ).max(axis=1)

    slowest: dict[tuple[str, Parts, Parts | None], np.ndarray] = {}
    for name, after in zip(NAMES, (*NAMES[1:], None), strict=True):
        for cut in options[name]:
            takes = received(name, cut)
            for following in options[after] if after else [None]:
                heard = demands[after].reached(following, name) if after and following else np.zeros(wiring[name].size)
                if demands[name].axons_out(cut, [heard]).max() <= allowed(plain, "axons_out"):
                    slowest[name, cut, following] = busiest(name, cut, heard, takes)
    means = []
    for each in product(*(options[name] for name in NAMES)):
        keys = list(zip(NAMES, each, (*each[1:], None), strict=True))
        if all(key in slowest for key in keys):
            tiles = -(-sum(cut.number for cut in each) // int(chip.mesh.cores_per_router.value))
            barrier = price["barrier"] + price["barrier_level"] * min(MOST_LEVELS, np.log2(tiles))
            means.append(np.maximum.reduce([slowest[key] for key in keys]).mean() + barrier)
    return np.array(means)


def _seconds(chip: Chip, event: str) -> float:
    """The nominal time of an event."""
    return getattr(chip.time, event).value


def _holds(demand: Demand, cut: Parts) -> bool:
    """Whether the cut keeps the limits of the chip, axons out apart."""
    uses = {"compartments": demand.compartments, "synapse_memory": demand.memory, "thresholds": demand.thresholds}
    fits = all(use(cut).max() <= allowed(demand.chip, limit) for limit, use in uses.items())
    return fits and demand.hears_too_much(cut) is None
