"""Neurons that send more than one spike's worth in a step, on real currents: bursts and differential codes.

Approximate codes, executed on a folded float graph of ReLU layers step by step; the input comes as a current. They say
what such neurons would reach, for comparison with the exact codes, and have no integer form here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from neuro.errors import Refusal, unsupported
from neuro.graph import Graph
from neuro.layers import Input, Relu, Scale
from neuro.stages import populations, propagate, sources

SURE = 0.75
"""A differential neuron sends a value if its membrane holds at least this share of it."""
EPSILON = 1e-6  # a membrane so close to a quantum, in quanta, has reached it


@dataclass(frozen=True)
class Burst:
    """Up to `members` spikes of th/members each in a step, reset by subtraction, half a spike at the start.

    Also the group neuron of Lv et al. 2024: `members` neurons with thresholds i th/members.
    """

    members: int

    def __call__(
        self, currents: Float[Array, "step batch ..."], bias: Float[Array, "..."], threshold: Float[Array, "..."]
    ) -> Float[Array, "step batch ..."]:
        """k = clip(floor(V/q), 0, m), V -= k q, q = th/m; k q is sent."""
        quantum = jnp.broadcast_to(threshold / self.members, currents.shape[1:])

        def step(v, current):
            v = v + current + bias
            sent = jnp.clip(jnp.floor(v / quantum + EPSILON), 0, self.members) * quantum
            return v - sent, sent

        return jax.lax.scan(step, quantum / 2, currents)[1]


@dataclass(frozen=True)
class Differential:
    """Differential coding with `thresholds` values ±th/2^k (Huang et al. 2025).

    A neuron's value so far is b + sum_t s(t)/t, so that later spikes weigh less and correct the earlier ones:

        V += I + E_in - E_out,  s = the largest ±th/2^k with |V| >= 0.75 th/2^k, negative only as far as was sent
        V -= s,  E_in += I/t,  E_out += s/t,  E_in(0) = b
    """

    thresholds: int

    def __call__(
        self, currents: Float[Array, "step batch ..."], bias: Float[Array, "..."], threshold: Float[Array, "..."]
    ) -> Float[Array, "step batch ..."]:
        """Signed values of each step; zero is silence."""
        shape = currents.shape[1:]
        values = jnp.stack([jnp.broadcast_to(threshold / 2**k, shape) for k in range(self.thresholds)])
        zero = jnp.zeros(shape, currents.dtype)
        times = jnp.arange(1, len(currents) + 1, dtype=currents.dtype)

        def step(carry, now):
            v, told, expected_in, expected_out = carry
            current, time = now
            v, told = v + current + expected_in - expected_out, told + expected_out
            up = jnp.where(v[None] >= SURE * values, values, jnp.float32(0)).max(axis=0)
            back = (v[None] <= -SURE * values) & (told[None] >= values * (1 - EPSILON))
            sent = up - jnp.where(back, values, jnp.float32(0)).max(axis=0)
            carry = (v - sent, told + sent, expected_in + current / time, expected_out + sent / time)
            return carry, sent

        return jax.lax.scan(step, (zero, zero, jnp.broadcast_to(bias, shape), zero), (currents, times))[1]


@dataclass(frozen=True)
class Sent:
    """outputs [step, item, output]: the read-out after every step, in the network's units. events [step]: values sent
    in every step, per neuron and item."""

    outputs: np.ndarray
    events: np.ndarray


def run(
    folded: Graph, counts: np.ndarray, steps: int, neuron: Burst | Differential, thresholds: Mapping[str, np.ndarray]
) -> Sent:
    """The folded graph with `neuron` in place of every ReLU. thresholds [channel]: by layer.

    All layers work in the same step. The input is a current, of every step, or under the differential code of the
    first, where the read-out weighs step t by 1/t.

    Raises:
        Unsupported: layers other than ReLU, and max-pools.
    """
    layers = populations(folded)
    other = [n for n in layers[1:-1] if not isinstance(n.op, Relu)]
    if other:
        faults = [Refusal(n.name, type(n.op).__name__, "not a ReLU") for n in other]
        raise unsupported(folded.name, "have no such neurons", faults, "Use an exact code.")
    differential = isinstance(neuron, Differential)
    drive = jnp.asarray(counts, jnp.float32)
    sent: dict[str, Array] = {}
    events, neurons = np.zeros(steps), 0
    for node in layers:
        if isinstance(node.op, Input):
            sent[node.name] = jnp.broadcast_to(drive[None], (steps, *drive.shape))
            if differential:  # all of it in the first step: nothing changes after
                sent[node.name] = sent[node.name].at[1:].set(0.0)
            continue
        offset = folded[node.inputs[0]] if isinstance(node.op, Relu) else node
        assert isinstance(offset.op, Scale)
        feeds = sources(folded, node.name)
        bias = jnp.asarray(offset.op.offset, jnp.float32)
        currents = jnp.stack([propagate(folded, node.name, {s: sent[s][t] for s in feeds}) for t in range(steps)])
        currents = currents - bias[None, None]
        if isinstance(node.op, Relu):
            channel = thresholds[node.name].reshape(-1, *(1,) * (bias.ndim - 1))
            sent[node.name] = neuron(currents, bias[None], jnp.asarray(channel, jnp.float32)[None])
            events += np.asarray((sent[node.name] != 0).sum(axis=tuple(range(1, currents.ndim))))
            neurons += folded.size(node.name)
        else:
            times = jnp.arange(1, steps + 1, dtype=jnp.float32).reshape(-1, *(1,) * (currents.ndim - 1))
            summed = jnp.cumsum(currents / times, axis=0) if differential else jnp.cumsum(currents, axis=0) / times
            return Sent(np.asarray(summed + bias[None, None]), events / neurons / len(drive))
    raise ValueError(f"{folded.name} has no read-out")
