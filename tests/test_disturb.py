"""Disturbances: unit spread, the spectrum that their name says at any rate, and the same by the same seed."""

import numpy as np
import pytest

from ecm_edge.data import disturb

KINDS = {**disturb.KINDS, "in_band": disturb.in_band}
RATES_HZ = (125.0, 250.0, 360.0)
SECONDS = 10


def made(kind, rate_hz, seed=0):
    return KINDS[kind](np.random.default_rng(seed), round(SECONDS * rate_hz), rate_hz)


def share_between(kind, rate_hz, low, high):
    """The share of power between two frequencies, over some draws."""
    power = 0.0
    for seed in range(20):
        values = made(kind, rate_hz, seed)
        power = power + np.abs(np.fft.rfft(values * np.hanning(len(values)))) ** 2
    frequencies = np.fft.rfftfreq(round(SECONDS * rate_hz), 1 / rate_hz)
    return power[(frequencies >= low) & (frequencies <= high)].sum() / power.sum()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_unit_spread_no_mean_and_by_seed(kind, rate_hz):
    for seed in range(10):
        values = made(kind, rate_hz, seed)
        assert values.dtype == np.float32
        assert values.shape == (round(SECONDS * rate_hz),)
        assert values.std() == pytest.approx(1, abs=1e-3)
        assert values.mean() == pytest.approx(0, abs=1e-3)
        assert np.array_equal(values, made(kind, rate_hz, seed))
    assert not np.array_equal(made(kind, rate_hz, 0), made(kind, rate_hz, 1))


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_each_kind_lies_where_its_name_says(rate_hz):
    assert share_between("wander", rate_hz, 0, 1) > 0.99
    assert share_between("motion", rate_hz, 0, 9) > 0.95
    assert share_between("steps", rate_hz, 0, 5) > 0.9
    assert share_between("muscle", rate_hz, 18, 155) > 0.9
    assert share_between("white", rate_hz, 0, rate_hz / 4) == pytest.approx(0.5, abs=0.05)
    assert share_between("hum", rate_hz, 49, 51) + share_between("hum", rate_hz, 59, 61) > 0.99


def test_hum_is_of_both_mains():
    assert 0.2 < share_between("hum", 250.0, 49, 51) < 0.8


def test_muscles_tense_and_rest():
    parts = np.abs(made("muscle", 250.0)).reshape(-1, 25).mean(1)  # tenths of a second
    assert parts.max() > 5 * parts.min()


def test_steps_are_flat_between_jumps():
    assert 1 <= np.count_nonzero(np.diff(made("steps", 250.0))) < SECONDS


def test_in_band_noise_lies_where_the_ecg_does_and_some_of_it_swells():
    assert share_between("in_band", 250.0, 0.5, 40) > 0.9
    assert share_between("in_band", 250.0, 5, 15) > 0.3
    halves = np.array([np.std(made("in_band", 250.0, seed).reshape(10, -1), axis=1) for seed in range(40)])
    assert 5 < np.count_nonzero(halves.max(1) > 4 * halves.min(1)) < 35


@pytest.mark.parametrize(("share", "steps"), [(0.0, [5, 11, 17]), (0.4, [5, 11]), (1.0, [])])
def test_a_pool_has_each_kind_in_turn_and_then_those_in_band(share, steps):
    pool = disturb.pool(np.random.default_rng(0), 20, 1250, 250.0, in_band_share=share)
    assert pool.shape == (20, 1250)
    flat = [np.count_nonzero(np.diff(row)) < 10 for row in pool]
    assert [index for index, is_flat in enumerate(flat) if is_flat] == steps


@pytest.mark.parametrize("kind", KINDS)
def test_short_segments_are_finite(kind):
    assert np.isfinite(KINDS[kind](np.random.default_rng(0), 8, 250.0)).all()
