"""The library of compiled kernels: what is done where it cannot be built, is damaged, or has nowhere to go."""

import ctypes
import functools
import os
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from neuro import cache as folders
from neuro import native
from neuro.cache import caches, processor
from neuro.native import NoKernels, kernels, lane_bytes, library

ROOT = Path(__file__).parents[2]
TINY = 'extern "C" int answer() { return 42; }\n'
RUN = """
import jax, jax.numpy as jnp, numpy as np
from converters.encode import encode
from neuro import native
from neuro.engine import Program, engine
from neuro.graph import Graph, Node
from neuro.layers import Dense, Input, Scale, Threshold
from neuro.simulate import simulate
from neuro.trains import Packed, unpacked

native.FLAGS = tuple("-O0" if f == "-O3" else f for f in native.FLAGS)  # right, slow, and soon built
rng = np.random.default_rng(0)
neurons = Threshold(np.full(70, 9), rng.integers(-5, 6, 70), 7)
nodes = (
    Node("in", Input((12,), 7)),
    Node("w1", Dense(rng.integers(-9, 10, (70, 12)), None), ("in",)),
    Node("one", neurons, ("w1",)),
    Node("w2", Dense(rng.integers(-9, 10, (70, 70)), None), ("one",)),
    Node("two", neurons, ("w2",)),
    Node("w3", Dense(rng.integers(-9, 10, (3, 70)), None), ("two",)),
    Node("out", Scale(np.ones(3, np.int64), np.zeros(3, np.int64)), ("w3",)),
)
graph = encode(Graph("small", nodes), "rate", 9)
x = jnp.asarray(rng.integers(0, 8, (3, 12)), jnp.float32)
program, how = engine(graph)
ours, want = program(x), simulate(graph, x)
for name, trains in ours.spikes.items():
    spikes = unpacked(trains) if isinstance(trains, Packed) else trains
    np.testing.assert_array_equal(np.asarray(spikes), np.asarray(want.spikes[name]))
np.testing.assert_array_equal(np.asarray(ours.output), np.asarray(want.output))
print(type(program).__name__, native.lane_bytes() if isinstance(program, Program) else 0, how, sep="|")
"""


def run(**environment: str) -> tuple[str, int, str]:
    """A small network in a process of its own, equal to `simulate`: class of the program, bytes of a vector, reason."""
    settings = {k: v for k, v in os.environ.items() if k not in ("NEURO_ISA", "CXX", "LD_PRELOAD")}
    command = [sys.executable, "-c", RUN]
    done = subprocess.run(
        command, cwd=ROOT, env=settings | environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    kind, width, how = done.stdout.strip().split("|")
    return kind, int(width), how


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """Sources of one line, so that any compiler is done at once; temporary files in a folder of the test."""
    if not any(map(shutil.which, native.COMPILERS)):
        pytest.skip("no compiler")
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "tiny.cc").write_text(TINY)
    monkeypatch.setattr(native, "SOURCES", ("tiny.cc",))
    monkeypatch.setattr(native.resources, "files", lambda package: sources)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    return sources


def answer(path: Path) -> int:
    return ctypes.CDLL(str(path)).answer()


def script(path: Path, *lines: str) -> str:
    path.write_text("\n".join(("#!/bin/sh", *lines)) + "\n")
    path.chmod(0o700)
    return str(path)


def test_no_compiler_leaves_pure_jax_and_says_so(tmp_path, monkeypatch):
    kind, _, how = run(NEURO_CACHE=str(tmp_path), CXX="nonexistent-c++")
    assert kind == "Plain"
    assert "pure JAX: no C++ compiler: looked for nonexistent-c++" in how
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoKernels, match=r"no C\+\+ compiler: looked for c\+\+, g\+\+, clang\+\+; install one"):
        library("plain", None, tmp_path)


def test_switched_off_and_unknown_leave_pure_jax_and_say_so(cache, monkeypatch):
    assert run(NEURO_ISA="none")[::2] == ("Plain", "pure JAX: switched off by NEURO_ISA=none")
    monkeypatch.setenv("NEURO_ISA", "mmx")
    found = kernels()
    assert found.library is None
    assert "NEURO_ISA=mmx is unknown; known: native, avx512, avx2, plain" in found.reason
    with pytest.raises(NoKernels, match="mmx"):
        lane_bytes()


@pytest.mark.skipif(not any(map(shutil.which, native.COMPILERS)), reason="no compiler")
@pytest.mark.parametrize(("isa", "width"), [("plain", 16), ("avx2", 32)])
def test_a_forced_instruction_set_gives_the_same_spikes(isa, width, cache):
    if isa == "avx2" and "avx2" not in processor().split():
        pytest.skip("the processor lacks avx2")
    assert run(NEURO_ISA=isa, NEURO_CACHE=str(cache)) == ("Program", width, f"compiled kernels ({isa})")


def test_an_instruction_set_that_the_processor_lacks_is_refused(monkeypatch):
    monkeypatch.setattr(native, "processor", lambda: "flags : fpu sse2\nmodel name : old")
    with pytest.raises(NoKernels, match="NEURO_ISA=avx2: this processor lacks avx2, bmi2, fma"):
        library("avx2")


def test_sanitizers_ask_for_their_runtime(monkeypatch):
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    with pytest.raises(NoKernels, match="make sanitize"):
        library("sanitize")


