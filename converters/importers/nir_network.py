"""NIR files as networks to be converted, mapped and priced: those whose neurons an integer network holds exactly.

What `converters.exporters.to_nir` wrote comes back as the integer network that it was. Of other files, neurons without
a state are taken, `Threshold`, which send 1 above their threshold and else nothing: they are steps of a binary network.
All others send more or fewer spikes depending on when those that they read arrive; `converters.importers.from_nir`
steps them.
"""

from pathlib import Path
from typing import Any

import numpy as np

from converters.importers.nir_file import Fault, File, operator, ordered, read, shape_of
from converters.importers.nir_integer import converted_form
from converters.network_file import Converted
from neuro.errors import BadInput, Refusal, unsupported
from neuro.graph import Graph, Node
from neuro.layers import Activation, Add, AvgPool, Input, Op, Scale, SumPool
from neuro.steps import Steps

STATEFUL = {
    "IF": "it is reset to a value, not by subtraction, and fires before its input is complete",
    "LIF": "it leaks and is reset to a value",
    "CubaLIF": "it leaks, as does its current, and is reset to a value",
    "I": "it adds up over time without end",
    "LI": "it leaks",
    "CubaLI": "it leaks, as does its current",
}
"""Neurons whose spikes or membranes depend on when spikes arrive, and why."""
TINY = np.finfo(np.float32).tiny
ADVICE = "Convert the network that it was made from, or step it: converters.importers.from_nir.load and neuro.stepped."


def load(path: Path) -> Graph | Converted:
    """The float network in a NIR file, or what we exported: integer, with a float form of the same values.

    Raises:
        BadInput: no such file, or a damaged one. Unsupported: layers without an exact form, all of them listed.
    """
    found = read(path)
    if found.metadata.get("format") != "neuro":
        return _graph(found)
    return converted_form(found)


def _graph(file: File) -> Graph:
    order = ordered(file)
    place = {name: k for k, name in enumerate(order)}
    kinds = {name: str(file.nodes[name].get("type")) for name in order}
    ends = [[name for name in order if kinds[name] == kind] for kind in ("Input", "Output")]
    if [len(names) for names in ends] != [1, 1]:
        raise BadInput(f"{file.name} has {len(ends[0])} input(s) and {len(ends[1])} output(s); one of each is needed.")
    entrance = file.nodes[ends[0][0]]
    nodes = [Node(ends[0][0], Input(shape_of(entrance.get("shape", entrance.get("input_type")))))]
    names = {ends[0][0]: ends[0][0]}
    refusals: list[Refusal] = []
    for name in [n for n in order if kinds[n] not in ("Input", "Output")] + ends[1]:
        feeds = [a for a, b in file.edges if b == name]
        why = [f"it reads {a!r}, which it feeds: a loop" for a in feeds if place[a] >= place[name]]
        ops: list[Op] = []
        try:
            ops = [] if kinds[name] == "Output" else _ops(kinds[name], file.nodes[name])
        except Fault as fault:
            why.insert(0, str(fault))
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise BadInput(f"{file.name}: node {name!r} ({kinds[name]}) is damaged: {error}; write it again.") from None
        if why:
            refusals.append(Refusal(name, kinds[name], "; ".join(why)))
        if not feeds:
            raise BadInput(f"{file.name}: node {name!r} reads nothing; write it again.")
        if not refusals:  # shapes are not known behind a node that is refused
            names[name] = _append(nodes, name, [names[a] for a in feeds], ops)
    if refusals:
        raise unsupported(file.name, "have no exact spiking form", refusals, ADVICE)
    return Graph(Path(file.name).stem, tuple(nodes))


def _append(nodes: list[Node], name: str, feeds: list[str], ops: list[Op]) -> str:
    """Adds the sum of what a node reads and its layers; the name of the last."""
    last = feeds[0]
    for k, other in enumerate(feeds[1:]):
        nodes.append(Node(f"{name}.sum{k or ''}", Add(), (last, other)))
        last = nodes[-1].name
    for k, op in enumerate(ops):
        nodes.append(Node(name if k == len(ops) - 1 else f"{name}.{k}", op, (last,)))
        last = nodes[-1].name
    return last


def _ops(kind: str, node: dict[str, Any]) -> list[Op]:
    """The layers of the float vocabulary that a node is. Raises Fault: there are none."""
    if kind in STATEFUL:
        raise Fault(STATEFUL[kind])
    if kind == "Threshold":
        threshold = np.asarray(node["threshold"], np.float64)
        channel = threshold.reshape(len(threshold), -1) if threshold.ndim else threshold.reshape(1, 1)
        if (channel != channel[:, :1]).any():
            raise Fault("its thresholds differ within a channel")
        above = np.nextafter(channel[None, :, 0].astype(np.float32), np.float32(np.inf))
        above = np.where((above > 0) & (above < TINY), TINY, above)  # smaller ones count as zero
        return [Activation(Steps(thresholds=above[:, 0] if above.shape[1] == 1 else above))]
    op = operator(kind, node)
    if isinstance(op, SumPool):
        whole = np.full((), float(np.prod(op.kernel)))
        return [AvgPool(op.kernel, op.stride, op.pads), Scale(whole, np.zeros(()))]
    return [op]
