"""Importing a feed-forward network from a TFLite file, float or quantised."""

from pathlib import Path

import numpy as np

from converters.importers.layout import Builder, listed
from converters.importers.onnx_call import NotKnown, Refused
from converters.importers.tflite_call import Call, Held, Value
from converters.importers.tflite_file import Operator, Source, read
from converters.importers.tflite_layers import check, convert
from neuro.errors import BadInput, Unsupported
from neuro.graph import Graph

SIZE_LIMIT = 4 * 2**30
"""Most bytes of weights that all operators read together; one tensor may be read by many."""
REMEDY = "Replace them in the network and convert it again."


def load(path: str | Path) -> Graph:
    """The network in a TFLite file as a float graph named after the file; layers are named after their results.

    The input is what the interpreter is fed, in the file's shape: for a quantised network the whole numbers, and a
    Scale behind them makes them real. Weights and biases are dequantised; after each layer whose result is quantised
    comes its rounding, so that the graph computes what the interpreter does but for roundings of ties. Weights alone
    quantised are used as floats, where the interpreter also rounds what they are multiplied by.

    Raises:
        BadInput: the file cannot be used: see `converters.importers.tflite_file.read`.
        Unsupported: operators that no layer here stands for, all of them listed.
    """
    source = read(path)
    with np.errstate(all="ignore"):  # what overflows is reported by Graph, with the layer's name
        try:
            build, entrance = _entrance(source)
        except ValueError as error:
            raise BadInput(f"{source.file}: its input: {error}.") from None
        values: dict[int, Value] = {source.input: entrance}
        problems: list[tuple[str, str, str]] = []
        for index, operator in _live(source):
            name = _name(source, index, operator)
            try:
                check(operator.kind)
                values[operator.outputs[0]] = _converted(source, build, operator, name, values)
            except NotKnown:
                pass
            except Refused as refusal:
                problems.append((operator.kind, name, str(refusal)))
            except (ValueError, IndexError, OverflowError) as error:
                text = str(error)[:300].rstrip(".")
                raise BadInput(f"{source.file}: layer {name!r} ({operator.kind}): {text}; convert it again.") from None
        if problems:
            raise Unsupported(listed(source.file, problems, REMEDY))
        output = values.get(source.output)
        if not isinstance(output, Held):
            raise BadInput(f"{source.file}: its output does not depend on its input; convert it again.")
        return build.graph(Path(path).stem, output.stream, {}, REMEDY)


def _entrance(source: Source) -> tuple[Builder, Held]:
    tensor = source.tensors[source.input]
    where = f"{source.file}: input {tensor.name!r}"
    if len(tensor.shape) < 2 or not tensor.fixed:
        raise BadInput(f"{where} of {tensor.shape} needs a batch and fixed sizes; convert it with a fixed input shape.")
    if tensor.shape[0] != 1:
        raise BadInput(f"{where} has a batch of {tensor.shape[0]}; convert the network with batch 1.")
    name = tensor.name.split(";")[0] or "input"
    build = Builder(name, tensor.shape[1:])
    if tensor.kind in ("INT32", "INT64") and not tensor.quantised:
        return build, Held(build.entrance, ids=True)
    if tensor.kind == "FLOAT32":
        return build, Held(build.entrance)
    try:
        grid = tensor.grid()
    except Refused:
        grid = None
    if grid is None:
        raise BadInput(f"{where} has elements of type {tensor.kind}; only floats, quantised numbers and ids are read.")
    scale, zero, _, _ = grid
    real = build.scaled(build.entrance, f"{name}_scale", np.asarray(scale), np.asarray(-zero * scale))
    return build, Held(real)


def _live(source: Source) -> list[tuple[int, Operator]]:
    """The operators that the output depends on, with their places; a reshape's computed shape does not count.

    Raises:
        BadInput: they read more than the limit.
    """
    needed, live = {source.output}, []
    for index, operator in reversed(list(enumerate(source.operators))):
        if needed.intersection(operator.outputs):
            live.append((index, operator))
            needed.update(operator.inputs[:1] if operator.kind == "RESHAPE" else operator.inputs)
    used = (source.tensors[i].data for _, operator in live for i in operator.inputs if i >= 0)
    if (size := sum(len(data) for data in used if data is not None)) > SIZE_LIMIT:
        raise BadInput(f"{source.file}: its layers read {size} bytes of weights, beyond the limit of {SIZE_LIMIT}.")
    return live[::-1]


def _name(source: Source, index: int, operator: Operator) -> str:
    """The first of the names that the converter joined, or operator and place."""
    text = source.tensors[operator.outputs[0]].name if operator.outputs else ""
    return text.split(";")[0] or f"{operator.kind}_{index}"


def _converted(source: Source, build: Builder, operator: Operator, name: str, values: dict[int, Value]) -> Value:
    if len(operator.outputs) != 1:
        raise Refused(f"{len(operator.outputs)} results; only one can be used")
    tensors = tuple(source.tensors[i] if i >= 0 else None for i in operator.inputs)
    given = tuple(values.get(i) for i in operator.inputs)
    result = source.tensors[operator.outputs[0]]
    value = convert(build, Call(operator, name, tensors, given, result))
    if isinstance(value, Held) and result.shape != value.full and result.shape and result.fixed:
        raise ValueError(f"its result has the shape {value.full}, but the file says {result.shape}")
    return value
