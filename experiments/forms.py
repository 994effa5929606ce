"""The forms that a trained network takes on its way to a chip: folded, integer, spiking under every code."""

from dataclasses import dataclass
from typing import Literal

from converters import fold, quantise
from converters.encode import encode
from converters.network_file import Converted
from experiments.datasets.dataset import DataSet
from experiments.progress import Progress, silent
from neuro.codes import CODES, Code, is_exact
from neuro.errors import Unsupported
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
    by code, the exact ones equal to it; without_rate: why the rate code is not among them, if it is not."""

    fold_error: float
    integer: Graph
    spiking: dict[Code, Graph]
    without_rate: str = ""


def forms(
    network: Graph,
    dataset: DataSet,
    levels: int | None,
    weight_bits: int,
    steps: int,
    progress: Progress = silent,
    converted: Converted | None = None,
) -> Forms:
    """`network` folded, quantised on the calibration items of `dataset` and encoded under every code.

    levels: of an activation, for exact codes; steps: of the rate code, which is left out where the network has none.
    converted: an integer form to be used instead of a new one.

    Raises:
        Unsupported: the network has no spiking form. BadInput: options out of range.
    """
    calibration = dataset.calibration_counts
    folded = fold.fold(network, dataset.gain, dataset.offset)
    difference = fold.check(network, folded, dataset.calibration_input[:PILOT], calibration[:PILOT])
    done = progress("calibration", 2)
    exact, rate, without = None, None, ""
    if converted is None or converted.code == "rate":
        exact = quantise.reference(folded, calibration, dataset.levels, levels, weight_bits)
    done(1)
    try:
        rate = quantise.rate(folded, calibration, dataset.levels, steps, weight_bits)
    except Unsupported as error:
        without = str(error)
    done(1)
    if converted is not None and converted.code == "rate":
        rate, steps = converted.integer, converted.steps
    elif converted is not None:
        exact = converted.integer
    assert exact is not None
    spiking: dict[Code, Graph] = {code: encode(exact.graph, code) for code in CODES if is_exact(code)}
    if rate is not None:
        spiking["rate"] = encode(rate.graph, "rate", steps)
    return Forms(fold_error=difference, integer=exact.graph, spiking=spiking, without_rate=without)
