"""From the spikes of a run to the hardware events of a placed network, per sample, under both schedules."""

from collections.abc import Mapping
from math import ceil, log2

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from neuro.account import Account, account
from neuro.counts import Counts, Path
from neuro.effects import load_events
from neuro.loads import sweep_events
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
    steps, found = placement.schedule.total, account(placement, spikes)
    latency = _path(placement, found.single, steps, 1)
    result = {"single": Counts(_energy(placement, found, steps, updated), latency, latency, 1, placement.machines())}
    if found.stream is not None:
        period, copies = placement.schedule.period(placement.realisation.membranes > 1), placement.copies
        critical = _slowest_copy(*found.stream, copies).sum(axis=0)
        share = None if updated is None else updated * (period / steps)
        events = {name: n * copies for name, n in _energy(placement, found, period, share).items()}
        for once in ("management", "reset"):  # one for the whole chip
            if once in events:
                events[once] = events[once] / copies
        interval = _path(placement, critical, period, copies, copies)
        whole = _path(placement, critical * (steps / period), steps, 1, copies)
        result["stream"] = Counts(events, whole, interval, copies, placement.machines(copies))
    return result


def before(placement: Placement) -> int:
    """Samples before a sample that its counts depend on in the stream regime: those that are still under way, and those
    that the other copies of the network hold."""
    if not placement.realisation.streams:
        return 0
    period = placement.schedule.period(placement.realisation.membranes > 1)
    return ceil(placement.schedule.total / period) - 1 + placement.copies - 1


def _energy(placement: Placement, found: Account, steps: int, updated: Array | None) -> dict[str, Array]:
    """Events that cost energy, summed over a sample's run of `steps` steps; only those that can happen."""
    chip, flat = placement.chip, jnp.ones(found.totals.shape[0], jnp.float32)
    events: dict[str, Array] = {}
    if chip.pace.kind != "event":
        swept = flat * float(placement.swept.sum()) * steps
        events = dict.fromkeys(sweep_events(placement), swept)
        if updated is not None and "neuron_access" in events:
            events[placement.realisation.update] = updated
    events |= {name: found.totals[:, i] for i, name in enumerate(load_events(placement)) if name != "axon_in"}
    if placement.number > 1:
        events["hop"] = found.hops
    if placement.chips > 1:
        events["chip_hop"] = found.chip_hops
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
