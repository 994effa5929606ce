"""Seconds of every stage of a comparison of the bundled network, over several rounds.

Machines are shared and noisy: read the medians and the shares, not single runs.
"""

import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

from rich.console import Console
from rich.table import Table

from experiments.job import Request, carry_out

ROUNDS = 3


class Stopwatch:
    """A `Progress` that notes how long each stage takes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._running: str | None = None
        self._since = perf_counter()

    def __call__(self, stage: str, parts: int):
        """Ends the running stage and begins `stage`."""
        self.end()
        self._running, self._since = stage, perf_counter()
        return lambda done: None

    def end(self) -> None:
        """Ends the running stage."""
        if self._running is not None:
            self.seconds[self._running] = perf_counter() - self._since
        self._running = None


def measure(request: Request) -> dict[str, float]:
    """Seconds by stage of one comparison; the last stage includes writing the record."""
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        carry_out(Request(**{**vars(request), "out": Path(folder) / "run.h5"}), watch)
    watch.end()
    return watch.seconds


def main(rounds: int = ROUNDS) -> None:
    """Prints the median, least and most seconds of each stage and its share of the total."""
    runs = [measure(Request("digits-cnn")) for _ in range(rounds)]
    total = sum(median(run[stage] for run in runs) for stage in runs[0])
    rows = Table(box=None, pad_edge=False)
    for heading in ("stage", "median s", "least", "most", "share"):
        rows.add_column(heading, justify="left" if heading == "stage" else "right")
    for stage in runs[0]:
        seconds = [run[stage] for run in runs]
        middle = median(seconds)
        rows.add_row(stage, f"{middle:.2f}", f"{min(seconds):.2f}", f"{max(seconds):.2f}", f"{middle / total:.0%}")
    Console(width=80).print(rows)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
