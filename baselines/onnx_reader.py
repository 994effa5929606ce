"""An ONNX file that nobody vouches for, read for its shapes: checked, never executed, external data never opened."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from neuro.errors import BadInput, Unsupported
from neuro.file import content

SIZE_LIMIT = 2**40
"""Most values of a tensor."""
SMALL = 4096
"""Most values of a constant that shapes may depend on."""
MOST_ROUNDS = 256
"""Of shape inference and arithmetic; a transformer takes one a layer."""

Shape = tuple[int, ...]

# What computes a shape from shapes; each gives no more values than go in, or is held against SMALL.
FOLDED = frozenset((
    "Abs", "Add", "And", "Cast", "Ceil", "Concat", "ConstantOfShape", "Div", "Equal", "Expand", "Floor", "Gather",
    "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "Not",
    "Or", "Range", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape", "Size", "Slice", "Split",
    "Sqrt", "Squeeze", "Sub", "Transpose", "Unsqueeze", "Where",
))  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """A model: nodes in order, shapes by tensor, names of the tensors that no input changes, and their values."""

    file: str
    nodes: tuple[Any, ...]
    shapes: Mapping[str, Shape]
    constants: Mapping[str, Any]

    def shape(self, tensor: str, node: str) -> Shape:
        """Shape of a tensor that `node` uses.

        Raises:
            BadInput: it is unknown, or too large.
        """
        if tensor not in self.shapes:
            raise BadInput(
                f"{self.file}: the shape of {tensor!r} at node {node!r} does not follow from those of the inputs. Give "
                "the input shapes, or export the model with fixed ones."
            )
        return self.shapes[tensor]

    def values(self, tensor: str) -> np.ndarray | None:
        """A constant stored in the file, or such a one transposed, reshaped or dequantised; else None."""
        source = self.constants.get(tensor)
        if source is None:
            return None
        if not hasattr(source, "op_type"):
            return stored(self.file, source)
        array = self.values(source.input[0]) if source.input else None
        if array is None:
            return None
        if source.op_type == "Transpose":
            order = [list(a.ints) for a in source.attribute if a.name == "perm"]
            return array.transpose(*order) if not order or len(order[0]) == array.ndim else None
        if source.op_type in ("Cast", "Identity"):
            return array
        if source.op_type == "DequantizeLinear":
            zero = self.values(source.input[2]) if len(source.input) > 2 and source.input[2] else None
            return array if zero is None else array.astype(np.int64) - (zero if zero.size == 1 else 0)
        return None


def read(path: Path, supported: frozenset[str], shapes: Mapping[str, Shape], same: frozenset[str]) -> Reading:
    """The model in the file `path` with `shapes` of its inputs (others as declared, an open batch as 1).

    supported: kinds of nodes; same: those of other domains whose result has the shape of the first input.

    Raises:
        BadInput: no such file, damaged, invalid, too large, or a shape that remains open.
        Unsupported: kinds of nodes that are not supported, all of them.
    """
    import onnx

    file = path.name
    model = _parsed(path)
    graph = model.graph
    _refuse_unsupported(file, graph, supported)
    held = _take_out_large(file, graph)
    declared = {o.domain for o in model.opset_import}
    for node in graph.node:
        if node.domain not in ("", "ai.onnx") and node.domain not in declared:
            model.opset_import.add(domain=node.domain, version=1)
            declared.add(node.domain)
    for result in graph.output:
        result.type.tensor_type.shape.SetInParent()  # inferred below; the checker wants one
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise BadInput(f"{file} is not a valid ONNX model: {_first_line(error)}; export it again.") from None
    _fix_inputs(file, graph, shapes, {tensor.name for tensor in (*held, *graph.initializer)})
    nodes = tuple(type(node).FromString(node.SerializeToString()) for node in graph.node)
    known = _inferred(file, model, same)
    known |= {t.name: tuple(t.dims) for t in held}
    for tensor, shape in known.items():
        if prod(shape) > SIZE_LIMIT:
            raise BadInput(f"{file}: tensor {tensor!r} of {list(shape)} exceeds the limit of {SIZE_LIMIT:,} values.")
    return Reading(file, nodes, known, _constants(nodes, (*held, *graph.initializer)))


def _parsed(path: Path) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    data = content(path, "an .onnx file")
    try:
        return onnx.load_model_from_string(data)
    except DecodeError:
        raise BadInput(f"{path.name} is not an ONNX file, or is cut short; copy or export it again.") from None


def _refuse_unsupported(file: str, graph: Any, supported: frozenset[str]) -> None:
    sizes = [d for info in graph.input for d in info.type.tensor_type.shape.dim]
    names = [item.name for item in (*graph.input, *graph.output, *graph.initializer)] + [d.dim_param for d in sizes]
    for node in graph.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output]
        names += [attribute.name for attribute in node.attribute]
    if damaged := [text for text in names if not isinstance(text, str)]:  # protobuf gives bytes for what is no UTF-8
        raise BadInput(f"{file} is damaged: the name {damaged[0]!r} is no text; copy or export it again.")
    unknown: dict[str, list[str]] = {}
    for index, node in enumerate(graph.node):
        if node.op_type not in supported:
            unknown.setdefault(node.op_type, []).append(node.name or f"node {index}")
    if unknown:
        listed = "; ".join(f"{kind} ({', '.join(names)})" for kind, names in sorted(unknown.items()))
        raise Unsupported(f"{file}: no cost model for {listed}.")


def _take_out_large(file: str, graph: Any) -> list[Any]:
    """Large and external constants as inputs, so that neither checker nor inference touches them."""
    import onnx
    from onnx.external_data_helper import uses_external_data

    if graph.sparse_initializer:
        raise BadInput(f"{file} has sparse initializers, which are not read; store its weights densely.")
    inputs = {i.name for i in graph.input}
    large, small = [], []
    for tensor in graph.initializer:
        if any(d < 0 for d in tensor.dims) or tensor.data_type not in onnx.TensorProto.DataType.values():
            raise BadInput(f"{file}: tensor {tensor.name!r} has a negative size or no known type; export it again.")
        (large if prod(tensor.dims) > SMALL or uses_external_data(tensor) else small).append(tensor)
    held = [type(t).FromString(t.SerializeToString()) for t in large]
    del graph.initializer[:]
    graph.initializer.extend(small)
    for tensor in held:
        if tensor.name not in inputs:
            graph.input.add().CopyFrom(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
            inputs.add(tensor.name)
    return held


def _fix_inputs(file: str, graph: Any, shapes: Mapping[str, Shape], constant: set[str]) -> None:
    entering = [i for i in graph.input if i.name not in constant]
    names = [i.name for i in entering]
    if unknown := [name for name in shapes if name not in names]:
        raise BadInput(f"{file} has no input {unknown[0]!r}; it has {', '.join(names)}.")
    symbols = {d.dim_param for i in entering for d in i.type.tensor_type.shape.dim if d.dim_param}
    batch = {s for s in symbols if "batch" in s.lower()}
    for info in entering:
        where = f"{file}: input {info.name!r}"
        if not info.type.HasField("tensor_type") or not info.type.tensor_type.HasField("shape"):
            raise BadInput(f"{where} is not a tensor of a stated rank; export the model with a fixed input shape.")
        dims = info.type.tensor_type.shape.dim
        given = shapes.get(info.name)
        if given is not None and len(given) != len(dims):
            raise BadInput(f"{where} has {len(dims)} axes, not {len(given)}.")
        for axis, dim in enumerate(dims):
            if given is not None:
                dim.dim_value = given[axis]
            elif dim.dim_param in batch or (axis == 0 and not batch and dim.dim_value < 1):
                dim.dim_value = 1
            elif dim.dim_value < 1:
                size = f"{dim.dim_param!r}" if dim.dim_param else "open"
                example = "x".join(str(d.dim_value or (1 if a == 0 else "…")) for a, d in enumerate(dims))
                raise BadInput(f"{where}: size {axis} is {size}. Give its shape, as in {file}:{info.name}={example}.")
        if given is None and len(dims) == 4 and dims[0].dim_value > 1:
            example = "x".join(str(d.dim_value) for d in list(dims)[1:])
            raise BadInput(f"{where} has a batch of {dims[0].dim_value}. Give one: {file}:{info.name}=1x{example}.")


def _inferred(file: str, model: Any, same: frozenset[str]) -> dict[str, Shape]:
    """Shapes of all tensors that follow, with shape arithmetic carried out where ONNX' own inference gives up."""
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx") and node.op_type in same:
            node.op_type, node.domain = "Identity", ""
            del node.input[1:], node.output[1:], node.attribute[:]
    model.ir_version = max(model.ir_version, 4)  # before, only inputs could have stored values
    del model.graph.value_info[:]
    for result in model.graph.output:
        result.ClearField("type")
    known = _shapes(file, model)
    for _ in range(MOST_ROUNDS):
        if all(o in known for node in model.graph.node for o in node.output if o) or not _folded(model, known):
            break
        known = _shapes(file, model)
    return known


