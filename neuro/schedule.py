"""When each population of a spiking network emits, in global time steps."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Code: TypeAlias = Literal["unary", "bits", "naf", "ttfs", "graded", "rate"]
"""How spikes carry a value; see `neuro.codes`."""


@dataclass(frozen=True)
class Window:
    """`steps` time steps beginning with step `start`."""

    start: int
    steps: int

    @property
    def end(self) -> int:
        """First step after the window."""
        return self.start + self.steps


@dataclass(frozen=True)
class Schedule:
    """The emit window of every population, the delay of every edge, and the length of one inference.

    A spike sent in step t is integrated in step t + 1 + delay. `total` counts every step from the first input
    spike to the step in which the read-out has integrated the last one: the *single* regime sweeps them all.
    `periods` gives the steps between two samples of the *stream* regime: with one membrane per neuron, and with a
    second one that integrates the next sample while the first one is still emitted.
    """

    code: Code
    windows: dict[str, Window]
    delays: dict[tuple[str, str], int]
    total: int
    periods: tuple[int, int]

    def period(self, second_membrane: bool) -> int:
        """Steps between two samples when samples follow each other."""
        return self.periods[second_membrane]
