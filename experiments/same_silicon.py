"""The integer network itself on a spiking chip: as graded spikes, or on the matrix unit beside the neurons.

The same silicon with and without binary spikes tells what the spikes are worth and what the silicon is.
"""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from converters.encode import at_once
from experiments.arm import Arm, Machine
from experiments.run import chunk_size, chunks, of_items
from neuro.capability import Realisation, signed_bits
from neuro.chip import Chip
from neuro.count import before, count
from neuro.counts import Counts, average
from neuro.errors import DoesNotFit
from neuro.evaluate import evaluate
from neuro.graph import Graph
from neuro.mapping import search
from neuro.placement import Placement
from neuro.stages import bounds, filled
from neuro.traffic import arranged
from neuro.wiring import of_graph

WAYS = {"graded": "synop_graded", "mac": "mac"}
"""How a layer's activations meet its weights, and the event that each meeting is priced by."""


def offered(chip: Chip) -> list[str]:
    """The `WAYS` that the chip's description prices."""
    can = {"graded": chip.neuron.graded, "mac": True}
    return [way for way, event in WAYS.items() if can[way] and chip.prices_energy(event) and chip.scope == "mapped"]


def arms(
    machine: Machine, integer: Graph, items: np.ndarray, accuracy: float | None, pilot: np.ndarray, seed: int = 0
) -> list[Arm]:
    """An arm for each of `WAYS` that the chip has and each regime; counts are means over `items` [item, *shape].

    graded: one step per layer, in which every activation above zero is sent once and multiplied by each weight that it
    meets. mac: the same steps, but every activation is sent and every weight stored and multiplied, zeros too. pilot
    [item, *shape], seed: what cores are chosen and laid out by, as for spikes.
    """
    chip: Chip = machine.description  # type: ignore[assignment]
    found = []
    for way in offered(chip):
        shared = {"machine": machine, "network": "integer", "precision": way, "accuracy": accuracy}
        try:
            placements, graph = placed(integer, chip, way, pilot, seed)
        except DoesNotFit as error:
            found += [Arm(regime=r, fits=False, reason=str(error), **shared) for r in ("single", "stream")]
            continue
        for regime, placement in placements.items():
            counts = mean_counts(graph, placement, way, items)[regime]
            used = {"cores": placement.number, "chips": placement.chips, "copies": counts.batch}
            found.append(Arm(regime=regime, counts=counts, units_used=used, **shared))
    return found


def placed(
    integer: Graph, chip: Chip, way: str, pilot: np.ndarray, seed: int = 0
) -> tuple[dict[str, Placement], Graph]:
    """The integer network placed by regime, see `search`, and the network with its schedule of one step a layer.

    Raises:
        DoesNotFit: see `place`.
    """
    program = chip.neuron.program
    realisation = Realisation(
        "native",
        membranes=2 if program else 1,  # the next sample is integrated while one is sent, as under every exact code
        update="neuron_program" if program else "neuron_update",
        streams=True,
        synop=WAYS[way],  # type: ignore[arg-type]
        sweeps=way != "mac",
    )
    if way == "mac" and chip.pace.kind == "tick":  # a matrix unit starts when its inputs are there
        meeting = ("barrier", "barrier_level", "barrier_chip")
        starts = dict.fromkeys(meeting, "a layer on a matrix unit starts with its last input")
        included = chip.included.model_copy(update={"time": chip.included.time | starts})
        chip = chip.model_copy(update={"pace": chip.pace.model_copy(update={"kind": "barrier"}), "included": included})
    graph = at_once(integer)
    reached = bounds(integer)
    widest = max(reached, key=lambda name: reached[name])
    # a matrix unit keeps and multiplies all weights
    kept = filled(graph, {node.name for node in graph.nodes}) if way == "mac" else graph
    wiring = of_graph(kept, chip, realisation)
    wiring = replace(wiring, state=(widest, signed_bits(reached[widest])))
    sent = jax.jit(partial(_sent, graph, way))(jnp.asarray(pilot, jnp.float32))
    spikes = {name: np.asarray(s[0], np.float64).mean(axis=0).reshape(-1) for name, s in sent.items()}
    found = search(wiring, chip, realisation, spikes)
    return {regime: arranged(placement, spikes, seed) for regime, placement in found.items()}, graph


def _sent(graph: Graph, way: str, batch: jax.Array) -> dict[str, Bool[jax.Array, "1 batch ..."]]:
    """Whether each activation is sent, by layer: where it is above zero, on a matrix unit always."""
    assert graph.schedule is not None
    values = evaluate(graph, batch)
    if way == "mac":
        return {name: jnp.ones_like(values[name], bool)[None] for name in graph.schedule.windows}
    return {name: (values[name] > 0)[None] for name in graph.schedule.windows}


def mean_counts(graph: Graph, placement: Placement, way: str, items: np.ndarray) -> dict[str, Counts]:
    """Events by regime, averaged over `items`; on a matrix unit they are the same for all."""
    if way == "mac":
        items = items[:1]

    @jax.jit
    def step(batch):
        return count(placement, _sent(graph, way, batch))

    size = chunk_size(graph, len(items), placement.number)
    found = [
        of_items(mine, step(jnp.asarray(items[together], jnp.float32)))
        for together, mine in chunks(len(items), size, before(placement))
    ]
    whole = jax.tree_util.tree_map(lambda *arrays: np.concatenate(arrays), *found)
    return {regime: average(counts, np.ones(len(items))) for regime, counts in whole.items()}
