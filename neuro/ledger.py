"""Who spends what: the energy events of a run by layer of the network, adding up to those of the whole."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from neuro.count import count
from neuro.effects import effects, load_events, sending
from neuro.loads import sweep_events
from neuro.placement import Placement

REST = "(chip)"
"""What no layer is the cause of: clock neurons, reset, management, cores' steps."""


def ledger(
    placement: Placement, spikes: dict[str, Bool[Array, "step batch ..."]]
) -> dict[str, dict[str, Float[np.ndarray, "batch"]]]:
    """Events of one sample at a time by layer, and under `REST` what belongs to none.

    A layer answers for its sweeps, its spikes, their packets and hops, and for the synapses in front of it. The host's
    writes belong to the first layer, its reads to the last.
    """
    total = {name: np.asarray(n, np.float64) for name, n in count(placement, spikes)["single"].events.items()}
    batch = next(iter(spikes.values())).shape[1]
    layers = list(placement.core)
    rows: dict[str, dict[str, np.ndarray]] = {name: {} for name in layers}

    def book(layer: str, event: str, number: np.ndarray | float) -> None:
        if event in total:
            rows[layer][event] = rows[layer].get(event, np.zeros(batch)) + number

    for name in layers:
        compartments = placement.compartments[name] * len(placement.core[name])
        for event in sweep_events(placement):
            book(name, event, float(compartments * placement.schedule.total))
    for name, trains in spikes.items():
        fired = np.asarray(trains.astype(bool).sum(axis=0, dtype=jnp.float32), np.float64).reshape(batch, -1)
        fired = fired * placement.realisation.sends
        caused = effects(placement, name)
        borders = fired @ caused.matrix[:, :2].astype(np.float64)
        book(name, "hop", borders[:, 0])
        book(name, "chip_hop", borders[:, 1])
        for _, load, first, last in caused.core_columns:
            if (event := load_events(placement)[load]) in sending(placement):
                book(name, event, (fired @ caused.matrix[:, first:last].astype(np.float64)).sum(axis=1))
        for fan in placement.fans:
            if fan.source == name:
                book(fan.target, fan.event, fired @ fan.synapses.sum(axis=0).astype(np.float64))
    book(layers[0], "host_write", float(placement.inputs))
    book(layers[-1], "host_read", float(placement.outputs))
    known = {event: sum((rows[name].get(event, 0.0) for name in layers), np.zeros(batch)) for event in total}
    return rows | {REST: {event: total[event] - known[event] for event in total}}
