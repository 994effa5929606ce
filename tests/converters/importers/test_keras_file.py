"""Keras files that cannot be used: each error says which file, what is wrong and what to try.

NEURO_FUZZ: how many damaged files each property tries; some hundreds where it is not set.
"""

import copy
import functools
import io
import json
import os
import zipfile
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from converters.importers import hdf5_file, keras_file
from converters.importers.from_keras import load
from neuro.errors import BadInput, NeuroError
from neuro.evaluate import evaluator

EXAMPLES = int(os.environ.get("NEURO_FUZZ", "40"))


def config() -> dict:
    """Conv1D, BatchNormalization, a branch, Flatten and Dense, as Keras 2 writes them."""
    shape = {"batch_input_shape": [None, 4, 2], "name": "x"}
    conv = {"name": "c", "filters": 2, "kernel_size": [2], "strides": [1], "padding": "same", "activation": "relu"}
    chosen = [
        ("InputLayer", "x", shape, []),
        ("Conv1D", "c", {**conv, "dilation_rate": [1], "use_bias": True}, ["x"]),
        ("BatchNormalization", "n", {"name": "n", "axis": [2], "epsilon": 0.001, "scale": True, "center": True}, ["c"]),
        ("Add", "a", {"name": "a"}, ["n", "c"]),
        ("MaxPooling1D", "m", {"name": "m", "pool_size": [2], "strides": [2], "padding": "valid"}, ["a"]),
        ("Flatten", "f", {"name": "f", "data_format": "channels_last"}, ["m"]),
        ("Dense", "d", {"name": "d", "units": 2, "activation": "softmax", "use_bias": False}, ["f"]),
    ]
    layers = [
        {"class_name": k, "name": n, "config": c, "inbound_nodes": [[[i, 0, 0, {}] for i in inputs]] if inputs else []}
        for k, n, c, inputs in chosen
    ]
    ends = {"input_layers": [["x", 0, 0]], "output_layers": [["d", 0, 0]]}
    return {"class_name": "Functional", "config": {"name": "net", "layers": layers, **ends}}


def arrays() -> dict[str, list[np.ndarray]]:
    rng = np.random.default_rng(0)
    floats = {"c": [(2, 2, 2), (2,)], "n": [(2,)] * 4, "d": [(4, 2)]}
    return {k: [rng.uniform(0.5, 1, s).astype(np.float32) for s in v] for k, v in floats.items()}


ROLES = {"c": ["kernel", "bias"], "n": ["gamma", "beta", "moving_mean", "moving_variance"], "d": ["kernel"]}


def legacy(described=None) -> bytes:
    memory = io.BytesIO()
    with h5py.File(memory, "w") as f:
        f.attrs["model_config"] = json.dumps(config() if described is None else described)
        f.attrs["keras_version"] = "2.9.0"
        group = f.create_group("model_weights")
        for name, values in arrays().items():
            inner = group.create_group(name)
            names = [f"{name}/{role}:0" for role in ROLES[name]]
            inner.attrs["weight_names"] = [n.encode() for n in names]
            for n, value in zip(names, values, strict=True):
                inner.create_dataset(n, data=value)
    return memory.getvalue()


def store() -> bytes:
    memory = io.BytesIO()
    with h5py.File(memory, "w") as f:
        for name, values in arrays().items():
            folder = {"c": "conv1d", "n": "batch_normalization", "d": "dense"}[name]
            for i, value in enumerate(values):
                f[f"layers/{folder}/vars/{i}"] = value
    return memory.getvalue()


STORE = store()


def archive(described: bytes | None = None, weights: bytes | None = None, packing: int = zipfile.ZIP_STORED) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", packing) as z:
        z.writestr("metadata.json", b'{"keras_version": "3.5.0"}')
        z.writestr("config.json", json.dumps(config()).encode() if described is None else described)
        z.writestr("model.weights.h5", STORE if weights is None else weights)
    return memory.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("keras")


