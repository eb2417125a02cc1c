"""Broadened beats: they are as wide as asked for, where they were, and a model is asked for all that can be made."""

from __future__ import annotations

import numpy as np
import pytest

from ecm_edge.data.beats import find_beats, qrs_extent, rr_variation
from ecm_edge.data.dataset import Description, SegmentBlock, Source, open_dataset
from ecm_edge.data.dataset_writer import write_dataset
from ecm_edge.data.merge import merge
from ecm_edge.evaluate.broadened import broaden
from ecm_edge.evaluate.broadened_figures import WIDTHS_MS, broadened_figures

RATE_HZ = 250.0
T = 1250
WAVES = {
    "P": (0.15, -0.17, 0.022),
    "Q": (-0.1, -0.026, 0.009),
    "R": (1.0, 0.0, 0.01),
    "S": (-0.25, 0.028, 0.01),
    "T": (0.3, 0.28, 0.045),
}
"""Amplitude in mV, time after the R peak and standard deviation in s."""
STEADY = np.arange(0.4, 5, 0.83)


def ecg(times_s, *, noise=0.005, seed=1):
    """(T,) mV: a beat of Gaussian waves at each time, its R peak there, and a little noise."""
    at = np.arange(T) / RATE_HZ
    waves = [(size, time + offset, width) for time in times_s for size, offset, width in WAVES.values()]
    clean = sum(size * np.exp(-0.5 * ((at - centre) / width) ** 2) for size, centre, width in waves)
    return (clean + noise * np.random.default_rng(seed).standard_normal(T)).astype(np.float32)


def width_ms(segment, beats):
    return 1000 * sum(qrs_extent(segment, beats, RATE_HZ)) / RATE_HZ


def made(segment, wanted_ms):
    beats = find_beats(segment, RATE_HZ)
    return broaden(segment, beats, qrs_extent(segment, beats, RATE_HZ), wanted_ms / width_ms(segment, beats))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("interval_s", [0.45, 0.6, 0.83, 1.3])
def test_every_beat_is_found_where_it_is(sign, interval_s):
    times = np.arange(0.3, 4.9, interval_s)
    found = find_beats(sign * ecg(times) + 0.3, RATE_HZ) / RATE_HZ
    assert len(found) == len(times)
    assert np.ptp(found - times) < 0.008  # the middle of a QRS is not its tip, but alike in all beats
    assert np.abs(found - times).max() < 0.02
    assert rr_variation(found) < 0.01


def test_what_has_no_beats_has_none():
    assert len(find_beats(np.zeros(T, np.float32), RATE_HZ)) == 0
    assert rr_variation(np.array([1.0, 2.0])) == np.inf
    assert qrs_extent(ecg(STEADY), np.array([3.0]), RATE_HZ) is None


def test_irregular_beats_vary():
    times = np.cumsum([0.3, 0.6, 1.0, 0.7, 1.1, 0.5])
    assert rr_variation(find_beats(ecg(times), RATE_HZ)) > 0.2


def test_a_usual_qrs_is_not_broad():
    assert 70 < width_ms(ecg(STEADY), STEADY * RATE_HZ) < 110


@pytest.mark.parametrize("wanted_ms", WIDTHS_MS)
@pytest.mark.parametrize("interval_s", [0.6, 0.83, 1.3])
def test_a_broad_qrs_is_as_wide_as_asked_and_stays_where_it_was(wanted_ms, interval_s):
    segment = ecg(np.arange(0.4, 5, interval_s))
    broad, beats = made(segment, wanted_ms), find_beats(segment, RATE_HZ)
    assert broad.shape == segment.shape
    assert broad.dtype == segment.dtype
    assert width_ms(broad, beats) == pytest.approx(wanted_ms, rel=0.1)
    tips, moved = (
        np.array([int(b) - 20 + x[int(b) - 20 : int(b) + 20].argmax() for b in beats]) for x in (segment, broad)
    )
    assert np.abs(np.diff(moved) - np.diff(tips)).max() <= 1  # RR intervals, in samples
    assert broad[moved] == pytest.approx(segment[tips], abs=0.03)
    assert len(find_beats(broad, RATE_HZ)) == len(beats)


