"""What every core and link of a placed network handles in every step, and what one of each takes it."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from neuro.placement import Placement

FORMATS = ("dense", "sparse", "conv")
LOADS = ("spike", "axon_out", "axon_in", *(f"synop_{f}" for f in FORMATS))
"""What differs between cores in a step."""
SENDING = 2
"""So many of LOADS belong to the sender, the others to the receiver."""


@partial(jax.tree_util.register_dataclass, data_fields=["core", "link", "hops", "chip_hops"], meta_fields=[])
@dataclass(frozen=True)
class Loads:
    """Loads of cores (LOADS) and packets on links, step by step; hops and chip borders crossed, by sample."""

    core: Float[Array, "step batch core load"]
    link: Float[Array, "step batch link"]
    hops: Float[Array, "batch"]
    chip_hops: Float[Array, "batch"]


def loads(placement: Placement, spikes: dict[str, Bool[Array, "window batch ..."]]) -> Loads:
    """What every core sends and receives in every global step.

    Packets and the synapses they reach are handled in the step in which they are sent: a step ends when its last
    packet has been; delays are spent at the receiver's side. All that a spike causes is linear in it: one product of
    spikes and `_effects` gives every load of a population.
    """
    schedule = placement.schedule
    batch = next(iter(spikes.values())).shape[1]
    links = placement.topology.links if placement.chip.time.link else 0
    core = jnp.zeros((schedule.total, batch, placement.number, len(LOADS)), jnp.float32)
    link = jnp.zeros((schedule.total, batch, links), jnp.float32)
    crossed = jnp.zeros((batch, 2), jnp.float32)
    for name, trains in spikes.items():
        window, effects = schedule.windows[name], _effects(placement, name)
        flat = trains.reshape(window.steps * batch, -1).astype(jnp.float32)
        caused = (flat @ jnp.asarray(effects.matrix)).reshape(window.steps, batch, -1)
        crossed = crossed + caused[..., :2].sum(axis=0)
        when = slice(window.start, window.end)
        for row, column, first, last in effects.core_columns:
            core = core.at[when, :, jnp.asarray(row), column].add(jnp.moveaxis(caused[..., first:last], 2, 0))
        if links and len(effects.links):
            link = link.at[when, :, jnp.asarray(effects.links)].add(
                jnp.moveaxis(caused[..., -len(effects.links) :], 2, 0)
            )
    clock, borders = _clock(placement)
    return Loads(core + jnp.asarray(clock)[:, None], link, crossed[:, 0] + borders[0], crossed[:, 1] + borders[1])


@dataclass(frozen=True)
class _Effects:
    """What one spike of each neuron causes. matrix [neuron, effect]; the first two effects are hops and chip borders.

    core_columns: (cores, load, first effect, last effect); links: those that the last effects stand for.
    """

    matrix: Float[np.ndarray, "neuron effect"]
    core_columns: tuple[tuple[np.ndarray, int, int, int], ...]
    links: np.ndarray


def _effects(placement: Placement, name: str) -> _Effects:
    own, cores, topology = placement.core[name], placement.cores_of(name), placement.topology
    fans = [fan for fan in placement.fans if fan.source == name]
    mine = (own[:, None] == cores[None, :]).astype(np.float32)
    packets = np.zeros(len(own))
    crossed = np.zeros((len(own), 2))
    blocks, places = [crossed, mine], [(cores, 0)]
    links = np.zeros((len(own), topology.links)) if placement.chip.time.link else np.zeros((len(own), 0))
    # Targets that several fans share hear one packet of a neuron, whatever its projections.
    heard: dict[int, np.ndarray] = {}
    for fan in fans:
        for core, synapses in zip(fan.cores, fan.synapses, strict=True):
            heard[int(core)] = heard.get(int(core), np.zeros(len(own), bool)) | (synapses > 0)
    targets = np.array(sorted(heard), int)
    hears = np.stack([heard[t] for t in targets.tolist()], axis=1) if heard else np.zeros((len(own), 0), bool)
    packets += hears.sum(axis=1)
    for core in cores:
        here = own == core
        route = topology.routes(placement.site[core], placement.site[targets])
        crossed[here] = route.crossed(hears[here])
        if links.shape[1]:
            links[here] = route.links(hears[here])
    blocks += [mine * packets[:, None], hears.astype(np.float32)]
    places += [(cores, 1), (targets, 2)]
    for fan in fans:
        blocks.append(fan.synapses.T)
        places.append((fan.cores, LOADS.index(f"synop_{fan.format}")))
    used = np.flatnonzero(links.any(axis=0))
    blocks.append(links[:, used])
    ends = np.cumsum([block.shape[1] for block in blocks])
    columns = [(*place, int(ends[i]), int(ends[i + 1])) for i, place in enumerate(places)]
    return _Effects(np.concatenate(blocks, axis=1).astype(np.float32), tuple(columns), used)


def _clock(placement: Placement) -> tuple[Float[np.ndarray, "step core load"], np.ndarray]:
    """The spikes of clock neurons and the borders they cross: gates close at the start, open with the bias for a
    window, close after it. A line's one spike goes to every core of the population, in a packet each."""
    schedule, gate = placement.schedule, placement.realisation.clock
    load, crossed = np.zeros((schedule.total, placement.number, len(LOADS)), np.float32), np.zeros(2, np.float32)
    if not gate:
        return load, crossed
    clock = placement.number - 1
    for name in placement.gated:
        window, cores = schedule.windows[name], placement.cores_of(name)
        neurons = (placement.core[name][:, None] == cores).sum(axis=0)
        route = placement.topology.routes(placement.site[clock], placement.site[cores])
        borders = route.crossed(np.ones((1, len(cores)), bool))[0]
        for step, lines in ((0, gate), (window.start, gate + placement.realisation.clock_bias), (window.end, gate)):
            load[step, cores, 2] += lines
            load[step, cores, 3] += lines * neurons  # clock synapses are dense rows
            load[step, clock, :2] += (lines, lines * len(cores))
            crossed += lines * borders
    return load, crossed


def core_prices(placement: Placement) -> Float[np.ndarray, "load"]:
    """Nominal seconds of one of LOADS; what is included in another price takes none."""
    time = placement.chip.time
    constants = [getattr(time, event) for event in LOADS]
    return np.array([constant.value if constant else 0.0 for constant in constants], np.float32)


def sweep_events(placement: Placement) -> tuple[str, ...]:
    """What one sweep of a compartment counts as: an access where the chip prices it apart, and an update."""
    access = ("neuron_access",) if placement.chip.energy.neuron_access else ()
    return (*access, placement.realisation.update)


def sweep_time(placement: Placement) -> Float[np.ndarray, "core"]:
    """Nominal seconds of one sweep of every core's compartments."""
    constants = [getattr(placement.chip.time, event) for event in sweep_events(placement)]
    return placement.swept * sum(constant.value for constant in constants if constant)
