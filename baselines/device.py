"""Conventional machines of every kind: reading their files, what they can run, the events of a network on them, and
what these cost."""

import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeAlias

from baselines import cpu, eyeriss, fpga, gpu, mcu, npu, systolic
from baselines.cpu import Cpu
from baselines.description import Precision, precisions, stand_in
from baselines.eyeriss import Asic
from baselines.fpga import Fpga
from baselines.gpu import Gpu
from baselines.mcu import Mcu
from baselines.npu import Npu
from baselines.systolic import Systolic
from baselines.workload import Workload
from neuro.constants import adjusted as adjusted
from neuro.constants import bundled, leaves, locate, parsed, power_faults, read
from neuro.cost import Prices, Scalar, cost
from neuro.counts import Counts
from neuro.errors import BadDescription, BadInput, DoesNotFit, nearest

PACKAGE = "baselines.devices"
KINDS = "baselines.kinds"
LARGEST_BATCH = 4096

Device: TypeAlias = Gpu | Systolic | Asic | Npu | Mcu | Cpu | Fpga

# By model: what a file holds, and the module that says how a network runs on it (counts, prices, needs).
MODELS: dict[str, tuple[type[Device], Any]] = {
    "gpu": (Gpu, gpu),
    "tpu": (Systolic, systolic),
    "asic-row": (Asic, eyeriss),
    "asic-spatial": (Npu, npu),
    "mcu": (Mcu, mcu),
    "cpu": (Cpu, cpu),
    "fpga": (Fpga, fpga),
}
KNOWN_KINDS = sorted({name.partition("-")[0] for name in MODELS})


def known() -> list[str]:
    """Names of the bundled devices."""
    return bundled(PACKAGE)


def load(name: str | Path) -> Device:
    """The device of that name, or of the TOML file at that path.

    What holds for every machine of a kind stands in ``baselines/kinds``; a device file overrides it key by key.

    Raises:
        BadInput: an unknown name or no such file.
        BadDescription: a fault in the file, with its key path.
    """
    path = locate(str(name), PACKAGE, "device")
    tree = parsed(path)
    kind = tree.get("kind")
    if not isinstance(kind, str) or kind not in KNOWN_KINDS:
        raise BadDescription(f"{path}: kind: {kind!r} is no model.{nearest(str(kind), KNOWN_KINDS)}")
    device = read(path, MODELS[_family(kind, tree.get("dataflow"))][0], completed(tree))
    if faults := list(power_faults(device.power)):
        raise BadDescription(f"{path}: {len(faults)} fault(s)\n" + "\n".join(f"  {fault}" for fault in faults))
    return device


def completed(tree: dict[str, Any]) -> dict[str, Any]:
    """What a device file says, laid over what the machines of its model share."""
    common = resources.files(KINDS) / f"{_family(tree['kind'], tree.get('dataflow'))}.toml"
    return merged(tomllib.loads(common.read_text(encoding="utf-8")), tree) if common.is_file() else tree


def _family(kind: str, dataflow: object) -> str:
    if kind != "asic":
        return kind
    return "asic-spatial" if dataflow in ("weight", "output") else "asic-row"


