"""Runners as processes: a right one, a wrong one, one that is not there."""

import os
import sys

import numpy as np
import pytest

from experiments.benchmarks.peers import protocol
from experiments.benchmarks.peers.roster import Entry
from experiments.benchmarks.peers.session import Absent, Session, compare, environment, launch, start

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
def toy(tmp_path):
    (tmp_path / "toy_runner.py").write_text(TOY)
    np.savez(tmp_path / "W.npz", counts0=np.arange(6).reshape(2, 3))
    np.savez(tmp_path / "W.counts.npz", counts0=np.arange(6).reshape(2, 3))
    command = [sys.executable, "-P", protocol.__file__, str(tmp_path / "toy_runner.py")]

    def begin(name: str, counts: bool = True):
        entry = Entry(name, "peer", "toy", "toy_runner.py", ("W",), counts=counts)
        return launch(entry, command, tmp_path / "W.npz", 1, tmp_path / "work")

    return begin


def test_equal_spikes_pass_and_others_do_not(toy):
    right, wrong = toy("right"), toy("wrong")
    assert isinstance(right, Session)
    assert isinstance(wrong, Session)
    assert right.differs is None
    assert wrong.differs == "layer 0: 6 of 6 counts differ, by up to 1"
    assert right.go()["wall"] >= 0
    for session in (right, wrong):
        session.end()
        assert session.process.returncode == 0


def test_a_floor_is_not_compared(toy):
    floor = toy("wrong", counts=False)
    assert isinstance(floor, Session)
    assert floor.differs is None
    floor.end()


def test_who_fails_is_absent(toy, tmp_path):
    absent = toy("broken")
    assert isinstance(absent, Absent)
    assert absent.reason == "ValueError: no such simulator"
    gone = start(Entry("norse", "peer", "torch", "torch_runner.py", ("W",), "norse"), tmp_path, 1, tmp_path, tmp_path)
    assert isinstance(gone, Absent)
    assert "no environment torch" in gone.reason


def test_a_process_that_dies_is_an_error(toy):
    session = toy("right")
    assert isinstance(session, Session)
    session.process.kill()
    session.process.wait()
    assert "the process ended" in session.go()["error"]
    session.end()


def test_what_differs():
    one = [np.array([[1, 2]]), np.array([[3]])]
    assert compare(one, one) is None
    assert compare([np.array([1, 2]), np.array([3.0])], one) is None
    assert compare(one[:1], one) == "1 layers instead of 2"
    assert compare([np.array([[1, 2, 3]]), one[1]], one) == "layer 0: 3 counts instead of 2"
    assert compare([one[0], np.array([[5]])], one) == "layer 1: 1 of 1 counts differ, by up to 2"


def test_threads_are_told_to_every_pool():
    alone = environment(1, ours=False)
    assert alone["OMP_NUM_THREADS"] == alone["PEERS_CORES"] == "1"
    assert "PYTHONPATH" not in alone
    everything = environment(None, ours=True)
    assert everything["NUMBA_NUM_THREADS"] == str(os.cpu_count())
    assert "PEERS_CORES" not in everything
    assert everything["PYTHONPATH"]
