"""Activity of networks of calibration cases that are run here, synapse by synapse."""

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from experiments.replays import keyword_spotter, lsnn, nxtf, published
from experiments.replays.published import Activity
from neuro import recurrent
from neuro.errors import BadInput
from neuro.network import Network
from neuro.trace import Trace, synops

KNOWN = ("lsnn_smnist", "kws_spiking", "nxtf_mnist")
ITEMS = 50
"""Stand-in inputs of the keyword spotter, of each kind."""
SOURCES = {
    "case": {"title": "Structure of the measured network", "year": 2019},
    "run": {"title": "Simulation of the measured network, neuro.recurrent.run", "year": 2026},
}


class DataAbsent(BadInput):
    """The data that a network needs are not here."""


def knows(name: str) -> bool:
    """Whether a workload is one of these networks; after a colon may stand which item of its data."""
    return name.partition(":")[0] in KNOWN


def load(name: str) -> Activity:
    """The activity of the network `name`, with weights and inputs from the folder named by NEURO_DATA.

    Raises:
        DataAbsent: no such folder or file.
    """
    root = os.environ.get("NEURO_DATA", "")
    if not root or not Path(root).is_dir():
        raise DataAbsent(f"{name} needs its weights and inputs: let NEURO_DATA name the folder of data sets")
    return _run(name, root)


@cache
def _run(name: str, root: str) -> Activity:
    try:
        match name:
            case "lsnn_smnist":
                tree = _lsnn(Path(root))
            case "kws_spiking":
                tree = _keyword_spotter(Path(root))
            case _ if name.partition(":")[0] == "nxtf_mnist":
                tree = _nxtf(_nxtf_replay(root), name.partition(":")[2])
            case _:
                raise BadInput(f"{name}: this network is one workload; leave out what follows the colon.")
    except BadInput as error:
        raise DataAbsent(str(error)) from None
    return published.from_tree({"name": name, "sources": SOURCES} | tree, Path(name))


def _lsnn(root: Path) -> dict[str, Any]:
    """350 compartments on one core, an adaptive neuron being two; the lines come from relays on another core.

    A relay's spike and one of the network to itself are a packet each; the embedded processor writes the input spikes.
    """
    network = lsnn.network(root / "models" / "event" / "lsnn_smnist")
    images, _ = lsnn.measured_items(root)
    trace = _run_of(network, lsnn.encode(images), lsnn.STEPS)
    met = sum(n.mean() for p, n in zip(network.projections, synops(network, trace), strict=True) if p.source != "in")
    fired = {name: float(s.sum(axis=-1).mean()) for name, s in trace.spikes.items()}
    adapting = _adapting(trace.spikes["adaptive"])
    updated = sum(float(trace.updated[name].mean()) for name in ("plain", "adaptive", "out")) + adapting
    spikes = fired["plain"] + fired["adaptive"]
    met = float(met) + fired["adaptive"]  # one synapse onto the second compartment
    neurons = lsnn.PLAIN + 2 * lsnn.ADAPTIVE + lsnn.CLASSES
    return {
        "title": "recurrent network for sequential MNIST (N-A5)",
        "format": "sparse",
        "management": True,
        "steps": _known(lsnn.STEPS),
        "neurons": _known(neurons),
        "cores": _known(1),
        "updates": _found(updated * lsnn.STEPS),
        "spikes": _found(spikes * lsnn.STEPS),
        "packets": _found(spikes * lsnn.STEPS),
        "synops": _found(met * lsnn.STEPS),
        "inputs": _found(fired["in"] * lsnn.STEPS),
        "outputs": _known(lsnn.CLASSES),
        "busiest": [
            {
                "neurons": _known(neurons), "spikes": _found(spikes), "packets_out": _found(spikes),
                "packets_in": _found(spikes + fired["relay"]), "synops": _found(met),
            }
        ],
    }  # fmt: skip


def _run_of(network: Network, train: np.ndarray, steps: int) -> Trace:
    """`network` driven by the spikes `train` [item, step, line] of its one input."""
    return recurrent.run(recurrent.prepare(network), {"in": train}, steps)