def test_a_compiler_that_fails_is_quoted(tiny, tmp_path):
    broken = script(tmp_path / "broken", "echo 'fatal: no licence' >&2", "exit 1")
    with pytest.raises(NoKernels, match=r"broken failed: fatal: no licence$"):
        library("plain", broken, tmp_path / "cache")
    silent = script(tmp_path / "silent", "exit 0")  # succeeds and writes nothing
    with pytest.raises(NoKernels, match="could not link the kernels: it said nothing"):
        library("plain", silent, tmp_path / "cache")
    nothing = tmp_path / "nothing"
    nothing.write_bytes(b"\x7fnot a program")
    nothing.chmod(0o700)
    with pytest.raises(NoKernels, match="did not run to its end"):
        library("plain", str(nothing), tmp_path / "cache")


def test_a_compiler_that_never_ends_is_ended(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(native, "SECONDS", 1)
    slow = script(tmp_path / "slow", f'[ "$1" = --version ] || {{ echo $$ > {tmp_path}/pid; exec sleep 60; }}')
    with pytest.raises(NoKernels, match="did not run to its end"):
        library("plain", slow, tmp_path / "cache")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_library_is_built_once(tiny, tmp_path):
    path, reason = library("plain", None, tmp_path / "cache")
    assert reason.startswith("built by ")
    assert answer(path) == 42
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert library("plain", None, tmp_path / "cache") == (path, f"from the cache, {path.parent}")


@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied"])
def test_a_damaged_library_is_built_again(tiny, tmp_path, damage):
    path, _ = library("plain", None, tmp_path / "cache")
    whole = path.read_bytes()
    half = len(whole) // 2
    flipped = whole[:half] + bytes([whole[half] ^ 1]) + whole[half + 1 :]
    path.write_bytes({"flipped": flipped, "cut": whole[:half], "emptied": b""}[damage])
    again, reason = library("plain", None, tmp_path / "cache")
    assert again == path
    assert f"the library in {path.parent} was damaged" in reason
    assert answer(again) == 42
    assert list(path.parent.iterdir()) == [path]


def test_the_key_follows_flags_sources_compiler_and_processor(tiny, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    compiler = native._compiler(None)
    paths = [library(isa, None, cache)[0] for isa in ("plain", "native")]
    wrapper = script(tmp_path / "wrapper", f'exec {compiler} "$@"')
    paths.append(library("plain", wrapper, cache)[0])
    with monkeypatch.context() as patch:
        patch.setattr(native, "processor", lambda: "another")
        paths.append(library("plain", None, cache)[0])
    (tiny / "tiny.cc").write_text(TINY.replace("42", "43"))
    paths.append(library("plain", None, cache)[0])
    assert len(set(paths)) == 5
    assert [answer(p) for p in paths] == [42, 42, 42, 42, 43]


@pytest.fixture
def unwritable(tmp_path) -> Path:
    """A folder that nobody can make, the superuser included: below a file."""
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "cache"


def test_without_a_cache_a_private_temporary_folder_serves(tiny, tmp_path, unwritable):
    path, reason = library("plain", None, unwritable)
    assert path.parent == caches(unwritable)[1]
    assert path.parent.parent == tmp_path / "scratch"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert "not elsewhere" in reason
    assert answer(path) == 42
    assert library("plain", None, unwritable) == (path, f"from the cache, {path.parent}")


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="the superuser may write anywhere")
def test_a_read_only_cache_is_left_alone(tiny, tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o500)
    assert library("plain", None, cache)[0].parent == caches(cache)[1]
    assert list(cache.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="folders have no owner")
@pytest.mark.parametrize("fault", ["open to others", "a link", "of another user"])
def test_a_temporary_folder_that_others_could_fill_is_refused(tiny, tmp_path, unwritable, monkeypatch, fault):
    path, _ = library("plain", None, unwritable)  # whole, but no longer to be trusted
    place = path.parent
    if fault == "open to others":
        place.chmod(0o777)
    elif fault == "a link":
        place.rename(tmp_path / "elsewhere")
        place.symlink_to(tmp_path / "elsewhere")
    else:
        user = os.getuid()
        monkeypatch.setattr(native, "caches", lambda cache: [unwritable, place])
        monkeypatch.setattr(folders, "_user", lambda: user + 1)
    with pytest.raises(NoKernels, match=r"is not a folder of this user alone.*set NEURO_CACHE"):
        library("plain", None, unwritable)


def test_a_full_disk_leaves_no_parts(tiny, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(NoKernels, match=r"nowhere to keep them.*No space left"):
        library("plain", None, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


TWICE = """
import sys, tempfile
from pathlib import Path
from neuro import native
sources, cache = map(Path, sys.argv[1:])
native.SOURCES = ("tiny.cc",)
native.resources.files = lambda package: sources
print("ready", flush=True)
sys.stdin.readline()
print(*native.library("plain", None, cache), sep="|")
"""


def test_two_processes_build_at_once_into_one_cache(tiny, tmp_path):
    cache = tmp_path / "cache"
    command = [sys.executable, "-c", TWICE, str(tiny), str(cache)]
    begin = functools.partial(subprocess.Popen, command, cwd=ROOT, stdin=-1, stdout=-1, text=True)
    processes = [begin(), begin()]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(lambda p: p.communicate("go\n", timeout=120)[0].strip().split("|"), processes))
    assert [p.returncode for p in processes] == [0, 0]
    (kept,) = cache.iterdir()
    assert [Path(path) for path, _ in said] == [kept, kept]
    assert answer(kept) == 42


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="other processors have other flags")
def test_flags_name_the_processor():
    assert native._march("native") == ("-march=native",)
