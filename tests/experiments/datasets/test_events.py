import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.datasets import events
from experiments.datasets.data import load
from neuro.errors import BadInput

EVENT = st.tuples(st.integers(0, 33), st.integers(0, 33), st.integers(0, 1), st.integers(0, 2**23 - 1))


def packed(found):
    """Events (x, y, polarity, t) in N-MNIST's form."""
    return b"".join(bytes([x, y]) + struct.pack(">I", p << 23 | t)[1:] for x, y, p, t in found)


@given(st.lists(EVENT, min_size=1, max_size=20))
def test_events_are_read_and_counted(found):
    read = events.atis(packed(found), "a")
    assert list(zip(read.x, read.y, read.polarity, read.t, strict=True)) == found
    counts = events.frames(read, 1, None)
    assert counts.sum() == len(found)
    x, y, p, _ = found[0]
    assert counts[0, p, y, x] == sum(e[:3] == (x, y, p) for e in found)


def test_frames_leave_out_what_is_late():
    read = events.atis(packed([(1, 2, 0, 999), (1, 2, 0, 1000), (3, 4, 1, 1999), (5, 6, 1, 2000)]), "a")
    counts = events.frames(read, 2, 1000)
    assert [tuple(p) for p in np.argwhere(counts)] == [(0, 0, 2, 1), (1, 0, 2, 1), (1, 1, 4, 3)]
    assert counts.sum() == 3


@pytest.mark.parametrize(
    ("content", "match"),
    [(b"", "0 bytes"), (b"123456", "6 bytes"), (packed([(1, 1, 0, 0), (34, 2, 0, 1)]), "event 1 is")],
)
def test_malformed_recordings(content, match):
    with pytest.raises(BadInput, match=f"a: {match}"):
        events.atis(content, "a")


def test_nmnist(neuro_data):
    data = load("nmnist", neuro_data)
    assert (data.x.shape, data.x_calibration.shape) == ((9, 2, 34, 34), (1, 2, 34, 34))
    assert data.y.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    with zipfile.ZipFile(neuro_data / "event/nmnist_9_samples.zip") as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    for i, digit in enumerate(data.y):
        x, y, polarity = (np.frombuffer(contents[f"{digit}.bin"], np.uint8)[k::5] for k in range(3))
        table = np.histogramdd(np.stack([polarity >> 7, y, x], 1), [np.arange(n + 1) - 0.5 for n in (2, 34, 34)])[0]
        assert (data.counts[i] == table).all()
    assert data.x.sum(axis=(1, 2, 3)).tolist() == [4508, 2565, 2797, 3631, 5801, 4300, 5231, 5281, 3800]
    assert data.x_calibration.sum() == len(contents["tonic_sample_nmnist.bin"]) / 5
    assert (data.step, data.origin, data.levels) == (1, 0, data.x.max())


def test_the_sinabs_network_reads_every_recording(neuro_data):
    """The published spiking network in 1 ms steps: torch's convolutions, integrate and fire here."""
    torch, nir = pytest.importorskip("torch"), pytest.importorskip("nir")
    graph = nir.read(neuro_data / "models/nir/nir_scnn_sinabs_nmnist.nir")
    found, _ = events.recordings(neuro_data)
    x = torch.tensor(np.stack([events.frames(e, 312, 1000) for e in found.values()]), dtype=torch.float32)
    membrane, total = {}, 0
    for step in range(x.shape[1]):
        s = x[:, step]
        for name in sorted(filter(str.isdigit, graph.nodes), key=int):
            node = graph.nodes[name]
            match type(node).__name__:
                case "Conv2d":
                    s = torch.conv2d(
                        s, torch.tensor(node.weight), torch.tensor(node.bias), list(node.stride), list(node.padding)
                    )
                case "SumPool2d":
                    s = 4 * torch.nn.functional.avg_pool2d(s, 2)
                case "Flatten":
                    s = s.flatten(1)
                case "Affine":
                    s = s @ torch.tensor(node.weight).T + torch.tensor(node.bias)
                case "IF":
                    threshold = torch.tensor(node.v_threshold)
                    v = membrane.get(name, 0) + s
                    s = torch.floor(torch.relu(v) / threshold)
                    membrane[name] = v - s * threshold
        total = total + s
    assert total.argmax(1).tolist() == list(found)


def test_crossings():
    readings = np.array([[[9, 0], [7, 0], [7, 5], [0, 0]], [[1, 1], [2, 1], [2, 2], [4, 4]]], np.uint8)
    found = events.crossings(readings, np.array([3, 4]))
    assert found.tolist() == [[[2, 0], [0, 5], [0, 0]], [[1, 0], [0, 1], [2, 2]]]


def test_braille(neuro_data):
    data = load("braille", neuro_data)
    with np.load(neuro_data / "event/braille_letters_tactile.npz", allow_pickle=False) as raw:
        x, length = raw["x"].astype(int), raw["length"]
    assert data.x.shape == (1080, 76, 12)
    assert data.x_calibration.shape == (270, 76, 12)
    assert data.y.tolist() == list(range(27)) * 40  # 50 repetitions of each letter, 10 of them for calibration
    for item, letter, repetition in [(0, 0, 10), (28, 1, 11), (1079, 26, 49)]:
        number = letter * 50 + repetition  # the file is sorted by letter
        steps = length[number] - 1
        changes = [[abs(b - a) for a, b in zip(x[number, t], x[number, t + 1], strict=True)] for t in range(steps)]
        assert data.counts[item, :steps].tolist() == changes
        assert (data.counts[item, steps:] == 0).all()
    assert (data.step, data.origin) == (1, 0)
    assert load("braille", neuro_data).sha256 == data.sha256


def test_damaged_files_are_named(tmp_path):
    (tmp_path / "event").mkdir()
    path = tmp_path / "event/nmnist_9_samples.zip"
    path.write_bytes(b"no zip")
    with pytest.raises(BadInput, match=r"nmnist_9_samples.zip: not a readable zip"):
        load("nmnist", tmp_path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("0.bin", packed([(1, 1, 1, 1)]))
    with pytest.raises(BadInput, match=r"1 recordings DIGIT.bin and 0 others"):
        load("nmnist", tmp_path)
    np.savez(
        tmp_path / "event/braille_letters_tactile.npz",
        x=np.zeros((2, 77, 12), np.uint8), length=np.array([77, 76]), y=np.array([0, 1]),
    )  # fmt: skip
    with pytest.raises(BadInput, match="more than 10 repetitions"):
        load("braille", tmp_path)
