"""One comparison on disk: netCDF-4 compatible HDF5, written whole or not at all."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import h5py
import xarray as xr

from experiments.compare import Comparison
from experiments.records.record_rows import Record, rows
from experiments.records.record_tree import SCHEMA, tree
from neuro.errors import BadInput
from neuro.file import check_writable, replacing


def write(comparison: Comparison, path: Path, command: str, created: str | None = None) -> Path:
    """Writes `comparison` to `path` and gives the path back; an older record there stays until the new one is whole.

    command: what the user typed; created: ISO 8601, now by default.

    Raises:
        BadInput: `path` cannot be written.
    """
    return store(tree(comparison, command, created or now()), path)


def now() -> str:
    """ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def store(content: xr.DataTree, path: Path) -> Path:
    """Writes `content` to `path`, whole or not at all, and gives the path back.

    Raises:
        BadInput: `path` cannot be written.
    """
    check_writable(path)
    with replacing(path) as part:
        content.to_netcdf(part, mode="w", engine="h5netcdf", encoding=_encoding(content))
    return path


def read(path: Path) -> Record:
    """The record at `path`, all of it in memory.

    Raises:
        BadInput: no such file, no record, damaged, or of another version of the schema.
    """
    if not path.is_file():
        raise BadInput(f"{path}: no such record. 'neuro compare' writes one and prints its path.")
    _check_schema(path)
    try:
        with xr.open_datatree(path, engine="h5netcdf") as opened:
            content = opened.load()
        return rows(content)
    except (OSError, KeyError, ValueError, RuntimeError, AttributeError, TypeError) as error:
        raise BadInput(f"{path}: a damaged record: {error}. Run 'neuro compare' again to write a new one.") from None


def config_hash(options: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits that stand for `options`, in whatever order."""
    text = json.dumps(options, sort_keys=True, default=str)
    return sha256(text.encode()).hexdigest()[:8]


def default_path(network: str, digits: str) -> Path:
    """Where a record goes unless the user says: ``runs/<network>-<digits>.h5``."""
    slug = re.sub(r"[^a-z0-9]+", "-", network.lower()).strip("-")
    return Path("runs") / f"{slug or 'network'}-{digits}.h5"


def _check_schema(path: Path) -> None:
    try:
        with h5py.File(path, "r") as file:
            found = file.attrs.get("schema")
    except OSError as error:
        raise BadInput(
            f"{path}: not a readable HDF5 file: {error}. Give a record that 'neuro compare' wrote."
        ) from None
    if found is None:
        raise BadInput(
            f"{path}: an HDF5 file but not a record: it names no schema. Give one that 'neuro compare' wrote."
        )
    kind = SCHEMA.partition("/")[0]
    if isinstance(found, str) and found.startswith("neuro.") and found.partition("/")[0] != kind:
        raise BadInput(
            f"{path}: holds {found!r}, no comparison ({SCHEMA!r}). Give a record that 'neuro compare' wrote; "
            "'neuro validate' draws its figure beside the record."
        )
    if not isinstance(found, str) or found != SCHEMA:
        raise BadInput(
            f"{path}: has the schema {found!r}; this version of neuro reads {SCHEMA!r}. "
            "Run 'neuro compare' again, or read it with the version that wrote it."
        )


def _encoding(content: xr.DataTree) -> dict[str, dict[str, dict[str, Any]]]:
    """gzip for every array of numbers; text cannot be filtered."""
    packed = {"compression": "gzip", "shuffle": True}
    return {
        node.path: {str(k): packed for k, v in own.variables.items() if v.ndim and v.dtype.kind in "iuf"}
        for node in content.subtree
        for own in [node.to_dataset(inherit=False)]
    }
