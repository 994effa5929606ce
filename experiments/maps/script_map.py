"""A Brian2 network that a script builds on one chip: ``neuro map SCRIPT.py:NAME``."""

import contextlib
import math
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
from neuro.mapping import check_objective
from neuro.partition import Objective

DURATION = 0.1
"""Seconds that a network runs if nobody says how long."""
MARKS = 2**32
"""Most neurons times steps of a run: whether each sends is kept in a byte."""


def script_of(network: str) -> tuple[Path, str] | None:
    """The script and the name in it that ``SCRIPT.py:NAME`` stands for, None for anything else."""
    found = re.fullmatch(r"(.+\.py):(\w+)", network)
    return (Path(found[1]), found[2]) if found else None


def script_on_chip(
    script: Path, name: str, chip: str, duration: float, seed: int = 0, progress: Progress = silent,
    objective: Objective | None = None,
) -> ChipMap:  # fmt: skip
    """The `brian2.Network` that `script` leaves under `name`, on `chip` while it runs for `duration` seconds.

    The script runs as a module would, so that what stands behind ``if __name__ == "__main__":`` does not. seed: of the
    search for sites and of random inputs.

    Raises:
        BadInput: no such script, an error in it, something else under `name`, or a run that is too long.
        NeuroError: see `converters.from_brian2.from_brian2` and `network_on_chip`.
    """
    machine = chip_file.load(chip)
    check_objective(objective, machine)
    if not 0 < duration < math.inf:
        raise BadInput(f"a duration of {duration:g} s holds no whole run; give the seconds of one, such as 0.1.")
    from converters.brian2_parts import neurons_of, step_of
    from converters.from_brian2 import from_brian2

    built = _run(script)
    network = _named(built, script, name)
    step, neurons = step_of(network), neurons_of(network)
    marks = duration / step * neurons
    if marks > MARKS:
        raise BadInput(
            f"{neurons} neurons for {duration:g} s in steps of {step:g} s are {marks:.3g} places for spikes, the "
            f"limit is {MARKS:.3g}; run at most {MARKS * step / neurons:.3g} s."
        )
    steps = max(1, round(duration / step))
    taken = from_brian2(network, steps, seed, built, script.stem)
    return network_on_chip(taken.network, machine, taken.inputs, steps, seed, progress, objective)


def _named(built: dict[str, Any], script: Path, name: str) -> Any:
    """The network of that name. Brian2's own `magic_network`, which an import of everything brings along, is none."""
    from brian2 import MagicNetwork, Network

    networks = {key: n for key, n in built.items() if isinstance(n, Network) and not isinstance(n, MagicNetwork)}
    # As Network.run does, which is not called here: else Brian2 warns of each object that it was never in a network.
    for network in networks.values():
        for part in network.objects:
            part._network = network.id
    if name not in networks:
        raise BadInput(
            f"{script} leaves no brian2.Network named {name!r}; "
            + (
                f"it has {', '.join(networks)}."
                if networks
                else "give the objects to brian2.Network and name the result."
            )
        )
    return networks[name]


def _run(script: Path) -> dict[str, Any]:
    """What the script leaves behind; it finds its neighbours as it would alone, gets no options, and what it prints
    goes to where errors go, apart from what this command prints."""
    if not script.is_file():
        raise BadInput(f"{script}: no such script.")
    before = list(sys.path), list(sys.argv)
    sys.path.insert(0, str(script.parent.resolve()))
    sys.argv[:] = [str(script)]
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return runpy.run_path(str(script), run_name=script.stem)
    except SystemExit as error:
        raise BadInput(
            f"{script} ends itself with sys.exit({error.code!r}); put that, and options that it reads, behind "
            "if __name__ == '__main__'."
        ) from error
    except Exception as error:
        told = f"{script} ends with {type(error).__name__}: {error}"
        if isinstance(error, NotImplementedError):  # as values are to a device that only writes a program
            from converters.brian2_parts import elsewhere

            told = f"{told}\n{elsewhere()}".rstrip()
        raise BadInput(told) from error
    finally:
        sys.path[:], sys.argv[:] = before
