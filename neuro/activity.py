"""What a run did, whatever the chip: spikes and synaptic operations per sample."""

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from neuro import trains
from neuro.graph import Graph
from neuro.reach import fan_out
from neuro.stages import populations
from neuro.trains import Trains


@dataclass(frozen=True)
class Activity:
    """What a batch did, whatever the chip: sums over a sample's run, by population.

    spikes [batch]: all spikes. synops [batch]: spikes times the synapses they reach.
    """

    spikes: dict[str, Float[Array | np.ndarray, "batch"]]
    synops: dict[str, Float[Array | np.ndarray, "batch"]]


jax.tree_util.register_dataclass(Activity, data_fields=["spikes", "synops"], meta_fields=[])


def fan_outs(graph: Graph) -> dict[str, Float[np.ndarray, "neuron"]]:
    """Synapses that each neuron reaches, by population, over all its targets."""
    reach = fan_out(graph)
    result = {n.name: np.zeros(graph.size(n.name), np.float32) for n in populations(graph)}
    for node in populations(graph)[1:]:
        for source, synapses in reach(node.name, np.ones((1, *graph.shapes[node.name]))).items():
            result[source] = result[source] + synapses[0]
    return result


def activity(fan: dict[str, np.ndarray], spikes: Mapping[str, Trains]) -> Activity:
    """Spikes and synaptic operations per sample; `fan` from `fan_outs`."""
    counts = {name: trains.spikes(s) for name, s in spikes.items()}
    return Activity(
        spikes={name: n.sum(axis=1) for name, n in counts.items()},
        synops={name: n @ jnp.asarray(fan[name], jnp.float32) for name, n in counts.items()},
    )
