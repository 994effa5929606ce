"""From the spikes of a run to the hardware events of a placed network, per sample, under both schedules."""

from collections.abc import Mapping
from dataclasses import replace
from math import ceil, log2

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from neuro.counts import Counts, Path
from neuro.loads import Loads, core_prices, load_events, loads, sending, sweep_events, sweep_time
from neuro.placement import Placement
from neuro.trains import Trains

MOST_LEVELS = 3
"""Doublings of the number of tiles after which the barrier stops growing."""


def count(
    placement: Placement,
    spikes: Mapping[str, Trains],
    updated: Float[Array, "batch"] | None = None,
) -> dict[str, Counts]:
    """Hardware events per sample under both schedules: ``single`` and, where the chip can clear itself, ``stream``.

    updated: compartments that had something to do, over all steps; by default all that are mapped.

    Energy events are totals. Time events are those of the core, link or tick on which the others wait, step by step,
    at the chip's nominal prices: with other prices the time is a lower bound that is exact to first order. In the
    stream regime a step holds several samples at once, each at its own depth, and as many copies of the network as fit
    on the chip run side by side; every copy waits for the slowest core of all. A chip without steps waits for its
    busiest core, over the whole sample.
    """
    schedule = placement.schedule
    load = loads(placement, spikes)
    steps = schedule.total
    latency = _path(placement, _critical(placement, _unstepped(placement, load))[1].sum(axis=0), steps, 1)
    result = {"single": Counts(_energy(placement, load, steps, updated), latency, latency, 1, placement.machines)}
    if placement.realisation.streams:
        period, copies = schedule.period(placement.realisation.membranes > 1), placement.copies
        folded = replace(load, core=_folded(load.core, period), link=_folded(load.link, period))
        critical = _slowest_copy(*_critical(placement, _unstepped(placement, folded)), copies).sum(axis=0)
        share = None if updated is None else updated * (period / steps)
        events = {name: n * copies for name, n in _energy(placement, load, period, share).items()}
        for once in ("management", "reset"):  # one for the whole chip
            if once in events:
                events[once] = events[once] / copies
        interval = _path(placement, critical, period, copies, copies)
        whole = _path(placement, critical * (steps / period), steps, 1, copies)
        result["stream"] = Counts(events, whole, interval, copies, placement.machines)
    return result


def _energy(placement: Placement, load: Loads, steps: int, updated: Array | None) -> dict[str, Array]:
    """Events that cost energy, summed over a sample's run of `steps` steps; only those that can happen."""
    chip, total = placement.chip, load.core.sum(axis=(0, 2))  # [batch, load]
    flat = jnp.ones(total.shape[0], jnp.float32)
    events: dict[str, Array] = {}
    if chip.pace.kind != "event":
        swept = flat * float(placement.swept.sum()) * steps
        events = dict.fromkeys(sweep_events(placement), swept)
        if updated is not None and "neuron_access" in events:
            events[placement.realisation.update] = updated
    events |= {name: total[:, i] for i, name in enumerate(load_events(placement)) if name != "axon_in"}
    if placement.number > 1:
        events["hop"] = load.hops
    if placement.chips > 1:
        events["chip_hop"] = load.chip_hops
    events |= {
        "host_write": flat * placement.inputs,
        "host_read": flat * placement.outputs,
        "reset": flat * placement.chips,
    }
    if chip.prices_energy("management"):
        events["management"] = flat * steps
    if chip.prices_energy("core_step"):
        events["core_step"] = flat * placement.occupied * steps
    return events


