"""A published measurement put to the models: what they predict for it, with the doubt of their constants."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from experiments.replays import target
from experiments.replays.measurement import MOST, Measurement, Quantity
from experiments.replays.simulated import DataAbsent
from experiments.replays.target import Target
from experiments.uncertainty import Latent, draw, widened
from neuro.constants import Grade, leaves
from neuro.cost import Prices, unpriced
from neuro.counts import Counts, Path
from neuro.errors import BadDescription, BadInput, NeuroError
from neuro.workload import CORE_EVENTS

Override = Mapping[str, float]
"""Values (SI) of constants by dotted path that stand in for those of the files."""

DRAWS = 512
WIDEST = 0.1
"""Half-width at which the search for the one that a case asks for begins, beside twice its residual."""


@dataclass(frozen=True)
class Replay:
    """A measurement beside its prediction.

    value: predicted at the values of the constants; held_out: the same with the constants that were fitted without
    the measurement's group, where there was a fit; draws: predictions under joint draws of the constants [draw];
    naive: a bare roofline (for energies: arithmetic alone), for chips synaptic operations times the price of one.
    reason: why there is no prediction; then all are NaN. kind, evidence: of the machine. model: what its error is known
    for. bound: what the run waits for, in words. remark: of what ran, in words.
    """

    measurement: Measurement
    value: float = float("nan")
    held_out: float = float("nan")
    naive: float = float("nan")
    draws: Float[np.ndarray, "draw"] = field(default_factory=lambda: np.full(1, np.nan))
    reason: str = ""
    kind: str = ""
    model: str = ""
    evidence: Grade = "undisclosed"
    fitted: bool = False
    bound: str = ""
    remark: str = ""

    @property
    def tests(self) -> bool:
        """Whether it was replayed, no constant was read off the very row and nothing else makes it no test."""
        return not self.reason and not self.measurement.taken and not self.measurement.untested

    @property
    def error(self) -> float:
        """Signed, relative to the measurement; of the prediction with the case held out where it was fitted on."""
        return self.held_out / self.measurement.value - 1

    def band(self, half_width: float) -> tuple[float, float, float]:
        """5, 50 and 95 % of the prediction, held out: the draws times a model's error of that 90 % half-width."""
        low, median, high = np.quantile(
            widened(self.draws * (self.held_out / self.value), half_width), [0.05, 0.5, 0.95]
        )
        return float(low), float(median), float(high)

    @cached_property
    def asked(self) -> float:
        """The least half-width with which the band holds the measurement, to 0.1 %; 0 where the draws alone do."""
        least, most = 0.0, 2.0 * abs(self.residual) + WIDEST
        if self._holds(least):
            return least
        while most - least > 1e-3 * most:
            middle = (least + most) / 2
            least, most = (least, middle) if self._holds(middle) else (middle, most)
        return most

    def _holds(self, half_width: float) -> bool:
        low, _, high = self.band(half_width)
        return low <= self.measurement.value <= high

    @property
    def residual(self) -> float:
        """Natural logarithm of the prediction, held out, over the measurement."""
        return float(np.log(self.held_out / self.measurement.value))


def replay(
    measurements: Iterable[Measurement],
    held_out: Mapping[str, Mapping[str, Override]],
    done: Callable[[int], None] = lambda n: None,
) -> list[Replay]:
    """`measurements` put to the models of their machines, in their order.

    held_out: fitted constants by kind and by the group left out of the fit. done: told of every case that is through.

    Raises:
        NeuroError: a target, workload, precision, batch or setting that cannot be used, with the case named.
    """
    benches: dict[tuple, _Bench] = {}
    found = []
    for m in measurements:
        done(1)
        if m.reason:
            found.append(Replay(m, reason=m.reason, kind=m.kind))
            continue
        key = (m.folder, m.target, m.settings, m.boundary)
        try:
            if key not in benches:
                benches[key] = _bench(m)
            bench = benches[key]
            found.append(_finite(_replay(m, bench, held_out.get(bench.target.kind, {}).get(m.fit, {}))))
        except DataAbsent as error:
            found.append(Replay(m, reason=str(error), kind=m.kind))
        except NeuroError as error:
            raise type(error)(f"case {m.case!r}: {error}") from None
    return found


def _finite(r: Replay) -> Replay:
    """The replay, if its prediction is a number that can be compared and drawn. Raises BadInput."""
    values = np.array([r.value, r.held_out, *r.draws], np.float64)
    if not r.reason and not ((values > 0) & (values < MOST)).all():
        raise BadInput(
            f"{r.measurement.quantity} is predicted as {r.value:.3g} in SI units, of draws up to {values.max():.3g}; "
            f"it must be above 0 and below {MOST:g}. Check the counts of its workload and its settings."
        )
    return r


@dataclass(frozen=True)
class _Bench:
    """A machine under its settings, and its prices under joint draws of its constants."""

    target: Target
    drawn: Prices


