"""Layers cut into blocks: channel groups x row bands x column bands, every block on a core of its own.

A layer is seen as channels x rows x columns: a vector has one row and one column, a sequence one row; the last axes of
a higher map count as columns together. An axis of n is cut into k parts of ceil(n / k), the last one smaller.
"""

from collections.abc import Iterator
from math import ceil, inf, prod
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from neuro.layers import Shape


class Parts(NamedTuple):
    """Into how many parts rows, columns and channels are cut."""

    rows: int
    columns: int
    channels: int

    @property
    def number(self) -> int:
        """Blocks, and so cores."""
        return self.rows * self.columns * self.channels


WHOLE = Parts(1, 1, 1)


def axes(shape: Shape) -> tuple[int, int, int]:
    """Channels, rows and columns of a layer."""
    channels, *space = shape
    if len(space) < 2:
        return channels, 1, prod(space)
    return channels, space[0], prod(space[1:])


def options(length: int) -> list[int]:
    """The numbers of parts k that `length` can be cut into: those with k = ceil(n / ceil(n / k))."""
    return sorted({ceil(length / size) for size in range(1, length + 1)})


def parts(shape: Shape, fewest: int = 1, most: int | float = inf) -> Iterator[Parts]:
    """Every cut into `fewest` to `most` blocks: the fewest blocks first, then those with the fewest channel groups,
    then with the fewest row bands."""
    channels, rows, columns = (options(n) for n in axes(shape))
    found = [
        (c * r * x, c, r, x)
        for c in channels
        for r in rows
        if c * r <= most
        for x in columns
        if fewest <= c * r * x <= most
    ]
    return (Parts(r, x, c) for _, c, r, x in sorted(found))


def finest(shape: Shape) -> Parts:
    """Every neuron by itself."""
    channels, rows, columns = axes(shape)
    return Parts(rows, columns, channels)


def starts(shape: Shape, cut: Parts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the parts of channels, rows and columns begin."""
    channels, rows, columns = axes(shape)
    pairs = ((channels, cut.channels), (rows, cut.rows), (columns, cut.columns))
    begin = tuple(np.arange(0, n, ceil(n / k)) for n, k in pairs)
    return begin[0], begin[1], begin[2]


def core_of(shape: Shape, cut: Parts) -> Int[np.ndarray, "neuron"]:
    """Block of each neuron; blocks are counted by channel group, then row band, then column band."""
    channels, rows, columns = axes(shape)
    pairs = ((channels, cut.channels), (rows, cut.rows), (columns, cut.columns))
    group, band, strip = (np.arange(n) // ceil(n / k) for n, k in pairs)
    block = (group[:, None, None] * cut.rows + band[None, :, None]) * cut.columns + strip
    return block.reshape(-1)


def sums(values: Float[np.ndarray, "neuron"], shape: Shape, cut: Parts) -> Float[np.ndarray, "core"]:
    """Sum of `values` over each block."""
    total = values.reshape(axes(shape))
    for axis, begin in enumerate(starts(shape, cut)):
        total = np.add.reduceat(total, begin, axis=axis)
    return total.reshape(-1)


def members(shape: Shape, cut: Parts, block: int) -> tuple[slice, slice, slice]:
    """Channels, rows and columns of one block."""
    where = np.unravel_index(block, (cut.channels, cut.rows, cut.columns))
    sizes = (ceil(n / k) for n, k in zip(axes(shape), (cut.channels, cut.rows, cut.columns), strict=True))
    first = [(int(i) * size, size) for i, size in zip(where, sizes, strict=True)]
    a, b, c = (slice(begin, begin + size) for begin, size in first)
    return a, b, c


def masks(shape: Shape, cut: Parts, blocks: list[int] | None = None) -> Float[np.ndarray, "core ..."]:
    """1 where a neuron is in the block, of all blocks or of the chosen ones: [block, *shape]."""
    chosen = range(cut.number) if blocks is None else blocks
    result = np.zeros((len(chosen), *axes(shape)), np.float32)
    for i, block in enumerate(chosen):
        result[(i, *members(shape, cut, block))] = 1
    return result.reshape(len(chosen), *shape)
