"""Simulators on JAX, and a plain scan with dense products; run by `protocol` in their environment.

All multiply the constant current of the first layer once and are compiled whole. Pictures lie channels last, which is
the faster order on a CPU; counts are given channels first as everywhere else.
"""

from collections.abc import Callable
from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


class Network:
    """The workload: x, steps, weights ([in, out] or [row, column, in, out]), thresholds, shapes of all layers."""

    def __init__(self, path: str) -> None:
        with np.load(path) as f:
            layers = sum(name.startswith("weight") for name in f.files)
            x, weights = f["x"].astype(np.float32), [f[f"weight{i}"].astype(np.float32) for i in range(layers)]
            self.steps = int(f["T"])
            self.thresholds = [float(f[f"threshold{i}"]) for i in range(layers)]
            self.pooled = set(f["pooled"].tolist())
            self.max = str(f["pool"]) == "max"
            self.half = float(f["grid"]) / 2
        self.x = jnp.asarray(np.moveaxis(x, 1, -1) if x.ndim == 4 else x)
        self.weights, h = [], self.x
        self.shapes: list[tuple[int, ...]] = []
        for layer, weight in enumerate(weights):
            if weight.ndim == 4:
                weight = weight.transpose(2, 3, 1, 0)
            elif h.ndim == 4:  # the rows of a flattened picture come channels last here
                channels = h.shape[-1]
                side = h.shape[1]
                weight = (
                    weight.reshape(len(weight), channels, side, side)
                    .transpose(2, 3, 1, 0)
                    .reshape(h.size // len(x), -1)
                )
            else:
                weight = weight.T
            self.weights.append(jnp.asarray(weight))
            h = jax.eval_shape(product, h, self.weights[-1])
            self.shapes.append(h.shape)
            if layer in self.pooled:
                h = jax.eval_shape(self.pool, h)

    def pool(self, spikes):
        """2x2, the greatest or the mean."""
        fours = spikes.reshape(len(spikes), spikes.shape[1] // 2, 2, spikes.shape[2] // 2, 2, -1)
        return fours.max((2, 4)) if self.max else fours.mean((2, 4))


def product(h, weight):
    """Currents of one layer."""
    if weight.ndim == 4:
        return lax.conv_general_dilated(h, weight, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return h.reshape(len(h), -1) @ weight


def scan(net: Network, multiply: Callable) -> Callable:
    """lax.scan over time; counts of all layers where asked for, else of the last. Booleans between layers."""

    def run(x, weights, every: bool):
        first = product(x, weights[0])

        def step(carry, _):
            membranes, totals, h = list(carry[0]), list(carry[1]), first
            for i, threshold in enumerate(net.thresholds):
                v = membranes[i] + (first if i == 0 else multiply(h, weights[i]))
                h = v >= threshold
                spikes = h.astype(jnp.float32)
                membranes[i] = v - spikes * threshold
                if every or i == len(weights) - 1:
                    totals[i] = totals[i] + spikes
                if i in net.pooled:
                    h = net.pool(spikes)
            return (tuple(membranes), tuple(totals)), None

        zeros = tuple(jnp.zeros(shape) for shape in net.shapes)
        kept = tuple(z if every or i == len(zeros) - 1 else jnp.zeros(()) for i, z in enumerate(zeros))
        return lax.scan(step, (zeros, kept), None, length=net.steps)[0][1]

    return run


def spyx(net: Network) -> Callable:
    """Its Sequential and run. Its neuron tests the membrane before the input of the step is added.

    A spike therefore leaves every layer one step late: as many steps more are run, and the windows shifted. It fires
    on V > threshold.
    """
    from flax import nnx
    from spyx import nn

    layers = []
    for i, (weight, threshold, shape) in enumerate(zip(net.weights, net.thresholds, net.shapes, strict=True)):
        if i:
            if weight.ndim == 4:
                sizes = (weight.shape[2], weight.shape[3])
                layer = nnx.Conv(*sizes, (3, 3), padding="SAME", use_bias=False, rngs=nnx.Rngs(0))
            else:
                layer = nnx.Linear(*weight.shape, use_bias=False, rngs=nnx.Rngs(0))
                if net.weights[i - 1].ndim == 4:
                    layers.append(nn.Flatten())
            layer.kernel.value = weight
            layers.append(layer)
        layers.append(nn.IF(shape[1:], threshold))
        if i in net.pooled:
            pool = nnx.max_pool if net.max else nnx.avg_pool
            layers.append(lambda h, pool=pool: pool(h, (2, 2), (2, 2)))
    definition, parameters = nnx.split(nn.Sequential(*layers))
    late = len(net.thresholds)

    def run(x, weights, every: bool):
        model, current = nnx.merge(definition, parameters), product(x, weights[0])
        state = jax.tree.map(lambda v: v + net.half, model.initial_state(len(x)))
        steps = net.steps + late
        if not every:
            return nn.run(model, jnp.broadcast_to(current, (steps, *current.shape)), state)[0][late:].sum(0)
        state, totals = list(state), [0] * late
        for step in range(steps):
            h, i = current, 0
            for place, layer in enumerate(model.layers):
                if state[place] is None:
                    h = layer(h)
                    continue
                h, state[place] = layer(h, state[place])
                totals[i] = totals[i] + (h if i < step <= i + net.steps else 0)
                i += 1
        return totals

    return run


def dense(net: Network) -> Callable:
    """No simulator: dense products in a scan."""
    return scan(net, lambda h, weight: product(h.astype(jnp.float32), weight))


def events(net: Network) -> Callable:
    """brainevent's product of a matrix of events with a dense one."""
    import brainevent

    return scan(net, lambda h, weight: brainevent.BinaryArray(h) @ weight)


BUILDERS = {"jax_scan": dense, "brainevent": events, "spyx": spyx}


def cuba(path: str) -> tuple:
    """W3 with brainevent's event-driven rows, float32."""
    import brainevent

    with np.load(path) as f:
        z = {name: f[name] for name in f.files}
    neurons, excitatory, checked = int(z["N"]), int(z["NE"]), int(z["checked"])
    pointers, targets, split = z["indptr"], z["indices"], int(z["indptr"][z["NE"]])
    groups = []
    for weight, rows, places in (
        (z["we"], pointers[: excitatory + 1], targets[:split]),
        (z["wi"], pointers[excitatory:] - split, targets[split:]),
    ):
        data = (jnp.float32(weight), jnp.asarray(places), jnp.asarray(rows, jnp.int32))
        groups.append(brainevent.CSR(data, shape=(len(rows) - 1, neurons)))
        # Its workspace is made on first use and kept: inside a trace it would leak.
        jax.block_until_ready(brainevent.BinaryArray(jnp.zeros(len(rows) - 1, bool)) @ groups[-1])
    membrane, excited, inhibited = np.exp(-z["dt"] / z["tau"]).tolist()
    by = [tau / (tau - z["tau"][0]) for tau in z["tau"][1:].tolist()]
    from_excited, from_inhibited = by[0] * (excited - membrane), by[1] * (inhibited - membrane)
    threshold, reset, rest = z["levels"].tolist()
    refractory = int(z["refractory"])

    def step(carry, now):
        v, currents, last, fired, total = carry
        free = now - last > refractory
        moved = rest + (v - rest) * membrane + currents[0] * from_excited + currents[1] * from_inhibited
        v = jnp.where(free, moved, v)
        events = (brainevent.BinaryArray(fired[:excitatory]), brainevent.BinaryArray(fired[excitatory:]))
        decays = (excited, inhibited)
        currents = tuple(g * d + e @ m for g, d, e, m in zip(currents, decays, events, groups, strict=True))
        fires = free & (v > threshold)
        carry = (jnp.where(fires, reset, v), currents, jnp.where(fires, now, last), fires, total + fires)
        return carry, None

    def start(steps: int):
        zeros = jnp.zeros(neurons)
        carry = (jnp.asarray(z["v0"], jnp.float32), (zeros, zeros), jnp.full(neurons, -(10**9)), zeros > 0)
        return (*carry, jnp.zeros(neurons, jnp.int32)), jnp.arange(steps)

    whole, early = start(int(z["T"])), start(checked)
    run = jax.jit(lambda carry, times: lax.scan(step, carry, times)[0][4])

    def counts() -> list[np.ndarray]:
        def each(carry, now):
            after, _ = step(carry, now)
            return after, after[3].sum()

        after, of_step = jax.jit(lambda carry, times: lax.scan(each, carry, times))(*early)
        return [np.asarray(after[4])[None], np.asarray(of_step)[None]]

    return lambda: jax.block_until_ready(run(*whole)), counts


def prepare(name: str, path: str) -> tuple:
    """What `protocol` asks of a runner."""
    known = version({"jax_scan": "jax"}.get(name, name))
    known = known if name == "jax_scan" else f"{known} (jax {jax.__version__})"
    with np.load(path) as f:
        recurrent = "indptr" in f.files
    if recurrent:
        run, counts = cuba(path)
        return (lambda: (run(), None)[1]), counts, known
    net = Network(path)
    compiled = jax.jit(BUILDERS[name](net), static_argnums=2)

    def once() -> None:
        jax.block_until_ready(compiled(net.x, net.weights, False))

    def counts() -> list[np.ndarray]:
        found = [np.asarray(total) for total in compiled(net.x, net.weights, True)]
        return [np.moveaxis(f, -1, 1).reshape(len(f), -1) for f in found]

    return once, counts, known
