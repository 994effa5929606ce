"""The work of a network that is known by its layer shapes alone: bundled TOML tables, a user's own, or an ONNX file.

``baselines.shapes`` says what a file may hold. In eager mode every kernel that a framework launches is listed; what a
compiler makes part of the kernel before it is marked fusable.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import ValidationError

from baselines.shapes import (
    LARGEST_SIZE,
    After,
    Attention,
    Cell,
    Conv,
    Depthwise,
    Embedding,
    Enter,
    Entry,
    Epilogue,
    Join,
    Linear,
    Network,
    Padding,
    Pointwise,
    Pool,
    Positions,
    Reshape,
    Size,
    Sizes,
    Upsample,
    Use,
    Weighted,
)
from baselines.workload import LayerWork, Mode, Operator, Workload, compiled, convolution, dense, elementwise, product
from neuro.constants import bundled, locate, parsed
from neuro.errors import BadDescription, BadInput, nearest

PACKAGE = "baselines.workloads"
MOST_KERNELS = 20_000
DEEPEST_BLOCK = 8

T = TypeVar("T")


class Place(NamedTuple):
    """Values between layers: channels at every position of a map."""

    channels: int
    map: tuple[int, ...]

    @property
    def rows(self) -> int:
        """Positions."""
        return prod(self.map)

    @property
    def size(self) -> int:
        """Values."""
        return self.channels * self.rows


def known() -> list[str]:
    """Names of the bundled networks."""
    return bundled(PACKAGE)


def load(spec: str, folder: Path | None = None, mode: Mode = "compiled") -> Workload:
    """The network that `spec` means.

    A bundled name or a path ending in ``.toml`` or ``.onnx`` (relative to `folder`), then perhaps sizes, as in
    ``bert_large:sequence=177`` or ``net.onnx:input=1x3x224x224``; or ``gemm:MxNxK``: M rows, weights of N x K.

    Raises:
        BadInput: an unknown name, no such file, or a size that the network does not have.
        BadDescription: a fault in the file, with its key path.
        Unsupported: an ONNX file with operators that have no cost model.
    """
    head, _, tail = spec.partition(":")
    if head == "gemm":
        m, n, k = _dimensions(spec, tail, 3)
        return Workload(spec, (dense("product", inputs=k, outputs=n, rows=m, bias=False),), mode)
    pairs = dict(_pairs(spec, tail)) if tail else {}
    if head.endswith(".onnx"):
        from baselines.from_onnx import workload

        shapes = {name: _dimensions(spec, text) for name, text in pairs.items()}
        return workload((folder or Path()) / head, name=Path(head).stem, shapes=shapes, mode=mode)
    if not head.endswith(".toml") and ((folder or Path()) / head).is_file():
        raise BadInput(f"{head}: priced are .onnx files, .toml files of shapes, and bundled names. Export it as .onnx.")
    path = (folder or Path()) / head if head.endswith(".toml") else locate(head, PACKAGE, "network")
    work = Workload(
        spec, tuple(_network(path, {name: _dimensions(spec, t, 1)[0] for name, t in pairs.items()})), "eager"
    )
    return compiled(work) if mode == "compiled" else work


def _pairs(spec: str, text: str) -> Iterator[tuple[str, str]]:
    known: set[str] = set()
    for part in text.split(","):
        name, equals, value = part.strip().partition("=")
        if not equals:
            raise BadInput(f"{spec!r}: {part!r} sets nothing; write NAME:size=number,size=number.")
        if name.strip() in known:
            raise BadInput(f"{spec!r}: {name.strip()} is given twice; leave one.")
        known.add(name.strip())
        yield name.strip(), value.strip()


def _dimensions(spec: str, text: str, count: int | None = None) -> tuple[int, ...]:
    parts = text.split("x")
    if not all(p.isascii() and p.isdecimal() and 0 < len(p) < 11 and 0 < int(p) <= LARGEST_SIZE for p in parts):
        raise BadInput(f"{spec!r}: {text!r} is no size; write whole numbers from 1 to {LARGEST_SIZE}, joined by x.")
    if count is not None and len(parts) != count:
        raise BadInput(f"{spec!r}: {text!r} has {len(parts)} number(s), not {count}.")
    return tuple(int(p) for p in parts)


def _network(path: Path, sizes: Mapping[str, int]) -> list[LayerWork]:
    try:
        network = Network.model_validate(parsed(path))
    except ValidationError as error:
        faults = [f"  {'.'.join(map(str, e['loc'])) or '(file)'}: {e['msg']}" for e in error.errors()]
        raise BadDescription(f"{path}: {len(faults)} fault(s)\n" + "\n".join(faults)) from None
    for name in sizes:
        if name not in network.parameters:
            raise BadInput(f"{path.name} has no size {name!r}.{nearest(name, list(network.parameters))}")
    try:
        env: dict[str, int] = {}
        for name, default in network.parameters.items():
            env[name] = sizes[name] if name in sizes else _size(default, env)
        enter = Place(_size(network.input.channels, env), tuple(_size(s, env) for s in network.input.map))
    except ValueError as error:
        raise BadDescription(f"{path}: {error}.") from None
    layers: list[LayerWork] = []
    _walk(f"{path}: layers", network, network.layers, enter, env, {}, "", layers)
    return _with_zero_outputs(layers)


def _walk(
    where: str, network: Network, entries: list[Entry], place: Place, env: Mapping[str, int],
    outer: Mapping[str, Place], prefix: str, out: list[LayerWork],
) -> Place:  # fmt: skip
    """Appends the kernels of `entries` to `out`; the place behind the last."""
    named = dict(outer) | {"start": place}
    for index, entry in enumerate(entries):
        at = f"{where}.{index}"
        name = prefix + (entry.name or f"{entry.kind}{index}".replace(" ", "_"))
        try:
            if entry.source is not None:
                place = _found(entry.source, named)
            if isinstance(entry, Use):
                place = _use(at, network, entry, place, env, named, name, out)
            else:
                others = [_found(o, named) for o in entry.others] if isinstance(entry, Join) else []
                made, place = _kernels(entry, place, others, env, network.after, name)
                out += made
        except ValueError as error:
            raise BadDescription(f"{at}: {error}.") from None
        if len(out) > MOST_KERNELS:
            raise BadDescription(f"{at}: more than {MOST_KERNELS} kernels; repeat fewer blocks.")
        if entry.name:
            named[entry.name] = place
    return place


def _use(
    at: str, network: Network, entry: Use, place: Place, env: Mapping[str, int], named: Mapping[str, Place],
    name: str, out: list[LayerWork],
) -> Place:  # fmt: skip
    layers = _found(entry.block, network.blocks)
    inner = dict(env) | {key: _size(size, env) for key, size in entry.set.items()}
    if at.count(".blocks.") >= DEEPEST_BLOCK:
        raise ValueError(f"blocks lie more than {DEEPEST_BLOCK} deep; a block cannot use itself")
    for turn in range(_size(entry.repeat, env)):
        before = len(out)
        place = _walk(f"{at}.blocks.{entry.block}", network, layers, place, inner, named, f"{name}.{turn}.", out)
        if len(out) == before:
            raise ValueError(f"block {entry.block!r} makes no kernel; leave it out")
    return place


def _found(name: str, table: Mapping[str, T]) -> T:
    if name not in table:
        raise ValueError(f"{name!r} is not there.{nearest(name, list(table))}".rstrip("."))
    return table[name]


def _size(size: Size, env: Mapping[str, int]) -> int:
    return size if isinstance(size, int) else _found(size, env)


def _with_zero_outputs(layers: list[LayerWork]) -> list[LayerWork]:
    """The zeros that a layer reads are those that the kernel before it, with what is fused into it, writes."""
    result = list(layers)
    for index, layer in enumerate(layers):
        before = index - 1
        while layer.zeros and before >= 0:
            result[before] = replace(result[before], zero_outputs=layer.zeros)
            if not result[before].fusable:
                break
            before -= 1
    return result


def _kernels(
    entry: Entry, place: Place, others: Sequence[Place], env: Mapping[str, int], after: After, name: str
) -> tuple[list[LayerWork], Place]:
    """The kernels of one layer whose input is `place`, and what it gives."""
    match entry:
        case Conv() | Depthwise():
            return _convolution(entry, place, env, after, name)
        case Linear():
            parts, outputs = _size(entry.split, env), _size(entry.outputs, env)
            _divides(outputs, parts, "outputs into products")
            one = dense(name, place.channels, outputs // parts, place.rows, bias=entry.bias)
            there = place._replace(channels=outputs)
            made = [replace(_held(one, entry), fusable=i > 0) for i in range(parts)]
            return made + _behind(entry.then, after.linear, there, name), there
        case Attention():
            return _attention(place, _size(entry.heads, env), _size(entry.keys or place.rows, env), entry.masked, name)
        case Cell():
            return _cell(entry, place, _size(entry.outputs, env), name)
        case Embedding():
            there = place._replace(channels=_size(entry.outputs, env))
            stored = 0 if entry.tied else _size(entry.entries, env) * there.channels
            gather = elementwise(name, "embedding", there.size, there.size)
            return [replace(gather, stored=stored)], there
        case Positions():
            table = _size(entry.entries, env)
            if table < place.rows:
                raise ValueError(f"{place.rows} positions, but {table} entries")
            added = elementwise(name, "add", place.size, place.size, fusable=True, weights=place.size)
            return [replace(added, stored=table * place.channels)], place
        case Pool():
            kernel, stride = _each(entry.kernel, place, env), _each(entry.stride, place, env)
            there = Place(place.channels, windows(place.map, kernel, stride, entry.pad, entry.ceil)[1])
            return [elementwise(name, "pool", place.size, there.size)], there
        case Reshape(kind="global pool"):
            there = Place(place.channels, ())
            return [elementwise(name, "pool", place.size, there.size)], there
        case Reshape(kind="flatten"):
            return [], Place(place.size, ())
        case Reshape():
            return [], Place(place.channels, (place.rows + (_size(entry.extra, env) if entry.extra else 0),))
        case Upsample():
            there = place._replace(map=tuple(_size(s, env) for s in entry.map))
            return [elementwise(name, "copy", place.size, there.size)], there
        case Enter():
            return [], Place(_size(entry.channels, env), tuple(_size(s, env) for s in entry.map))
        case Pointwise():
            per_channel = entry.weights if entry.weights is not None else 2 * (entry.kind == "norm")
            fusable = entry.kind not in ("norm", "softmax") if entry.fusable is None else entry.fusable
            one = elementwise(name, entry.kind, place.size, place.size, fusable)
            first = replace(one, weight_count=per_channel * place.channels)
            return [first, *[replace(one, fusable=True)] * (_size(entry.passes, env) - 1)], place
        case Join(kind="concat"):
            if any(other.map != place.map for other in others):
                raise ValueError(f"maps {[place.map, *(o.map for o in others)]} differ")
            there = place._replace(channels=place.channels + sum(other.channels for other in others))
            return [elementwise(name, "copy", there.size, there.size, fusable=True)], there
        case Join():
            return _pairwise(entry.kind, place, others, name)
    raise TypeError(entry)


def _convolution(
    entry: Conv | Depthwise, place: Place, env: Mapping[str, int], after: After, name: str
) -> tuple[list[LayerWork], Place]:
    leave = _size(entry.outputs, env) if isinstance(entry, Conv) else place.channels
    groups = _size(entry.groups, env) if isinstance(entry, Conv) else place.channels
    _divides(place.channels, groups, "input channels into groups")
    _divides(leave, groups, "output channels into groups")
    kernel, stride = _each(entry.kernel, place, env), _each(entry.stride, place, env)
    padded, out = windows(place.map, kernel, stride, entry.pad)
    there = Place(leave, out)
    made = convolution(
        name, (place.channels, leave), kernel, stride, padded, out, groups, inputs=place.size, bias=entry.bias
    )
    return [_held(made, entry), *_behind(entry.then, after.conv, there, name)], there


def windows(
    sizes: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...], pad: Padding, ceil: bool = False
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Padded and output map of windows over a map of `sizes`.

    ``same``: ⌈size / stride⌉ windows, padded as far as these reach. Otherwise ⌊(padded - kernel) / stride⌋ + 1, or ⌈⌉
    where windows that are cut off count, as long as they begin inside or before the end of the leading padding.

    Raises:
        ValueError: a kernel is larger than the padded map.
    """
    padded, out = [], []
    for size, k, s in zip(sizes, kernel, stride, strict=True):
        if pad == "same":
            count = -(-size // s)
            full = max((count - 1) * s + k, size)
        else:
            side = 0 if pad == "valid" else pad
            full = size + 2 * side
            if k > full:
                raise ValueError(f"a kernel of {k} does not fit a padded map of {full}")
            count = (-(-(full - k) // s) if ceil else (full - k) // s) + 1
            count -= ceil and (count - 1) * s >= size + side
        padded.append(full)
        out.append(count)
    return tuple(padded), tuple(out)


def _each(sizes: Sizes, place: Place, env: Mapping[str, int]) -> tuple[int, ...]:
    every = sizes if isinstance(sizes, list) else [sizes] * len(place.map)
    if not place.map or len(every) != len(place.map):
        raise ValueError(f"{len(every)} size(s) for windows on a map of {len(place.map)} axes")
    return tuple(_size(s, env) for s in every)


def _divides(whole: int, parts: int, what: str) -> None:
    if whole % parts:
        raise ValueError(f"{whole} {what}: {parts} does not divide it")


def _held(layer: LayerWork, entry: Weighted) -> LayerWork:
    return replace(layer, zeros=entry.zeros, stored=0 if entry.shared else None)


def _behind(own: Epilogue | None, default: Epilogue, place: Place, name: str) -> list[LayerWork]:
    kinds = default if own is None else own
    return [elementwise(f"{name}.{kind}", kind, place.size, place.size, fusable=True) for kind in kinds]


def _attention(place: Place, heads: int, keys: int, masked: bool, name: str) -> tuple[list[LayerWork], Place]:
    """Per head [rows, width / heads] against [keys, width / heads], softmax, and the weighted sum of values."""
    _divides(place.channels, 3, "channels into queries, keys and values")
    width, rows = place.channels // 3, place.rows
    _divides(width, heads, "channels into heads")
    if keys < rows:
        raise ValueError(f"{rows} positions attend to {keys} keys; keys hold at least those that enter")
    scores, there = heads * rows * keys, place._replace(channels=width)

    fused = partial(elementwise, fusable=True)
    moved = [fused(f"{name}.{what}", "copy", there.size, there.size) for what in ("queries", "keys", "values", "merge")]
    return [
        *moved[:3],
        product(f"{name}.scores", rows, keys, width // heads, heads),
        fused(f"{name}.scale", "scale", scores, scores),
        *([fused(f"{name}.mask", "add", scores + rows * keys, scores)] if masked else []),
        fused(f"{name}.softmax", "softmax", scores, scores),
        product(f"{name}.sum", rows, width // heads, keys, heads),
        moved[3],
    ], there


def _cell(entry: Cell, place: Place, hidden: int, name: str) -> tuple[list[LayerWork], Place]:
    """All gates of the input at once, those of the hidden state step by step, two biases as cuDNN and ONNX have."""
    gates, steps = (4 if entry.kind == "lstm" else 3) * hidden, place.rows
    states = 2 if entry.kind == "lstm" else 1
    update = elementwise(
        f"{name}.update", "activation", steps * (2 * gates + hidden), steps * states * hidden, fusable=True
    )
    return [
        dense(f"{name}.input", place.channels, gates, rows=steps),
        dense(f"{name}.recurrent", hidden, gates, steps=steps),
        replace(update, steps=steps),
    ], Place(hidden, () if entry.last else place.map)


def _pairwise(kind: Operator | str, place: Place, others: Sequence[Place], name: str) -> tuple[list[LayerWork], Place]:
    """Sums or products; one value per channel meets a whole map in a kernel of its own."""
    made: list[LayerWork] = []
    for other in others:
        there = max(place, other, key=lambda p: p.rows)
        if place.channels != other.channels or place.map not in ((), there.map) or other.map not in ((), there.map):
            raise ValueError(f"{place} and {other} cannot be joined element by element")
        same = place.map == other.map
        operator: Operator = "add" if kind == "add" else "scale"
        made.append(elementwise(name, operator, place.size + other.size, there.size, fusable=same))
        place = there
    return made, place
