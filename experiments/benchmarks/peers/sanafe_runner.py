"""SANA-FE on W4 with its simple or its detailed model of time; run by `protocol` in its environment."""

from importlib.metadata import version
from pathlib import Path

import numpy as np
import sanafe
from sanafe import layers

NEURONS_A_CORE = 128


def perceptron(z: dict, architecture):
    """Two layers on the first cores of as many tiles as they need; the constant current is a bias of each neuron.

    That is how its own script for the DVS network feeds it, too: the first layer's synapses are not simulated.
    """
    net = sanafe.Network()
    bias = (z["x"].astype(float) @ z["weight0"].T.astype(float))[0]
    common = {"reset": 0.0, "leak_decay": 1.0, "input_decay": 0.0, "reset_mode": "soft"}
    side = int(np.sqrt(len(bias)))
    hidden = layers.Input2D(net, side, side, 1, threshold=float(z["threshold0"]), **common)
    weight = np.ascontiguousarray(z["weight1"].T).astype(float)
    out = layers.Dense(net, hidden, weight.shape[1], weight, threshold=float(z["threshold1"]), **common)
    for i in range(len(bias)):
        attributes = {"bias": float(bias[i])}
        hidden[i].set_attributes(soma_hw_name="loihi_lif", model_attributes=attributes, log_spikes=True)
        hidden[i].map_to_core(architecture.tiles[i // NEURONS_A_CORE].cores[0])
    for i in range(weight.shape[1]):
        out[i].set_attributes(soma_hw_name="loihi_lif", log_spikes=True)
        out[i].map_to_core(architecture.tiles[len(bias) // NEURONS_A_CORE].cores[0])
    return net


def prepare(name: str, path: str) -> tuple:
    """What `protocol` asks of a runner. The simulators' names end in the model of time.

    Spikes are heard one step after they are fired: the second of two layers needs a step more.
    """
    with np.load(path) as f:
        z = {key: f[key] for key in f.files}
    layered, model = "weight0" in z, name.split("_")[-1]
    steps = int(z["T"]) + layered
    shipped = Path(sanafe.__file__).parent / "examples" / "loihi.yaml"
    architecture = sanafe.load_arch(str(z.get("architecture", shipped)))
    net = perceptron(z, architecture) if layered else sanafe.load_net(str(z["network"]), architecture)
    chip = sanafe.SpikingChip(architecture)
    chip.load(net)

    def simulate(**traces) -> dict:
        chip.reset()
        return chip.sim(steps, timing_model=model, processing_threads=1, **traces)

    def counts() -> list[np.ndarray]:
        if not layered:
            return [np.asarray([[sum(simulate(perf_trace=True)["perf_trace"]["fired"])]])]
        found = {"input": np.zeros((1, len(z["weight0"])), int), "dense": np.zeros((1, len(z["weight1"])), int)}
        for step, fired in enumerate(simulate(spike_trace=True)["spike_trace"]):
            for spike in fired:
                layer = spike.group_name.split("_")[0]
                # What fires in one step is heard in the next: the first layer's last step is not heard any more.
                if layer != "input" or step < steps - 1:
                    found[layer][0, spike.neuron_offset] += 1
        return list(found.values())

    def run() -> None:
        simulate()

    return run, counts, version("sanafe")
