"""The integer form of a converted network as standard ONNX operators, which give exactly the same integers.

Weights and counts are whole numbers in float32, of which every sum is below 2^24 and therefore exact. Thresholds are
met in int64: max(V + B + floor(th / 2), 0) / th, cut at the highest level; several thresholds by comparisons that are
added up; softmax and layer norm as `neuro.attention` defines them. Outputs: `output_value` in the network's own units,
and every population by name with the read-out's membrane.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from converters.fold import last_function
from converters.network_file import Converted
from neuro.attention import FRACTION
from neuro.codes import is_exact
from neuro.errors import BadInput
from neuro.file import replacing
from neuro.graph import Graph, Node, digest
from neuro.layers import (
    Add,
    Concat,
    Conv,
    Dense,
    Input,
    MaxPool,
    MultiThreshold,
    NormNeurons,
    Pad,
    Product,
    Reshape,
    Scale,
    Slice,
    SoftmaxNeurons,
    SumPool,
    Threshold,
    Transpose,
)
from neuro.stages import is_population

OPSET, IR_VERSION = 17, 8
OUTPUT = "output_value"
"""Name of the output in the network's own units."""
FUNCTIONS = {"sigmoid": "Sigmoid", "tanh": "Tanh", "softplus": "Softplus", "softsign": "Softsign"}
BATCH = "batch"


class _Writer:
    """Nodes and constants of an ONNX graph under construction; local to one call of `model`."""

    def __init__(self, onnx: Any) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.names: set[str] = set()

    def constant(self, name: str, values: Any, kind: type = np.float32) -> str:
        unique, k = name, 1
        while unique in self.names:
            unique, k = f"{name}.{k}", k + 1
        self.names.add(unique)
        self.constants.append(self.onnx.numpy_helper.from_array(np.asarray(values, kind), unique))
        return unique

    def add(self, kind: str, result: str, *inputs: str, **attributes: Any) -> str:
        self.nodes.append(
            self.onnx.helper.make_node(kind, list(inputs), [result], name=f"{result}:{kind}", **attributes)
        )
        return result

    def whole(self, kind: str, result: str, *inputs: str | int | np.ndarray, **attributes: Any) -> str:
        """As `add`; numbers among the inputs become constants in int64."""
        named = [i if isinstance(i, str) else self.constant(f"{result}.{k}", i, np.int64) for k, i in enumerate(inputs)]
        return self.add(kind, result, *named, **attributes)


def export(converted: Converted, path: Path) -> list[str]:
    """Writes `converted` as ONNX to `path`, whole or not at all; what the file does not carry, in words.

    Raises:
        BadInput: a rate-coded network, whose spikes no integer network gives; or `path` cannot be written.
    """
    if not is_exact(converted.code):
        raise BadInput(
            f"{converted.network.name}: under firing rates no integer network gives the spikes; convert it with "
            "--method exact, or export it as .nir."
        )
    found = model(converted)
    with replacing(path, "--to") as part:
        part.write_bytes(found.SerializeToString())
    lost = [f"spikes and their times: the file holds the values that the {converted.code} code carries, in one pass"]
    if (last := last_function(converted.network)) is not None and last.name not in FUNCTIONS:
        lost.append(f"the last function, {last.name}, which changes no decision: {OUTPUT} is its argument")
    return lost


def model(converted: Converted) -> Any:
    """The ONNX model (`onnx.ModelProto`), checked by the library itself."""
    import onnx
    import onnx.checker
    import onnx.helper
    import onnx.numpy_helper

    graph, write = converted.integer.graph, _Writer(onnx)
    write.names.update(n.name for n in graph.nodes)
    for node in graph.nodes[1:]:
        _node(write, graph, node)
    last = graph.output.name
    scale, origin = (np.asarray(maps[last]) for maps in (converted.integer.scales, converted.integer.origins))
    scaled = write.add("Mul", "@scaled", last, write.constant("@scale", scale))
    function = last_function(converted.network)
    known = FUNCTIONS.get(function.name) if function is not None else None
    write.add("Add", "@real" if known else OUTPUT, scaled, write.constant("@origin", origin))
    if known:
        write.add(known, OUTPUT, "@real")
    told = [n for n in graph.nodes[1:] if is_population(n) or n.name == last]
    names = [(OUTPUT, graph.shapes[last]), *((n.name, graph.shapes[n.name]) for n in told)]
    infos = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [BATCH, *shape]) for n, shape in names]
    entering = onnx.helper.make_tensor_value_info(
        graph.input.name, onnx.TensorProto.FLOAT, [BATCH, *graph.shapes[graph.input.name]]
    )
    body = onnx.helper.make_graph(write.nodes, graph.name, [entering], infos, write.constants)
    made = onnx.helper.make_model(
        body, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="neuro"
    )
    about = {"input_levels": converted.levels, "code": converted.code, "digest": digest(graph)}
    onnx.helper.set_model_props(made, {"neuro": json.dumps(about)})
    onnx.checker.check_model(made)
    return made