def _bench(m: Measurement) -> _Bench:
    machine = target.of(m)
    return _Bench(machine, drawn_prices(machine, _boundary(m, machine)))


def _replay(m: Measurement, bench: _Bench, without: Override) -> Replay:
    machine, evidence = bench.target, bench.target.description.evidence
    name = machine.description.name
    if m.aspect == "energy" and m.boundary not in machine.description.power:
        return Replay(m, reason=f"{name} has no price at the {m.boundary} boundary", kind=machine.kind)
    task = machine.task(m)
    counts, per = machine.counts(m, task), machine.divisor(m, task)
    prices = nominal_prices(machine, m.boundary)
    if missing := unpriced(counts, prices):
        raise BadDescription(f"{name} has no price for {', '.join(missing)}.")
    value = float(quantity(m.quantity, counts, prices)[0]) / per
    return Replay(
        measurement=m,
        value=value,
        held_out=predict(m, refitted(machine, without), task) if without else value,
        naive=machine.naive(m, task),
        draws=quantity(m.quantity, machine.counts(m, task, DRAWS), bench.drawn) / per,
        kind=machine.kind,
        model=machine.model,
        evidence=evidence.energy if m.aspect == "energy" else evidence.latency,
        fitted=bool(m.fit),
        bound=machine.bound(m, task) if m.aspect == "time" else "",
        remark=getattr(task, "remark", ""),
    )


def refitted(machine: Target, values: Override) -> Target:
    """`machine` with those `values` that it has; keys are dotted paths, before a colon the only one they are for."""
    paths = {path for path, _ in leaves(machine.description)}
    chosen = {}
    for key, value in values.items():
        name, _, path = key.rpartition(":")
        if path in paths and name in ("", machine.description.name):
            chosen[path] = value
    return machine.adjusted(chosen)


def predict(m: Measurement, machine: Target, task: Any) -> float:
    """The measured quantity at the values of the constants, SI."""
    counts = machine.counts(m, task)
    return float(quantity(m.quantity, counts, nominal_prices(machine, m.boundary))[0]) / machine.divisor(m, task)


def nominal_prices(machine: Target, boundary: str) -> Prices:
    """Prices at the values of the constants, each with a draw axis of one."""
    power = machine.description.power
    known = boundary if boundary in power else next(iter(power))
    charged = machine.prices({path: constant.value for path, constant in leaves(machine.description)}, known)
    return jax.tree_util.tree_map(lambda price: np.full(1, price, np.float64), charged)


def drawn_prices(machine: Target, boundary: str) -> Prices:
    """Prices of `machine` under `DRAWS` joint draws."""
    known = [Latent(machine.description.name, path, constant) for path, constant in leaves(machine.description)]
    factors = draw(known, 0, DRAWS, seed=0).factors
    values = {latent.path: factors[:, i] * latent.constant.value for i, latent in enumerate(known)}
    return jax.vmap(lambda drawn: machine.prices(drawn, boundary))(values)


def quantity(name: Quantity, counts: Counts, prices: Prices) -> Float[np.ndarray, "draw"]:
    """The quantity `name` for `counts`, SI, per draw of `prices`, whose leaves carry a draw axis; `counts` may too.

    It is ``neuro.cost.cost`` in NumPy, because cases of so many shapes would each be compiled. What a quantity is per
    (`experiments.replays.measurement.PER`) is not divided by here.
    """
    interval = _seconds(counts.interval, prices) / counts.batch
    if name in ("latency", "step time"):
        return _seconds(counts.latency, prices)
    if name == "throughput":
        return 1 / interval
    events = {n: e for n, e in counts.events.items() if name != "core energy" or n in CORE_EVENTS}
    nothing = np.zeros_like(interval)
    dynamic = sum((np.asarray(e, np.float64) * np.asarray(prices.energy[n]) for n, e in events.items()), start=nothing)
    if name == "core energy":
        return dynamic / counts.batch
    energy = dynamic / counts.batch + counts.machines * np.asarray(prices.active_power) * interval
    if name.startswith("dynamic"):
        # What is drawn for the idle power may exceed what is drawn for work; a machine never does.
        energy = energy - counts.machines * np.minimum(prices.idle_power, prices.active_power) * interval
    return energy if name.endswith("energy") else energy / interval


def _seconds(path: Path, prices: Prices) -> Float[np.ndarray, "draw"]:
    price = np.stack([np.asarray(prices.time[name], np.float64) for name in path.names])
    counts = np.asarray(path.counts, np.float64)
    if counts.ndim == 4:  # counts drawn along with the prices
        return (
            np.einsum("dsre,ed->drs", counts, np.broadcast_to(price, (len(price), len(counts)))).max(axis=1).sum(axis=1)
        )
    return (counts @ price).max(axis=1).sum(axis=0)


def _boundary(m: Measurement, machine: Target) -> str:
    """Times do not depend on the boundary; a machine without a price at the asked one still has a time."""
    power = machine.description.power
    return m.boundary if m.boundary in power else next(iter(power))
