"""Fitting the constants that no data sheet gives, on the published measurements, in full and with groups left out.

``python -m experiments.replays.fit gpu`` refits the parameters listed in ``experiments/fits/gpu.toml`` and writes what
it found to ``experiments/fits/gpu.json``; the values are then entered in ``baselines/kinds/gpu.toml``, or in the chip's
file, by hand, with their range.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from pydantic import TypeAdapter
from rich.console import Console
from rich.progress import track
from scipy.optimize import least_squares

from experiments.replays import measurement, target
from experiments.replays.measurement import Measurement
from experiments.replays.replay import Override, nominal_prices, quantity, refitted
from experiments.replays.target import Target
from experiments.uncertainty import NINETY
from neuro.constants import Table, parsed

FOLDER = Path(str(resources.files("experiments.fits")))
INSENSITIVE = 1e-4
"""Change of the weighted residuals with the logarithm of a parameter below which no case depends on it."""
WIDEST = 3.0
"""Standard deviation of a logarithm beyond which the cases say nothing of a parameter but its bounds."""
OUTLIER = 0.3
"""Residual (of the logarithm) beyond which a case counts less than quadratically."""


class Parameter(Table):
    """A constant that is fitted: dotted path, bounds (SI), and the devices that share its value ("*": all)."""

    path: str
    low: float
    high: float
    devices: tuple[str, ...] = ("*",)

    @property
    def keys(self) -> list[str]:
        """As `experiments.replays.replay.refitted` takes them."""
        return [self.path if name == "*" else f"{name}:{self.path}" for name in self.devices]


@dataclass(frozen=True)
class Fit:
    """Fitted values (SI) by key: with all cases, their 5-95 % ranges, and with each group left out."""

    values: Override = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    held_out: Mapping[str, Override] = field(default_factory=dict)


def load(kind: str) -> Fit:
    """What was fitted for machines of `kind`; empty where nothing was."""
    path = FOLDER / f"{kind}.json"
    return TypeAdapter(Fit).validate_json(path.read_bytes()) if path.is_file() else Fit()


def parameters(kind: str) -> list[Parameter]:
    """What is to be fitted for machines of `kind`, none without a file."""
    path = FOLDER / f"{kind}.toml"
    entries = parsed(path).get("parameter", []) if path.is_file() else []
    return TypeAdapter(list[Parameter]).validate_python(entries)


@dataclass(frozen=True)
class _Case:
    """A measurement with what its prediction is made from."""

    measurement: Measurement
    task: Any
    bench: tuple


def fit(kind: measurement.Kind) -> Fit:
    """The parameters of `kind` by least squares of log(prediction / measurement) over the cases with a fit group.

    Every set of cases weighs the same; what lies further off than `OUTLIER` counts less. Ranges come from the
    curvature at the optimum, widened to the spread of the values with groups left out.

    Raises:
        NeuroError: a case that cannot be run.
    """
    wanted = parameters(kind)
    if not wanted:
        return Fit()
    measured = [m for m in measurement.bundled(kind) if m.fit and not m.reason]
    devices = {_bench(m): target.of(m) for m in measured}
    cases = [_Case(m, devices[_bench(m)].task(m), _bench(m)) for m in measured]
    everything, spread = _solve(wanted, cases, devices)
    held_out = {}
    for group in track(sorted({m.fit for m in measured}), f"{kind}: groups left out", console=Console(stderr=True)):
        held_out[group], _ = _solve(wanted, [c for c in cases if c.measurement.fit != group], devices, everything)
    bounds = {key: (p.low, p.high) for p in wanted for key in p.keys}
    ranges = {}
    for name, value in everything.items():
        low, high = (value * np.exp(sign * NINETY * min(spread[name], WIDEST)) for sign in (-1, 1))
        found = [v[name] for v in held_out.values()]
        ranges[name] = (max(min(low, *found), bounds[name][0]), min(max(high, *found), bounds[name][1]))
    return Fit(everything, ranges, held_out)


def _bench(m: Measurement) -> tuple:
    return (m.target, m.settings, m.boundary)


def _solve(
    wanted: list[Parameter], cases: list[_Case], devices: Mapping[tuple, Target], start: Override | None = None
) -> tuple[dict[str, float], dict[str, float]]:
    """Fitted values by key, and the standard deviations of their logarithms.

    `start` only saves time: a parameter on which no case depends goes back to the middle of its bounds, lest a held-out
    group leave its own value behind.
    """
    low, high = np.log([p.low for p in wanted]), np.log([p.high for p in wanted])
    middle = (low + high) / 2
    first = middle if start is None else np.log([start[p.keys[0]] for p in wanted])
    sets = [c.measurement.set for c in cases]
    weight = np.array([1 / np.sqrt(sets.count(name)) for name in sets])
    solved = least_squares(
        lambda x: weight * residuals(_values(wanted, x), cases, devices),
        np.clip(first, low + 1e-6, high - 1e-6),
        bounds=(low, high),
        loss="soft_l1",
        f_scale=OUTLIER / np.sqrt(len(sets) / len(set(sets))),
        diff_step=1e-3,
    )
    freedom = max(1, len(cases) - len(wanted))
    variance = np.linalg.pinv(solved.jac.T @ solved.jac) * 2 * solved.cost / freedom
    deviation = np.sqrt(np.diag(variance))
    keys = [p.keys for p in wanted]
    felt = np.abs(solved.jac).max(axis=0) > INSENSITIVE
    return _values(wanted, np.where(felt, solved.x, middle)), {
        k: float(s) for ks, s in zip(keys, deviation, strict=True) for k in ks
    }


def _values(wanted: list[Parameter], x: Float[np.ndarray, "parameter"]) -> dict[str, float]:
    return {k: float(v) for p, v in zip(wanted, np.exp(x), strict=True) for k in p.keys}


def residuals(values: Override, cases: list[_Case], devices: Mapping[tuple, Target]) -> Float[np.ndarray, "case"]:
    """log(prediction / measurement) of every case with the constants at `values`."""
    changed = {key: refitted(device, values) for key, device in devices.items()}
    prices = {key: nominal_prices(device, key[-1]) for key, device in changed.items()}
    found = []
    for case in cases:
        m = case.measurement
        machine = changed[case.bench]
        predicted = quantity(m.quantity, machine.counts(m, case.task), prices[case.bench])[0]
        found.append(np.log(predicted / machine.divisor(m, case.task) / m.value))
    return np.array(found, np.float64)


def main(kinds: list[str]) -> None:
    """Refits the named kinds and writes and prints what was found."""
    console = Console()
    for kind in kinds:
        found = fit(kind)  # type: ignore[arg-type]
        (FOLDER / f"{kind}.json").write_text(TypeAdapter(Fit).dump_json(found, indent=1).decode() + "\n")
        for name, value in found.values.items():
            low, high = found.ranges[name]
            console.print(f"{kind} {name} = {value:.4g} [{low:.4g} .. {high:.4g}]")


if __name__ == "__main__":
    main(sys.argv[1:])
