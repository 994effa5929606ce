"""One way to run the network: a machine, a network form, a code or a precision, a regime."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from experiments.uncertainty import Draws, Latent
from neuro.constants import Description, leaves
from neuro.cost import Prices, Scalar, cost
from neuro.counts import Counts, average

BATCH_ONE = ("single", "batch1")


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


def latents(machines: list[Machine]) -> list[Latent]:
    """Every constant of every machine that a price can depend on, in file order."""
    return [
        Latent(machine.name, path, constant)
        for machine in machines
        for path, constant in leaves(machine.description)
        if not path.startswith(("limits.", "neuron.", "mesh."))
    ]


def pricer(arms: tuple[Arm, ...], machines: list[Machine], boundary: str, rate: float | None) -> Callable:
    """A function of (factors [latent], item weights [item]) to (energy [arm], latency [arm]), to be mapped and jitted."""
    paths = [(latent.machine, latent.path) for latent in latents(machines)]
    nominal = np.array([latent.constant.value for latent in latents(machines)])

    def price(factors, weights):
        constants: dict[str, dict[str, Scalar]] = {machine.name: {} for machine in machines}
        for i, (machine, path) in enumerate(paths):
            constants[machine][path] = factors[i] * jnp.float32(nominal[i])
        prices = {m.name: m.prices(constants[m.name], boundary) for m in machines if boundary in m.description.power}
        costs = [cost(expected(arm, weights), prices[arm.machine.name], rate) for arm in arms]
        return jnp.stack([c.total for c in costs]), jnp.stack([jnp.asarray(c.latency) for c in costs])

    return price


def expected(arm: Arm, weights: Float[np.ndarray, "item"]) -> Counts:
    """The arm's counts for a mean sample under item `weights`."""
    assert arm.counts is not None
    return average(arm.counts, weights) if arm.network == "spiking" else arm.counts


def price(
    arms: tuple[Arm, ...], machines: list[Machine], draws: Draws, weights, boundary: str, rate: float | None
) -> Priced:
    """Costs of all `arms` under all draws in one jitted map, and at nominal constants."""
    run = jax.jit(jax.vmap(pricer(arms, machines, boundary, rate)))
    energy, latency = (
        np.asarray(a, np.float64)
        for a in run(jnp.asarray(draws.factors, jnp.float32), jnp.asarray(weights, jnp.float32))
    )
    where = np.array([[m.name for m in machines].index(arm.machine.name) for arm in arms])
    components, latencies, intervals = [], [], []
    for arm in arms:
        values = {path: c.value for path, c in leaves(arm.machine.description)}
        one = cost(expected(arm, jnp.ones(weights.shape[1])), arm.machine.prices(values, boundary), rate)
        components.append({name: float(joules) for name, joules in one.energy.items()})
        latencies.append(float(one.latency))
        intervals.append(float(one.interval))
    return Priced(
        arms=arms,
        boundary=boundary,
        rate=rate,
        energy=energy * draws.errors[:, where, 0],
        latency=latency * draws.errors[:, where, 1],
        components=tuple(components),
        nominal_latency=tuple(latencies),
        nominal_interval=tuple(intervals),
    )
