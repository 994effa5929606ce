"""All simulators side by side on the same networks: equal spikes first, then round after round, everyone in turn.

usage: python -m experiments.benchmarks.peers.bed --json PATH
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from experiments.benchmarks.peers import environments, ours, roster, workloads
from experiments.benchmarks.peers import network as files
from experiments.benchmarks.peers.bound import Rates, seconds, work
from experiments.benchmarks.peers.figure import draw
from experiments.benchmarks.peers.results import Clock, Measured, Timing, as_json, store, table
from experiments.benchmarks.peers.session import Absent, Session, start
from experiments.benchmarks.peers.workloads import CASES, Case
from experiments.progress import Progress, silent
from experiments.terminal import progress_bars, screen

app = App(name="bed", help="Our engines and other simulators on the same networks.")
Start = Callable[[roster.Entry, Path, int | None], Session | Absent]


def measure(
    case: Case,
    path: Path,
    entries: tuple[roster.Entry, ...],
    begin: Start,
    *,
    rounds: int,
    threads: int | None = 1,
    clock: Clock = "wall",
    rates: Rates | None = None,
    progress: Progress = silent,
) -> Measured:
    """`rounds` rounds of `entries` on the workload at `path`, everyone once a round; all spikes are compared before."""
    told = progress(f"{case.stem}: start", len(entries))
    sessions: list[Session] = []
    absent: dict[str, str] = {}
    times: dict[str, list[dict[str, Any]]] = {}
    try:
        for entry in entries:
            session = begin(entry, path, threads)
            if isinstance(session, Absent):
                absent[entry.name] = session.reason
            else:
                sessions.append(session)
            told(1)
        told = progress(f"{case.stem}: run", rounds * len(sessions))
        for _ in range(rounds):
            for session in sessions:
                if session.entry.name not in absent:
                    reply = session.go()
                    if "error" in reply:
                        absent[session.entry.name] = reply["error"].splitlines()[0]
                    times.setdefault(session.entry.name, []).append(reply)
                told(1)
    finally:
        for session in sessions:
            session.end()
    timings = tuple(
        timing(session, times[session.entry.name]) for session in sessions if session.entry.name not in absent
    )
    return Measured(case, threads, timings, absent, bounds(path, timings, rates), clock)


def timing(session: Session, replies: list[dict[str, Any]]) -> Timing:
    """The rounds of one runner."""
    wall, cpu = (tuple(reply[clock] for reply in replies) for clock in ("wall", "cpu"))
    peak = max(reply["peak_mib"] for reply in replies)
    own = any(reply.get("own_clock") for reply in replies)
    return Timing(session.entry, wall, cpu, peak, session.ready | {"own_clock": own}, session.differs)


def bounds(path: Path, timings: tuple[Timing, ...], rates: Rates | None) -> dict[str, float]:
    """The event bound of each of our engines that says what it reads for a weight, on a layered workload."""
    mine = {t.entry.name: t.ready["bytes_per_weight"] for t in timings if t.ready.get("bytes_per_weight")}
    if rates is None or not mine or path.stem.startswith(("W3", "W4")):
        return {}
    found = work(files.load(path), workloads.events(path))
    return {name: seconds(found, size, rates) for name, size in mine.items()}


def chosen(names: str | None, densities: str | None) -> list[Case]:
    """The cases of the workloads and densities named, separated by commas; all where none is."""
    wanted, shares = (None if text is None else text.split(",") for text in (names, densities))
    return [
        case
        for case in CASES
        if (wanted is None or case.workload in wanted) and (shares is None or case.density in shares)
    ]


@app.default
def main(
    *,
    json_: Annotated[Path | None, Parameter(name="--json")] = None,
    threads: str = "1",
    workloads_: Annotated[str | None, Parameter(name="--workloads")] = None,
    densities: str | None = None,
    rounds: int = 7,
    clock: Clock = "wall",
    folder: Path = environments.FOLDER,
    cache: Path | None = None,
    out: Path = Path("runs/peers"),
) -> None:
    """Our engines and other simulators on the same networks.

    Parameters
    ----------
    json_
        Where to write one object of medians and ratios, of the first of `threads`.
    threads
        1, all, or 1,all.
    workloads_
        Such as W1,W2-float32; default all.
    densities
        Such as 0.05,trained,all; default all.
    rounds
        How often everyone runs.
    clock
        wall, or cpu on a machine that others use too.
    folder
        The environments of the simulators.
    cache
        Where the workloads are kept; default beside the environments.
    out
        Where the times (peers.h5) and the figure (peers.svg) go.
    """
    rates = ours.rates()
    found: list[list[Measured]] = []
    with tempfile.TemporaryDirectory() as scratch, progress_bars() as progress:

        def begin(entry: roster.Entry, path: Path, threads: int | None) -> Session | Absent:
            return start(entry, path, threads, folder, Path(scratch))

        for number in (None if text == "all" else int(text) for text in threads.split(",")):
            found.append([])
            for case in chosen(workloads_, densities):
                path = workloads.make(case, cache or folder / "workloads", progress)
                measured = measure(
                    case, path, roster.of(case.workload), begin,
                    rounds=rounds, threads=number, clock=clock, rates=rates, progress=progress,
                )  # fmt: skip
                found[-1].append(measured)
                screen().print(table(measured))
                store([m for some in found for m in some], out / "peers.h5", rates)
                if json_ is not None:
                    json_.parent.mkdir(parents=True, exist_ok=True)
                    json_.write_text(json.dumps(as_json(found[0]), indent=1) + "\n", encoding="utf-8")
    if draw(found[0], out / "peers.svg"):
        screen().print(f"times: {out / 'peers.h5'}; figure: {out / 'peers.svg'}")


if __name__ == "__main__":
    app()