def merged(common: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """`own` laid over `common`, table by table; a constant (a table with a value) is taken whole."""
    result = dict(common)
    for key, item in own.items():
        below = result.get(key)
        tables = isinstance(item, dict) and isinstance(below, dict) and "value" not in item
        result[key] = merged(below, item) if tables else item  # type: ignore[arg-type]
    return result


def nominal(device: Device) -> dict[str, float]:
    """The value of every constant by its dotted path, as `prices` takes them."""
    return {path: constant.value for path, constant in leaves(device)}


def native(device: Device, precision: str) -> Precision:
    """The precision at which `device` runs `precision`: itself or the next wider.

    Raises:
        BadInput: no such precision.
        DoesNotFit: nothing as wide is native.
    """
    return stand_in(device.name, list(device.precision), precision)


def precision_for(device: Device, network: Literal["float", "integer"]) -> str:
    """The narrowest native precision that can run a network.

    Raises:
        DoesNotFit: there is none, so that the machine is not offered for this network.
    """
    if not (offered := precisions(list(device.precision), network)):
        raise DoesNotFit(
            f"{device.name} runs {', '.join(device.precision)} only, which cannot hold a {network} network; "
            "price its integer form instead."
        )
    return offered[0]


def counts(device: Device, work: Workload, precision: str, batch: int) -> Counts:
    """Events of `batch` samples of `work` in flight together, at `precision` or the next wider native one.

    Raises:
        BadInput: no such precision, or a batch below 1.
        DoesNotFit: the machine cannot run that precision, or has no room for that batch.
    """
    precise = native(device, precision)
    if batch < 1:
        raise BadInput(f"a batch of {batch}; take 1 or more.")
    if reason := fits(device, work, precise, batch):
        raise DoesNotFit(reason)
    try:
        return model(device).counts(device, work, precise, batch)
    except (ArithmeticError, IndexError) as error:
        raise DoesNotFit(
            f"{device.name}: no way to run {work.name} with these constants ({error}); look for one that is far below "
            "its usual size."
        ) from None


def prices(device: Device, values: Mapping[str, Scalar], boundary: str) -> Prices:
    """J and s per event, and W, at a boundary; `values` gives each constant by its dotted path.

    Raises:
        BadInput: the device has no price at that boundary.
    """
    if boundary not in device.power:
        raise BadInput(f"{device.name} has no price at boundary {boundary!r}; it has {', '.join(device.power)}.")
    return model(device).prices(device, values, boundary)


def fits(device: Device, work: Workload, precision: str, batch: int) -> str | None:
    """None if `batch` samples of `work` fit the machine, else the limit, the need and a remedy."""
    if device.max_batch and batch > device.max_batch.value:
        return f"{device.name}: a batch of {batch}; at most {device.max_batch.value:.0f} in flight. Lower the batch."
    for need in model(device).needs(device, work, native(device, precision), batch):
        if need.amount > need.limit:
            return (
                f"{device.name}: {need.what} of {work.name} need {need.amount:,.0f} {need.unit} at batch {batch} in "
                f"{precision}; there are {need.limit:,.0f}. Lower the batch or the precision."
            )
    return None


def model_name(device: Device) -> str:
    """What the error of a model is known for: the kind of machine, for arrays with their dataflow."""
    return _family(device.kind, getattr(device, "dataflow", None))


def model(device: Device) -> Any:
    """The module that says how a network runs on `device`: its counts, prices, needs and roof."""
    return MODELS[model_name(device)][1]


def units(device: Device, work: Workload, precision: str) -> dict[str, int]:
    """How much of the machine the network takes: one device, and of an FPGA that holds it as a pipeline what is used
    of look-up tables, block RAMs, ultra RAMs and multiplier slices."""
    used = fpga.resources(device, work, native(device, precision)) if isinstance(device, Fpga) else {}
    return {"devices": 1} | {name: round(number) for name, number in used.items()}


def best_batch(device: Device, work: Workload, precision: str, boundary: str | None = None) -> int:
    """The power of two up to 4096 with the least energy per sample at `boundary` that fits, at the values of the
    constants; without a boundary the one with the highest throughput.

    Raises:
        DoesNotFit: not even one sample does.
    """
    precision = native(device, precision)
    if reason := fits(device, work, precision, 1):
        raise DoesNotFit(reason)
    charged = prices(device, nominal(device), boundary or next(iter(device.power)))
    sizes = [2**i for i in range(LARGEST_BATCH.bit_length()) if fits(device, work, precision, 2**i) is None]
    costs = [cost(counts(device, work, precision, batch), charged) for batch in sizes]
    spent = [float(c.total if boundary else c.interval) for c in costs]
    return sizes[spent.index(min(spent))]
