"""Does the spiking network win, how sure are we, and which constants is the doubt made of?"""

from dataclasses import dataclass

import numpy as np

from experiments.arm import Machine, Priced, Pricer, latents
from experiments.uncertainty import NINETY, Latent, factors
from neuro.codes import is_binary

QUANTITIES = ("energy", "latency", "edp")
TOLERANCE = 0.01
"""Accuracy that an arm may lose against the float network and still stand for it."""

SAME_SILICON = "same silicon"
"""Where the integer network runs on the very chip of the best arm with binary spikes: what they are worth, silicon
apart."""


@dataclass(frozen=True)
class Driver:
    """A constant and by how much the ratio SNN/rival moves between the ends of its range (a factor >= 1)."""

    machine: str
    path: str
    factor: float


@dataclass(frozen=True)
class Verdict:
    """One quantity's answer. p: share of draws in which the best SNN arm is below the best rival, at the correlation
    0.8 and, for comparison, 0 and 1; p_twice: at most half. Names are None where no arm is eligible; ratio: SNN over
    rival, 5, 50, 95 %. best_binary_snn: the best whose spikes carry nothing; an arm of graded spikes is a quantised
    network driven by events. classes: rival and probability within each deployment class, and for the best binary arm
    on the same silicon."""

    quantity: str
    p: float
    p_uncorrelated: float
    p_fully_correlated: float
    p_twice: float
    best_snn: str | None
    best_binary_snn: str | None
    best_rival: str | None
    ratio: tuple[float, float, float] | None
    classes: dict[str, tuple[str, float]]
    drivers: tuple[Driver, ...]

    @property
    def word(self) -> str:
        """yes from 0.9, no up to 0.1, else undecided."""
        return "yes" if self.p >= 0.9 else "no" if self.p <= 0.1 else "undecided"


def quantity(priced: Priced, name: str) -> np.ndarray:
    """Draws [draw, arm] of ``energy`` (J), ``latency`` (s) or ``edp`` (J s)."""
    return {
        "energy": priced.energy,
        "latency": priced.latency,
        "edp": priced.energy * priced.latency,
    }[name]


def eligible(priced: Priced, name: str, float_accuracy: float | None) -> list[int]:
    """Arms that may be ranked: within `TOLERANCE` of the float accuracy, one sample at a time but for energy.

    At a rate energy too takes one sample at a time: a batch would have to wait for its samples.
    """
    return [
        i
        for i, arm in enumerate(priced.arms)
        if (arm.accuracy is None or float_accuracy is None or arm.accuracy >= float_accuracy - TOLERANCE)
        and ((name == "energy" and priced.rate is None) or arm.batch == 1)
        and priced.keeps_rate(i)
    ]


@dataclass(frozen=True)
class Swings:
    """Costs of all arms with one constant at a time at the ends of its range.

    energy, latency: [2 * latent, arm], first all high ends, then all low ends.
    """

    latents: list[Latent]
    energy: np.ndarray
    latency: np.ndarray


def decide(
    priced: Priced, others: tuple[Priced, Priced], swings: Swings, name: str, float_accuracy: float | None
) -> Verdict:
    """The verdict on one quantity. others: the arms priced with independent and with fully correlated constants."""
    draws = quantity(priced, name)
    ranked = sorted(eligible(priced, name, float_accuracy), key=lambda i: float(np.median(draws[:, i])))
    spiking = [i for i in ranked if priced.arms[i].network == "spiking"]
    rivals = [i for i in ranked if priced.arms[i].machine.kind != "neuromorphic"]
    binary = [i for i in spiking if is_binary(priced.arms[i].code)]
    if not spiking or not rivals:
        p = 1.0 if spiking else 0.0
        names = [priced.arms[group[0]].name if group else None for group in (spiking, binary, rivals)]
        return Verdict(name, p, p, p, p, names[0], names[1], names[2], None, {}, ())
    best, rival = spiking[0], rivals[0]
    ratio = draws[:, best] / draws[:, rival]
    classes: dict[str, tuple[str, float]] = {}
    for i in rivals:  # ranked, so the first of a class is its best
        deployment = priced.arms[i].machine.description.deployment
        classes.setdefault(deployment, (priced.arms[i].name, float((draws[:, best] < draws[:, i]).mean())))
    chip = priced.arms[binary[0]].machine.name if binary else None
    same = [i for i in ranked if priced.arms[i].network != "spiking" and priced.arms[i].machine.name == chip]
    if same:
        classes[SAME_SILICON] = (priced.arms[same[0]].name, float((draws[:, binary[0]] < draws[:, same[0]]).mean()))
    return Verdict(
        quantity=name,
        p=float((ratio < 1).mean()),
        p_uncorrelated=_share(others[0], name, best, rival),
        p_fully_correlated=_share(others[1], name, best, rival),
        p_twice=float((ratio <= 0.5).mean()),
        best_snn=priced.arms[best].name,
        best_binary_snn=priced.arms[binary[0]].name if binary else None,
        best_rival=priced.arms[rival].name,
        ratio=tuple(float(q) for q in np.quantile(ratio, [0.05, 0.5, 0.95])),  # type: ignore[arg-type]
        classes=classes,
        drivers=tornado(swings, best, rival, name)[:3],
    )


def swing(run: Pricer, machines: list[Machine], mean: np.ndarray, rate: float | None) -> Swings:
    """Every constant alone moved to its high and to its low end, by the arms' pricer; mean [event]: mean events."""
    known = latents(machines)
    z = np.concatenate([np.eye(len(known)), -np.eye(len(known))]) * NINETY
    energy, latency = run(
        factors(known, z), np.broadcast_to(mean, (len(z), len(mean))), 0.0 if rate is None else 1 / rate
    )
    return Swings(known, energy, latency)


def tornado(swings: Swings, best: int, rival: int, name: str) -> tuple[Driver, ...]:
    """The constants by how far they alone move the ratio of two arms, the most influential first."""
    energy, latency = swings.energy, swings.latency
    values = {"energy": energy, "latency": latency, "edp": energy * latency}[name]
    high, low = np.log(values[:, best] / values[:, rival]).reshape(2, len(swings.latents))
    moved = np.exp(np.abs(high - low))
    order = np.argsort(-moved, kind="stable")
    return tuple(Driver(swings.latents[i].machine, swings.latents[i].path, float(moved[i])) for i in order)


def _share(priced: Priced, name: str, best: int, rival: int) -> float:
    draws = quantity(priced, name)
    return float((draws[:, best] < draws[:, rival]).mean())
