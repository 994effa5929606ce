"""Importing a feed-forward network from a Keras file, without Keras."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from re import sub
from typing import Any

import numpy as np

from converters.importers.keras_call import Layer, Place, custom
from converters.importers.keras_file import Source, read
from converters.importers.keras_layers import check, convert
from converters.importers.layout import Builder, Stream, listed, unique
from converters.importers.onnx_call import NotKnown, Refused
from neuro.errors import BadInput, Unsupported
from neuro.graph import Graph
from neuro.layers import Shape

MODELS = ("Sequential", "Functional", "Model")
"""Classes of networks whose structure the file states."""
DEPTH = 16
"""How deep networks and arguments may be nested."""
DAMAGE = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError)
"""What reading a configuration of other types and sizes than Keras writes raises."""
REMEDY = "Replace them in the network and train it again."


def load(path: str | Path) -> Graph:
    """The network in an `.h5` or `.keras` file as a float graph named after the file; layers keep their names.

    The input has the shape that the file states, channels last; inner layers have their channels first. Functions
    that a layer applies to its result follow as `NAME_activation`; layers that change nothing are left out.

    Raises:
        BadInput: the file cannot be used: see `converters.importers.keras_file.read`.
        Unsupported: layers that nothing here stands for, all of them listed.
    """
    source = read(path)
    with np.errstate(all="ignore"):  # what overflows is reported by Graph, with the layer's name
        walk = _Walk(source)
        try:
            kind, config = _entry(source.config)
            if kind not in MODELS or custom(source.config.get("module"), None):
                raise Unsupported(
                    f"{source.file}: a network of class {kind[:40]!r} keeps its structure in code, which is never "
                    "run; build it with keras.Sequential or keras.Model(inputs, outputs)."
                )
            output = walk.network(kind, config, None, _path(source, ""), "", 0)
        except Refused as refusal:
            raise BadInput(f"{source.file} has {refusal}. Save a network of one input and one output.") from None
        except DAMAGE as error:
            raise _malformed(source.file, "its configuration", error) from None
        if walk.problems:
            raise Unsupported(listed(source.file, walk.problems, REMEDY))
        if walk.build is None or output is None:
            raise BadInput(f"{source.file}: its output does not depend on an input; save the model again.")
        return walk.build.graph(Path(path).stem, output, {}, REMEDY)


def _malformed(file: str, where: str, error: Exception) -> BadInput:
    text = str(error).split("\n")[0][:300].rstrip(".")
    return BadInput(f"{file}: {where}: {text or type(error).__name__}; save the model again.")


def _entry(spec: Any) -> tuple[str, Any]:
    if not isinstance(spec, Mapping) or not isinstance(spec.get("class_name"), str):
        raise ValueError(f"a layer's description {str(spec)[:60]!r} names no class")
    return spec["class_name"], spec.get("config")


def _path(source: Source, path: str) -> str:
    """The folder of a network's layers; older versions call it otherwise."""
    first = f"{path}/layers".strip("/")
    old = f"{path}/_layer_checkpoint_dependencies".strip("/")
    return old if source.native and source.has(old) else first


@dataclass(frozen=True)
class _Step:
    """One layer of a network: its description, and the layers that it reads."""

    name: str
    spec: Mapping[str, Any]
    inputs: tuple[str, ...]
    refusal: str = ""


