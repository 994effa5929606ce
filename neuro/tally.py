"""The compiled account of a run: what a few sums of its spikes come to on every core and link (kernels/account.h)."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.sparse import coo_array, csc_array, csr_array, hstack, vstack

from neuro import native, topology
from neuro.effects import effects, load_events, sending
from neuro.grouped import Grouped, grouped
from neuro.loads import clock, core_prices, sweep_time
from neuro.placement import Placement
from neuro.taps import Layout
from neuro.trains import Packed

LANES = 16
"""Steps of the widest vector of any processor."""


@dataclass(frozen=True, eq=False)
class Tables:
    """A placed network as the kernel sees it. Its sums are those of each of `populations`, from `first` on; one for
    each of `beats`, the steps in which clock neurons spike; and totals of those sums of a population that mean the same
    to the cores that send, or to those that hear.

    totals: where each begins in `adds`, the rows that it adds up. causes: what one of each comes to on all cores: hops
    and chip borders, of spikes by their sums; loads, of spikes by their totals. What it comes to on one core or link is
    in a column, and in an empty one, the first, where nothing ever arrives. of_core: which column; behind these are the
    `links` columns of links. Equal columns are there once.
    rows: where the steps of each sum and total begin, as many as its population runs, in vectors of `LANES`.
    columns: of each, its first segment; segments: population, entries from, to; entries: a row, an amount.
    bounds: of each of the links, its first bound; a link carries no more than the sum of what is in the columns that
    bound it, so many times; one without bounds may carry anything.
    """

    populations: tuple[Grouped, ...]
    first: tuple[int, ...]
    beats: Int[np.ndarray, "beat"]
    causes: Float[np.ndarray, "sum event"]
    rows: Int[np.ndarray, "row"]
    totals: Int[np.ndarray, "total"]
    adds: Int[np.ndarray, "add"]
    of_core: Int[np.ndarray, "load core"]
    links: int
    columns: Int[np.ndarray, "column"]
    segments: Int[np.ndarray, "segment 3"]
    entries: Int[np.ndarray, "entry"]
    amounts: Float[np.ndarray, "entry"]
    bounds: Int[np.ndarray, "bounded"]
    bounding: Int[np.ndarray, "bound"]
    times: Float[np.ndarray, "bound"]


def tables(placement: Placement, layouts: Mapping[str, Layout], steps: Mapping[str, int]) -> Tables:
    """The tables of populations whose spikes are packed as `layouts` say and that run for so many `steps`."""
    events, cores = load_events(placement), placement.number
    loads, sent, out = len(events), len(sending(placement)), events.index("axon_out")
    populations, ends, beats, every = _sums(placement, layouts)
    of_links = every[:, 2 + loads * cores :]
    of_links = of_links[:, _distinct(of_links)[1]]
    number = ends[-1] + len(beats)
    wide, of, totals, adds = _totalled(every[:, 2 : 2 + loads * cores], ends, sent * cores)
    runs = [steps[name] + (placement.realisation.sends > 1) for name in layouts]
    lanes = np.array([-(-number // LANES) * LANES for number in (*runs, placement.schedule.total)])
    begin = np.append(0, np.cumsum(lanes[of])).astype(np.int32)
    each = [wide[:, k * cores : (k + 1) * cores] for k in range(loads)]
    which, kept = _distinct(wide)
    of_core = which.reshape(loads, cores)
    links, rows = len(of_links.indptr) - 1, number + len(totals) - 1
    of_links.resize(rows, links)
    taken = csc_array(hstack([wide[:, kept], of_links], format="csc"))
    taken.sort_indices()
    column = np.repeat(np.arange(len(taken.indptr) - 1), np.diff(taken.indptr))
    begins = np.flatnonzero(np.diff(of[taken.indices], prepend=-1) | np.diff(column, prepend=-1))
    segments = np.column_stack([of[taken.indices[begins]], begins, np.append(begins, taken.nnz)[1:]])
    causes = np.zeros((rows, 2 + loads), np.float32)
    causes[:number, :2] = every[:, :2].toarray()
    causes[:, 2:] = np.column_stack([load.sum(axis=1) for load in each])
    return Tables(
        populations=tuple(populations),
        first=tuple(ends[:-1]),
        beats=beats.astype(np.int32),
        causes=causes,
        rows=begin,
        totals=totals,
        adds=begin[adds],
        of_core=of_core,
        links=links,
        columns=np.append(0, np.searchsorted(column[begins], np.arange(len(taken.indptr)))).astype(np.int32),
        segments=segments.astype(np.int32),
        entries=begin[taken.indices],
        amounts=taken.data.astype(np.float32),
        **_bounds(of_links, every[:, 2 + out * cores : 2 + (out + 1) * cores], of_core[out]),
    )


def _sums(
    placement: Placement, layouts: Mapping[str, Layout]
) -> tuple[list[Grouped], list[int], Int[np.ndarray, "beat"], csc_array]:
    """Sums of each population and where these begin and end; steps of the clock; what one of each sum, and of each of
    these steps, comes to: hops, chip borders, loads of cores, packets on links."""
    cores, loads = placement.number, len(load_events(placement))
    links = len(topology.links(placement.topology).names) if placement.chip.time.link else 0
    width = 2 + loads * cores + links
    populations: list[Grouped] = []
    ends, rows = [0], []
    for name, layout in layouts.items():
        found = effects(placement, name)
        column = found.columns(lambda of, load: 2 + load * cores + of, 2 + loads * cores)
        populations.append(grouped(found.matrix, layout))
        each = populations[-1].causes
        rows.append(csr_array((each.data, column[each.indices], each.indptr), (len(each.indptr) - 1, width)))
        ends.append(ends[-1] + len(each.indptr) - 1)
    ticking = clock(placement)[0].transpose(0, 2, 1).reshape(placement.schedule.total, -1)
    beats = np.flatnonzero(ticking.any(axis=1))
    rows.append(csr_array(np.pad(ticking[beats], ((0, 0), (2, links)))))
    every = csc_array(vstack(rows, format="csc", dtype=np.float32))
    every.sum_duplicates()
    return populations, ends, beats, every


def _totalled(
    every: csc_array, ends: list[int], sent: int
) -> tuple[csc_array, Int[np.ndarray, "sum"], Int[np.ndarray, "total"], Int[np.ndarray, "add"]]:
    """Loads of cores, the first `sent` columns those of senders, as what totals come to; of which population sums and
    totals are (beats: one further); where the sums that a total adds up begin, and these.

    A population's neurons fall into groups by what they send and what hears them together. A core needs only one of
    both, which is the same for many groups.
    """
    rows, width = csr_array(every), len(every.indptr) - 1
    number = len(rows.indptr) - 1
    beats = rows[ends[-1] :].tocoo()
    entries = [(beats.row + ends[-1], beats.col, beats.data)]
    of, adds = [np.searchsorted(ends[1:], np.arange(number), side="right")], []
    for begin, end in ((0, sent), (sent, width)):
        for population, (first, last) in enumerate(pairwise(ends)):
            mine = csr_array(rows[first:last, begin:end])
            which, kept = _distinct(csc_array(mine.T))
            comes = mine[kept].tocoo()
            entries.append((comes.row + number + len(adds), comes.col + begin, comes.data))
            parts = np.split(
                np.argsort(which, kind="stable"), np.searchsorted(np.sort(which), np.arange(len(kept)) + 1)
            )
            adds += [first + part for part in parts[1:]]  # the first are in none
            of.append(np.full(len(kept), population))
    row, column, amount = (np.concatenate(each) for each in zip(*entries, strict=True))
    wide = coo_array((amount, (row, column)), shape=(number + len(adds), width)).tocsc()
    totals = np.cumsum([0, *map(len, adds)])
    return wide, np.concatenate(of), totals.astype(np.int32), np.concatenate([[], *adds]).astype(np.int32)


def _bounds(links: csc_array, sent: csc_array, of_core: Int[np.ndarray, "core"]) -> dict[str, np.ndarray]:
    """What links carry, bounded by the packets that cores send: `links` and `sent` are what one of each sum comes to.
    Where it is not clear which core a sum is of, there is no bound."""
    each = sent.tocoo()
    sender, packets = np.zeros((2, 1 + max(links.indices.max(initial=0), each.row.max(initial=0))))
    sender[each.row], packets[each.row] = each.col, each.data
    carried = links.tocoo()
    known = packets[carried.row] > 0
    without = np.unique(carried.col[~known])
    kept = known & ~np.isin(carried.col, without)
    link, core = carried.col[kept], sender[carried.row[kept]].astype(int)
    pairs, which = np.unique(np.stack([link, core]), axis=1, return_inverse=True)
    most = np.zeros(pairs.shape[1])
    np.maximum.at(most, which, carried.data[kept] / packets[carried.row[kept]])
    return {
        "bounds": np.searchsorted(pairs[0], np.arange(len(links.indptr))).astype(np.int32),
        "bounding": of_core[pairs[1]],
        "times": most.astype(np.float32),
    }


def _distinct(every: csc_array) -> tuple[Int[np.ndarray, "place"], Int[np.ndarray, "column"]]:
    """Which distinct column each column is, from 1 on, 0 for those that are empty; and one of each."""
    every.sort_indices()
    found: dict[bytes, int] = {b"": 0}
    kept: list[int] = []
    which = np.zeros(len(every.indptr) - 1, np.int32)
    for k, (begin, end) in enumerate(zip(every.indptr[:-1], every.indptr[1:], strict=True)):
        which[k] = found.setdefault(every.indices[begin:end].tobytes() + every.data[begin:end].tobytes(), len(found))
        if which[k] > len(kept):
            kept.append(k)
    return which, np.array(kept, int)


def tally(placement: Placement, spikes: Mapping[str, Packed], period: int) -> tuple[Array, Array, Array, Array]:
    """Of every sample: hops, chip borders, loads [batch, 2 + load]; events of what its steps wait for [batch, event].
    In the stream regime, for every step of a period, the seconds that it waits [step, batch] and the events of what it
    waits for. Events: compartments swept, loads, link, tick.
    """
    time, pace = placement.chip.time, placement.chip.pace
    found = tables(
        placement,
        {name: train.layout for name, train in spikes.items()},
        {name: train.shape[0] for name, train in spikes.items()},
    )
    number, steps, batch = 2 + len(load_events(placement)), placement.schedule.total, _batch(spikes)
    shapes = [(batch, number), (batch, number + 1), (period, batch), (period, batch, number + 1)]
    call = jax.ffi.ffi_call(
        native.target("account", native.kernels().isa), [jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes]
    )
    fixed = (
        core_prices(placement),
        np.stack([sweep_time(placement), placement.swept]).astype(np.float32),
        found.causes,
        found.of_core, found.beats, found.totals, found.adds, found.columns, found.segments,
        found.entries, found.amounts, found.bounds, found.bounding, found.times, found.rows,
    )  # fmt: skip
    each: list[Array | np.ndarray] = []
    for train, parts in zip(spikes.values(), found.populations, strict=True):
        each += [train.bits, parts.units, parts.runs]
    streams = placement.realisation.streams
    totals, single, waits, flights = call(
        *map(jnp.asarray, (*fixed, *each)),
        starts=np.array([placement.schedule.windows[name].start for name in spikes]),
        firsts=np.array(found.first),
        steps=np.int32(steps),
        period=np.int32(period),
        links=np.int32(found.links),
        depth=np.int32(-(-steps // period) if streams else 0),
        sent=np.int32(len(sending(placement))),
        overlap=np.int32(pace.overlap),
        again=np.int32(placement.realisation.sends > 1),
        link=np.float32(time.link.value if time.link else 0),
        tick=np.float32(time.tick.value if pace.kind == "tick" and time.tick else -1),
    )
    return totals, single, waits, flights


def _batch(spikes: Mapping[str, Packed]) -> int:
    return next(iter(spikes.values())).shape[1]
