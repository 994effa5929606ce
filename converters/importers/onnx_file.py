"""Reading an ONNX file that nobody vouches for: size, external data, structure and shapes are checked first."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from neuro.errors import BadInput, printable
from neuro.file import content
from neuro.layers import Shape

TENSOR_LIMIT = 4 * 2**30
"""Largest constant in bytes that is read."""
NAME_LIMIT = 1000
"""Most characters of a name."""
OLDEST_OPSET = 7
"""First operator set with NumPy-style broadcasting; older ones give `Add` another meaning."""


@dataclass(frozen=True, eq=False)
class Source:
    """A checked model (`onnx.ModelProto`, external data loaded), its one input and output, the input's sample shape.

    batch: which axis of the input the batch is: the second of a sequence that only recurrent operators read.
    """

    file: str
    model: Any
    opset: int
    input: str
    output: str
    shape: Shape
    batch: int = 0


def read(path: str | Path) -> Source:
    """The model in the file `path`. Nothing is executed, and nothing outside the file's folder is opened.

    Raises:
        BadInput: the file is missing, damaged, invalid, too old or too large, its external data lies elsewhere, or its
            input has a batch other than 1 or an open size.
    """
    import onnx

    path = Path(path)
    file = path.name
    model = _parse(path)
    if broken := [text for text in _names(model.graph) if not isinstance(text, str) or len(text) > NAME_LIMIT]:
        what = f"has more than {NAME_LIMIT} characters" if isinstance(broken[0], str) else "is no text"
        raise BadInput(f"{file} is damaged: the name {broken[0][:100]!r} {what}; copy or export it again.")
    for tensor in _tensors(model.graph):
        _check_size(file, tensor)
        _load_external(path, tensor)
    declared = {o.domain for o in model.opset_import}
    try:
        for domain in {n.domain for n in model.graph.node} - declared - {"", "ai.onnx"}:
            model.opset_import.add(domain=domain, version=1)  # some writers forget it; the operator is refused by name
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise BadInput(f"{file} is not a valid ONNX model: {_first_line(error)}; export it again.") from None
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
    if opset < OLDEST_OPSET:
        raise BadInput(
            f"{file} uses operator set {opset}; at least {OLDEST_OPSET} is needed. "
            "Convert it with onnx.version_converter.convert_version(model, 13)."
        )
    if opset > (newest := onnx.defs.onnx_opset_version()):
        raise BadInput(
            f"{file} uses operator set {opset}, and the onnx library here knows them up to {newest}; "
            "install a newer one, or export the model with an older operator set."
        )
    if model.graph.sparse_initializer:
        raise BadInput(f"{file} has sparse initializers, which are not read; store its weights densely.")
    for node in model.graph.node:
        node.domain = "" if node.domain == "ai.onnx" else node.domain  # two names of the same operator set
    given = {i.name for i in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in given]
    for kind, found in (("input", inputs), ("output", list(model.graph.output))):
        if len(found) != 1:
            names = ", ".join(repr(i.name) for i in found) or "none"
            raise BadInput(
                f"{file} has {len(found)} {kind}s ({names}); exactly one is needed. "
                "Cut the model to one with onnx.utils.extract_model."
            )
    batch = 1 if _is_sequence(model.graph, inputs[0].name) else 0
    shape = _sample_shape(file, inputs[0], batch)
    return Source(file, model, opset, inputs[0].name, model.graph.output[0].name, shape, batch)


def _is_sequence(graph: Any, name: str) -> bool:
    """Whether only recurrent operators that have the batch as their second axis read a tensor."""
    readers = [node for node in graph.node if name in node.input]
    return bool(readers) and all(
        node.op_type in ("LSTM", "GRU", "RNN") and not any(a.name == "layout" and a.i for a in node.attribute)
        for node in readers
    )


def _parse(path: Path) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    data = content(path, "an .onnx file")
    try:
        return onnx.load_model_from_string(data)
    except DecodeError:
        raise BadInput(f"{path.name} is not an ONNX file, or is cut short; copy or export it again.") from None


def _names(graph: Any) -> Iterator[Any]:
    """All names of nodes and tensors; protobuf gives bytes for those that are not UTF-8."""
    yield from (v.name for v in (*graph.input, *graph.output, *_tensors(graph)))
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)


def _tensors(graph: Any) -> Iterator[Any]:
    """Every tensor stored in a graph: initializers, attributes and those of subgraphs."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _tensors(inner)


