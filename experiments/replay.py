"""A published measurement put to the models: what they predict for it, with the doubt of their constants."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import jax
import numpy as np
from jaxtyping import Float

from baselines import device as conventional
from baselines import from_shapes, roofline
from baselines.device import Device
from baselines.workload import Workload
from experiments.measurement import Measurement, Quantity
from experiments.uncertainty import Latent, draw, widened
from neuro.constants import Grade, leaves
from neuro.cost import Prices
from neuro.counts import Counts, Path
from neuro.errors import BadInput, NeuroError, nearest
from neuro.units import parse

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
    naive: a bare roofline (for energies: arithmetic alone). reason: why there is no prediction; then all are NaN.
    kind, evidence: of the machine. model: the module that predicted.
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

    @property
    def tests(self) -> bool:
        """Whether it was replayed and no constant was read off the very row."""
        return not self.reason and not self.measurement.taken

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
            found.append(_replay(m, bench, held_out.get(bench.device.kind, {}).get(m.fit, {})))
        except NeuroError as error:
            raise type(error)(f"case {m.case!r}: {error}") from None
    return found


@dataclass(frozen=True)
class _Bench:
    """A device under its settings, and its prices under joint draws of its constants."""

    device: Device
    drawn: Prices


def _bench(m: Measurement) -> _Bench:
    device = target(m)
    return _Bench(device, drawn_prices(device, _boundary(m, device)))


def _replay(m: Measurement, bench: _Bench, without: Override) -> Replay:
    device = bench.device
    if m.aspect == "energy" and m.boundary not in device.power:
        return Replay(m, reason=f"{device.name} has no price at the {m.boundary} boundary", kind=device.kind)
    work = from_shapes.load(m.workload, folder=m.folder, mode=m.mode)
    batch = m.batch or conventional.best_batch(device, work, m.precision)
    counts = conventional.counts(device, work, m.precision, batch)
    value = float(quantity(m.quantity, counts, nominal_prices(device, m.boundary))[0])
    other = refitted(device, without)
    return Replay(
        measurement=m,
        value=value,
        held_out=predict(m, other, work, batch) if without else value,
        naive=roofline.predict(device, work, m.precision, batch, m.quantity),
        draws=quantity(m.quantity, counts, bench.drawn),
        kind=device.kind,
        model=conventional.model_name(device),
        evidence=device.evidence.energy if m.aspect == "energy" else device.evidence.latency,
        fitted=bool(m.fit),
    )


def target(m: Measurement) -> Device:
    """The device of a measurement with its settings.

    Raises:
        BadInput: no such device, or a setting of a constant that it does not have or that cannot be read.
    """
    path = str(m.folder / m.target) if m.target.endswith(".toml") and m.folder else m.target
    device = conventional.load(path)
    constants = dict(leaves(device))
    values = {}
    for key, text in m.settings:
        if key not in constants:
            raise BadInput(f"{device.name} has no constant {key!r}.{nearest(key, list(constants))}")
        try:
            values[key] = parse(text, constants[key].unit)
        except ValueError as error:
            raise BadInput(f"setting {key}: {error}") from None
    return conventional.adjusted(device, values)


def refitted(device: Device, values: Override) -> Device:
    """`device` with those `values` that it has; keys are dotted paths, before a colon the only device they are for."""
    paths = {path for path, _ in leaves(device)}
    chosen = {}
    for key, value in values.items():
        name, _, path = key.rpartition(":")
        if path in paths and name in ("", device.name):
            chosen[path] = value
    return conventional.adjusted(device, chosen)


def predict(m: Measurement, device: Device, work: Workload, batch: int) -> float:
    """The measured quantity at the values of the constants, SI."""
    counts = conventional.counts(device, work, m.precision, batch)
    return float(quantity(m.quantity, counts, nominal_prices(device, m.boundary))[0])


def nominal_prices(device: Device, boundary: str) -> Prices:
    """Prices at the values of the constants, each with a draw axis of one."""
    known = boundary if boundary in device.power else next(iter(device.power))
    charged = conventional.prices(device, conventional.nominal(device), known)
    return jax.tree_util.tree_map(lambda price: np.full(1, price, np.float64), charged)


def drawn_prices(device: Device, boundary: str) -> Prices:
    """Prices of `device` under `DRAWS` joint draws."""
    known = [Latent(device.name, path, constant) for path, constant in leaves(device)]
    factors = draw(known, 0, DRAWS, seed=0).factors
    values = {latent.path: factors[:, i] * latent.constant.value for i, latent in enumerate(known)}
    return jax.vmap(lambda drawn: conventional.prices(device, drawn, boundary))(values)


def quantity(name: Quantity, counts: Counts, prices: Prices) -> Float[np.ndarray, "draw"]:
    """The quantity `name` for `counts`, SI, per draw of `prices`, whose leaves carry a draw axis.

    It is ``neuro.cost.cost`` in NumPy, because cases of so many shapes would each be compiled.
    """
    interval = _seconds(counts.interval, prices) / counts.batch
    if name == "latency":
        return _seconds(counts.latency, prices)
    if name == "throughput":
        return 1 / interval
    dynamic = sum(float(number) * np.asarray(prices.energy[name]) for name, number in counts.events.items())
    energy = dynamic / counts.batch + np.asarray(prices.active_power) * interval
    if name.startswith("dynamic"):
        # What is drawn for the idle power may exceed what is drawn for work; a machine never does.
        energy = energy - np.minimum(prices.idle_power, prices.active_power) * interval
    return energy if name.endswith("energy") else energy / interval


def _seconds(path: Path, prices: Prices) -> Float[np.ndarray, "draw"]:
    price = np.stack([np.asarray(prices.time[name], np.float64) for name in path.names])
    return (np.asarray(path.counts, np.float64) @ price).max(axis=1).sum(axis=0)


def _boundary(m: Measurement, device: Device) -> str:
    """Times do not depend on the boundary; a device without a price at the asked one still has a time."""
    return m.boundary if m.boundary in device.power else next(iter(device.power))
