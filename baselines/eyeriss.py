"""Row-stationary arrays (Eyeriss): which part of a layer sits on which processing elements, and the words that move.

An element keeps a row of a filter and slides a row of the input along it; a set of R × e elements makes e output
rows of an R-row filter. Sets side by side take r channels, whose sums they add up, and t filters. Per layer
t = exposed share of the external transfers + the slowest of (filters into the array, then arithmetic), buffer port
and the rest of the transfers. After Chen et al. 2016; sparse elements (Eyeriss v2) after Chen et al. 2019.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from pydantic import Field

from baselines.description import WIDTH, Machine, Need, Precision
from baselines.workload import LayerWork, Workload
from neuro.constants import Bytes, BytesPerSecond, Hertz, Joules, Number, Table
from neuro.cost import Prices, Scalar
from neuro.counts import Counts, Path


class AsicRate(Table):
    """mac: energy of one multiply-accumulate, the unit in which the other levels are given."""

    mac: Joules


class Spatial(Table):
    """Processing elements of a row-stationary array, each with words of local store for one operand.

    lanes: multiply-accumulates of an element in a cycle, of as many filters on one input.
    """

    rows: Number
    columns: Number
    lanes: Number
    clock: Hertz
    input_words: Number
    weight_words: Number
    sum_words: Number


class Buffer(Table):
    """Global buffer. port: its bandwidth in one direction, at which filters enter the array too."""

    capacity: Bytes
    port: BytesPerSecond


class External(Table):
    """Link to external memory; a run-length code spends `expansion` words for every word that is not zero.

    exposed: share of the transfers during which the array waits.
    """

    bandwidth: BytesPerSecond
    expansion: Number
    exposed: Number


class Sparse(Table):
    """Elements that spend no cycle on a product with a zero weight or input. balance: mean over largest work of an
    element, on which the others wait."""

    balance: Number


class Levels(Table):
    """Energy of moving one word, in units of one multiply-accumulate: local store, array network, global buffer,
    external memory."""

    local: Number
    network: Number
    buffer: Number
    external: Number


class Asic(Machine):
    """Row-stationary array of processing elements (``baselines.eyeriss``)."""

    kind: Literal["asic"]
    dataflow: Literal["row"]
    precision: Annotated[dict[Precision, AsicRate], Field(min_length=1, max_length=1)]
    array: Spatial
    buffer: Buffer
    external: External
    energy: Levels
    sparse: Sparse | None = None


class Cut(NamedTuple):
    """How a layer is cut, one entry per candidate: e output rows in a set; p filters and q channels in an element;
    r channels and t filters side by side; `images` whose sums share the global buffer."""

    e: np.ndarray
    p: np.ndarray
    q: np.ndarray
    r: np.ndarray
    t: np.ndarray
    images: np.ndarray


class Moves(NamedTuple):
    """Of a batch: cycles of the array, and words in the array network, read from and written to the global buffer,
    and over the external link (weights; values, compressed)."""

    cycles: np.ndarray
    network: np.ndarray
    read: np.ndarray
    written: np.ndarray
    weights: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Shape:
    """A group of a layer as rows: filters of `rows` × `width` over `channels`, out_rows × out_width outputs each."""

    channels: int
    filters: int
    rows: int
    width: int
    out_rows: int
    out_width: int
    stride: tuple[int, int]


def shape(device: Asic, layer: LayerWork) -> Shape:
    """The layer's group as rows; filters higher or wider than the array holds are cut and add to the channels."""
    kernel, out, stride = _pair(layer.kernel), _pair(layer.output_map), _pair(layer.stride)
    if out[0] * out[1] != layer.m:  # a matrix product has rows, no map
        out = (1, layer.m)
    down = -(-kernel[0] // int(device.array.rows.value))
    across = -(-kernel[1] // int(device.array.input_words.value))
    channels = layer.k // (kernel[0] * kernel[1]) * down * across
    return Shape(channels, layer.n, -(-kernel[0] // down), -(-kernel[1] // across), out[0], out[1], stride)


def _pair(sizes: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of a map; a line is a map of one row."""
    return (sizes[0], sizes[1]) if len(sizes) == 2 else (1, sizes[0])


def moves(device: Asic, layer: LayerWork, cut: Cut, width: float, batch: int) -> Moves:
    """What each candidate of `cut` does, with words of `width` bytes.

    An element spends a cycle per multiply-accumulate of each lane, and one to pass a sum on; an element that skips
    zeros spends only the share of products that are not. Inputs come from the buffer once per
    pass over the filters, sums go there and back once per pass over the channels. From outside, weights come once
    per strip of output rows and group of images, inputs once per set of filters whose sums fit the buffer.
    """
    s = shape(device, layer)
    strips, channel_passes = -(-s.out_rows // cut.e), -(-s.channels // (cut.q * cut.r))
    filter_passes = -(-s.filters // (cut.p * cut.t))
    runs = float(layer.groups * batch * layer.steps)  # a product of integers could overflow
    steps = -(-s.channels // cut.r) * s.width + channel_passes
    taken = -(-s.filters // (cut.t * device.array.lanes.value)) * _worked(device, layer)
    cycles = strips * s.out_width * runs * taken * steps
    row_words = (s.out_width - 1) * s.stride[1] + s.width
    rows_read = strips * ((cut.e - 1) * s.stride[0] + s.rows)
    sums = runs * s.out_rows * s.out_width * s.filters * channel_passes
    reloads = strips * -(-batch // cut.images) * layer.steps
    delivered = runs * strips * s.channels * s.rows * cut.e * cut.t * filter_passes * row_words
    room = device.buffer.capacity.value / width // (cut.images * cut.e * s.out_width)
    rereads = -(-s.filters // np.clip(room, 1, s.filters)) * rows_read / ((s.out_rows - 1) * s.stride[0] + s.rows)
    values = layer.inputs * rereads * _stored(device, layer.zeros) + layer.outputs * _stored(device, layer.zero_outputs)
    return Moves(
        cycles=cycles,
        network=delivered + sums * s.rows * cut.r + layer.weight_count * cut.e * reloads,
        read=runs * rows_read * row_words * s.channels * filter_passes + sums,
        written=sums,
        weights=layer.weight_count * reloads,
        values=batch * values,
    )


def _kept(device: Asic, layer: LayerWork) -> float:
    """Share of the products whose weight is not skipped."""
    return layer.density if device.sparse else 1.0


def _worked(device: Asic, layer: LayerWork) -> float:
    """Share of the cycles of all products that elements spend which skip those with a zero; never more than all."""
    if device.sparse is None:
        return 1.0
    return min(1.0, layer.density * (1.0 - layer.zeros) / device.sparse.balance.value)


def _stored(device: Asic, zeros: float) -> float:
    """Words that the run-length code spends on one word when a share of `zeros` is left out."""
    return min(1.0, (1.0 - zeros) * device.external.expansion.value)


def best(device: Asic, layer: LayerWork, width: float, batch: int) -> Moves:
    """The moves of the cut that takes least time, and among those least energy, with words of `width` bytes."""
    s, array, energy = shape(device, layer), device.array, device.energy
    columns = int(array.columns.value)
    floors = int(array.rows.value) // s.rows
    e = np.unique([-(-s.out_rows // i) for i in range(1, 17)] + [min(columns, s.out_rows), 1])
    e = e[e <= floors * columns][:, None, None, None]
    sets = np.where(e <= columns, floors * (columns // e), floors // -(-e // columns))
    r = np.unique(np.geomspace(1, floors * columns, 16).astype(int))[:, None, None]
    q = np.arange(1, array.input_words.value // s.width + 1)[:, None]
    images = np.unique(np.append(2 ** np.arange(int(np.log2(batch)) + 1), batch))
    e, r, q, images = np.broadcast_arrays(e, r, q, images)
    t = np.broadcast_to(sets, e.shape) // r
    p = np.minimum(array.sum_words.value, array.weight_words.value // (q * s.width))
    keep = (t >= 1) & (p >= 1)
    tried = moves(device, layer, Cut(*(x[keep] for x in (e, p, q, r, t, images))), width, batch)
    port, link = width / device.buffer.port.value, width / device.external.bandwidth.value
    transfers = link * (tried.weights + tried.values)
    exposed = device.external.exposed.value
    work = np.maximum(tried.cycles / array.clock.value + port * tried.weights, port * tried.read)
    seconds = exposed * transfers + np.maximum(work, (1 - exposed) * transfers)
    words = (
        energy.network.value * tried.network
        + energy.buffer.value * (tried.read + tried.written)
        + energy.external.value * (tried.weights + tried.values)
    )
    first = np.lexsort((words, seconds))[0]
    return Moves(*(x[first] for x in tried))


def counts(device: Asic, work: Workload, precision: Precision, batch: int) -> Counts:
    """Events of one batch; `precision` must be native.

    Where an input is zero, the multiply-accumulate and its accesses to weight and sum are gated, not their cycle;
    an element that skips zeros does not look at the input either.
    """
    width = WIDTH[precision]
    none = np.zeros((), np.float64)
    alike = [replace(layer, name="") for layer in work.layers]
    found = {layer: best(device, layer, width, batch) for layer in dict.fromkeys(alike) if layer.macs}
    moved = [
        found[layer]
        if layer.macs
        else Moves(none, none, none, none, none, np.array(batch * (layer.inputs + layer.outputs), np.float64))
        for layer in alike
    ]
    stages = np.zeros((len(moved), 2, 3, 4), np.float32)
    for i, layer in enumerate(moved):
        linked = width * (layer.weights + layer.values)
        stages[i, 0, 0, 3] = linked
        stages[i, 1, :, :3] = np.diag([layer.cycles, width * layer.read, linked])
        stages[i, 1, 0, 1] = width * layer.weights
    names = ("cycle", "buffer_byte", "hidden_byte", "exposed_byte")
    path = Path(names, jnp.asarray(stages.reshape(-1, 3, 4)))
    worked = np.array([batch * layer.macs * (1 - layer.zeros) * _kept(device, layer) for layer in work.layers])
    looked = worked if device.sparse else np.array([batch * layer.macs for layer in work.layers])
    events = {
        f"mac_{precision}": worked.sum(),
        "local_word": looked.sum() + 3 * worked.sum(),
        "network_word": sum(m.network for m in moved),
        "buffer_word": sum(m.read + m.written for m in moved),
        "external_word": sum(m.weights + m.values for m in moved),
    }
    return Counts({k: jnp.float32(v) for k, v in events.items()}, latency=path, interval=path, batch=batch)


def prices(device: Asic, values: Mapping[str, Scalar], boundary: str) -> Prices:
    """J and s per event from the constants `values`; words cost multiples of one multiply-accumulate."""
    v = values
    (precision,) = device.precision
    unit = v[f"precision.{precision}.mac"]
    energy = {f"mac_{precision}": unit}
    energy |= {f"{level}_word": unit * v[f"energy.{level}"] for level in ("local", "network", "buffer", "external")}
    time = {
        "cycle": 1 / v["array.clock"],
        "buffer_byte": 1 / v["buffer.port"],
        "hidden_byte": (1 - v["external.exposed"]) / v["external.bandwidth"],
        "exposed_byte": v["external.exposed"] / v["external.bandwidth"],
    }
    return Prices(energy, time, v[f"power.{boundary}.active"], v[f"power.{boundary}.idle"])


def needs(device: Asic, work: Workload, precision: Precision, batch: int) -> list[Need]:
    """What `batch` samples take of the machine's memory; external memory is unlimited."""
    return []


def roof(device: Asic, precision: Precision) -> tuple[float, float]:
    """Peak multiply-accumulates per second of all elements, zeros not skipped, and bytes per second of the link."""
    array = device.array
    cells = array.rows.value * array.columns.value * array.lanes.value
    return cells * array.clock.value, device.external.bandwidth.value
