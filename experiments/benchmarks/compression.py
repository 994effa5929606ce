"""What compression costs with and without fine-tuning, on the same test items.

``python -m experiments.benchmarks.compression [--epochs N] [--real FOLDER] [--json FILE]``. Every line is a network in
integers. Drops are in points from the float network as it was, with the 95 % interval of a paired difference; gain:
what fine-tuning wins back, paired as well.
"""

import json
from argparse import ArgumentParser
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from converters.compression.pruning import size, zero_share
from experiments.conversion.compress import Task, compress
from experiments.decision import classes, paired
from experiments.prepared import prepared, training_set

WAYS: dict[str, dict[str, Any]] = {
    "W4, 7 levels": {"levels": 7, "weight_bits": 4},
    "80 % zeros": {"prune": 0.8},
    "half of the channels": {"prune_channels": 0.5},
    "16 values a layer": {"cluster_bits": 4},
}
REAL = {
    "mlperf_tiny/ic_resnet8.h5": {"data": "cifar10", "scale": 255.0},
    "keras/nxtf_mnist_cnn.h5": {"data": "mnist"},
}

Interval = tuple[float, float, float]
"""A difference in points, and the ends of its 95 % interval."""


@dataclass(frozen=True)
class Row:
    """One way of compression. plain, tuned: the drop of the integer network without and with fine-tuning."""

    network: str
    way: str
    weights: int
    zeros: float
    plain: Interval
    tuned: Interval
    gain: Interval
    accuracy: float


def rows(network: str, epochs: int, ways: dict[str, dict[str, Any]] = WAYS, **options: Any) -> list[Row]:
    """Every way on one network. options: of `Task`, to name and prepare the data."""
    found = []
    asked = Task(network, **options, finetune=1)
    source, training = prepared(asked), training_set(asked, prepared(asked).network)
    for way, chosen in ways.items():
        right = []
        for tuning in (0, epochs):
            task = Task(network, **options, **chosen, finetune=tuning)
            done = compress(source, training if tuning else None, task)
            right.append([classes(source.network, v) == source.dataset.y for v in (done.steps[0].values, done.values)])
        (before, plain), (_, tuned) = right
        last = done.steps[-1].graph
        gain = [-value for value in paired(plain, tuned)]
        found.append(
            Row(
                Path(network).stem, way, size(last), zero_share(last), paired(before, plain), paired(before, tuned),
                (gain[0], gain[2], gain[1]), float(np.mean(tuned)),
            )
        )  # fmt: skip
    return found


def table(found: list[Row]) -> Table:
    """One line each."""
    result = Table("network", "way", "weights", "zeros", "drop", "drop, tuned", "gain", "accuracy", box=None)
    for row in found:
        spans = (f"{a:+.2f} [{b:+.2f} .. {c:+.2f}]" for a, b, c in (row.plain, row.tuned, row.gain))
        share = f"{100 * row.zeros:.0f} %"
        result.add_row(row.network, row.way, f"{row.weights:,}", share, *spans, f"{100 * row.accuracy:.2f} %")
    return result


def main() -> None:
    """Runs all, prints the table and writes the JSON."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        "--epochs", type=int, default=20, help="of fine-tuning on the digits; on real networks a quarter"
    )
    parser.add_argument("--json", type=Path, help="file for the rows")
    parser.add_argument("--real", type=Path, metavar="FOLDER", help="also the networks in the data folder (minutes)")
    given = parser.parse_args()
    found = rows("digits-cnn", given.epochs)
    for path, options in REAL.items() if given.real else ():
        found += rows(str(given.real / "models" / path), max(given.epochs // 4, 1), **options)
    Console(width=160).print(table(found))
    if given.json is not None:
        given.json.write_text(json.dumps([asdict(row) for row in found], indent=1))


if __name__ == "__main__":
    main()