def _critical(placement: Placement, load: Loads) -> tuple[Float[Array, "step batch"], Float[Array, "step batch event"]]:
    """What each step waits for, its slowest core (both sides of it in turn, or the slower one), link or tick: seconds,
    and events of that one alone: sweeps, loads, link, tick."""
    time, pace = placement.chip.time, placement.chip.pace
    price, cores, links = jnp.asarray(core_prices(placement)), load.core.shape[2], load.link.shape[2]
    sent = len(sending(placement))
    sweeping = 0.0 if pace.kind == "event" else 1.0
    sweep = jnp.asarray(sweeping * sweep_time(placement), jnp.float32)[None, None]
    outgoing = load.core[..., :sent] @ price[:sent] + sweep
    incoming = load.core[..., sent:] @ price[sent:]
    sides = [outgoing, incoming] if pace.overlap else [outgoing + incoming]
    crossing = load.link * jnp.float32(time.link.value if time.link else 0.0)
    tick = jnp.full(
        (*outgoing.shape[:2], 1), time.tick.value if pace.kind == "tick" and time.tick else 0.0, jnp.float32
    )
    waits = jnp.concatenate([*sides, crossing, tick], axis=2)
    longest = waits.max(axis=2, keepdims=True)
    place = jax.lax.broadcasted_iota(jnp.int32, waits.shape, 2)
    # the first of the longest: what argmax gives, in a quarter of its time
    slowest = jnp.where(waits == longest, place, jnp.int32(waits.shape[2])).min(axis=2, keepdims=True)
    core, side = slowest % cores, slowest // cores
    link = jnp.where(side >= len(sides), slowest - len(sides) * cores, links)  # `links` itself stands for the tick
    none = jnp.zeros((*core.shape[:2], 1), jnp.float32)
    chosen = jnp.take_along_axis(load.core, core[..., None], axis=2)[:, :, 0]
    swept = jnp.asarray(sweeping * placement.swept, jnp.float32)[core]
    sends = (side == 0).astype(jnp.float32)
    receives = (side == len(sides) - 1).astype(jnp.float32)
    packets = jnp.take_along_axis(jnp.concatenate([load.link, none], axis=2), link, axis=2)
    ticks = ((side >= len(sides)) & (link == links)).astype(jnp.float32)
    events = [
        jnp.repeat(swept * sends, len(sweep_events(placement)), axis=2),
        chosen[..., :sent] * sends,
        chosen[..., sent:] * receives,
        jnp.where(side >= len(sides), packets, none),
        ticks,
    ]
    return longest[..., 0], jnp.concatenate(events, axis=2)


def _unstepped(placement: Placement, load: Loads) -> Loads:
    """Where there are no steps, all of a sample's loads together."""
    if placement.chip.pace.kind != "event":
        return load
    return replace(load, core=load.core.sum(axis=0)[None], link=load.link.sum(axis=0)[None])


def _folded(load: Array, period: int) -> Array:
    """Steady state of a pipeline: in step t of a period every sample in flight adds its own step t + d period."""
    steps = load.shape[0]
    depth = -(-steps // period)
    padded = jnp.pad(load, ((0, depth * period - steps), *((0, 0),) * (load.ndim - 1)))
    flights = padded.reshape(depth, period, *load.shape[1:])
    return jnp.stack([jnp.roll(flight, d, axis=1) for d, flight in enumerate(flights)]).sum(axis=0)


def _slowest_copy(waiting: Array, critical: Array, copies: int) -> Array:
    """Events of the slowest of `copies` networks that run side by side on consecutive samples."""

    def compare(k, best):
        time, events = best
        other, theirs = jnp.roll(waiting, k, axis=1), jnp.roll(critical, k, axis=1)
        later = other > time
        return jnp.where(later, other, time), jnp.where(later[..., None], theirs, events)

    return jax.lax.fori_loop(1, copies, compare, (waiting, critical))[1]


def _path(
    placement: Placement, critical: Float[Array, "batch event"], steps: int, samples: int, copies: int = 1
) -> Path:
    """Seconds waited for: the critical cores, a barrier a step, in which the cores of all `copies` meet, and what the
    host writes and reads for `samples`."""
    chip = placement.chip
    names = [*sweep_events(placement), *load_events(placement), "link", "tick"]
    fixed = {
        "host_write": float(samples * placement.inputs),
        "host_read": float(samples * placement.outputs),
        "reset": float(placement.chips),
    }
    if chip.pace.kind == "barrier":
        fixed |= {"barrier": float(steps), "barrier_level": steps * min(MOST_LEVELS, log2(_tiles(placement, copies)))}
        if placement.chips > 1:
            fixed["barrier_chip"] = float(steps * placement.chip_span)
    if chip.pace.kind == "event":
        fixed["layer"] = float(len(placement.core))
    if chip.prices_time("management"):
        fixed["management"] = float(steps)
    others = jnp.broadcast_to(jnp.asarray(list(fixed.values()), jnp.float32)[None], (critical.shape[0], len(fixed)))
    counts = jnp.concatenate([critical, others], axis=1)
    kept = [i for i, name in enumerate([*names, *fixed]) if _happens(placement, name)]
    return Path(tuple([*names, *fixed][i] for i in kept), counts[:, None, None, jnp.asarray(kept)])


def _tiles(placement: Placement, copies: int) -> int:
    """Routers with a core in use where `copies` networks lie side by side on one chip."""
    filled = ceil(copies * placement.number / placement.topology.cores_per_stop)
    return max(placement.tiles, min(filled, placement.topology.stops)) if copies > 1 else placement.tiles


def _happens(placement: Placement, event: str) -> bool:
    """Whether an event takes time by itself: links and ticks where the chip has them, sweeps where it has steps."""
    if event in placement.chip.included.time:
        return False
    if event in sweep_events(placement):
        return placement.chip.pace.kind != "event"
    if event == "link":
        return placement.chip.time.link is not None
    return event != "tick" or placement.chip.pace.kind == "tick"
