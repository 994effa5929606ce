"""A program of its own: reads an HDF5 file from standard input, writes what Keras keeps in it to standard output.

The HDF5 library may crash on a damaged file, so it runs apart from the process that wants the weights. Output: the
length of a JSON text in eight bytes, the text, then the arrays it describes. The text maps each path to an entry: a
`group` with its texts and lists of names, an `array` with type, shape and place, `words` or `flags` (texts or truth
values, in `words`), or `refused` with the reason. Only hard links are followed, and only data inside the file is read.
"""

import io
import json
import sys
from typing import Any

import h5py
import numpy as np

LIMIT = 2 * 2**30
"""Most bytes of all arrays together, and of each."""
ENTRIES = 100_000
"""Most groups and arrays."""
DEPTH = 40
"""Deepest path."""
TEXT = 2**24
"""Most bytes of texts in one array."""
RATIO = 1100
"""Largest ratio of unpacked to packed bytes; deflate reaches 1032."""
FILTERS = {1, 2, 3}
"""Filters that are undone: deflate, shuffle, Fletcher's checksum."""
ATTRIBUTES = ("model_config", "keras_version", "weight_names")
"""Attributes that are read, the last also where it is split into numbered ones."""
SKIPPED = ("optimizer_weights", "optimizer")
"""Groups at the top that are not read."""


def extracted(content: bytes) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The entries by path, and the arrays in their order.

    Raises:
        Exception: of any kind, where the file is damaged.
    """
    entries: dict[str, Any] = {}
    arrays: list[np.ndarray] = []
    with h5py.File(io.BytesIO(content), "r") as file:
        _group(file, "", entries, arrays)
    return entries, arrays


def _group(group: Any, path: str, entries: dict[str, Any], arrays: list[np.ndarray]) -> None:
    entries[path] = {"kind": "group", **_attributes(group)}
    for name in group:
        inner = f"{path}/{name}" if path else name
        if inner in SKIPPED:
            continue
        if len(entries) >= ENTRIES or inner.count("/") >= DEPTH:
            raise ValueError(f"more than {ENTRIES} entries or {DEPTH} levels")
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            entries[inner] = {"kind": "refused", "why": "is a link to another place; links are not followed"}
            continue
        try:
            found = group[name]
        except Exception:  # the library's own, of many kinds
            entries[inner] = {"kind": "refused", "why": "is damaged"}
            continue
        if isinstance(found, h5py.Group):
            _group(found, inner, entries, arrays)
        else:
            entries[inner] = _array(found, arrays)


def _attributes(group: Any) -> dict[str, Any]:
    found = {}
    for name in group.attrs:
        if name in ATTRIBUTES or (name.startswith(ATTRIBUTES[-1]) and name[len(ATTRIBUTES[-1]) :].isdecimal()):
            value = group.attrs[name]
            if isinstance(value, np.ndarray):
                value = value.ravel()[:ENTRIES].tolist()
                found[name] = [_text(v) for v in value]
            else:
                found[name] = _text(value)
    return found


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value) if isinstance(value, str) else None


def _array(found: Any, arrays: list[np.ndarray]) -> dict[str, Any]:
    if (words := _words(found)) is not None:
        return words
    if why := _unreadable(found, LIMIT - sum(a.nbytes for a in arrays)):
        return {"kind": "refused", "why": why}
    try:
        value = np.asarray(found[()], found.dtype.newbyteorder("<"))
    except Exception:  # the library's own, of many kinds
        return {"kind": "refused", "why": "is damaged"}
    arrays.append(value)
    return {"kind": "array", "dtype": value.dtype.str, "shape": list(found.shape)}


def _words(found: Any) -> dict[str, Any] | None:
    """Texts, and truth values as numbers, in row-major order; None for anything else."""
    try:
        text = h5py.check_string_dtype(found.dtype) is not None
        if not (text or found.dtype.kind == "b") or found.shape is None or found.is_virtual or found.external:
            return None
        if found.size > ENTRIES or found.dtype.itemsize * found.size > TEXT:
            return None
        values = np.asarray(found[()]).ravel().tolist()
        if sum(len(v) for v in values if isinstance(v, bytes)) > TEXT:
            return None
        known = [_text(v) if text else int(v) for v in values]
        kind, why = "words" if text else "flags", "is no array of numbers"
        return {"kind": kind, "shape": list(found.shape), "words": known, "why": why}
    except Exception:  # the library's own, of many kinds
        return None


def _unreadable(found: Any, left: int) -> str:
    try:
        if not isinstance(found, h5py.Dataset) or found.dtype.kind not in "fiu" or found.shape is None:
            return "is no array of numbers"
        plist = found.id.get_create_plist()
        if found.is_virtual or plist.get_external_count():
            return "keeps its data in other files, which are not opened"
        if {plist.get_filter(i)[0] for i in range(plist.get_nfilters())} - FILTERS:
            return "is packed in a way that is not read"
        if found.nbytes > min(left, found.id.get_storage_size() * (RATIO if found.chunks else 1)):
            return f"claims {found.nbytes} bytes, more than the file has or than is read"
    except Exception:  # the library's own, of many kinds
        return "is damaged"
    return ""


def main() -> None:
    """Extract standard input to standard output; a damaged file ends it with a message and status 1."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (4 * LIMIT, 4 * LIMIT))
    except (ImportError, ValueError, OSError):  # not every system has it
        pass
    try:
        entries, arrays = extracted(sys.stdin.buffer.read())
    except Exception as error:  # the library's own, of many kinds
        print(str(error).strip().split("\n")[0][:120], file=sys.stderr)
        sys.exit(1)
    header = json.dumps(entries).encode()
    sys.stdout.buffer.write(len(header).to_bytes(8, "little") + header)
    for value in arrays:
        sys.stdout.buffer.write(value.tobytes())


if __name__ == "__main__":
    main()
