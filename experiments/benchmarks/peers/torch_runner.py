"""Simulators on PyTorch, each in the way that its documentation recommends; run by `protocol` in their environment.

All of them multiply the constant current of the first layer once, and none keeps gradients. Simulators that fire on
V > threshold start half a grid step up, which gives the spikes of V >= threshold. Stock neurons are used but for
norse, whose integrate-and-fire neuron knows no reset by subtraction.
"""

import os
from collections.abc import Callable, Sequence
from importlib.metadata import version

import numpy as np
import torch
from torch import nn


class Network:
    """The workload in tensors: x, steps, first (its current), weights, thresholds, half (a grid step)."""

    def __init__(self, path: str) -> None:
        with np.load(path) as f:
            layers = sum(name.startswith("weight") for name in f.files)
            self.x = torch.tensor(f["x"].astype(np.float32))
            self.steps = int(f["T"])
            self.weights = [torch.tensor(f[f"weight{i}"].astype(np.float32)) for i in range(layers)]
            self.thresholds = [float(f[f"threshold{i}"]) for i in range(layers)]
            self.pooled = set(f["pooled"].tolist())
            self.max = str(f["pool"]) == "max"
            self.half = float(f["grid"]) / 2

    def products(self, linear: Callable = nn.Linear, convolution: Callable = nn.Conv2d) -> list[nn.Module]:
        """A module for every weight."""
        found = []
        for weight in self.weights:
            if weight.dim() == 4:
                module = convolution(weight.shape[1], weight.shape[0], 3, padding=1, bias=False)
            else:
                module = linear(weight.shape[1], weight.shape[0], bias=False)
            module.weight.data.copy_(weight)
            found.append(module)
        return found

    def modules(
        self, products: list[nn.Module], neurons: Sequence[nn.Module], pool: Callable, flatten: Callable
    ) -> list[nn.Module]:
        """Everything behind the first product, in order."""
        found = []
        for layer, neuron in enumerate(neurons):
            if layer:
                if self.weights[layer].dim() == 2 and self.weights[layer - 1].dim() == 4:
                    found.append(flatten())
                found.append(products[layer])
            found.append(neuron)
            if layer in self.pooled:
                found.append(pool())
        return found

    def pool(self) -> nn.Module:
        return nn.MaxPool2d(2) if self.max else nn.AvgPool2d(2)


def snntorch(net: Network):
    """A loop over time, as in its tutorials. Leaky with a decay of 1; fires on V > threshold."""
    import snntorch as snn

    neurons = [snn.Leaky(beta=1.0, threshold=t, reset_mechanism="subtract") for t in net.thresholds]
    products = net.products()
    modules = nn.ModuleList(net.modules(products, neurons, net.pool, nn.Flatten)).eval()

    def run():
        current, total = products[0](net.x), 0
        membranes = [None] * len(modules)
        for _ in range(net.steps):
            h = current
            for i, module in enumerate(modules):
                if isinstance(module, snn.Leaky):
                    before = torch.full_like(h, net.half) if membranes[i] is None else membranes[i]
                    h, membranes[i] = module(h, before)
                else:
                    h = module(h)
            total = total + h
        return total

    return run, neurons, lambda out: out[0]


def spikingjelly(net: Network, mode: str):
    """IFNode with soft reset, over all steps at once (m) or in a loop over time (s)."""
    from spikingjelly.activation_based import functional, layer, neuron

    neurons = [neuron.IFNode(v_threshold=t, v_reset=None, step_mode=mode) for t in net.thresholds]
    products = net.products(layer.Linear, layer.Conv2d)
    pool = layer.MaxPool2d if net.max else layer.AvgPool2d
    sequence = nn.Sequential(*net.modules(products, neurons, lambda: pool(2), lambda: layer.Flatten(1))).eval()
    functional.set_step_mode(sequence, mode)

    def run():
        functional.reset_net(sequence)
        current = products[0](net.x)
        if mode == "m":
            return sequence(current.expand(net.steps, *current.shape)).sum(0)
        return sum(sequence(current) for _ in range(net.steps))

    return run, neurons, (lambda out: out.sum(0)) if mode == "m" else (lambda out: out)


