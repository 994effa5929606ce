"""Importers on files that are damaged at random: each gives a network, or an error of one clear message.

``python -m experiments.benchmarks.fuzz onnx --seconds 600 --corpus FOLDER`` makes files of small networks, changes
their bytes and what they mean, and imports them in a process of limited memory. All but a network, `BadInput` or
`Unsupported` is a finding: another error, a warning, a message with control characters, a pickle opened, a file
opened outside the folder, a process started, more than the allowed seconds or bytes, a crash. The smallest file of each
kind of finding is kept; seed and number in its name make it again.

HDF5 is read within the importing process here, so that more files are tried, but for each twentieth. What crashes the
library there counts only if it also fails the way that users have it, in a process apart.
"""

import json
import multiprocessing
import re
import resource
import signal
import sys
import traceback
import warnings
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any
from unittest.mock import patch

import numpy as np

from converters.importers import (
    from_keras,
    from_lava,
    from_nir,
    from_onnx,
    from_tflite,
    from_torch,
    hdf5_file,
    keras_file,
)
from converters.importers.hdf5_extract import extracted
from experiments.benchmarks.fuzz_changes import changed
from experiments.benchmarks.fuzz_seeds import seeds
from neuro.errors import BadInput, Unsupported

Load = Callable[[Path], Any]
IMPORTERS: dict[str, Load] = {
    "onnx": from_onnx.load, "pt2": from_torch.load, "h5": from_keras.load, "keras": from_keras.load,
    "nir": from_nir.load, "net": partial(from_lava.load, shape=(2, 4, 4)), "tflite": from_tflite.load,
}  # fmt: skip
"""By the ending of their files."""
MEMORY = 4 * 2**30
"""Bytes that an import may take."""
SECONDS = 20
"""Seconds that an import may take."""
MESSAGE = 4000
"""Most characters of the message about a file."""
HDF5 = ("h5", "keras", "nir", "net")
"""Formats that another process reads."""
APART = 20
"""One HDF5 file in so many is read in a process of its own, as users have it."""
FORBIDDEN = (
    "pickle.find_class",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "socket.connect",
    "subprocess.Popen",
)
"""Events that no import gives rise to; the last only for the program that reads HDF5."""


class Slow(BaseException):
    """An import takes too long; no exception that an importer might catch."""


@dataclass(frozen=True)
class Case:
    """A file to try: its number under the seed, its bytes, and whether HDF5 is read in a process apart."""

    number: int
    data: bytes
    apart: bool = False


@dataclass
class Report:
    """Files tried, those that gave a network and those refused, and for each kind of finding its smallest file.

    contained: crashes of the HDF5 library that users get as `BadInput`; times: how often each kind of finding occurred.
    """

    tried: int = 0
    read: int = 0
    refused: int = 0
    contained: int = 0
    seconds: float = 0.0
    findings: dict[str, Case] = field(default_factory=dict)
    times: Counter[str] = field(default_factory=Counter)

    def add(self, case: Case, verdict: str) -> None:
        """One more file and what came of it."""
        self.tried += 1
        self.read += verdict == "read"
        self.refused += verdict == "refused"
        if verdict not in ("read", "refused"):
            self.times[verdict] += 1
            if verdict not in self.findings or len(case.data) < len(self.findings[verdict].data):
                self.findings[verdict] = case


def judged(load: Load, path: Path, events: list[str]) -> str:
    """What an import gives: "read", "refused", or what is wrong with it.

    events: what happened meanwhile that should not; see `watched`.
    """
    events.clear()
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        signal.alarm(SECONDS)
        try:
            load(path)
            verdict = "read"
        except (BadInput, Unsupported) as error:
            verdict = _message(error)
        except Slow as error:
            verdict = f"more than {SECONDS} s at {_place(error)}"
        except BaseException as error:  # whatever it is, it is the finding
            verdict = f"{type(error).__name__} at {_place(error)}"
        finally:
            signal.alarm(0)
    if heard and verdict in ("read", "refused"):
        verdict = f"warning {heard[0].category.__name__}: {str(heard[0].message)[:80]}"
    return events[0] if events else verdict


def _message(error: Exception) -> str:
    text = str(error)
    if re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text):
        return f"control characters in the message from {_place(error)}"
    if not text.strip() or (isinstance(error, BadInput) and len(text) > MESSAGE):
        return f"a message of {'no' if not text.strip() else 'too many'} characters from {_place(error)}"
    return "refused"


