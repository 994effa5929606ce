"""Whether a chip's neurons can do what a spike code needs: natively, with a gadget, or not at all."""

from dataclasses import dataclass
from math import ceil
from typing import Literal, TypeAlias

from neuro import codes
from neuro.chip import Chip
from neuro.codes import Code
from neuro.graph import Graph
from neuro.layers import GROUPED, MultiThreshold, Product, Threshold
from neuro.stages import bounds

Method: TypeAlias = Literal["burst", "srp", "cos", "differential", "sd-ternary", "sd-pow2", "sd-graded"]
"""Neurons of their own: `neuro.rectified`, `neuro.multispike` and `neuro.sigma_delta`."""


@dataclass(frozen=True)
class Realisation:
    """How a chip's neurons run a code.

    compartments: swept for one neuron. membranes: state slots that one neuron fills (a second one integrates the next
    sample in the stream regime). update: the event that a sweep is priced by. clock: synapses from clock axons that
    gate the phases of every neuron; of them `clock_bias` carry its bias. synop: the event that a spike meeting a
    synapse is priced by; by default that of the storage format. sweeps: every neuron is updated in every step, else
    only when it sends. sends: spikes that stand for one of the code, each with axons and synapses of its own. divides:
    floor(V/th) is an operation of the chip; else its program subtracts th 2^k, once a bit. missing: the capability, if
    impossible.
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
    sends: int = 1
    divides: bool = True
    missing: str = ""


def realise(chip: Chip, code: Code, graph: Graph | None = None) -> Realisation:
    """The realisation of `code` on `chip`; `graph` sizes the gates where phases need clock axons.

    rate: integrate-and-fire with reset by subtraction. unary: besides, a phase in which a neuron integrates without
    firing, from a program or from a clock axon whose weight exceeds any membrane. bits: besides, the membrane doubles
    in every step, which a leak cannot do; only a program can. naf: spikes carry a sign too. graded: they carry an
    integer, floor(V/th), which a program finds, by a division where the chip has one. ttfs: a program, or a gadget
    (see `_ramp`). The stream regime needs a state that clears itself between samples. A chip that fires on ``>`` gets
    thresholds one lower: integers make the two the same.
    """
    neuron = chip.neuron
    if attends := attention(graph) if graph is not None else []:
        what = "products of two populations, or neurons that read a group (softmax, layer norm)"
        return Realisation("impossible", missing=f"{what}: {', '.join(attends)}")
    stepped = graph is not None and any(isinstance(n.op, MultiThreshold) for n in graph.nodes)
    if stepped and not neuron.program:
        return Realisation("impossible", missing="neurons with several thresholds (a neuron program)")
    if code in ("naf", "graded") and not neuron.graded:
        what = "a sign" if code == "naf" else "an integer"
        return Realisation("impossible", missing=f"spikes that carry {what}")
    if code == "graded" and not neuron.program:
        return Realisation("impossible", missing="floor(V/th) as the value of a spike (a neuron program)")
    if code == "ttfs" and not neuron.program:
        return _ramp(chip, graph)
    if neuron.soft_reset is None:
        return Realisation("impossible", missing="reset by subtraction")
    compartments = int(neuron.soft_reset.value)
    status = "native" if compartments == 1 else "gadget"
    if code == "rate":
        return Realisation(status, compartments, streams=neuron.program)
    stepless = chip.pace.kind == "event"
    if neuron.program:
        lost = stepless and code != "graded"
        return Realisation("impossible", missing=STEPS) if lost else _program(chip, code, compartments)
    if codes.doubles(code):
        return Realisation("impossible", missing="a membrane that doubles in every step (a shift, or a neuron program)")
    if neuron.clock_weight is None:
        return Realisation("impossible", missing=PHASE)
    if stepless:
        return Realisation("impossible", missing=STEPS)
    return Realisation("gadget", compartments, clock=_gate(neuron.clock_weight.value, graph), clock_bias=2)


def realise_neurons(chip: Chip, method: Method) -> Realisation:
    """The realisation of neurons that `neuro.codes` does not know, from what the chip states.

    All need a program: for several spikes in a step, a state beside the membrane, or a run before that decides on the
    next. Slots: bursts the membrane; silent neurons (srp) a mask too; shifted ones (cos) the start, the lowest membrane
    that fired, the highest that did not, and their train; differential ones what they have told and two expectations;
    online ones the tracer. Bursts, changes of any size and differential neurons divide.
    """
    neuron = chip.neuron
    carries = {"srp": "", "cos": "", "burst": "an integer"}.get(method, "a sign and a size")
    if method == "sd-ternary":
        carries = "a sign"
    if carries and not neuron.graded:
        return Realisation("impossible", missing=f"spikes that carry {carries}")
    if not neuron.program:
        return Realisation("impossible", missing=f"{NEEDS[method]} (a neuron program)")
    if neuron.soft_reset is None:
        return Realisation("impossible", missing="reset by subtraction")
    divides = neuron.divides or method not in ("burst", "sd-graded", "differential")
    return Realisation(
        "native" if divides else "gadget",
        membranes={"burst": 1, "srp": 2, "cos": 5, "differential": 4}.get(method, 2),
        update="neuron_program",
        streams=True,
        synop="synop_graded" if carries else "",
        divides=divides,
    )


def attention(graph: Graph) -> list[str]:
    """The layers that no chip here can map: products of two populations, softmax and layer norm."""
    return [n.name for n in graph.nodes if isinstance(n.op, (Product, *GROUPED))]


NEEDS: dict[Method, str] = {
    "burst": "several spikes in a step",
    "srp": "a run before that silences neurons",
    "cos": "a run before that shifts the membrane's start",
    "differential": "expectations beside the membrane",
    "sd-ternary": "a tracer beside the membrane",
    "sd-pow2": "a tracer beside the membrane",
    "sd-graded": "a tracer beside the membrane",
}
"""What only a program has, by method."""
STEPS = "steps, in which windows are counted"
PHASE = "a phase in which neurons wait (a neuron program, or a clock axon)"


def _program(chip: Chip, code: Code, compartments: int) -> Realisation:
    """An exact code in the neuron's program. Three slots under ttfs: the membrane that fires, the next one, its slope.

    A spike with a sign or a value is multiplied by each weight that it meets.
    """
    divides = chip.neuron.divides or code != "graded"
    return Realisation(
        "native" if divides else "gadget",
        compartments,
        membranes=3 if code == "ttfs" else 2,
        update="neuron_program",
        streams=True,
        synop="" if codes.is_binary(code) else "synop_graded",
        divides=divides,
    )


def _ramp(chip: Chip, graph: Graph | None) -> Realisation:
    """ttfs without a program: a synaptic current that never decays is the slope of the membrane.

    Clock axons lift the membrane over the threshold th L with a slope of th for the window. The hard reset starts
    another climb of L steps, so that a neuron fires once. A second compartment of every neuron, pools too, repeats its
    spike at the end of the window with weights of the other sign, which ends the slopes at the receivers: two spikes,
    two axons and two synapses for one. A current that stays must be switched off again, so that every line of the
    clock is two: gates that close and open, the bias, the slope, and what makes the second compartment fire and clears
    it.
    """
    neuron = chip.neuron
    if not neuron.ramp:
        return Realisation("impossible", missing="a membrane that ramps (a current without decay, or a neuron program)")
    if neuron.clock_weight is None:
        return Realisation("impossible", missing=PHASE)
    gate = 2 * _gate(neuron.clock_weight.value, graph)
    return Realisation("gadget", compartments=2, clock=gate, clock_bias=6, sends=2)


def _gate(weight: float, graph: Graph | None) -> int:
    """Synapses of the clock axon that are as strong as any membrane."""
    return ceil(max(bounds(graph).values()) / weight) if graph is not None else 1


def state_bits(graph: Graph, realisation: Realisation) -> tuple[str, int]:
    """The population with the widest state and its bits in two's complement; a closed gate takes one more.

    Thresholds count too: bits and naf compare with shifted ones, ttfs with th L, and the ones that clip are (L + 1) th.
    The slope of ttfs, at most sum |W|, is never above the membrane's bound.
    """
    reach = bounds(graph)
    code = graph.schedule.code if graph.schedule is not None else None
    for node in graph.nodes:
        if not isinstance(node.op, Threshold) or code is None:
            continue
        threshold, levels = int(node.op.threshold.max()), node.op.levels
        if codes.doubles(code):
            largest = max(threshold << (codes.steps(code, levels) - 1), (levels + 1) * threshold)
        elif code == "ttfs":
            largest = threshold * levels
        else:
            continue
        reach[node.name] = max(reach[node.name], largest)
    layer = max(reach, key=lambda name: reach[name])
    return layer, signed_bits(reach[layer]) + (realisation.clock > 0)


def signed_bits(magnitude: int) -> int:
    """Bits of a two's complement number that holds -magnitude..magnitude: 1 + ceil(log2(magnitude + 1))."""
    return 1 + magnitude.bit_length()
