"""Importing a feed-forward network from PyTorch, as a module or as a .pt2 file.

A module is exported by `torch.export`, so that it does not matter how it was written: `nn.ReLU()`, `F.relu(x)`,
`x.relu()` and `x.clamp(min=0)` are the same layer. From Python::

    graph = from_module(module, shape=(3, 32, 32))

or once, where PyTorch is, and then anywhere, without it::

    module.eval()
    program = torch.export.export(module, (torch.zeros(1, 3, 32, 32),))
    torch.export.save(program, "network.pt2")

    graph = load("network.pt2")
"""

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from converters.importers import torch_recurrent
from converters.importers.builder import Builder
from converters.importers.chain import NotKnown, Refused, Unknown, listed
from converters.importers.pointwise import Expression, View
from converters.importers.torch_call import Call
from converters.importers.torch_constants import TOGETHER, computed
from converters.importers.torch_file import read
from converters.importers.torch_nodes import SAME, convert
from converters.importers.torch_program import Program, Step, Tensor, exported
from converters.importers.torch_recurrent import CELLS, LAYERS, States
from converters.importers.torch_shapes import MOVING
from neuro.errors import BadInput, printable
from neuro.graph import Graph
from neuro.layers import Shape

RECURRENT = (*CELLS, *LAYERS)
"""Operators that give more than one tensor which may all be used."""
REMEDY = "Replace them in the module and train it again, or leave them to the code around it."
"""What to do about refused layers."""


def from_module(module: Any, shape: Shape, name: str = "network", whole: bool = False) -> Graph:
    """A `torch.nn.Module` in evaluation mode as a float graph; layers are called as in `named_modules`.

    shape: of one sample; whole: the input is whole numbers (int64), as an embedding's.

    Raises:
        BadInput: PyTorch cannot export it, or it has not one input and one output.
        Unsupported: operators that no layer here stands for, all of them listed.
    """
    return converted(exported(module, tuple(shape), name, whole))


def load(path: str | Path) -> Graph:
    """The network in a .pt2 file, which `torch.export.save` wrote, as a float graph named after the file.

    PyTorch is not needed, and nothing in the file is executed or unpickled.

    Raises:
        BadInput: the file cannot be used: see `converters.importers.torch_file.read`.
        Unsupported: operators that no layer here stands for, all of them listed.
    """
    return converted(read(path))


def converted(program: Program) -> Graph:
    """The float graph of a program; constants are computed, layers that change nothing or reach no output dropped."""
    with np.errstate(all="ignore"):  # what overflows is reported by Graph, with the layer's name
        return _converted(program)


def _converted(program: Program) -> Graph:
    builder = Builder(program.input, program.shape)
    values: dict[str, Any] = {**program.constants, program.input: builder.input}
    live = _live(program)
    last = _before_copies(program)
    wanted = {program.output, *(name for step in live for name in _read(step))}
    aliases = _aliases(live)
    spent = 0
    for index, step in enumerate(live):
        for name, shape in step.outputs[1:]:
            values[name] = _assumed(builder, step, shape)
        name, shape = step.outputs[0]
        try:
            if step.op in RECURRENT and not any(isinstance(values[n], Unknown) for n in _read(step)):
                found = torch_recurrent.layers(Call(builder, step, values, False))
                values |= dict(zip((n for n, _ in step.outputs), found, strict=True))
                continue
            value = _value(builder, step, values, wanted, name == last)
            spent += value.nbytes if isinstance(value, np.ndarray) else 0
            if spent > TOGETHER:
                raise BadInput(f"{program.name}: its computed constants exceed {TOGETHER:,} bytes; export it again.")
            values[name] = value
            if step.op.endswith("_") and step.op not in SAME:
                _check_aliases(step, live[index + 1 :], aliases)
                values[step.arguments["self"].name] = values[name]
        except NotKnown:
            values[name] = _assumed(builder, step, shape)
        except Refused as refusal:
            builder.problems.append((step.op, step.layer, str(refusal)))
            for value in _streams(step, values):
                with suppress(Refused):  # for the reason that is listed already
                    builder.view(value)  # what is wrong with these is to be listed too
            values[name] = _assumed(builder, step, shape)
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            raise BadInput(
                f"{program.name}: layer {step.layer[:100]!r} ({printable(step.op, 100)}): {printable(error)}; its "
                "arguments do not fit, export it again."
            ) from None
    output = values[program.output]
    nodes = builder.finished(output) if isinstance(output, View | Expression) else ()
    if builder.problems:
        raise listed(program.name, builder.problems, REMEDY)
    if not nodes:
        raise BadInput(f"{program.name}: output {program.output!r} does not depend on the input; export it again.")
    return Graph(program.name, nodes)


