"""The fuzzer reports every importer that does something else than import or refuse, and says how to do it again."""

import os
import pickle
import time
import warnings
from pathlib import Path

import pytest

from experiments.benchmarks import fuzz
from experiments.benchmarks.fuzz import Case, Stream, judged, limited, tried
from experiments.benchmarks.fuzz_changes import PICKLE
from experiments.benchmarks.fuzz_seeds import seeds
from neuro.errors import BadInput, Unsupported


def load(path: Path) -> None:
    """An importer that does what the file says."""
    match path.read_bytes():
        case b"reads":
            return
        case b"refuses":
            raise BadInput("a.net is damaged; copy it again.")
        case b"lists":
            raise Unsupported("a.net: 1 layer:\n  If 'a': no")
        case b"escapes":
            raise BadInput("layer \x1b[31m is damaged")
        case b"says nothing":
            raise BadInput("")
        case b"says all":
            raise BadInput("n" * 5000)
        case b"warns":
            warnings.warn("divided by zero", RuntimeWarning, stacklevel=1)
        case b"fails":
            raise KeyError("weight")
        case b"recurses":
            load(path)
        case b"eats":
            bytearray(fuzz.MEMORY)
        case b"opens":
            Path("/etc/hostname").read_bytes()
        case b"unpickles":
            pickle.loads(pickle.dumps(os.path.join))
        case b"runs":
            os.system("true")
        case b"waits":
            time.sleep(60)  # an alarm interrupts it
        case b"crashes":
            os.abort()
        case _:
            raise KeyError("damaged")


WANTED = {
    b"reads": "read",
    b"refuses": "refused",
    b"lists": "refused",
    b"escapes": "control characters",
    b"says nothing": "a message of no characters",
    b"says all": "a message of too many characters",
    b"warns": "warning RuntimeWarning: divided by zero",
    b"fails": "KeyError at test_fuzz.py",
    b"recurses": "RecursionError",
    b"eats": "MemoryError",
    b"opens": "opens '/etc/hostname'",
    b"unpickles": "event pickle.find_class",
    b"runs": "event os.system",
    b"crashes": "ends with status -6",
}


def test_every_misdeed_is_reported():
    cases = [Case(i, data, True) for i, data in enumerate(WANTED)]
    found = {case.data: verdict for case, verdict in tried("net", load, cases)}
    assert found.keys() == WANTED.keys()
    for data, verdict in found.items():
        assert verdict.startswith(WANTED[data]), (data, verdict)


def test_what_takes_too_long_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz, "SECONDS", 1)
    path = tmp_path / "a.net"
    path.write_bytes(b"waits")
    start = time.monotonic()
    with limited():
        assert judged(load, path, []).startswith("more than 1 s at ")
    assert 0.5 < time.monotonic() - start < 30


def test_the_smallest_file_of_each_finding_is_kept():
    report = fuzz.fuzz("any", [b"reads"], 1.0, 3, load)
    (what,) = (f for f in report.findings if f.startswith("KeyError"))
    case = report.findings[what]
    assert report.tried == report.read + report.refused + sum(report.times.values())
    assert report.times[what] > 1
    stream = Stream("any", [b"reads"], 3)
    assert stream.data(case.number) == case.data
    assert len(case.data) == min(len(stream.data(i)) for i in range(report.tried) if stream.data(i) != b"reads")


def test_sound_files_have_to_be_read():
    with pytest.raises(ValueError, match="a sound file of 7 bytes is not imported: refused"):
        fuzz.fuzz("any", [b"refuses"], 1.0, 0, load)


@pytest.mark.parametrize("kind", ["onnx", "net"])
def test_importers_for_a_moment(kind, tmp_path, capsys):
    report = fuzz.main([kind, "--seconds", "3", "--seed", "7", "--corpus", str(tmp_path / "corpus")])
    assert report.findings == {}
    assert report.refused > report.tried / 10
    assert report.tried == report.read + report.refused
    assert "0 kinds of findings" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["onnx", "net", "nir", "pt2", "h5", "keras"])
@pytest.mark.filterwarnings("ignore")
def test_sound_files_are_imported(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    pytest.importorskip({"pt2": "torch", "h5": "keras", "net": "h5py"}.get(kind, kind))
    path = tmp_path / f"net.{kind}"
    files = seeds(kind)
    assert files
    for data in files:
        path.write_bytes(data)
        assert judged(fuzz.IMPORTERS[kind], path, []) == "read"


def test_files_from_a_folder(tmp_path):
    (tmp_path / "a.tflite").write_bytes(b"one")
    (tmp_path / "b.net").write_bytes(b"two")
    assert seeds("tflite", tmp_path) == [b"one"]
    assert seeds("net", tmp_path)[1:] == [b"two"]
    assert PICKLE not in seeds("net")