def _check_size(file: str, tensor: Any) -> None:
    from onnx.helper import tensor_dtype_to_np_dtype

    try:
        dtype = tensor_dtype_to_np_dtype(tensor.data_type)
    except KeyError:
        raise BadInput(f"{file}: tensor {tensor.name!r} has no known element type; export the model again.") from None
    width = dtype.itemsize
    if dtype.kind == "c":
        raise BadInput(f"{file}: tensor {tensor.name!r} holds complex numbers; use a network of real ones.")
    if any(d < 0 for d in tensor.dims):
        raise BadInput(f"{file}: tensor {tensor.name!r} has a negative size {list(tensor.dims)}; export it again.")
    if prod(tensor.dims) * width > TENSOR_LIMIT:
        raise BadInput(
            f"{file}: tensor {tensor.name!r} of {list(tensor.dims)}, {width} bytes each, exceeds the limit of "
            f"{TENSOR_LIMIT // 2**30} GiB; use a smaller network."
        )


def _load_external(path: Path, tensor: Any) -> None:
    from onnx.checker import ValidationError
    from onnx.external_data_helper import load_external_data_for_tensor, uses_external_data

    if not uses_external_data(tensor):
        return
    location = next((e.value for e in tensor.external_data if e.key == "location"), "")
    if not isinstance(location, str) or "\0" in location:
        raise BadInput(f"{path.name}: the name {location[:100]!r} of its external data is damaged; export it again.")
    where = f"{path.name}: tensor {tensor.name!r} keeps its data in {location[:200]!r}"
    folder = path.parent.resolve()
    target = (folder / location).resolve()  # an absolute location replaces the folder, and links are followed
    if not location or ".." in Path(location).parts or folder not in target.parents:
        raise BadInput(f"{where}, outside the model's folder; save the model in one file with onnx.save_model.")
    if unknown := {e.key for e in tensor.external_data} - {"location", "offset", "length", "checksum", "basepath"}:
        raise BadInput(f"{where}, with unknown entries {printable(sorted(unknown, key=str))}; export the model again.")
    try:
        load_external_data_for_tensor(tensor, str(folder))
    except (ValidationError, ValueError, OSError, RuntimeError) as error:  # the last for names that are too long
        raise BadInput(f"{where}, which cannot be read: {_first_line(error)}; copy that file again.") from None


def _sample_shape(file: str, info: Any, place: int) -> Shape:
    """The input's shape without its batch, which is axis `place`."""
    where = f"{file}: input {info.name!r}"
    if not info.type.HasField("tensor_type") or not info.type.tensor_type.HasField("shape"):
        raise BadInput(f"{where} is not a tensor of a stated shape; export the model with a fixed input shape.")
    dims = dict(enumerate(info.type.tensor_type.shape.dim))
    batch = dims.pop(place, None)
    if batch is None or not dims:
        raise BadInput(f"{where} needs a batch axis and at least one more; export the model with a batch axis.")
    if batch.HasField("dim_value") and batch.dim_value != 1:
        raise BadInput(f"{where} has a batch of {batch.dim_value}; export the model with batch 1 or an open batch.")
    for axis, dim in dims.items():
        if dim.dim_value < 1:
            size = f"symbolic ({dim.dim_param!r})" if dim.dim_param else "open"
            raise BadInput(
                f"{where}: dimension {axis} is {size}. Export the model with a fixed size, or set it with "
                "onnx.tools.update_model_dims.update_inputs_outputs_dims."
            )
    return tuple(d.dim_value for d in dims.values())


def _first_line(error: Exception) -> str:
    """What an error says, without what a terminal would obey: messages hold names from the file."""
    return printable(str(error).strip().split("\n")[0].rstrip("."), 500)
