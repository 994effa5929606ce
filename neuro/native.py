"""The compiled kernels: built with the user's compiler at first use, kept in a cache, called through XLA.

The cache is keyed by the sources, the flags, the compiler, jaxlib and the processor. A library is written under a
temporary name and renamed, and ends in its own digest: a torn or altered file is noticed and built again. Whatever
goes wrong leaves the pure-JAX engine in place, with the reason.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path

import jax

from neuro.cache import caches, processor, trusted

SOURCES = (
    "lanes.h", "threads.h", "fire.h", "lists.h", "lookup.h", "matrix.h", "fire.cc", "trains.h", "trains.cc",
    "product.cc", "probe.cc", "account.h", "account.cc", "network.h", "recurrent.h", "recurrent.cc",
)  # fmt: skip
TARGETS = (
    "fire_int8",
    "fire_int16",
    "fire_float32",
    "drive_int32",
    "drive_float32",
    "pool",
    "count",
    "account",
    "product_int8",
    "product_int16",
    "probe_read",
    "recurrent_run",
)
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-shared", "-ffp-contract=off", "-fno-math-errno", "-w")
"""No contraction: a product and a sum are rounded apart, as everywhere else."""
CHECKED = ("-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
ISAS = {
    "native": ("-march=native",),
    "avx512": ("-march=x86-64-v4",),
    "avx2": ("-march=x86-64-v3",),
    "plain": (),
    "sanitize": ("-march=native", *CHECKED),
    "sanitize-plain": CHECKED,
}
"""Flags by NEURO_ISA; the last two look for faults of the kernels themselves (`make sanitize`)."""
NEEDS = {"avx512": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}, "avx2": {"avx2", "bmi2", "fma"}}
"""What Linux calls the extensions that a processor must have, or the first such instruction ends the process."""
COMPILERS = ("c++", "g++", "clang++")
SECONDS = 300
DIGEST = hashlib.sha256().digest_size


@dataclass(frozen=True)
class Kernels:
    """Which compiled kernels are in use, and why: library (None: the pure-JAX engine runs), instruction set, reason."""

    library: Path | None
    isa: str
    reason: str


class NoKernels(Exception):
    """There is no compiled library, for the reason given; the pure-JAX engine takes its place."""


def kernels() -> Kernels:
    """The kernels of this process, built and registered at the first call.

    `NEURO_ISA` chooses native (default), avx512, avx2, plain or none; `CXX` the compiler; `NEURO_CACHE` the folder.
    Whatever goes wrong is the reason why there are none; nothing is raised.
    """
    return _registered(
        os.environ.get("NEURO_ISA", "native"), os.environ.get("CXX", ""), os.environ.get("NEURO_CACHE", "")
    )


@functools.cache
def _registered(isa: str, compiler: str, cache: str) -> Kernels:
    try:
        if isa == "none":
            raise NoKernels("switched off by NEURO_ISA=none")
        if jax.default_backend() != "cpu":
            raise NoKernels(f"JAX computes on {jax.default_backend()}; the compiled kernels are for CPUs")
        path, reason = library(isa, compiler or None, Path(cache) if cache else None)
        symbols = ctypes.cdll.LoadLibrary(str(path))
        for name in TARGETS:
            jax.ffi.register_ffi_target(target(name, isa), jax.ffi.pycapsule(getattr(symbols, name)), platform="cpu")
    except (NoKernels, OSError, AttributeError) as why:
        return Kernels(None, "none", str(why))
    return Kernels(path, isa, reason)


def lane_bytes() -> int:
    """Bytes of one vector of the kernels in use.

    Raises:
        NoKernels: none are.
    """
    here = kernels()
    if here.library is None:
        raise NoKernels(here.reason)
    return ctypes.cdll.LoadLibrary(str(here.library)).lane_bytes()


def matrix_units() -> bool:
    """Whether the kernels in use multiply by matrix units where there are many spikes."""
    here = kernels()
    return here.library is not None and bool(ctypes.cdll.LoadLibrary(str(here.library)).matrix_units())


def target(name: str, isa: str) -> str:
    """The name under which kernel `name` is registered with XLA."""
    return f"neuro_{name}_{isa}"


def library(isa: str = "native", compiler: str | None = None, cache: Path | None = None) -> tuple[Path, str]:
    """The path of the library for an instruction set, and where it comes from; built where the cache has none.

    Raises:
        NoKernels: an instruction set that is unknown or that the processor lacks, no compiler, one that fails, or no
            folder for the library.
    """
    _check(isa)
    found = _compiler(compiler)
    flags = (*FLAGS, *_march(isa))
    sources = resources.files("neuro.kernels")
    with resources.as_file(sources) as folder:
        name = f"kernels-{_key(folder, found, flags)}.so"
        places = caches(cache)
        for place in places:
            if trusted(place) and _whole(place / name):
                return place / name, f"from the cache, {place}"
        damaged = [place for place in places if trusted(place) and (place / name).exists()]
        built = _build(folder, found, flags)
    again = f"; the library in {damaged[0]} was damaged" if damaged else ""
    refusals = []
    for place in places:
        try:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not trusted(place):
                raise PermissionError(f"{place} is not a folder of this user alone")
            kept = _keep(built, place / name)
        except OSError as why:
            refusals.append(str(why))
        else:
            but = "".join(f"; not elsewhere: {why}" for why in refusals)
            return kept, f"built by {found}, kept in {place}{again}{but}"
    raise NoKernels(f"built, but there is nowhere to keep them: {'; '.join(refusals)}; set NEURO_CACHE to a folder")


def _check(isa: str) -> None:
    if isa not in ISAS:
        raise NoKernels(f"NEURO_ISA={isa} is unknown; known: {', '.join((*ISAS, 'none'))}")
    has = {word for line in processor().splitlines() if line.startswith("flags") for word in line.split()}
    if has and (lacking := NEEDS.get(isa, set()) - has):
        raise NoKernels(f"NEURO_ISA={isa}: this processor lacks {', '.join(sorted(lacking))}; take native or plain")
    if isa.startswith("sanitize") and "asan" not in os.environ.get("LD_PRELOAD", ""):
        raise NoKernels(f"NEURO_ISA={isa} needs its runtime loaded before Python; use make sanitize")


def _compiler(asked: str | None) -> str:
    for name in (asked,) if asked else COMPILERS:
        if path := shutil.which(name):
            return path
    raise NoKernels(f"no C++ compiler: looked for {asked or ', '.join(COMPILERS)}; install one or set CXX")


def _march(isa: str) -> tuple[str, ...]:
    if isa == "native" and platform.machine().lower() in ("aarch64", "arm64"):
        return ("-mcpu=native",)
    return ISAS[isa]


def _key(folder: Path, compiler: str, flags: tuple[str, ...]) -> str:
    try:
        said = subprocess.run([compiler, "--version"], capture_output=True, check=False, timeout=SECONDS, env=_alone())
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoKernels(f"{compiler} did not run to its end: {error}") from error
    text = hashlib.sha256(b"\0".join((folder / name).read_bytes() for name in SOURCES))
    text.update(
        "\0".join((*flags, compiler, metadata.version("jaxlib"), platform.machine(), processor())).encode()
        + said.stdout
    )
    return text.hexdigest()[:24]


def _whole(path: Path) -> bool:
    """Whether the file is there and its last bytes are the digest of the others."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return len(content) > DIGEST and hashlib.sha256(content[:-DIGEST]).digest() == content[-DIGEST:]


