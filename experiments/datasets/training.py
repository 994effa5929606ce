"""Labelled training items of a data set, apart from its test items."""

import os
from pathlib import Path

import numpy as np

from experiments.datasets.arrays import CALIBRATION, fetch, idx, labelled, members, place
from experiments.datasets.images import CIFAR10, GTSRB, MNIST, MNIST_FILES, digit_images
from neuro.errors import BadInput

MNIST_LABELS = "train-labels-idx1-ubyte.gz"
MNIST_LABELS_HASH = "sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
KNOWN = ("digits", "mnist", "cifar10", "gtsrb")
"""Data sets whose training items are read with their labels."""


def training_items(name: str, root: Path | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Items [item, ...] as `data.load` stores those of the data set `name`, and their classes [item].

    Of a file the arrays `x_train` and `y_train`. root: as for `data.load`.

    Raises:
        BadInput: a data set without labelled training items, or one that cannot be read.
    """
    if root is None and os.environ.get("NEURO_DATA"):
        root = Path(os.environ["NEURO_DATA"])
    match name:
        case "digits":
            x, y = digit_images()
            return x[:CALIBRATION], y[:CALIBRATION]
        case "mnist":
            return _mnist(root)
        case "cifar10":
            return _cifar10(root)
        case "gtsrb":
            return _pair(place(root, "driving/gtsrb_32x32.npz", GTSRB))
    if Path(name).is_file():
        return labelled(Path(name))
    raise BadInput(
        f"{name}: no labelled training items are known, and test items are not for training. {', '.join(KNOWN)} have "
        "them, and files with x_train and y_train; or compress without --finetune."
    )


def _mnist(root: Path | None) -> tuple[np.ndarray, np.ndarray]:
    folder = root / "image" / "mnist" if root else None
    files = {"train-images-idx3-ubyte.gz": MNIST_FILES["train-images-idx3-ubyte.gz"], MNIST_LABELS: MNIST_LABELS_HASH}
    x, y = (
        idx(folder / name if folder and folder.is_dir() else fetch(MNIST + name, known))
        for name, known in files.items()
    )
    return x[:, None].astype(np.float32) / np.float32(255), y.astype(np.int64)


def _cifar10(root: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """The lossless training images of the subset."""
    x, y = _pair(place(root, "image/cifar10/cifar10_lossless_subset.npz", CIFAR10))
    return x.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255), y


def _pair(path: Path) -> tuple[np.ndarray, np.ndarray]:
    x, y = members(path, {"x_train": ("n", 32, 32, 3), "y_train": ("n",)})
    return x, y.astype(np.int64)
