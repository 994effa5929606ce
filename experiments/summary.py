"""A comparison as plain data: the JSON object that ``--json`` prints, and the rows of the table."""

from typing import Any

import numpy as np

from experiments.arm import Arm, Priced
from experiments.compare import Comparison
from experiments.replays import model_error
from experiments.verdict import Verdict
from neuro.bottleneck import bound
from neuro.chip import Chip
from neuro.codes import is_exact
from neuro.constants import leaves


def band(draws: np.ndarray) -> dict[str, float]:
    """5, 50 and 95 % of `draws`."""
    p5, p50, p95 = np.quantile(draws, [0.05, 0.5, 0.95])
    return {"p5": float(p5), "p50": float(p50), "p95": float(p95)}


def summary(comparison: Comparison, record: str) -> dict[str, Any]:
    """The comparison as JSON-ready data; energies in J, times in s, per inference."""
    c = comparison
    return {
        "network": c.network.name,
        "items": len(c.dataset.x),
        "data": {"name": c.dataset.name, "preprocessing": c.dataset.description, "input_levels": c.dataset.levels},
        "scenario": {"boundary": c.options.boundary, "rate_hz": c.options.rate},
        "accuracy": {"float": c.float_accuracy, "integer": c.integer_accuracy},
        "codes": codes(c),
        "arms": [arm_row(arm, c.priced) for arm in c.arms],
        "verdict": {v.quantity: verdict_row(v) for v in c.verdicts},
        "duty_cycled": None if c.duty is None else duty_rows(c.duty, c.duty_verdicts),
        "record": record,
    }


def codes(comparison: Comparison) -> list[dict[str, Any]]:
    """One row per code, chip or no chip."""
    return [
        {
            "code": run.code,
            "exact": is_exact(run.code),
            "steps": run.steps,
            "accuracy": comparison.accuracies[run.code],
            "checked": run.checked,
            "mismatches": run.mismatches,
            "spikes_per_item": float(run.spikes.mean()),
            "synops_per_item": float(run.synops.mean()),
            "spikes_per_neuron": float(run.spikes.mean() / run.neurons),
        }
        for run in comparison.runs
    ]


def arm_row(arm: Arm, priced: Priced) -> dict[str, Any]:
    """One arm with its bands; energy, latency and components are None where there is nothing to price."""
    i = priced.index(arm.name) if arm.counts is not None else None
    reason = arm.reason
    if i is not None and not priced.keeps_rate(i):
        reason = f"takes {priced.nominal_interval[i]:.3g} s a sample, too long for {priced.rate:g} Hz"
    components = None if i is None else priced.components[i]
    return {
        "name": arm.name,
        "machine": arm.machine.name,
        "kind": arm.machine.kind,
        "network": arm.network,
        "code": arm.code,
        "regime": arm.regime,
        "batch": arm.batch,
        "precision": arm.precision,
        "accuracy": arm.accuracy,
        "energy_j": None if i is None else band(priced.energy[:, i]),
        "latency_s": None if i is None else band(priced.latency[:, i]),
        "components_j": components,
        "nominal_energy_j": None if components is None else sum(components.values()),
        "nominal_latency_s": None if i is None else priced.nominal_latency[i],
        "interval_s": None if i is None else priced.nominal_interval[i],
        "bound": None if i is None else waits_for(arm, priced.boundary),
        "fits": arm.fits,
        "reason": reason,
        "units_used": arm.units_used,
        "boundary": priced.boundary,
        "basis": basis(arm),
    }


def basis(arm: Arm) -> str:
    """What the arm's figures rest on."""
    model, grades = arm.machine.model, arm.machine.description.evidence
    if model == "measured":
        return "measured on this machine"
    energy = model_error.evidence(model, arm.batch, "energy", grades.energy)
    latency = model_error.evidence(model, arm.batch, "time", grades.latency)
    chip = arm.machine.description
    how = "priced, not mapped" if isinstance(chip, Chip) and chip.scope == "priced" else "modelled"
    return f"{how}; held against: energy {energy}, latency {latency}"


def waits_for(arm: Arm, boundary: str) -> str | None:
    """What the latency of an arm on a spiking chip is bound by, at nominal constants; None on other machines."""
    chip = arm.machine.description
    if not isinstance(chip, Chip) or arm.counts is None:
        return None
    values = {path: constant.value for path, constant in leaves(chip)}
    time = arm.machine.prices(values, boundary).time
    return bound(arm.counts.latency, {name: float(np.asarray(time[name])) for name in arm.counts.latency.names})


def verdict_row(verdict: Verdict) -> dict[str, Any]:
    """One quantity's answer."""
    return {
        "p_snn_wins": verdict.p,
        "word": verdict.word,
        "best_snn": verdict.best_snn,
        "best_binary_snn": verdict.best_binary_snn,
        "best_rival": verdict.best_rival,
        "p_at_least_twice": verdict.p_twice,
        "p_by_correlation": {"0": verdict.p_uncorrelated, "1": verdict.p_fully_correlated},
        "ratio": None if verdict.ratio is None else dict(zip(("p5", "p50", "p95"), verdict.ratio, strict=True)),
        "classes": {name: {"rival": rival, "p_snn_wins": p} for name, (rival, p) in verdict.classes.items()},
        "drivers": [{"machine": d.machine, "constant": d.path, "factor": d.factor} for d in verdict.drivers],
    }


def duty_rows(priced: Priced, verdicts: tuple[Verdict, ...]) -> dict[str, Any]:
    """The second scenario: energy bands and verdicts."""
    return {
        "rate_hz": priced.rate,
        "energy_j": {arm.name: band(priced.energy[:, i]) for i, arm in enumerate(priced.arms) if priced.keeps_rate(i)},
        "verdict": {v.quantity: verdict_row(v) for v in verdicts},
    }
