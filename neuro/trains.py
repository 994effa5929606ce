"""Spike trains of populations: booleans or integers [step, batch, *shape], or bits as the compiled kernels have them.

Integers are the values that spikes carry; one that is not zero is one spike, whatever its value. Whoever asks for sums,
values or batches need not know which. bits [sample, position, step, byte]: the spikes of a
position's channels in one step, lowest bit first, in words of 64.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from neuro import codes, native
from neuro.taps import Layout

WORD = 64


@partial(jax.tree_util.register_dataclass, data_fields=["bits"], meta_fields=["layout"])
@dataclass(frozen=True, eq=False)
class Packed:
    """Spike trains of one population. layout: which neuron each bit is."""

    bits: UInt8[Array, "batch position step byte"]
    layout: Layout

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the same trains as booleans: step, batch, and the population's own."""
        return (self.bits.shape[2], self.bits.shape[0], *self.layout.shape)


Trains: TypeAlias = Packed | codes.Spikes
"""Spike trains of one population in any form."""


def lanes(layout: Layout) -> int:
    """Channels of one position, rounded up to whole words."""
    return -(-layout.neurons.shape[1] // WORD) * WORD


def value(trains: Trains, code: codes.Code) -> Float[Array, "batch ..."]:
    """The value that the spikes of a window carry under `code`."""
    if isinstance(trains, Packed):
        return counts(trains, codes.doubles(code)).astype(jnp.float32)
    return codes.decode(code, trains)


def spikes(trains: Trains) -> Float[Array, "batch neuron"]:
    """Spikes of every neuron over all steps."""
    number = counts(trains, False) if isinstance(trains, Packed) else trains.astype(bool).sum(axis=0)
    return number.reshape(number.shape[0], -1).astype(jnp.float32)


def counts(trains: Packed, doubles: bool) -> Int[Array, "batch ..."]:
    """What every neuron's train adds up to: its spikes, or (doubles) the binary number they are, first bit highest."""
    batch, positions, _, _ = trains.bits.shape
    width = lanes(trains.layout)
    call = jax.ffi.ffi_call(
        native.target("count", native.kernels().isa), jax.ShapeDtypeStruct((batch, positions, width), jnp.int32)
    )
    return placed(call(trains.bits, doubles=np.int32(doubles)), trains.layout)


def placed(values: Array, layout: Layout) -> Array:
    """values [batch, position, lane] in the population's own shape: [batch, *shape]."""
    width = values.shape[2]
    position, channel = layout.places()
    flat = values.reshape(values.shape[0], -1)
    if not np.array_equal(index := position * width + channel, np.arange(flat.shape[1])):
        flat = flat[:, jnp.asarray(index)]
    return flat.reshape(-1, *layout.shape)


def unplaced(values: Array, layout: Layout) -> Array:
    """values [batch, *shape] as the kernels have them: [batch, position, lane], lanes beyond the channels zero."""
    positions, channels = layout.neurons.shape
    flat = values.reshape(values.shape[0], -1)
    if not np.array_equal(layout.neurons.ravel(), np.arange(flat.shape[1])):
        flat = flat[:, jnp.asarray(layout.neurons.ravel())]
    return jnp.pad(flat.reshape(-1, positions, channels), ((0, 0), (0, 0), (0, lanes(layout) - channels)))


def unpacked(trains: Packed) -> Bool[Array, "step batch ..."]:
    """The same trains as booleans."""
    batch, positions, steps, _ = trains.bits.shape
    lanes = jnp.unpackbits(trains.bits, axis=3, bitorder="little")
    flat = lanes.transpose(2, 0, 1, 3).reshape(steps * batch, positions, -1)
    return placed(flat, trains.layout).reshape(steps, batch, *trains.layout.shape) > 0


def packed(spikes: Bool[Array, "step batch ..."], layout: Layout) -> Packed:
    """Boolean trains as bits."""
    steps, batch = spikes.shape[:2]
    flat = unplaced(spikes.reshape(steps * batch, *spikes.shape[2:]).astype(jnp.uint8), layout)
    bits = jnp.packbits(flat, axis=2, bitorder="little").reshape(steps, batch, flat.shape[1], -1)
    return Packed(bits.transpose(1, 2, 0, 3), layout)


@dataclass(frozen=True, eq=False)
class Cause:
    """What one spike of each neuron of a population causes: matrix [neuron, effect], columns: where each effect is
    counted, start: the population's first step."""

    matrix: Float[np.ndarray, "neuron effect"]
    columns: Int[np.ndarray, "effect"]
    start: int


def caused(
    trains: Mapping[str, Trains], causes: Mapping[str, Cause], shape: tuple[int, int], again: bool = False
) -> Float[Array, "total batch column"]:
    """What the spikes of all populations cause in every step. shape: steps and columns of the result; again: all that
    a population causes, once more in the step after its last."""
    batch = next(iter(trains.values())).shape[1]
    size = (shape[0], batch, shape[1])
    packed = {name: t for name, t in trains.items() if isinstance(t, Packed)}
    if packed and len(packed) == len(trains):
        call = jax.ffi.ffi_call(native.target("cause", native.kernels().isa), jax.ShapeDtypeStruct(size, jnp.float32))
        tables = [a for name, t in packed.items() for a in (t.bits, *map(jnp.asarray, _tables(t.layout, causes[name])))]
        return call(*tables, starts=np.array([causes[name].start for name in packed]), again=np.int32(again))
    total = jnp.zeros(size, jnp.float32)
    for name, one in trains.items():
        cause, spiked = causes[name], (unpacked(one) if isinstance(one, Packed) else one).astype(bool)
        flat = spiked.reshape(-1, len(cause.matrix)).astype(jnp.float32)
        found = (flat @ jnp.asarray(cause.matrix, jnp.float32)).reshape(*spiked.shape[:2], -1)
        if again:
            found = jnp.concatenate([found, found.sum(axis=0, keepdims=True)])
        when = slice(cause.start, cause.start + found.shape[0])
        total = total.at[when, :, jnp.asarray(cause.columns)].add(found)
    return total


def _tables(layout: Layout, cause: Cause) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`cause` as the kernel reads it: where the effects are counted that any neuron of a position has, columns
    [position, width], then -1; how much of each a neuron has, rows [row, width], equal ones stored once; which row
    that is, row_of [position, lane]."""
    each = cause.matrix[layout.neurons]  # [position, channel, effect]
    has = (each != 0).any(axis=1)
    unit = native.lane_bytes() // 4
    width = -(-max(1, int(has.sum(axis=1).max(initial=0))) // unit) * unit
    kept = np.argsort(~has, axis=1, kind="stable")[:, :width]
    spare = ((0, 0), (0, width - kept.shape[1]))
    columns = np.where(np.take_along_axis(has, kept, axis=1), cause.columns[kept], -1)
    values = np.take_along_axis(each, kept[:, None], axis=2).reshape(-1, kept.shape[1])
    rows, row_of = np.unique(values, axis=0, return_inverse=True)
    row_of = row_of.reshape(layout.neurons.shape)
    row_of = np.pad(row_of, ((0, 0), (0, lanes(layout) - row_of.shape[1])))
    columns = np.pad(columns, spare, constant_values=-1).astype(np.int32)
    return columns, row_of.astype(np.int32), np.pad(rows.astype(np.float32), spare)
