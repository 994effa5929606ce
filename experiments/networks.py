"""The networks that can be named, and the importer that a file's ending and contents ask for."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from converters import network_file
from converters.network_file import Converted
from neuro.errors import BadInput, nearest
from neuro.file import missing
from neuro.graph import Graph

BUNDLED = {"digits-cnn": "digits"}
"""Bundled networks and the data set that each was trained for."""
ENDINGS = (".onnx", ".h5", ".hdf5", ".keras", ".tflite", ".pt2", ".nir", ".net")
"""Files that are read."""


@dataclass(frozen=True, eq=False)
class Source:
    """A network in the float vocabulary, the format of its file, and its integer form if the file brings one."""

    network: Graph
    format: str
    converted: Converted | None = None


def load(name: str) -> Graph:
    """The bundled network `name`, or the one in a file, in the float vocabulary.

    Raises:
        BadInput: no such network or file. Unsupported: operators that cannot be represented, all of them listed.
    """
    return open_network(name).network


def open_network(name: str) -> Source:
    """As `load`, with the format."""
    if name in BUNDLED:
        from experiments.datasets.digits import digits_cnn

        return Source(digits_cnn(), "bundled")
    path = Path(name)
    if path.suffix in ENDINGS and not path.is_file():
        raise BadInput(f"{path}: {missing(path)}.")
    if path.suffix in (".h5", ".hdf5") and network_file.is_network_file(path):
        converted = network_file.load(path)
        return Source(converted.network, "neuro", converted)
    if (found := _importer(path)) is not None:
        kind, importer = found
        network = importer(path)
        if isinstance(network, Converted):
            return Source(network.network, kind, network)
        return Source(network, kind)
    if path.exists():
        raise BadInput(
            f"{path}: no importer for {path.suffix or 'a file without ending'!r}; those are {', '.join(ENDINGS)}."
        )
    raise BadInput(f"unknown network {name!r}.{nearest(name, list(BUNDLED))} A path to a file works too.")


def default_data(name: str) -> str:
    """The data set that goes with a bundled network.

    Raises:
        BadInput: a file, which needs data of its own.
    """
    if name not in BUNDLED:
        raise BadInput(f"{name} needs data: give --data with a name (docs/data.md) or an .npz or .h5 file.")
    return BUNDLED[name]


def _importer(path: Path) -> tuple[str, Callable[[Path], Graph | Converted]] | None:
    """The format of a file and what reads it."""
    match path.suffix:
        case ".onnx":
            from converters.importers.from_onnx import load as from_onnx

            return "onnx", from_onnx
        case ".h5" | ".hdf5" | ".keras":
            from converters.importers.from_keras import load as from_keras

            return "keras", from_keras
        case ".tflite":
            from converters.importers.from_tflite import load as from_tflite

            return "tflite", from_tflite
        case ".pt2":
            from converters.importers.from_torch import load as from_torch

            return "torch", from_torch
        case ".nir":
            from converters.importers.nir_network import load as from_nir

            return "nir", from_nir
        case ".net":
            from converters.importers.from_lava import refused as from_lava

            return "lava", from_lava
    return None