def _build(folder: Path, compiler: str, flags: tuple[str, ...]) -> bytes:
    """The shared library, its units compiled side by side."""
    units = [folder / name for name in SOURCES if name.endswith(".cc")]
    include = ("-isystem", jax.ffi.include_dir())
    with tempfile.TemporaryDirectory(prefix="neuro-build-") as place:
        objects = [str(Path(place) / f"{unit.stem}.o") for unit in units]
        each = [flag for flag in flags if flag != "-shared"]
        commands = [
            [compiler, *each, *include, "-c", str(unit), "-o", to] for unit, to in zip(units, objects, strict=True)
        ]
        out = Path(place) / "kernels.so"
        running: list[subprocess.Popen] = []
        try:
            for command in commands:
                running.append(
                    subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace", env=_alone())
                )
            faults = [p.communicate(timeout=SECONDS)[1] for p in running]
            if any(p.returncode for p in running):
                raise NoKernels(f"{compiler} failed: {_first_lines(''.join(faults))}")
            linked = subprocess.run(
                [compiler, *flags, *objects, "-o", str(out)],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=SECONDS,
                check=False,
                env=_alone(),
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NoKernels(f"{compiler} did not run to its end: {error}") from error
        finally:
            _end(running)
        if linked.returncode or not out.is_file():
            raise NoKernels(f"{compiler} could not link the kernels: {_first_lines(linked.stderr)}")
        return out.read_bytes()


def _alone() -> dict[str, str]:
    """What the compiler runs under: not under the sanitizers' runtime, which makes it several times slower."""
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}


def _end(running: list[subprocess.Popen]) -> None:
    """No compiler outlives a failure or an interruption."""
    for process in running:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


def _first_lines(text: str, number: int = 3) -> str:
    return " / ".join(line.strip() for line in text.splitlines()[:number]) or "it said nothing"


def _keep(content: bytes, path: Path) -> Path:
    """Writes the library and its digest under a name of its own, then renames it: others see all of it or nothing."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with open(handle, "wb") as file:
            file.write(content + hashlib.sha256(content).digest())
        os.chmod(name, 0o700)
        os.replace(name, path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    return path