@pytest.fixture(autouse=True, scope="module")
def one_process_for_equal_files():
    """HDF5 is read by another process; files that only differ in their configuration share one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras_file, "store", functools.cache(keras_file.store))
        yield


def complaint(folder: Path, content: bytes, name: str = "net.h5") -> str:
    (folder / name).write_bytes(content)
    with pytest.raises(BadInput) as caught:
        load(folder / name)
    assert str(caught.value).startswith(name)
    return str(caught.value)


def test_both_files_hold_the_same_network(folder):
    (folder / "net.h5").write_bytes(legacy())
    (folder / "net.keras").write_bytes(archive(packing=zipfile.ZIP_DEFLATED))
    first, second = load(folder / "net.h5"), load(folder / "net.keras")
    x = np.random.default_rng(0).normal(size=(2, 4, 2)).astype(np.float32)
    a, b = (np.asarray(evaluator(g, (g.output.name,))(x)[0]) for g in (first, second))
    assert a.tolist() == b.tolist()
    assert a.sum() == pytest.approx(2, abs=1e-6)  # two softmaxes


def test_missing_files_and_folders(tmp_path):
    for path in (tmp_path, tmp_path / "nothing.h5"):
        with pytest.raises(BadInput, match=r"no such file|is a directory"):
            load(path)


def test_files_of_other_kinds(folder):
    assert "not an HDF5 file" in complaint(folder, b"hello")
    assert "not an HDF5 file" in complaint(folder, legacy()[:500])
    assert "damaged archive" in complaint(folder, archive()[:500])
    assert "not an HDF5 file" in complaint(folder, archive(weights=b"none"))
    memory = io.BytesIO()
    with h5py.File(memory, "w") as f:
        f["model_weights/w"] = 1.0
    assert "no model_config, only weights" in complaint(folder, memory.getvalue())
    with h5py.File(memory := io.BytesIO(), "w") as f:
        f.attrs["model_config"] = json.dumps(config())
    assert "no model_weights" in complaint(folder, memory.getvalue())
    with zipfile.ZipFile(memory := io.BytesIO(), "w") as z:
        z.writestr("config.json", "{}")
    assert "holds no 'metadata.json'" in complaint(folder, memory.getvalue())


def test_text_that_is_no_configuration(folder):
    assert "is no JSON" in complaint(folder, archive(b"{"))
    assert "is no JSON" in complaint(folder, archive(b"\xff"))
    assert "is a list" in complaint(folder, archive(b"[]"))
    assert "is no JSON" in complaint(folder, archive(b"[" * 200000))
    deep = copy.deepcopy(config())
    deep["config"]["layers"][1]["inbound_nodes"] = json.loads("[" * 300 + "]" * 300)
    assert "nested deeper" in complaint(folder, archive(json.dumps(deep).encode()))


def test_members_that_unpack_to_far_more(folder):
    bomb = archive(b"[" + b" " * 10_000_000, packing=zipfile.ZIP_DEFLATED)
    assert len(bomb) < 50_000
    keep = keras_file.RATIO_LIMIT
    try:
        keras_file.RATIO_LIMIT = 500
        assert "beyond the limits of" in complaint(folder, bomb)
    finally:
        keras_file.RATIO_LIMIT = keep
    assert "beyond the limits of" in complaint(folder, archive(b" " * (keras_file.TEXT_LIMIT + 1), packing=8))


def changed(change) -> bytes:
    """The `.h5` file with a change made by h5py."""
    memory = io.BytesIO(legacy())
    with h5py.File(memory, "r+") as f:
        change(f["model_weights/d"])
    return memory.getvalue()


def replaced(**arguments):
    def change(group):
        del group["d/kernel:0"]
        group.create_dataset("d/kernel:0", **arguments)

    return change


def test_links_out_of_the_file_are_not_followed(folder):
    with h5py.File(folder / "other.h5", "w") as f:
        f["w"] = np.ones((4, 2), np.float32)

    def linked(link):
        def change(group):
            del group["d/kernel:0"]
            group["d/kernel:0"] = link

        return change

    for link in (h5py.ExternalLink(str(folder / "other.h5"), "/w"), h5py.SoftLink("/model_weights/c/c/kernel:0")):
        assert "links are not followed" in complaint(folder, changed(linked(link)))
    raw = folder / "raw.bin"
    raw.write_bytes(bytes(32))
    outside = replaced(shape=(4, 2), dtype="f4", external=[(str(raw), 0, 32)])
    assert "keeps its data in other files" in complaint(folder, changed(outside))

    def virtual(group):
        del group["d/kernel:0"]
        layout = h5py.VirtualLayout((4, 2), "f4")
        layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "w", (4, 2))
        group.create_virtual_dataset("d/kernel:0", layout)

    assert "keeps its data in other files" in complaint(folder, changed(virtual))


def test_arrays_that_are_none(folder):
    cases = [
        (replaced(data=np.array([b"text"])), "no array of numbers"),
        (replaced(data=np.zeros((4, 2), [("a", "f4")])), "no array of numbers"),
        (replaced(data=h5py.Empty("f4")), "no array of numbers"),
        (replaced(shape=(10**6, 10**6), dtype="f4", chunks=(10, 10)), "more than the file has"),
        (replaced(shape=(10**5, 10**3), dtype="f4"), "more than the file has"),
        (replaced(data=np.ones((4, 2), "f4"), compression="lzf"), "packed in a way"),
        (replaced(data=np.ones((4, 3, 2), "f4")), "has not 2 axes"),
        (replaced(data=np.ones((5, 2), "f4")), "does not fit"),
        (replaced(data=np.full((4, 2), np.nan, "f4")), "NaN"),
    ]
    for change, text in cases:
        (folder / "net.h5").write_bytes(changed(change))
        with pytest.raises(BadInput, match=text):
            load(folder / "net.h5")


def test_compressed_arrays_are_read(folder):
    (folder / "net.h5").write_bytes(changed(replaced(data=np.ones((4, 2), "f4"), compression="gzip", shuffle=True)))
    assert load(folder / "net.h5")["d"].op.weight.tolist() == [[1.0] * 4] * 2


def test_weights_that_do_not_match(folder):
    def listed(names):
        return lambda group: group.attrs.__setitem__("weight_names", names)

    assert "needs the weights kernel, but 0 are stored" in complaint(folder, changed(listed(["d/none"])))
    assert "needs the weights kernel, but 0 are stored" in complaint(folder, changed(lambda g: g.attrs.clear()))
    assert "no list of names" in complaint(folder, changed(listed(np.arange(3))))
    assert "needs the weights kernel, but 2 are stored" in complaint(folder, changed(listed(["d/kernel:0"] * 2)))
    assert "no array of numbers" in complaint(folder, changed(listed(["d"])))


def test_long_lists_of_names_are_split(folder):
    def split(group):
        del group.attrs["weight_names"]
        group.attrs["weight_names0"] = [b"d/kernel:0"]

    (folder / "net.h5").write_bytes(changed(split))
    assert load(folder / "net.h5").output.name == "d_softmax"


def usable_or_refused(folder: Path, content: bytes, name: str) -> None:
    """Nothing but this project's errors; what loads has shapes and finite weights."""
    (folder / name).write_bytes(content)
    with suppress(NeuroError):
        assert load(folder / name).nodes


