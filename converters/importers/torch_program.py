"""A PyTorch program: ATen operators in order, with their constants, whether exported just now or read from a file."""

import operator
import warnings
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from converters.importers.chain import LARGEST
from neuro.errors import BadInput
from neuro.layers import Shape


@dataclass(frozen=True)
class Tensor:
    """A tensor of the program, by name."""

    name: str


@dataclass(frozen=True, eq=False)
class Step:
    """One use of an operator.

    op: without library and overload (``conv2d``), or in full if it is not ATen's; layer: the module that does it, else
    the operator's own name; arguments: by the names of ATen's schema, tensors as `Tensor`, defaults left out; outputs:
    the tensors it gives and their shapes, batch included, None where unknown.
    """

    op: str
    layer: str
    arguments: dict[str, Any]
    outputs: tuple[tuple[str, Shape | None], ...]


@dataclass(frozen=True, eq=False)
class Program:
    """Steps in order, the constants they read, the one input and its shape per sample, and the output."""

    name: str
    input: str
    shape: Shape
    output: str
    steps: tuple[Step, ...]
    constants: dict[str, np.ndarray]


def layer_name(path: str, kind: str, fallback: str) -> str:
    """The path of a module if it is one of PyTorch's own, which does one thing; else `fallback`."""
    return path if path and kind.startswith("torch.nn.modules.") else fallback


def operator_name(target: str) -> str:
    """``conv2d`` from ``torch.ops.aten.conv2d.padding`` or ``aten::conv2d``; others stay as they are."""
    parts = target.removeprefix("torch.ops.").replace("::", ".").split(".")
    return parts[1] if parts[0] == "aten" and len(parts) > 1 else target


def exported(module: Any, shape: Shape, name: str, whole: bool = False) -> Program:
    """The program of a module in evaluation mode, for a batch of one sample of `shape`; the module is left as it is.

    whole: the input is int64, as an embedding's.

    Raises:
        BadInput: PyTorch cannot export it.
    """
    import torch  # pyright: ignore[reportMissingImports]

    training = {m: m.training for m in module.modules()}
    try:
        module.eval()
        example = torch.zeros((1, *shape), dtype=torch.int64 if whole else torch.float32)
        with torch.no_grad(), warnings.catch_warnings():
            # PyTorch's own use of what it deprecates
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
            warnings.filterwarnings(
                "ignore", r"The tensor attributes .*_flat_weights", UserWarning
            )  # of recurrent layers
            program = torch.export.export(module, (example,))
    except Exception as error:  # whatever the module itself or the exporter raises
        first = str(error).strip().split("\n")[0]
        raise BadInput(
            f"{name}: torch.export.export fails for an input of {[1, *shape]} ({type(error).__name__}: {first}); "
            "make the module run on such an input, without control flow that depends on values."
        ) from None
    finally:
        for part, mode in training.items():
            part.training = mode
    return from_exported(program, name)


def from_exported(program: Any, name: str) -> Program:
    """The steps of a `torch.export.ExportedProgram`.

    Raises:
        BadInput: more than one input or output, or an open size.
    """
    signature = program.graph_signature
    inputs, outputs_of_program = tuple(signature.user_inputs), tuple(signature.user_outputs)
    stored = {**program.state_dict, **program.constants}
    targets = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    targets |= signature.inputs_to_lifted_tensor_constants
    constants = {tensor: array_of(stored[target]) for tensor, target in targets.items()}
    steps: list[Step] = []
    shapes: dict[str, Shape | None] = {}
    for node in program.graph.nodes:
        value = node.meta.get("val")
        shapes[node.name] = _shape(value)
        if node.op != "call_function" or node.target is operator.getitem:
            continue
        schema = getattr(node.target, "_schema", None)
        names = (
            [f"argument_{i}" for i in range(len(node.args))] if schema is None else [a.name for a in schema.arguments]
        )
        op = str(node.target) if schema is None else operator_name(schema.name)
        arguments = dict(zip(names, node.args, strict=False)) | dict(node.kwargs)
        path, kind = list((node.meta.get("nn_module_stack") or {"": ("", "")}).values())[-1]
        kind = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
        outputs = ((node.name, _shape(value)),)
        if isinstance(value, list | tuple):  # each is taken out by a node of its own
            taken = {user.args[1]: user.name for user in node.users if user.target is operator.getitem}
            outputs = tuple((taken.get(i, f"{node.name}.{i}"), _shape(v)) for i, v in enumerate(value))
        plain = {k: _plain(v) for k, v in arguments.items()}
        steps.append(Step(op, layer_name(path, kind, node.name), plain, outputs))
    return checked(name, inputs, outputs_of_program, shapes, steps, constants)


def checked(
    name: str,
    inputs: tuple[Any, ...],
    outputs: tuple[Any, ...],
    shapes: dict[str, Shape | None],
    steps: list[Step],
    constants: dict[str, np.ndarray],
) -> Program:
    """The program, if it has one input of a fixed shape with batch 1, and one output.

    Raises:
        BadInput: it has not.
    """
    for kind, found in (("input", inputs), ("output", outputs)):
        if len(found) != 1 or not isinstance(found[0], str):
            raise BadInput(
                f"{name} has {len(found)} {kind}s; exactly one tensor is needed. Wrap the module in one whose forward "
                "takes and returns one tensor."
            )
    shape = shapes.get(inputs[0])
    if shape is None or len(shape) < 2 or shape[0] != 1:
        raise BadInput(
            f"{name}: its input has the shape {list(shape) if shape else 'of an open size'}; export it with an example "
            "of fixed size and a batch axis of one: torch.zeros(1, ...)."
        )
    if min(shape) < 1 or prod(shape) > LARGEST:
        raise BadInput(f"{name}: its input of {list(shape)} is empty or has more than {LARGEST:,} values.")
    made = {inputs[0], *constants, *(tensor for step in steps for tensor, _ in step.outputs)}
    if outputs[0] not in made or not all(step.outputs for step in steps):
        raise BadInput(f"{name}: no step gives {outputs[0]!r}, or one gives nothing; export it again.")
    return Program(name, inputs[0], shape[1:], outputs[0], tuple(steps), constants)


def array_of(tensor: Any) -> np.ndarray:
    """A tensor's values; half precisions that NumPy lacks become float32."""
    import torch  # pyright: ignore[reportMissingImports]

    tensor = tensor.detach().cpu()
    tensor = tensor.dequantize() if tensor.is_quantized else tensor
    return (tensor.to(torch.float32) if tensor.dtype == torch.bfloat16 else tensor).numpy().copy()


def _shape(value: Any) -> Shape | None:
    sizes = getattr(value, "shape", None)
    return tuple(sizes) if sizes is not None and all(type(n) is int for n in sizes) else None


def _plain(value: Any) -> Any:
    """An argument without PyTorch's own types."""
    from torch.fx import Node  # pyright: ignore[reportMissingImports]

    if isinstance(value, Node):
        return Tensor(value.name)
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value).removeprefix("torch.")
