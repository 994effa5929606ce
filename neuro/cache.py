"""Where compiled code is kept from one command to the next: our kernels, and the programs that XLA compiles."""

import hashlib
import os
import platform
import stat
import tempfile
from pathlib import Path

SHARED = "neuro-kernels"


def chosen() -> Path | None:
    """The folder that `NEURO_CACHE` names."""
    named = os.environ.get("NEURO_CACHE")
    return Path(named) if named else None


def caches(cache: Path | None = None) -> list[Path]:
    """Folders that are looked in and written to: `cache` or the user's own, then one among temporary files."""
    own = "" if (user := _user()) is None else f"-{user}"
    shared = Path(tempfile.gettempdir()) / f"{SHARED}{own}"
    try:
        return [cache or _own(), shared]
    except RuntimeError:  # there is no home
        return [shared]


def trusted(place: Path) -> bool:
    """Whether what lies in a cache may be loaded. Anyone can make folders among temporary files before this user does:
    such a folder must be no link, belong to the user, and be closed to all others."""
    if not place.name.startswith(SHARED) or (user := _user()) is None:
        return True
    try:
        found = place.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == user and not found.st_mode & 0o077


def programs() -> Path | None:
    """The folder for what XLA compiled on this processor, made if need be; None where none can be written to.

    JAX's own key holds its version and the program, but not what the processor can do: a home folder may be shared by
    several machines.
    """
    name = f"programs-{hashlib.sha256(processor().encode()).hexdigest()[:12]}"
    for place in caches(chosen()):
        try:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            if trusted(place):
                (place / name).mkdir(exist_ok=True)
                if os.access(place / name, os.W_OK):
                    return place / name
        except OSError:
            continue
    return None


def processor() -> str:
    """What `-march=native` depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))}))


def _user() -> int | None:
    """Number of the user; None on systems that have none."""
    return os.getuid() if hasattr(os, "getuid") else None


def _own() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "neuro-verdict"
