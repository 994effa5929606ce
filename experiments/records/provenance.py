"""Where a result comes from: versions, platform, commit, and the texts of the machine files."""

import platform
import subprocess
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jax

from baselines import device
from neuro import chip
from neuro.constants import Description, bundled, locate

PACKAGES = (
    "neuro-verdict", "jax", "jaxlib", "numpy", "scipy", "h5py", "h5netcdf", "xarray", "onnx", "pydantic", "pint",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Version of every installed package that can change a result."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def environment() -> dict[str, str]:
    """Python, platform and the devices that JAX runs on."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "jax_devices": ", ".join(str(d) for d in jax.devices()),
    }


def commit(root: Path | None = None) -> str:
    """Commit of the checkout at `root` (default: the one this file is in), with ``+changes`` where files differ from
    it; empty where there is no checkout."""
    root = root or Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return ""
    found = _git(root, "rev-parse", "HEAD")
    return f"{found}+changes" if found and _git(root, "status", "--porcelain") else found


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def file_text(description: Description) -> str:
    """The file behind `description`: verbatim where it is a bundled one, else its content in SI as JSON."""
    for package, load in ((chip.PACKAGE, chip.load), (device.PACKAGE, device.load)):
        if description.name in bundled(package) and load(description.name) == description:
            return locate(description.name, package, "machine").read_text(encoding="utf-8")
    return description.model_dump_json(indent=2)


def digest(text: str) -> str:
    """sha256 of `text` in UTF-8."""
    return sha256(text.encode()).hexdigest()