def _value(builder: Builder, step: Step, values: dict[str, Any], wanted: set[str], last: bool) -> Any:
    given = [values[name] for name in _read(step)]
    if any(isinstance(v, Unknown) for v in given):
        raise NotKnown
    if step.op in ("new_zeros", "zeros_like"):  # of a tensor of which they take the kind alone
        return computed("zeros", {}, step.outputs[0][1])
    if any(isinstance(v, States) for v in given):
        return torch_recurrent.taken(Call(builder, step, values, last), next(v for v in given if isinstance(v, States)))
    if _streams(step, values):
        if any(name in wanted for name, _ in step.outputs[1:]):
            raise Refused("only its first output can be used, or all of its input")
        return convert(Call(builder, step, values, last))
    arguments = {k: values[v.name] if isinstance(v, Tensor) else v for k, v in step.arguments.items()}
    return computed(step.op, arguments, step.outputs[0][1])


def _streams(step: Step, values: dict[str, Any]) -> list[View | Expression]:
    """What a step reads of the tensors that are computed from the input."""
    return [v for name in _read(step) if isinstance(v := values[name], View | Expression)]


def _read(step: Step) -> list[str]:
    """The tensors that a step reads."""
    given = [v for a in step.arguments.values() for v in (a if isinstance(a, list) else [a])]
    return [v.name for v in given if isinstance(v, Tensor)]


def _live(program: Program) -> list[Step]:
    """The steps that the output depends on; those in place change what they read."""
    needed, live = {program.output}, []
    for step in reversed(program.steps):
        changed = _read(step)[:1] if step.op.endswith("_") else []
        if needed.intersection([*(name for name, _ in step.outputs), *changed]):
            live.append(step)
            needed.update(_read(step))
    return live[::-1]


def _before_copies(program: Program) -> str:
    """The tensor that reaches the output unchanged."""
    givers = {step.outputs[0][0]: step for step in program.steps}
    output = program.output
    while output in givers and givers[output].op in SAME and _read(givers[output]):
        output = _read(givers[output])[0]
    return output


def _aliases(live: list[Step]) -> dict[str, str]:
    """For each tensor that shares its values with an earlier one, the first of these."""
    roots: dict[str, str] = {}
    for step in live:
        if step.op in MOVING or (step.op in (*SAME, "to") and step.op != "clone") or step.op.endswith("_"):
            for name in _read(step)[:1]:
                roots |= {output: roots.get(name, name) for output, _ in step.outputs}
    return roots


def _check_aliases(step: Step, later: list[Step], roots: dict[str, str]) -> None:
    """Refuses a change in place that others, who share the values, would see."""
    own = step.arguments["self"].name
    same = {step.outputs[0][0], own}
    others = {n for s in later for n in _read(s)} - same
    outputs = {name for s in later for name, _ in s.outputs}
    root = roots.get(own, own)
    if seen := sorted(n for n in others - outputs if roots.get(n, n) == root):
        raise Refused(f"it changes in place what {', '.join(map(repr, seen))} shares; use the operator without inplace")


def _assumed(builder: Builder, step: Step, shape: Shape | None) -> View | Unknown:
    """What a refused step would have given, so that the walk can go on."""
    if shape is None or len(shape) < 2 or shape[0] != 1 or min(shape) < 1:
        return Unknown()
    return builder.placeholder(step.layer, shape[1:])
