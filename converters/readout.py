"""From the membranes of a read-out to outputs in the network's own units."""

import numpy as np
from jaxtyping import Float

from converters.fold import last_function
from converters.quantise import Quantised
from neuro.errors import BadInput
from neuro.graph import Graph


def check_classes(labels: np.ndarray, outputs: int, name: str) -> None:
    """Refuses classes [item] that a network of `outputs` does not tell apart; of one output there are two, no and yes.

    name: of the labels, for the message.

    Raises:
        BadInput: a class below 0 or beyond the last one.
    """
    most = max(outputs, 2) - 1
    wrong = labels[(labels < 0) | (labels > most)]
    if len(wrong):
        raise BadInput(
            f"{name} holds class {wrong[0]}; the network has {outputs} output{'s' * (outputs > 1)}, which "
            f"{'tell' if outputs > 1 else 'tells'} 0 to {most} apart. Give labels of these classes, or real targets as "
            "floating point."
        )


def real(network: Graph, integer: Quantised, membranes: np.ndarray) -> Float[np.ndarray, "item output"]:
    """Membranes [item, ...] of the read-out as outputs of the float `network`, its last function included."""
    name = integer.graph.output.name
    scale, origin = (maps[name].reshape(-1) for maps in (integer.scales, integer.origins))
    values = membranes.reshape(len(membranes), -1) * scale + origin
    last = last_function(network)
    return values if last is None else last.exact(values)
