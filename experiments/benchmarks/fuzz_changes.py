"""What `experiments.benchmarks.fuzz` does to a file: to its bytes, to the members of an archive, and to what they mean.

All is drawn from one generator of random numbers, so that a seed gives the same file again.
"""

import io
import json
import struct
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import deepcopy
from typing import Any

import numpy as np

Rng = np.random.Generator
WORDS = (0, 1, 2**7, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1)
NUMBERS = (0, 1, -1, 2, 3, 7, 64, 100_000, 2**31 - 1, 2**31, 2**40, 2**62, -(2**62))
REALS = (0.0, -1.0, 1e30, -1e38, float("nan"), float("inf"), 1e-45)
TEXTS = (
    "", "x", "relu", "../../etc/passwd", "/dev/zero", "/etc/passwd", "a\0b", "\x1b[31m", "é" * 50, "n" * 5000, "If",
    "Loop", "Random", "os.system", "__reduce__", "Lambda", "-1",
)  # fmt: skip
ODD = (None, True, False, [], {}, [[]], [None], {"value": ["x"]}, {"as_int": -3}, {"as_tensor": {"name": "x"}})
PICKLE = b"cos\nsystem\n(S'true'\ntR."
"""Runs a command when it is unpickled."""


def pick(rng: Rng, options: Sequence[Any]) -> Any:
    """One of several."""
    return options[int(rng.integers(len(options)))]


def changed(kind: str, sound: Sequence[bytes], rng: Rng) -> bytes:
    """A damaged file. kind: the format; sound: files of it."""
    data = pick(rng, sound)
    inner = {"onnx": onnx, "pt2": archive, "keras": archive, "h5": hdf5, "nir": hdf5, "net": hdf5}.get(kind)
    if inner and rng.random() < 0.75:
        data = inner(data, rng)
    if not inner or rng.random() < 0.1 or data in sound:
        data = spoiled(data, rng, sound)
    return data


def spoiled(data: bytes, rng: Rng, others: Sequence[bytes] = ()) -> bytes:
    """Bytes flipped, words replaced, parts cut, doubled, inserted, or taken from another file."""
    made = bytearray(data or b"\0")
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(len(made)))
        end = at + int(rng.integers(1, 65))
        match int(rng.integers(8)):
            case 0 | 1:
                made[at] ^= 1 << int(rng.integers(8))
            case 2:
                made[at] = int(rng.integers(256))
            case 3:
                made[at : at + 4] = struct.pack("<I", pick(rng, WORDS))
            case 4:
                del made[at:end]
            case 5:
                made[at:at] = made[at:end] if rng.random() < 0.5 else rng.bytes(end - at)
            case 6 if others:
                other = pick(rng, others)
                start = int(rng.integers(len(other)))
                made[at:end] = other[start : start + end - at]
            case _ if rng.random() < 0.3:
                del made[at:]
        made = made or bytearray(1)
    return bytes(made)


# JSON


def odd(value: Any, rng: Rng) -> Any:
    """Something else than a value, more often of the same type."""
    if rng.random() < 0.3:
        return deepcopy(pick(rng, ODD))
    if isinstance(value, str):
        return pick(rng, TEXTS)
    return pick(rng, NUMBERS if rng.random() < 0.7 else REALS)


def document(data: bytes, rng: Rng) -> bytes:
    """A JSON text with up to three values replaced, removed, doubled, or copied from elsewhere in it."""
    try:
        top = [json.loads(data)]
    except (ValueError, RecursionError):
        return spoiled(data, rng)
    for _ in range(int(rng.integers(1, 4))):
        places = [(holder, key) for holder, key in walked(top) if holder is not top]
        if not places:
            break
        holder, key = pick(rng, places)
        other, place = pick(rng, places)
        value = deepcopy(other[place])
        match int(rng.integers(6)):
            case 0 | 1:
                holder[key] = odd(holder[key], rng)
            case 2:
                del holder[key]
            case 3 if isinstance(holder, list):
                holder.insert(int(rng.integers(len(holder) + 1)), value)
            case _:  # of the same type if there is one, so that names and sizes change places
                like = [v for h, k in places if type(v := h[k]) is type(holder[key])]
                holder[key] = deepcopy(pick(rng, like)) if rng.random() < 0.8 else value
    if rng.random() < 0.01:
        return b"[" * 200_000
    return json.dumps(top[0]).encode()


