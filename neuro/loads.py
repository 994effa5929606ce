"""What every core of a placed network handles in every step, and what one of each takes it."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from neuro.layers import MaxPool, Threshold
from neuro.placement import Placement
from neuro.stages import populations

FORMATS = ("dense", "sparse", "conv")
LOADS = ("spike", "axon_out", "axon_in", "synop")
"""What differs between cores in a step."""


def loads(
    placement: Placement, spikes: dict[str, Bool[Array, "window batch ..."]]
) -> tuple[Float[Array, "step batch core load"], Float[Array, "batch"]]:
    """What every core sends and receives in every global step, and the hops of each sample.

    All that a spike causes is linear in it: one product of spikes and `_effects` gives every load of a population.
    """
    schedule = placement.graph.schedule
    assert schedule is not None
    batch = next(iter(spikes.values())).shape[1]
    load = jnp.zeros((schedule.total, batch, placement.number, len(LOADS)), jnp.float32)
    hops = jnp.zeros(batch, jnp.float32)
    for name, trains in spikes.items():
        window, cores = schedule.windows[name], placement.cores_of(name)
        flat = trains.reshape(window.steps * batch, -1).astype(jnp.float32)
        caused = (flat @ jnp.asarray(_effects(placement, name))).reshape(window.steps, batch, -1)
        hops = hops + caused[..., 0].sum(axis=0)
        caused = caused[..., 1:]
        leaving, caused = jnp.split(caused, [2 * len(cores)], axis=2)
        leaving = leaving.reshape(window.steps, batch, 2, len(cores)).swapaxes(2, 3)
        load = load.at[window.start : window.end, :, cores.start : cores.stop, :2].add(leaving)
        for fan in placement.fans:
            if fan.source == name:
                targets = placement.cores_of(fan.target)
                arriving, caused = jnp.split(caused, [2 * len(targets)], axis=2)
                arriving = arriving.reshape(window.steps, batch, 2, len(targets)).swapaxes(2, 3)
                start = window.start + 1 + schedule.delays[name, fan.target]
                load = load.at[start : start + window.steps, :, targets.start : targets.stop, 2:].add(arriving)
    clock, crossed = _clock(placement)
    return load + jnp.asarray(clock)[:, None], hops + jnp.float32(crossed)


def _effects(placement: Placement, name: str) -> Float[np.ndarray, "neuron effect"]:
    """What one spike of each neuron of a population causes: hops; a spike and packets on every core of the
    population; for every target, a packet and synaptic operations on each of its cores."""
    own, cores = placement.core[name], np.array(placement.cores_of(name))
    column, row = placement.position(np.arange(placement.number))
    mine = (own[:, None] == cores[None, :]).astype(np.float32)
    hops, packets = np.zeros(len(own)), np.zeros(len(own))
    inward = []
    for fan in placement.fans:
        if fan.source == name:
            targets = np.array(placement.cores_of(fan.target))
            hears = (fan.synapses > 0).T
            apart = np.abs(column[own][:, None] - column[targets]) + np.abs(row[own][:, None] - row[targets])
            packets += hears.sum(axis=1)
            hops += (hears * apart).sum(axis=1)
            inward += [hears, fan.synapses.T]
    return np.concatenate([hops[:, None], mine, mine * packets[:, None], *inward], axis=1).astype(np.float32)


def _clock(placement: Placement) -> tuple[Float[np.ndarray, "step core load"], float]:
    """The spikes of clock neurons and their hops: gates close at the start, open with the bias for a window, close
    after it. A line's one spike goes to every core of the population, in a packet each."""
    schedule, gate = placement.graph.schedule, placement.realisation.clock
    assert schedule is not None
    load, hops = np.zeros((schedule.total, placement.number, len(LOADS)), np.float32), 0.0
    if not gate:
        return load, hops
    clock = placement.number - 1
    column, row = placement.position(np.arange(placement.number))
    for node in populations(placement.graph):
        if not isinstance(node.op, Threshold):
            continue
        window, cores = schedule.windows[node.name], np.array(placement.cores_of(node.name))
        neurons = (placement.core[node.name][:, None] == cores).sum(axis=0)
        apart = np.abs(column[cores] - column[clock]) + np.abs(row[cores] - row[clock])
        for step, lines in ((0, gate), (window.start, gate + placement.realisation.clock_bias), (window.end, gate)):
            load[step, cores, 2] += lines
            load[step, cores, 3] += lines * neurons
            load[step, clock, :2] += (lines, lines * len(cores))
            hops += float(lines * apart.sum())
    return load, hops


def compartments_swept(placement: Placement) -> Float[np.ndarray, "core"]:
    """Compartments that each core sweeps in every step."""
    number = np.zeros(placement.number, np.float32)
    for node in populations(placement.graph):
        each = 1 if isinstance(node.op, MaxPool) else placement.realisation.compartments
        np.add.at(number, placement.core[node.name], each)
    if placement.realisation.clock:
        number[-1] += 2 * placement.realisation.clock + placement.realisation.clock_bias
    return number


def format_shares(placement: Placement) -> Float[np.ndarray, "core format"]:
    shares = np.zeros((placement.number, len(FORMATS)), np.float32)
    shares[:, 0] = 1  # clock synapses are dense rows
    for name, stored in placement.formats.items():
        for core in placement.cores_of(name):
            shares[core] = [stored == f for f in FORMATS]
    return shares


def core_prices(placement: Placement) -> Float[np.ndarray, "core 5"]:
    """Nominal seconds of each core for one of LOADS, and for one neuron update."""
    time = placement.chip.time
    by_format = np.array([time.synop_dense.value, time.synop_sparse.value, time.synop_conv.value])
    update = getattr(time, placement.realisation.update)
    prices = np.zeros((placement.number, 5), np.float32)
    prices[:, :3] = time.spike.value, time.axon_out.value, time.axon_in.value
    prices[:, 3] = format_shares(placement) @ by_format
    prices[:, 4] = update.value
    return prices