@dataclass
class _Walk:
    """The state of an import: the graph in the making and the refused layers (operator, name, reason)."""

    source: Source
    build: Builder | None = None
    problems: list[tuple[str, str, str]] = field(default_factory=list)

    def network(
        self, kind: str, config: Any, given: Sequence[Stream | None] | None, path: str, outer: str, depth: int
    ) -> Stream | None:
        """What a network gives for the streams `given` (None: it is the outermost); None where that is not known.

        path: the folder of its layers' weights in a `.keras` file; outer: the name of the outermost network that
        holds it, with a slash behind, empty for the outermost itself.
        """
        if depth > DEPTH:
            raise ValueError(f"networks are nested deeper than {DEPTH}")
        steps, entrances, exits = _sequence(config) if kind == "Sequential" else _functional(config)
        if len(entrances) != (1 if given is None else len(given)) or len(exits) != 1:
            raise Refused(f"{len(entrances)} inputs and {len(exits)} outputs; only one of each")
        values: dict[str, Stream | None] = {}
        folders = _folders(steps, path)
        for step in _in_order(steps, exits[0]):
            if step.name in entrances:
                values[step.name] = self._entrance(step) if given is None else given[entrances.index(step.name)]
                continue
            inputs = [values[i] for i in step.inputs]
            values[step.name] = self._layer(step, inputs, folders[step.name], outer, depth)
        return values[exits[0]]

    def _entrance(self, step: _Step) -> Stream | None:
        config = step.spec.get("config", {})
        if config.get("sparse") or config.get("ragged"):
            self.problems.append(("InputLayer", step.name, "a sparse or ragged input"))
        stated = config.get("batch_shape", config.get("batch_input_shape"))
        self.build = Builder(step.name, _sample_shape(self.source.file, step.name, stated))
        return self.build.entrance

    def _layer(
        self, step: _Step, inputs: Sequence[Stream | None], folder: str, outer: str, depth: int
    ) -> Stream | None:
        kind, config = _entry(step.spec)
        name = f"{outer}{step.name}"
        try:
            if step.refusal:
                raise Refused(step.refusal)
            if custom(step.spec.get("module"), step.spec.get("registered_name")):
                raise Refused("a custom layer, whose code is never run")
            if kind in MODELS:
                inner = _path(self.source, folder)
                return self.network(kind, config, inputs, inner, f"{name}/", depth + 1)
            if not isinstance(config, Mapping):
                raise ValueError(f"its options are a {type(config).__name__}")
            top = outer.split("/")[0] if outer else step.name
            layer = Layer(kind, name, config, str(step.spec.get("module")), self.source, Place(folder, top, step.name))
            check(layer)
            known = [i for i in inputs if i is not None]
            if self.build is None or len(known) < len(inputs):
                return None
            return convert(self.build, layer, known)
        except NotKnown:
            return None
        except Refused as refusal:
            self.problems.append((kind, name, str(refusal)))
            return None
        except DAMAGE as error:
            raise _malformed(self.source.file, f"layer {name!r} ({kind})", error) from None


def _sample_shape(file: str, name: str, stated: Any) -> Shape:
    where = f"{file}: input {name!r}"
    if not isinstance(stated, list) or len(stated) < 2 or len(stated) > 8:
        raise BadInput(f"{where} states no shape with a batch and 1 to 7 axes more; save it with keras.Input(shape).")
    batch, *sample = stated
    if batch not in (None, 1):
        raise BadInput(f"{where} has a batch of {batch}; save the model with an open batch.")
    if any(type(n) is not int or n < 1 for n in sample):
        raise BadInput(f"{where} has the shape {sample}; save the model with fixed sizes, keras.Input(shape).")
    return tuple(sample)


def _specs(config: Any) -> list[Mapping[str, Any]]:
    layers = config.get("layers") if isinstance(config, Mapping) else config
    if not isinstance(layers, list) or not layers:
        raise ValueError("a network without a list of layers")
    for spec in layers:
        _entry(spec)
    return layers


def _sequence(config: Any) -> tuple[list[_Step], list[str], list[str]]:
    """Each layer reads the one before; the input is the first, or stated by it."""
    specs = _specs(config)
    if specs[0]["class_name"] != "InputLayer":
        shape = None
        if isinstance(config, Mapping):
            shape = config.get("build_input_shape")
        first = specs[0].get("config")
        if isinstance(first, Mapping):
            shape = first.get("batch_input_shape", first.get("batch_shape", shape))
            if shape is None and specs[0]["class_name"] in MODELS:
                inner = _specs(first)[0].get("config")
                shape = inner.get("batch_shape", inner.get("batch_input_shape")) if isinstance(inner, Mapping) else None
        name = unique("input", {_name(s) for s in specs})
        specs = [{"class_name": "InputLayer", "config": {"name": name, "batch_shape": shape}}, *specs]
    steps: list[_Step] = []
    for spec in specs:
        inputs = (steps[-1].name,) if steps else ()
        steps.append(_Step(_name(spec), spec, inputs))
    return _distinct(steps), [steps[0].name], [steps[-1].name]


def _name(spec: Mapping[str, Any]) -> str:
    config = spec.get("config")
    name = spec.get("name") or (config.get("name") if isinstance(config, Mapping) else None)
    if not isinstance(name, str) or not name or len(name) > 1000:
        raise ValueError(f"a layer of class {spec.get('class_name')!r} has no name")
    return name


