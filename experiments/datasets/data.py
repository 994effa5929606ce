"""Loading a data set by name or from a file, checked, with its own range of input counts."""

import os
import tomllib
from hashlib import sha256
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from experiments.datasets import events, images, recordings, sentences
from experiments.datasets.arrays import Arrays, from_file
from experiments.datasets.dataset import DataSet as DataSet
from experiments.datasets.dataset import Preprocessing as Preprocessing
from experiments.datasets.dataset import coarsen as coarsen
from experiments.datasets.dataset import fit as fit
from experiments.datasets.dataset import guess_layout
from experiments.datasets.dataset import preprocess as preprocess
from experiments.datasets.dataset import resize as resize
from experiments.datasets.dataset import take as take
from experiments.datasets.text import Encoding, Texts, encode_texts, encoding
from neuro.errors import BadInput, nearest

KNOWN = (
    "digits", "mnist", "cifar10", "gtsrb", "deeppicar", "ecg17", "kws01", "fsdd", "nmnist", "braille",
    "sst2", "trec", "sms_spam",
)  # fmt: skip
DEFAULT_LEVELS = 255
LARGEST = 2**24
AT_ONCE = 64  # items, so that what is computed of them stays in the cache


def load(name: str | Path, root: Path | None = None, by: Encoding | None = None) -> DataSet:
    """The data set `name`: one of `KNOWN` (docs/data.md), or the path of an ``.npz`` or ``.h5`` file.

    root: folder of data sets; by default the one that the environment variable NEURO_DATA names, if any. by:
    turns words into ids where the set holds texts (`encoding_of`).

    Counts: integers, whole floats and multiples of 1/255 in [0, 1] keep their own steps. Other floats get 255 levels
    over the range of the calibration items.

    Raises:
        BadInput: an unknown name, an unreadable file, arrays that are empty, of wrong shapes or not finite, or texts
        without an encoding.
    """
    found = raw(name, root)
    if isinstance(found, Texts):
        if by is None:
            raise BadInput(
                f"{name} holds texts; say how the network reads them in a file NETWORK.input.toml beside it:\n"
                '[text]\nvocabulary = "vocab.txt"\nlength = 256\n(see docs/data.md)'
            )
        found = encode_texts(found, by)
    return from_arrays(Path(name).name, found)


def raw(name: str | Path, root: Path | None = None) -> Arrays | Texts:
    """The data set `name` as stored: see `load`, which also raises the same."""
    if root is None and os.environ.get("NEURO_DATA"):
        root = Path(os.environ["NEURO_DATA"])
    match str(name):
        case "digits":
            return images.digits()
        case "mnist":
            return images.mnist(root)
        case "cifar10":
            return images.cifar10(root)
        case "gtsrb":
            return images.gtsrb(root)
        case "deeppicar":
            return images.deeppicar(root)
        case "ecg17":
            return recordings.ecg17(root)
        case "kws01":
            return recordings.kws01(root)
        case "fsdd":
            return recordings.fsdd(root)
        case "nmnist":
            return events.nmnist(root)
        case "braille":
            return events.braille(root)
        case "sst2":
            return sentences.sst2(root)
        case "trec":
            return sentences.trec(root)
        case "sms_spam":
            return sentences.sms_spam(root)
        case text if Path(text).suffix or os.sep in text or Path(text).exists():
            return from_file(Path(text))
        case text:
            raise BadInput(f"unknown data set {text!r}.{nearest(text, list(KNOWN))} An .npz or .h5 file works too.")


def encoding_of(network: Path, options: Preprocessing) -> Encoding | None:
    """How the file `network` reads text, by [text] of its preprocessing `options`; None where there is none.

    Raises:
        BadInput: see `experiments.datasets.text.encoding`.
    """
    return None if options.text is None else encoding(network, options.text)


def from_arrays(name: str, found: Arrays) -> DataSet:
    """A `DataSet` of raw arrays, checked.

    Raises:
        BadInput: naming the array and the fault.
    """
    check(name, found)
    levels, step, origin = grid(name, found.x, found.x_calibration, found.largest)
    real = found.y is not None and found.y.dtype.kind == "f"
    shape = found.x.shape[1:]
    every = (1,) * len(shape)
    return DataSet(
        name=name,
        x=found.x.astype(np.float32),
        y=None if found.y is None or real else found.y.astype(np.int64),
        x_calibration=found.x_calibration.astype(np.float32),
        levels=levels,
        step=step,
        origin=origin,
        factor=np.ones(every),
        shift=np.zeros(every),
        layout=guess_layout(shape),
        description=found.description,
        sha256=_digest(found),
        targets=found.y.astype(np.float64).reshape(len(found.y), -1) if found.y is not None and real else None,
        unit=found.unit,
    )


