"""One Python environment for each group of simulators that can live together.

usage: python -m experiments.benchmarks.peers.environments [FOLDER]
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from experiments.terminal import screen

FOLDER = Path(".venv-peers")
STAMP = "peers.json"
"""In each environment: by name of a distribution asked for, why it could not be installed, or null."""


@dataclass(frozen=True)
class Group:
    """base: what all of the group need; peers: requirements that may fail one by one."""

    name: str
    base: tuple[str, ...]
    peers: tuple[str, ...]


GROUPS = (
    Group("torch", ("torch==2.13.0",), ("snntorch==1.0.0", "spikingjelly==2.0.0", "norse==1.1.0", "sinabs==3.1.3")),
    # brainevent's CPU kernels need numba, which it does not ask for.
    Group("jax", ("jax==0.10.2", "numba"), ("brainevent==0.2.1", "spyx==1.0.0")),
    # Brian2 fails with NumPy 2.3; its generated Cython needs setuptools.
    Group("brian", ("numpy<2.3", "cython", "setuptools"), ("brian2==2.9.0",)),
    # SANA-FE reads its networks with packages that it does not ask for.
    Group("sanafe", ("numpy", "pandas", "pyyaml"), ("sanafe==2.2.9",)),
)


def python(folder: Path, group: str) -> Path:
    """The interpreter of the environment of `group`."""
    inside = ("Scripts", "python.exe") if sys.platform == "win32" else ("bin", "python")
    return folder.joinpath(group, *inside)


def failures(folder: Path, group: str) -> dict[str, str | None]:
    """By requirement of `group`, why it is not there; None for one that is. Empty where nothing was installed."""
    stamp = folder / group / STAMP
    return json.loads(stamp.read_text(encoding="utf-8")) if stamp.is_file() else {}


def create(group: Group, folder: Path) -> Iterator[tuple[str, str | None]]:
    """Installs what is missing of `group` and tells, requirement by requirement, why one failed, or None.

    What is in place, in the version asked for, is not touched. A failed base fails all that stand on it.
    """
    known = failures(folder, group.name)
    wanted = [*group.base, *group.peers]
    if not python(folder, group.name).is_file():
        _run([sys.executable, "-m", "venv", str(folder / group.name)])
        known = {}
    found: dict[str, str | None] = {}
    broken: str | None = None
    for requirement in wanted:
        if broken is not None:
            found[requirement] = f"not tried: {broken} failed"
        elif requirement in known and known[requirement] is None:
            found[requirement] = None
        else:
            # The base is named again, so that a peer cannot move it to another version.
            found[requirement] = install(python(folder, group.name), tuple({*group.base, requirement}))
            if requirement in group.base and found[requirement] is not None:
                broken = requirement
        yield requirement, found[requirement]
    (folder / group.name / STAMP).write_text(json.dumps(found, indent=1), encoding="utf-8")


def install(interpreter: Path, requirements: tuple[str, ...]) -> str | None:
    """None, or the last line of what pip said."""
    command = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
    return _run(command)


def _run(command: list[str]) -> str | None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]


def main(folder: str = str(FOLDER)) -> None:
    """Creates all environments; a simulator that cannot be installed is named and left out."""
    for group in GROUPS:
        for requirement, reason in create(group, Path(folder)):
            screen().print(f"{group.name}: {requirement}: {reason or 'installed'}")


if __name__ == "__main__":
    main(*sys.argv[1:])
