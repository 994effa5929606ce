"""Where two executions of one network part: the first neuron whose value differs, in topological order."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neuro.errors import BadInput


@dataclass(frozen=True)
class Divergence:
    """A value that differs. layer: the population; index: of the neuron in it; item: of the batch, from 0.

    differing: how many values of this layer differ, over all items.
    """

    layer: str
    index: tuple[int, ...]
    item: int
    expected: float
    got: float
    differing: int

    def __str__(self) -> str:
        place = ", ".join(map(str, self.index))
        return (
            f"first at layer {self.layer!r}, neuron ({place}), item {self.item}: expected {self.expected:g}, "
            f"got {self.got:g}; {self.differing:,} value(s) of this layer differ"
        )


def first_divergence(expected: Mapping[str, np.ndarray], got: Mapping[str, np.ndarray]) -> Divergence | None:
    """The first difference between two executions, None where there is none.

    expected, got: values [item, *shape] by population, the former in topological order. Within a layer the first item
    comes first. A NaN differs from everything.

    Raises:
        BadInput: a population is missing in `got`, or has another shape there.
    """
    for name, wanted in expected.items():
        if name not in got:
            raise BadInput(f"layer {name!r} is missing; known: {', '.join(got)}.")
        first, second = np.asarray(wanted), np.asarray(got[name])
        if first.shape != second.shape:
            raise BadInput(f"layer {name!r} has values of {second.shape}; {first.shape} were expected.")
        differs = first != second
        if differs.any():
            item, *index = (int(i) for i in np.argwhere(differs)[0])
            at = (item, *index)
            return Divergence(name, tuple(index), item, float(first[at]), float(second[at]), int(differs.sum()))
    return None
