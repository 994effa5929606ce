"""What a layer takes of an FPGA: look-up tables, block and ultra RAM and multipliers, for every folding at once.

Equations of FINN-R (Blott et al. 2018, doi 10.1145/3242897); a binary product is one bit wide. Arrays broadcast.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float

Folds: TypeAlias = Float[np.ndarray, "option"]

# Depth by width of a block RAM of 18 Kib, and of an ultra RAM.
BRAM = ((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36))
URAM = ((4096, 72),)
# A look-up table of six inputs holds 64 x 1 or 32 x 2 bits; memories no deeper than SHALLOW may be made of them.
SHALLOW = 128
# Above this width an activation is requantised by a search of its thresholds instead of comparing with all of them.
COMPARED = 4


class Bits(NamedTuple):
    """Widths of the weights, the values read and the values written."""

    weight: int
    enter: int
    leave: int


class Use(NamedTuple):
    """Look-up tables, block RAMs of 18 Kib, ultra RAMs and multiplier slices."""

    lut: np.ndarray
    bram: np.ndarray
    uram: np.ndarray
    dsp: np.ndarray


class Window(NamedTuple):
    """Rows of the input map that a convolution holds, and the values in each."""

    rows: int
    values: int


def product_bits(bits: Bits) -> int:
    """Width of a product: a factor of one bit only sets the sign."""
    return max(1, bits.weight + bits.enter - (bits.weight == 1) - (bits.enter == 1))


def multiplier_luts(bits: Bits) -> int:
    """Look-up tables of one multiplier; one per bit where a factor of one bit sets the sign."""
    width = product_bits(bits)
    return width if 1 in bits[:2] else (2 * -(-width // 6) - 1) * width


def logic(pe: Folds, simd: Folds, mh: int, mw: int, bits: Bits, in_luts: bool, activation: bool) -> Folds:
    """Look-up tables of the arithmetic: multipliers if `in_luts`, adder trees, accumulators and thresholds.

    PE × (SIMD × multiplier + width (2 SIMD - 1) + accumulator (1 + levels (1 + ceil(MH / PE / 64)))).
    """
    width = product_bits(bits)
    accumulator = int(np.ceil(np.log2(max(mw, 1)))) + width + 1
    levels = 0 if not activation else 2**bits.leave - 1 if bits.leave <= COMPARED else 2 * bits.leave
    tree = width * (2 * simd - 1)
    thresholds = accumulator * levels * (1 + np.ceil(mh / pe / 64))
    return pe * (in_luts * multiplier_luts(bits) * simd + tree + accumulator + thresholds)


def blocks(width: Folds, depth: Folds, shapes: tuple[tuple[int, int], ...]) -> Folds:
    """Fewest memory blocks of one of the `shapes` that hold `depth` words of `width` bits."""
    return np.min([np.ceil(width / w) * np.ceil(depth / d) for d, w in shapes], axis=0)


def lut_memory(width: Folds, depth: Folds) -> Folds:
    """Look-up tables that hold `depth` words of `width` bits."""
    return np.ceil(width * np.ceil(depth / 32) / 2)


def window_memory(simd: Folds, window: Window | None, bits: int) -> tuple[Folds, Folds]:
    """Look-up tables and block RAMs of the rows that a convolution waits for; each row is a memory of its own."""
    if window is None:
        return 0 * simd, 0 * simd
    depth = np.ceil(window.values / simd)
    shallow = depth <= SHALLOW
    tables = window.rows * lut_memory(simd * bits, depth)
    return np.where(shallow, tables, 0.0), np.where(shallow, 0.0, window.rows * blocks(simd * bits, depth, BRAM))
