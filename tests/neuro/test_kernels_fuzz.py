"""Compiled kernels called directly on lists made by hand, of whatever shape, against int64 NumPy: every bit the same.

NEURO_FUZZ: examples of each property, for a longer run.
"""

import os
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from neuro import native
from neuro.synaptic import CROSSOVER, LOOKUP_LIMIT, fire, synapses
from neuro.taps import ALIGN, Taps, by_channel
from neuro.trains import WORD, Packed, counts

EXAMPLES = int(os.environ.get("NEURO_FUZZ", "60"))
RATE_SOFT, RATE_HARD, UNARY, BITS, SUM, SUM_BITS = range(6)
CHANNELS = (1, 2, 7, 8, 63, 64, 65, 129)
LARGEST = {"int8": 127, "int16": 32767, "float32": 127}
EXACT = {"int8": 2**31, "int16": 2**31, "float32": 2**24}


@pytest.fixture(autouse=True)
def compiled():
    if native.kernels().library is None:
        pytest.skip(f"no compiled kernels: {native.kernels().reason}")


@dataclass(frozen=True)
class Case:
    """One call of `fire`: sizes are drawn, what fills them comes from `seed`."""

    seed: int
    kind: str
    mode: int
    batch: int
    steps: int
    sources: list[tuple[int, int]]  # positions, channels
    targets: int
    channels: int
    largest: int
    pairs: int  # taps and points, at most
    repeated: bool  # whether a target may hear a weight row from two places
    density: float
    threshold: int
    biased: bool
    apart: bool  # whether neurons differ between positions
    limit: int | None
    way: str


WAYS: dict[str, dict[str, float]] = {
    "chosen": {},
    "lists": {"crossover": 2.0, "matrix": 2.0},
    "tables": {"crossover": -1.0, "matrix": 2.0},
    "products": {"crossover": -1.0, "matrix": -1.0},
}
"""How a tile is worked off; products where there are matrix units, else tables, and these where they hold the sums."""


@st.composite
def cases(draw) -> Case:
    kind = draw(st.sampled_from(sorted(LARGEST)))
    mode = draw(st.integers(RATE_SOFT, SUM_BITS))
    largest = draw(st.sampled_from([n for n in (0, 1, 127, LOOKUP_LIMIT, 900, 32767) if n <= LARGEST[kind]]))
    doubles = mode in (BITS, SUM_BITS)
    source = st.tuples(st.integers(1, 5), st.sampled_from(CHANNELS))
    return Case(
        seed=draw(st.integers(0, 2**32 - 1)),
        kind=kind,
        mode=mode,
        batch=draw(st.integers(1, 9)),
        steps=draw(st.integers(1, 4 if doubles else 33)),
        sources=draw(st.lists(source, min_size=1, max_size=3)),
        targets=draw(st.integers(1, 6)),
        channels=draw(st.sampled_from(CHANNELS)),
        largest=largest,
        pairs=draw(st.integers(0, 12)),
        repeated=draw(st.booleans()),
        density=draw(st.sampled_from([0.0, 0.02, 0.3, 1.0])),
        threshold=draw(st.sampled_from([1, 2, 300, 60_000])),
        biased=draw(st.booleans()) and mode in (RATE_SOFT, RATE_HARD, SUM),
        apart=draw(st.booleans()),
        limit=draw(st.sampled_from([None, 1, 700])) if mode in (RATE_SOFT, RATE_HARD, SUM) else None,
        way=draw(st.sampled_from(sorted(WAYS))),
    )


def in_bits(spikes: np.ndarray) -> np.ndarray:
    """Spikes [step, batch, channel, position] as kernels hand them on: [batch, position, step, byte], whole words."""
    filled = np.pad(spikes, ((0, 0), (0, 0), (0, -spikes.shape[2] % WORD), (0, 0)))
    return np.packbits(filled.transpose(1, 3, 0, 2), axis=3, bitorder="little")


