"""lava-dl's `.net` files (HDF5) as networks that can be stepped: current-based neurons in Loihi's fixed point.

For every step, in units of 1/64 of a weight: u = dec(u, iDecay) + 64 w s; v = dec(v, vDecay) + u; a spike and v = 0
where v >= 64 vThMant, with dec(x, d) = trunc(x (4096 - d) / 4096). Here a weight counts 1 and the quantum is 1/64.

On the threshold itself lava-dl's neurons fire, unlike a Loihi compartment: this rule gives each of the 10,178 spikes
recorded with its Oxford network, and no other, while v > 64 vThMant gets 3,014 values wrong.
"""

from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from converters.importers import hdf5_file
from neuro.dynamics import Dynamics
from neuro.errors import BadInput, Refusal, unsupported
from neuro.layers import Conv, Dense, Op, Reshape, Shape, SumPool, output_shape
from neuro.stepped import Layer, Stepped

DECAY = 4096
KINDS = ("dense", "conv", "pool", "flatten", "input")
NEURONS = ("CUBA", "LOIHI")


class _Fault(Exception):
    """Why a layer cannot be represented."""


def load(path: Path, shape: Shape | None = None) -> Stepped:
    """The network in a `.net` file. shape: of its frames (channel, row, column), if its first layer is no dense one.

    Raises:
        BadInput: no such file, or a damaged one. Unsupported: layers that cannot be represented, all of them listed.
    """
    store, name = hdf5_file.content(path), path.name
    layers: list[Layer] = []
    refusals: list[Refusal] = []
    before, size = "input", shape
    for number in _numbers(store, name):
        values = {p.split("/", 2)[2]: e for p, e in store.items() if p.startswith(f"layer/{number}/")}
        kind = str(_word(values, "type", "?"))
        if kind == "input" and not refusals and not layers:
            continue  # hands its frames on
        try:
            op = _operator(kind, values, size)
            size = size or ((op.weight.shape[1],) if isinstance(op, Dense) else None)
            if size is None:
                raise BadInput(f"{name} begins with a {kind} layer; give the shape of its frames.")
            first = size if before == "input" else None
            shape = shape or first
            size = output_shape(op, [size])
            layers.append(Layer(f"{number}.{kind}", (before,), op))
            before = layers[-1].name
            if any(key.startswith("neuron/") for key in values):
                layers.append(Layer(f"{number}.neurons", (before,), None, _neurons(values), size))
                before = layers[-1].name
        except _Fault as fault:
            refusals.append(Refusal(f"layer/{number}", kind, str(fault)))
        except (KeyError, ValueError, TypeError, IndexError) as error:
            if refusals:
                continue  # shapes are not known behind a layer that is refused
            raise BadInput(f"{name}: layer/{number} ({kind}) is damaged: {error}; write it again.") from None
    if refusals:
        advice = "Export dense, convolution, pool and flatten layers of CUBA neurons."
        raise unsupported(name, "cannot be stepped", refusals, advice)
    assert shape is not None
    return Stepped(name, "input", shape, tuple(layers))


def refused(path: Path) -> NoReturn:
    """Says which layers of a `.net` file no integer network holds exactly: all neurons that lava-dl writes.

    What they send depends on when spikes arrive. `load` steps those of them that are known.

    Raises:
        BadInput: no such file, or a damaged one. Unsupported: the layers, all of them.
    """
    store, name = hdf5_file.content(path), path.name
    refusals = []
    for number in _numbers(store, name):
        values = {p.split("/", 2)[2]: e for p, e in store.items() if p.startswith(f"layer/{number}/")}
        kind = str(_word(values, "type", "?"))
        why = [] if kind in KINDS else [f"layers are {', '.join(KINDS)}"]
        if found := sorted({k.split("/")[0] for k in values if k.startswith(("delay", "weight_rec"))}):
            why.append(f"it has {' and '.join(found)}")
        try:
            why += _in_time(values) if any(key.startswith("neuron/") for key in values) else []
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise BadInput(f"{name}: layer/{number} ({kind}) is damaged: {error}; write it again.") from None
        if why:
            refusals.append(Refusal(f"layer/{number}", kind, "; ".join(why)))
    if not refusals:
        raise BadInput(f"{name} holds no neurons; export the trained network itself, as .onnx or .pt2.")
    advice = (
        "Convert the network that it was made from, or step it: converters.importers.from_lava.load and neuro.stepped."
    )
    raise unsupported(name, "have no exact spiking form", refusals, advice)


