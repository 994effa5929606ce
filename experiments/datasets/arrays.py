"""Raw arrays of data sets, and the files they lie in: .npz, HDF5, IDX, downloads."""

import gzip
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError

import h5py
import numpy as np
import pooch

from neuro.errors import BadInput, printable
from neuro.file import missing

CALIBRATION = 1000
LARGEST_FILE = 4 * 2**30
"""Bytes that the arrays of one file may take once unpacked."""

DAMAGED = (
    OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, OverflowError, MemoryError,
    struct.error, zipfile.BadZipFile, zlib.error, SyntaxError, TokenError, RecursionError,
)  # fmt: skip
"""What readers of packed files raise on files that are damaged, encrypted or not what their name says."""


@dataclass(frozen=True, eq=False)
class Arrays:
    """Values as stored: x [item, ...] to be tested on, y [item] or [item, output] or None, x_calibration [item, ...].

    y: classes where it holds whole numbers, else real targets, whose unit is `unit`.
    largest: the largest whole number that a value can be, where the items at hand need not hold it.
    """

    x: np.ndarray
    y: np.ndarray | None
    x_calibration: np.ndarray
    description: str
    largest: int | None = None
    unit: str = ""


def spread(items: int) -> np.ndarray:
    """Indices of up to `CALIBRATION` of `items` items, evenly spaced: files are often sorted by class."""
    chosen = min(items, CALIBRATION)
    return np.arange(chosen) * items // max(chosen, 1)


def ranks(y: np.ndarray) -> np.ndarray:
    """Position of each item among those of its class, from 0, for labels y [item]."""
    order = np.argsort(y, kind="stable")
    found = np.empty(len(y), np.int64)
    found[order] = np.arange(len(y)) - np.searchsorted(y[order], y[order])
    return found


def mixed(y: np.ndarray) -> np.ndarray:
    """Order of items sorted by class in which the first few are of all classes: one of each, then a second of each."""
    return np.lexsort((y, ranks(y)))


def place(root: Path | None, name: str, source: str) -> Path:
    """The file `name` in the folder of data sets `root`. source: where its official files are.

    Raises:
        BadInput: no folder, or no such file in it.
    """
    if root is not None and (root / name).is_file():
        return root / name
    raise BadInput(
        f"{'NEURO_DATA names no folder of data sets' if root is None else f'{root} holds no {name}'}. "
        f"Put {name} (docs/data.md says what it holds; official files: {source}) in a folder and name that with "
        "NEURO_DATA, or give your own .npz or .h5 file."
    )


def members(path: Path, shapes: Mapping[str, tuple[int | str, ...]]) -> list[np.ndarray]:
    """The named arrays of an ``.npz`` file, whole numbers or strings; equal letters in `shapes` are equal lengths.

    Raises:
        BadInput: damaged, or an array that is missing, of another shape or of another kind.
    """
    found = _npz(path, shapes)
    sizes: dict[str, int] = {}
    for key, shape in shapes.items():
        if key not in found:
            raise BadInput(f"{path}: holds no array {key!r}.")
        array = found[key]
        if array.ndim == len(shape):
            sizes = {n: size for n, size in zip(shape, array.shape, strict=True) if isinstance(n, str)} | sizes
        wanted = tuple(sizes.get(n, n) if isinstance(n, str) else n for n in shape)
        if array.shape != wanted or array.dtype.kind not in "iuU":
            raise BadInput(f"{path}: {key} is {array.dtype} of shape {array.shape}; whole numbers {wanted} expected.")
    return [found[key] for key in shapes]


def from_file(path: Path) -> Arrays:
    """Arrays `x`, and where present `y` and `x_calibration`, of an ``.npz`` or ``.h5`` file.

    Without `x_calibration` the first `CALIBRATION` items of `x` stand in for it, and the description says so.

    Raises:
        BadInput: no such file, another format, no `x`, objects instead of numbers (pickles are never loaded).
    """
    if not path.is_file():
        raise BadInput(f"{path}: {missing(path)}.")
    reader = {".npz": _npz, ".h5": _hdf5, ".hdf5": _hdf5}.get(path.suffix)
    if reader is None:
        raise BadInput(f"{path}: data are read from .npz, .h5 and .hdf5 files, not {path.suffix or 'this'}.")
    found = reader(path, ("x", "y", "x_calibration"))
    if "x" not in found:
        raise BadInput(f"{path}: holds no array 'x'; save the test items as 'x', labels or targets as 'y'.")
    calibration = found.get("x_calibration")
    x = found["x"]
    if x.ndim == 0:
        raise BadInput(f"{path}: x is a single number; it needs at least one item and one value each: [item, value].")
    if calibration is not None:
        return Arrays(x, found.get("y"), calibration, path.name)
    first = x[:CALIBRATION]
    items = f"{len(first):,} items" if len(first) > 1 else "item"
    note = f"no x_calibration: calibrated on the first {items}"
    return Arrays(x, found.get("y"), first, f"{path.name}; {note}")


