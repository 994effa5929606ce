"""The same networks in JAX alone: every synapse is looked at in every step, so nothing has to fit anything.

It runs where there is no compiler and on other processors, and is what the compiled kernel is held against.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from neuro.dynamics import advance, initial
from neuro.network import Network, Projection
from neuro.trace import Trace, batch_axes

DENSE = 64
"""A projection is a matrix if that has at most so many entries for each synapse; else its synapses are gathered."""


def run(
    network: Network,
    inputs: dict[str, Bool[np.ndarray, "*batch step _"]],
    steps: int,
    number: type = np.float64,
) -> Trace:
    """`neuro.trace.simulate`, with `number` arithmetic; in float64 whole numbers below 2^53 are exact.

    Raises:
        BadInput: a missing or unknown input, or one of another number of steps or neurons.
    """
    batch = batch_axes(network, inputs, steps)
    runs = int(np.prod(batch))
    with jax.enable_x64(number is np.float64):
        trains = {
            name: jnp.asarray(np.asarray(t).reshape(runs, steps, -1).swapaxes(0, 1)) for name, t in inputs.items()
        }
        spikes, updated, last = jax.jit(_scan, static_argnums=(0, 2, 3))(network, trains, steps, runs)
        found = jax.device_get((spikes, updated, last))
    spikes = {name: train.swapaxes(0, 1) for name, train in found[0].items()}
    updated = {name: n.swapaxes(0, 1).astype(np.int64) for name, n in found[1].items()}
    every = {p.name: spikes.get(p.name, inputs.get(p.name)) for p in network.populations}
    return Trace(
        {name: np.asarray(s, bool).reshape(*batch, steps, network.size(name)) for name, s in every.items()},
        {name: n.reshape(*batch, steps) for name, n in updated.items()},
        {name: v.astype(np.float64).reshape(*batch, v.shape[-1]) for name, v in found[2].items()},
    )


def _scan(network: Network, trains: dict[str, Any], steps: int, runs: int) -> tuple[dict, dict, dict]:
    """Spikes and updates, step first, and the last membranes."""
    models = {p.name: p.model for p in network.populations if p.model is not None}
    start = {name: initial(model, (runs, network.size(name)), jnp) for name, model in models.items()}
    number = jnp.zeros((), float).dtype
    slots = 1 + max((p.delay for p in network.projections), default=0)
    ring = {
        name: jnp.zeros((slots, model.receptors, runs, network.size(name)), number) for name, model in models.items()
    }
    reach = [(p, _reach(network, p, number)) for p in network.projections if len(p)]

    def step(carry: tuple, entering: dict) -> tuple:
        states, ring = dict(carry[0]), dict(carry[1])
        spikes, updated = {}, {}
        for name, model in models.items():
            states[name], outcome = advance(model, states[name], ring[name][0], jnp)
            spikes[name], updated[name] = outcome.spikes, outcome.updated.sum(axis=1, dtype=jnp.int32)
            ring[name] = jnp.concatenate([ring[name][1:], jnp.zeros_like(ring[name][:1])])
        for p, arriving in reach:
            events = (entering | spikes)[p.source].astype(number)
            ring[p.target] = ring[p.target].at[p.delay, p.receptor].add(arriving(events))
        return (states, ring), (spikes, updated)

    (states, _), (spikes, updated) = jax.lax.scan(step, (start, ring), trains, length=steps)
    return spikes, updated, {name: state.membrane for name, state in states.items()}


def _reach(network: Network, p: Projection, number: Any) -> Any:
    """What spikes [sample, source] of a projection bring to its targets [sample, target], as a function."""
    sizes = network.size(p.source), network.size(p.target)
    if sizes[0] * sizes[1] <= DENSE * len(p):
        matrix = jnp.asarray(network.matrix(p).toarray(), number)
        return lambda events: jnp.matmul(events, matrix, precision=jax.lax.Precision.HIGHEST)
    pre, post, weight = jnp.asarray(p.pre), jnp.asarray(p.post), jnp.asarray(p.weight, number)
    return lambda events: jnp.zeros((len(events), sizes[1]), number).at[:, post].add(events[:, pre] * weight[None])
