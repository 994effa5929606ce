"""Importing a feed-forward network from a JAX function, hence from Flax, Equinox, Haiku or none of them.

The function is traced, never executed on data; everything that does not depend on its input is a constant. Bind the
parameters beforehand, in evaluation mode, and let the batch be the first axis::

    graph = trace(lambda x: model.apply(variables, x, train=False), shape=(28, 28, 1))   # Flax linen
    model.eval(); graph = trace(model, shape=(28, 28, 1))                                # Flax nnx
    graph = trace(jax.vmap(eqx.nn.inference_mode(model)), shape=(1, 28, 28))             # Equinox: no batch axis
    graph = trace(lambda x: network.apply(params, None, x), shape=(28, 28, 1))           # Haiku

The graph's input has the axes of the function's, channels last if so; layers inside are channels first.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from converters.importers.builder import Builder
from converters.importers.chain import NotKnown, Refused, Unknown, listed
from converters.importers.jax_nodes import Call, Traced, convert, split
from converters.importers.jax_program import RANDOM, Equation, Program, precise, softmax_tail, traced
from neuro.errors import BadInput
from neuro.graph import Graph
from neuro.layers import Shape

REMEDY = "Replace them in the function and train it again, or leave them to the code around it."
"""What to do about refused primitives."""


def trace(function: Callable[[Any], Any], shape: Shape, name: str = "network", whole: bool = False) -> Graph:
    """A function from a batch to a batch as a float graph; layers are named after their modules where JAX knows them.

    shape: of one sample; whole: the input is whole numbers (int32), as an embedding's. A last softmax or log-softmax
    becomes a `Softmax`.

    Raises:
        BadInput: JAX cannot trace it, or it does not give one array that depends on the input.
        Unsupported: primitives that no layer here stands for, all of them listed.
    """
    program = traced(function, tuple(shape), name, whole)
    builder = Builder("input", tuple(shape))
    constants = _constants(program, builder)
    values: dict[int, Any] = {**constants, program.input: Traced(builder.input, 0)}
    logits = softmax_tail(program, constants)
    for equation in program.equations:
        if not all(n in values for n, _ in equation.outputs):
            _step(equation, builder, values, name)
        if logits in values:
            break
    output = values[program.output if logits is None else logits]
    if not isinstance(output, Traced):
        if builder.problems:
            raise listed(name, builder.problems, REMEDY)
        raise BadInput(f"{name}: what it gives does not depend on the input; bind the parameters, not the input.")
    if output.batch != 0:
        builder.problems.append(("output", name, f"the batch became axis {output.batch} of it, not the first"))
    last = output.value
    if logits is not None:
        last = builder.softmax("softmax", builder.view(last))
    nodes = builder.finished(last)
    if builder.problems:
        raise listed(name, builder.problems, REMEDY)
    return Graph(name, nodes)


def _constants(program: Program, builder: Builder) -> dict[int, Any]:
    """All values that do not depend on the input; random numbers are a problem."""
    known = dict(program.constants)
    for equation in program.equations:
        if all(n in known for n in equation.inputs):
            outputs = [n for n, _ in equation.outputs]
            if equation.name in RANDOM:
                reason = "it draws random numbers; bind the network in evaluation mode"
                builder.problems.append((equation.name, equation.scope, reason))
                known |= dict.fromkeys(outputs, Unknown())
            elif any(isinstance(known[n], Unknown) for n in equation.inputs):
                known |= dict.fromkeys(outputs, Unknown())
            else:
                known |= dict(zip(outputs, precise(equation, [known[n] for n in equation.inputs]), strict=True))
    return known


def _step(equation: Equation, builder: Builder, values: dict[int, Any], name: str) -> None:
    """The result of one equation that depends on the input, or a placeholder for it and a problem."""
    call = Call(builder, equation, tuple(values[n] for n in equation.inputs))
    first, *others = equation.outputs
    values |= dict.fromkeys((n for n, _ in others), Unknown())
    try:
        if any(isinstance(i, Unknown) for i in call.inputs):
            raise NotKnown
        if equation.name == "split":
            values |= dict(zip((n for n, _ in equation.outputs), split(call), strict=True))
            return
        if others and equation.name != "scan":
            raise Refused("it gives several arrays")
        values[first[0]] = convert(call)
        return
    except NotKnown:
        pass
    except Refused as refusal:
        builder.problems.append((equation.name, equation.scope or equation.name, str(refusal)))
        for value in call.inputs:
            if isinstance(value, Traced):
                with suppress(Refused):  # for the reason that is listed already
                    builder.view(value.value)  # what is wrong with these is to be listed too
    except ValueError as error:
        raise BadInput(
            f"{name}: {equation.name} in {equation.scope!r}: {error}; is the shape of the input right?"
        ) from None
    number, shape = first
    fits = len(shape) > 1 and shape[0] == 1 and min(shape) > 0
    values[number] = Traced(builder.placeholder(equation.name, shape[1:]), 0) if fits else Unknown()
