"""Beats of synthetic ECG are where they were put, whatever the sign, the unit, the offset and some noise."""

import numpy as np
import pytest
import torch

from ecm_edge.training.beats import find_beats, rr_variation

RATE_HZ = 250.0
REGULAR_S = (0.4, 1.2, 2.0, 2.8, 3.6, 4.4)
UNEVEN_S = (0.3, 0.8, 1.75, 2.2, 3.3, 3.8, 4.6)
FAST_S = tuple(0.2 + 0.32 * k for k in range(15))
SLOW_S = (0.5, 1.9, 3.3, 4.7)
NEAR = 3  # samples


def ecg(beats_s, rate_hz=RATE_HZ, length=1250, wide=1.0):
    """(T,) P, QRS and T waves; `wide` times as broad a QRS."""
    time_s = np.arange(length) / rate_hz
    samples = 0.15 * np.sin(2 * np.pi * 0.3 * time_s)
    for beat_s in beats_s:
        for height, centre_s, width_s in (
            (0.12, -0.16, 0.022),
            (1.0, 0, 0.011 * wide),
            (-0.25, 0.03 * wide, 0.011 * wide),
            (0.3, 0.28, 0.05),
        ):
            samples += height * np.exp(-0.5 * ((time_s - beat_s - centre_s) / width_s) ** 2)
    return samples


def found(*segments, rate_hz=RATE_HZ):
    batch = torch.from_numpy(np.stack(segments)).float().unsqueeze(1)
    positions, valid = find_beats(batch, rate_hz)
    return [own[there].tolist() for own, there in zip(positions, valid, strict=True)]


def samples_of(beats_s, near=NEAR):
    return [pytest.approx(beat_s * RATE_HZ, abs=near) for beat_s in beats_s]


@pytest.mark.parametrize("beats_s", [REGULAR_S, UNEVEN_S, FAST_S, SLOW_S])
@pytest.mark.parametrize("scale", [1, -1, 800])
def test_beats_are_found_where_they_are(beats_s, scale):
    assert found(scale * ecg(beats_s) + 5 * scale) == [samples_of(beats_s)]


def test_broad_beats_are_found_once_each():
    beats = found(ecg(REGULAR_S, wide=2.5))[0]
    assert beats == [pytest.approx(beat_s * RATE_HZ, abs=12) for beat_s in REGULAR_S]
    assert np.diff(beats) == pytest.approx(200, abs=2)


def test_noise_of_a_tenth_of_the_height_hides_no_beat():
    rng = np.random.default_rng(1)
    noisy = [ecg(UNEVEN_S) + rng.normal(0, 0.1, 1250) for _ in range(20)]
    assert found(*noisy) == [samples_of(UNEVEN_S, near=6)] * 20


def test_one_spike_hides_no_beat():
    samples = ecg(REGULAR_S)
    samples[int(1.6 * RATE_HZ)] += 12
    assert [beat for beat in found(samples)[0] if abs(beat - 400) > NEAR] == samples_of(REGULAR_S)


@pytest.mark.parametrize("rate_hz", [100.0, 360.0, 1000.0])
def test_other_rates(rate_hz):
    samples = ecg(UNEVEN_S, rate_hz, round(5 * rate_hz))
    near = [pytest.approx(beat_s * rate_hz, abs=0.012 * rate_hz) for beat_s in UNEVEN_S]
    assert found(samples, rate_hz=rate_hz) == [near]


def test_padding_and_bound():
    """Any segment gives (N, K), beats first; what is behind them is no beat. K is of the shape, not of the values."""
    rng = np.random.default_rng(2)
    batch = torch.from_numpy(np.stack([ecg(REGULAR_S), np.ones(1250), rng.normal(size=1250)])).float().unsqueeze(1)
    positions, valid = find_beats(batch, RATE_HZ)
    assert positions.shape == valid.shape == (3, 24)
    assert (positions.dtype, valid.dtype) == (torch.int64, torch.bool)
    assert valid.sum(1).tolist()[:2] == [6, 0]
    assert (positions.diff(dim=1) >= 0).all()
    assert not (~valid[:, :-1] & valid[:, 1:]).any()
    assert (positions[~valid] == 1249).all()
    for length in (1, 3, 20, 60):
        short, none = find_beats(torch.ones(2, 1, length), RATE_HZ)
        assert short.shape == none.shape
        assert not none.any()


def variation_of(beats_s, length):
    segment = torch.from_numpy(ecg(beats_s, length=length)).float().view(1, 1, length)
    variation, known = rr_variation(*find_beats(segment, RATE_HZ))
    return variation.item(), known.item()


def test_the_variation_of_intervals():
    intervals = np.diff(UNEVEN_S)
    assert variation_of(REGULAR_S, 1250) == (pytest.approx(0, abs=0.01), True)
    assert variation_of(UNEVEN_S, 1250) == (pytest.approx(intervals.std() / intervals.mean(), abs=0.01), True)
    assert variation_of(REGULAR_S[:3], 600) == (pytest.approx(0, abs=0.01), True)
    assert variation_of(REGULAR_S[:2], 450) == (0, False)
