"""From priced arms to verdicts, in one or several scenarios that share the same draws."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from experiments.arm import Arm, Machine, Priced, item_events, latents, mean_counts, price, pricer
from experiments.uncertainty import bootstrap, draw
from experiments.verdict import QUANTITIES, Verdict, decide, swing


@dataclass(frozen=True)
class Judgement:
    """Costs of all arms in one scenario, and the verdict on each quantity."""

    priced: Priced
    verdicts: tuple[Verdict, ...]


def judge(
    arms: tuple[Arm, ...],
    machines: list[Machine],
    items: int,
    boundary: str,
    rates: tuple[float | None, ...],
    float_accuracy: float | None,
    number: int,
    seed: int,
    done: Callable[[int], None],
) -> tuple[Judgement, ...]:
    """The judgement at each of `rates` (None: back to back) under `number` draws; `done` is told of each.

    The draws are repeated with independent and with fully correlated constants, from the same random numbers.
    """
    run = pricer(arms, machines, boundary, number)
    belief = partial(draw, latents(machines), len(machines), number, seed)
    means = bootstrap(item_events(arms, items), number, seed)
    nominal = mean_counts(arms, items)
    found = []
    for rate in rates:
        at = partial(price, run, arms, machines=machines, means=means, nominal=nominal, boundary=boundary, rate=rate)
        priced = at(draws=belief())
        others = (at(draws=belief(rho=0.0)), at(draws=belief(rho=1.0)))
        swings = swing(run, machines, means.mean(axis=0), rate)
        verdicts = tuple(decide(priced, others, swings, name, float_accuracy) for name in QUANTITIES)
        found.append(Judgement(priced, verdicts))
        done(1)
    return tuple(found)