def _in_time(values: dict[str, Any]) -> list[str]:
    """Why the spikes of neurons depend on when those that they read arrive."""
    kind = str(_word(values, "neuron/type", "?"))
    if kind.upper().startswith("SDNN"):
        least = float(_array(values, "neuron/vThMant").max())
        return [f"{kind} neurons send changes of {least:g} or more: what is left unsent depends on the frames before"]
    if not kind.upper().startswith(NEURONS):
        return [f"{kind} neurons keep a state from step to step"]
    parts = (("current", "iDecay"), ("membrane", "vDecay"))
    kept = [(what, float(_array(values, f"neuron/{key}").max())) for what, key in parts]
    leaks = [f"{what} loses {lost:g}/{DECAY} a step" for what, lost in kept if 0 < lost < DECAY]
    reset = f"{kind} neurons are reset to zero"
    return [f"{reset}, and their {' and their '.join(leaks)}" if leaks else reset]


def _numbers(store: dict[str, Any], name: str) -> list[int]:
    """The layers' numbers. Raises BadInput: there are none, or not all."""
    numbers = sorted({int(p.split("/")[1]) for p in store if p.startswith("layer/") and p.split("/")[1].isdecimal()})
    if not numbers or numbers != list(range(len(numbers))):
        raise BadInput(f"{name} holds no layers layer/0, layer/1, ...; write it with lava-dl's export_hdf5.")
    return numbers


def _operator(kind: str, values: dict[str, Any], size: Shape | None) -> Op:
    if kind not in KINDS:
        raise _Fault(f"layers are {', '.join(KINDS)}")
    if any(key.startswith(("delay", "weight_rec", "bias")) for key in values):
        raise _Fault("delays, recurrent weights or biases")
    match kind:
        case "dense":
            return Dense(_array(values, "weight"), None)
        case "flatten":
            if size is None:
                raise ValueError("nothing is known of its input")
            return Reshape((int(np.prod(size)),))
        case "input":
            raise _Fault("an input layer with neurons of its own, behind others")
    stride, padding, dilation = (_pair(values, key) for key in ("stride", "padding", "dilation"))
    pads = tuple((p, p) for p in padding)
    if kind == "pool":
        if dilation != (1, 1):
            raise _Fault(f"a pool with dilation {dilation}")
        return SumPool(_pair(values, "kernelSize"), stride, pads)
    weight = _array(values, "weight")
    if weight.ndim == 5 and weight.shape[4] == 1:
        weight = weight[..., 0]
    return Conv(weight, None, stride, pads, int(_array(values, "groups").item()), dilation)


def _neurons(values: dict[str, Any]) -> Dynamics:
    kind = str(_word(values, "neuron/type", "?"))
    if not kind.upper().startswith(NEURONS):
        raise _Fault(f"{kind} neurons; those that are known are {', '.join(NEURONS)}")
    graded = values.get("neuron/gradedSpike", {}).get("words", [0])
    if any(graded):
        raise _Fault("spikes that carry values")
    fading, leak, threshold = (
        _array(values, f"neuron/{key}").astype(np.float64).ravel() for key in ("iDecay", "vDecay", "vThMant")
    )
    wait = int(_array(values, "neuron/refDelay").item()) - 1 if "neuron/refDelay" in values else 0
    return Dynamics(
        threshold,
        decay=1 - leak / DECAY,
        current_decay=1 - fading / DECAY,
        quantum=1 / 64,
        refractory=max(wait, 0),
    )


def _word(values: dict[str, Any], key: str, default: str) -> Any:
    words = values.get(key, {}).get("words") or [default]
    return words[0]


def _array(values: dict[str, Any], key: str) -> np.ndarray:
    entry = values[key]
    if entry["kind"] != "array":
        raise ValueError(f"{key} {entry.get('why', 'is no array of numbers')}")
    found = np.asarray(entry["values"])
    if not np.isfinite(found).all():
        raise ValueError(f"{key} holds NaN or infinite numbers")
    return found


def _pair(values: dict[str, Any], key: str) -> tuple[int, int]:
    flat = np.broadcast_to(_array(values, key).ravel(), (2,))
    return int(flat[0]), int(flat[1])