def execute(path: Path, counts: np.ndarray) -> dict[str, np.ndarray] | None:
    """What onnxruntime gives for input counts [item, *shape], by output; None where it is not installed."""
    try:
        import onnxruntime
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (entering,) = session.get_inputs()
    names = [output.name for output in session.get_outputs()]
    found = session.run(names, {entering.name: np.asarray(counts, np.float32)})
    values = {name: np.asarray(value) for name, value in zip(names, found, strict=True)}
    return values | {entering.name: np.asarray(counts)}


def _node(write: _Writer, graph: Graph, node: Node) -> None:
    op, name, inputs = node.op, node.name, node.inputs
    match op:
        case Conv():
            _conv(write, name, inputs[0], op.weight, op)
        case SumPool():
            channels = graph.shapes[inputs[0]][0]
            _conv(write, name, inputs[0], np.ones((channels, 1, *op.kernel)), op, channels)
        case Dense():
            write.add("MatMul", name, inputs[0], write.constant(f"{name}.weight", op.weight.T))
        case MaxPool():
            write.add(
                "MaxPool", name, inputs[0], kernel_shape=list(op.kernel), strides=list(op.stride), pads=_pads(op.pads)
            )
        case Add():
            write.add("Add", name, *inputs)
        case Concat(axis=axis):
            write.add("Concat", name, *inputs, axis=axis + 1)
        case Reshape(shape=shape):
            write.add("Reshape", name, inputs[0], write.constant(f"{name}.shape", (-1, *shape), np.int64))
        case Transpose(order=order):
            write.add("Transpose", name, inputs[0], perm=[0, *(i + 1 for i in order)])
        case Pad(pads=pads):
            write.add("Pad", name, inputs[0], write.constant(f"{name}.pads", _pads(((0, 0), *pads)), np.int64))
        case Slice(axis=axis, start=start, stop=stop):
            write.whole("Slice", name, inputs[0], np.array([start]), np.array([stop]), np.array([axis + 1]))
        case Product(zeros=zeros):
            sides = [
                write.add("Sub", f"{name}.{side}", source, write.constant(f"{name}.zero", zero)) if zero else source
                for side, source, zero in zip(("left", "right"), inputs, zeros, strict=True)
            ]
            write.add("MatMul", name, *sides)
        case Scale():
            write.add("Add", name, inputs[0], write.constant(f"{name}.offset", op.offset))
        case Threshold():
            begin = _whole(write, name, inputs[0], op.bias + op.threshold // 2, graph)
            above = write.add("Max", f"{name}.above", begin, write.constant(f"{name}.zero", 0, np.int64))
            threshold = write.constant(f"{name}.threshold", _full(op.threshold, graph, name), np.int64)
            level = write.add("Div", f"{name}.level", above, threshold)
            _cut(write, name, level, op.levels)
        case MultiThreshold():
            begin = _whole(write, name, inputs[0], op.bias, graph)
            axis = write.constant(f"{name}.axis", [1], np.int64)
            spread = write.add("Unsqueeze", f"{name}.spread", begin, axis)
            ndim = len(graph.shapes[name])
            steps = op.thresholds.reshape(
                len(op.signs), *(1,) * (ndim - op.thresholds.ndim + 1), *op.thresholds.shape[1:]
            )
            met = write.add(
                "GreaterOrEqual", f"{name}.met", spread, write.constant(f"{name}.thresholds", steps, np.int64)
            )
            ones = write.add("Cast", f"{name}.ones", met, to=write.onnx.TensorProto.INT64)
            signs = write.constant(f"{name}.signs", op.signs.reshape(-1, *(1,) * ndim), np.int64)
            signed = write.add("Mul", f"{name}.signed", ones, signs)
            total = write.add("ReduceSum", f"{name}.total", signed, axis, keepdims=0)
            start = write.constant(f"{name}.start", _full(op.start, graph, name), np.int64)
            level = write.add("Add", f"{name}.level", total, start)
            above = write.add("Max", f"{name}.above", level, write.constant(f"{name}.zero", 0, np.int64))
            _cut(write, name, above, op.levels)
        case SoftmaxNeurons():
            _cut(write, name, _softmax(write, name, op, _whole(write, name, inputs[0], op.bias, graph)), op.levels)
        case NormNeurons():
            _cut(write, name, _norm(write, name, op, _whole(write, name, inputs[0], op.bias, graph), graph), op.levels)
        case Input() | _:
            raise TypeError(op)


def _softmax(write: _Writer, name: str, op: SoftmaxNeurons, membrane: str) -> str:
    """`neuro.attention.softmax`, before its levels are cut."""
    highest = write.add("ReduceMax", f"{name}.highest", membrane, axes=[-1])
    below = write.add("Sub", f"{name}.below", highest, membrane)
    rounded = write.whole("Add", f"{name}.rounded", below, op.divisor // 2)
    steps = write.whole("Div", f"{name}.steps", rounded, op.divisor)
    entry = write.whole("Min", f"{name}.entry", steps, len(op.table) - 1)
    share = write.whole("Gather", f"{name}.share", op.table, entry)
    total = write.whole("ReduceSum", f"{name}.total", share, np.array([-1]))
    half = write.whole("Div", f"{name}.half", total, 2)
    scaled = write.whole("Mul", f"{name}.scaled", share, op.whole)
    return write.add("Div", f"{name}.level", write.add("Add", f"{name}.shares", scaled, half), total)


def _norm(write: _Writer, name: str, op: NormNeurons, membrane: str, graph: Graph) -> str:
    """`neuro.attention.norm`, before its levels are cut above. Shifts are powers of two, looked up."""
    members, powers = graph.shapes[name][-1], 2 ** np.arange(31)
    last = np.array([-1])
    total = write.whole("ReduceSum", f"{name}.total", membrane, last)
    mean = _floor(write, f"{name}.mean", write.whole("Add", f"{name}.centred", total, members // 2), members)
    apart = write.add("Sub", f"{name}.apart", membrane, mean)
    largest = write.add("ReduceMax", f"{name}.largest", write.add("Abs", f"{name}.size", apart), axes=[-1])
    spread = write.whole("Unsqueeze", f"{name}.spread", largest, last)
    reached = write.add(
        "Cast",
        f"{name}.reached",
        write.whole("GreaterOrEqual", f"{name}.met", spread, powers),
        to=write.onnx.TensorProto.INT64,
    )
    bits = write.whole("ReduceSum", f"{name}.bits", reached, last, keepdims=0)
    more = write.whole("Max", f"{name}.more", write.whole("Sub", f"{name}.over", bits, op.bits), 0)
    less = write.whole("Max", f"{name}.less", write.whole("Sub", f"{name}.under", op.bits, bits), 0)
    down, up = (write.whole("Gather", f"{name}.{key}", powers, k) for key, k in (("down", more), ("up", less)))
    nearest = write.add("Add", f"{name}.nearest", apart, write.whole("Div", f"{name}.half", down, 2))
    even = write.add("Mul", f"{name}.even", _floor(write, f"{name}.shifted", nearest, down), up)
    squares = write.whole("ReduceSum", f"{name}.squares", write.add("Mul", f"{name}.square", even, even), last)
    energy = write.add("Add", f"{name}.energy", squares, write.whole("Gather", f"{name}.extra", op.extra, bits))
    wide = write.add("Cast", f"{name}.wide", energy, to=write.onnx.TensorProto.DOUBLE)  # whose root is exact here
    root = write.add("Cast", f"{name}.root", write.add("Sqrt", f"{name}.sqrt", wide), to=write.onnx.TensorProto.INT64)
    share = _floor(
        write, f"{name}.share", write.whole("Mul", f"{name}.large", even, 2**FRACTION),
        write.whole("Max", f"{name}.divisor", root, 1),
    )  # fmt: skip
    gained = write.whole("Add", f"{name}.gained", write.whole("Mul", f"{name}.gain", share, op.gain), op.offset)
    return write.whole("Max", f"{name}.above", _floor(write, f"{name}.level", gained, 2**op.shift), 0)


def _floor(write: _Writer, name: str, value: str, by: str | int) -> str:
    """⌊value / by⌋ for by >= 1, also below zero, where ONNX divides towards zero."""
    rest = write.whole("Mod", f"{name}.rest", value, by)
    return write.whole("Div", name, write.add("Sub", f"{name}.multiple", value, rest), by)


def _conv(
    write: _Writer, name: str, source: str, weight: np.ndarray, op: Conv | SumPool, groups: int | None = None
) -> None:
    dilation = (op.dilation if isinstance(op, Conv) else ()) or (1,) * len(op.stride)
    write.add(
        "Conv", name, source, write.constant(f"{name}.weight", weight), strides=list(op.stride), pads=_pads(op.pads),
        group=groups or (op.groups if isinstance(op, Conv) else 1), dilations=list(dilation),
    )  # fmt: skip


def _whole(write: _Writer, name: str, source: str, start: np.ndarray, graph: Graph) -> str:
    """The membrane as int64, from where it starts."""
    whole = write.add("Cast", f"{name}.whole", source, to=write.onnx.TensorProto.INT64)
    return write.add(
        "Add", f"{name}.membrane", whole, write.constant(f"{name}.bias", _full(start, graph, name), np.int64)
    )


def _cut(write: _Writer, name: str, level: str, levels: int) -> None:
    cut = write.add("Min", f"{name}.cut", level, write.constant(f"{name}.levels", levels, np.int64))
    write.add("Cast", name, cut, to=write.onnx.TensorProto.FLOAT)


def _full(values: np.ndarray, graph: Graph, name: str) -> np.ndarray:
    """Values with as many axes as a sample."""
    return values.reshape((1,) * (len(graph.shapes[name]) - values.ndim) + values.shape)


def _pads(pads: tuple[tuple[int, int], ...]) -> list[int]:
    """Before for all axes, then after."""
    return [a for a, _ in pads] + [b for _, b in pads]
