"""Published or own measurements of machines, one CSV row each: what was measured on what, and under which settings.

Columns: case, set, target, workload, precision, batch, mode, quantity, value, unit, boundary, settings, fit, taken,
untested, reason, source, note. Only case, target, workload, precision, quantity, value and unit are required; a
missing column or an empty cell stands for the default named at the field of `Measurement`.
"""

import csv
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from baselines.description import WIDTH
from baselines.workload import Mode
from neuro.constants import Boundary
from neuro.errors import BadInput, nearest
from neuro.units import parse

Quantity: TypeAlias = Literal[
    "latency", "throughput", "energy", "dynamic energy", "power", "dynamic power",
    "step time", "core energy", "synop energy",
]  # fmt: skip
Kind: TypeAlias = Literal["gpu", "tpu", "fpga", "asic", "cpu", "mcu", "neuromorphic"]

PACKAGE = "experiments.cases"
UNITS: dict[str, str] = {
    "latency": "s", "throughput": "1/s", "energy": "J", "dynamic energy": "J", "power": "W", "dynamic power": "W",
    "step time": "s", "core energy": "J", "synop energy": "J",
}  # fmt: skip
PER = {"step time": "steps", "synop energy": "synops"}
"""Quantities of spiking chips that are per step or per synaptic operation, and which count of an activity that is."""
REQUIRED = ("case", "target", "workload", "precision", "quantity", "value", "unit")
OPTIONAL = ("set", "batch", "mode", "boundary", "settings", "fit", "taken", "untested", "reason", "source", "note")
LONGEST = 100_000
"""Rows that a file may have."""
MOST = 1e30
"""In SI units, as its inverse: what lies beyond is no measurement, and errors relative to it are no numbers."""


@dataclass(frozen=True)
class Measurement:
    """One figure that a model can be held against.

    set: group in the summary (default the quantity). target: name of a device or chip, or a TOML file. workload: see
    ``baselines.from_shapes.load``, for chips `experiments.replays.spiking`. batch: samples in flight; None: the
    batch of highest throughput (default 1). mode: compiled (default) or eager. value: SI; per sample for energies; one
    device's. boundary: chip (default), board or system. settings: other values for constants of the machine or counts
    of the activity, as text. fit: the group with which this case is left out of fits that used it, empty if none did.
    taken: constants that were read off this very row, which is therefore shown but tests nothing. untested: why else it
    tests nothing. reason: why it cannot be replayed, empty if it can.
    folder: what relative paths start from. kind: of machine, where the file says so.
    """

    case: str
    set: str
    target: str
    workload: str
    precision: str
    batch: int | None
    mode: Mode
    quantity: Quantity
    value: float
    boundary: Boundary
    settings: tuple[tuple[str, str], ...] = ()
    fit: str = ""
    taken: str = ""
    untested: str = ""
    reason: str = ""
    source: str = ""
    note: str = ""
    folder: Path | None = None
    kind: str = ""

    @property
    def unit(self) -> str:
        """SI unit of the value."""
        return UNITS[self.quantity]

    @property
    def regime(self) -> str:
        """``batch 1`` or ``batch``, in which models err differently."""
        return "batch 1" if self.batch == 1 else "batch"

    @property
    def aspect(self) -> str:
        """``time`` or ``energy``, of which a machine has one model each."""
        return "time" if self.quantity in ("latency", "throughput", "step time") else "energy"


def bundled(kind: Kind) -> list[Measurement]:
    """The published measurements of machines of that kind that come with the program."""
    return [replace(m, kind=kind) for m in read(Path(str(resources.files(PACKAGE) / f"{kind}.csv")))]


