"""From the membranes of a read-out to outputs in the network's own units."""

import numpy as np
from jaxtyping import Float

from converters.fold import last_function
from converters.quantise import Quantised
from neuro.graph import Graph


def real(network: Graph, integer: Quantised, membranes: np.ndarray) -> Float[np.ndarray, "item output"]:
    """Membranes [item, ...] of the read-out as outputs of the float `network`, its last function included."""
    name = integer.graph.output.name
    scale, origin = (maps[name].reshape(-1) for maps in (integer.scales, integer.origins))
    values = membranes.reshape(len(membranes), -1) * scale + origin
    last = last_function(network)
    return values if last is None else last.exact(values)
