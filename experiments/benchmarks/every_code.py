"""Every trained network of the data folder under every exact code: values that differ from the integer network.

    NEURO_DATA=FOLDER python -m experiments.benchmarks.every_code [--items N] [--json FILE]

Windowed codes run on the engine, online ones until they are at rest. A network is converted once.
"""

import json
import os
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from rich.console import Console
from rich.table import Table

from converters.encode import encode
from experiments.benchmarks.conversions import CASES, Case, task
from experiments.conversion import methods
from experiments.conversion.convert import Conversion, carry_out
from experiments.conversion.methods import Choices, Online
from experiments.run import run
from neuro.codes import Code, is_exact
from neuro.errors import NeuroError

WINDOWED: tuple[Code, ...] = tuple(code for code in get_args(Code) if is_exact(code))
CODES: tuple[Code | Online, ...] = (*WINDOWED, *get_args(Online))
"""The exact codes."""


def differing(done: Conversion, code: Code | Online) -> tuple[int, int]:
    """Values that were checked, of all neurons, items and outputs, and those that differ from the integer network."""
    integer, counts = done.converted.integer, done.dataset.counts
    if code in get_args(Online):
        found = methods.carry_out(code, integer, counts, Choices(), lambda items: None)
    else:
        found = run(encode(integer.graph, cast(Code, code)), integer.graph, counts, {}, lambda items: None)
    assert found.checked is not None
    assert found.mismatches is not None
    return found.checked, found.mismatches


def rows(case: Case, models: Path, items: int) -> Iterator[dict[str, Any]]:
    """A network under each code in turn; a code that refuses it says why."""
    with task(case, models, samples=items) as asked:
        done, _ = carry_out(asked)
    for code in CODES:
        row = {"network": case.file, "code": code, "items": len(np.asarray(done.dataset.counts))}
        try:
            checked, mismatches = differing(done, code)
        except NeuroError as error:
            yield row | {"refused": str(error)}
        else:
            yield row | {"checked": checked, "mismatches": mismatches}


def table(found: list[dict[str, Any]]) -> Table:
    """Networks down, codes across: values that differ, of how many."""
    made = Table("network", "items", *CODES, "of", box=None)
    for name in dict.fromkeys(row["network"] for row in found):
        mine = {row["code"]: row for row in found if row["network"] == name}
        cells = ("refused" if "refused" in row else f"{row['mismatches']:,}" for row in mine.values())
        checked = max(row.get("checked", 0) for row in mine.values())
        made.add_row(Path(name).name, str(next(iter(mine.values()))["items"]), *cells, f"{checked:,}")
    return made


def main() -> None:
    """Runs all, prints the table and writes the rows."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=20, help="of each network's test items")
    parser.add_argument("--json", type=Path, help="file for the rows")
    given = parser.parse_args()
    models = Path(os.environ["NEURO_DATA"]) / "models"
    found: list[dict[str, Any]] = []
    for case in CASES:
        try:
            for row in rows(case, models, given.items):
                found.append(row)
                said = row.get("refused") or f"{row['mismatches']:,} of {row['checked']:,} differ"
                print(f"{row['network']} {row['code']}: {said}", file=sys.stderr, flush=True)
        except ImportError as error:
            print(f"{case.file} is left out, it needs PyTorch: {error}", file=sys.stderr, flush=True)
        if given.json is not None:
            given.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    Console(width=160, highlight=False).print(table(found))


if __name__ == "__main__":
    main()
