"""A validation as plain values: the object that ``--json`` prints, and the tree that the record holds."""

from dataclasses import asdict
from math import isnan
from typing import Any

import numpy as np
import xarray as xr

from experiments.records.record_array import array, labelled
from experiments.replays.validation import Row, Summary, Validation

SCHEMA = "neuro.validation/1"


def summary(validation: Validation, record: str) -> dict[str, Any]:
    """Every case with measurement, prediction, roofline and error, and the medians by set and by kind."""
    return {
        "cases": [case(row) for row in validation.rows],
        "summary": _groups(validation),
        "model_errors": {"/".join(key): asdict(e) for key, e in validation.errors.items()},
        "record": record,
    }


def _groups(validation: Validation) -> dict[str, Any]:
    """Kinds and sets by name; a set that has the name of a kind is told apart."""
    found = {s.name: group(s) for s in validation.kinds}
    return found | {f"set {s.name}" if s.name in found else s.name: group(s) for s in validation.sets}


def case(row: Row) -> dict[str, Any]:
    """One case; what was not replayed has nulls and a reason."""
    r, m = row.replay, row.replay.measurement
    played = not r.reason
    return {
        "case": m.case,
        "set": m.set,
        "target": m.target,
        "workload": m.workload,
        "precision": m.precision,
        "batch": m.batch or "best",
        "quantity": m.quantity,
        "unit": m.unit,
        "boundary": m.boundary if m.aspect == "energy" else None,
        "measured": None if isnan(m.value) else m.value,
        "predicted": ({"nominal": r.held_out, "p5": row.low, "p50": row.median, "p95": row.high} if played else None),
        "naive": None if isnan(r.naive) else r.naive,
        "error": r.error if played else None,
        "in_sample_error": r.value / m.value - 1 if played else None,
        "inside": row.inside if played else None,
        "bound": r.bound or None,
        "remark": r.remark or None,
        "basis": basis(row),
        "fitted": r.fitted or bool(m.taken),
        "tests": r.tests,
        "reason": r.reason or None,
    }


def basis(row: Row) -> str:
    """What the prediction rests on."""
    r, m = row.replay, row.replay.measurement
    if r.reason:
        return "not replayed"
    if m.taken:
        return f"modelled, evidence: {r.evidence}; no test: {m.taken} taken from this row (fitted, n = 1)"
    if m.untested:
        return f"modelled, evidence: {r.evidence}; no test: {m.untested}"
    fitted = f"; fitted constants refitted without {m.fit}" if r.fitted else "; nothing fitted on it"
    return f"modelled, evidence: {r.evidence}{fitted}"


def group(s: Summary) -> dict[str, Any]:
    """Medians and coverage of one group; nulls where nothing was replayed."""

    def known(value: float) -> float | None:
        return None if isnan(value) else value

    return {
        "cases": s.cases,
        "replayed": s.replayed,
        "machines": s.machines,
        "median_abs_error": known(s.error),
        "median_abs_error_in_sample": known(s.in_sample),
        "median_abs_error_naive": known(s.naive),
        "coverage": known(s.coverage),
        "coverage_95": [known(end) for end in s.coverage_interval],
        "median_p95_over_p5": known(s.width),
    }


def tree(validation: Validation, command: str, created: str) -> xr.DataTree:
    """What the record holds: /cases and /summary, read with xarray or h5py."""
    rows = validation.rows
    texts = {
        name: ([str(getattr(row.replay.measurement, name)) for row in rows], name)
        for name in (
            "case",
            "set",
            "target",
            "workload",
            "precision",
            "quantity",
            "unit",
            "boundary",
            "taken",
            "untested",
            "source",
            "note",
        )
    }
    texts["reason"] = ([row.replay.reason for row in rows], "why the case was not replayed")
    texts["bound"] = ([row.replay.bound for row in rows], "what the run waits for")
    texts["basis"] = ([basis(row) for row in rows], "what the prediction rests on")
    cases = labelled("case", **texts)
    numbers = {
        "batch": ([row.replay.measurement.batch or 0 for row in rows], "samples in flight; 0: that of highest rate"),
        "measured": ([row.replay.measurement.value for row in rows], "measured, SI, see unit"),
        "predicted": ([row.replay.value for row in rows], "predicted at the constants of the files"),
        "held_out": ([row.replay.held_out for row in rows], "predicted, the case's group left out of fits"),
        "low": ([row.low for row in rows], "5 % of the band"),
        "median": ([row.median for row in rows], "50 % of the band"),
        "high": ([row.high for row in rows], "95 % of the band"),
        "naive": (
            [row.replay.naive for row in rows],
            "bare roofline, or arithmetic alone for energies; chips: synaptic operations alone",
        ),
    }
    for name, (values, what) in numbers.items():
        cases[name] = array("case", np.asarray(values), "1", what)
    groups = [*validation.kinds, *validation.sets]
    table = labelled("group", group=([s.name for s in groups], "set or kind"))
    for name in ("cases", "replayed", "machines", "error", "in_sample", "naive", "coverage", "width"):
        table[name] = array("group", np.asarray([getattr(s, name) for s in groups]), "1", name)
    root = xr.Dataset(attrs={"schema": SCHEMA, "created": created, "command": command})
    return xr.DataTree.from_dict({"/": root, "/cases": cases, "/summary": table})
