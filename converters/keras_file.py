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

from neuro.errors import BadInput

FILE_LIMIT = 2 * 2**30
"""Largest file, archive member or array in bytes."""
TEXT_LIMIT = 64 * 2**20
"""Largest JSON text in bytes."""
RATIO_LIMIT = 1100
"""Largest ratio of unpacked to packed bytes; deflate reaches 1032."""
FILTERS = {1, 2, 3}
"""HDF5 filters that are undone: deflate, shuffle, Fletcher's checksum."""


@dataclass(frozen=True, eq=False)
class Source:
    """A file's network: `config` as Keras writes it, the major version that wrote it, and where weights lie.

    group: the h5py group of the weights; native: whether the file is a `.keras` archive.
    """

    file: str
    config: dict[str, Any]
    version: int
    group: Any
    native: bool


def read(path: str | Path) -> Source:
    """The network in the file `path`.

    Raises:
        BadInput: the file is missing, damaged, too large, or holds weights alone.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInput(f"{path}: there is no such file; give the path of an .h5 or .keras file.")
    try:
        if path.stat().st_size > FILE_LIMIT:
            raise BadInput(f"{path.name} exceeds the limit of {FILE_LIMIT // 2**30} GiB; use a smaller network.")
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path.name} cannot be read: {error.strerror}; check its permissions.") from None
    return _archive(path.name, data) if data[:2] == b"PK" else _legacy(path.name, data)


def _archive(file: str, data: bytes) -> Source:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            config = _member(file, archive, "config.json", TEXT_LIMIT)
            metadata = _member(file, archive, "metadata.json", TEXT_LIMIT)
            weights = _member(file, archive, "model.weights.h5", FILE_LIMIT)
    except BadInput:
        raise
    except Exception as error:  # the reader's own, of many kinds
        raise BadInput(f"{file} is a damaged archive ({error}); save the model again.") from None
    version = _mapping(file, metadata).get("keras_version")
    return Source(file, _mapping(file, config), _major(version), _group(file, weights), True)


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
    root = _group(file, data)
    config = attribute(file, root, "model_config")
    if config is None:
        raise BadInput(f"{file} holds no model_config, only weights; save the whole model with model.save(path).")
    version = attribute(file, root, "keras_version")
    weights = child(file, root, "model_weights")
    if weights is None:
        raise BadInput(f"{file} holds no model_weights; save the whole model with model.save(path).")
    return Source(file, _mapping(file, _text(config)), _major(_text(version)), weights, False)


def _group(file: str, data: bytes) -> Any:
    import h5py

    try:
        return h5py.File(io.BytesIO(data), "r")
    except Exception as error:  # the library's own, of many kinds
        raise BadInput(f"{file} is not an HDF5 file, or is cut short ({_brief(error)}); copy it again.") from None


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


def attribute(file: str, group: Any, name: str) -> Any:
    """An attribute of a group, None where it has none.

    Raises:
        BadInput: it cannot be read.
    """
    try:
        return group.attrs.get(name)
    except Exception as error:  # the library's own, of many kinds
        raise BadInput(f"{file}: attribute {name!r} is damaged ({_brief(error)}); copy or save it again.") from None


def names(file: str, group: Any, name: str) -> list[str]:
    """A list of names kept as one attribute or, being long, as several numbered ones."""
    found = attribute(file, group, name)
    parts = [found] if found is not None else []
    while found is None and (part := attribute(file, group, f"{name}{len(parts)}")) is not None:
        parts.append(part)
    texts = [t for part in parts for t in np.asarray(part).ravel().tolist()]
    texts = [t.decode("utf-8", "replace") if isinstance(t, bytes) else t for t in texts]
    if not all(isinstance(t, str) for t in texts):
        raise BadInput(f"{file}: {name!r} is no list of names; copy the file or save the model again.")
    return texts


def child(file: str, group: Any, name: str) -> Any:
    """What a group holds under a name of one or several parts, None where there is nothing.

    Raises:
        BadInput: it is a link to elsewhere, or damaged.
    """
    import h5py

    for part in name.split("/"):
        if not part or part in (".", ".."):
            return None
        try:
            link = group.get(part, getlink=True) if isinstance(group, h5py.Group) else None
            if link is None:
                return None
            if not isinstance(link, h5py.HardLink):
                raise BadInput(f"{file}: {name!r} is a link to another place; links are not followed. Save it again.")
            group = group[part]
        except BadInput:
            raise
        except Exception as error:  # the library's own, of many kinds
            raise BadInput(f"{file}: {name!r} is damaged ({_brief(error)}); copy or save it again.") from None
    return group


def array(file: str, group: Any, name: str) -> np.ndarray | None:
    """The floats or whole numbers of a data set, None where there is none.

    Raises:
        BadInput: it is no such data set, too large, kept in other files, or damaged.
    """
    import h5py

    found = child(file, group, name)
    if found is None:
        return None
    where = f"{file}: {name!r}"
    try:
        if not isinstance(found, h5py.Dataset) or found.dtype.kind not in "fiu" or found.shape is None:
            raise BadInput(f"{where} is no array of numbers; save the model again.")
        plist = found.id.get_create_plist()
        if found.is_virtual or plist.get_external_count():
            raise BadInput(f"{where} keeps its data in other files, which are not opened; save the model again.")
        if {plist.get_filter(i)[0] for i in range(plist.get_nfilters())} - FILTERS:
            raise BadInput(f"{where} is packed in a way that is not read; save the model without it.")
        stored = found.id.get_storage_size() * (RATIO_LIMIT if found.chunks else 1)
        if found.nbytes > min(FILE_LIMIT, stored):
            raise BadInput(f"{where} claims {found.nbytes} bytes, more than the file has or than {FILE_LIMIT}.")
        return np.asarray(found[()])
    except BadInput:
        raise
    except Exception as error:  # the library's own, of many kinds
        raise BadInput(f"{where} is damaged ({_brief(error)}); copy the file or save the model again.") from None


def _brief(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:120].rstrip(".")
