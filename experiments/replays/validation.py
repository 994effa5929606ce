"""All measurements of a kind beside their predictions: bands, errors, and the error of each model as that shows it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from experiments.replays import model_error
from experiments.replays.fit import Fit
from experiments.replays.measurement import Measurement
from experiments.replays.model_error import Key, ModelError
from experiments.replays.replay import Replay, replay


@dataclass(frozen=True)
class Row:
    """A replay with its band (5, 50, 95 %); NaN where it was not replayed."""

    replay: Replay
    low: float
    median: float
    high: float

    @property
    def inside(self) -> bool:
        """Whether the measurement lies in the band."""
        return self.low <= self.replay.measurement.value <= self.high


@dataclass(frozen=True)
class Summary:
    """Errors of a group: of those rows that test something the medians of |error|, of |error| with the shipped
    constants and of the roofline's; share inside the band with its 95 % interval; median width p95/p5; counts."""

    name: str
    cases: int
    replayed: int
    machines: int
    error: float
    in_sample: float
    naive: float
    coverage: float
    coverage_interval: tuple[float, float]
    width: float


@dataclass(frozen=True)
class Validation:
    """Rows in the order of the measurements, summaries by set and by kind, and the models' errors."""

    rows: tuple[Row, ...]
    sets: tuple[Summary, ...]
    kinds: tuple[Summary, ...]
    errors: Mapping[Key, ModelError]


def validate(
    measurements: list[Measurement],
    fits: Mapping[str, Fit],
    errors: Mapping[Key, ModelError] | None = None,
    done: Callable[[int], None] = lambda n: None,
) -> Validation:
    """`measurements` replayed, with the constants of `fits` (by kind) held out where a case was fitted on.

    errors: the models' known errors, for cases that did not make them (a user's own); by default they are taken from
    these cases, for each one without those of its own group.

    Raises:
        NeuroError: a case that cannot be read or run.
    """
    found = replay(measurements, {kind: fit.held_out for kind, fit in fits.items()}, done)
    known = model_error.measure(found) if errors is None else errors
    without: dict[tuple[Key, str], Mapping[Key, ModelError]] = {}
    rows: list[Row] = []
    for r in found:
        mine = (model_error.key(r), model_error.group(r))
        if errors is None and not r.reason and mine not in without:
            rest = [other for other in found if not _shares(other, *mine)]
            without[mine] = model_error.measure(rest)
        rows.append(_banded(r, without.get(mine, {}) if errors is None else errors))
    played = [row for row in rows if row.replay.kind]
    return Validation(
        rows=tuple(rows),
        sets=_summaries(rows, lambda r: r.measurement.set),
        kinds=(
            *_summaries(played, lambda r: r.kind),
            *_summaries(played, lambda r: f"{r.kind}, {r.measurement.regime}, {r.measurement.aspect}"),
        ),
        errors=known,
    )


def _shares(r: Replay, key: Key, group: str) -> bool:
    """Whether a replay tests nothing, is of another model, or of the same model and group."""
    return not r.tests or model_error.key(r) != key or model_error.group(r) == group


def _banded(r: Replay, errors: Mapping[Key, ModelError]) -> Row:
    if r.reason:
        return Row(r, float("nan"), float("nan"), float("nan"))
    half = model_error.half_width(errors, model_error.key(r), r.evidence)
    return Row(r, *r.band(half))


def _summaries(rows: list[Row], group: Callable[[Replay], str]) -> tuple[Summary, ...]:
    names = list(dict.fromkeys(group(row.replay) for row in rows))
    return tuple(_summary(name, [row for row in rows if group(row.replay) == name]) for name in names)


def _summary(name: str, rows: list[Row]) -> Summary:
    played = [row for row in rows if row.replay.tests]
    if not played:
        nan = float("nan")
        return Summary(name, len(rows), 0, 0, nan, nan, nan, nan, (nan, nan), nan)
    measured = np.array([row.replay.measurement.value for row in played])
    inside = sum(row.inside for row in played)
    interval = stats.binomtest(inside, len(played)).proportion_ci(0.95, method="wilson")
    return Summary(
        name=name,
        cases=len(rows),
        replayed=len(played),
        machines=len({row.replay.measurement.target for row in played}),
        error=float(np.median([abs(row.replay.error) for row in played])),
        in_sample=float(np.median(np.abs([row.replay.value for row in played] / measured - 1))),
        naive=_median(np.abs([row.replay.naive for row in played] / measured - 1)),
        coverage=inside / len(played),
        coverage_interval=(float(interval.low), float(interval.high)),
        width=float(np.median([row.high / row.low for row in played])),
    )


def _median(errors: np.ndarray) -> float:
    """Of those that are known, NaN if none is."""
    known = errors[~np.isnan(errors)]
    return float(np.median(known)) if len(known) else float("nan")
