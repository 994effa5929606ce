"""Synapses in rows, one for each source, as the kernel of recurrent networks reads them (kernels/recurrent.h)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int32, Integer, Shaped, UInt8

EIGHT = 8
"""Neighbouring places of one wide entry."""
FILL = 3
"""Synapses of a wide entry, on average, from which on wide rows were measured to be no slower, in whole and real
numbers, with AVX-512, AVX2 and neither; eight are delivered in 45 to 90 % of the time."""
NEAR = 2**16
"""Places that 16 bits tell apart."""
WEIGHTS = ("row", "int16", "float32", "number")
"""How weights are stored: one for all synapses of a source, or each in the smallest kind that holds all of them;
number is the kind that the network computes in."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Entries by source and place. An entry is one synapse or, in wide rows, eight neighbouring places from a multiple
    of eight on, with a weight for each of them (zero where no synapse is), so that a vector takes them at once.

    ends [source + 1]: the first entry of every row. places: bytes of every entry's place, in eights where wide.
    weights: bytes of every entry's weights, or of every source's. place, weight: their types (`WEIGHTS`).
    """

    ends: Int32[Array, " source_and_1"]
    places: UInt8[Array, " byte_of_place"]
    weights: UInt8[Array, " byte_of_weight"]
    place: str
    weight: str
    wide: bool


def pack(
    key: Integer[np.ndarray, " synapse"],
    weight: Shaped[np.ndarray, " synapse"],
    sources: int,
    places: int,
) -> Rows:
    """Rows of synapses given in any order; weights are of the kind that the network computes in. key: source times
    places, plus place. places: how many there are, a multiple of eight. In wide rows, synapses of the same source and
    place are one."""
    order = np.argsort(key)  # one key: several times as fast as two
    key, weight = key[order], weight[order]
    del order
    opens = np.ones(len(key), bool)  # the first synapse of an eight
    np.greater_equal(key[1:] ^ key[:-1], EIGHT, out=opens[1:])
    if len(key) and len(key) >= FILL * np.count_nonzero(opens):
        first = np.flatnonzero(opens)
        lane = np.repeat(np.arange(len(first)), np.diff(first, append=len(key)))
        lane *= EIGHT
        lane += key % EIGHT
        table = np.zeros(EIGHT * len(first), weight.dtype)
        np.add.at(table, lane, weight)
        return _rows(key[first] // EIGHT, places // EIGHT, table, sources, True)
    return _rows(key, places, weight, sources, False)


def _rows(key: np.ndarray, places: int, weight: np.ndarray, sources: int, wide: bool) -> Rows:
    """Rows of entries in the order of their keys, which are lost; both may be in eights."""
    source, place = np.divmod(key, places, out=(np.empty_like(key), key))
    at = place.astype("uint16" if places < NEAR else "uint32")
    number = weight.dtype
    alike = not wide and bool((weight[1:] == weight[:-1])[source[1:] == source[:-1]].all())
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit comes back as another number
        fits = [alike, *(bool((weight == weight.astype(small).astype(number)).all()) for small in WEIGHTS[1:3])]
    how = WEIGHTS[fits.index(True)] if any(fits) else "number"
    if alike:
        weights = np.zeros(sources, number)
        weights[source] = weight
    else:
        weights = weight if how == "number" else weight.astype(how)
    return Rows(
        jnp.asarray(np.searchsorted(source, np.arange(sources + 1)).astype(np.int32)),
        jnp.asarray(at.view(np.uint8)),
        jnp.asarray(weights.view(np.uint8)),
        str(at.dtype),
        how,
        wide,
    )


jax.tree_util.register_dataclass(Rows, ["ends", "places", "weights"], ["place", "weight", "wide"])
