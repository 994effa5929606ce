"""A network known by the shapes of its layers, at a stated rate of spikes, on a spiking chip."""

from math import ceil

from baselines.workload import LayerWork
from baselines.workload import Workload as Shapes
from neuro.chip import Chip
from neuro.errors import BadInput, DoesNotFit
from neuro.workload import Core, Workload, borders


def workload(shapes: Shapes, chip: Chip, rate: float, steps: float, management: bool = False) -> Workload:
    """`shapes` with neurons that fire `rate` spikes a step for `steps` steps, inputs among them.

    Every weighted layer lies on cores of its own, as few as its neurons and weights need, evenly. A spike meets as many
    synapses as its value has multiply-accumulates, all stored as most of them are. It goes to one core of a convolution
    and to all of another layer. Hops are not counted. Weights take `weight_bits` of the chip, without indices.

    Raises:
        BadInput: no weighted layer. DoesNotFit: more cores than the chips have.
    """
    layers = [layer for layer in shapes.layers if layer.macs and layer.weight_count]
    if not layers:
        raise BadInput(f"{shapes.name} has no layer with weights.")
    number = [_cores(layer, chip) for layer in layers]
    cores = sum(number)
    if cores > chip.limits.cores.value * chip.chips:
        raise DoesNotFit(
            f"{shapes.name} needs {cores:,} cores; {chip.name} has {chip.limits.cores.value * chip.chips:,.0f}. "
            "Take a smaller network."
        )
    chips = float(ceil(cores / chip.limits.cores.value))
    spikes, packets, busiest = 0.0, 0.0, []
    for i, (layer, own) in enumerate(zip(layers, number, strict=True)):
        heard = layer.inputs * rate * _destinations(layer, own)
        after, there = (layers[i + 1], number[i + 1]) if i + 1 < len(layers) else (None, 0)
        fired = layer.outputs * rate
        sent = fired * _destinations(after, there) if after else 0.0
        spikes += fired * steps
        packets += heard * steps
        busiest.append(Core(layer.outputs / own, fired / own, sent / own, heard / own, layer.macs * rate / own))
    macs = sum(layer.macs for layer in layers)
    shared = sum(layer.macs for layer in layers if _shared(layer))
    first, last = layers[0], layers[-1]
    return Workload(
        name=shapes.name,
        steps=float(steps),
        neurons=float(sum(layer.outputs for layer in layers)),
        spikes=spikes,
        packets=packets,
        synops=macs * rate * steps,
        cores=float(cores),
        chips=chips,
        span=borders(chip, chips),
        inputs=float(first.inputs),
        outputs=float(last.outputs),
        layers=float(len(layers)),
        format="conv" if 2 * shared > macs else "dense",
        management=management,
        busiest=tuple(busiest),
    )


def _shared(layer: LayerWork) -> bool:
    """Whether its weights serve many positions."""
    return layer.operator in ("conv", "depthwise")


def _destinations(layer: LayerWork, cores: int) -> int:
    return 1 if _shared(layer) else cores


def _cores(layer: LayerWork, chip: Chip) -> int:
    """As few as hold the neurons, and the weights: all of a shared kernel on each, else a share."""
    neurons = ceil(layer.outputs / chip.limits.compartments.value)
    bits = layer.weight_count * chip.limits.weight_bits.value
    return max(neurons, ceil(bits / chip.limits.synapse_memory.value))
