"""Side by side: how a network is written for the other environment, and the rows of this project."""

import sys
from dataclasses import asdict

import numpy as np
import pytest

from experiments.benchmarks import side_by_side
from experiments.benchmarks.side_by_side import Case, layers, ours, small_case, theirs
from experiments.benchmarks.side_by_side_table import table
from neuro.errors import BadInput
from neuro.graph import Graph, Node
from neuro.layers import Dense, Input, Relu, Reshape, Softmax, Transpose

FAKE = """
import json, numpy as np, sys
f = np.load(sys.argv[-2])
kinds = [layer["kind"] for layer in json.loads(str(f["layers"]))]
assert kinds == ["conv", "relu", "average", "flatten", "dense"], kinds
assert f["weight0"].shape == (4, 1, 3, 3) and f["bias4"].shape == (3,)
out = np.load(%r)
np.savez(sys.argv[-1], versions="none", float=out, **{"max_outputs": np.stack([out, out, -out]),
    "max_spikes": np.array([0.1, 0.2, 0.4])})
"""


@pytest.fixture(scope="module")
def case(network, dataset):
    ready = (dataset.calibration_counts, dataset.counts, dataset.y)
    return Case("tiny", network, *ready, dataset.levels, dataset.gain, dataset.offset)


def test_rows_of_this_project(case, monkeypatch):
    for name, value in {"STEPS": (4,), "FEW": (2,), "LEVELS": (7,)}.items():
        monkeypatch.setattr(side_by_side, name, value)
    rows = list(ours(case))
    assert [r.method.split(",")[0] for r in rows] == [
        "max", "percentile", "ltb", "mse", "srp", "cos", "burst", "differential", "unary", "bits", "naf", "ttfs",
        "graded", "sd-pow2",
    ]  # fmt: skip
    assert all(r.low <= r.drop <= r.high for r in rows)
    assert all(r.differing == 0 for r in rows if r.levels)
    assert all(r.every is not None and r.hidden > 0 for r in rows)
    by_name = {r.method: r for r in rows}
    assert by_name["ttfs"].hidden <= 1 < by_name["unary"].hidden
    assert by_name["srp"].hidden > by_name["mse, v0 = th/2"].hidden  # the run before is counted
    assert table(rows).row_count == len(rows)
    assert set(asdict(rows[0])) >= {"network", "by", "method", "drop"}


def test_rows_of_the_other_environment(case, monkeypatch, tmp_path):
    """A stand-in for the runner, in this interpreter: what it is given, and what its result becomes."""
    from experiments.run import outputs

    wanted = outputs(case.network, case.fed(case.test))
    np.save(tmp_path / "out.npy", wanted)
    runner = tmp_path / "runner.py"
    runner.write_text(FAKE % str(tmp_path / "out.npy"))
    monkeypatch.setattr(side_by_side, "RUNNER", runner)
    monkeypatch.setattr(side_by_side.environments, "python", lambda folder, group: tmp_path / "python")
    assert list(theirs(case, tmp_path)) == []  # not installed
    (tmp_path / "python").symlink_to(sys.executable)
    rows = list(theirs(case, tmp_path))
    assert [(r.by, r.method, r.steps, r.hidden) for r in rows] == [
        ("SpikingJelly", "max", 8, 0.1), ("SpikingJelly", "max", 16, 0.2), ("SpikingJelly", "max", 32, 0.4),
    ]  # fmt: skip
    assert [r.drop for r in rows[:2]] == [0, 0]  # the labels are the network's own decisions
    assert rows[2].drop > 50
    np.save(tmp_path / "out.npy", -wanted)
    with pytest.raises(BadInput, match="does not decide in PyTorch as it does here"):
        list(theirs(case, tmp_path))
    runner.write_text("raise SystemExit('no such recipe')")
    with pytest.raises(BadInput, match="SpikingJelly failed: no such recipe"):
        list(theirs(case, tmp_path))


def test_what_cannot_be_written_is_refused():
    nodes = (
        Node("in", Input((2, 1))), Node("t", Transpose((1, 0)), ("in",)), Node("f", Reshape((2,)), ("t",)),
        Node("d", Dense(np.ones((2, 2)), None), ("f",)), Node("r", Relu(), ("d",)), Node("s", Softmax(), ("r",)),
    )  # fmt: skip
    spec, arrays = layers(Graph("g", nodes))
    assert [layer["kind"] for layer in spec] == ["flatten", "dense", "relu"]
    assert arrays["bias1"].tolist() == [0, 0]
    branch = (*nodes[:1], Node("a", Relu(), ("in",)), Node("b", Relu(), ("in",)))
    with pytest.raises(BadInput, match="'b' does not follow 'a'"):
        layers(Graph("g", branch))
    inside = (nodes[0], Node("s", Softmax(), ("in",)), Node("r", Relu(), ("s",)))
    with pytest.raises(BadInput, match=r"'s' \(Softmax\) is not known here"):
        layers(Graph("g", inside))


def test_the_small_networks_are_cases():
    case = small_case("mlp", samples=5, epochs=1)
    assert (case.test.shape, len(case.truth), case.levels) == ((5, 1, 8, 8), 5, 16)
    assert case.fed(case.test).max() <= 1
