"""Damage that reaches the importers: archives with right checksums, JSON, messages that can be parsed."""

import io
import json
import zipfile
from contextlib import suppress

import h5py
import numpy as np
import pytest

from experiments.benchmarks.fuzz_changes import archive, changed, document, hdf5, onnx, spoiled, walked
from experiments.benchmarks.fuzz_seeds import seeds


def rngs(count: int):
    return (np.random.default_rng([4, i]) for i in range(count))


def test_a_seed_gives_the_same_file_again():
    sound = [bytes(range(256)), b"short"]
    first, second = ([changed("any", sound, rng) for rng in rngs(50)] for _ in range(2))
    assert first == second
    assert len(set(first)) > 40
    assert sum(data in sound for data in first) < 10


def test_bytes_are_cut_and_changed():
    found = [spoiled(bytes(1000), rng) for rng in rngs(100)]
    assert min(map(len, found)) < 1000 < max(map(len, found))
    assert any(len(data) == 1000 and any(data) for data in found)
    assert all(spoiled(b"", rng) is not None for rng in rngs(20))


def test_documents_stay_json():
    whole = {"nodes": [{"name": "a", "input": ["x"]}, {"name": "b", "input": ["a"]}], "size": 3}
    text = json.dumps(whole).encode()
    found = [document(text, rng) for rng in rngs(200)]
    parsed = [json.loads(data) for data in found if not data.startswith(b"[[[[")]
    assert len(parsed) > 190
    assert sum(p != whole for p in parsed) > 180
    nodes = [node for p in parsed if isinstance(p.get("nodes"), list) for node in p["nodes"]]
    assert {"name": "a", "input": ["a"]} in nodes  # a circle
    assert len(walked(whole)) == 10


def test_archives_have_right_checksums():
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        file.writestr("net/models/model.json", json.dumps({"a": [1, 2]}))
        file.writestr("net/data/weights/weight_0", bytes(64))
    names = set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # about names that are there twice
        for rng in rngs(60):
            with zipfile.ZipFile(io.BytesIO(archive(made.getvalue(), rng))) as file:
                assert file.testzip() is None
                names.add(tuple(file.namelist()))
    assert len(names) > 3


def test_models_can_still_be_parsed():
    pytest.importorskip("onnx")
    from onnx import ModelProto

    (sound, *_) = seeds("onnx")
    whole, found = ModelProto.FromString(sound), [ModelProto.FromString(onnx(sound, rng)) for rng in rngs(150)]
    assert sum(m != whole for m in found) > 120
    assert any(t.data_location == 1 for m in found for t in m.graph.initializer)
    assert any(len(m.graph.node) > len(whole.graph.node) for m in found)


def test_hdf5_files_stay_hdf5():
    (sound,) = seeds("net")
    opened, shapes = 0, set()
    for rng in rngs(60):
        data = hdf5(sound, rng)
        with suppress(OSError, RuntimeError, KeyError, AttributeError), h5py.File(io.BytesIO(data), "r") as file:
            opened += data != sound
            shapes.add(getattr(file["layer/0"].get("weight"), "shape", None))
    assert opened > 40
    assert len(shapes) > 1
