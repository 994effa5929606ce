"""The networks that can be named, and the importer that a file's ending asks for."""

from pathlib import Path

from neuro.errors import BadInput, nearest
from neuro.graph import Graph

BUNDLED = {"digits-cnn": "digits"}
"""Bundled networks and the data set that each was trained for."""


def load(name: str, progress=None) -> Graph:
    """The bundled network `name`, or the one in an ``.onnx`` file, in the float vocabulary.

    Raises:
        BadInput: no such network or file. Unsupported: operators that cannot be represented, all of them listed.
    """
    if name in BUNDLED:
        from experiments.digits import digits_cnn

        return digits_cnn()
    path = Path(name)
    if path.suffix == ".onnx":
        from converters.from_onnx import load as from_onnx

        return from_onnx(path)
    if path.exists():
        raise BadInput(f"{path}: no importer for {path.suffix or 'a file without ending'!r}; export it to .onnx.")
    raise BadInput(f"unknown network {name!r}.{nearest(name, list(BUNDLED))} A path to an .onnx file works too.")


def default_data(name: str) -> str:
    """The data set that goes with a bundled network.

    Raises:
        BadInput: a file, which needs data of its own.
    """
    if name not in BUNDLED:
        raise BadInput(f"{name} needs data: give --data with a name (digits, mnist, cifar10) or an .npz or .h5 file.")
    return BUNDLED[name]
