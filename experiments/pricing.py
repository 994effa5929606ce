"""Any network on conventional machines: what a run takes, with bands, whether or not it has a spiking form."""

from typing import Any

from rich.table import Table

from baselines import device as conventional
from baselines import from_shapes
from baselines.description import precisions
from baselines.device import Device
from baselines.from_graph import workload
from baselines.workload import Mode, Workload
from experiments import networks
from experiments.replays import model_error
from experiments.replays.replay import drawn_prices, quantity
from experiments.replays.target import Conventional
from experiments.summary import band
from experiments.terminal import screen
from experiments.uncertainty import widened
from neuro.errors import BadInput, DoesNotFit
from neuro.units import show

LARGEST = 10**6
"""Samples in flight that a user may ask for."""


def prices(
    network: str, devices: tuple[str, ...] | None, precision: str | None, batch: str, mode: Mode, boundary: str
) -> list[dict[str, Any]]:
    """One row for each device: energy per sample, latency and rate with 5-95 % bands, or the reason why there is none.

    Raises:
        NeuroError: a network or device that cannot be read, or a batch that is neither a number nor ``best``.
    """
    if batch != "best" and not (batch.isascii() and batch.isdigit() and len(batch) < 8 and 1 <= int(batch) <= LARGEST):
        raise BadInput(f"--batch {batch[:20]!r}: give a number from 1 to {LARGEST:,}, or best.")
    named = conventional.known() if devices in (None, ("all",)) else devices
    work = workload(networks.load(network)) if network in networks.BUNDLED else from_shapes.load(network, mode=mode)
    loaded = [conventional.load(name) for name in named]
    return [_row(device, work, precision, batch, boundary) for device in loaded]


def _row(device: Device, work: Workload, precision: str | None, batch: str, boundary: str) -> dict[str, Any]:
    row: dict[str, Any] = {"device": device.name, "network": work.name, "boundary": boundary}
    try:
        wanted = precision or (precisions(list(device.precision), "float") or list(device.precision))[0]
        row["precision"] = conventional.native(device, wanted)
        if boundary not in device.power:
            raise DoesNotFit(f"no price at the {boundary} boundary; {device.name} has {', '.join(device.power)}.")
        row["batch"] = conventional.best_batch(device, work, wanted, boundary) if batch == "best" else int(batch)
        counts = conventional.counts(device, work, wanted, row["batch"])
    except DoesNotFit as error:
        return row | {"energy_j": None, "latency_s": None, "throughput_hz": None, "reason": str(error)}
    drawn, evidence = drawn_prices(Conventional(device), boundary), device.evidence
    errors, regime = model_error.load(), model_error.regime(row["batch"])
    model_name = conventional.model_name(device)
    energy = model_error.half_width(errors, (model_name, regime, "energy"), evidence.energy)
    time = model_error.half_width(errors, (model_name, regime, "time"), evidence.latency)
    return row | {
        "energy_j": band(widened(quantity("energy", counts, drawn), energy)),
        "latency_s": band(widened(quantity("latency", counts, drawn), time)),
        "throughput_hz": band(widened(quantity("throughput", counts, drawn), time)),
        "reason": None,
    }


def print_prices(rows: list[dict[str, Any]]) -> None:
    """Prints the rows, the least energy first, then what cannot run."""
    out = screen()
    table = Table(box=None, pad_edge=False)
    for heading in ("device", "precision", "batch", "energy per sample", "latency", "samples per second"):
        table.add_column(heading, justify="left" if heading in ("device", "precision") else "right")
    for row in sorted((r for r in rows if not r["reason"]), key=lambda r: r["energy_j"]["p50"]):
        table.add_row(
            row["device"], row["precision"], str(row["batch"]), _band(row["energy_j"], "J"),
            _band(row["latency_s"], "s"), "{p50:,.3g} [{p5:,.3g} .. {p95:,.3g}]".format(**row["throughput_hz"]),
        )  # fmt: skip
    out.print(table)
    for row in rows:
        if row["reason"]:
            out.print(f"  {row['device']}: {row['reason']}", style="dim")
    out.print("Modelled, not measured; median [5 % .. 95 %] of what is believed. 'neuro validate' shows the errors.")


def _band(band: dict[str, float], unit: str) -> str:
    return f"{show(band['p50'], unit)} [{show(band['p5'], unit)} .. {show(band['p95'], unit)}]"