def norse(net: Network):
    """SequentialState in a loop over time. Its IAF resets to a value: this one subtracts; fires on V > threshold."""
    from norse.torch import SequentialState
    from norse.torch.functional.iaf import IAFFeedForwardState, IAFParameters
    from norse.torch.functional.threshold import threshold
    from norse.torch.module.snn import SNNCell

    def step(current, state, p, dt=0.001):
        v = state.v + current
        spikes = threshold(v - p.v_th, p.method, p.alpha)
        return spikes, IAFFeedForwardState(v - spikes * p.v_th)

    def cell(value: float) -> nn.Module:
        parameters = IAFParameters(v_th=torch.tensor(value))
        return SNNCell(step, lambda h: IAFFeedForwardState(torch.full_like(h, net.half)), parameters)

    neurons, products = [cell(t) for t in net.thresholds], net.products()
    sequence = SequentialState(*net.modules(products, neurons, net.pool, nn.Flatten)).eval()

    def run():
        current, state, total = products[0](net.x), None, 0
        for _ in range(net.steps):
            h, state = sequence(current, state)
            total = total + h
        return total

    return run, neurons, lambda out: out[0]


def sinabs(net: Network):
    """IAFSqueeze, all steps of a layer before the next. At most one spike a step: the default allows several."""
    import sinabs.layers as sl
    from sinabs.activation import SingleSpike

    batch = len(net.x)
    neurons = [
        sl.IAFSqueeze(batch_size=batch, spike_threshold=torch.tensor(t), spike_fn=SingleSpike) for t in net.thresholds
    ]
    products = net.products()
    sequence = nn.Sequential(*net.modules(products, neurons, net.pool, nn.Flatten)).eval()

    def run():
        for neuron in neurons:
            neuron.reset_states()
        current = products[0](net.x)
        rows = current.unsqueeze(1).expand(batch, net.steps, *current.shape[1:]).flatten(0, 1)
        return sequence(rows).unflatten(0, (batch, net.steps)).sum(1)

    return run, neurons, lambda out: out.unflatten(0, (batch, net.steps)).sum(1)


class Fire(nn.Module):
    """Integrate and fire in plain PyTorch, in place."""

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold, self.v = threshold, None

    def forward(self, current):
        self.v = current.clone() if self.v is None else self.v.add_(current)
        spikes = (self.v >= self.threshold).to(current.dtype)
        self.v.sub_(spikes, alpha=self.threshold)
        return spikes


def dense(net: Network):
    """No simulator: plain products and elementwise operations in a loop over time."""
    neurons, products = [Fire(t) for t in net.thresholds], net.products()
    sequence = nn.Sequential(*net.modules(products, neurons, net.pool, nn.Flatten)).eval()

    def run():
        for neuron in neurons:
            neuron.v = None
        current = products[0](net.x)
        return sum(sequence(current) for _ in range(net.steps))

    return run, neurons, lambda out: out


PEERS = {
    "snntorch": ("snntorch", snntorch),
    "spikingjelly": ("spikingjelly", lambda net: spikingjelly(net, "s")),
    "spikingjelly_multi": ("spikingjelly", lambda net: spikingjelly(net, "m")),
    "norse": ("norse", norse),
    "sinabs": ("sinabs", sinabs),
    "torch_dense": ("torch", dense),
}


def counted(run: Callable, neurons: Sequence[nn.Module], of_batch: Callable) -> list[np.ndarray]:
    """Spikes [batch, neuron] of every layer, added up by hooks during one run."""
    totals = [0] * len(neurons)

    def hook(layer: int) -> Callable:
        def add(module, arguments, out):
            totals[layer] = totals[layer] + of_batch(out)

        return add

    hooks = [neuron.register_forward_hook(hook(layer)) for layer, neuron in enumerate(neurons)]
    run()
    for handle in hooks:
        handle.remove()
    return [total.flatten(1).numpy() for total in totals]


def prepare(name: str, path: str) -> tuple:
    """What `protocol` asks of a runner."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    torch.set_grad_enabled(False)
    distribution, build = PEERS[name]
    run, neurons, of_batch = build(Network(path))

    def once() -> None:
        with torch.inference_mode():
            run()

    def counts() -> list[np.ndarray]:
        with torch.inference_mode():
            return counted(run, neurons, of_batch)

    return once, counts, f"{version(distribution)} (torch {torch.__version__})"