def damaged(content: bytes):
    """Cut short, or with up to four bytes replaced."""
    flips = st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), min_size=1, max_size=4)

    def flipped(changes) -> bytes:
        data = bytearray(content)
        for position, value in changes:
            data[position] = value
        return bytes(data)

    return st.one_of(st.integers(0, len(content) - 1).map(lambda n: content[:n]), flips.map(flipped))


@examples(max_examples=EXAMPLES)
@given(damaged(legacy()))
def test_fuzz_legacy_files(folder, content):
    usable_or_refused(folder, content, "damaged.h5")


@examples(max_examples=EXAMPLES)
@given(damaged(archive()))
def test_fuzz_archives(folder, content):
    usable_or_refused(folder, content, "damaged.keras")


@examples(max_examples=EXAMPLES)
@given(damaged(store()))
def test_fuzz_weights_in_archives(folder, content):
    usable_or_refused(folder, archive(weights=content), "damaged.keras")


def leaves(value, path=()) -> list[tuple]:
    """Paths of everything in nested lists and mappings."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(p for k, v in inner for p in leaves(v, (*path, k)))]


ODD = [None, -1, 0, 1, 7, 10**30, 1.5, float("nan"), True, "", "x", "relu", [], [[]], {}, [None], {"value": ["x"]}]


@examples(max_examples=10 * EXAMPLES)
@given(st.lists(st.tuples(st.sampled_from(leaves(config())[1:]), st.sampled_from(ODD)), min_size=1, max_size=3))
def test_fuzz_configurations(folder, changes):
    described = config()
    for path, value in changes:
        place = described
        with suppress(KeyError, IndexError, TypeError):  # an earlier change took the place away
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = copy.deepcopy(value)
    usable_or_refused(folder, archive(json.dumps(described).encode()), "damaged.keras")


@pytest.mark.parametrize("byte", [34, 184])
def test_damage_that_makes_the_library_crash(folder, byte):
    """The type of the text is damaged: the HDF5 library ends the process that reads it. Found by random damage."""
    content = bytearray(legacy())
    content[content.index(b"model_config") + 17] = byte
    usable_or_refused(folder, bytes(content), "crash.h5")


def test_readers_that_crash_or_hang(folder, monkeypatch, tmp_path):
    program = tmp_path / "hdf5_extract.py"
    monkeypatch.setattr(hdf5_file, "__file__", str(tmp_path / "hdf5_file.py"))
    keras_file.store.cache_clear()
    program.write_text("import os; os.abort()")
    assert "reading it ends with status -6" in complaint(folder, legacy())
    program.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(hdf5_file, "TIME_LIMIT", 1)
    assert "not read within 1 s" in complaint(folder, legacy())
    keras_file.store.cache_clear()