def walked(value: Any) -> list[tuple[Any, Any]]:
    """Every place in nested lists and mappings: its holder and key."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, inner in items for place in ((value, key), *walked(inner))]


# Archives


def archive(data: bytes, rng: Rng) -> bytes:
    """A zip archive with its members changed and their checksums right."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        members = [(i.filename, file.read(i)) for i in file.infolist()]
    texts = [i for i, (name, _) in enumerate(members) if name.endswith(".json")]
    kind = zipfile.ZIP_STORED
    for _ in range(int(rng.integers(1, 3))):
        at = pick(rng, texts) if texts and rng.random() < 0.7 else int(rng.integers(len(members)))
        name, content = members[at]
        match int(rng.integers(12)):
            case 0:
                members[at] = (name, spoiled(content, rng))
            case 1:
                members.append((pick(rng, [name, *(f"{name}{t}" for t in TEXTS[3:7]), "../out"]), content))
            case 2:
                members[at] = (name, PICKLE)
            case 3:
                members[at] = (name, pick(rng, members)[1])
            case 4 if rng.random() < 0.2:
                kind = zipfile.ZIP_DEFLATED
                members[at] = (name, bytes(10_000_000))
            case 4 if len(members) > 1:
                del members[at]
                texts = []
            case _ if name.endswith(".json"):
                members[at] = (name, document(content, rng))
            case _ if name.endswith(".h5"):
                members[at] = (name, hdf5(content, rng))
            case _:
                members[at] = (name, spoiled(content, rng))
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", kind) as file:
        for name, content in members:
            file.writestr(zipfile.ZipInfo(name.replace("\0", "0")), content, kind)
    return made.getvalue()


# ONNX


def onnx(data: bytes, rng: Rng) -> bytes:
    """A model with up to three fields changed, wherever in it, or with external data, large constants or a circle."""
    from onnx import ModelProto, external_data_helper, helper

    model: Any = ModelProto.FromString(data)
    for _ in range(int(rng.integers(1, 3))):
        match int(rng.integers(10)):
            case 0 if model.graph.initializer:
                tensor = pick(rng, model.graph.initializer)
                tensor.raw_data = tensor.raw_data or b"\0"
                place = pick(rng, (*TEXTS, "net.onnx", "./net.onnx", "."))
                external_data_helper.set_external_data(tensor, place, pick(rng, NUMBERS), pick(rng, NUMBERS))
                tensor.ClearField("raw_data")
            case 1 if model.graph.node:
                size = [int(n) for n in rng.choice([1, 4, 64, 30_000], 3)]
                model.graph.initializer.append(helper.make_tensor("giant", 7, [3], size))
                name = pick(rng, [i for n in model.graph.node for i in n.input] or ["x"])
                op = pick(rng, ["ConstantOfShape", "Expand", "Tile", "Reshape"])
                given = ["giant"] if op == "ConstantOfShape" else [name, "giant"]
                model.graph.node.insert(0, helper.make_node(op, given, ["large"]))
                pick(rng, model.graph.node).input.append("large")
            case 2 if model.graph.node:
                first, second = pick(rng, model.graph.node), pick(rng, model.graph.node)
                if first.input and second.output:
                    first.input[0] = second.output[0]
            case _:
                _field(model, rng)
    return model.SerializeToString()


def _field(model: Any, rng: Rng) -> None:
    """One field of a message within the model changed: its value, its length, or all of it."""
    messages = _messages(model)
    message = pick(rng, messages[1:] or messages)
    field, value = pick(rng, message.ListFields() or [(None, None)])
    if field is None:
        return
    if isinstance(value, int | float | str | bytes):
        with suppress(ValueError, TypeError):  # beyond the field's range
            setattr(message, field.name, _like(value, message, field, messages, rng))
    elif not hasattr(value, "append"):
        message.ClearField(field.name)
    elif rng.random() < 0.3:
        del value[int(rng.integers(len(value)))]
    elif hasattr(value, "add"):  # messages: doubled, moved, or from elsewhere
        others = [m for m in messages if m.DESCRIPTOR is value[0].DESCRIPTOR]
        value.insert(int(rng.integers(len(value) + 1)), pick(rng, others))
    else:
        at = int(rng.integers(len(value)))
        new = _like(value[at], message, field, messages, rng)
        with suppress(ValueError, TypeError):
            if rng.random() < 0.3:
                value.append(new)
            else:
                value[at] = new


def _messages(message: Any) -> list[Any]:
    found = [message]
    for _, value in message.ListFields():
        for inner in value if hasattr(value, "add") else [value]:
            if hasattr(inner, "ListFields"):
                found += _messages(inner)
    return found


