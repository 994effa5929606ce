"""Reading Keras files that nobody vouches for, without Keras: legacy `.h5` and `.keras` archives.

Only JSON and arrays are read. Nothing is unpickled or executed, and no link out of the file is followed.
"""

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from converters.importers.hdf5_file import store
from neuro.errors import BadInput, printable
from neuro.file import LIMIT, content

TEXT_LIMIT = 64 * 2**20
"""Largest JSON text in bytes."""
RATIO_LIMIT = 1100
"""Largest ratio of unpacked to packed bytes; deflate reaches 1032."""


@dataclass(frozen=True, eq=False)
class Source:
    """A file's network: `config` as Keras writes it, and the major version that wrote it.

    store: what the HDF5 part holds by path, see `importers.hdf5_extract`, with the `values` of arrays; root: the path
    below which weights lie; native: whether the file is a `.keras` archive.
    """

    file: str
    config: dict[str, Any]
    version: int
    store: dict[str, dict[str, Any]]
    root: str
    native: bool

    def has(self, path: str) -> bool:
        """Whether something lies at a path below the root."""
        return f"{self.root}{path}" in self.store

    def names(self, path: str) -> list[str]:
        """The names of a layer's arrays, one attribute or, being long, several numbered ones.

        Raises:
            BadInput: they are no names.
        """
        group = self.store.get(f"{self.root}{path}", {})
        found = [group["weight_names"]] if "weight_names" in group else []
        while "weight_names" not in group and (part := group.get(f"weight_names{len(found)}")) is not None:
            found.append(part)
        texts = [t for part in found for t in (part if isinstance(part, list) else [part])]
        if not all(isinstance(t, str) for t in texts):
            raise BadInput(f"{self.file}: the weight_names of {path!r} are no list of names; save the model again.")
        return texts

    def array(self, path: str) -> np.ndarray | None:
        """The numbers at a path below the root, None where there is nothing.

        Raises:
            BadInput: something else is there, or what is not read.
        """
        entry = self.store.get(f"{self.root}{path}")
        if entry is None:
            return None
        if entry["kind"] != "array":
            why = entry.get("why", "is no array of numbers")
            raise BadInput(f"{self.file}: {path!r} {why}; copy the file or save the model again.")
        return entry["values"]


def read(path: str | Path) -> Source:
    """The network in the file `path`.

    Raises:
        BadInput: the file is missing, damaged, too large, or holds weights alone.
    """
    path = Path(path)
    data = content(path, "an .h5 or .keras file")
    return _archive(path.name, data) if data[:2] == b"PK" else _legacy(path.name, data)


def _archive(file: str, data: bytes) -> Source:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            config = _member(file, archive, "config.json", TEXT_LIMIT)
            metadata = _member(file, archive, "metadata.json", TEXT_LIMIT)
            weights = _member(file, archive, "model.weights.h5", LIMIT)
    except BadInput:
        raise
    except Exception as error:  # the reader's own, of many kinds
        raise BadInput(f"{file} is a damaged archive ({printable(error)}); save the model again.") from None
    version = _mapping(file, metadata).get("keras_version")
    return Source(file, _mapping(file, config), _major(version), store(file, weights), "", True)


def _member(file: str, archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise BadInput(f"{file} holds no {name!r}; save the whole model with model.save(path).") from None
    if info.file_size > limit or info.file_size > RATIO_LIMIT * max(info.compress_size, 1):
        raise BadInput(
            f"{file}: {name!r} unpacks from {info.compress_size} to {info.file_size} bytes, beyond the limits of "
            f"{limit} bytes and {RATIO_LIMIT}-fold; save the model again."
        )
    with archive.open(info) as member:
        return member.read(info.file_size)


def _legacy(file: str, data: bytes) -> Source:
    held = store(file, data)
    top = held[""]
    if "model_config" not in top:
        raise BadInput(f"{file} holds no model_config, only weights; save the whole model with model.save(path).")
    if held.get("model_weights", {}).get("kind") != "group":
        raise BadInput(f"{file} holds no model_weights; save the whole model with model.save(path).")
    version = _major(_text(top.get("keras_version")))
    return Source(file, _mapping(file, _text(top["model_config"])), version, held, "model_weights/", False)


def _mapping(file: str, text: bytes | str | None) -> dict[str, Any]:
    if text is None or len(text) > TEXT_LIMIT:
        raise BadInput(f"{file}: its configuration is no text of at most {TEXT_LIMIT} bytes; save the model again.")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{file}: its configuration is no JSON ({_brief(error)}); save the model again.") from None
    if not isinstance(value, dict):
        raise BadInput(f"{file}: its configuration is a {type(value).__name__}, not a mapping; save the model again.")
    return value


def _major(version: Any) -> int:
    """2 for what does not say: so old that nothing newer wrote it."""
    first = str(version or "2").split(".")[0]
    return int(first) if first.isdecimal() and len(first) < 4 else 2


def _text(value: Any) -> str | bytes | None:
    return value if isinstance(value, str | bytes) else None


def _brief(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:120].rstrip(".")
