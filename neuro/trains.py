"""Spike trains of populations: booleans or integers [step, batch, *shape], or bits as the compiled kernels have them.

Integers are the values that spikes carry; one that is not zero is one spike, whatever its value. Whoever asks for sums,
values or batches need not know which. bits [sample, position, step, byte]: the spikes of a
position's channels in one step, lowest bit first, in words of 64.
"""

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
