"""Converted networks on disk: the same after reading, and nothing but a clear error from a damaged file."""

import contextlib
from dataclasses import replace
from math import inf

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters import fold, network_file, quantise
from converters.network_file import Converted
from neuro.activations import Function
from neuro.errors import BadInput
from neuro.graph import Graph, Node, digest
from neuro.layers import Activation, AvgPool, Concat, Conv, Dense, Input, MaxPool, Pad, Relu, Reshape, Scale
from neuro.steps import Steps

NONE = ((0, 0), (0, 0))


def network() -> Graph:
    rng = np.random.default_rng(0)
    return Graph(
        "net",
        (
            Node("in", Input((2, 8, 8))),
            Node("pad", Pad(((0, 0), (1, 1), (0, 0))), ("in",)),
            Node("c", Conv(rng.normal(size=(4, 1, 3, 3)), rng.normal(size=4), (1, 1), ((0, 0), (1, 1)), 2), ("pad",)),
            Node("bn", Scale(rng.normal(1, 0.1, (4, 1, 1)), rng.normal(size=(4, 1, 1))), ("c",)),
            Node("r", Relu(), ("bn",)),
            Node("d", Conv(rng.normal(size=(4, 2, 2, 2)), None, (1, 1), ((1, 1), (1, 1)), 1, (2, 2)), ("in",)),
            Node("t", Activation(Function("clip", (-1.0, inf))), ("d",)),
            Node("m", MaxPool((2, 2), (2, 2), NONE), ("r",)),
            Node("a", AvgPool((2, 2), (2, 2), NONE), ("t",)),
            Node("cat", Concat(0), ("m", "a")),
            Node("flat", Reshape((128,)), ("cat",)),
            Node("out", Dense(rng.normal(size=(3, 128)), None), ("flat",)),
        ),
    )


@pytest.fixture(scope="module")
def converted() -> Converted:
    graph = network()
    counts = np.random.default_rng(1).integers(0, 16, (40, 2, 8, 8))
    gain, offset = np.full((1, 1, 1), 0.1), np.full((1, 1, 1), -0.5)
    integer = quantise.reference(fold.fold(graph, gain, offset), counts, 15, 7)
    return Converted(graph, integer, "exact", "bits", 64, 15, gain, offset, {"network": "net.onnx"})


@pytest.fixture(scope="module")
def stored(converted, tmp_path_factory):
    return network_file.save(converted, tmp_path_factory.mktemp("file") / "net.h5")


def test_round_trip(converted, stored):
    found = network_file.load(stored)
    assert network_file.is_network_file(stored)
    assert digest(found.network) == digest(converted.network)
    assert digest(found.integer.graph) == digest(converted.integer.graph)
    for kind in ("scales", "origins"):
        mine, theirs = getattr(found.integer, kind), getattr(converted.integer, kind)
        assert list(mine) == list(theirs)
        for name, values in theirs.items():
            np.testing.assert_array_equal(mine[name], values)
            assert mine[name].shape == values.shape
    same = ("method", "code", "steps", "levels", "origin")
    assert [getattr(found, k) for k in same] == [getattr(converted, k) for k in same]
    np.testing.assert_array_equal(found.gain, converted.gain)


def test_what_cannot_be_written_leaves_nothing(converted, tmp_path):
    (tmp_path / "net.h5").mkdir()
    with pytest.raises(BadInput, match=r"net\.h5: cannot be written"):
        network_file.save(converted, tmp_path / "net.h5")
    assert [p.name for p in tmp_path.iterdir()] == ["net.h5"]


def test_not_one_of_these(tmp_path, stored):
    with pytest.raises(BadInput, match="no such file"):
        network_file.load(tmp_path / "none.h5")
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["x"] = np.zeros(3)
    assert not network_file.is_network_file(other)
    with pytest.raises(BadInput, match="no converted network"):
        network_file.load(other)
    newer = tmp_path / "newer.h5"
    newer.write_bytes(stored.read_bytes())
    with h5py.File(newer, "a") as file:
        file.attrs["version"] = 9
    with pytest.raises(BadInput, match="version 9; this program reads 1"):
        network_file.load(newer)


def change(path, key, make):
    with h5py.File(path, "a") as file:
        parent, _, name = key.rpartition("/")
        group = file[parent] if parent else file
        del group[name]
        make(group, name)


@pytest.mark.parametrize(
    ("key", "make"),
    [
        ("gain", lambda g, n: g.create_dataset(n, data=np.array([b"a"]))),
        ("gain", lambda g, n: g.create_dataset(n, shape=(2**20, 2**20), dtype="f8", chunks=(1, 1024))),
        ("gain", lambda g, n: g.__setitem__(n, h5py.ExternalLink("/etc/hostname", "x"))),
        ("gain", lambda g, n: g.__setitem__(n, h5py.SoftLink("/offset"))),
        ("float", lambda g, n: g.create_dataset(n, data=1.0)),
        ("float/00002/weight", lambda g, n: g.create_dataset(n, data=np.zeros((4, 1, 3)))),
        ("float/00002/weight", lambda g, n: g.create_dataset(n, data=np.full((4, 1, 3, 3), np.nan))),
        ("float/00002/weight", lambda g, n: None),
        ("integer/00000", lambda g, n: g.create_group(n)),
    ],
)
def test_hostile_content(stored, tmp_path, key, make):
    path = tmp_path / "bad.h5"
    path.write_bytes(stored.read_bytes())
    change(path, key, make)
    with pytest.raises(BadInput):
        network_file.load(path)


@pytest.mark.parametrize(
    "node", ["[1]", "{", '{"name": "x", "op": "Softmaxx"}', '{"name": "x", "op": "Pad", "inputs": [], "fields": {}}',
             '{"name": "x", "op": "Pad", "inputs": ["in"], "fields": {"pads": "ab"}}']
)  # fmt: skip
def test_hostile_nodes(stored, tmp_path, node):
    path = tmp_path / "bad.h5"
    path.write_bytes(stored.read_bytes())
    with h5py.File(path, "a") as file:
        file["float/00001"].attrs["node"] = node
    with pytest.raises(BadInput, match=r"bad\.h5: not a readable converted network"):
        network_file.load(path)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_truncated_and_flipped(stored, tmp_path_factory, data):
    content = bytearray(stored.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 8))):
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.getbasetemp() / "fuzzed.h5"
    path.write_bytes(bytes(content))
    with contextlib.suppress(BadInput):
        network_file.load(path)


def test_another_code(converted, tmp_path):
    path = network_file.save(replace(converted, code="unary"), tmp_path / "deep" / "net.h5")
    assert network_file.load(path).code == "unary"


def test_functions_with_thresholds_of_their_own(converted, tmp_path):
    function = Steps(thresholds=np.array([[3.0, 1 / 3], [-1.0, inf]]), unit=0.1, start=-2.0)
    nodes = (Node("in", Input((2, 3))), Node("s", Activation(function), ("in",)))
    network_file.save(replace(converted, network=Graph("steps", nodes)), tmp_path / "n.h5")
    op = network_file.load(tmp_path / "n.h5").network["s"].op
    assert isinstance(op, Activation)
    assert isinstance(op.function, Steps)
    assert repr(op.function) == repr(function)
    with h5py.File(tmp_path / "n.h5", "r+") as file:
        del file["float/00001/function"]
    with pytest.raises(BadInput, match="not a readable converted network"):
        network_file.load(tmp_path / "n.h5")
