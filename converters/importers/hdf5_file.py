"""Reading HDF5 files that nobody vouches for, in a process of their own."""

import json
import subprocess
import sys
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from neuro import file
from neuro.errors import BadInput

TIME_LIMIT = 15
"""Longest time in seconds that reading a file may take, but for one more for each 2**20 bytes."""


def content(path: Path) -> dict[str, dict[str, Any]]:
    """What the HDF5 file at `path` holds, as `store`.

    Raises:
        BadInput: there is none, or it cannot be read.
    """
    return store(path.name, file.content(path, "an HDF5 file"))


def store(name: str, data: bytes) -> dict[str, dict[str, Any]]:
    """What an HDF5 file holds by path: see `importers.hdf5_extract`, with the `values` of arrays.

    Another process reads it, since the library may crash on a damaged file. name: the file's, for messages.

    Raises:
        BadInput: damaged, too large, or not HDF5.
    """
    limit = TIME_LIMIT + len(data) // 2**20
    command = [sys.executable, "-P", str(Path(__file__).with_name("hdf5_extract.py"))]
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        raise BadInput(f"{name} is not read within {limit} s; it is damaged. Copy or save it again.") from None
    except MemoryError:
        raise BadInput(
            f"{name} has {len(data):,} bytes, for which there is too little memory; use a smaller network."
        ) from None
    if done.returncode:
        text = done.stderr.decode("utf-8", "replace").strip().split("\n")[-1][:120].rstrip(".")
        why = text if done.returncode == 1 else f"reading it ends with status {done.returncode}"
        raise BadInput(f"{name} is not an HDF5 file, or is damaged or cut short ({why}); copy or save it again.")
    length = int.from_bytes(done.stdout[:8], "little")
    entries, offset = json.loads(done.stdout[8 : 8 + length]), 8 + length
    for entry in entries.values():
        if entry["kind"] == "array":
            dtype, count = np.dtype(entry["dtype"]), prod(entry["shape"])
            entry["values"] = np.frombuffer(done.stdout, dtype, count, offset).reshape(entry["shape"])
            offset += count * dtype.itemsize
    return entries
