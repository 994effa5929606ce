"""The forms that a trained network takes on its way to a chip: folded, integer, spiking under every code."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from converters import fold, quantise
from converters.encode import encode
from converters.lower import origins
from converters.network_file import Converted
from experiments.datasets.dataset import DataSet
from experiments.progress import Progress, silent
from neuro.codes import CODES, Code, is_exact
from neuro.errors import Unsupported
from neuro.graph import Graph, Node
from neuro.layers import Conv, Dense

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
    by code, the exact ones equal to it; without_rate: why the rate code is not among them, if it is not. is_given:
    whether the integer network came with the float one."""

    fold_error: float
    integer: Graph
    spiking: dict[Code, Graph]
    without_rate: str = ""
    is_given: bool = False


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
    given = converted is not None and exact is converted.integer
    return Forms(fold_error=difference, integer=exact.graph, spiking=spiking, without_rate=without, is_given=given)


def weight_bits(integer: Graph) -> int:
    """Of the widest weight of an integer network, sign included."""
    widest = max((int(np.abs(n.op.weight).max()) for n in integer.nodes if isinstance(n.op, Conv | Dense)), default=0)
    return widest.bit_length() + 1


def with_zeros(network: Graph, integer: Graph) -> Graph:
    """`network` with zeros where the integer form of a layer has them, so that rivals skip what no synapse is stored
    for. Layers that have another shape there stay as they are; of several forms of one all must be zero."""
    found: dict[str, np.ndarray] = {}
    names = origins(integer)
    for node in integer.nodes:
        if isinstance(node.op, Conv | Dense):
            name, there = names[node.name], node.op.weight != 0
            before = found.get(name)
            found[name] = there | before if before is not None and before.shape == there.shape else there
    return Graph(network.name, tuple(_masked(node, found.get(node.name)) for node in network.nodes))


def _masked(node: Node, there: np.ndarray | None) -> Node:
    if there is None or not isinstance(node.op, Conv | Dense) or there.shape != node.op.weight.shape:
        return node
    return replace(node, op=replace(node.op, weight=np.where(there, node.op.weight, 0)))