def _shapes(file: str, model: Any) -> dict[str, Shape]:
    import onnx

    try:
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError) as error:
        raise BadInput(f"{file}: shapes do not fit: {_first_line(error)}; export it again.") from None
    known = {t.name: tuple(t.dims) for t in graph.initializer}
    for info in (*graph.input, *graph.value_info, *graph.output):
        tensor = info.type.tensor_type
        if tensor.HasField("shape") and all(d.HasField("dim_value") and d.dim_value >= 0 for d in tensor.shape.dim):
            known[info.name] = tuple(d.dim_value for d in tensor.shape.dim)
    return known


def _folded(model: Any, known: Mapping[str, Shape]) -> bool:
    """Replaces nodes whose small results are certain by constants; whether there was one."""
    import onnx

    graph = model.graph
    values = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    kept, found = [], []
    for node in graph.node:
        made = None
        if node.op_type == "Shape" and node.input[0] in known and not node.attribute:
            made = [np.array(known[node.input[0]], np.int64)]
        elif node.op_type == "Constant" or (
            node.op_type in FOLDED and all(not i or i in values for i in node.input) and _small(node, values)
        ):
            made = _computed(node, values, model.opset_import)
        if made is None or any(np.size(array) > SMALL for array in made):
            kept.append(node)
            continue
        for name, array in zip(node.output, made, strict=False):
            values[name] = np.asarray(array)
            found.append(onnx.numpy_helper.from_array(values[name], name))
    if not found:
        return False
    kept = [type(node).FromString(node.SerializeToString()) for node in kept]
    del graph.node[:]
    graph.node.extend(kept)
    graph.initializer.extend(found)
    return True


