"""CSV and text files: the sampling rate, and columns of times that are checked against it."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from ecm_edge.base.errors import RecordingError
from ecm_edge.data.dataset import open_dataset
from ecm_edge.data.recordings.windows import Unfit
from tests.csv_samples import RATE_HZ, X, imported, lines, opened, read, signal, table, texts


def test_times_of_another_rate_are_refused(tmp_path):
    x = signal(500)
    content = table(np.arange(len(x)) / 500, x)
    with pytest.raises(RecordingError, match=r"the times say 500 Hz \(column 'time'\), not the 250 Hz stated"):
        imported(tmp_path, content)
    assert not (tmp_path / "d").exists()
    assert imported(tmp_path, content, rate_hz=500.0).segments == 8


def test_no_window_lies_across_a_jump_of_the_times(tmp_path):
    times = np.arange(10_000) / RATE_HZ + 60 * (np.arange(10_000) >= 5_000)
    record = imported(tmp_path, table(times, X))
    assert record.segments == 8
    names = open_dataset(tmp_path / "d").names(np.arange(8))
    assert names == [f"a.csv+{s}s" for s in (0, 5, 10, 15, 80, 85, 90, 95)]
    assert [(one.reason, one.windows) for one in record.left_out] == [("samples are missing or not finite", 12)]
    assert "column 'time' jumps: what is missing there is a gap" in texts(record)


@pytest.mark.parametrize(
    ("header", "scale"),
    [("time,ecg", 1), ("t [ms],ecg", 1e3), ("timestamp_us,ecg", 1e6), ("sensor timestamp [ns],ecg", 1e9)],
)
def test_a_rate_that_the_times_state_is_used_and_told(tmp_path, header, scale):
    content = table(np.arange(500) / 250 * scale, X[:500], header)
    recording = opened(tmp_path, content, rate_hz=None)
    assert recording.sampling_rate_hz == 250
    name = header.split(",")[0]
    assert f"sampled at 250 Hz by its column {name!r}" in recording.notes


def test_times_without_a_unit_state_a_rate_only_where_it_is_clear(tmp_path):
    for step, rate_hz in [(0.002, 500), (4, 250), (7812.5, 128), (1_000_000, 1000)]:
        assert opened(tmp_path, table(np.arange(99) * step, X[:99]), None).sampling_rate_hz == rate_hz
    for step in (1, 0.1):  # a count of lines, or ms; s or ms
        content = table(np.arange(99) * step, X[:99])
        with pytest.raises(Unfit, match=f"goes by {step} of an unknown unit. State it, --sampling-rate-hz"):
            opened(tmp_path, content, None)
    with pytest.raises(Unfit, match="the times say 10 Hz"):
        opened(tmp_path, table(np.arange(99) * 0.1, X[:99], "t [s],ecg"), None)


@pytest.mark.parametrize(
    "fact", ["Sampling rate (Hz): 500", "SampleFrequency=0.5 kHz", "fs [Hz],500", "% samples per second;500"]
)
def test_a_fact_states_the_rate(tmp_path, fact):
    content = f"{fact}\nRate,72 bpm\n\n" + "\n".join(lines(X[:500]))
    assert opened(tmp_path, content, None).sampling_rate_hz == 500


def test_dates_and_clock_times_are_times(tmp_path):
    dates = [
        f"2021-03-28T01:59:{58 + i / 250:06.3f}Z" if i < 500 else f"2021-03-28T02:00:{i / 250 - 2:06.3f}Z"
        for i in range(1000)
    ]
    for times in (dates, [date[11:-1] for date in dates], [date.replace("T", " ")[:-1] for date in dates]):
        content = "\n".join(["when,ecg", *(f"{t},{v:.3f}" for t, v in zip(times, X, strict=False))])
        recording = opened(tmp_path, content, rate_hz=None)
        assert (recording.sampling_rate_hz, recording.length) == (250, 1000)


@pytest.mark.parametrize("form", ["{:%d.%m.%Y %H:%M:%S},{:03d}", "{0.day}.{0.month}.{0:%Y, %H:%M:%S}.{1:03d}"])
def test_dates_with_the_day_first_are_times_and_their_break_is_a_gap(tmp_path, form):
    """A spreadsheet in German: semicolons, decimal commas, over midnight, 42 s missing after 20 s."""
    start = dt.datetime(2026, 3, 9, 23, 59, 50)  # noqa: DTZ001 - as it is written, without a zone
    moments = [start + dt.timedelta(seconds=i / 130 + 42 * (i >= 20 * 130)) for i in range(40 * 130)]
    times = [form.format(moment, moment.microsecond // 1000) for moment in moments]
    rows = zip(times, signal(130, 40) * 1000, strict=True)
    recording = opened(tmp_path, "\n".join(["Datum;EKG [µV];Puls", *(f"{t};{v:.0f},0;70" for t, v in rows)]), None)
    assert (recording.sampling_rate_hz, recording.length, recording.unit) == (130, (40 + 42) * 130, "mV")
    x = read(recording)
    assert np.isnan(x[20 * 130 : 62 * 130]).all()
    assert x[62 * 130 :] == pytest.approx(signal(130, 40)[20 * 130 :])


def test_times_of_day_go_on_after_midnight(tmp_path):
    seconds = [(86_399 + i / 250) % 86_400 for i in range(1000)]
    times = [f"{int(s) // 3600:02d}:{int(s) // 60 % 60:02d}:{s % 60:06.3f}" for s in seconds]
    content = "\n".join(["date;Uhrzeit;ecg", *(f"9.3.2026;{t};{v:.3f}" for t, v in zip(times, X, strict=False))])
    recording = opened(tmp_path, content, rate_hz=None)
    assert (recording.sampling_rate_hz, recording.length) == (250, 1000)
    assert not [note for note in recording.notes if "not checked" in note]


def test_a_date_in_another_form_is_told_as_not_checked(tmp_path):
    for name in ("time", "quando"):
        content = "\n".join([f"{name},ecg", *(f"1.2.2021 10 h,{v:.3f}" for v in X[:500])])
        told = f"column {name!r} is in no form of times that is known: it was not checked"
        assert told in opened(tmp_path, content).notes


@pytest.mark.parametrize(
    ("rate_hz", "decimals"), [(512, 3), (130, 3), (700, 3), (130, 2), (250, 0), (1000, 3), (360, 3)]
)
def test_rounded_times_are_no_jumps(tmp_path, rate_hz, decimals):
    x = signal(rate_hz, 40)
    times = np.floor(np.arange(len(x)) / rate_hz * 10**decimals) / 10**decimals
    content = table(times, x, form="{:." + str(decimals) + "f},{:.3f}")
    recording = opened(tmp_path, content, rate_hz=float(rate_hz))
    assert (recording.length, recording.notes[1:]) == (len(x), ())
    assert opened(tmp_path, content, rate_hz=None).sampling_rate_hz == pytest.approx(rate_hz, rel=0.002)
    gap = np.delete(np.arange(len(x)), np.arange(5 * rate_hz, 7 * rate_hz))  # two seconds are missing
    with_gap = opened(tmp_path, table(times[gap], x[gap], form="{:.3f},{:.3f}"), rate_hz=float(rate_hz))
    assert abs(with_gap.length - len(x)) <= 2
    assert abs(int(np.isnan(read(with_gap)).sum()) - 2 * rate_hz) <= 2


def test_jittering_times_are_no_jumps(tmp_path):
    jitter = np.random.default_rng(1).uniform(-0.0015, 0.0015, len(X))
    recording = opened(tmp_path, table(np.arange(len(X)) / RATE_HZ + 1 + jitter, X))
    assert recording.length == len(X)


def test_one_sample_that_is_missing_is_a_gap_of_one(tmp_path):
    kept = np.delete(np.arange(500), 100)
    recording = opened(tmp_path, table(kept / 250, X[:500][kept]))
    assert np.flatnonzero(np.isnan(read(recording))).tolist() == [100]
    assert (read(recording)[101:] == X[101:500]).all()


def test_a_drift_of_the_clock_is_told(tmp_path):
    recording = opened(tmp_path, table(np.arange(len(X)) / 250.7, X, form="{:.6f},{:.3f}"))
    assert recording.sampling_rate_hz == 250
    assert recording.notes[0] == "the times of column 'time' say 250.7 Hz; the 250 Hz stated are used"


@pytest.mark.parametrize(("seconds", "rate_hz"), [(1000, 250.0), (2000, 250.1)])
def test_a_small_drift_counts_in_a_long_recording(tmp_path, seconds, rate_hz):
    places = np.arange(int(seconds * 250.1))
    content = table(places / 250.1, np.sin(places / 9))
    assert opened(tmp_path, content, rate_hz=None).sampling_rate_hz == pytest.approx(rate_hz, abs=1e-4)
    stated = opened(tmp_path, content)
    assert stated.sampling_rate_hz == 250
    assert any("say 250.1 Hz; the 250 Hz stated are used" in note for note in stated.notes) == (rate_hz != 250)


def test_a_jump_of_years_is_refused(tmp_path):
    times = np.arange(500) / 250 + 1e9 * (np.arange(500) > 250)
    with pytest.raises(Unfit, match="it would last more than 14 days: split it"):
        opened(tmp_path, table(times, X[:500]))
    with pytest.raises(Unfit, match="jump"):
        opened(tmp_path, "time,ecg\n" + "".join(f"{'9' * k},1\n" for k in range(1, 300)))


@pytest.mark.parametrize("header", ["sample #,ecg\n", "index,ecg\n", ",ecg\n", ""])
def test_a_column_that_counts_lines_is_no_lead_and_its_gaps_count(tmp_path, header):
    content = header + "".join(f"{k},{X[k]:.3f}\n" for k in range(500) if not 200 <= k < 300)
    recording = opened(tmp_path, content)
    assert (recording.length, int(np.isnan(read(recording)).sum())) == (500, 100)
    with pytest.raises(Unfit, match="no sampling rate in the file: state it, --sampling-rate-hz"):
        opened(tmp_path, content, rate_hz=None)


def test_times_that_are_all_the_same_are_told_as_not_checked(tmp_path):
    content = "time,ecg\n" + "".join(f"5,{v:.3f}\n" for v in X[:500])
    assert "column 'time' has one time only: the rate was not checked" in opened(tmp_path, content).notes
    with pytest.raises(Unfit, match="one time only"):
        opened(tmp_path, content, rate_hz=None)


def test_a_line_without_a_time_is_a_missing_sample(tmp_path):
    content = "time,ecg\n" + "".join(f"{'' if k == 100 else k / 250},{v:.3f}\n" for k, v in enumerate(X[:500]))
    recording = opened(tmp_path, content)
    assert np.flatnonzero(np.isnan(read(recording))).tolist() == [100]
    assert "lines without a time are left out: they count as missing samples" in recording.notes


def test_a_sampling_interval_states_the_rate(tmp_path):
    content = "# Sampling interval (ms): 2\n" + "\n".join(lines(X)) + "\n"
    assert opened(tmp_path, content, rate_hz=None).sampling_rate_hz == 500
    with pytest.raises(Unfit, match="sampled at 500 Hz by its header, not at the 250 Hz stated"):
        opened(tmp_path, content)


def test_no_rate_at_all_is_refused(tmp_path):
    with pytest.raises(Unfit, match="no sampling rate in the file: state it, --sampling-rate-hz"):
        opened(tmp_path, "\n".join(lines(X)), rate_hz=None)
