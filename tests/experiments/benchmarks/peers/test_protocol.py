"""The protocol: replies in process, and a runner of a few lines as a process of its own."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.benchmarks.peers import protocol

TOY = """
import numpy as np
print("simulators are talkative")
def prepare(name, path):
    if name == "broken":
        raise ValueError("no such simulator")
    with np.load(path) as f:
        counts = f["counts0"] + (name == "wrong")
    return (lambda: 0.25 if name == "own" else None), (lambda: [counts]), "toy 1", 2
"""


@pytest.fixture
def script(tmp_path):
    (tmp_path / "toy_runner.py").write_text(TOY)
    np.savez(tmp_path / "toy.npz", counts0=np.arange(6).reshape(2, 3))
    return tmp_path / "toy_runner.py"


def ask(script, name: str, *requests: dict) -> list[dict]:
    command = [sys.executable, "-P", protocol.__file__, str(script), name]
    text = "\n".join(map(json.dumps, requests)) + "\n"
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    assert "talkative" in done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_process_answers_line_by_line(script, tmp_path):
    load = {"load": str(tmp_path / "toy.npz"), "counts": str(tmp_path / "found.npz")}
    ready, one, two = ask(script, "own", load, {"go": True}, {"go": True})
    assert ready["ready"]
    assert (ready["version"], ready["bytes_per_weight"]) == ("toy 1", 2)
    assert one["wall"] == two["wall"] == 0.25
    assert one["own_clock"]
    assert 1 < one["peak_mib"] < 1000
    with np.load(tmp_path / "found.npz") as found:
        np.testing.assert_array_equal(found["counts0"], np.arange(6).reshape(2, 3))


def test_errors_are_replies(script, tmp_path):
    load = {"load": str(tmp_path / "toy.npz"), "counts": str(tmp_path / "found.npz")}
    failed, nothing = ask(script, "broken", load, {"go": True})
    assert failed == {"error": "ValueError: no such simulator"}
    assert nothing == {"error": "nothing is loaded"}


def test_a_script_that_cannot_be_imported_says_so(tmp_path):
    (tmp_path / "bad.py").write_text("print('talkative')\nimport a_simulator_that_nobody_has\n")
    (reply,) = ask(tmp_path / "bad.py", "x", {"load": "a", "counts": "b"})
    assert "a_simulator_that_nobody_has" in reply["error"]


def test_replies_in_process(tmp_path, monkeypatch):
    monkeypatch.setattr(protocol, "WARM", 0.0)
    monkeypatch.setattr(protocol, "TURN", 0.0)
    ran = []
    prepare = lambda name, path: (lambda: ran.append(name), lambda: [np.ones((1, 2))], "1")  # noqa: E731
    requests = iter([{"load": "w", "counts": str(tmp_path / "c.npz")}, {"go": True}])
    ready, went = protocol.replies(prepare, "toy", requests)
    assert ready["bytes_per_weight"] is None
    assert ran == ["toy", "toy", "toy"]  # at the start, unmeasured, measured
    assert went["wall"] >= 0
    assert went["cpu"] >= 0
    assert not went["own_clock"]
    assert protocol.cpu() > 0


def test_a_turn_is_the_mean_of_the_runs_that_begin_within_it(tmp_path, monkeypatch):
    """Runs that take 40 ms and say 9, 9, 9, 1, 2, 3, 99 s by a clock of the simulator's own: one at the start, two
    begin within the 60 ms that nobody measures, three within the 100 ms after that."""
    monkeypatch.setattr(protocol, "WARM", 0.06)
    monkeypatch.setattr(protocol, "TURN", 0.1)
    now, took = [0.0], iter([9.0, 9.0, 9.0, 1.0, 2.0, 3.0, 99.0])
    monkeypatch.setattr(protocol, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def run():
        now[0] += 0.04
        return next(took)

    requests = iter([{"load": "w", "counts": str(tmp_path / "c.npz")}, {"go": True}])
    _, went = protocol.replies(lambda name, path: (run, lambda: [np.ones((1, 2))], "1"), "toy", requests)
    assert went["own_clock"]
    assert went["wall"] == 2.0
    assert next(took) == 99.0


def test_lines_skip_what_is_empty(tmp_path):
    (tmp_path / "in").write_text('{"go": true}\n\n{"go": false}\n')
    with (tmp_path / "in").open() as source:
        assert list(protocol.lines(source)) == [{"go": True}, {"go": False}]
