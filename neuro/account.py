"""What a run comes to on a placed network: totals, and what its steps wait for; compiled where spikes are packed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from neuro.effects import sending
from neuro.loads import Loads, clock, core_prices, loads, sweep_events, sweep_time
from neuro.placement import Placement
from neuro.tally import tally
from neuro.trains import Packed, Trains


@dataclass(frozen=True)
class Account:
    """totals: loads of all cores (`load_events`) over all steps. hops, chip_hops: borders crossed. single: events of
    what each step waits for, over all steps. stream, where samples follow each other: seconds that each step of a
    period waits, and its events. Events are those of one core, link or tick: sweeps, loads, link, tick."""

    totals: Float[Array, "batch load"]
    hops: Float[Array, "batch"]
    chip_hops: Float[Array, "batch"]
    single: Float[Array, "batch event"]
    stream: tuple[Float[Array, "step batch"], Float[Array, "step batch event"]] | None


def account(placement: Placement, spikes: Mapping[str, Trains]) -> Account:
    """The account of a batch. In the stream regime a step holds steps of several samples, each a period further; the
    batch closes to a ring, so that the first sample follows the last."""
    packed = {name: train for name, train in spikes.items() if isinstance(train, Packed)}
    if packed and len(packed) == len(spikes) and placement.chip.pace.kind != "event":
        return _compiled(placement, packed)
    load = loads(placement, spikes)
    stream = None
    if placement.realisation.streams:
        period = _period(placement)
        folded = replace(load, core=_folded(load.core, period), link=_folded(load.link, period))
        stream = _critical(placement, _unstepped(placement, folded))
    return Account(
        totals=load.core.sum(axis=(0, 2)),
        hops=load.hops,
        chip_hops=load.chip_hops,
        single=_critical(placement, _unstepped(placement, load))[1].sum(axis=0),
        stream=stream,
    )


def _period(placement: Placement) -> int:
    return placement.schedule.period(placement.realisation.membranes > 1)


def _compiled(placement: Placement, spikes: Mapping[str, Packed]) -> Account:
    """The same by the kernel: sample by sample, so that no step of any core is kept."""
    streams = placement.realisation.streams
    totals, single, waits, flights = tally(placement, spikes, _period(placement) if streams else 1)
    borders = clock(placement)[1]

    def named(found: Array) -> Array:
        return jnp.concatenate([jnp.repeat(found[..., :1], len(sweep_events(placement)), -1), found[..., 1:]], -1)

    return Account(
        totals=totals[:, 2:],
        hops=totals[:, 0] + borders[0],
        chip_hops=totals[:, 1] + borders[1],
        single=named(single),
        stream=(waits, named(flights)) if streams else None,
    )


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
