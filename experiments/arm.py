"""One way to run the network: a machine, a network form, a code or a precision, a regime."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from experiments.replays import model_error
from experiments.replays.target import model_of
from experiments.uncertainty import Draws, Latent
from neuro.constants import Description, leaves
from neuro.cost import Prices, Scalar, cost
from neuro.counts import Counts


@dataclass(frozen=True)
class Machine:
    """A chip or device with the function that turns its constants into prices at a boundary."""

    kind: str
    description: Description
    prices: Callable[[Mapping[str, Scalar], str], Prices]

    @property
    def name(self) -> str:
        """The description's own name."""
        return self.description.name

    @property
    def model(self) -> str:
        """What the error of its model is known for."""
        if self.kind == "measured":
            return self.kind
        return model_of(self.description)


@dataclass(frozen=True)
class Arm:
    """A row of the comparison. counts is None where there is nothing to price; `reason` then says why, and `fits`
    whether the machine could run the network at all. One that it could run in theory only, limits left aside, is priced
    and does not fit.

    counts: with an item axis on spiking arms, whose events depend on the sample; without one on the others.
    """

    machine: Machine
    network: str
    regime: str
    precision: str
    accuracy: float | None
    code: str | None = None
    counts: Counts | None = None
    fits: bool = True
    reason: str | None = None
    units_used: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Unique among the arms of a comparison."""
        return "/".join([self.machine.name, self.network, self.code or self.precision, self.regime])

    @property
    def batch(self) -> int:
        """Samples in flight together."""
        return self.counts.batch if self.counts is not None else 1


@dataclass(frozen=True)
class Priced:
    """Costs of `arms` at `boundary` and `rate` (Hz; None: back to back): per draw, and at nominal constants split
    into components."""

    arms: tuple[Arm, ...]
    boundary: str
    rate: float | None
    energy: Float[np.ndarray, "draw arm"]
    latency: Float[np.ndarray, "draw arm"]
    components: tuple[dict[str, float], ...]
    nominal_latency: tuple[float, ...]
    nominal_interval: tuple[float, ...]

    def keeps_rate(self, i: int) -> bool:
        """Whether arm `i` finishes a sample before the next one comes."""
        return self.rate is None or self.nominal_interval[i] <= 1 / self.rate

    def index(self, name: str) -> int:
        """Position of the arm called `name`."""
        return [arm.name for arm in self.arms].index(name)


Pricer: TypeAlias = Callable[..., tuple[np.ndarray, np.ndarray]]


def latents(machines: list[Machine]) -> list[Latent]:
    """Every constant of every machine that a price can depend on, in file order."""
    return [
        Latent(machine.name, path, constant)
        for machine in machines
        for path, constant in leaves(machine.description)
        if not path.startswith(("limits.", "neuron.", "mesh.", "core_kinds.", "congestion."))
    ]


def item_events(arms: tuple[Arm, ...], items: int) -> Float[np.ndarray, "item event"]:
    """All counts of all spiking arms side by side, one row per item: what the bootstrap of items averages."""
    leaves_of = [np.asarray(leaf).reshape(items, -1) for arm in arms if _by_item(arm) for leaf in _leaves(arm)]
    return np.concatenate([np.zeros((items, 0), np.float32), *leaves_of], axis=1)


def pricer(arms: tuple[Arm, ...], machines: list[Machine], boundary: str, rows: int) -> Pricer:
    """A compiled function from (factors [draw, latent], mean events [draw, event], seconds between samples) to
    (energy [draw, arm], latency [draw, arm]).

    mean events: averages of the rows of `item_events`. No seconds between samples means back to back. Fewer draws
    than `rows` are filled up, so that one compilation serves all calls.
    """
    known = latents(machines)
    nominal = jnp.asarray([latent.constant.value for latent in known], jnp.float32)

    def price(factors, events, every):
        constants: dict[str, dict[str, Scalar]] = {machine.name: {} for machine in machines}
        drawn = factors * nominal
        for i, latent in enumerate(known):
            constants[latent.machine][latent.path] = drawn[i]
        prices = {m.name: m.prices(constants[m.name], boundary) for m in machines if boundary in m.description.power}
        counts = _with_means(arms, events)
        costs = [cost(n, prices[arm.machine.name], every) for n, arm in zip(counts, arms, strict=True)]
        return jnp.stack([c.total for c in costs]), jnp.stack([jnp.asarray(c.latency) for c in costs])

    compiled = jax.jit(jax.vmap(price, in_axes=(0, 0, None)))

    def run(factors, events, every=0.0):
        number = len(factors)
        if not arms:
            return np.zeros((number, 0)), np.zeros((number, 0))
        room = ((0, max(rows - number, 0)), (0, 0))
        filled = (jnp.asarray(np.pad(a, room, mode="edge"), jnp.float32) for a in (factors, events))
        energy, latency = (np.asarray(a, np.float64)[:number] for a in compiled(*filled, jnp.float32(every)))
        return energy, latency

    return run


def price(
    run: Pricer,
    arms: tuple[Arm, ...],
    draws: Draws,
    machines: list[Machine],
    means: Float[np.ndarray, "draw event"],
    nominal: tuple[Counts, ...],
    boundary: str,
    rate: float | None,
) -> Priced:
    """Costs of all `arms` by their `pricer`: under all draws, and at nominal constants and `nominal` counts."""
    every = None if rate is None else 1 / rate
    energy, latency = run(draws.factors, means, every or 0.0)
    where = np.array([[m.name for m in machines].index(arm.machine.name) for arm in arms], dtype=int)
    half = np.array([half_widths(arm) for arm in arms]).reshape(-1, 2)
    costs = []
    for arm, counts in zip(arms, nominal, strict=True):
        values = {path: c.value for path, c in leaves(arm.machine.description)}
        costs.append(cost(counts, arm.machine.prices(values, boundary), every))
    return Priced(
        arms=arms,
        boundary=boundary,
        rate=rate,
        energy=energy * np.exp(draws.scores[:, where, 0] * half[:, 0]),
        latency=latency * np.exp(draws.scores[:, where, 1] * half[:, 1]),
        components=tuple({name: float(joules) for name, joules in c.energy.items()} for c in costs),
        nominal_latency=tuple(float(c.latency) for c in costs),
        nominal_interval=tuple(float(c.interval) for c in costs),
    )


def half_widths(arm: Arm) -> tuple[float, float]:
    """Half of the 90 % interval of the logarithm of the model's error, on energy and on latency."""
    evidence, model, errors = arm.machine.description.evidence, arm.machine.model, model_error.load()
    if model == "measured":  # no model: the spread of the runs is that of the constants
        return 0.0, 0.0
    regime = model_error.regime(arm.batch)
    return (
        model_error.half_width(errors, (model, regime, "energy"), evidence.energy),
        model_error.half_width(errors, (model, regime, "time"), evidence.latency),
    )


def mean_counts(arms: tuple[Arm, ...], items: int) -> tuple[Counts, ...]:
    """The counts of every arm, those of spiking arms averaged over the items."""
    return tuple(_with_means(arms, item_events(arms, items).mean(axis=0, dtype=np.float64).astype(np.float32)))


def _by_item(arm: Arm) -> bool:
    return arm.network == "spiking" and arm.counts is not None


def _leaves(arm: Arm) -> list[np.ndarray]:
    return jax.tree_util.tree_leaves(arm.counts)


def _with_means(arms: tuple[Arm, ...], events) -> list[Counts]:
    """The arms' counts, with a row of `item_events` put back in place for spiking ones."""
    found, start = [], 0
    for arm in arms:
        assert arm.counts is not None
        if not _by_item(arm):
            found.append(arm.counts)
            continue
        parts = []
        for leaf in _leaves(arm):
            shape = leaf.shape[1:]
            parts.append(events[start : start + prod(shape)].reshape(shape))
            start += prod(shape)
        found.append(jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(arm.counts), parts))
    return found
