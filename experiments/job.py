"""From what the user typed to a comparison and its record."""

import sys
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from baselines import device
from experiments import measured
from experiments.compare import Comparison, Options, compare
from experiments.prepared import Asked, judged
from experiments.progress import Progress, silent
from experiments.records import record
from experiments.run import MEMORY
from experiments.summary import summary
from neuro import chip
from neuro.codes import Code
from neuro.errors import BadInput
from neuro.file import check_writable

RIVALS = (
    "h100_pcie", "a100_pcie_40gb", "l4", "tpu_v4", "epyc_9654",
    "jetson_orin_agx", "jetson_orin_nano", "edge_tpu", "hailo8", "pynq_z2", "raspberry_pi_4",
    "eyeriss_v1", "max78000", "gap9", "ethos_u55_256", "stm32h7a3", "stm32l4r5",
)  # fmt: skip
"""Machines that a network is compared with unless the user names others: the strongest of every kind and class."""

CHIPS = ("loihi1", "loihi2", "spinnaker2", "speck")
"""Spiking chips that a network is tried on unless the user names others: those that are mapped core by core."""


@dataclass(frozen=True)
class Request(Asked):
    """The options of ``neuro compare``; None stands for the default named in its help.

    chips, devices: ``all`` alone stands for every bundled one. measure: run the network on this machine as well, and
    price it on a model of this processor.
    """

    chips: tuple[str, ...] | None = None
    devices: tuple[str, ...] | None = None
    code: Code | Literal["auto"] = "auto"
    levels: int | None = None
    weight_bits: int = 8
    steps: int = 64
    boundary: str = "chip"
    rate: float | None = None
    measure: bool = False
    seed: int = 0
    allow_violations: bool = False
    memory: int | None = None
    out: Path | None = None


def carry_out(request: Request, progress: Progress = silent) -> tuple[Comparison, dict[str, Any]]:
    """Loads what `request` names, compares, and writes the record; the comparison and its summary.

    Raises:
        NeuroError: see `experiments.compare.compare` and the loaders.
    """
    options = Options(
        code=request.code, levels=request.levels, weight_bits=request.weight_bits, steps=request.steps,
        boundary=request.boundary, rate=request.rate, seed=request.seed,
        allow_violations=request.allow_violations, memory=request.memory or MEMORY,
    )  # fmt: skip
    chips = [chip.load(name) for name in _chosen(request.chips, CHIPS, chip.known())]
    devices = [device.load(name) for name in _chosen(request.devices, RIVALS, device.known())]
    _unique([c.name for c in chips] + [d.name for d in devices])
    path = request.out or record.default_path(Path(request.network).stem, record.config_hash(_identity(request)))
    check_writable(path)
    ready = judged(request)
    here = (
        measured.carry_out(request.network, inputs=ready.dataset.network_input, progress=progress)
        if request.measure
        else None
    )
    if here is not None and here.processor is not None:
        devices.append(here.processor)
    comparison = compare(
        ready.network, ready.dataset, chips, devices, options, progress,
        named=request.chips not in (None, ("all",)), measured=() if here is None else here.runs,
        converted=ready.converted,
    )  # fmt: skip
    written = record.write(comparison, path, command=" ".join(["neuro", *sys.argv[1:]]))
    return comparison, summary(comparison, str(written))


def _identity(request: Request) -> dict[str, Any]:
    """What a run is named by: its options, and the contents of the files that they name."""
    options = asdict(request) | {"out": None, "memory": None}
    files = [request.network, request.data, request.calibration, *(request.chips or ()), *(request.devices or ())]
    found = {str(f): sha256(Path(f).read_bytes()).hexdigest() for f in files if f and Path(f).is_file()}
    return options | {"files": found}


def _chosen(asked: tuple[str, ...] | None, default: tuple[str, ...], known: list[str]) -> list[str]:
    return known if asked == ("all",) else list(asked or default)


def _unique(names: list[str]) -> None:
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise BadInput(f"{', '.join(sorted(twice))} is named twice; a copied file needs a name of its own.")
