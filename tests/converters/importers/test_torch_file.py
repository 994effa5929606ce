"""Files that nobody vouches for: nothing in them is executed, and damage gives BadInput."""

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from converters.importers.from_torch import load
from converters.importers.torch_file import read
from neuro.errors import BadInput, Unsupported
from neuro.evaluate import evaluator

FUZZ = examples(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CONFIG = "data/weights/model_weights_config.json"


def tensor(path: str, dtype: int, sizes: list[int], strides: list[int], offset: int = 0) -> dict:
    meta = {
        "dtype": dtype,
        "sizes": [{"as_int": n} for n in sizes],
        "strides": [{"as_int": n} for n in strides],
        "storage_offset": {"as_int": offset},
    }
    return {"path_name": path, "is_param": True, "use_pickle": False, "tensor_meta": meta}


def entries() -> dict[str, bytes]:
    """A network of one matrix and a ReLU, written as PyTorch 2.13 does."""
    weight = np.arange(6, dtype="<f4")
    meta = {"x": [1, 3], "w": [2, 3], "linear": [1, 2], "relu": [1, 2]}

    def argument(name: str) -> dict:
        return {"as_tensor": {"name": name}}

    def node(target: str, given: dict[str, str], name: str) -> dict:
        inputs = [{"name": key, "arg": argument(value), "kind": 1} for key, value in given.items()]
        stack = "L__self__,,net.Net;L__self__fc,fc,torch.nn.modules.linear.Linear" if name == "linear" else ""
        return {
            "target": target, "inputs": inputs, "outputs": [argument(name)], "metadata": {"nn_module_stack": stack},
            "name": name,
        }  # fmt: skip

    graph = {
        "nodes": [
            node("torch.ops.aten.linear.default", {"input": "x", "weight": "w"}, "linear"),
            node("torch.ops.aten.relu.default", {"self": "linear"}, "relu"),
        ],
        "tensor_values": {name: {"sizes": [{"as_int": n} for n in sizes]} for name, sizes in meta.items()},
    }
    signature = {
        "input_specs": [
            {"parameter": {"arg": {"name": "w"}, "parameter_name": "fc.weight"}},
            {"user_input": {"arg": argument("x")}},
        ],
        "output_specs": [{"user_output": {"arg": argument("relu")}}],
    }
    return {
        "archive_format": b"pt2",
        "byteorder": b"little",
        "models/model.json": json.dumps({"graph_module": {"graph": graph, "signature": signature}}).encode(),
        CONFIG: json.dumps({"config": {"fc.weight": tensor("weight_0", 7, [2, 3], [3, 1])}}).encode(),
        "data/weights/weight_0": weight.tobytes(),
    }


def written(path: Path, content: dict[str, bytes], kind: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, data in content.items():
            archive.writestr(f"net/{name}", data)
    return path


def with_config(**changes: object) -> dict[str, bytes]:
    """The network with its one weight described otherwise."""
    content = entries()
    config = json.loads(content[CONFIG])
    config["config"]["fc.weight"] |= changes
    return content | {CONFIG: json.dumps(config).encode()}


class Trap:
    """Creates a file when unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def trap(path: Path) -> bytes:
    data = pickle.dumps(Trap(path))
    assert b"open" in data
    return data


def test_the_matrix_is_read(tmp_path):
    graph = load(written(tmp_path / "small.pt2", entries()))
    assert graph.name == "small"
    assert [n.name for n in graph.nodes] == ["x", "fc", "relu"]
    (y,) = evaluator(graph, ("relu",))(np.array([[1, 0, 0], [-1, 1, -1], [0, 0, 2]], np.float32))
    assert y.tolist() == [[0, 3], [0, 0], [4, 10]]


@pytest.mark.parametrize(
    ("meta", "data", "wanted"),
    [
        (tensor("weight_0", 7, [2, 3], [1, 2]), np.arange(6, dtype="<f4"), [[0, 2, 4], [1, 3, 5]]),
        (tensor("weight_0", 7, [2, 3], [3, 1], 2), np.arange(8, dtype="<f4"), [[2, 3, 4], [5, 6, 7]]),
        (tensor("weight_0", 8, [2, 3], [3, 1]), np.arange(6, dtype="<f8"), [[0, 1, 2], [3, 4, 5]]),
        (tensor("weight_0", 6, [2, 3], [3, 1]), np.arange(6, dtype="<f2"), [[0, 1, 2], [3, 4, 5]]),
        (tensor("weight_0", 13, [2, 3], [3, 1]), np.full(6, 0x3FC0, "<u2"), [[1.5] * 3] * 2),  # 0 01111111 1000000
    ],
)
def test_a_weight_is_a_cut_of_its_storage(meta, data, wanted, tmp_path):
    content = with_config(**meta) | {"data/weights/weight_0": data.tobytes()}
    assert load(written(tmp_path / "net.pt2", content))["fc"].op.weight.tolist() == wanted


def test_planted_pickles_stay_closed(tmp_path):
    mark = tmp_path / "executed"
    data = trap(mark)
    sample = entries() | {"data/sample_inputs/model.pt": data, "extra/notes": data}
    assert len(load(written(tmp_path / "a.pt2", sample)).nodes) == 3  # where PyTorch has pickles: never opened
    weight = with_config(use_pickle=True) | {"data/weights/weight_0": data}
    with pytest.raises(BadInput, match="pickled"):
        load(written(tmp_path / "b.pt2", weight))
    for name in ("data.pkl", "data/weights/model.pt", "data/constants/custom_obj_0", "data/aotinductor/model/a.so"):
        with pytest.raises(BadInput, match=r"torch\.export\.save"):
            load(written(tmp_path / "c.pt2", entries() | {name: data}))
    (tmp_path / "d.pt2").write_bytes(data)
    with pytest.raises(BadInput, match="pickles are never loaded"):
        load(tmp_path / "d.pt2")
    assert not mark.exists()
    pickle.loads(data).close()  # the trap works
    assert mark.exists()


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ({"archive_format": b"pt2"}, r"no models/model\.json"),
        (entries() | {"byteorder": b"big"}, "little"),
        (entries() | {"surprise": b""}, "surprise"),
        (entries() | {"models/model.json": b"[" * 100_000}, "damaged"),
        (entries() | {"models/model.json": b"{}"}, "damaged"),
        (entries() | {CONFIG: b""}, "damaged"),
        (with_config(path_name="../../../etc/passwd"), "said to lie"),
        (with_config(path_name="weight_7"), "missing"),
        (with_config(**tensor("weight_0", 7, [2, 4], [4, 1])), "more than its 6"),
        (with_config(**tensor("weight_0", 7, [2, 3], [4, 1])), "more than its 6"),
        (with_config(**tensor("weight_0", 7, [2, 3], [-3, 1])), "strides"),
        (with_config(**tensor("weight_0", 7, [10**9, 10**9], [0, 0])), "more than its 6"),
        (with_config(**tensor("weight_0", 11, [2, 3], [3, 1])), "element type"),
        (with_config(**tensor("weight_0", 7, [3, 2], [2, 1])), "does not fit"),
    ],
)
def test_what_does_not_belong_there(content, word, tmp_path):
    with pytest.raises(BadInput, match=word):
        load(written(tmp_path / "net.pt2", content))


def test_compressed_archives_are_refused(tmp_path):
    bomb = entries() | {"data/weights/weight_0": bytes(10_000_000)}
    path = written(tmp_path / "net.pt2", bomb, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 20_000
    with pytest.raises(BadInput, match="compressed"):
        load(path)


def test_other_files(tmp_path):
    with pytest.raises(BadInput, match="no such file"):
        read(tmp_path / "none.pt2")
    (tmp_path / "text.pt2").write_text("hello")
    with pytest.raises(BadInput, match=r"no \.pt2 archive"):
        read(tmp_path / "text.pt2")


def test_state_dicts_modules_and_torchscript_say_how_to_export(tmp_path):
    torch = pytest.importorskip("torch")
    net = torch.nn.Linear(2, 3)
    torch.save(net.state_dict(), tmp_path / "a.pt")
    torch.save(net, tmp_path / "b.pth")
    torch.save(net.state_dict(), tmp_path / "c.pt", _use_new_zipfile_serialization=False)
    for name in "a.pt", "b.pth", "c.pt":
        with pytest.raises(BadInput, match=r"torch\.export\.save\(program"):
            load(tmp_path / name)


# Damage


def survives(path: Path) -> None:
    try:
        load(path)
    except (BadInput, Unsupported) as error:
        assert str(error)  # noqa: PT017


@FUZZ
@given(st.data())
def test_damaged_bytes(tmp_path, data):
    """Cut off, and bytes changed anywhere, the directory and the checksums among them."""
    path = written(tmp_path / "net.pt2", entries())
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)))] if data.draw(st.booleans()) else whole)
    survives(path)


@FUZZ
@given(st.data())
def test_damaged_content_with_right_checksums(tmp_path, data):
    content = entries()
    name = data.draw(st.sampled_from(sorted(content)))
    changed = bytearray(content[name])
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(32, 126))
    survives(written(tmp_path / "net.pt2", content | {name: bytes(changed)}))


@FUZZ
@given(st.data())
def test_damaged_structure(tmp_path, data):
    """One value in the program or in the table of weights replaced by something else."""
    content = entries()
    name = data.draw(st.sampled_from(["models/model.json", CONFIG]))
    document = json.loads(content[name])
    places = list(walked(document))
    holder, key = places[data.draw(st.integers(0, len(places) - 1))]
    holder[key] = data.draw(st.sampled_from([None, -1, 2**70, 1.5, True, "", "x", [], {}, [[]], {"as_int": -3}]))
    survives(written(tmp_path / "net.pt2", content | {name: json.dumps(document).encode()}))


def walked(value: object):
    """Every place in a document: its holder and key."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from walked(inner)


@pytest.mark.filterwarnings(r"ignore:`isinstance\(treespec, LeafSpec\)`:FutureWarning")
def test_damaged_files_of_pytorch_itself(tmp_path):
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.ReLU(), torch.nn.MaxPool2d(2))
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(net.eval(), (torch.zeros(1, 1, 6, 6),)), buffer)
    whole, rng = buffer.getvalue(), np.random.default_rng(0)
    path = tmp_path / "net.pt2"
    for i in range(100):
        place = int(rng.integers(len(whole)))
        changed = bytearray(whole)
        changed[place] ^= int(rng.integers(1, 256))
        path.write_bytes(whole[:place] if i % 4 == 0 else bytes(changed))
        survives(path)
