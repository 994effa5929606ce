"""What `neuro doctor` finds: which engine runs here and why, and what else a result depends on."""

import json
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
from rich.table import Table
from rich.text import Text

from experiments.records.provenance import environment, versions
from experiments.terminal import screen
from neuro import native
from neuro.cache import caches, chosen

OPTIONAL = {
    "brian2": "networks to and from Brian2",
    "onnxruntime": "networks measured as ONNX Runtime runs them",
}
"""Packages that are imported where they are needed only, and what for."""


def examination() -> dict[str, Any]:
    """Kernels in use and why, their caches, JAX, cores, packages and data, ready for JSON. Sizes are in bytes."""
    here = native.kernels()
    return {
        "kernels": {
            "engine": "compiled" if here.library else "pure JAX",
            "library": str(here.library) if here.library else None,
            "instruction_set": here.isa,
            "vector_bytes": native.lane_bytes() if here.library else None,
            "matrix_units": native.matrix_units(),
            "reason": here.reason,
        },
        "caches": [_cache(place) for place in caches(chosen())],
        "jax": {
            "version": jax.__version__,
            "backend": jax.default_backend(),
            "devices": [str(device) for device in jax.devices()],
        },
        "cores": cores(),
        "environment": environment(),
        "packages": versions(),
        "optional": {name: _version(name) for name in OPTIONAL},
        "data": _data(os.environ.get("NEURO_DATA")),
    }


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cache(place: Path) -> dict[str, Any]:
    """A cache: kernels and programs of XLA in it, the bytes of both; writable: whether more could be kept, as far as
    rights tell."""
    nearest = next(folder for folder in (place, *place.parents) if folder.exists())
    libraries = [path.stat().st_size for path in place.glob("kernels-*.so")] if place.is_dir() else []
    programs = [path.stat().st_size for path in place.glob("programs-*/*-cache")] if place.is_dir() else []
    return {
        "folder": str(place),
        "libraries": len(libraries),
        "programs": len(programs),
        "bytes": sum(libraries) + sum(programs),
        "writable": nearest.is_dir() and os.access(nearest, os.W_OK),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _data(folder: str | None) -> dict[str, Any]:
    return {"folder": folder, "exists": bool(folder) and Path(folder or "").is_dir()}


def show(as_json: bool) -> None:
    """Prints what `examination` finds, as a table or as one JSON object."""
    found = examination()
    if as_json:
        print(json.dumps(found))
    else:
        print_examination(found)


def print_examination(found: dict[str, Any]) -> None:
    """Prints what `examination` found."""
    console, kernels, data = screen(), found["kernels"], found["data"]
    rows = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    rows.add_row("engine", Text(kernels["engine"], "bold"))
    if kernels["library"]:
        rows.add_row("kernels", kernels["library"])
        units = "with" if kernels["matrix_units"] else "without"
        width = f"vectors of {kernels['vector_bytes']} bytes, {units} matrix units"
        rows.add_row("instruction set", f"{kernels['instruction_set']}, {width}")
    rows.add_row("why", kernels["reason"])
    for cache in found["caches"]:
        state = "" if cache["writable"] else ", cannot be written to"
        held = f"{cache['libraries']} libraries, {cache['programs']} programs, {cache['bytes']:,} bytes"
        rows.add_row("cache", f"{cache['folder']}: {held}{state}")
    rows.add_row("JAX", f"{found['jax']['version']} on {found['jax']['backend']}: {', '.join(found['jax']['devices'])}")
    rows.add_row("cores", str(found["cores"]))
    rows.add_row("Python", f"{found['environment']['python']}, {found['environment']['platform']}")
    rows.add_row("packages", ", ".join(f"{name} {number}" for name, number in found["packages"].items()))
    for name, number in found["optional"].items():
        rows.add_row("optional", f"{name} {number or '(not installed)'}: {OPTIONAL[name]}")
    missing = "" if data["exists"] else ", which is no folder"
    rows.add_row("NEURO_DATA", f"{data['folder']}{missing}" if data["folder"] else "not set: data sets are downloaded")
    console.print(rows)
