"""Reading a .pt2 file of PyTorch that nobody vouches for, without PyTorch.

The file is a zip archive: the program as JSON, every weight as the bytes of its storage. `torch.export.load` also
unpickles the example inputs and, where the file says so, weights and other objects, and evaluates symbolic sizes as
source text; here pickles stay closed and all sizes are numbers.
"""

import json
import re
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import numpy as np

from converters.importers.torch_program import Program, Step, Tensor, checked, layer_name, operator_name
from neuro.errors import BadInput, printable
from neuro.file import missing
from neuro.layers import Shape

JSON_LIMIT = 64 * 2**20
"""Largest program or table of weights in bytes."""
EXPORT = (
    "Export the module itself, in Python:\n"
    "  module.eval()\n"
    "  program = torch.export.export(module, (torch.zeros(1, *shape),))\n"
    '  torch.export.save(program, "network.pt2")'
)
"""What to do instead."""
ENTRIES = re.compile(
    r"archive_format|archive_version|byteorder|\.data/(version|serialization_id)|models/model\.json"
    r"|data/weights/(weight_\d+|model_weights_config\.json)|data/constants/(tensor_\d+|model_constants_config\.json)"
    r"|data/sample_inputs/model\.pt|extra/.*"
)
"""What an archive may hold; the example inputs, a pickle, and the user's own notes in extra are never opened."""
DTYPES = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64", 12: "bool",
    13: "bfloat16",
}  # fmt: skip
"""Element types by the number in the file."""


def read(path: str | Path) -> Program:
    """The program in the file `path`. Nothing is executed or unpickled.

    Raises:
        BadInput: the file is missing, damaged, of another kind, or holds what does not belong there.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"{path}: {missing(path)}; give the path of a .pt2 file.")
    try:
        with path.open("rb") as file:
            if not file.read(4).startswith(b"PK"):
                raise BadInput(f"{path.name} is no .pt2 archive; pickles are never loaded. {EXPORT}")
            with ZipFile(file) as archive:
                return _program(path.stem, _opened(path, archive))
    except OSError as error:
        raise BadInput(f"{path.name} cannot be read: {error.strerror}; check its permissions.") from None
    except BadInput:
        raise
    except Exception as error:  # zipfile, json and the shape of the data each fail in their own ways
        reason = f"{type(error).__name__}: {printable(error, 80)}"
        raise BadInput(f"{path.name} is damaged or no .pt2 archive ({reason}); copy or export it again.") from None


def _opened(path: Path, archive: ZipFile) -> Callable[[str], bytes | None]:
    """A function that gives an entry's bytes, None where there is none, once the list of entries is in order."""
    infos = archive.infolist()
    names = [i.filename for i in infos]
    if any(name.endswith(("/data.pkl", "/constants.pkl")) for name in names):
        raise BadInput(f"{path.name} holds a state dict, a pickled module or TorchScript, not a program. {EXPORT}")
    roots = {name.split("/")[0] for name in names}
    inner = [name.partition("/")[2] for name in names]
    if len(roots) != 1 or "models/model.json" not in inner:
        raise BadInput(
            f"{path.name} has no models/model.json: another kind of file, or written by an older PyTorch. {EXPORT}"
        )
    if strange := [name for name in inner if not ENTRIES.fullmatch(name)]:
        quoted = ", ".join(repr(name[:100]) for name in strange[:3])
        raise BadInput(
            f"{path.name} holds {quoted}, which a plain exported program does not; "
            f"pickled weights and compiled code are never loaded. {EXPORT}"
        )
    if len(set(names)) != len(names):
        raise BadInput(f"{path.name} holds an entry twice; export it again.")
    if any(i.compress_type != ZIP_STORED or i.flag_bits & 1 or i.file_size != i.compress_size for i in infos):
        raise BadInput(f"{path.name} is compressed or encrypted, which PyTorch never does; export it again.")
    if sum(i.file_size for i in infos) > path.stat().st_size:
        raise BadInput(f"{path.name} states entries that are larger than the file; copy or export it again.")
    root = roots.pop()

    def entry(name: str) -> bytes | None:
        return archive.read(f"{root}/{name}") if name in inner else None

    return entry


def _program(name: str, entry: Callable[[str], bytes | None]) -> Program:
    if (order := entry("byteorder")) not in (None, b"little"):
        raise BadInput(f"{name}: bytes are in the order {order[:20]!r}, not little; export it on another machine.")
    document = _json(entry, "models/model.json")
    module = document["graph_module"]
    graph, signature = module["graph"], module["signature"]
    shapes = {tensor: _shape(meta["sizes"]) for tensor, meta in graph["tensor_values"].items()}
    stored = {
        "weights": _tensors(name, entry, "weights", "model_weights_config.json"),
        "constants": _tensors(name, entry, "constants", "model_constants_config.json"),
    }
    inputs, constants = [], {}
    for spec in signature["input_specs"]:
        ((kind, content),) = spec.items()
        match kind:
            case "user_input":
                inputs.append(_tensor_name(content["arg"]))
            case "parameter":
                constants[content["arg"]["name"]] = stored["weights"][content["parameter_name"]]
            case "buffer":
                place = "weights" if content["persistent"] else "constants"
                constants[content["arg"]["name"]] = stored[place][content["buffer_name"]]
            case "tensor_constant":
                constants[content["arg"]["name"]] = stored["constants"][content["tensor_constant_name"]]
            case _:
                raise BadInput(f"{name}: an input of kind {kind!r}, which no network needs. {EXPORT}")
    outputs = []
    for spec in signature["output_specs"]:
        ((kind, content),) = spec.items()
        if kind == "user_output":
            outputs.append(_tensor_name(content["arg"]))
    steps = [_step(node, shapes) for node in graph["nodes"]]
    return checked(name, tuple(inputs), tuple(outputs), shapes, steps, constants)


