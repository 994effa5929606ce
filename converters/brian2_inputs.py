"""What input groups of Brian2 send, step by step."""

from typing import Any

import numpy as np
from jaxtyping import Bool

from converters.brian2_values import NotConstant, Scope


def train(
    group: Any, scope: Scope, steps: int, step: float, rng: np.random.Generator | None, problems: list[str]
) -> Bool[np.ndarray, "step neuron"]:
    """The spikes of a `SpikeGeneratorGroup` or `PoissonGroup` in the first `steps` steps; why not, in `problems`.

    rng: of which one realisation of a PoissonGroup is drawn.
    """
    from brian2 import SpikeGeneratorGroup

    prescribed = isinstance(group, SpikeGeneratorGroup)
    try:
        return _listed(group, steps, step) if prescribed else _drawn(group, scope, steps, step, rng)
    except NotConstant as error:
        problems.append(f"{type(group).__name__} {group.name!r}: {error}")
        return np.zeros((steps, group.N), bool)


def _listed(group: Any, steps: int, step: float) -> Bool[np.ndarray, "step neuron"]:
    if 0 < float(group.period_[:]) < steps * step:
        raise NotConstant("repeats itself; write its spikes out")
    # Brian2 moves spikes by a thousandth of a step, so that rounding does not put them one step early.
    at = ((np.asarray(group._spike_time) + 1e-3 * step) / step).astype(int)
    neuron = np.asarray(group._neuron_index)
    if len(np.unique(np.stack([at, neuron]), axis=1).T) < len(at):
        raise NotConstant("a neuron of it sends two spikes in one step, which Brian2 refuses as well")
    sent = np.zeros((steps, group.N), bool)
    sent[at[at < steps], neuron[at < steps]] = True
    return sent


def _drawn(
    group: Any, scope: Scope, steps: int, step: float, rng: np.random.Generator | None
) -> Bool[np.ndarray, "step neuron"]:
    try:
        rates = np.broadcast_to(scope.of("rates"), group.N)
    except NotConstant as error:
        raise NotConstant(f"its rates change: {error}") from None
    if rng is None:
        raise NotConstant("is random; give seed=… for one realisation of it")
    return rng.random((steps, group.N)) < rates * step
