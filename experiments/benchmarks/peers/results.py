"""What the rounds gave: medians, ratios and the bound; as a table, as one JSON object, as HDF5."""

import json
import platform
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal, TypeAlias

import h5py
from rich.table import Table

from experiments.benchmarks.peers import roster
from experiments.benchmarks.peers.bound import Rates
from experiments.benchmarks.peers.workloads import Case
from neuro.file import replacing

Clock: TypeAlias = Literal["wall", "cpu"]


@dataclass(frozen=True)
class Timing:
    """A runner's rounds, s; what it said when it was ready; why its spikes are not those expected, or None."""

    entry: roster.Entry
    wall: tuple[float, ...]
    cpu: tuple[float, ...]
    peak_mib: float
    ready: dict[str, Any]
    differs: str | None = None

    def seconds(self, clock: Clock) -> float:
        """The median. A simulator that runs its own process keeps its own time, whichever clock is asked for."""
        return median(self.wall if self.ready.get("own_clock") or clock == "wall" else self.cpu)


@dataclass(frozen=True)
class Measured:
    """All runners of one workload at one density. bounds: by engine, s at the measured rates."""

    case: Case
    threads: int | None
    timings: tuple[Timing, ...]
    absent: dict[str, str] = field(default_factory=dict)
    bounds: dict[str, float] = field(default_factory=dict)
    clock: Clock = "wall"

    def of(self, kind: roster.Kind) -> dict[str, float]:
        """Median s of the runners of `kind` whose spikes are right."""
        right = [t for t in self.timings if t.entry.kind == kind and t.differs is None]
        return {t.entry.name: t.seconds(self.clock) for t in right}

    def ratios(self) -> dict[str, float | None]:
        """Of the engine with int8 weights: how many times faster than the fastest peer, and its time over that of the
        plain products; of the one with int16 weights, for which the bound is stated: its share of the event bound.
        Where they did not run: of our fastest. None where one of the two is missing."""
        found: dict[str, float | None] = dict.fromkeys(("ratio_to_fastest_peer", "share_of_bound", "ratio_to_gemm"))
        ours, peers, gemm = self.of("ours"), self.of("peer"), self.of("floor").get("gemm")
        if not ours:
            return found
        best = min(ours, key=lambda name: ours[name])
        byte, half = (name if name in ours else best for name in ("compiled", "compiled_int16"))
        if peers:
            found["ratio_to_fastest_peer"] = min(peers.values()) / ours[byte]
        if half in self.bounds:
            found["share_of_bound"] = self.bounds[half] / ours[half]
        if gemm:
            found["ratio_to_gemm"] = ours[byte] / gemm
        return found


def as_json(measured: list[Measured]) -> dict[str, dict[str, dict[str, Any]]]:
    """{workload: {density: {ours_ms, peers_ms, ratio_to_fastest_peer, share_of_bound, ratio_to_gemm}}}."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for m in measured:
        both = {"ours_ms": m.of("ours"), "peers_ms": m.of("peer")}
        times = {key: {name: 1e3 * s for name, s in times.items()} for key, times in both.items()}
        found.setdefault(m.case.workload, {})[m.case.density] = times | m.ratios()
    return found


def table(m: Measured) -> Table:
    """Everybody, fastest first: median, spread, how many times as long as the fastest of ours, check, memory."""
    cores = "all cores" if m.threads is None else f"{m.threads} thread"
    rows = Table(
        title=f"{m.case.workload} at {m.case.density}, {cores}, {m.clock} time", box=None, title_justify="left"
    )
    for heading in ("runner", "ms", "least", "most", "CPU ms", "x ours", "load s", "peak MiB", "spikes"):
        rows.add_column(heading, justify="left" if heading in ("runner", "spikes") else "right")
    ours = min(m.of("ours").values(), default=None)
    for t in sorted(m.timings, key=lambda t: t.seconds(m.clock)):
        spread = t.cpu if m.clock == "cpu" and not t.ready.get("own_clock") else t.wall
        times = "" if ours is None or t.differs else f"{t.seconds(m.clock) / ours:.2f}"
        check = t.differs or ("equal" if t.entry.counts else "not compared")
        rows.add_row(
            t.entry.name, f"{1e3 * t.seconds(m.clock):.2f}", f"{1e3 * min(spread):.2f}", f"{1e3 * max(spread):.2f}",
            f"{1e3 * median(t.cpu):.2f}", times, f"{t.ready.get('load_s', 0):.2f}", f"{t.peak_mib:.0f}", check,
            style="bold" if t.entry.kind == "ours" else "red" if t.differs else "",
        )  # fmt: skip
    for name, reason in m.absent.items():
        rows.add_row(name, *[""] * 7, f"absent: {reason}", style="dim")
    return rows


def store(measured: list[Measured], path: Path, rates: Rates | None) -> None:
    """All times to HDF5: workload/density/threads/runner with `wall` and `cpu` [round] in s; replaced if it exists."""
    with replacing(path) as part, h5py.File(part, "w") as file:
        file.attrs["machine"] = f"{platform.machine()} {platform.processor()} {platform.system()}"
        if rates is not None:
            file.attrs["l2_bytes_per_s"], file.attrs["update_s"] = rates.bandwidth, rates.update
        for m in measured:
            group = file.create_group(f"{m.case.workload}/{m.case.density}/{m.threads or 'all'}")
            group.attrs["absent"], group.attrs["bounds_s"] = json.dumps(m.absent), json.dumps(m.bounds)
            for t in m.timings:
                runner = group.create_group(t.entry.name)
                for name, values in (("wall", t.wall), ("cpu", t.cpu)):
                    runner.create_dataset(name, data=values).attrs["unit"] = "s"
                more = {k: v for k, v in t.ready.items() if v is not None}
                runner.attrs.update({"kind": t.entry.kind, "peak_mib": t.peak_mib, "differs": t.differs or ""} | more)
