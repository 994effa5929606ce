"""A Brian2 network that a script builds on one chip: ``neuro map SCRIPT.py:NAME``."""

import re
import runpy
import sys
from pathlib import Path
from typing import Any

from experiments.maps.chip_map import ChipMap
from experiments.maps.network_map import network_on_chip
from experiments.progress import Progress, silent
from neuro import chip as chip_file
from neuro.errors import BadInput

DURATION = 0.1
"""Seconds that a network runs if nobody says how long."""


def script_of(network: str) -> tuple[Path, str] | None:
    """The script and the name in it that ``SCRIPT.py:NAME`` stands for, None for anything else."""
    found = re.fullmatch(r"(.+\.py):(\w+)", network)
    return (Path(found[1]), found[2]) if found else None


def script_on_chip(
    script: Path, name: str, chip: str, duration: float, seed: int = 0, progress: Progress = silent
) -> ChipMap:
    """The `brian2.Network` that `script` leaves under `name`, on `chip` while it runs for `duration` seconds.

    The script runs as a module would, so that what stands behind ``if __name__ == "__main__":`` does not. seed: of the
    search for sites and of random inputs.

    Raises:
        BadInput: no such script, an error in it, or something else under `name`. NeuroError: see
        `converters.from_brian2.from_brian2` and `network_on_chip`.
    """
    machine = chip_file.load(chip)
    if not duration > 0:
        raise BadInput(f"a duration of {duration:g} s holds no step; give the seconds of a run, such as 0.1.")
    from brian2 import Network

    from converters.brian2_parts import step_of
    from converters.from_brian2 import from_brian2

    built = _run(script)
    network = built.get(name)
    if not isinstance(network, Network):
        there = [key for key, value in built.items() if isinstance(value, Network)]
        raise BadInput(
            f"{script} leaves no brian2.Network named {name!r}; "
            + (f"it has {', '.join(there)}." if there else "give the objects to brian2.Network and name the result.")
        )
    steps = max(1, round(duration / step_of(network)))
    taken = from_brian2(network, steps, seed, built, script.stem)
    return network_on_chip(taken.network, machine, taken.inputs, steps, seed, progress)


def _run(script: Path) -> dict[str, Any]:
    """What the script leaves behind; it finds its neighbours as it would alone."""
    if not script.is_file():
        raise BadInput(f"{script}: no such script.")
    before = list(sys.path)
    sys.path.insert(0, str(script.parent.resolve()))
    try:
        return runpy.run_path(str(script), run_name=script.stem)
    except Exception as error:
        raise BadInput(f"{script} ends with {type(error).__name__}: {error}") from error
    finally:
        sys.path[:] = before