def read(path: Path) -> list[Measurement]:
    """The rows of the CSV file at `path`.

    Raises:
        BadInput: no such file, not CSV in UTF-8, unknown or missing columns, or faulty rows, all with line numbers.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            columns = list(rows.fieldnames or ())
            _check_columns(path, columns)
            lines = [(rows.line_num, row) for _, row in zip(range(LONGEST + 1), rows, strict=False)]
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path}: not a readable CSV file in UTF-8: {error}.") from None
    if len(lines) > LONGEST:
        raise BadInput(f"{path}: more than {LONGEST:,} rows; split the file.")
    if not lines:
        raise BadInput(f"{path}: no rows below the header; add one for each measurement.")
    found, faults = [], []
    for number, row in lines:
        try:
            found.append(_measurement(row, path.parent))
        except ValueError as error:
            faults.append(f"  line {number}: {error}")
    often = Counter(m.case for m in found)
    faults += [f"  case {name!r} stands there twice" for name, number in sorted(often.items()) if number > 1]
    if faults:
        raise BadInput(f"{path}: {len(faults)} fault(s)\n" + "\n".join(faults[:20]))
    return found


def _check_columns(path: Path, columns: Iterable[str]) -> None:
    known = [*REQUIRED, *OPTIONAL]
    for column, times in Counter(columns).items():
        if column not in known:
            parted = next((sign for sign in (";", "\t", "|") if sign in column), None)
            hint = f" It holds {parted!r}: columns are parted by commas." if parted else ""
            raise BadInput(f"{path}: unknown column {column!r}.{hint}{nearest(str(column), known)}")
        if times > 1:
            raise BadInput(f"{path}: column {column!r} stands there {times} times; leave one.")
    if missing := [c for c in REQUIRED if c not in columns]:
        raise BadInput(f"{path}: no column {', '.join(missing)}; the first line must name the columns.")


def _measurement(row: dict[str | None, str | None], folder: Path) -> Measurement:
    """One row. Raises ValueError."""
    if None in row:
        raise ValueError("more cells than columns; put text with commas between double quotes")
    cells = {key: (text or "").strip() for key, text in row.items() if key is not None}
    if obeyed := [key for key, text in cells.items() if any(ord(c) < ord(" ") and c not in "\t\r\n" for c in text)]:
        raise ValueError(f"control characters in {', '.join(obeyed)}; take them out")
    reason = cells.get("reason", "")
    needed = [key for key in REQUIRED if not cells[key]]
    if needed and not (reason and "case" not in needed and "quantity" not in needed):
        raise ValueError(f"empty: {', '.join(needed)}")
    quantity = _one_of("quantity", cells["quantity"], get_args(Quantity))
    if not reason:
        _one_of("precision", cells["precision"], tuple(WIDTH))
    return Measurement(
        case=cells["case"],
        set=cells.get("set") or quantity,
        target=cells["target"],
        workload=cells["workload"],
        precision=cells["precision"],
        batch=_batch(cells.get("batch", "")),
        mode=_one_of("mode", cells.get("mode") or "compiled", get_args(Mode)),
        quantity=quantity,
        value=_value(cells["value"], cells["unit"], UNITS[quantity]),
        boundary=_one_of("boundary", cells.get("boundary") or "chip", get_args(Boundary)),
        settings=_settings(cells.get("settings", "")),
        fit=cells.get("fit", ""),
        taken=cells.get("taken", ""),
        untested=cells.get("untested", ""),
        reason=reason,
        source=cells.get("source", ""),
        note=cells.get("note", ""),
        folder=folder,
    )


def _one_of(column: str, text: str, choices: tuple[str, ...]) -> Any:
    if text not in choices:
        raise ValueError(f"{column} {text!r} is none of {', '.join(choices)}")
    return text


def _batch(text: str) -> int | None:
    if text == "best":
        return None
    if not text:
        return 1
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 10**6:
        raise ValueError(f"batch {text!r} is neither a number from 1 to 1,000,000 nor 'best'")
    return int(text)


def _value(text: str, unit: str, si: str) -> float:
    """SI value; a rate is written per second, its unit ``1/s``. NaN where a case that is only listed gives none."""
    if not text:
        return float("nan")
    if si == "1/s":
        if unit not in ("1/s", "/s", "Hz"):
            raise ValueError(f"unit {unit!r}: a throughput is given in 1/s")
        unit, si = "Hz", "Hz"
    value = parse(f"{text} {unit}", si)
    if not 0 < value < float("inf"):
        raise ValueError(f"value {text!r} must be above zero and finite")
    if not 1 / MOST < value < MOST:
        raise ValueError(f"value {text!r} is {value:.3g} {si}; give one between {1 / MOST:g} and {MOST:g} {si}")
    return value


def _settings(text: str) -> tuple[tuple[str, str], ...]:
    pairs: list[tuple[str, str]] = []
    for part in filter(None, (p.strip() for p in text.split(";"))):
        key, sign, value = part.partition("=")
        if not sign or not key.strip() or not value.strip():
            raise ValueError(f"setting {part!r} is not 'constant = value unit'")
        if key.strip() in dict(pairs):
            raise ValueError(f"setting {key.strip()!r} is given twice")
        pairs.append((key.strip(), value.strip()))
    return tuple(pairs)
