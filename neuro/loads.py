"""What every core and link of a placed network handles in every step, and what one of each takes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from neuro import topology
from neuro.effects import effects, load_events
from neuro.placement import Placement
from neuro.trains import Packed, Trains, unpacked


@partial(jax.tree_util.register_dataclass, data_fields=["core", "link", "hops", "chip_hops"], meta_fields=[])
@dataclass(frozen=True)
class Loads:
    """Loads of cores (`load_events`) and packets on links, step by step; hops and chip borders crossed, by sample."""

    core: Float[Array, "step batch core load"]
    link: Float[Array, "step batch link"]
    hops: Float[Array, "batch"]
    chip_hops: Float[Array, "batch"]


def loads(placement: Placement, spikes: Mapping[str, Trains]) -> Loads:
    """What every core sends and receives in every global step.

    Packets and the synapses they reach are handled in the step in which they are sent: a step ends when its last
    packet has been; delays are spent at the receiver's side. All that a spike causes is linear in it: one product of
    spikes and `effects` gives every load of a population.
    """
    events, number = len(load_events(placement)), placement.number
    steps, batch = placement.schedule.total, next(iter(spikes.values())).shape[1]
    links = len(topology.links(placement.topology).names) if placement.chip.time.link else 0
    total = jnp.zeros((steps, batch, 2 + number * events + links), jnp.float32)
    for name, one in spikes.items():
        found = effects(placement, name)
        columns = found.columns(lambda cores, load: 2 + cores * events + load, 2 + number * events)
        spiked = (unpacked(one) if isinstance(one, Packed) else one).astype(bool)
        flat = spiked.reshape(-1, len(found.matrix)).astype(jnp.float32)
        caused = (flat @ jnp.asarray(found.matrix)).reshape(*spiked.shape[:2], -1)
        if placement.realisation.sends > 1:  # all of it once more, in the step after the last
            caused = jnp.concatenate([caused, caused.sum(axis=0, keepdims=True)])
        start = placement.schedule.windows[name].start
        total = total.at[start : start + len(caused), :, jnp.asarray(columns)].add(caused)
    core = total[..., 2 : 2 + number * events].reshape(steps, batch, number, events)
    crossed = total[..., :2].sum(axis=0)
    ticking, borders = clock(placement)
    return Loads(
        core + jnp.asarray(ticking)[:, None],
        total[..., 2 + number * events :],
        crossed[:, 0] + borders[0],
        crossed[:, 1] + borders[1],
    )


def clock(placement: Placement) -> tuple[Float[np.ndarray, "step core load"], np.ndarray]:
    """The spikes of clock neurons and the borders they cross: gates close at the start, open with the bias for a
    window, close after it. A line's one spike goes to every core of the population, in a packet each."""
    schedule, gate = placement.schedule, placement.realisation.clock
    events = load_events(placement)
    load, crossed = np.zeros((schedule.total, placement.number, len(events)), np.float32), np.zeros(2, np.float32)
    if not gate:
        return load, crossed
    last = placement.number - 1
    for name in placement.gated:
        window, cores = schedule.windows[name], placement.cores_of(name)
        neurons = (placement.core[name][:, None] == cores).sum(axis=0)
        ends = (placement.topology, placement.site[[last]], placement.site[cores])
        borders = np.array([topology.hops(*ends).sum(), topology.chip_hops(*ends).sum()], np.float32)
        for step, lines in ((0, gate), (window.start, gate + placement.realisation.clock_bias), (window.end, gate)):
            load[step, cores, events.index("axon_in")] += lines
            load[step, cores, events.index("synop_dense")] += lines * neurons
            load[step, last, :2] += (lines, lines * len(cores))
            crossed += lines * borders
    return load, crossed


def core_prices(placement: Placement) -> Float[np.ndarray, "load"]:
    """Nominal seconds of one of `load_events`; what is included in another price takes none."""
    constants = [getattr(placement.chip.time, event) for event in load_events(placement)]
    return np.array([constant.value if constant else 0.0 for constant in constants], np.float32)


def sweep_events(placement: Placement) -> tuple[str, ...]:
    """What one sweep of a compartment counts as: an access where the chip prices it apart, and an update."""
    if not placement.realisation.sweeps:
        return ()
    access = ("neuron_access",) if placement.chip.prices_energy("neuron_access") else ()
    return (*access, placement.realisation.update)


def sweep_time(placement: Placement) -> Float[np.ndarray, "core"]:
    """Nominal seconds of one sweep of every core's compartments."""
    constants = [getattr(placement.chip.time, event) for event in sweep_events(placement)]
    return placement.swept * sum(constant.value for constant in constants if constant)