def _computed(node: Any, values: Mapping[str, np.ndarray], opsets: Any) -> list[Any] | None:
    from onnx.helper import make_graph, make_model, make_tensor_value_info, np_dtype_to_tensor_dtype
    from onnx.reference import ReferenceEvaluator

    given = {i: values[i] for i in node.input if i}
    enter = [make_tensor_value_info(i, np_dtype_to_tensor_dtype(a.dtype), a.shape) for i, a in given.items()]
    leave = [make_tensor_value_info(o, 1, None) for o in node.output if o]
    try:
        one = make_model(make_graph([node], "one", enter, leave), opset_imports=opsets)
        return list(ReferenceEvaluator(one).run(None, given))
    except Exception:  # whatever an odd node raises, its value stays unknown and is asked for by name
        return None


def _small(node: Any, values: Mapping[str, np.ndarray]) -> bool:
    if node.op_type in ("ConstantOfShape", "Expand"):
        target = values[node.input[-1]]
        return target.size <= 8 and bool((target >= 0).all()) and prod(int(t) for t in target.ravel()) <= SMALL
    if node.op_type == "Range":
        start, stop, step = (float(values[i]) for i in node.input)
        return step != 0 and (stop - start) / step <= SMALL
    return True


def _constants(nodes: tuple[Any, ...], tensors: tuple[Any, ...]) -> dict[str, Any]:
    """Tensors that no input changes: by name the stored tensor, or the node that computes it."""
    constants: dict[str, Any] = {t.name: t for t in tensors}
    for node in nodes:
        if node.op_type == "Constant":
            constants |= {node.output[0]: next((a.t for a in node.attribute if a.HasField("t")), node)}
        elif node.op_type == "Shape" or (any(node.input) and all(not i or i in constants for i in node.input)):
            constants |= dict.fromkeys(node.output, node)
    return constants


def stored(file: str, tensor: Any) -> np.ndarray | None:
    """The values of a stored tensor; None where they lie in another file.

    Raises:
        BadInput: the data do not make up the shape.
    """
    from onnx.external_data_helper import uses_external_data
    from onnx.numpy_helper import to_array

    if uses_external_data(tensor):
        return None
    try:
        return to_array(tensor)
    except (ValueError, TypeError, KeyError, MemoryError) as error:
        text = _first_line(error)
        raise BadInput(f"{file}: the data of {tensor.name!r} do not fit its shape: {text}; export it again.") from None


def _first_line(error: Exception) -> str:
    return (str(error).strip().split("\n")[0] or type(error).__name__).rstrip(".")