def _like(value: Any, message: Any, field: Any, messages: list[Any], rng: Rng) -> Any:
    """Another value of the type of a field, half of the time the one that some other message has there."""
    others = [v for m in messages if m.DESCRIPTOR is message.DESCRIPTOR for f, v in m.ListFields() if f is field]
    if rng.random() < 0.5 and others:
        other = pick(rng, others)
        return pick(rng, other) if hasattr(other, "append") and len(other) else value if other is None else other
    match value:
        case bool() | int():
            return pick(rng, NUMBERS) if rng.random() < 0.6 else int(rng.integers(0, 24))
        case float():
            return pick(rng, REALS)
        case str():
            return pick(rng, TEXTS)
    return pick(rng, (b"", b"\xff", value * 2, np.full(max(len(value) // 4, 1), np.nan, "<f4").tobytes(), value[:-1]))


# HDF5


def hdf5(data: bytes, rng: Rng) -> bytes:
    """An HDF5 file with up to two groups, arrays or attributes changed; configurations as JSON."""
    import h5py

    memory = io.BytesIO(data)
    try:
        with h5py.File(memory, "r+") as file:
            for _ in range(int(rng.integers(1, 3))):
                names: list[str] = []
                file.visit(names.append)
                if not names:
                    break
                name = pick(rng, names)
                if rng.random() < 0.4 and len(owners := [n for n in ("/", *names) if len(file[n].attrs)]):
                    _attribute(file[pick(rng, owners)].attrs, rng)
                else:
                    _entry(file, name, pick(rng, names), rng)
    except Exception:  # the library's own, of many kinds, after changes that exclude each other
        return spoiled(data, rng)
    return memory.getvalue()


def _attribute(attributes: Any, rng: Rng) -> None:
    name = pick(rng, list(attributes))
    value = attributes[name]
    if isinstance(value, str | bytes) and value[:1] in ("{", b"{") and rng.random() < 0.9:
        text = value.encode() if isinstance(value, str) else value
        attributes[name] = document(text, rng).decode("utf-8", "replace")
        return
    options: tuple[Callable[[], Any], ...] = (
        lambda: pick(rng, TEXTS), lambda: pick(rng, NUMBERS), lambda: pick(rng, REALS), lambda: np.zeros((2, 0)),
        lambda: [pick(rng, TEXTS).encode() for _ in range(3)], lambda: b"\xff\xfe", lambda: np.arange(3),
    )  # fmt: skip
    if rng.random() < 0.2:
        del attributes[name]
    else:
        attributes[name] = pick(rng, options)()


def _entry(file: Any, name: str, other: str, rng: Rng) -> None:
    import h5py

    old = file[name]
    shape, dtype = getattr(old, "shape", (2, 2)), getattr(old, "dtype", np.dtype("f4"))
    size = tuple(int(pick(rng, (0, 1, 2, 3, 5))) for _ in range(int(rng.integers(0, 6))))
    kinds = ("f2", "f8", "i1", "i8", "u8", "c8", "S3", "bool")
    if dtype.kind == "O" and rng.random() < 0.5 and shape is not None:
        text = pick(rng, TEXTS[:6])
        words = np.full(shape, text, object)
        flat = words.reshape(-1)
        if flat.size > 1 and rng.random() < 0.7:  # only one of them, or two that change places
            flat[:] = np.asarray(old[()]).reshape(-1)
            flat[int(rng.integers(flat.size))] = text if rng.random() < 0.5 else flat[int(rng.integers(flat.size))]
        del file[name]
        file.create_dataset(name, data=words, dtype=h5py.string_dtype())
        return
    del file[name]
    match int(rng.integers(14)):
        case 0:
            file[name] = np.full(shape or (), pick(rng, REALS), "f4")
        case 1:
            file[name] = np.full(shape or (), pick(rng, NUMBERS), "i8")
        case 2:
            file[name] = np.ones(size, "f4")
        case 3:
            file[name] = np.zeros(shape or (), pick(rng, kinds))
        case 4:
            file.create_dataset(name, (pick(rng, (10**5, 10**9)), 10**6), "f4", chunks=(10, 10))
        case 5:
            file.create_dataset(name, (10**5, 10**4), "f4")
        case 6:
            file[name] = pick(rng, (h5py.SoftLink(f"/{other}"), h5py.ExternalLink("/etc/passwd", "/x")))
        case 7:
            file[name] = h5py.Empty("f4")
        case 8:
            file[name] = pick(rng, TEXTS[:4])
        case 9:
            file[name] = np.zeros(2, [("a", "f4"), ("b", "S3")])
        case 10 if other in file:
            file[name] = file[other]  # one object under two names, or a group within itself
        case 11 if other in file:
            file.copy(other, name)
        case 12:
            file.create_dataset(name, data=np.ones(shape or (1,), "f4"), chunks=True, compression="lzf")
        case _ if rng.random() < 0.3:
            file.create_group(name)
