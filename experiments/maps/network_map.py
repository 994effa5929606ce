"""A network given synapse by synapse on one chip: the same map as that of a graph, from its own activity."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from experiments.maps.chip_map import ChipMap, link_packets
from experiments.progress import Progress, silent
from neuro import recurrent
from neuro.capability import Realisation
from neuro.chip import Chip
from neuro.count import count
from neuro.counts import average
from neuro.dynamics import Dynamics
from neuro.errors import DoesNotFit
from neuro.ledger import ledger
from neuro.mapping import search
from neuro.network import Network
from neuro.partition import Objective
from neuro.traffic import arranged, traffic
from neuro.wiring import of_network


def network_on_chip(
    network: Network,
    chip: Chip,
    inputs: dict[str, Bool[np.ndarray, "step _"]],
    steps: int,
    seed: int = 0,
    progress: Progress = silent,
    objective: Objective | None = None,
) -> ChipMap:
    """`network` on `chip` for `steps` steps, in which its inputs send the trains `inputs` [step, neuron]; see
    `chip_map.summary` for prices, `neuro.mapping.search` for the objective.

    The whole run is one inference: its steps, the input spikes that the host writes, and the neurons of populations
    without targets, which it reads. Only neurons that have something to do are updated, where the chip tells the two
    apart. A chip without a neuron program takes its compartments for a reset by subtraction, and one more for an
    adaptation. Weights and states are taken as they are: rounding them to the chip's bits is the user's.

    Raises:
        DoesNotFit: see `neuro.placement.place`; or neurons that the chip does not have. BadInput: see
            `neuro.recurrent.run`.
    """
    trace = recurrent.run(recurrent.prepare(network), inputs, steps, progress(f"{network.name}: run", steps))
    models = {p.name: p.model for p in network.populations if p.model is not None}
    special = any(model.receptors > 1 or _adapts(model) for model in models.values())
    way = Realisation("native", update="neuron_program" if special and chip.neuron.program else "neuron_update")
    wiring = of_network(
        network,
        steps,
        inputs=sum(int(train.sum()) for train in inputs.values()),
        outputs=sum(p.size for p in network.populations if p.name not in {q.source for q in network.projections}),
        compartments={name: _compartments(name, model, chip) for name, model in models.items()},
    )
    spikes = {name: train.sum(axis=0).astype(float) for name, train in trace.spikes.items()}
    placement = arranged(search(wiring, chip, way, spikes, objective=objective)["single"], spikes, seed)
    trains = {name: jnp.asarray(train)[:, None] for name, train in trace.spikes.items()}
    updated = jnp.asarray([float(sum(n.sum() for n in trace.updated.values()))], jnp.float32)
    sent = traffic(placement, spikes)
    return ChipMap(
        placement=placement,
        code="rate",
        regime="single",
        spikes=spikes,
        traffic=sent,
        links=link_packets(placement, spikes, sent),
        counts=average(count(placement, trains, updated)["single"], np.ones(1, np.float32)),
        layers={name: {e: float(n.mean()) for e, n in row.items()} for name, row in ledger(placement, trains).items()},
        objective=objective,
    )


def _adapts(model: Dynamics) -> bool:
    return bool(np.any(model.adaptation))


def _compartments(name: str, model: Dynamics, chip: Chip) -> int:
    """Of one neuron on the chip."""
    if chip.neuron.program:
        return 1
    if model.reset == "soft" and chip.neuron.soft_reset is None:
        raise DoesNotFit(f"population {name!r} resets by subtraction; {chip.name} cannot. Use a hard reset.")
    soft = int(chip.neuron.soft_reset.value) if model.reset == "soft" and chip.neuron.soft_reset else 1
    return soft + _adapts(model)
