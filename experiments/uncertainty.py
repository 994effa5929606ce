"""Joint draws of every constant that a comparison rests on, and of the error of every model."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

from neuro.constants import Constant

NINETY = float(stats.norm.ppf(0.95))
"""low..high holds 90 % of the belief: so many standard deviations on either side."""

GRADE_FACTOR = {"same chip": 1.3, "same family": 1.6, "undisclosed": 3.0}
"""Half-width (90 %) of a model's error where fewer than three measurements of the machine were replayed."""

RESAMPLES = 256
"""Resamples of the items that are held in memory together."""

ERROR_FREEDOM = 4  # degrees of freedom of the Student-t of a model's error: heavier tails than a normal


@dataclass(frozen=True)
class Latent:
    """One constant of one machine file and the group with which its error is shared.

    Constants of one source, machine and basis move together; `shared` physics is one draw for all machines.
    """

    machine: str
    path: str
    constant: Constant

    @property
    def group(self) -> str:
        """Key of the correlated group."""
        shared = self.constant.shared
        return f"shared:{shared}" if shared else f"{self.machine}:{self.constant.source}:{self.constant.basis}"


@dataclass(frozen=True)
class Draws:
    """factors [draw, latent] multiply the constants; scores [draw, machine, 2] are the models' errors on energy and
    latency in units of the half-width of their 90 % interval."""

    factors: Float[np.ndarray, "draw latent"]
    scores: Float[np.ndarray, "draw machine 2"]


def draw(latents: list[Latent], machines: int, number: int, seed: int, rho: float = 0.8) -> Draws:
    """`number` (a power of two) quasi-random draws from the joint belief.

    log c = log value + s (sqrt(rho) z_group + sqrt(1 - rho) e), s = log(high / value) / 1.645 above the median and
    log(value / low) / 1.645 below it, so that a bound is one-sided. A model's error is a Student-t.
    """
    groups = sorted({latent.group for latent in latents})
    group = np.array([groups.index(latent.group) for latent in latents], dtype=int)
    width = len(groups) + len(latents) + 2 * machines
    uniform = stats.qmc.Sobol(width, rng=np.random.default_rng(seed)).random(number)
    uniform = np.clip(uniform, 1e-9, 1 - 1e-9)
    normal = stats.norm.ppf(uniform[:, : len(groups) + len(latents)])
    own_share = np.array([0.0 if latent.constant.shared else 1.0 - rho for latent in latents])
    z = np.sqrt(1 - own_share) * normal[:, : len(groups)][:, group] + np.sqrt(own_share) * normal[:, len(groups) :]
    scores = stats.t.ppf(uniform[:, len(groups) + len(latents) :], ERROR_FREEDOM) / stats.t.ppf(0.95, ERROR_FREEDOM)
    return Draws(factors(latents, z), scores.reshape(number, machines, 2))


def factors(latents: list[Latent], z: Float[np.ndarray, "draw latent"]) -> Float[np.ndarray, "draw latent"]:
    """Multipliers of the constants at standard scores `z`, a two-piece log-normal about the value."""
    up = np.log([latent.constant.high / latent.constant.value for latent in latents]) / NINETY
    down = np.log([latent.constant.value / latent.constant.low for latent in latents]) / NINETY
    return np.exp(np.where(z > 0, up * z, down * z))


def widened(draws: Float[np.ndarray, "draw"], half_width: float) -> Float[np.ndarray, "draw"]:
    """`draws` times the error of a model: Student-t in the logarithm, 90 % within +- `half_width`."""
    t = stats.t(ERROR_FREEDOM)
    order = np.random.default_rng(0).permutation(len(draws))
    return draws * np.exp(t.ppf((order + 0.5) / len(order)) / t.ppf(0.95) * half_width)


def bootstrap(events: Float[np.ndarray, "item event"], number: int, seed: int) -> Float[np.ndarray, "draw event"]:
    """Means of the rows of `events` over `number` resamples of the items (Poisson bootstrap).

    All columns share the resamples: every arm sees the same test items.
    """
    rng = np.random.default_rng([seed, len(events)])
    means = np.empty((number, events.shape[1]), np.float32)
    for first in range(0, number, RESAMPLES):
        rows = slice(first, min(first + RESAMPLES, number))
        weights = rng.poisson(1.0, (rows.stop - first, len(events))).astype(np.float32)
        weights[weights.sum(axis=1) == 0] = 1.0
        means[rows] = weights @ events / weights.sum(axis=1, keepdims=True)
    return means
