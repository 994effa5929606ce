"""The commands that list what is known: chips, devices, codes, and what runs here."""

import json

from experiments.options import Json


def chips(name: str | None = None) -> None:
    """What is known of spiking chips: every constant with range, unit, source and basis; faults of a file of one's own.

    Parameters
    ----------
    name
        A bundled chip or a .toml file; default a list of all.
    """
    from experiments.terminal import description, descriptions
    from neuro import chip
    from neuro.testing import check_chip

    if name is None:
        descriptions([chip.load(n) for n in chip.known()])
    else:
        found = chip.load(name)
        description(found)
        check_chip(found)


def devices(name: str | None = None) -> None:
    """What is known of conventional machines: every constant with range, unit, source and basis.

    Parameters
    ----------
    name
        A bundled device or a .toml file; default a list of all.
    """
    from baselines import device
    from experiments.terminal import description, descriptions

    if name is None:
        descriptions([device.load(n) for n in device.known()])
    else:
        description(device.load(name))


def doctor(*, json_: Json = False) -> None:
    """Which engine runs here and why: compiled kernels, their cache, JAX, cores, packages, data."""
    from experiments.doctor import show

    show(json_)


def codes(*, json_: Json = False) -> None:
    """Every spike code: how it sends and is received, in how many steps, and which chips can run it at what cost."""
    from experiments.conversion.code_table import print_table, table

    found = table()
    if json_:
        print(json.dumps(found))
    else:
        print_table(found)


listings = (chips, devices, codes, doctor)
