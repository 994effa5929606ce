"""Data sets of sound and of the heart, from the folder NEURO_DATA."""

import io
import re
import wave
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int16

from experiments.datasets.arrays import DAMAGED, Arrays, members, mixed, place, spread, unzipped
from neuro.errors import BadInput

KWS01 = "https://github.com/eembc/energyrunner, datasets/kws01"
FSDD = "https://github.com/Jakobovski/free-spoken-digit-dataset"
ECG17 = "https://data.mendeley.com/datasets/7dybx7wyfn/3"
FIRST_CLIPS = 100
TEST_RECORDINGS = 5
RATE = 8000
FRAMES = BANDS = 64
WINDOW, HOP = 256, 128
FLOOR = 100.0
LARGEST_CLIP = 10 * RATE * 2


def kws01(root: Path | None) -> Arrays:
    """Twelve spoken keywords as MLPerf Tiny's int8 cepstra [item, 49, 10, 1] = (real / 0.5847029) + 83.

    From `root`/audio/mlperf_tiny_kws01_first500.npz. The set has no training items.
    """
    path = place(root, "audio/mlperf_tiny_kws01_first500.npz", KWS01)
    x, y = members(path, {"x": ("n", 49, 10, 1), "y": ("n",)})
    description = (
        f"MLPerf Tiny keyword spotting, int8 cepstra of clips from {FIRST_CLIPS} on; calibration: the first "
        f"{FIRST_CLIPS} clips"
    )
    return Arrays(x[FIRST_CLIPS:], y[FIRST_CLIPS:], x[:FIRST_CLIPS], description, largest=127)


def fsdd(root: Path | None) -> Arrays:
    """Spoken digits of five speakers as `spectrogram`: decibels [item, 1, frame, band], test recordings 0 to 4.

    From `root`/audio/fsdd_5speakers_2500_wav.zip, files {digit}_{speaker}_{recording}.wav.
    """
    path = place(root, "audio/fsdd_5speakers_2500_wav.zip", FSDD)
    clips = []
    for name, content in unzipped(path, LARGEST_CLIP).items():
        parts = re.fullmatch(r"(?:.*/)?(\d)_([a-z]+)_(\d{1,4})\.wav", name)
        if parts is None:
            raise BadInput(f"{path}: {name}: files are named digit_speaker_recording.wav.")
        clips.append((int(parts[1]), parts[2], int(parts[3]), content, f"{path}: {name}"))
    clips.sort(key=lambda clip: clip[:3])
    training = [clip for clip in clips if clip[2] >= TEST_RECORDINGS]
    test = [clip for clip in clips if clip[2] < TEST_RECORDINGS]
    test.sort(key=lambda clip: clip[2])  # the first 50 are of all digits and speakers
    if not test or not training:
        raise BadInput(f"{path}: {len(test)} test and {len(training)} training recordings; there must be some of both.")
    x, calibration = (
        np.stack([spectrogram(sound(content, where)) for *_, content, where in chosen])[:, None]
        for chosen in (test, [training[i] for i in spread(len(training))])
    )
    description = (
        f"Free Spoken Digit Dataset, recordings 0 to {TEST_RECORDINGS - 1}, decibels above -{FLOOR:g} dB in {FRAMES} "
        f"frames of {BANDS} bands; calibration: later recordings, evenly spaced"
    )
    return Arrays(x, np.array([clip[0] for clip in test]), calibration, description)


def ecg17(root: Path | None) -> Arrays:
    """Ten seconds of electrocardiogram at 360 Hz, [item, 3600], of 17 rhythms; values of an 11-bit converter.

    From `root`/health/ecg_mitbih_17rhythms.npz. Patients are kept apart: records 200 on, which hold every class, are
    the test items; records 100 to 199 calibrate.
    """
    path = place(root, "health/ecg_mitbih_17rhythms.npz", ECG17)
    x, y, record = members(path, {"x": ("n", 3600), "y": ("n",), "record": ("n",)})
    test = record.astype(str) >= "200"
    if test.all() or not test.any():
        raise BadInput(f"{path}: {test.sum():,} of {len(x):,} fragments are of records 200 on; both kinds are needed.")
    description = "MIT-BIH 10 s fragments, 17 rhythms, records from 200 on; calibration: records below 200"
    order = mixed(y[test])
    return Arrays(x[test][order], y[test][order], x[~test], description, largest=2047)


def sound(content: bytes, where: str) -> Int16[np.ndarray, "sample"]:
    """The samples of a WAV file of one channel, 16 bit, `RATE` Hz. where: its name, for messages.

    Raises:
        BadInput: damaged, or of another form.
    """
    try:
        with wave.open(io.BytesIO(content)) as file:
            form = (file.getnchannels(), 8 * file.getsampwidth(), file.getframerate())
            samples = file.readframes(file.getnframes())
    except (*DAMAGED, wave.Error) as error:
        raise BadInput(f"{where}: not a readable WAV file: {error}.") from None
    if form != (1, 16, RATE):
        raise BadInput(
            f"{where}: {form[0]} channel(s) of {form[1]} bit at {form[2]:,} Hz; 1 of 16 bit at 8,000 needed."
        )
    return np.frombuffer(samples[: len(samples) // 2 * 2], "<i2").astype(np.int16)


def spectrogram(samples: Int16[np.ndarray, "sample"]) -> Float32[np.ndarray, "frame band"]:
    """Power in `FRAMES` frames of 32 ms, 16 ms apart, and `BANDS` bands of 62.5 Hz: decibels above -`FLOOR` dB.

    A band is the mean of two bins under a Hann window, each bin 0 dB for a sine of full scale in its middle, which
    is -2 dB in its band. Sound beyond 1.04 s is cut, silence is 0.
    """
    length = (FRAMES - 1) * HOP + WINDOW
    padded = np.zeros(length)
    padded[: min(len(samples), length)] = samples[:length] / 2.0**15
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * window)[:, 1:]) ** 2 / (window.sum() / 2) ** 2
    bands = power.reshape(FRAMES, BANDS, 2).mean(axis=2)
    return np.maximum(10 * np.log10(np.maximum(bands, 1e-30)) + FLOOR, 0).astype(np.float32)
