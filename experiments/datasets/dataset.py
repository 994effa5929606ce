"""A data set as integer input counts, and the affine map from a count to what the network was trained on."""

from dataclasses import dataclass, replace
from math import prod
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64

from experiments.datasets.text import TextRule
from neuro.constants import Table
from neuro.errors import BadInput
from neuro.layers import Shape

Layout: TypeAlias = Literal["NCHW", "NHWC"]
LARGEST_SIDE = 4096


@dataclass(frozen=True, eq=False)
class DataSet:
    """Test items, labels and calibration items, all of one sample shape.

    A value is origin + step · count with an integer count in 0..levels; values beyond are clipped. The network is
    fed shift + factor · value = offset + gain · count; factor and shift have the axes of a sample and
    broadcast against it. `layout` says where a sample of three axes has its channels; `sha256` is that of the arrays
    as stored. Items have classes `y`, or real `targets` in units of `unit`, or neither.
    """

    name: str
    x: Float32[np.ndarray, "item ..."]
    y: Int64[np.ndarray, "item"] | None
    x_calibration: Float32[np.ndarray, "calibration_item ..."]
    levels: int
    step: float
    origin: float
    factor: Float64[np.ndarray, "..."]
    shift: Float64[np.ndarray, "..."]
    layout: Layout
    description: str
    sha256: str
    targets: Float64[np.ndarray, "item output"] | None = None
    unit: str = ""

    @property
    def shape(self) -> Shape:
        """Shape of one sample."""
        return self.x.shape[1:]

    @property
    def gain(self) -> Float64[np.ndarray, "..."]:
        """What one count adds to the network's input."""
        return self.factor * self.step

    @property
    def offset(self) -> Float64[np.ndarray, "..."]:
        """The network's input at count 0."""
        return self.shift + self.factor * self.origin

    @property
    def counts(self) -> Int32[np.ndarray, "item ..."]:
        """Input counts of the test items."""
        return _counts(self, self.x)

    @property
    def calibration_counts(self) -> Int32[np.ndarray, "calibration_item ..."]:
        """Input counts of the calibration items."""
        return _counts(self, self.x_calibration)

    @property
    def network_input(self) -> Float32[np.ndarray, "item ..."]:
        """What the network is fed for the test items: offset + gain · counts, rounded once."""
        return (self.offset + self.gain * self.counts).astype(np.float32)

    @property
    def calibration_input(self) -> Float32[np.ndarray, "calibration_item ..."]:
        """What the network is fed for the calibration items."""
        return (self.offset + self.gain * self.calibration_counts).astype(np.float32)

    def __repr__(self) -> str:
        labels = "no labels" if self.y is None else f"{len(np.unique(self.y))} classes"
        if self.targets is not None:
            labels = f"{self.targets.shape[1]} real target(s){f' in {self.unit}' if self.unit else ''}"
        return (
            f"data set {self.name!r}: {len(self.x):,} items of {self.shape}, {labels}, counts 0..{self.levels}\n"
            f"  {self.description}"
        )


class Preprocessing(Table):
    """(x · scale - mean) / std, per channel or for all, the layout and the size of images that the network reads, and
    how it reads text."""

    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: Layout | None = None
    size: tuple[int, int] | None = None
    text: TextRule | None = None


def preprocess(dataset: DataSet, options: Preprocessing) -> DataSet:
    """`dataset` with its values mapped to (value · scale - mean) / std on the way to the network; counts stay.

    Do it before `fit`, while the samples still have channels.

    Raises:
        BadInput: as many means or deviations as neither one nor the channels, a deviation of 0, NaN.
    """
    scale, mean, std = (
        np.float64(options.scale),
        _per_channel(dataset, options, "mean"),
        _per_channel(dataset, options, "std"),
    )
    if scale == 0 or not np.isfinite(scale):
        raise BadInput(f"{dataset.name}: scale is {options.scale:g}; it must be finite and not 0.")
    if (std <= 0).any():
        raise BadInput(f"{dataset.name}: std is {options.std}; every value must be above 0.")
    if options == Preprocessing(layout=options.layout, text=options.text):
        return dataset
    return replace(
        dataset,
        factor=dataset.factor * scale / std,
        shift=(dataset.shift * scale - mean) / std,
        description=f"{dataset.description}; (x * {options.scale:g} - {options.mean}) / {options.std}",
    )


def fit(dataset: DataSet, shape: Shape, layout: Layout | None = None) -> DataSet:
    """`dataset` with samples of `shape`: flattened or not, axes of length one added or removed, channels moved.

    `layout` is the one that the network reads; it decides where two ways fit, as when colour images are flattened.

    Raises:
        BadInput: no way fits, or two do and no `layout` was given; both shapes are named.
    """
    ways = [(order, to) for order, to in _orders(dataset) if _fits(tuple(dataset.shape[i] for i in order), shape)]
    if len(ways) > 1:
        ways = [way for way in ways if way[1] == layout] or (ways[:1] if dataset.shape == shape else ways)
    if not ways:
        raise BadInput(
            f"{dataset.name}: items of {dataset.shape} do not fit the network's input of {shape}. "
            "Give data of that shape, or of the same size and flat."
        )
    if len(ways) > 1:
        raise BadInput(
            f"{dataset.name}: items of {dataset.shape} fit the network's input of {shape} with channels first and "
            'with channels last. Say which it reads: layout = "NCHW" or "NHWC".'
        )
    ((order, to),) = ways

    def move(array: np.ndarray) -> np.ndarray:
        return array.transpose(0, *(i + 1 for i in order)).reshape(len(array), *shape)

    def move_map(array: np.ndarray) -> np.ndarray:
        if array.size == 1:
            return array.reshape((1,) * len(shape))
        if tuple(dataset.shape[i] for i in order) == shape:
            return array.transpose(order)
        return move(np.broadcast_to(array, (1, *dataset.shape)))[0]

    return replace(
        dataset,
        x=move(dataset.x),
        x_calibration=move(dataset.x_calibration),
        factor=move_map(dataset.factor),
        shift=move_map(dataset.shift),
        layout=to if len(_orders(dataset)) > 1 and len(shape) == 3 else guess_layout(shape),
    )


