"""Raw arrays of data sets: bundled, from the folder NEURO_DATA, downloaded, or in a file of the user's."""

import gzip
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pooch

from neuro.errors import BadInput

CALIBRATION = 1000
MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
MNIST_FILES = {
    "train-images-idx3-ubyte.gz": "sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "t10k-images-idx3-ubyte.gz": "sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
CIFAR10 = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR10_HASH = "md5:c32a1d4ab5d03f1284b67883e8d87530"


@dataclass(frozen=True, eq=False)
class Arrays:
    """Values as stored: x [item, ...] to be tested on, labels y [item] or None, x_calibration [item, ...]."""

    x: np.ndarray
    y: np.ndarray | None
    x_calibration: np.ndarray
    description: str


def digit_images() -> tuple[np.ndarray, np.ndarray]:
    """The 1,797 digits of scikit-learn: counts 0..16 as float32 [item, 1, 8, 8], labels int64 [item].

    The first `CALIBRATION` items are the training set, the others the test set.
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return np.asarray(images, np.float32).reshape(-1, 1, 8, 8), np.asarray(labels, np.int64)


def digits() -> Arrays:
    """The digits: 797 test items, calibration on the training items."""
    x, y = digit_images()
    description = "scikit-learn digits, 8x8 pixel counts 0..16, items from 1,000 on"
    return Arrays(x[CALIBRATION:], y[CALIBRATION:], x[:CALIBRATION], description)


def mnist(root: Path | None) -> Arrays:
    """MNIST in [0, 1], [item, 1, 28, 28]: from `root`/image/mnist where that exists, else downloaded."""
    folder = root / "image" / "mnist" if root else None
    images, test, labels = (
        idx(folder / name if folder and folder.is_dir() else fetch(MNIST + name, known))
        for name, known in MNIST_FILES.items()
    )
    description = "MNIST test set, pixel / 255"
    return Arrays(_unit(test[:, None]), labels, _unit(images[:CALIBRATION, None]), description)


def cifar10(root: Path | None) -> Arrays:
    """CIFAR-10 in [0, 1], [item, 3, 32, 32]: the lossless subset under `root`/image/cifar10, else downloaded."""
    path = root / "image" / "cifar10" / "cifar10_lossless_subset.npz" if root else None
    if path and path.is_file():
        with np.load(path, allow_pickle=False) as file:
            x, y, training = (file[key] for key in ("x_test", "y_test", "x_train"))
        x, training = x.transpose(0, 3, 1, 2), training[:CALIBRATION].transpose(0, 3, 1, 2)
    else:
        with tarfile.open(fetch(CIFAR10, CIFAR10_HASH)) as archive:
            x, y = records(_member(archive, "cifar-10-batches-bin/test_batch.bin"))
            training, _ = records(_member(archive, "cifar-10-batches-bin/data_batch_1.bin"))
    return Arrays(_unit(x), y, _unit(training[:CALIBRATION]), f"CIFAR-10, first {len(x):,} test items, pixel / 255")


def from_file(path: Path) -> Arrays:
    """Arrays `x`, and where present `y` and `x_calibration`, of an ``.npz`` or ``.h5`` file.

    Without `x_calibration` the first `CALIBRATION` items of `x` stand in for it, and the description says so.

    Raises:
        BadInput: no such file, another format, no `x`, objects instead of numbers (pickles are never loaded).
    """
    if not path.is_file():
        raise BadInput(f"{path}: no such file.")
    reader = {".npz": _npz, ".h5": _hdf5, ".hdf5": _hdf5}.get(path.suffix)
    if reader is None:
        raise BadInput(f"{path}: data are read from .npz, .h5 and .hdf5 files, not {path.suffix or 'this'}.")
    found = reader(path)
    if "x" not in found:
        raise BadInput(f"{path}: holds no array 'x'; save the test items as 'x', labels as 'y'.")
    calibration = found.get("x_calibration")
    note = "" if calibration is not None else f"; no x_calibration: calibrated on the first {CALIBRATION:,} items"
    x = found["x"]
    return Arrays(x, found.get("y"), x[:CALIBRATION] if calibration is None else calibration, f"{path.name}{note}")


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


def records(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [item, 3, 32, 32] and labels [item] of CIFAR-10's binary form: a label byte, then 3,072 pixels."""
    table = np.frombuffer(data, np.uint8).reshape(-1, 1 + 3 * 32 * 32)
    return table[:, 1:].reshape(-1, 3, 32, 32), table[:, 0]


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


def _unit(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32) / np.float32(255)


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise BadInput(f"{CIFAR10}: {name} is not a file.")
    return file.read()


_KEYS = ("x", "y", "x_calibration")


def _npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {key: file[key] for key in _KEYS if key in file}
    except (ValueError, OSError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise BadInput(f"{path}: not a readable .npz file of numbers: {error}") from None


def _hdf5(path: Path) -> dict[str, np.ndarray]:
    try:
        with h5py.File(path, "r") as file:
            items = {key: file[key] for key in _KEYS if key in file}
            return {key: item[()] for key, item in items.items() if isinstance(item, h5py.Dataset)}
    except (OSError, KeyError) as error:
        raise BadInput(f"{path}: not a readable HDF5 file: {error}.") from None
