"""From what the user typed to a validation, its record and its figure."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

from experiments.progress import Progress, silent
from experiments.records import record
from experiments.replays import fit, measurement, model_error
from experiments.replays.measurement import Kind
from experiments.replays.validation import Validation, validate
from experiments.validation_output import figure
from experiments.validation_summary import summary, tree
from neuro.errors import BadInput
from neuro.file import check_writable


def carry_out(
    kind: Kind | Literal["all"], cases: Path | None, out: Path | None, progress: Progress = silent
) -> tuple[Validation, dict[str, Any]]:
    """Replays published measurements of `kind` (or ``all``), or those in the file `cases`; writes record and figure.

    Raises:
        NeuroError: measurements that cannot be read or run, or a record that cannot be written.
    """
    kinds: tuple[Kind, ...] = get_args(Kind) if kind == "all" else (kind,)
    if cases is None:
        measurements = [m for name in kinds for m in measurement.bundled(name)]
        fits, errors = {name: fit.load(name) for name in kinds}, None
    else:  # nothing was fitted on a user's own measurements, whatever the column says
        measurements = [replace(m, fit="", taken="", untested="") for m in measurement.read(cases)]
        fits, errors = {}, model_error.load()
    path = out or record.default_path("validation", cases.stem if cases else kind)
    if path.suffix == ".png":
        raise BadInput(f"{path}: the figure goes there; give the record the ending .h5.")
    check_writable(path)
    validation = validate(measurements, fits, errors, progress("measurements", len(measurements)))
    found = summary(validation, str(path))
    record.store(tree(validation, " ".join(["neuro", *sys.argv[1:]]), record.now()), path)
    return validation, found | {"figure": str(figure(validation, path.with_suffix(".png")))}
