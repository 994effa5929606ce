"""Imported spiking networks: linear operators and neurons with dynamics, all of them stepped together.

What arrives at a layer in a step is the sum of what its inputs give in that step; an input that stands behind the layer
in order (a recurrent edge) gives what it gave in the step before. Neurons send their spikes as 0 and 1; those with an
infinite threshold, which never fire, send their membrane.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from neuro.dynamics import Dynamics, advance, initial
from neuro.errors import BadInput
from neuro.evaluate import apply
from neuro.layers import Op, Shape, output_shape


@dataclass(frozen=True, eq=False)
class Layer:
    """An operator, or neurons of a shape. gain: what arrives at neurons is multiplied with it [*shape]."""

    name: str
    inputs: tuple[str, ...]
    op: Op | None = None
    neurons: Dynamics | None = None
    shape: Shape = ()
    gain: float | np.ndarray = 1.0


@dataclass(frozen=True)
class Stepped:
    """Layers in order, fed by frames of `shape` under the name `input`; the last one is the output.

    Raises:
        BadInput: an unknown input, or shapes that do not fit, with the layer's name.
    """

    name: str
    input: str
    shape: Shape
    layers: tuple[Layer, ...]
    shapes: dict[str, Shape] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        shapes = {self.input: self.shape} | {x.name: x.shape for x in self.layers if x.neurons is not None}
        if len({self.input, *(x.name for x in self.layers)}) != len(self.layers) + 1 or not self.layers:
            raise BadInput(f"{self.name}: names of layers must be unique, and there must be one.")
        for layer in self.layers:
            where = f"{self.name}: layer {layer.name!r}"
            if unknown := [i for i in layer.inputs if i not in {self.input, *(x.name for x in self.layers)}]:
                raise BadInput(f"{where} reads {unknown[0]!r}, which does not exist.")
            if not layer.inputs:
                raise BadInput(f"{where} reads nothing.")
            known = [shapes[i] for i in layer.inputs if i in shapes]
            if not known:
                raise BadInput(f"{where} lies on a loop without neurons.")
            if layer.neurons is None:
                assert layer.op is not None
                try:
                    shapes[layer.name] = output_shape(layer.op, known[:1])
                except ValueError as error:
                    raise BadInput(f"{where}: {error}.") from None
        for layer in self.layers:
            entering = {shapes[i] for i in layer.inputs}
            if len(entering) > 1 or (layer.neurons is not None and entering != {layer.shape}):
                raise BadInput(f"{self.name}: layer {layer.name!r} gets values of {sorted(entering)}.")
        object.__setattr__(self, "shapes", shapes)

    @property
    def output(self) -> Layer:
        """The last layer."""
        return self.layers[-1]

    @property
    def populations(self) -> tuple[Layer, ...]:
        """The layers of neurons."""
        return tuple(x for x in self.layers if x.neurons is not None)


def steps(network: Stepped, frames: Float[np.ndarray, "item step ..."]) -> Iterator[dict[str, np.ndarray]]:
    """What every layer gives [item, *shape], step by step; states in float64, sums of weights in float32.

    Raises:
        BadInput: frames of another shape.
    """
    if frames.shape[2:] != network.shape:
        raise BadInput(f"{network.name} reads frames of {network.shape}, not {frames.shape[2:]}.")
    items = len(frames)
    operators = {x.name: _compiled(x.op) for x in network.layers if x.op is not None}
    states = {x.name: initial(x.neurons, (items, int(np.prod(x.shape)))) for x in network.populations if x.neurons}
    values = {x.name: np.zeros((items, *network.shapes[x.name])) for x in network.layers}  # of the step before
    for step in range(frames.shape[1]):
        values = {**values, network.input: np.asarray(frames[:, step], np.float64)}
        for layer in network.layers:
            arriving = values[layer.inputs[0]]
            for other in layer.inputs[1:]:
                arriving = arriving + values[other]
            if layer.neurons is None:
                values[layer.name] = operators[layer.name](arriving)
                continue
            current = (arriving * layer.gain).reshape(items, -1)
            states[layer.name], done = advance(layer.neurons, states[layer.name], current)
            silent = np.isinf(layer.neurons.threshold).all()
            given = states[layer.name].membrane if silent else done.spikes
            values[layer.name] = np.asarray(given, np.float64).reshape(arriving.shape)
        yield values


def run(network: Stepped, frames: Float[np.ndarray, "item step ..."]) -> dict[str, np.ndarray]:
    """Spikes of every population over all steps [item, *shape]; of neurons that never fire the last membrane.

    Raises:
        BadInput: frames of another shape.
    """
    total = {x.name: np.zeros((len(frames), *x.shape)) for x in network.populations}
    for values in steps(network, frames):
        for layer in network.populations:
            assert layer.neurons is not None
            if np.isinf(layer.neurons.threshold).all():
                total[layer.name] = values[layer.name]
            else:
                total[layer.name] = total[layer.name] + values[layer.name]
    return total


def decisions(network: Stepped, frames: Float[np.ndarray, "item step ..."]) -> np.ndarray:
    """The class of every item: the output neuron with the most spikes, the first of several."""
    name = network.populations[-1].name
    return run(network, frames)[name].reshape(len(frames), -1).argmax(axis=1)


def _compiled(op: Op):
    step = jax.jit(lambda x: apply(op, x))
    return lambda x: np.asarray(step(jnp.asarray(x, jnp.float32)), np.float64)
