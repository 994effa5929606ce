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

SOURCES = (
    "lanes.h", "threads.h", "fire.h", "lookup.h", "fire.cc", "trains.h", "trains.cc", "probe.cc",
    "recurrent.h", "recurrent.cc",
)  # fmt: skip
TARGETS = (
    "fire_int8",
    "fire_int16",
    "fire_float32",
    "drive_int32",
    "drive_float32",
    "pool",
    "count",
    "tally",
    "probe_read",
    "recurrent_run",
)
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-shared", "-ffp-contract=off", "-fno-math-errno", "-w")
"""No contraction: a product and a sum are rounded apart, as everywhere else."""
ISAS = {
    "native": ("-march=native",),
    "avx512": ("-march=x86-64-v4",),
    "avx2": ("-march=x86-64-v3",),
    "plain": (),
}
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


def target(name: str, isa: str) -> str:
    """The name under which kernel `name` is registered with XLA."""
    return f"neuro_{name}_{isa}"


def library(isa: str = "native", compiler: str | None = None, cache: Path | None = None) -> tuple[Path, str]:
    """The path of the library for an instruction set, and where it comes from; built where the cache has none.

    Raises:
        NoKernels: an unknown instruction set, no compiler, or one that fails.
    """
    if isa not in ISAS:
        raise NoKernels(f"NEURO_ISA={isa} is unknown; known: {', '.join((*ISAS, 'none'))}")
    found = _compiler(compiler)
    flags = (*FLAGS, *_march(isa))
    sources = resources.files("neuro.kernels")
    with resources.as_file(sources) as folder:
        key = _key(folder, found, flags)
        places = [cache or _cache(), Path(tempfile.gettempdir()) / f"neuro-kernels-{os.getuid()}"]
        name = f"kernels-{key}.so"
        for place in places:
            if _whole(place / name):
                return place / name, f"from the cache, {place}"
        built = _build(folder, found, flags)
    for place in places:
        try:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            return _keep(built, place / name), f"built by {found}, kept in {place}"
        except OSError:
            continue
    raise NoKernels(f"neither {places[0]} nor {places[1]} can be written to")


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
    version = subprocess.run([compiler, "--version"], capture_output=True, check=False).stdout
    text = hashlib.sha256(b"\0".join((folder / name).read_bytes() for name in SOURCES))
    text.update(
        "\0".join((*flags, compiler, metadata.version("jaxlib"), platform.machine(), _processor())).encode() + version
    )
    return text.hexdigest()[:24]


def _processor() -> str:
    """What `-march=native` depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return "".join(sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))}))


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "neuro-verdict"


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
    with tempfile.TemporaryDirectory(prefix="neuro-kernels-") as place:
        objects = [str(Path(place) / f"{unit.stem}.o") for unit in units]
        each = [flag for flag in flags if flag != "-shared"]
        commands = [
            [compiler, *each, *include, "-c", str(unit), "-o", to] for unit, to in zip(units, objects, strict=True)
        ]
        out = Path(place) / "kernels.so"
        try:
            running = [subprocess.Popen(c, stderr=subprocess.PIPE, text=True) for c in commands]
            faults = [p.communicate(timeout=SECONDS)[1] for p in running]
            if any(p.returncode for p in running):
                raise NoKernels(f"{compiler} failed: {_first_lines(''.join(faults))}")
            linked = subprocess.run(
                [compiler, *flags, *objects, "-o", str(out)],
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NoKernels(f"{compiler} did not run to its end: {error}") from error
        if linked.returncode or not out.is_file():
            raise NoKernels(f"{compiler} could not link the kernels: {_first_lines(linked.stderr)}")
        return out.read_bytes()


def _first_lines(text: str, number: int = 3) -> str:
    return " / ".join(line.strip() for line in text.splitlines()[:number]) or "it said nothing"


def _keep(content: bytes, path: Path) -> Path:
    """Writes the library and its digest under a name of its own, then renames it: others see all of it or nothing."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
        file.write(content + hashlib.sha256(content).digest())
    os.chmod(file.name, 0o700)
    os.replace(file.name, path)
    return path
