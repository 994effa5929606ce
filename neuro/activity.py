"""From the spikes of a run to the hardware events of a placed network: per sample, core and global time step."""

from dataclasses import dataclass
from math import log2

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from neuro.counts import Counts, Path
from neuro.graph import Graph
from neuro.placement import Placement
from neuro.stages import Reach, fan_out, populations

FORMATS = ("dense", "sparse", "conv")
LOADS = ("spike", "axon_out", "axon_in", "synop")  # what differs between cores in a step
MOST_LEVELS = 3  # the barrier stops growing at eight tiles


@dataclass(frozen=True)
class Activity:
    """What a batch did, whatever the chip: sums over a sample's run, by population.

    spikes [batch]: all spikes. synops [batch]: spikes times the synapses they reach.
    """

    spikes: dict[str, Float[Array | np.ndarray, "batch"]]
    synops: dict[str, Float[Array | np.ndarray, "batch"]]


jax.tree_util.register_dataclass(Activity, data_fields=["spikes", "synops"], meta_fields=[])


def fan_outs(graph: Graph, reach: Reach | None = None) -> dict[str, Float[np.ndarray, "neuron"]]:
    """Synapses that each neuron reaches, by population, over all its targets."""
    reach = reach or fan_out(graph)
    result = {n.name: np.zeros(graph.size(n.name), np.float32) for n in populations(graph)}
    for node in populations(graph)[1:]:
        for source, synapses in reach(node.name, np.ones((1, *graph.shapes[node.name]))).items():
            result[source] = result[source] + synapses[0]
    return result


def activity(fan: dict[str, np.ndarray], spikes: dict[str, Bool[Array, "step batch ..."]]) -> Activity:
    """Spikes and synaptic operations per sample; `fan` from `fan_outs`."""
    counts = {name: s.sum(axis=0).reshape(s.shape[1], -1).astype(jnp.float32) for name, s in spikes.items()}
    return Activity(
        spikes={name: n.sum(axis=1) for name, n in counts.items()},
        synops={name: n @ jnp.asarray(fan[name], jnp.float32) for name, n in counts.items()},
    )


def count(placement: Placement, spikes: dict[str, Bool[Array, "step batch ..."]]) -> dict[str, Counts]:
    """Hardware events per sample under both schedules: ``single`` and, where the chip can clear itself, ``stream``.

    Energy events are totals. Time events are those of the core on which the others wait, step by step, at the chip's
    nominal prices: with other prices the time is a lower bound that is exact to first order. In the stream regime
    a step holds several samples at once, each at its own depth, and as many copies of the network as fit on the chip
    run side by side; every copy waits for the slowest core of all.
    """
    chip, schedule = placement.chip, placement.graph.schedule
    assert schedule is not None
    load, hops = _loads(placement, spikes)  # [step, batch, core, LOADS], [batch]
    number = compartments_swept(placement)
    prices = core_prices(placement)
    total = load.sum(axis=(0, 2))  # [batch, LOADS]
    formats = _format_shares(placement)
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


def _loads(placement: Placement, spikes) -> tuple[Array, Array]:
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
    return load + jnp.asarray(_clock(placement))[:, None], hops


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


def _clock(placement: Placement) -> Float[np.ndarray, "step core load"]:
    """The spikes of clock neurons: gates close at the start, open with the bias for a window, close after it."""
    schedule, gate = placement.graph.schedule, placement.realisation.clock
    assert schedule is not None
    load = np.zeros((schedule.total, placement.number, len(LOADS)), np.float32)
    if not gate:
        return load
    for node in populations(placement.graph):
        if node.name not in schedule.windows or not hasattr(node.op, "threshold"):
            continue
        window = schedule.windows[node.name]
        for step, lines in ((0, gate), (window.start, gate + placement.realisation.clock_bias), (window.end, gate)):
            for core in placement.cores_of(node.name):
                neurons = float((placement.core[node.name] == core).sum())
                load[step, core] += (0, 0, lines, lines * neurons)
                load[step, placement.number - 1] += (lines, lines, 0, 0)
    return load


def compartments_swept(placement: Placement) -> Float[np.ndarray, "core"]:
    """Compartments that each core sweeps in every step."""
    number = np.zeros(placement.number, np.float32)
    for node in populations(placement.graph):
        pools = type(node.op).__name__ == "MaxPool"
        each = 1 if pools else placement.realisation.compartments
        np.add.at(number, placement.core[node.name], each)
    if placement.realisation.clock:
        number[-1] += 2 * placement.realisation.clock + placement.realisation.clock_bias
    return number


def _format_shares(placement: Placement) -> Float[np.ndarray, "core format"]:
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
    prices[:, 3] = _format_shares(placement) @ by_format
    prices[:, 4] = update.value
    return prices


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
