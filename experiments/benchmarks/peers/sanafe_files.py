"""SANA-FE's own files: a spiking network with its cores in YAML, and what the units of its Loihi take."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sparse


@dataclass(frozen=True)
class Placed:
    """Neurons of all groups in one row, as SANA-FE reads them.

    weights [target, source]; synapses likewise, the number of them, those of weight zero included; sends [source,
    core]: synapses of a neuron onto a core; synapse: by neuron, the unit that takes in what reaches it.
    """

    threshold: np.ndarray
    bias: np.ndarray
    leak: np.ndarray
    core: np.ndarray
    synapse: np.ndarray
    weights: sparse.csr_array
    synapses: sparse.csr_array
    sends: sparse.csr_array


def read_architecture(path: Path) -> dict[str, dict[str, float]]:
    """The figures of each named unit, and the barrier in s by the least number of tiles that it holds for."""
    blocks = re.split(r"name: *([\w.\[\]]+)", path.read_text(encoding="utf-8"))[1:]
    units = {
        name.split("[")[0]: {k: float(v) for k, v in re.findall(r"(\w+): *([-\d.e]+) *(?:#.*)?$", text, re.M)}
        for name, text in zip(blocks[::2], blocks[1::2], strict=True)
    }
    table = re.search(r"latency_sync: *\{(.*)\}", path.read_text(encoding="utf-8"))
    assert table
    units["barrier"] = {k: float(v) for k, v in re.findall(r"(\d+): *([-\d.e]+)", table[1])}
    return units


def read_network(path: Path) -> Placed:
    """The subset of SANA-FE's YAML that its DVS network is written in, line by line."""
    head, rest = path.read_text(encoding="utf-8").split("\n  edges:\n")
    edges, mappings = rest.split("\nmappings:\n")
    places = np.array(re.findall(r"'(\d+)\.(\d+)': \{core: '(\d+)\.(\d+)'\}", mappings), int)
    sizes = np.bincount(places[:, 0])
    first = np.concatenate([[0], np.cumsum(sizes)])
    core = np.full(first[-1], -1)
    core[first[places[:, 0]] + places[:, 1]] = 4 * places[:, 2] + places[:, 3]
    bias, attributes = np.zeros(len(core)), []
    for group, text in enumerate(re.split(r"\n  - name: \d+", head)[1:]):
        for neuron, value in re.findall(r"- \{(\d+): \{bias: (-?[\d.]+)", text):
            bias[first[group] + int(neuron)] = float(value)
        found = dict(re.findall(r"(threshold|leak_decay|synapse_hw_name): ([\w.]+)", text))
        attributes.append([found[key] for key in ("threshold", "leak_decay", "synapse_hw_name")])
    threshold, leak, synapse = (np.repeat(column, sizes) for column in zip(*attributes, strict=True))
    parts = [_edge(text, sizes, first) for text in re.split(r"(?:^|\n)  - (?=\d+ -> )", edges)[1:]]
    source, target, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    shape = (len(core), len(core))
    return Placed(
        threshold.astype(float),
        bias,
        leak.astype(float),
        core,
        synapse,
        sparse.csr_array((weight, (target, source)), shape),
        sparse.csr_array((np.ones(len(weight)), (target, source)), shape),
        sparse.csr_array((np.ones(len(weight)), (source, core[target])), (len(core), 128)),
    )


def _edge(text: str, sizes: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Source, target and weight of every synapse of one group pair; maps are (channel, row, column) within a group."""
    source, target = (int(n) for n in re.findall(r"\d+", text.split(":")[0]))
    rule, weights = text.split("weight: [")
    weight = np.array(weights.split("]")[0].split(","), float)
    if "type: dense" in rule:
        i, j = np.indices((sizes[source], sizes[target]))
        return first[source] + i.ravel(), first[target] + j.ravel(), weight
    p = {k: int(v) for k, v in re.findall(r"(\w+): (\d+)", rule)}
    height, width, stride = p["input_height"], p["input_width"], (p["stride_height"], p["stride_width"])
    kernel = (p["kernel_height"], p["kernel_width"])
    rows, columns = (height - kernel[0]) // stride[0] + 1, (width - kernel[1]) // stride[1] + 1
    shape = (p["kernel_count"], rows, columns, *kernel, p["input_channels"])
    c, y, x, a, b, k = (index.ravel() for index in np.indices(shape))
    into = (k * height + y * stride[0] + a) * width + x * stride[1] + b
    weight = weight.reshape(*kernel, p["input_channels"], p["kernel_count"])
    return first[source] + into, first[target] + (c * rows + y) * columns + x, weight[a, b, k, c]


def position(core: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Column and row of a core: tiles of four, numbered along the columns of eight times four."""
    return core // 4 // 4, core // 4 % 4