def lists(case: Case, rng: np.random.Generator) -> Taps:
    """Taps and points between random positions; equal ones are kept where `case.repeated`."""
    names = tuple(f"s{i}" for i in range(len(case.sources)))
    blocks: list[tuple[int, int]] = []  # source, first weight row
    rows = 0
    for source, (_, channels) in enumerate(case.sources):
        for _ in range(rng.integers(1, 3)):
            blocks.append((source, rows))
            rows += -(-channels // ALIGN) * ALIGN
    taps, heard = [], set()
    for _ in range(rng.integers(0, case.pairs + 1)):
        source, row = blocks[rng.integers(len(blocks))]
        target = int(rng.integers(case.targets))
        if case.repeated or (target, row) not in heard:
            heard.add((target, row))
            taps.append((target, source, int(rng.integers(case.sources[source][0])), row))
    points = []
    for _ in range(rng.integers(0, case.pairs + 1)):
        source = int(rng.integers(len(case.sources)))
        points.append(
            (rng.integers(case.targets), source, rng.integers(case.sources[source][0]), rng.integers(3)),
        )
    weights = rng.integers(-case.largest, case.largest + 1, (rows, case.channels))
    for source, row in blocks:  # rows that fill up a block hear nothing
        weights[row + case.sources[source][1] : row + -(-case.sources[source][1] // ALIGN) * ALIGN] = 0
    return Taps(
        names,
        by_channel((case.channels, case.targets)),
        np.array(taps, np.int64).reshape(-1, 4),
        np.array(points, np.int64).reshape(-1, 4),
        weights,
        rng.integers(-case.largest, case.largest + 1, (3, case.channels)),
    )


def arrivals(case: Case, found: Taps, trains: list[np.ndarray]) -> np.ndarray:
    """What every neuron is given in every step [step, batch, target, channel]; windows end together."""
    steps = max(len(t) for t in trains)
    given = np.zeros((steps, case.batch, case.targets, case.channels), np.int64)
    for target, source, position, row in found.taps:
        spikes = trains[source][..., position].astype(np.int64)
        given[steps - len(spikes) :, :, target] += spikes @ found.weights[row : row + spikes.shape[2]]
    for target, source, position, row in found.points:
        spikes = trains[source][..., position].astype(np.int64)
        shared = min(spikes.shape[2], case.channels)
        weight = found.point_weights[row, :shared]
        given[steps - len(spikes) :, :, target, :shared] += spikes[..., :shared] * weight
    return given


def membranes(case: Case, given: np.ndarray, neurons: np.ndarray, out_steps: int, levels: int):
    """Spikes [step, batch, target, channel], last membrane, largest membrane by sample, largest number on the way."""
    threshold, bias, start = neurons
    rate, doubles = case.mode in (RATE_SOFT, RATE_HARD), case.mode in (BITS, SUM_BITS)
    v = np.broadcast_to(start if rate else 0 * start, given.shape[1:]).copy()
    peak, spikes = np.abs(np.maximum(v, 0)).max((1, 2)), []
    most = 0
    for now in given:
        v = v * (2 if doubles else 1) + now + bias
        most = max(most, int(np.abs(v).max()), int(np.abs(now).max()))
        peak = np.maximum(peak, np.abs(v).max((1, 2)))
        if case.limit is not None:
            v = np.clip(v, -case.limit, case.limit)
        if rate:
            spikes.append(v >= threshold)
            v = np.where(spikes[-1], 0 if case.mode == RATE_HARD else v - threshold, v)
    if case.mode in (UNARY, BITS):
        v = v + start
        most = max(most, int(np.abs(v).max()))
        if doubles and levels + 1 != 2**out_steps:
            v = np.clip(v, 0, threshold * (levels + 1) - 1)
        for t in range(out_steps):
            due = threshold * (2 ** (out_steps - 1 - t) if doubles else 1)
            spikes.append(v >= due)
            v = v - due * spikes[-1]
    shape = (len(spikes), *v.shape)
    return np.array(spikes, bool).reshape(shape), v, peak if case.mode in (RATE_SOFT, RATE_HARD, SUM) else 0, most


def check(case: Case) -> None:
    rng = np.random.default_rng(case.seed)
    found = lists(case, rng)
    late = case.mode not in (RATE_SOFT, RATE_HARD)
    lengths = [int(rng.integers(1, case.steps + 1)) if late and i else case.steps for i in range(len(case.sources))]
    trains = [
        rng.random((steps, case.batch, channels, positions)) < case.density
        for steps, (positions, channels) in zip(lengths, case.sources, strict=True)
    ]
    own = (case.targets if case.apart else 1, case.channels)
    neurons = np.stack(
        [
            rng.integers(1, case.threshold + 1, own),
            rng.integers(-9, 10, own) * case.biased,
            rng.integers(-case.threshold, case.threshold + 1, own),
        ]
    )
    levels = int(rng.integers(1, 16))
    out_steps = {UNARY: levels, BITS: levels.bit_length(), SUM: 0, SUM_BITS: 0}.get(case.mode, case.steps)
    given = arrivals(case, found, trains)
    spikes, membrane, peak, most = membranes(case, given, neurons, out_steps, levels)
    if most >= EXACT[case.kind]:
        reject()  # such networks are refused when they are prepared
    kind = np.float32 if case.kind == "float32" else np.int64
    ready = Taps(
        found.sources,
        found.layout,
        found.taps,
        found.points,
        found.weights.astype(kind),
        found.point_weights.astype(kind),
    )
    layouts = [by_channel((channels, positions)) for positions, channels in case.sources]
    prepared = synapses(ready, layouts, native.lane_bytes())
    if case.kind == "int16":
        prepared = prepared.stored("int16")
    assert prepared.kind == case.kind
    spare = ((0, 0), (0, prepared.lanes - case.channels))
    full = np.stack([np.pad(n, spare, constant_values=c) for n, c in zip(neurons, (1, 0, 0), strict=True)])
    bits = [jnp.asarray(in_bits(t)) for t in trains]
    feeds = dict(zip(found.sources, map(Packed, bits, layouts), strict=True))
    limit = float("inf") if case.limit is None else float(case.limit)
    found = fire(prepared, full, case.biased, feeds, case.mode, out_steps, levels, limit, **WAYS[case.way])
    if out_steps:
        np.testing.assert_array_equal(np.asarray(found.bits), in_bits(spikes.transpose(0, 1, 3, 2)))
    else:
        np.testing.assert_array_equal(np.asarray(found.membrane)[:, :, : case.channels], membrane)
    np.testing.assert_array_equal(np.asarray(found.peak), peak if np.ndim(peak) else np.zeros(case.batch))


@settings(max_examples=EXAMPLES)
@given(cases())
def test_fire_is_what_numpy_does(case):
    check(case)


@pytest.mark.parametrize("kind", sorted(LARGEST))
@pytest.mark.parametrize("way", ["lists", "tables", "products"])
def test_one_map_point_hears_many_rows_in_every_way(kind, way):
    """All spikes of 387 channels at the largest weights that tables hold, onto 129 channels of one position."""
    assert CROSSOVER[kind] < 2.0
    sources, largest = [(1, 129), (1, 129), (1, 129)], min(LOOKUP_LIMIT, LARGEST[kind])
    for mode in range(SUM_BITS + 1):
        check(
            Case(
                mode, kind, mode, 9, 3, sources, 1, 129, largest, 12, False, 1.0, 300, False, False, None, way
            )
        )  # fmt: skip


@pytest.mark.parametrize("kind", sorted(LARGEST))
@pytest.mark.parametrize("steps", [16, 33])
@pytest.mark.parametrize(("batch", "sources", "targets"), [(2, [(1300, 64)], 13), (70, [(1, 1024), (2, 65)], 2)])
def test_more_spikes_than_the_second_cache_has_room_for(kind, steps, batch, sources, targets):
    """Products take the targets of such a sample in parts, and of small ones several together, but not all."""
    sizes = (batch, steps, sources, targets, 65)
    check(Case(1, kind, RATE_SOFT, *sizes, 127, 60, True, 0.5, 300, True, True, None, "products"))


@settings(max_examples=EXAMPLES // 4)
@given(
    seed=st.integers(0, 2**32 - 1),
    batch=st.integers(1, 5),
    steps=st.integers(1, 20),
    positions=st.integers(1, 6),
    channels=st.sampled_from(CHANNELS),
    serial=st.booleans(),
)
def test_pools_and_counts_are_what_numpy_does(seed, batch, steps, positions, channels, serial):
    rng = np.random.default_rng(seed)
    layout = by_channel((channels, positions))
    spikes = rng.random((steps, batch, channels, positions)) < rng.choice([0.1, 0.5, 1.0])
    trains = Packed(jnp.asarray(in_bits(spikes)), layout)
    powers = 2 ** np.arange(steps - 1, -1, -1)
    numbers = np.tensordot(powers, spikes.astype(np.int64), 1)
    np.testing.assert_array_equal(np.asarray(counts(trains, False)), spikes.sum(0))
    np.testing.assert_array_equal(np.asarray(counts(trains, True)), numbers)
    windows = [rng.integers(0, positions, rng.integers(1, 5)) for _ in range(rng.integers(1, 5))]
    ends = np.cumsum([0, *map(len, windows)]).astype(np.int32)
    shape = jax.ShapeDtypeStruct((batch, len(windows), steps, trains.bits.shape[3]), jnp.uint8)
    call = jax.ffi.ffi_call(native.target("pool", native.kernels().isa), shape)
    members = jnp.asarray(np.concatenate(windows), jnp.int32)
    pooled = Packed(
        call(trains.bits, jnp.asarray(ends), members, serial=np.int32(serial)), by_channel((channels, len(windows)))
    )
    if serial:
        want = np.stack([numbers[..., w].max(-1) for w in windows], -1)
    else:
        want = np.stack([spikes[..., w].any(-1) for w in windows], -1).sum(0)
    np.testing.assert_array_equal(np.asarray(counts(pooled, serial)), want)