def _distinct(steps: list[_Step]) -> list[_Step]:
    if len({s.name for s in steps}) < len(steps):
        raise ValueError("two layers have one name")
    return steps


def _functional(config: Any) -> tuple[list[_Step], list[str], list[str]]:
    steps = []
    for spec in _specs(config):
        calls = spec.get("inbound_nodes", [])
        if not isinstance(calls, list):
            raise ValueError(f"inbound_nodes of {_name(spec)!r} are no list")
        inputs: list[str] = []
        refusal = f"it is used {len(calls)} times; only once" if len(calls) > 1 else ""
        for call in calls[:1]:
            given, extra = (call, {}) if not isinstance(call, Mapping) else (call.get("args"), call.get("kwargs"))
            rest = [*_references(given, inputs, 0), *_options(extra, inputs)]
            refusal = refusal or (f"it is called with {', '.join(rest)}"[:200] if rest else "")
        steps.append(_Step(_name(spec), spec, tuple(inputs), refusal))
    ends: list[list[str]] = []
    for key in ("input_layers", "output_layers"):
        ends.append([])
        if _references(config.get(key), ends[-1], 0):
            raise ValueError(f"{key} {str(config.get(key))[:60]}")
    return _distinct(steps), ends[0], ends[1]


def _references(value: Any, found: list[str], depth: int) -> list[str]:
    """Add the layers named in a call's arguments to `found`; what else is there comes back as text.

    Keras 2 writes [name, node, tensor, options], Keras 3 a tensor with its ``keras_history``.
    """
    if depth > DEPTH:
        raise ValueError(f"arguments are nested deeper than {DEPTH}")
    if value is None:
        return []
    if isinstance(value, Mapping) and value.get("class_name") == "__keras_tensor__":
        history = value["config"]["keras_history"]
        return _references(list(history[:3]), found, depth + 1)
    if isinstance(value, list | tuple):
        if value and isinstance(value[0], str):
            name, _, tensor, *options = [*value, 0, 0][: max(len(value), 3)]
            found.append(name)
            rest = [f"output {tensor} of {name!r}"] if tensor != 0 else []
            return [*rest, *(text for o in options for text in _options(o, found))]
        return [text for v in value for text in _references(v, found, depth + 1)]
    return [str(value)[:60]]


def _options(options: Any, found: list[str]) -> list[str]:
    """The same for a call's named arguments; `training=False` and `mask=None` say nothing."""
    if not isinstance(options, Mapping):
        return [] if options is None else [str(options)[:60]]
    rest = []
    for key, value in options.items():
        if key == "inputs":
            rest += _references(value, found, 1)
        elif value is not None and not (key == "training" and value is False):
            rest.append(f"{key}={str(value)[:60]}")
    return rest


def _in_order(steps: list[_Step], last: str) -> list[_Step]:
    """The layers that `last` depends on, each behind those it reads."""
    by_name = {s.name: s for s in steps}
    needed, waiting = set(), [last]
    while waiting:
        name = waiting.pop()
        if name not in by_name:
            raise ValueError(f"{name!r} is read, but there is no such layer")
        if name not in needed:
            needed.add(name)
            waiting += by_name[name].inputs
    try:
        order = list(TopologicalSorter({n: by_name[n].inputs for n in needed}).static_order())
    except CycleError:
        raise ValueError("its layers read each other in a circle") from None
    place = {s.name: i for i, s in enumerate(steps)}
    if all(place[i] < place[n] for n in needed for i in by_name[n].inputs):
        order = sorted(needed, key=lambda n: place[n])  # the file's own order, where it will do
    return [by_name[n] for n in order]


def _folders(steps: list[_Step], path: str) -> dict[str, str]:
    """Where each layer's weights lie in a `.keras` file: by class, numbered in the order of the file."""
    counts: dict[str, int] = {}
    folders = {}
    for step in steps:
        kind = sub(r"\W+", "", str(step.spec["class_name"]))
        kind = sub("([a-z])([A-Z])", r"\1_\2", sub("(.)([A-Z][a-z]+)", r"\1_\2", kind)).lower()
        number = counts.get(kind, -1) + 1
        counts[kind] = number
        folders[step.name] = f"{path}/{kind}_{number}" if number else f"{path}/{kind}"
    return folders
