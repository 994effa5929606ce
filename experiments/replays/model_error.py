"""How far each kind of model has been off: taken from published measurements, and added to every prediction.

``python -m experiments.replays.model_error`` replays all bundled measurements and writes what it finds to
``experiments/fits/errors.json``, from which `neuro compare` and `neuro validate --cases` take it; NEURO_DATA must name
the data of the networks that are simulated.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import log
from typing import get_args

import numpy as np
from jaxtyping import Float
from pydantic import TypeAdapter

from experiments.replays import fit, measurement
from experiments.replays.replay import Replay, replay
from experiments.uncertainty import GRADE_FACTOR
from neuro.constants import Grade

FEWEST = 3
"""Cases from which a model's error is taken instead of from the grade of its evidence."""
LEAST = log(1.05)
"""No model is taken to be better than this, however much the ranges of its constants explain."""
FAMILY = 3
"""Machines whose measurements speak for others of their family; fewer speak for themselves."""
COVERED = 0.9
"""Share of the cases that bands are to hold."""

Key = tuple[str, str, str]
"""Model (`experiments.replays.target.model_of`), regime (batch 1, batch) and aspect (time, energy)."""


@dataclass(frozen=True)
class ModelError:
    """How far a model has been off, beyond what its constants explain, over so many cases of so many machines.

    half_width: of the 90 % interval of the natural logarithm of prediction over measurement.
    """

    half_width: float
    cases: int
    machines: int


def key(r: Replay) -> Key:
    """What the error of a replay is an example of."""
    return (r.model, r.measurement.regime, r.measurement.aspect)


def measure(replays: list[Replay]) -> dict[Key, ModelError]:
    """The error of each model: the half-width that enough of its measurements ask for.

    Enough is the least share of cases with which, every group judged by the others alone, `COVERED` of all cases get
    what they ask for. Fewer than `FEWEST` cases say nothing.
    """
    found = {}
    played = [r for r in replays if r.tests]
    for k in sorted({key(r) for r in played}):
        mine = [r for r in played if key(r) == k]
        if len(mine) >= FEWEST:
            asked = np.array([r.asked for r in mine])
            share = enough(asked, np.array([group(r) for r in mine]))
            machines = {r.measurement.target for r in mine}
            half_width = max(float(_quantile(np.sort(asked), np.array([share]))[0]), LEAST)
            found[k] = ModelError(half_width, len(mine), len(machines))
    return found


def group(r: Replay) -> str:
    """What must be left out to judge a replay fairly: its fit group, else its machine; of a chip, whose model is its
    own, the network."""
    return r.measurement.fit or (r.measurement.workload if r.kind == "neuromorphic" else r.measurement.target)


def enough(asked: Float[np.ndarray, "case"], groups: np.ndarray) -> float:
    """The least share of cases whose quantile of `asked`, taken without a case's own group, covers `COVERED` of all;
    1 where none does or there is one group only."""
    shares = np.arange(1, len(asked) + 1) / len(asked)
    covered = np.zeros(len(asked))
    for name in np.unique(groups):
        own, others = asked[groups == name], np.sort(asked[groups != name])
        if len(others) == 0:
            return 1.0
        covered += (own[:, None] <= _quantile(others, shares)).sum(axis=0)
    reached = covered / len(asked) >= COVERED
    return float(shares[np.argmax(reached)]) if reached.any() else 1.0


def _quantile(ordered: Float[np.ndarray, "case"], shares: Float[np.ndarray, "share"]) -> Float[np.ndarray, "share"]:
    """The values of `ordered` that these shares of them do not exceed."""
    return ordered[np.maximum(np.ceil(shares * len(ordered) - 1e-9).astype(int), 1) - 1]


@cache
def load() -> Mapping[Key, ModelError]:
    """The errors of the models on the bundled measurements, as last written."""
    rows = TypeAdapter(dict[str, ModelError]).validate_json((fit.FOLDER / "errors.json").read_bytes())
    return {(kind, regime, aspect): error for name, error in rows.items() for kind, regime, aspect in [name.split("/")]}


def applicable(errors: Mapping[Key, ModelError], key: Key, grade: Grade) -> ModelError | None:
    """The measured error that holds for a machine of that grade: for one that was measured itself any, for another of
    its family one of `FAMILY` machines, none for one whose insides are undisclosed."""
    known = errors.get(key)
    if known is None or grade == "undisclosed" or (grade == "same family" and known.machines < FAMILY):
        return None
    return known


def half_width(errors: Mapping[Key, ModelError], key: Key, grade: Grade) -> float:
    """Half of the 90 % interval of the logarithm of a model's error: as measured, else by the grade of the evidence."""
    known = applicable(errors, key, grade)
    return known.half_width if known else log(GRADE_FACTOR[grade])


def evidence(model: str, batch: int, aspect: str, grade: Grade) -> str:
    """What a model has been held against, in words: so many measurements, else the grade of the machine's evidence."""
    known = applicable(load(), (model, regime(batch), aspect), grade)
    if known is None:
        return grade
    return f"{known.cases} measurements of {known.machines} machine{'s' if known.machines > 1 else ''}"


def regime(batch: int | None) -> str:
    """The regime of that many samples in flight (None: as many as are fastest)."""
    return "batch 1" if batch == 1 else "batch"


def main() -> None:
    """Replays everything and writes the errors."""
    kinds = get_args(measurement.Kind)
    replays = [r for kind in kinds for r in replay(measurement.bundled(kind), {kind: fit.load(kind).held_out})]
    rows = {"/".join(k): error for k, error in measure(replays).items()}
    text = TypeAdapter(dict[str, ModelError]).dump_json(rows, indent=1).decode()
    (fit.FOLDER / "errors.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