def _json(entry: Callable[[str], bytes | None], name: str) -> Any:
    text = entry(name)
    if text is None:
        return {}
    if len(text) > JSON_LIMIT:
        raise BadInput(f"{name} has {len(text):,} bytes; the limit is {JSON_LIMIT:,}.")
    return json.loads(text)


def _tensors(name: str, entry: Callable[[str], bytes | None], kind: str, table: str) -> dict[str, np.ndarray]:
    """The arrays that a table of the archive lists."""
    found = {}
    for key, payload in _json(entry, f"data/{kind}/{table}").get("config", {}).items():
        where = f"{name}: tensor {key!r}"
        if payload["use_pickle"]:
            raise BadInput(f"{where} is pickled, which is never loaded; replace it by a plain tensor. {EXPORT}")
        if not re.fullmatch(r"(weight|tensor)_\d+", payload["path_name"]):
            raise BadInput(f"{where} is said to lie in {payload['path_name'][:100]!r}; export it again.")
        data = entry(f"data/{kind}/{payload['path_name']}")
        if data is None:
            raise BadInput(f"{where} is missing in the archive; export it again.")
        found[key] = _array(where, data, payload["tensor_meta"])
    return found


def _array(where: str, data: bytes, meta: dict[str, Any]) -> np.ndarray:
    """A tensor cut out of the bytes of its storage."""
    dtype = DTYPES.get(meta["dtype"])
    if dtype is None:
        raise BadInput(f"{where} has an element type (number {meta['dtype']}) that is not read; use float32.")
    half = dtype == "bfloat16"
    storage = np.frombuffer(data, np.dtype("uint16" if half else dtype).newbyteorder("<"))
    sizes = _numbers(meta["sizes"])
    steps = _numbers(meta["strides"])
    (start,) = _numbers([meta["storage_offset"]])
    if min((*sizes, *steps, start), default=0) < 0 or len(sizes) != len(steps):
        raise BadInput(f"{where} has sizes {sizes} and strides {steps}; export it again.")
    end = start + sum((n - 1) * s for n, s in zip(sizes, steps, strict=True)) + 1
    if prod(sizes) > len(storage) or (prod(sizes) and end > len(storage)):
        raise BadInput(
            f"{where} of {list(sizes)} needs more than its {len(storage):,} stored values; make it contiguous and "
            "export it again."
        )
    if not prod(sizes):
        return np.zeros(sizes, "float32" if half else dtype)
    strides = tuple(s * storage.itemsize for s in steps)
    cut = np.lib.stride_tricks.as_strided(storage[start:], sizes, strides, writeable=False).copy()
    return (cut.astype(np.uint32) << 16).view(np.float32) if half else cut.astype(dtype)


def _numbers(sizes: list[dict[str, Any]]) -> Shape:
    """Sizes, which must all be fixed."""
    shape = _shape(sizes)
    if shape is None:
        raise BadInput("a stored tensor has an open size; export the program with fixed sizes.")
    return shape


def _shape(sizes: list[dict[str, Any]]) -> Shape | None:
    if not all(type(n.get("as_int")) is int for n in sizes):
        return None
    return tuple(n["as_int"] for n in sizes)


def _tensor_name(argument: dict[str, Any]) -> str | None:
    """The tensor that an input or output is, None if it is something else."""
    content = argument.get("as_tensor")
    return str(content["name"]) if content else None


def _step(node: dict[str, Any], shapes: dict[str, Shape | None]) -> Step:
    stack = node["metadata"].get("nn_module_stack", "").split(";")[-1].split(",")
    outputs = [name for output in node["outputs"] for name in _outputs(output)]
    fallback = str(node.get("name") or outputs[0])
    path, kind = (stack[1], stack[-1]) if len(stack) > 2 else ("", "")
    arguments = {str(given["name"]): _argument(given["arg"]) for given in node["inputs"]}
    places = tuple((name, shapes.get(name)) for name in outputs)
    return Step(operator_name(str(node["target"])), layer_name(path, kind, fallback), arguments, places)


def _outputs(output: dict[str, Any]) -> list[str]:
    if "as_tensors" in output:
        return [str(t["name"]) for t in output["as_tensors"]]
    return [_tensor_name(output) or ""]


def _argument(argument: dict[str, Any]) -> Any:
    ((kind, content),) = argument.items()
    match kind:
        case "as_none":
            return None
        case "as_tensor":
            return Tensor(str(content["name"]))
        case "as_tensors":
            return [Tensor(str(t["name"])) for t in content]
        case "as_optional_tensors":
            return [_argument(t) for t in content]
        case "as_sym_int":
            return _argument(content)
        case "as_sym_ints":
            return [_argument(n) for n in content]
        case "as_name":  # a size that is computed
            return Tensor(str(content))
        case "as_float":  # infinities are written as text
            return float(content)
        case "as_scalar_type":
            return DTYPES.get(content, "unknown")
    return content
