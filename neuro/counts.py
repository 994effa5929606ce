"""How often each hardware event happened: the border between what a network did and what that costs.

Counts are one kind of value for every machine: a spiking chip, a GPU, a systolic array, a microcontroller.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_pytree = partial(jax.tree_util.register_dataclass)


@partial(_pytree, data_fields=["counts"], meta_fields=["names"])
@dataclass(frozen=True)
class Path:
    """What a run waits for: stages one after another, in each the slowest of its resources.

    counts [stage, resource, event]: how often a resource handles each event of `names` in a stage; a resource that
    a stage does not use has zeros. Both may carry a leading item axis.
    """

    names: tuple[str, ...]
    counts: Float[Array | np.ndarray, "*item stage resource event"]


@partial(_pytree, data_fields=["events", "latency", "interval"], meta_fields=["batch", "machines"])
@dataclass(frozen=True)
class Counts:
    """Hardware events of `batch` samples that are in flight together.

    events: every event that costs energy, by name, summed over the batch; all may carry a leading item axis.
    latency: from the arrival of the inputs to the decision. interval: between two such batches, back to back
    (shorter than the latency where samples are pipelined). machines: chips or devices whose power is paid; a share of
    one where only the cores in use draw any.
    """

    events: Mapping[str, Float[Array | np.ndarray, "*item"]]
    latency: Path
    interval: Path
    batch: int = 1
    machines: float = 1.0


def average(counts: Counts, weights: Float[Array | np.ndarray, "item"]) -> Counts:
    """Counts per item averaged over the item axis with `weights`, which are normalised here."""
    share = weights / weights.sum()
    return jax.tree_util.tree_map(lambda n: jnp.tensordot(share, jnp.asarray(n, jnp.float32), axes=1), counts)
