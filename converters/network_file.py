"""A converted network on disk: HDF5 with the float network, its integer form and what its counts stand for."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

import h5py
import numpy as np
from pydantic import TypeAdapter, ValidationError

from converters.quantise import Quantised
from neuro.activations import Function
from neuro.errors import BadInput
from neuro.file import missing, replacing
from neuro.graph import Graph, Node
from neuro.layers import Op
from neuro.schedule import Code
from neuro.steps import Steps

FORMAT = "neuro network"
VERSION = 1
LIMIT = 4 * 2**30
"""Largest array in bytes that is read."""
KINDS = {kind.__name__: kind for kind in get_args(Op)}
"""Operators by name."""


@dataclass(frozen=True, eq=False)
class Converted:
    """A trained network and its integer form.

    method: how it was quantised; code: the spike code it is meant for; steps: of the rate code. An input count n
    stands for offset + gain n [*shape], n = 0..levels. origin: where it comes from, in words for whoever reads it.
    """

    network: Graph
    integer: Quantised
    method: str
    code: Code
    steps: int
    levels: int
    gain: np.ndarray
    offset: np.ndarray
    origin: Mapping[str, str]


def save(converted: Converted, path: Path) -> Path:
    """Writes the file whole or not at all, and gives its path back.

    Raises:
        BadInput: `path` cannot be written.
    """
    with replacing(path) as part, h5py.File(part, "w") as file:
        file.attrs["format"], file.attrs["version"] = FORMAT, VERSION
        file.attrs["about"] = json.dumps(
            {key: getattr(converted, key) for key in ("method", "code", "steps", "levels")}
            | {"origin": dict(converted.origin)}
        )
        file["gain"], file["offset"] = converted.gain, converted.offset
        _write(file.create_group("float"), converted.network)
        _write(file.create_group("integer"), converted.integer.graph)
        for kind, maps in (("scales", converted.integer.scales), ("origins", converted.integer.origins)):
            group = file.create_group(kind)
            for place, (name, values) in enumerate(maps.items()):
                _write_map(group, str(place), values)
                group[str(place)].attrs["population"] = name
    return path


def is_network_file(path: Path) -> bool:
    """Whether the file at `path` says that it is one of these."""
    try:
        with h5py.File(path, "r") as file:
            return file.attrs.get("format") == FORMAT
    except (OSError, RuntimeError, TypeError, UnicodeDecodeError):
        return False


def load(path: Path) -> Converted:
    """The converted network in the file at `path`. Nothing is executed; external and virtual data are not followed.

    Raises:
        BadInput: no such file, not one of these, another version, or damaged.
    """
    if not path.is_file():
        raise BadInput(f"{path}: {missing(path)}; give one that 'neuro convert --out' wrote.")
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT:
                raise ValueError("it is no converted network")
            if (version := int(file.attrs.get("version", 0))) != VERSION:
                raise ValueError(f"version {version}; this program reads {VERSION}")
            about = json.loads(_text(file, "about"))
            maps = [
                {_text(group[key], "population"): _map(group, key) for key in map(str, group)}
                for group in (_group(file, "scales"), _group(file, "origins"))
            ]
            return Converted(
                network=_read(_group(file, "float")),
                integer=Quantised(_read(_group(file, "integer")), *maps),
                method=str(about["method"]),
                code=TypeAdapter(Code).validate_python(about["code"]),
                steps=int(about["steps"]),
                levels=int(about["levels"]),
                gain=_array(file, "gain"),
                offset=_array(file, "offset"),
                origin={str(k): str(v) for k, v in about["origin"].items()},
            )
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError, RecursionError) as error:
        raise BadInput(f"{path}: not a readable converted network: {error}; convert the network again.") from None


def _write(group: h5py.Group, graph: Graph) -> None:
    group.attrs["name"] = graph.name
    for place, node in enumerate(graph.nodes):
        own = group.create_group(f"{place:05d}")
        plain = {}
        for field in fields(node.op):
            value = getattr(node.op, field.name)
            if isinstance(value, np.ndarray):
                own.create_dataset(field.name, data=value)
            elif isinstance(value, Steps):
                own.create_dataset(field.name, data=value.thresholds)
                plain[field.name] = {"name": value.name, "unit": value.unit, "start": value.start}
            elif isinstance(value, Function):
                plain[field.name] = {"name": value.name, "parameters": value.parameters}
            elif value is not None:
                plain[field.name] = value
        own.attrs["node"] = json.dumps(
            {"name": node.name, "op": type(node.op).__name__, "inputs": node.inputs, "fields": plain}
        )


def _read(group: h5py.Group) -> Graph:
    nodes = []
    for key in sorted(map(str, group)):
        own = _group(group, key)
        about = json.loads(_text(own, "node"))
        kind = KINDS[about["op"]]
        values: dict[str, Any] = {}
        for field in fields(kind):
            if field.type is Function and about["fields"][field.name]["name"] == "steps":
                told = about["fields"][field.name]
                values[field.name] = Steps(
                    thresholds=_array(own, field.name), unit=float(told["unit"]), start=float(told["start"])
                )
            elif field.name in own:
                values[field.name] = _array(own, field.name)
            elif field.name in about["fields"]:
                values[field.name] = _plain(field.type, about["fields"][field.name])
            elif np.ndarray in get_args(field.type):
                values[field.name] = None
        nodes.append(Node(str(about["name"]), kind(**values), tuple(str(i) for i in about["inputs"])))
    return Graph(_text(group, "name"), tuple(nodes))


def _plain(kind: Any, value: Any) -> Any:
    """A number, a tuple or a function as its field declares it."""
    if kind is Function:
        return Function(str(value["name"]), tuple(float(p) for p in value["parameters"]))
    if kind is np.ndarray:
        raise ValueError("an array is missing")
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise ValueError(str(error).splitlines()[0]) from None


def _write_map(group: h5py.Group, key: str, values: np.ndarray) -> None:
    """A map, with axes along which it does not vary kept once."""
    cut = np.asarray(values)
    for axis in range(cut.ndim):
        first = cut.take([0], axis=axis)
        cut = first if (cut == first).all() else cut
    group[key] = cut
    group[key].attrs["shape"] = values.shape


def _map(group: h5py.Group, key: str) -> np.ndarray:
    shape = tuple(int(n) for n in np.asarray(group[key].attrs["shape"]))
    if np.prod(shape, dtype=np.float64) * 8 > LIMIT:
        raise ValueError(f"{key} of shape {shape} exceeds {LIMIT // 2**30} GiB")
    return np.broadcast_to(_array(group, key), shape)


def _text(item: Any, key: str) -> str:
    value = item.attrs[key]
    if not isinstance(value, str):
        raise ValueError(f"{key} is no text")
    return value


def _group(parent: h5py.Group, key: str) -> h5py.Group:
    found = parent[key] if isinstance(parent.get(key, getlink=True), h5py.HardLink) else None
    if not isinstance(found, h5py.Group):
        raise ValueError(f"{key} is no group of the file")
    return found


def _array(parent: h5py.Group, key: str) -> np.ndarray:
    found = parent[key] if isinstance(parent.get(key, getlink=True), h5py.HardLink) else None
    if not isinstance(found, h5py.Dataset) or found.is_virtual or found.external:
        raise ValueError(f"{key} is no array of the file")
    if found.dtype.kind not in "iuf" or found.size * found.dtype.itemsize > LIMIT:
        raise ValueError(f"{key} of {found.dtype} {found.shape} is no array of numbers below {LIMIT // 2**30} GiB")
    return np.asarray(found[()])