def coarsen(dataset: DataSet, levels: int) -> DataSet:
    """`dataset` quantised anew to counts 0..`levels` over the same range of values.

    Raises:
        BadInput: fewer than one level, or more than the data have.
    """
    if not 1 <= levels <= dataset.levels:
        raise BadInput(f"{dataset.name}: {levels} input levels; the data allow 1 to {dataset.levels}.")
    return replace(
        dataset,
        levels=levels,
        step=dataset.step * dataset.levels / levels,
        description=f"{dataset.description}; {dataset.levels} levels coarsened to {levels}",
    )


def resize(dataset: DataSet, size: tuple[int, int]) -> DataSet:
    """Images of `size` rows and columns, each pixel the nearest one of the original. Do it before `preprocess`.

    Raises:
        BadInput: items that are no images, or a size beyond 1..4096.
    """
    shape = dataset.shape
    if len(shape) != 3 or not all(1 <= n <= LARGEST_SIDE for n in size):
        raise BadInput(
            f"{dataset.name}: items of {shape} cannot be resized to {size}; images of channels, rows and columns can, "
            f"to sides of 1 to {LARGEST_SIDE}."
        )
    first = 0 if dataset.layout == "NHWC" else 1
    picked = [np.floor((np.arange(n) + 0.5) * shape[first + i] / n).astype(int) for i, n in enumerate(size)]

    def moved(x: np.ndarray) -> np.ndarray:
        return x.take(picked[0], axis=first + 1).take(picked[1], axis=first + 2)

    return replace(
        dataset,
        x=moved(dataset.x),
        x_calibration=moved(dataset.x_calibration),
        description=f"{dataset.description}; resized to {size[0]}x{size[1]}, nearest pixel",
    )


def take(dataset: DataSet, samples: int) -> DataSet:
    """The first `samples` test items, or all where there are fewer; calibration items stay.

    Raises:
        BadInput: fewer than one.
    """
    if samples < 1:
        raise BadInput(f"{dataset.name}: {samples} samples asked for; take at least 1.")
    y, targets = (None if of is None else of[:samples] for of in (dataset.y, dataset.targets))
    return replace(dataset, x=dataset.x[:samples], y=y, targets=targets)


def guess_layout(shape: Shape) -> Layout:
    """Channels last where the last of three axes has at most four values and the first has more, else first."""
    return "NHWC" if len(shape) == 3 and shape[2] <= 4 and shape[2] < shape[0] else "NCHW"


def _counts(dataset: DataSet, x: np.ndarray) -> np.ndarray:
    # Half a count rounds up, as a threshold does.
    nearest = np.floor((x.astype(np.float64) - dataset.origin) / dataset.step + 0.5)
    return np.clip(nearest, 0, dataset.levels).astype(np.int32)


def _channel_axis(dataset: DataSet) -> int:
    return len(dataset.shape) - 1 if dataset.layout == "NHWC" else 0


def _channels(dataset: DataSet) -> int:
    return dataset.shape[_channel_axis(dataset)]


def _per_channel(dataset: DataSet, options: Preprocessing, key: str) -> np.ndarray:
    """Option `key` as an array that broadcasts against a sample."""
    values = np.asarray(getattr(options, key), np.float64)
    if not np.isfinite(values).all():
        raise BadInput(f"{dataset.name}: {key} is {values.tolist()}; every value must be finite.")
    if values.size == 1:
        return values.reshape((1,) * len(dataset.shape))
    if values.size != _channels(dataset):
        raise BadInput(
            f"{dataset.name}: {key} has {values.size} value(s); items of {dataset.shape} have {_channels(dataset)} "
            "channel(s). Give one value, or one per channel."
        )
    axis = _channel_axis(dataset)
    return values.reshape([-1 if i == axis else 1 for i in range(len(dataset.shape))])


def _orders(dataset: DataSet) -> list[tuple[tuple[int, ...], Layout]]:
    """Orders of the sample's axes worth trying, and the layout each gives; only colour images have two."""
    axes = tuple(range(len(dataset.shape)))
    same: list[tuple[tuple[int, ...], Layout]] = [(axes, dataset.layout)]
    if len(axes) != 3 or _channels(dataset) == 1:
        return same
    return [*same, ((1, 2, 0), "NHWC") if dataset.layout == "NCHW" else ((2, 0, 1), "NCHW")]


def _fits(source: Shape, target: Shape) -> bool:
    """One is the other with axes of length one, or one of them is flat."""
    if prod(source) != prod(target):
        return False
    a, b = ([n for n in shape if n > 1] for shape in (source, target))
    return a == b or len(a) <= 1 or len(b) <= 1
