"""Recorded noise is read as recordings are, and added at the ratio that was drawn."""

import numpy as np
import pytest
import torch

from ecm_edge import tasks
from ecm_edge.base.errors import RecordingError
from ecm_edge.candidate.training_config import Augmentation
from ecm_edge.data import recorded_noise
from ecm_edge.data.recordings.wfdb_signals import deprecations_ignored
from ecm_edge.training.augment import Augmenter

TASK = tasks.default()
LENGTH = TASK.samples_per_segment


def write(folder, name, seconds=20, rate_hz=360):
    """Two channels of sines of 5 and 9 Hz, in mV."""
    time = np.arange(seconds * rate_hz) / rate_hz
    signals = np.stack([np.sin(2 * np.pi * 5 * time), 3 * np.sin(2 * np.pi * 9 * time)], 1)
    with deprecations_ignored():
        import wfdb

        wfdb.wrsamp(name, rate_hz, ["mV"] * 2, ["noise1", "noise2"], signals, fmt=["16"] * 2, write_dir=str(folder))


def test_every_channel_of_every_record_comes_at_the_rate_of_the_task(tmp_path):
    write(tmp_path, "em")
    write(tmp_path, "ma", seconds=10)
    noise = recorded_noise.read(tmp_path, TASK)
    assert [round(len(signal) / 250) for signal in noise.signals] == [20, 20, 10, 10]
    middle = noise.signals[1][1000:3500]
    assert np.abs(np.fft.rfft(middle)).argmax() == 90  # 9 Hz in 10 s
    assert np.abs(middle).max() == pytest.approx(3, rel=0.05)
    assert noise.sha256 == recorded_noise.read(tmp_path, TASK).sha256


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "no .hea file"),
        ({"a.hea": b"nonsense"}, "no record line"),
        ({"a.hea": b"a 1 360 100\na.dat 16 200\n"}, "its .dat is not there"),
        ({"a.hea": b"a 0 360 100\n"}, "no signal"),
        ({"a.hea": b"a 1 360 1\na.dat 16 200\n", "a.dat": b"ab"}, "shorter than a window"),
        ({"a.hea": b"a 1 360\na.dat 16 200\n", "a.dat": b""}, "shorter than a window"),
        ({"a.hea": b"a 1 360\na.dat 16 200\n", "a.dat": bytes(8000)}, "flat"),
        ({"a.hea": b"a 1 360\na.dat 16 200\n", "a.dat": b"\0\x80" * 4000}, "flat"),  # no sample is there
        ({"a.hea": b"a 1 360\na.dat 16 1e12\n", "a.dat": b"abcdefg" * 1200}, "which is no noise"),
        ({"a.hea": b"a 1 360\na.dat 16 1e-30\n", "a.dat": b"abcdefg" * 1200}, "which is no noise"),
        ({"a.hea": b"a 1 1\na.dat 16 200\n", "a.dat": bytes(300_000)}, "more than 33,554,432 samples"),  # at 250 Hz
    ],
)
def test_what_is_no_noise_is_refused(tmp_path, files, words):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RecordingError, match=words):
        recorded_noise.read(tmp_path, TASK)


@pytest.mark.parametrize("name", ["a" * 5000, "a\0b", "file"])
def test_what_is_no_folder_is_refused(tmp_path, name):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RecordingError, match="is a folder of WFDB records"):
        recorded_noise.read(tmp_path / name, TASK)


def test_a_signal_shorter_than_a_window_is_refused(tmp_path):
    write(tmp_path, "short", seconds=4)
    with pytest.raises(RecordingError, match="shorter than a window"):
        recorded_noise.read(tmp_path, TASK)


def test_half_of_the_segments_get_noise_at_a_drawn_ratio():
    generator = torch.Generator().manual_seed(0)
    batch = torch.randn(400, 1, LENGTH, generator=generator)
    noise = [np.random.default_rng(0).standard_normal(5000).astype(np.float32)]
    how = Augmentation(sign_flip=0, gain=0, noise=0, shift=0, recorded="somewhere", recorded_snr_db=-6)
    added = Augmenter(how, LENGTH, 250.0, seed=0, noise=noise)(batch, generator) - batch
    disturbed = (added != 0).any(2)[:, 0]
    assert 150 < disturbed.sum() < 250
    ratio_db = 20 * torch.log10(batch.std(2) / added.std(2))[disturbed, 0]
    assert -6.1 < ratio_db.min() < -4
    assert 16 < ratio_db.max() < 18.1
    assert ratio_db.mean() == pytest.approx(6, abs=1.5)