def test_p_and_t_are_still_there_and_as_long_as_they_were():
    broad = made(ecg(STEADY, noise=0), 150)
    time, later = 0.4 + 0.83, 0.4 + 2 * 0.83
    after = broad[round((time + 0.15) * RATE_HZ) : round((later - 0.1) * RATE_HZ)]
    t, p = after[: len(after) // 2], after[len(after) // 2 :]
    assert t.max() == pytest.approx(0.3, abs=0.01)
    assert p.max() == pytest.approx(0.15, abs=0.01)
    for wave, name in ((t, "T"), (p, "P")):
        share = (wave > 0.6065 * wave.max()).sum() / RATE_HZ  # of a Gaussian, two standard deviations
        assert share == pytest.approx(2 * WAVES[name][2], abs=0.012)


def test_a_factor_of_one_changes_nothing():
    segment = ecg(STEADY)
    beats = find_beats(segment, RATE_HZ)
    assert broaden(segment, beats, (10.0, 10.0), 1.0) == pytest.approx(segment, abs=1e-5)


def test_where_there_is_no_room_nothing_is_made():
    segment = ecg(np.arange(0.3, 4.9, 0.3))
    assert broaden(segment, find_beats(segment, RATE_HZ), (12.0, 12.0), 3.5) is None


def data(folder, segments):
    """A data set of subjects: name -> list of (rhythm, samples)."""
    blocks = []
    for name, own in segments.items():
        samples = np.stack([samples for _, samples in own])
        names = [f"{name}-{number}" for number in range(len(own))]
        blocks.append(SegmentBlock(samples, names, [name] * len(own), [r for r, _ in own], names, [""] * len(own)))
    write_dataset(
        folder,
        Description(
            sampling_rate_hz=RATE_HZ, samples_per_segment=T, unit="mV", synthetic=True, source=Source(format="tests")
        ),
        blocks,
    )
    return open_dataset(folder)


def judges_shape(samples, _rows):
    """Positive where the QRS is wider than 135 ms."""
    margins = [width_ms(segment, find_beats(segment, RATE_HZ)) - 135 for segment in samples]
    return np.array(margins, np.float32)


def segments_of(seed):
    steady = [("N", ecg(STEADY, seed=seed)), ("SBR", ecg(np.arange(0.4, 5, 1.3), seed=seed))]
    uneven = ecg(np.cumsum([0.3, 0.6, 1.0, 0.7, 1.1, 0.5]), seed=seed)
    return [*steady, ("N", uneven), ("AFIB", uneven), ("AB", steady[0][1])]


def test_the_share_called_positive_by_width(tmp_path):
    dataset = data(tmp_path / "d", {name: segments_of(seed) for seed, name in enumerate("ABC")})
    found = broadened_figures(judges_shape, dataset, np.arange(15))
    assert (found.sinus, sum(found.left_out.values())) == (9, 3)
    assert next(iter(found.left_out)).startswith("RR intervals vary by 8%")
    assert [(row.source, row.width_ms, row.subjects, row.segments, row.left_out) for row in found.rows] == [
        ("", width, 3, 6, 0) for width in WIDTHS_MS
    ]
    assert [row.called_positive.value for row in found.rows] == [0, 1, 1]
    assert [row.as_they_are.value for row in found.rows] == [0, 0, 0]
    assert (found.rows[2].called_positive.low, found.rows[2].called_positive.high) == (1, 1)
    assert [row.measured_ms for row in found.rows] == pytest.approx(WIDTHS_MS, rel=0.1)


def test_sources_have_figures_of_their_own(tmp_path):
    merge([data(tmp_path / s, {s: segments_of(seed)}) for seed, s in enumerate(("one", "two"))], tmp_path / "both")
    dataset = open_dataset(tmp_path / "both")
    first = {row for row, name in enumerate(dataset.source_names(np.arange(10))) if name == "one"}

    def answer(_samples, rows):
        return np.array([1.0 if row in first else -1.0 for row in rows], np.float32)

    found = broadened_figures(answer, dataset, np.arange(10))
    assert [(r.source, r.called_positive.value, r.as_they_are.value) for r in found.rows] == [
        (source, share, share) for source, share in (("one", 1), ("two", 0)) for _ in WIDTHS_MS
    ]


def test_what_was_broad_already_is_left_out_of_the_narrower(tmp_path):
    broad = made(ecg(STEADY), 165)
    found = broadened_figures(
        judges_shape, data(tmp_path / "d", {"A": [("N", broad), ("N", ecg(STEADY))]}), np.arange(2)
    )
    assert [(row.segments, row.left_out) for row in found.rows] == [(1, 1), (1, 1), (2, 0)]
    assert found.rows[2].as_they_are.value == 0.5


def test_short_segments_and_other_tasks_say_why_there_is_nothing(tmp_path):
    from tests import tiny

    short = tiny.graded(tmp_path / "short")
    found = broadened_figures(judges_shape, short, np.arange(120))
    assert (found.rows, found.sinus) == ([], 60)
    assert [count for reason, count in found.left_out.items() if "shorter than 2 s" in reason] == [60]