def _adapting(spikes: np.ndarray) -> float:
    """Second compartments that are not at zero in a step, on average over steps and images."""
    state, busy = np.zeros((len(spikes), spikes.shape[2])), 0
    for t in range(spikes.shape[1]):
        busy += np.count_nonzero(state)
        state = np.trunc(state * (lsnn.ADAPTATION_KEPT / 4096)) + lsnn.ADAPTATION * lsnn.FINE * spikes[:, t]
    return busy / (spikes.shape[0] * spikes.shape[1])


def _keyword_spotter(root: Path) -> dict[str, Any]:
    """902 compartments on four cores, two of them the input's; rates are those of four kinds of stand-in inputs."""
    network = keyword_spotter.network(root / "models" / "audio" / "kws_blouw_390_256_256_29.npz")
    rng, shape = np.random.default_rng(0), (ITEMS, keyword_spotter.SIZES[0])
    kinds = (
        rng.random(shape), np.abs(rng.normal(0, 0.25, shape)), rng.random(shape) * 0.2, (rng.random(shape) < 0.1) * 1.0,
    )  # fmt: skip
    steps, spikes, met, packets = keyword_spotter.STEPS, [], [], []
    for values in kinds:
        trace = _run_of(network, keyword_spotter.stand_in(values, rng), steps)
        fired = {name: float(s.sum(axis=(-1, -2)).mean()) for name, s in trace.spikes.items()}
        spikes.append(sum(fired.values()))
        packets.append(fired["in"] + fired["hidden0"])  # the last layer is read by the host
        met.append(sum(float(n.sum(axis=-1).mean()) for n in synops(network, trace)))
    return {
        "title": "keyword spotter (N-A1) with stand-in inputs",
        "format": "dense",
        "management": True,
        "steps": _known(steps),
        "neurons": _known(sum(keyword_spotter.SIZES)),
        "cores": _known(4),
        "spikes": _between(spikes),
        "packets": _between(packets),
        "synops": _between(met),
        "inputs": _known(keyword_spotter.SIZES[0] * steps),
    }


@cache
def _nxtf_replay(root: str) -> nxtf.Replay:
    return nxtf.replay(Path(root))


def _nxtf(run: nxtf.Replay, image: str) -> dict[str, Any]:
    """One image of the measured run, or the mean of all; on its busiest core what the others wait for, step by step."""
    if image and not (image.isascii() and image.isdigit() and int(image) < len(run.step_time)):
        raise BadInput(f"nxtf_mnist:{image}: images are counted 0 to {len(run.step_time) - 1}.")
    which = [int(image)] if image else slice(None)
    waits = {event: float(number[which].mean()) for event, number in run.waited.items()}
    low, high = (1e6 * run.others.min(), 1e6 * run.others.max()) if len(run.others) else (float("nan"),) * 2
    cuts = ", ".join(f"{name} {'x'.join(map(str, cut))}" for name, cut in run.parts.items())
    return {
        "title": "convolutional network of the NxTF tutorial on MNIST (N-A3)",
        "notes": [
            f"{run.correct} of {len(run.labels)} images right. Cut into rows x columns x channels: {cuts}; {run.cores} "
            f"cores. Other partitions within the chip's limits take {low:.1f} to {high:.1f} us a step."
        ],
        "format": "sparse",
        "steps": _known(nxtf.STEPS),
        "neurons": _known(run.neurons),
        "cores": _known(run.cores),
        "spikes": _found(sum(run.activity.values()) * nxtf.STEPS),
        "synops": _found(run.synops * nxtf.STEPS),
        "busiest": [
            {
                "neurons": _found(waits["neuron_access"]), "spikes": _found(waits["spike"]),
                "packets_out": _found(waits["axon_out"]), "packets_in": _found(waits["axon_in"]),
                "synops": _found(waits["synop_sparse"]),
            }
        ],
    }  # fmt: skip


def _known(number: int) -> dict[str, str]:
    return {"value": f"{number}", "source": "case", "basis": "measured"}


def _found(number: float) -> dict[str, str]:
    return {"value": f"{number:.6g}", "source": "run", "basis": "simulated"}


def _between(numbers: list[float]) -> dict[str, str]:
    """The geometric middle of what stand-in inputs give, and their extremes."""
    low, high = min(numbers), max(numbers)
    texts = {"low": low, "value": (low * high) ** 0.5, "high": high}
    return {name: f"{n:.6g}" for name, n in texts.items()} | {"source": "run", "basis": "assumed"}
