"""Weights and lists of one stage as the compiled `fire` kernel reads them, and the call of that kernel."""

from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from neuro import native
from neuro.taps import Layout, NoTaps, Taps
from neuro.trains import WORD, Packed

LOOKUP_LIMIT = 341
"""Largest weight of which 96 rows add up within 16 bits: the tables of `lookup` hold so many."""
CROSSOVER = {"int8": 0.45, "int16": 0.25, "float32": 0.24}
"""Spike density above which tables beat lists: int16 and float32 as seen on a core with AVX-512, int8 where the times
of a layer of 1,200 neurons cross on one with AVX2. It decides speed, never results."""
MATRIX = {"int8": 0.1, "int16": 0.14, "float32": 0.12}
"""Spike density above which matrix units beat both, where there are any: between what is seen of W1 and of W2."""
WAYS = ("lists", "tables", "products")
VECTORS = (8, 4, 2, 1)
PASS = 4
ROWS = 2**16


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["heard_from", "heard", "points_to", "points", "weights", "point_weights"],
    meta_fields=["sources", "channels", "once", "largest"],
)
@dataclass(frozen=True, eq=False)
class Synapses:
    """A stage's lists. heard_from [source position + 1], heard [tap, 2]: target and first weight row, by source
    position; points_to [target + 1], points [point, 3]: source, position, row of point_weights [row, lane]; weights
    [block, row, lane]; channels: of a target; once: each target hears a row from one place only; largest:
    magnitude of an integer weight."""

    sources: tuple[str, ...]
    heard_from: np.ndarray | Array
    heard: np.ndarray | Array
    points_to: np.ndarray | Array
    points: np.ndarray | Array
    weights: np.ndarray | Array
    point_weights: np.ndarray | Array
    channels: int
    once: bool
    largest: int

    @property
    def lanes(self) -> int:
        """Channels of a target, with those that fill the last block."""
        return self.weights.shape[0] * self.weights.shape[2]

    def stored(self, kind: str) -> "Synapses":
        """The same synapses with weights stored as `kind`, wide enough for them."""
        return replace(self, weights=self.weights.astype(kind), point_weights=self.point_weights.astype(kind))

    @property
    def kind(self) -> str:
        """int8, int16 or float32."""
        return str(self.weights.dtype)


class Fired(NamedTuple):
    """What a stage gives: packed spikes [batch, position, step, byte], membranes of a read-out [batch, position, lane],
    the largest membrane of each sample, and how each was worked off, an index of `WAYS`."""

    bits: Array
    membrane: Array
    peak: Array
    way: Array