def check(name: str, found: Arrays) -> None:
    """Refuse what cannot be used.

    Raises:
        BadInput: empty, not numbers, NaN or infinite (the first place is named), shapes or lengths that disagree.
    """
    for key, array in (("x", found.x), ("x_calibration", found.x_calibration)):
        if array.dtype.kind not in "biuf":
            raise BadInput(f"{name}: {key} holds {array.dtype}; only real numbers can be used.")
        if array.ndim < 2 or array.size == 0:
            raise BadInput(f"{name}: {key} has shape {array.shape}; it needs at least one item and one value each.")
        with np.errstate(over="ignore"):
            bad = np.argwhere(~np.isfinite(array.astype(np.float32)))
        if len(bad):
            place = tuple(bad[0].tolist())
            raise BadInput(
                f"{name}: {key}{list(place)} is {array[place]}, the first of {len(bad):,} NaN or infinite value(s) "
                "in float32. Repair or leave out these items."
            )
    if found.x.shape[1:] != found.x_calibration.shape[1:]:
        raise BadInput(
            f"{name}: items of x have shape {found.x.shape[1:]}, those of x_calibration "
            f"{found.x_calibration.shape[1:]}; they must agree."
        )
    if found.y is None:
        return
    if found.y.dtype.kind == "f":
        _check_targets(name, found.y, len(found.x))
        return
    if found.y.shape != found.x.shape[:1]:
        raise BadInput(f"{name}: y has shape {found.y.shape}, x has {len(found.x):,} items; give one label per item.")
    if found.y.dtype.kind not in "iu":
        raise BadInput(f"{name}: labels y must be whole numbers from 0 on, or real targets; they are {found.y.dtype}.")
    if found.y.min() < 0:
        first = int(np.argmax(found.y < 0))
        raise BadInput(
            f"{name}: label y[{first}] is {found.y[first]}; classes are whole numbers from 0 on. Real targets are "
            "stored as floating point."
        )


def grid(name: str, x: np.ndarray, x_calibration: np.ndarray, largest: int | None = None) -> tuple[int, float, float]:
    """Levels, step and origin of the counts that stand for the values; whole numbers go up to `largest` at least.

    Raises:
        BadInput: all values are equal, or whole numbers that float32 cannot tell apart.
    """
    low, high = (float(f([f(x), f(x_calibration)])) for f in (np.min, np.max))
    exact = x.dtype.kind != "f" and x_calibration.dtype.kind != "f"
    if exact and largest is not None and high > low:
        high = max(high, float(largest))
    if exact and max(abs(low), abs(high)) > LARGEST:
        raise BadInput(f"{name}: whole numbers up to {max(-low, high):g}; the limit is {LARGEST:,}. Rescale them.")
    if exact or (high - low <= np.iinfo(np.uint16).max and _whole(x) and _whole(x_calibration)):
        levels, step, origin = round(high - min(low, 0.0)), 1.0, min(low, 0.0)
    elif low >= 0 and high <= 1 and _whole(x, 255) and _whole(x_calibration, 255):
        levels, step, origin = 255, 1 / 255, 0.0
    else:
        low, high = float(x_calibration.min()), float(x_calibration.max())
        levels, step, origin = DEFAULT_LEVELS, (high - low) / DEFAULT_LEVELS, low
    if levels == 0 or step == 0:
        raise BadInput(f"{name}: all values are {low:g}; there is nothing to tell apart.")
    return levels, step, origin


def sidecar(network: Path) -> Preprocessing:
    """The preprocessing in the file ``NETWORK.input.toml`` beside `network` (net.onnx.input.toml), or none.

    Keys: scale, mean, std (one number or one per channel), layout ("NCHW" or "NHWC"), size ([rows, columns]); table
    [text]: vocabulary, length, start, unknown, pad (`experiments.datasets.text.TextRule`).

    Raises:
        BadInput: naming the file and every fault.
    """
    path = network.with_name(f"{network.name}.input.toml")
    if not path.is_file():
        return Preprocessing()
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
        lists = {key: [tree[key]] for key in ("mean", "std") if isinstance(tree.get(key), int | float)}
        return Preprocessing.model_validate(tree | lists)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: not a readable TOML file: {error}.") from None
    except ValidationError as error:
        faults = [f"  {'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise BadInput(f"{path}: {len(faults)} fault(s)\n" + "\n".join(faults)) from None


def _whole(x: np.ndarray, steps: int = 1) -> bool:
    """Every value is a multiple of 1/steps, up to the rounding of float32."""
    for first in range(0, len(x), AT_ONCE):
        scaled = x[first : first + AT_ONCE].astype(np.float64) * steps
        if not (np.abs(scaled - np.rint(scaled)) <= (0 if steps == 1 else 1e-4)).all():
            return False
    return True


def _check_targets(name: str, targets: np.ndarray, items: int) -> None:
    if targets.ndim not in (1, 2) or len(targets) != items or targets.size == 0:
        raise BadInput(
            f"{name}: y holds real targets of shape {targets.shape}, x has {items:,} items; give one row per item."
        )
    if not np.isfinite(targets).all():
        place = tuple(np.argwhere(~np.isfinite(targets))[0].tolist())
        raise BadInput(f"{name}: target y{list(place)} is {targets[place]}; repair or leave out these items.")


def _digest(found: Arrays) -> str:
    h = sha256()
    for array in (found.x, found.y, found.x_calibration):
        if array is not None:
            h.update(f"{array.dtype.str}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return h.hexdigest()
