"""A network and the data that it is run on, from what the user typed: loaded, preprocessed, fitted to each other."""

import zipfile
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np

from converters.hosted import looked_up, split
from converters.network_file import Converted
from converters.readout import check_classes
from experiments import networks
from experiments.datasets import data
from experiments.datasets.arrays import Arrays
from experiments.datasets.dataset import DataSet, Preprocessing
from experiments.datasets.text import TextRule, encode_texts, encoding, vocabulary
from experiments.datasets.text import Texts as Texts
from experiments.datasets.training import training_items
from experiments.options import DataOptions
from neuro.errors import BadInput
from neuro.graph import Graph

CALIBRATION = 1000
VOCABULARY, START, UNKNOWN = "vocab.txt", "<START>", "<UNKNOWN>"
"""Names under which text classifiers carry their own vocabulary and its special words."""


@dataclass(frozen=True)
class Asked(DataOptions):
    """A network, by its name or file, and the options of its data; None stands for the default named in their help."""

    network: str


@dataclass(frozen=True, eq=False)
class Prepared:
    """A network with data that fit its input.

    format: of its file. host: the part that is worked out before the first spike, None where there is none; the network
    and the data begin behind it. converted: the integer form that the file brings along, if it does.
    """

    network: Graph
    dataset: DataSet
    format: str
    host: Graph | None = None
    converted: Converted | None = None


def prepared(asked: Asked) -> Prepared:
    """The network and the data that `asked` names.

    Raises:
        NeuroError: files that cannot be used, or data that do not fit the network.
    """
    source = networks.open_network(asked.network)
    host, network = split(source.network)
    dataset = dataset_for(asked, source.network)
    if host is not None:
        dataset = _behind(host, dataset, asked.input_levels)
    if (converted := source.converted) is not None:
        _same_input(converted, dataset)
    return Prepared(network, dataset, source.format, host, converted)


def judged(asked: Asked) -> Prepared:
    """As `prepared`; classes that the outputs do not tell apart are refused, for whoever counts right decisions.

    Raises:
        NeuroError: as `prepared`, or classes beyond the outputs.
    """
    found = prepared(asked)
    if found.dataset.y is not None:
        outputs = prod(found.network.shapes[found.network.output.name])
        check_classes(found.dataset.y, outputs, f"{found.dataset.name}: y")
    return found


def dataset_for(asked: Asked, network: Graph, items: tuple[np.ndarray, np.ndarray] | None = None) -> DataSet:
    """The data set that `asked` names, preprocessed and fitted to the network's input.

    items: other items with classes in place of its test items; what a count stands for stays the same.

    Raises:
        BadInput: data that cannot be used, or that do not fit the network.
    """
    path, shape = Path(asked.network), network.shapes[network.input.name]
    default = data.sidecar(path)
    found = _loaded(asked.data or networks.default_data(asked.network), path, default, shape)
    if asked.calibration is not None:
        other = _loaded(str(asked.calibration), path, default, shape)
        if other.shape != found.shape:
            raise BadInput(f"{asked.calibration}: items of {other.shape}; {found.name} has {found.shape}.")
        found = replace(found, x_calibration=other.x[:CALIBRATION])
    if items is not None:
        if items[0].shape[1:] != found.shape:
            raise BadInput(f"{found.name}: training items of {items[0].shape[1:]}; test items have {found.shape}.")
        found = replace(found, x=items[0].astype(np.float32), y=items[1], targets=None)
    if asked.samples is not None:
        found = data.take(found, asked.samples)
    if asked.input_levels is not None and not _looks_up(network):
        found = data.coarsen(found, asked.input_levels)
    given = {k: v for k in ("scale", "mean", "std", "layout", "size") if (v := getattr(asked, k)) is not None}
    chosen = default.model_copy(update=given)
    found = found if chosen.size is None else data.resize(found, chosen.size)
    return data.fit(data.preprocess(found, chosen), shape, chosen.layout)


def training_set(asked: Asked, network: Graph) -> DataSet:
    """The labelled training items of the data that `asked` names, prepared exactly as its test items are: a data set
    whose x and y they are.

    Raises:
        BadInput: data without them, or a network whose words the host looks up.
    """
    if _looks_up(network):
        raise BadInput(f"{asked.network}: words that the host looks up are not trained on; leave --finetune out.")
    x, y = training_items(asked.data or networks.default_data(asked.network))
    return dataset_for(replace(asked, samples=None), network, (x, y))


def _loaded(name: str, network: Path, options: Preprocessing, shape: tuple[int, ...]) -> DataSet:
    """A data set by name; texts by the network's own words."""
    raw = data.raw(name)
    if not isinstance(raw, Texts):
        return data.from_arrays(Path(name).name, raw)
    rule = options.text or _own_words(network, shape)
    return data.load(name) if rule is None else data.from_arrays(name, encode_texts(raw, encoding(network, rule)))


def _own_words(network: Path, shape: tuple[int, ...]) -> TextRule | None:
    """The rule of a network that carries its vocabulary in its own file, None where it does not."""
    if len(shape) != 1 or not zipfile.is_zipfile(network):
        return None
    with zipfile.ZipFile(network) as archive:
        if VOCABULARY not in archive.namelist():
            return None
    known = vocabulary(network, VOCABULARY)
    start, unknown = (word if word in known else None for word in (START, UNKNOWN))
    return TextRule(vocabulary=VOCABULARY, length=shape[0], start=start, unknown=unknown)


def _looks_up(network: Graph) -> bool:
    return split(network)[0] is not None


def _behind(host: Graph, dataset: DataSet, input_levels: int | None) -> DataSet:
    """The data as the host hands them on; counts divide the range of the calibration items evenly."""
    x, calibration = (looked_up(host, ids) for ids in (dataset.network_input, dataset.calibration_input))
    y = dataset.y if dataset.targets is None else dataset.targets
    note = f"{dataset.description}; looked up by the host"
    found = data.from_arrays(dataset.name, Arrays(x, y, calibration, note))
    found = replace(found, unit=dataset.unit, sha256=dataset.sha256)
    return found if input_levels is None else data.coarsen(found, input_levels)


def _line(of: Converted | DataSet) -> str:
    """What input counts stand for: where they begin and how far they step, by channel where channels differ."""
    origin, step = (", ".join(f"{v:.6g}" for v in np.unique(values)) for values in (of.offset, of.gain))
    return f"0..{of.levels} from {origin} in steps of {step}"


def _same_input(converted: Converted, dataset: DataSet) -> None:
    """Refuses data whose counts stand for other values than those the network was converted for."""
    same = converted.levels == dataset.levels and all(
        np.allclose(mine, theirs, rtol=1e-6, atol=1e-9)
        for mine, theirs in ((converted.gain, dataset.gain), (converted.offset, dataset.offset))
    )
    if not same:
        raise BadInput(
            f"{dataset.name}: input counts stand for other values ({_line(dataset)}) than those that the network was "
            f"converted for ({_line(converted)}). Give the preprocessing and the calibration items that "
            "'neuro convert' was given: where values have no steps of their own, the range of these items sets them."
        )
