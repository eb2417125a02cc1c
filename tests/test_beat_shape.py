"""Shapes of beats are changed where they should be, and R peaks stay where they are."""

import numpy as np
import pytest
import torch

from ecm_edge.candidate.training_config import Augmentation
from ecm_edge.training.beat_shape import reshaped
from ecm_edge.training.beats import find_beats

RATE_HZ = 250.0
BEATS = np.arange(110, 1200, 200)


def ecg(count=8):
    """(N, 1, T): beats of 1 mV every 0.8 s with a P wave 0.16 s before and a T wave 0.3 s behind them."""
    time = np.arange(1250)
    waves = [(0, 4, 1.0), (-40, 6, 0.15), (75, 16, 0.3)]  # samples from the R peak, width, mV
    one = sum(
        height * np.exp(-(((time - beat - place) / width) ** 2)) for beat in BEATS for place, width, height in waves
    )
    return torch.from_numpy(np.tile(one, (count, 1)).astype(np.float32)).unsqueeze(1)


def changed(seed=0, **options):
    return reshaped(ecg(), Augmentation(**options), RATE_HZ, torch.Generator().manual_seed(seed))


def width(segments):
    """(N,) samples of each segment that are above half of an R peak, by beat."""
    return (segments[:, 0] > 0.5).sum(1) / len(BEATS)


def test_without_shares_it_is_the_batch_itself():
    batch = ecg()
    assert reshaped(batch, Augmentation(), RATE_HZ, torch.Generator()) is batch


@pytest.mark.parametrize("option", ["qrs", "p_wave", "t_wave"])
def test_beats_stay_in_their_places_and_the_batch_is_a_copy(option):
    batch = ecg()
    found = reshaped(batch, Augmentation(**{option: 1.0}), RATE_HZ, torch.Generator().manual_seed(0))
    assert torch.equal(batch, ecg())
    assert (found != batch).any(2).all()
    for segment in find_beats(found, RATE_HZ)[0][:, : len(BEATS)].numpy():
        assert np.abs(segment - BEATS).max() <= 6


def test_qrs_becomes_broader_by_up_to_its_limit():
    broader = width(changed(qrs=1.0)) / width(ecg())
    assert 1.1 < broader.min() < broader.max() < 2.4
    assert broader.std() > 0.1  # each segment by a factor of its own


def test_p_waves_change_and_nothing_behind_the_beat_does():
    found, batch = changed(p_wave=1.0), ecg()
    for beat in BEATS[1:]:
        assert torch.equal(found[:, 0, beat : beat + 120], batch[:, 0, beat : beat + 120])
    at_p = found[:, 0, BEATS[2] - 40]
    assert (at_p.abs() < 0.03).any()  # taken out
    assert (at_p < 0.1).any()


def test_t_waves_move_by_60_ms_at_most():
    peak = changed(t_wave=1.0)[:, 0, BEATS[1] + 30 : BEATS[1] + 130].argmax(1) - 45
    assert peak.abs().max() <= 16
    assert len(peak.unique()) > 3


def test_half_of_the_segments_where_half_are_asked_for():
    found = reshaped(ecg(200), Augmentation(qrs=0.5), RATE_HZ, torch.Generator().manual_seed(0))
    assert 70 < (found != ecg(200)).any(2).sum() < 130


def test_flat_segments_stay_flat():
    flat = torch.ones(4, 1, 1250)
    found = reshaped(flat, Augmentation(qrs=1.0, p_wave=1.0, t_wave=1.0), RATE_HZ, torch.Generator().manual_seed(0))
    assert torch.equal(found, flat)