def _place(error: BaseException) -> str:
    """File and line of the project's own code that raised an error, and the function where it broke off."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.name != _slow.__name__]
    own = [f for f in frames if "site-packages" not in f.filename and Path(f.filename).parent.name == "importers"]
    frame = (own or frames)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno} ({frames[-1].name})"


@contextmanager
def limited() -> Iterator[None]:
    """Memory is limited to `MEMORY` more than now; the alarm raises `Slow`."""
    handler = signal.signal(signal.SIGALRM, _slow)
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.signal(signal.SIGALRM, handler)


def _slow(*_: Any) -> None:
    raise Slow


def watched(folder: Path) -> list[str]:
    """A list that grows by each forbidden event in this process from now on, such as a file opened outside `folder`."""
    events: list[str] = []
    roots = [str(folder), sys.prefix, sys.base_prefix, str(Path(__file__).parents[2]), "/dev/null"]

    def heard(event: str, given: Any) -> None:
        if event == "open" and isinstance(given[0], str | bytes):
            place = given[0] if isinstance(given[0], str) else given[0].decode("utf-8", "replace")
            if not place.startswith(tuple(roots)):
                events.append(f"opens {place[:60]!r}")
        elif event in FORBIDDEN and not (event.startswith("subprocess") and "hdf5_extract.py" in str(given[1])):
            events.append(f"event {event}")

    sys.addaudithook(heard)
    return events


def _within(name: str, data: bytes) -> dict[str, dict[str, Any]]:
    """`hdf5_file.store` without a process of its own."""
    try:
        entries, arrays = extracted(data)
        rest, entries = iter(arrays), json.loads(json.dumps(entries))
    except Exception as error:  # the library's own, of many kinds
        raise BadInput(f"{name} is not an HDF5 file, or is damaged ({str(error)[:50]!r})") from None
    return {k: {**e, "values": next(rest)} if e["kind"] == "array" else e for k, e in entries.items()}


def work(kind: str, load: Load, cases: Iterable[Case], pipe: Any) -> None:
    """Tries files in this process; tells `pipe` when it begins, each before it is tried, then what came of it."""
    with TemporaryDirectory() as folder, limited():
        events = watched(Path(folder))
        path = Path(folder) / f"net.{kind}"
        pipe.send((None, None))
        for case in cases:
            pipe.send((case, None))
            path.write_bytes(case.data)
            if case.apart:
                verdict = judged(load, path, events)
            else:
                with patch.object(hdf5_file, "store", _within), patch.object(keras_file, "store", _within):
                    verdict = judged(load, path, events)
            pipe.send((case, verdict))
    pipe.send(None)


@dataclass(frozen=True)
class Stream:
    """The damaged files of a seed from one number on, without end."""

    kind: str
    sound: Sequence[bytes]
    seed: int
    start: int = 0

    def __iter__(self) -> Iterator[Case]:
        number = self.start
        while True:
            yield Case(number, self.data(number), number % APART == 0)
            number += 1

    def data(self, number: int) -> bytes:
        """The file of a number."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about files that are meant to be wrong
            return changed(self.kind, self.sound, np.random.default_rng([self.seed, number]))


def tried(kind: str, load: Load, cases: Iterable[Case], seconds: float = float("inf")) -> Iterator[tuple[Case, str]]:
    """Each file and what came of it, tried in another process, which ends at the first crash.

    seconds: when to stop, counted from the moment that the process is ready.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    worker = context.Process(target=work, args=(kind, load, cases, theirs), daemon=False)
    worker.start()
    theirs.close()
    case, until = None, float("inf")
    try:
        while monotonic() < until:
            if not ours.poll(3 * SECONDS):
                if case is not None:
                    yield case, f"more than {3 * SECONDS} s in one call"
                return
            if (said := ours.recv()) is None:
                return
            case, verdict = said
            until = min(until, monotonic() + seconds)
            if case is not None and verdict is not None:
                yield case, verdict
                case = None
    except EOFError:
        worker.join()
        if case is None:
            raise RuntimeError(f"the process ends with status {worker.exitcode} before a file") from None
        yield case, f"ends with status {worker.exitcode}"
    finally:
        worker.kill()
        worker.join()


def fuzz(kind: str, sound: Sequence[bytes], seconds: float, seed: int = 0, load: Load | None = None) -> Report:
    """Tries damaged files for some time. kind: their ending; sound: whole files; load: the importer, if not its own."""
    load = load or IMPORTERS[kind]
    for case, verdict in tried(kind, load, [Case(-1, data, True) for data in sound]):
        if verdict != "read":
            raise ValueError(f"a sound file of {len(case.data)} bytes is not imported: {verdict}")
    report, number = Report(), 0
    while report.seconds < seconds:
        start = None
        for case, verdict in tried(kind, load, Stream(kind, sound, seed, number), seconds - report.seconds):
            start = start or monotonic()  # without the time to start the process
            if verdict not in ("read", "refused") and not case.apart and kind in HDF5:
                ((_, verdict),) = tried(kind, load, [Case(case.number, case.data, True)])
                report.contained += verdict == "refused"
            report.add(case, verdict)
            number = case.number + 1
        report.seconds += monotonic() - start if start else 1.0  # a process that never begins comes to an end too
    return report


def main(arguments: Sequence[str] | None = None) -> Report:
    """Prints figures and findings, and keeps the files of these."""
    parser = ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("format", choices=sorted(IMPORTERS))
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--corpus", type=Path, help="folder for the files of findings")
    parser.add_argument("--seeds", type=Path, help="folder of more sound files; needed for TFLite")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    report = fuzz(given.format, seeds(given.format, given.seeds), given.seconds, given.seed)
    print(
        f"{given.format}, seed {given.seed}: {report.tried:,} files in {report.seconds:.0f} s; {report.read:,} read, "
        f"{report.refused:,} refused, {report.contained:,} crashes of the HDF5 library contained; "
        f"{len(report.findings)} kinds of findings"
    )
    for what, case in report.findings.items():
        print(f"  {report.times[what]:6,} x {what}; number {case.number}, {len(case.data):,} bytes")
        if given.corpus:
            given.corpus.mkdir(parents=True, exist_ok=True)
            name = re.sub(r"\W+", "_", what)[:60].strip("_")
            (given.corpus / f"{name}_{given.seed}_{case.number}.{given.format}").write_bytes(case.data)
    return report


if __name__ == "__main__":
    main()
