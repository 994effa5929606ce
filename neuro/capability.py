"""Whether a chip's neurons can do what a spike code needs: natively, with a gadget, or not at all."""

from dataclasses import dataclass
from math import ceil
from typing import Literal

from neuro.chip import Chip
from neuro.codes import Code
from neuro.graph import Graph
from neuro.layers import MultiThreshold, Threshold
from neuro.stages import bounds


@dataclass(frozen=True)
class Realisation:
    """How a chip's neurons run a code.

    compartments: swept for one neuron. membranes: state slots that one neuron fills (a second one integrates the next
    sample in the stream regime). update: the event that a sweep is priced by. clock: synapses from clock axons that
    gate the phases of every neuron; of them `clock_bias` carry its bias. synop: the event that a spike meeting a
    synapse is priced by; by default that of the storage format. sweeps: every neuron is updated in every step, else
    only when it sends. missing: the capability, if impossible.
    """

    status: Literal["native", "gadget", "impossible"]
    compartments: int = 1
    membranes: int = 1
    update: Literal["neuron_update", "neuron_program"] = "neuron_update"
    clock: int = 0
    clock_bias: int = 0
    streams: bool = False
    synop: Literal["", "synop_graded", "mac"] = ""
    sweeps: bool = True
    missing: str = ""


def realise(chip: Chip, code: Code, graph: Graph | None = None) -> Realisation:
    """The realisation of `code` on `chip`; `graph` sizes the gates where phases need clock axons.

    rate: integrate-and-fire with reset by subtraction. unary: besides, a phase in which a neuron integrates without
    firing, from a program or from a clock axon whose weight exceeds any membrane. bits: besides, the membrane doubles
    in every step, which a leak cannot do; only a program can. The stream regime needs a state that clears itself
    between samples. A chip that fires on ``>`` gets thresholds one lower: integers make the two the same.
    """
    neuron = chip.neuron
    stepped = graph is not None and any(isinstance(n.op, MultiThreshold) for n in graph.nodes)
    if stepped and not neuron.program:
        return Realisation("impossible", missing="neurons with several thresholds (a neuron program)")
    if neuron.soft_reset is None:
        return Realisation("impossible", missing="reset by subtraction")
    compartments = int(neuron.soft_reset.value)
    status = "native" if compartments == 1 else "gadget"
    if code == "rate":
        return Realisation(status, compartments, streams=neuron.program)
    if neuron.program:
        return Realisation("native", compartments, membranes=2, update="neuron_program", streams=True)
    if code == "bits":
        return Realisation("impossible", missing="a membrane that doubles in every step (a shift, or a neuron program)")
    if neuron.clock_weight is None:
        return Realisation("impossible", missing="a phase in which neurons wait (a neuron program, or a clock axon)")
    reach = max(bounds(graph).values()) if graph is not None else neuron.clock_weight.value
    gate = ceil(reach / neuron.clock_weight.value)
    return Realisation("gadget", compartments, clock=gate, clock_bias=2)


def state_bits(graph: Graph, realisation: Realisation) -> tuple[str, int]:
    """The population with the widest state and its bits in two's complement; a closed gate takes one more."""
    reach = bounds(graph)
    if graph.schedule is not None and graph.schedule.code == "bits":  # it compares with shifted thresholds too
        for node in graph.nodes:
            if isinstance(node.op, Threshold):
                shifted = int(node.op.threshold.max()) << (node.op.levels.bit_length() - 1)
                full = (node.op.levels + 1) * int(node.op.threshold.max())
                reach[node.name] = max(reach[node.name], shifted, full)
    layer = max(reach, key=lambda name: reach[name])
    return layer, signed_bits(reach[layer]) + (realisation.clock > 0)


def signed_bits(magnitude: int) -> int:
    """Bits of a two's complement number that holds -magnitude..magnitude: 1 + ceil(log2(magnitude + 1))."""
    return 1 + magnitude.bit_length()
