"""Importing a feed-forward network from an ONNX file."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from converters.importers import onnx_recurrent
from converters.importers.chain import (
    NotKnown,
    Refused,
    Stream,
    Unknown,
    Value,
    chain,
    listed,
    reaching,
    unique,
    with_biases,
)
from converters.importers.onnx_call import Call
from converters.importers.onnx_constants import LIMIT, first_shape, folded, is_constant
from converters.importers.onnx_file import Source, read
from converters.importers.onnx_nodes import convert
from converters.importers.onnx_recurrent import RECURRENT, moves
from neuro.errors import BadInput
from neuro.graph import Graph, Node
from neuro.layers import Input, Op

REMEDY = "Replace them in the network and train it again, or cut them off with onnx.utils.extract_model."
"""What to do about refused layers (operator, name, reason)."""


def load(path: str | Path) -> Graph:
    """The network in an ONNX file as a float graph named after the file; layers keep their ONNX names.

    Raises:
        BadInput: the file cannot be used: see `converters.importers.onnx_file.read`.
        Unsupported: operators that no layer here stands for, all of them listed.
    """
    return load_named(path)[0]


def load_named(path: str | Path) -> tuple[Graph, dict[str, str]]:
    """The network, and for each of its layers the ONNX tensor it computes, where there is one.

    Constants are folded, layers that change nothing or reach no output are dropped, and a constant added channel by
    channel right after a convolution or matrix product becomes its bias.
    """
    source = read(path)
    with np.errstate(all="ignore"):  # what overflows is reported by Graph, with the layer's name
        scan = _scan(source)
        if scan.problems:
            raise listed(source.file, scan.problems, REMEDY)
        last = scan.values[source.output]
        if isinstance(last, Stream) and last.batch:
            reason = f"its batch is axis {last.batch}, not the first"
            raise listed(source.file, [("output", source.output, reason)], REMEDY)
        if not isinstance(last, Stream):
            raise BadInput(f"{source.file}: output {source.output!r} does not depend on the input; export it again.")
        nodes, tensors = with_biases(reaching(scan.nodes, last.layer), scan.tensors)
    return Graph(Path(path).stem, tuple(nodes)), {n.name: tensors[n.name] for n in nodes if n.name in tensors}


@dataclass(frozen=True, eq=False)
class _Scan:
    """The layers, what every tensor is, the tensor of each layer, and refused layers (operator, name, reason)."""

    nodes: list[Node]
    values: dict[str, Value]
    tensors: dict[str, str]
    problems: list[tuple[str, str, str]]


def _scan(source: Source) -> _Scan:
    """Every node that the output depends on, in file order; refused ones are noted and passed over."""
    graph = source.model.graph
    live = _live(graph, source.output)
    read_by_live = {i for _, node in live for i in node.input} | {source.output}
    last = _before_identities(graph, source.output)
    names = _names(live, source.input)
    taken = {source.input, *names.values()}
    nodes = [Node(source.input, Input(source.shape))]
    entrance = Stream(source.input, source.shape, source.batch)
    values = {**_initializers(source, read_by_live), source.input: entrance}
    sequences = any(node.op_type in RECURRENT and not node.domain for _, node in live)

    def emit(label: str, op: Op, *layers: str) -> str:
        layer = unique(label, taken)
        taken.add(layer)
        nodes.append(Node(layer, op, layers))
        return layer

    tensors = {source.input: source.input}
    problems: list[tuple[str, str, str]] = []
    left = LIMIT
    for index, node in live:
        name = names[index]
        inputs = tuple(values[i] if i else None for i in node.input)
        results: dict[str, Value] = {}
        try:
            if is_constant(node, inputs):
                results |= folded(node, inputs, source.opset, left)
                left -= sum(value.nbytes for value in results.values() if isinstance(value, np.ndarray))
            elif node.op_type in RECURRENT and not node.domain:
                given = onnx_recurrent.layers(_call(node, inputs, source.opset, last), name, emit)
                results |= dict(zip(node.output, given, strict=False))
            elif any(o in read_by_live for o in node.output[1:]):
                raise Refused("only its first output can be used")
            else:
                call = _call(node, inputs, source.opset, last)
                ops, batch = onnx_recurrent.moved(call) if sequences and moves(call) else (convert(call), 0)
                added, result = chain(name, ops, [i for i in inputs if isinstance(i, Stream)], taken)
                nodes += added
                taken |= {n.name for n in added}
                tensors |= {n.name: node.output[0] for n in added[-1:]}
                results[node.output[0]] = replace(result, batch=batch)
        except NotKnown:
            pass
        except Refused as refusal:
            problems.append((_kind(node), name, str(refusal)))
        except ValueError as error:
            raise BadInput(
                f"{source.file}: layer {name!r} ({node.op_type}): {error}; see what "
                "onnx.checker.check_model(path, full_check=True) says."
            ) from None
        for output in node.output:
            values[output] = results[output] if output in results else _assumed(node, name, inputs, source.opset)
    return _Scan(nodes, values, tensors, problems)


def _live(graph: Any, output: str) -> list[tuple[int, Any]]:
    """The nodes that the output depends on, with their places in the file."""
    needed, live = {output}, []
    for index, node in reversed(list(enumerate(graph.node))):
        if needed.intersection(node.output) - {""}:
            live.append((index, node))
            needed.update(node.input)
    return live[::-1]


def _before_identities(graph: Any, output: str) -> str:
    """The tensor that reaches the output unchanged."""
    givers = {o: node for node in graph.node for o in node.output}
    while output in givers and givers[output].op_type in ("Identity", "Dropout"):
        output = givers[output].input[0]
    return output


def _initializers(source: Source, wanted: set[str]) -> dict[str, Value]:
    from onnx.numpy_helper import to_array

    values: dict[str, Value] = {}
    for tensor in source.model.graph.initializer:
        if tensor.name in wanted:
            try:
                values[tensor.name] = np.asarray(to_array(tensor))
            except (ValueError, TypeError) as error:
                raise BadInput(
                    f"{source.file}: tensor {tensor.name!r} is damaged ({error}); export the model again."
                ) from None
    return values


def _names(live: list[tuple[int, Any]], reserved: str) -> dict[int, str]:
    """A unique name for each node by place: the file's own first, then operator and place for those without."""
    names: dict[int, str] = {}
    taken = {reserved}
    for index, node in sorted(live, key=lambda item: not item[1].name):
        names[index] = unique(node.name or f"{node.op_type}_{index}", taken)
        taken.add(names[index])
    return names


def _call(node: Any, inputs: tuple[Value | None, ...], opset: int, last: str) -> Call:
    from onnx.helper import get_attribute_value

    attributes = {a.name: get_attribute_value(a) for a in node.attribute}
    return Call(_kind(node), attributes, inputs, opset, node.output[0] == last)


def _kind(node: Any) -> str:
    return node.op_type if not node.domain else f"{node.domain}::{node.op_type}"


def _assumed(node: Any, name: str, inputs: tuple[Value | None, ...], opset: int) -> Value:
    """What a refused node would have given, so that the scan can go on."""
    if node.op_type in ("Shape", "Size") or not any(isinstance(i, Stream) for i in inputs):
        return Unknown()
    shape = first_shape(node, inputs, opset) or ()
    return Stream(name, shape[1:] if len(shape) > 1 and shape[0] == 1 else None)