def labelled(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Arrays `x_train` [item, ...] and `y_train` [item], whole numbers from 0 on, of an ``.npz`` or ``.h5`` file.

    Raises:
        BadInput: missing, of another kind, or of lengths that differ.
    """
    reader = {".npz": _npz, ".h5": _hdf5, ".hdf5": _hdf5}.get(path.suffix)
    found = {} if reader is None else reader(path, ("x_train", "y_train"))
    if len(found) < 2:
        raise BadInput(
            f"{path}: holds no x_train and y_train, and test items are not for training. Save labelled training items "
            "under these names, or compress without --finetune."
        )
    x, y = found["x_train"], found["y_train"]
    if x.dtype.kind not in "biuf" or x.ndim < 2 or not x.size or not np.isfinite(x.astype(np.float32)).all():
        raise BadInput(f"{path}: x_train is {x.dtype} of shape {x.shape}; items of finite real numbers are expected.")
    if y.shape != x.shape[:1] or y.dtype.kind not in "iuf":
        raise BadInput(f"{path}: y_train is {y.dtype} of shape {y.shape}; a whole number from 0 on for each item.")
    if len(wrong := np.flatnonzero(~((y >= 0) & (np.floor(y) == y)))) or y.dtype.kind == "f":
        told = f"y_train[{wrong[0]}] is {y[wrong[0]]}" if len(wrong) else f"y_train is {y.dtype}"
        raise BadInput(f"{path}: {told}; a class is a whole number from 0 on.")
    return x, y.astype(np.int64)


def idx(path: Path) -> np.ndarray:
    """The array in a gzipped IDX file of bytes.

    Raises:
        BadInput: missing, damaged, or of another element type.
    """
    try:
        data = gzip.decompress(path.read_bytes())
        if data[:3] != b"\0\0\x08":
            raise ValueError(f"starts with {data[:3]!r}, not with the mark of an IDX file of bytes")
        shape = tuple(np.frombuffer(data, ">u4", count=data[3], offset=4).tolist())
        return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise BadInput(f"{path}: not a readable gzipped IDX file: {error}.") from None


def unzipped(path: Path, most: int) -> dict[str, bytes]:
    """Name and content of every file in a zip archive, each of at most `most` bytes.

    Raises:
        BadInput: missing, damaged, or a larger file in it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.file_size > most:
                    raise BadInput(f"{path}: {info.filename} takes {info.file_size:,} bytes; the limit is {most:,}.")
            return {name: archive.read(name) for name in archive.namelist()}
    except DAMAGED as error:
        raise BadInput(f"{path}: not a readable zip archive: {printable(error)}.") from None


def fetch(url: str, known: str, cache: Path | None = None) -> Path:
    """The file at `url` in the user's cache, downloaded once; `known` is its hash.

    Raises:
        BadInput: unreachable, or not the file that was expected.
    """
    try:
        name = url.rsplit("/", 1)[-1]
        return Path(pooch.retrieve(url, known, fname=name, path=cache or pooch.os_cache("neuro")))
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{url}: cannot be downloaded: {error}. Name a folder that has it with NEURO_DATA, "
            "or give your own .npz or .h5 file."
        ) from None


def _npz(path: Path, keys: Iterable[str]) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(info.file_size for info in archive.infolist())
        if size > LARGEST_FILE:
            raise ValueError(f"its arrays take {size:,} bytes; the limit is {LARGEST_FILE:,}")
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {key: file[key] for key in keys if key in file}
    except DAMAGED as error:
        raise BadInput(f"{path}: not a readable .npz file of numbers: {printable(error)}") from None


def _hdf5(path: Path, keys: Iterable[str]) -> dict[str, np.ndarray]:
    try:
        with h5py.File(path, "r") as file:
            items = {key: file[key] for key in keys if key in file}
            arrays = {key: item for key, item in items.items() if isinstance(item, h5py.Dataset)}
            size = sum(array.nbytes for array in arrays.values())
            if size > LARGEST_FILE:
                raise ValueError(f"its arrays take {size:,} bytes; the limit is {LARGEST_FILE:,}")
            return {key: array[()] for key, array in arrays.items()}
    except DAMAGED as error:
        raise BadInput(f"{path}: not a readable HDF5 file: {error}.") from None