def synapses(taps: Taps, layouts: list[Layout], lane_bytes: int) -> Synapses:
    """`taps` in the order and types of the kernel, whose vectors have `lane_bytes` bytes.

    Raises:
        NoTaps: integer weights beyond 16 bits, or too many rows.
    """
    kind = _kind(taps)
    if len(taps.weights) > ROWS:
        raise NoTaps(f"{len(taps.weights):,} weight rows are beyond the {ROWS:,} that a list can name")
    first = np.cumsum([0, *(len(layout.neurons) for layout in layouts)])
    place = first[taps.taps[:, 1]] + taps.taps[:, 2]
    order = np.argsort(place, kind="stable")
    targets, channels = taps.layout.neurons.shape
    by_target = np.argsort(taps.points[:, 0], kind="stable")
    block = _block(channels, lane_bytes // (4 if kind == np.float32 else 2))
    size = -(-channels // block) * block
    weights = np.zeros((len(taps.weights), size), kind)
    weights[:, :channels] = taps.weights
    pointed = np.zeros((len(taps.point_weights), size), kind)
    pointed[:, :channels] = taps.point_weights
    return Synapses(
        taps.sources,
        np.searchsorted(place[order], np.arange(first[-1] + 1)).astype(np.int32),
        taps.taps[order][:, [0, 3]].astype(np.int32),
        np.searchsorted(taps.points[by_target, 0], np.arange(targets + 1)).astype(np.int32),
        taps.points[by_target, 1:].astype(np.int32),
        np.ascontiguousarray(weights.reshape(len(weights), size // block, block).swapaxes(0, 1)),
        pointed,
        channels,
        taps.once,
        max(_largest(weights), _largest(pointed)),
    )


def _largest(weights: np.ndarray) -> int:
    return 1 if weights.dtype == np.float32 else max(1, int(np.abs(weights.astype(np.int64)).max(initial=1)))


def _kind(taps: Taps) -> type:
    if np.issubdtype(taps.weights.dtype, np.floating) or np.issubdtype(taps.point_weights.dtype, np.floating):
        return np.float32
    largest = max(int(np.abs(w).max(initial=0)) for w in (taps.weights, taps.point_weights))
    if largest > 2**15 - 1:
        raise NoTaps(f"a weight of {largest} is beyond 16 bits")
    return np.int8 if largest <= 127 else np.int16


def _block(channels: int, width: int) -> int:
    """Lanes that are worked on together: the fewest vectors in all, where going through a list costs `PASS` more."""
    return width * min(VECTORS, key=lambda n: -(-channels // (width * n)) * (n + PASS))


def fire(
    synapses: Synapses,
    neurons: np.ndarray | Array,
    biased: bool,
    trains: dict[str, Packed],
    mode: int,
    out_steps: int,
    levels: int,
    limit: float = float("inf"),
    watched: bool | None = None,
    crossover: float | None = None,
    matrix: float | None = None,
) -> Fired:
    """The kernel's call.

    mode: see kernels/fire.h; watched: whether saturation and the largest membrane are wanted (default: under the rate
    code); crossover, matrix: see `CROSSOVER` and `MATRIX`.
    """
    feeds = [trains[s].bits for s in synapses.sources]
    batch, steps, targets = feeds[0].shape[0], max(f.shape[2] for f in feeds), len(synapses.points_to) - 1
    number = jnp.float32 if synapses.kind == "float32" else jnp.int32
    reads = mode >= 4
    out_bytes = -(-synapses.channels // WORD) * 8
    shapes = (
        jax.ShapeDtypeStruct((batch, targets, 0 if reads else out_steps, out_bytes), jnp.uint8),
        jax.ShapeDtypeStruct((batch, targets, synapses.lanes if reads else 0), number),
        jax.ShapeDtypeStruct((batch,), number),
        jax.ShapeDtypeStruct((batch,), jnp.int32),
    )
    call = jax.ffi.ffi_call(native.target(f"fire_{synapses.kind}", native.kernels().isa), shapes)
    bits, membrane, peak, way = call(
        *(jnp.asarray(a) for a in (synapses.heard_from, synapses.heard, synapses.points_to, synapses.points)),
        jnp.asarray(synapses.point_weights),
        jnp.asarray(synapses.weights),
        jnp.asarray(neurons, number),
        *feeds,
        mode=np.int32(mode),
        steps=np.int32(steps),
        levels=np.int32(levels),
        chunk=np.int32(32767 // synapses.largest if synapses.kind != "float32" else 1),
        biased=np.int32(biased),
        watched=np.int32(mode in (0, 1, 4) if watched is None else watched),
        limit=np.float64(limit),
        may_look_up=np.int32(synapses.once and (synapses.kind == "float32" or synapses.largest <= LOOKUP_LIMIT)),
        lookup=np.float32(CROSSOVER[synapses.kind] if crossover is None else crossover),
        matrix=np.float32(MATRIX[synapses.kind] if matrix is None else matrix),
    )
    return Fired(bits, placed_lanes(membrane, synapses.channels), peak, way)


def placed_lanes(membrane: Array, channels: int) -> Array:
    """Membranes without the lanes that fill up blocks, but whole words."""
    width = -(-channels // WORD) * WORD
    if membrane.shape[2] >= width:
        return membrane[:, :, :width]
    return jnp.pad(membrane, ((0, 0), (0, 0), (0, max(0, width - membrane.shape[2]))))
