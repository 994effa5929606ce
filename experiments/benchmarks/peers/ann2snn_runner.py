"""SpikingJelly's converter on a network of modules; run in its environment by `experiments.benchmarks.side_by_side`.

usage: python ann2snn_runner.py NETWORK.npz RESULT.npz

NETWORK.npz: `layers`, JSON of [{"kind", ...}] in order, with arrays weight0, bias0 and so on; `calibration` and `x`
[item, ...], what the network is fed; `steps`, at which it is read. RESULT.npz: by mode `MODE_outputs` [steps, item,
class], summed up to there, and `MODE_spikes` [steps], per neuron of the converted layers; `float`, outputs of the
network itself; `versions`.
"""

import json
import os
import sys
from importlib.metadata import version

import numpy as np
import torch
from torch import nn

BATCH = 100
PASSES = 50
"""Over the calibration items, for balancing: with 1,000 items as many batches as 50,000 training items give, which is
what its own example takes."""


def modules(layers: list[dict], arrays) -> nn.Sequential:
    """The network as SpikingJelly wants it: every function a module."""
    found = []
    for place, layer in enumerate(layers):
        kind = layer["kind"]
        if kind == "relu":
            found.append(nn.ReLU())
        elif kind == "flatten":
            found.append(nn.Flatten())
        elif kind == "average":
            found.append(nn.AvgPool2d(tuple(layer["kernel"]), tuple(layer["stride"])))
        elif kind == "maximum":
            found.append(nn.MaxPool2d(tuple(layer["kernel"]), tuple(layer["stride"])))
        else:
            weight = torch.tensor(arrays[f"weight{place}"].astype(np.float32))
            bias = torch.tensor(arrays[f"bias{place}"].astype(np.float32))
            if kind == "dense":
                module = nn.Linear(weight.shape[1], weight.shape[0])
            else:
                stride, pads = tuple(layer["stride"]), tuple(layer["pads"])
                module = nn.Conv2d(
                    weight.shape[1] * layer["groups"], weight.shape[0], tuple(weight.shape[2:]), stride, pads,
                    groups=layer["groups"],
                )  # fmt: skip
            module.weight.data.copy_(weight)
            module.bias.data.copy_(bias)
            found.append(module)
    return nn.Sequential(*found).eval()


def recipes(calibration: torch.Tensor) -> dict:
    """The modes that are compared, with the defaults that the documentation gives; balancing sees the calibration items
    PASSES times, in an order drawn anew each time."""
    from spikingjelly.activation_based import ann2snn

    batches = [(part, None) for part in calibration.split(BATCH)]
    found = {
        "max": lambda: ann2snn.RateCodingRecipe(dataloader=batches, mode="Max"),
        "99.9%": lambda: ann2snn.RateCodingRecipe(dataloader=batches, mode="99.9%"),
    }
    if hasattr(ann2snn, "LocalThresholdBalancingRecipe"):
        order = torch.Generator().manual_seed(0)
        drawn = torch.cat([torch.randperm(len(calibration), generator=order) for _ in range(PASSES)])
        many = [(calibration[part], None) for part in drawn.split(BATCH)]
        found["ltb"] = lambda: ann2snn.LocalThresholdBalancingRecipe(dataloader=many)
    return found


def stepped(network: nn.Module, x: torch.Tensor, steps: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Summed outputs [steps, item, class] and spikes per neuron [steps]."""
    from spikingjelly.activation_based import functional, neuron

    firing = [m for m in network.modules() if isinstance(m, neuron.BaseNode)]
    count = {"spikes": 0.0, "neurons": 0}

    def hook(module, arguments, out):
        count["spikes"] += float((out != 0).sum())
        count["neurons"] += out[0].numel()

    handles = [m.register_forward_hook(hook) for m in firing]
    outputs, spikes, neurons = [], np.zeros(len(steps)), 0
    for batch in x.split(BATCH):
        functional.reset_net(network)
        count["spikes"], total, read = 0.0, 0, []
        for step in range(1, max(steps) + 1):
            count["neurons"] = 0
            total = total + network(batch)
            if step in steps:
                spikes[len(read)] += count["spikes"]
                read.append(total.numpy().copy())
        outputs.append(np.stack(read))
        neurons = count["neurons"]
    for handle in handles:
        handle.remove()
    return np.concatenate(outputs, axis=1), spikes / len(x) / neurons


def main(source: str, result: str) -> None:
    """Converts by every mode, runs the items, writes the result."""
    import copy

    from spikingjelly.activation_based import ann2snn

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    with np.load(source) as arrays:
        network = modules(json.loads(str(arrays["layers"])), arrays)
        calibration, x = (torch.tensor(arrays[name].astype(np.float32)) for name in ("calibration", "x"))
        steps = sorted(int(n) for n in arrays["steps"])
    with torch.inference_mode():
        found = {"float": np.concatenate([network(batch).numpy() for batch in x.split(BATCH)])}
    for mode, recipe in recipes(calibration).items():
        converted = ann2snn.Converter(recipe=recipe(), device="cpu").convert(copy.deepcopy(network))
        with torch.no_grad():
            found[f"{mode}_outputs"], found[f"{mode}_spikes"] = stepped(converted, x, steps)
    versions = f"SpikingJelly {version('spikingjelly')}, torch {torch.__version__}"
    np.savez(result, versions=versions, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
