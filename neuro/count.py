"""From the spikes of a run to the hardware events of a placed network, per sample, under both schedules."""

from math import log2

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from neuro.counts import Counts, Path
from neuro.loads import FORMATS, compartments_swept, core_prices, format_shares, loads
from neuro.placement import Placement

MOST_LEVELS = 3
"""Doublings of the number of tiles after which the barrier stops growing."""


def count(placement: Placement, spikes: dict[str, Bool[Array, "step batch ..."]]) -> dict[str, Counts]:
    """Hardware events per sample under both schedules: ``single`` and, where the chip can clear itself, ``stream``.

    Energy events are totals. Time events are those of the core on which the others wait, step by step, at the chip's
    nominal prices: with other prices the time is a lower bound that is exact to first order. In the stream regime
    a step holds several samples at once, each at its own depth, and as many copies of the network as fit on the chip
    run side by side; every copy waits for the slowest core of all.
    """
    chip, schedule = placement.chip, placement.graph.schedule
    assert schedule is not None
    load, hops = loads(placement, spikes)  # [step, batch, core, LOADS], [batch]
    number = compartments_swept(placement)
    prices = core_prices(placement)
    total = load.sum(axis=(0, 2))  # [batch, LOADS]
    formats = format_shares(placement)
    by_format = jnp.einsum("sbc,cf->bf", load[..., 3], formats)
    batch = load.shape[1]

    def energy(steps: int) -> dict[str, Array]:
        flat = jnp.ones(batch, jnp.float32)
        events = {
            placement.realisation.update: flat * float(number.sum()) * steps,
            "spike": total[:, 0],
            "axon_out": total[:, 1],
            "hop": hops,
            **{f"synop_{f}": by_format[:, k] for k, f in enumerate(FORMATS)},
            "host_write": flat * placement.graph.size(placement.graph.input.name),
            "host_read": flat * placement.graph.size(placement.graph.output.name),
            "reset": flat,
        }
        return events | ({"management": flat * steps} if chip.energy.management else {})

    sweep = (number * prices[:, 4])[None, None]
    slowest = (_wait(load, prices) + sweep).argmax(axis=2)
    critical = _critical(load, slowest, number, formats)  # [step, batch, event]
    single = _path(placement, critical.sum(axis=0), schedule.total, 1)
    result = {"single": Counts(energy(schedule.total), single, single)}
    if placement.realisation.streams:
        period = schedule.period(placement.realisation.membranes > 1)
        folded = _folded(load, period)
        waiting = _wait(folded, prices) + sweep
        critical = _critical(folded, waiting.argmax(axis=2), number, formats)
        together = _slowest_copy(waiting.max(axis=2), critical, placement.copies).sum(axis=0)
        events = {name: n * placement.copies for name, n in energy(period).items()}
        if "management" in events:
            events["management"] = events["management"] / placement.copies
        interval = _path(placement, together, period, placement.copies)
        latency = _path(placement, together * (schedule.total / period), schedule.total, 1)
        result["stream"] = Counts(events, latency, interval, batch=placement.copies)
    return result


def _wait(load: Array, prices: np.ndarray) -> Float[Array, "step batch core"]:
    return jnp.einsum("sbcl,cl->sbc", load, jnp.asarray(prices[:, :4]))


def _critical(load: Array, slowest: Array, number: np.ndarray, formats: np.ndarray) -> Array:
    """Events of the slowest core in each step: update, spike, axon_out, axon_in, synop by format."""
    chosen = jnp.take_along_axis(load, slowest[:, :, None, None], axis=2)[:, :, 0]
    synops = chosen[..., 3:] * jnp.asarray(formats)[slowest]
    return jnp.concatenate([jnp.asarray(number)[slowest][..., None], chosen[..., :3], synops], axis=-1)


def _folded(load: Array, period: int) -> Array:
    """Steady state of a pipeline: in step t of a period every sample in flight adds its own step t + d period."""
    steps = load.shape[0]
    depth = -(-steps // period)
    padded = jnp.pad(load, ((0, depth * period - steps), (0, 0), (0, 0), (0, 0)))
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


def _path(placement: Placement, critical: Float[Array, "batch event"], steps: int, samples: int) -> Path:
    """Seconds waited for: the critical cores, a barrier a step, and what the host writes and reads for `samples`."""
    graph, chip = placement.graph, placement.chip
    levels = min(MOST_LEVELS, log2(placement.tiles))
    fixed = {
        "barrier": float(steps),
        "barrier_level": steps * levels,
        "host_write": float(samples * graph.size(graph.input.name)),
        "host_read": float(samples * graph.size(graph.output.name)),
        "reset": 1.0,
    } | ({"management": float(steps)} if chip.time.management else {})
    names = (placement.realisation.update, "spike", "axon_out", "axon_in", *(f"synop_{f}" for f in FORMATS), *fixed)
    others = jnp.broadcast_to(jnp.asarray(list(fixed.values()), jnp.float32)[None], (critical.shape[0], len(fixed)))
    return Path(names, jnp.concatenate([critical, others], axis=1)[:, None, None, :])
