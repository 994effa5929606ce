import io
import wave
import zipfile

import numpy as np
import pytest

from experiments.datasets import recordings
from experiments.datasets.data import Preprocessing, load, preprocess
from neuro.errors import BadInput


def wav(samples, rate=8000, channels=1, width=2):
    """A WAV file of int16 samples."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(np.asarray(samples, "<i2").tobytes())
    return out.getvalue()


def test_kws01(neuro_data):
    data = load("kws01", neuro_data)
    with np.load(neuro_data / "audio/mlperf_tiny_kws01_first500.npz", allow_pickle=False) as raw:
        x, names = raw["x"], raw["names"]
    assert (data.shape, data.levels, data.step, data.origin) == ((49, 10, 1), 255, 1, -128)
    assert data.y.tolist() == [int(name[:-4].rsplit("_", 1)[1]) for name in names[100:]]  # tst_000100_On_5.bin
    assert (data.network_input == x[100:]).all()  # an int8 network is fed the values as they are
    assert (data.calibration_input == x[:100]).all()
    real = preprocess(data, Preprocessing(scale=0.5847029, mean=(83 * 0.5847029,))).network_input
    np.testing.assert_allclose(real, (x[100:].astype(float) - 83) * 0.5847029, rtol=1e-5, atol=1e-4)


def test_fsdd_has_the_official_split(neuro_data):
    data = load("fsdd", neuro_data)
    assert data.x.shape == (250, 1, 64, 64)
    assert np.bincount(data.y).tolist() == [25] * 10  # 5 speakers, recordings 0 to 4
    assert sorted(data.y[:50].tolist()) == [d for d in range(10) for _ in range(5)]
    assert (data.levels, data.origin, len(data.x_calibration)) == (255, 0, 1000)
    with (
        zipfile.ZipFile(neuro_data / "audio/fsdd_5speakers_2500_wav.zip") as archive,
        wave.open(archive.open("0_george_0.wav")) as file,
    ):
        first = np.frombuffer(file.readframes(-1), "<i2")
    assert (data.x[0, 0] == recordings.spectrogram(first)).all()
    assert not (data.x_calibration[:, None] == data.x[None, :5]).all(axis=(2, 3, 4)).any()
    assert load("fsdd", neuro_data).sha256 == data.sha256


@pytest.mark.parametrize("k", [1, 32, 64])
def test_a_sine_of_full_scale_is_where_its_window_puts_it(k):
    """A Hann window spreads a sine in mid-bin over it and both neighbours, a quarter of the power each.

    Its band, bins 2b + 1 and 2b + 2, averages the bin and one neighbour: (1 + 1/4) / 2 of full scale.
    """
    t = np.arange(8320)
    found = recordings.spectrogram(np.rint(32767 * np.sin(2 * np.pi * k * t / 256)).astype(np.int16))
    expected = 100 + 10 * np.log10(0.625)
    assert found.shape == (64, 64)
    band = (k - 1) // 2
    np.testing.assert_allclose(found[:, band], expected, atol=0.01)
    assert np.delete(found, [max(band - 1, 0), band, min(band + 1, 63)], axis=1).max() < 20


def test_silence_and_length():
    assert (recordings.spectrogram(np.zeros(0, np.int16)) == 0).all()
    noise = np.random.default_rng(0).integers(-9999, 9999, 20_000).astype(np.int16)
    assert (recordings.spectrogram(noise) == recordings.spectrogram(noise[:8320])).all()
    short = recordings.spectrogram(noise[:128])  # within the first frame alone
    assert (short[0] > 0).all()
    assert (short[1:] == 0).all()


def test_sound():
    assert recordings.sound(wav([1, -2, 3]), "a").tolist() == [1, -2, 3]
    for content, match in [
        (b"RIFF", "not a readable WAV"),
        (b"", "not a readable WAV"),
        (wav([1, 2], rate=16000), "16,000 Hz"),
        (wav([1, 2], channels=2), r"2 channel"),
        (wav([1, 2], width=1), "8 bit"),
    ]:
        with pytest.raises(BadInput, match=rf"a: .*{match}"):
            recordings.sound(content, "a: b")


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({"a.wav": b""}, "a.wav: files are named"),
        ({"0_x_0.wav": b"RIFF", "0_x_9.wav": b"RIFF"}, "0_x_0.wav: not a readable"),
        ({"0_x_0.wav": b""}, "1 test and 0 training"),
    ],
)
def test_bad_archives(tmp_path, files, match):
    (tmp_path / "audio").mkdir()
    with zipfile.ZipFile(tmp_path / "audio/fsdd_5speakers_2500_wav.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    with pytest.raises(BadInput, match=match):
        load("fsdd", tmp_path)


def test_ecg17_keeps_records_apart(neuro_data):
    data = load("ecg17", neuro_data)
    with np.load(neuro_data / "health/ecg_mitbih_17rhythms.npz", allow_pickle=False) as raw:
        x, y, record = raw["x"], raw["y"], raw["record"]
    late = np.array([int(r) >= 200 for r in record])
    assert (data.shape, data.levels, data.step, data.origin) == ((3600,), 2047, 1, 0)
    assert (np.bincount(data.y, minlength=17) == np.bincount(y[late], minlength=17)).all()
    assert data.y[:18].tolist() == [*range(17), 0]
    assert sorted(map(bytes, data.counts)) == sorted(map(bytes, x[late].astype(np.int32)))
    assert (data.calibration_counts == x[~late]).all()
    assert len(data.x) + len(data.x_calibration) == 1000
    first = x[late & (y == 5)][0]  # the first WPW fragment comes sixth
    assert (data.counts[5] == first).all()


def test_ecgnet_reads_ecg17(neuro_data):
    """The published network (98.3 % on all fragments) on ours, with one mean and deviation for all positions."""
    torch = pytest.importorskip("torch")
    data = load("ecg17", neuro_data)
    ready = preprocess(data, Preprocessing(mean=(967.1,), std=(91.9,))).network_input
    with np.load(neuro_data / "models/health/ecgnet_17class_state.npz", allow_pickle=False) as file:
        w = {key: torch.tensor(file[key]) for key in file}
    x = torch.tensor(ready)[:, None]
    layers = [(0, 2, 7, 8, 4), (3, 2, 5, 4, 2), (6, 1, 4, 5, 2), (9, 1, 3, 4, 2), (12, 1, 2, 2, 2), (15, 1, 1, 2, 2)]
    for i, stride, pad, kernel, by in [*layers, (18, 1, 1, 2, 2)]:
        x = torch.conv1d(x, w[f"features.{i}.weight"], w[f"features.{i}.bias"], stride, pad)
        x = torch.max_pool1d(torch.relu(x), kernel, by)
    x = torch.relu(x.flatten(1) @ w["classifier.0.weight"].T + w["classifier.0.bias"])
    decisions = (x @ w["classifier.3.weight"].T + w["classifier.3.bias"]).argmax(1).numpy()
    assert (decisions == data.y).mean() > 0.96


def test_damaged_files_are_named(tmp_path):
    for name, file in [("kws01", "audio/mlperf_tiny_kws01_first500.npz"), ("ecg17", "health/ecg_mitbih_17rhythms.npz")]:
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
        with pytest.raises(BadInput, match=path.name):
            load(name, tmp_path)
    np.savez(path, x=np.zeros((2, 3600), int), y=np.zeros(2, int), record=np.array(["100", "101"]))
    with pytest.raises(BadInput, match="0 of 2 fragments"):
        load("ecg17", tmp_path)
