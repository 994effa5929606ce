"""Data sets of images: bundled, from the folder NEURO_DATA, or downloaded."""

import tarfile
from pathlib import Path

import numpy as np

from experiments.datasets.arrays import CALIBRATION, Arrays, fetch, idx, members, place, spread
from neuro.errors import BadInput

MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
MNIST_FILES = {
    "train-images-idx3-ubyte.gz": "sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "t10k-images-idx3-ubyte.gz": "sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
CIFAR10 = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR10_HASH = "md5:c32a1d4ab5d03f1284b67883e8d87530"
GTSRB = "https://benchmark.ini.rub.de/gtsrb_dataset.html"
DEEPPICAR = "https://github.com/dctian/DeepPiCar"
FIRST_FRAMES = 50


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
        shapes = {"x_test": ("n", 32, 32, 3), "y_test": ("n",), "x_train": ("m", 32, 32, 3)}
        x, y, training = members(path, shapes)
        x, training = x.transpose(0, 3, 1, 2), training[:CALIBRATION].transpose(0, 3, 1, 2)
    else:
        with tarfile.open(fetch(CIFAR10, CIFAR10_HASH)) as archive:
            x, y = records(_member(archive, "cifar-10-batches-bin/test_batch.bin"))
            training, _ = records(_member(archive, "cifar-10-batches-bin/data_batch_1.bin"))
    return Arrays(_unit(x), y, _unit(training[:CALIBRATION]), f"CIFAR-10, first {len(x):,} test items, pixel / 255")


def gtsrb(root: Path | None) -> Arrays:
    """German traffic signs, whole pictures as bytes 0..255, [item, 32, 32, 3]: `root`/driving/gtsrb_32x32.npz."""
    path = place(root, "driving/gtsrb_32x32.npz", GTSRB)
    shapes = {"x_test": ("n", 32, 32, 3), "y_test": ("n",), "x_train": ("m", 32, 32, 3)}
    x, y, training = members(path, shapes)
    description = f"GTSRB, {len(x):,} test images of 32x32 pixels 0..255; calibration: training images, evenly spaced"
    return Arrays(x, y, training[spread(len(training))], description, largest=255)


def deeppicar(root: Path | None) -> Arrays:
    """Lane pictures of a model car and its steering angle, bytes [item, 66, 200, 3], targets in degrees.

    From `root`/driving/deeppicar_lane_150.npz. The frames are one drive, where neighbours look alike: split by time.
    """
    path = place(root, "driving/deeppicar_lane_150.npz", DEEPPICAR)
    x, angle = members(path, {"x": ("n", 66, 200, 3), "angle": ("n",)})
    description = (
        f"DeepPiCar lane frames from {FIRST_FRAMES} on, YUV pixels 0..255, steering angle (90 = straight on); "
        f"calibration: the first {FIRST_FRAMES} frames"
    )
    test = slice(FIRST_FRAMES, None)
    return Arrays(x[test], angle[test].astype(np.float64), x[:FIRST_FRAMES], description, largest=255, unit="degree")


def records(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [item, 3, 32, 32] and labels [item] of CIFAR-10's binary form: a label byte, then 3,072 pixels."""
    table = np.frombuffer(data, np.uint8).reshape(-1, 1 + 3 * 32 * 32)
    return table[:, 1:].reshape(-1, 3, 32, 32), table[:, 0]


def _unit(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32) / np.float32(255)


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise BadInput(f"{CIFAR10}: {name} is not a file.")
    return file.read()
