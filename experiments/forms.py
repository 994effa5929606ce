"""The forms that a trained network takes on its way to a chip: folded, integer, spiking under every code."""

from dataclasses import dataclass
from typing import Literal

from converters import fold, quantise
from converters.encode import encode
from experiments.dataset import DataSet
from experiments.progress import Progress, silent
from neuro.codes import CODES, Code, is_exact
from neuro.graph import Graph

AUTO: tuple[Code, ...] = ("unary", "bits", "graded", "rate")
"""Codes that are tried unless one is chosen: naf and ttfs have no compiled kernel, and would make the run half as long
again."""
PILOT = 16
"""Items whose mean activity the mapping is based on, and on which folding is checked."""


def tried(asked: Code | Literal["auto"]) -> tuple[Code, ...]:
    """Codes that a comparison runs: those of `AUTO`, and one that was asked for besides."""
    return AUTO if asked == "auto" or asked in AUTO else (*AUTO, asked)


@dataclass(frozen=True)
class Forms:
    """fold_error: relative difference between the network and its folded form. integer: the matched network; spiking:
    by code, the exact ones equal to it."""

    fold_error: float
    integer: Graph
    spiking: dict[Code, Graph]


def forms(
    network: Graph, dataset: DataSet, levels: int, weight_bits: int, steps: int, progress: Progress = silent
) -> Forms:
    """`network` folded, quantised on the calibration items of `dataset` and encoded under every code.

    levels: of an activation above zero, for exact codes; steps: of the rate code.

    Raises:
        Unsupported: the network has no spiking form. BadInput: options out of range.
    """
    calibration = dataset.calibration_counts
    folded = fold.fold(network, dataset.gain, dataset.offset)
    difference = fold.check(network, folded, dataset.calibration_input[:PILOT], calibration[:PILOT])
    done = progress("calibration", 2)
    exact = quantise.reference(folded, calibration, dataset.levels, levels, weight_bits)
    done(1)
    rate = quantise.rate(folded, calibration, dataset.levels, steps, weight_bits)
    done(1)
    return Forms(
        fold_error=difference,
        integer=exact.graph,
        spiking={
            code: encode(exact.graph, code) if is_exact(code) else encode(rate.graph, code, steps) for code in CODES
        },
    )
