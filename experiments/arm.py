"""One way to run the network: a machine, a network form, a code or a precision, a regime."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.uncertainty import Draws, Latent
from neuro.constants import Description, leaves
from neuro.cost import Prices, Scalar, cost
from neuro.counts import Counts, average


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


@dataclass(frozen=True)
class Arm:
    """A row of the comparison. counts is None where there is nothing to price; `reason` then says why.

    counts: with an item axis on spiking arms, whose events depend on the sample; without one on the others.
    """

    machine: Machine
    network: str
    regime: str
    precision: str
    accuracy: float | None
    code: str | None = None
    counts: Counts | None = None
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
        if not path.startswith(("limits.", "neuron.", "mesh."))
    ]


def pricer(arms: tuple[Arm, ...], machines: list[Machine], boundary: str) -> Pricer:
    """A compiled function from (factors [draw, latent], item weights [draw, item], seconds between samples) to
    (energy [draw, arm], latency [draw, arm]); no seconds between samples means back to back."""
    known = latents(machines)
    nominal = jnp.asarray([latent.constant.value for latent in known], jnp.float32)

    def price(factors, weights, every):
        constants: dict[str, dict[str, Scalar]] = {machine.name: {} for machine in machines}
        drawn = factors * nominal
        for i, latent in enumerate(known):
            constants[latent.machine][latent.path] = drawn[i]
        prices = {m.name: m.prices(constants[m.name], boundary) for m in machines if boundary in m.description.power}
        costs = [cost(expected(arm, weights), prices[arm.machine.name], every) for arm in arms]
        return jnp.stack([c.total for c in costs]), jnp.stack([jnp.asarray(c.latency) for c in costs])

    compiled = jax.jit(jax.vmap(price, in_axes=(0, 0, None)))

    def run(factors, weights, every=0.0):
        if not arms:
            return np.zeros((len(factors), 0)), np.zeros((len(factors), 0))
        found = compiled(*(jnp.asarray(a, jnp.float32) for a in (factors, weights, every)))
        energy, latency = (np.asarray(a, np.float64) for a in found)
        return energy, latency

    return run


def expected(arm: Arm, weights: Float[Array | np.ndarray, "item"]) -> Counts:
    """The arm's counts for a mean sample under item `weights`."""
    assert arm.counts is not None
    return average(arm.counts, weights) if arm.network == "spiking" else arm.counts


def price(
    run: Pricer,
    arms: tuple[Arm, ...],
    machines: list[Machine],
    draws: Draws,
    weights: Float[np.ndarray, "draw item"],
    boundary: str,
    rate: float | None,
) -> Priced:
    """Costs of all `arms` under all draws, by their `pricer`, and at nominal constants."""
    every = None if rate is None else 1 / rate
    energy, latency = run(draws.factors, weights, every or 0.0)
    where = np.array([[m.name for m in machines].index(arm.machine.name) for arm in arms], dtype=int)
    nominal = []
    for arm in arms:
        values = {path: c.value for path, c in leaves(arm.machine.description)}
        counts = expected(arm, jnp.ones(weights.shape[1]))
        nominal.append(cost(counts, arm.machine.prices(values, boundary), every))
    return Priced(
        arms=arms,
        boundary=boundary,
        rate=rate,
        energy=energy * draws.errors[:, where, 0],
        latency=latency * draws.errors[:, where, 1],
        components=tuple({name: float(joules) for name, joules in c.energy.items()} for c in nominal),
        nominal_latency=tuple(float(c.latency) for c in nominal),
        nominal_interval=tuple(float(c.interval) for c in nominal),
    )
