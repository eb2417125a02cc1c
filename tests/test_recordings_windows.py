"""Continuous recordings into segments: timing, band, labels."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ecm_edge import tasks
from ecm_edge.data.recordings import windows
from ecm_edge.data.recordings.windows import Listing, Recording, Span, Unfit, blocks, in_order, read_all

TASK = tasks.default()

ALL_NORMAL = (Span(0, math.inf, "N"),)


def record(samples, rate_hz=250.0, spans=ALL_NORMAL):
    return Recording("r", "S1", len(samples), rate_hz, spans, lambda start, stop: samples[start:stop])


def noise(seconds, rate_hz=250.0, seed=0):
    return np.random.default_rng(seed).normal(size=round(seconds * rate_hz))


def cut(recording):
    """All blocks of a recording as one tuple (samples, rhythms, names, left out)."""
    parts = list(blocks(recording, TASK))
    assert not any(part.problems for part in parts)
    lists = [[item for part in parts for item in getattr(part, name)] for name in ("rhythms", "names")]
    left_out = [(one.windows, one.reason) for part in parts for one in part.left_out]
    return np.concatenate([part.samples for part in parts]), *lists, left_out


def one_problem(load):
    """The problem of a recording that cannot be used; its blocks hold no segment."""
    parts = list(read_all(Listing(["r"], load), TASK))
    assert sum(len(part.samples) for part in parts) == 0
    (problem,) = [problem for part in parts for problem in part.problems]
    return problem


def test_a_window_is_labelled_only_if_it_lies_within_one_rhythm():
    spans = [Span(2, 12, "N"), Span(12, 30, "AFIB")]
    samples, rhythms, names, left_out = cut(record(noise(31), spans=spans))
    # 0-5 starts before the first note, 10-15 spans the change, 25-30 ends with the last rhythm, 30-31 is no window
    assert rhythms == ["N", "AFIB", "AFIB", "AFIB"]
    assert names == ["r+5s", "r+15s", "r+20s", "r+25s"]
    assert left_out == [(2, "spans a change of rhythm"), (0, "the rest at the end is shorter than a window")]
    assert samples.shape == (4, 1250)


def test_windows_without_any_rhythm_are_counted():
    _, rhythms, _, left_out = cut(record(noise(20), spans=[Span(10, 15, "N")]))
    assert rhythms == ["N"]
    assert left_out == [(3, "has no rhythm")]


def test_two_windows_make_an_episode():
    _, block = blocks(record(noise(25)), TASK)
    assert block.episodes == ["r/0", "r/0", "r/1", "r/1", "r/2"]


def test_notes_that_repeat_a_rhythm_do_not_end_it():
    assert in_order([Span(7, 9, "N"), Span(0, 7, "N"), Span(9, 10, "B")]) == [Span(0, 9, "N"), Span(9, 10, "B")]
    assert cut(record(noise(10), spans=[Span(0, 3, "N"), Span(3, 10, "N")]))[1] == ["N", "N"]


@pytest.mark.parametrize(
    ("samples", "rate_hz", "spans", "reason"),
    [
        (noise(10), 250, (), "no rhythm"),
        (noise(10), 250, (Span(0, 6, "N"), Span(5, 10, "AFIB")), "two rhythms at 5 s"),
        (noise(5)[1:], 250, (Span(0, 9, "N"),), "one window is 5 s"),
        (noise(10, 99), 99, (Span(0, 9, "N"),), "at least 100 Hz"),
        (noise(0), 250, (Span(0, 9, "N"),), "0.00 s long"),
        (noise(10), 250, (Span(0, 11.1, "N"),), "truncated: 10.00 s long, and a rhythm lasts until 11.1 s"),
    ],
)
def test_a_recording_that_cannot_be_cut_is_named(samples, rate_hz, spans, reason):
    problem = one_problem(lambda _: record(samples, rate_hz, spans))
    assert problem.name == "r"
    assert reason in problem.reason


@pytest.mark.parametrize("rate_hz", [100, 128, 128.3, 250, 360, 1000])
def test_exactly_five_seconds_are_one_window_at_any_rate(rate_hz):
    length = math.ceil(5 * rate_hz)
    assert cut(record(noise(length, 1), rate_hz))[0].shape == (1, 1250)


@pytest.mark.parametrize("rate_hz", [128.0, 250.0, 360.0, 499.5])
def test_a_wave_in_the_band_keeps_its_size_and_time(rate_hz):
    seconds = np.arange(round(30 * rate_hz)) / rate_hz
    samples = cut(record(np.sin(2 * np.pi * 8 * seconds), rate_hz))[0]
    expected = np.sin(2 * np.pi * 8 * np.arange(1250) / 250)  # windows start at whole periods
    assert np.abs(samples[2] - expected).max() < 0.01


@pytest.mark.parametrize("hz", [0.05, 100.0])
def test_what_lies_outside_the_band_is_gone(hz):
    seconds = np.arange(250 * 60) / 250
    samples = cut(record(3 + np.sin(2 * np.pi * hz * seconds)))[0]
    assert np.abs(samples[3:-3]).max() < 0.02


def test_reading_in_pieces_changes_nothing(monkeypatch):
    long = record(noise(60))
    whole = cut(long)[0]
    monkeypatch.setattr(windows, "_PIECE_WINDOWS", 3)
    assert np.abs(cut(long)[0] - whole).max() < 1e-6


def test_missing_and_flat_stretches_cost_only_their_windows():
    samples = noise(20)
    samples[1250 + 7 : 1250 + 9] = np.nan
    samples[2500:3750] = 0.5
    kept, _, names, left_out = cut(record(samples))
    assert names == ["r+0s", "r+15s"]
    assert left_out == [(1, "samples are missing or not finite"), (1, "flat: every sample is the same")]
    assert np.isfinite(kept).all()


def test_what_float32_cannot_hold_is_not_finite():
    samples = noise(10)
    samples[1300] = 1e39
    assert cut(record(samples))[3] == [(1, "samples are missing or not finite")]


def test_a_recording_without_one_finite_sample_loses_all_windows():
    kept, _, _, left_out = cut(record(np.full(2500, np.nan)))
    assert kept.shape == (0, 1250)
    assert left_out == [(2, "samples are missing or not finite")]


def test_a_fault_in_the_middle_is_a_problem_of_that_recording():
    def broken(_start, _stop):
        raise Unfit("truncated")

    bad = Recording("r", "S1", 2500, 250.0, [Span(0, 10, "N")], broken)
    problem = one_problem(lambda _: bad)
    assert (problem.name, problem.reason) == ("r", "truncated")


@pytest.mark.parametrize("hop_s", [1.0, 2.5, 5.0])
def test_windows_may_overlap(hop_s):
    long = record(noise(60))
    numbers = np.arange(windows.count_windows(long, TASK, hop_s))
    parts = list(windows.windows(long, TASK, numbers, hop_s))
    assert np.concatenate([part.numbers for part in parts]).tolist() == numbers.tolist()
    assert numbers[-1] * hop_s == 55
    side_by_side = cut(long)[0]
    every = round(TASK.window_s / hop_s)
    assert np.abs(np.concatenate([part.samples for part in parts])[::every] - side_by_side).max() < 1e-6
