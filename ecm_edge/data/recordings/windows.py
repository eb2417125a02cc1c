"""Continuous recordings into segments: resample, band-pass, cut into windows, label.

    resample    to 250 Hz, polyphase, `scipy.signal.resample_poly`
    band-pass   0.5 to 40 Hz, Butterworth of order 2 run forwards and backwards (zero phase)
    windows     of 5 s on a grid from the record's first sample; two of them make one 10 s episode
    label       only where a window lies wholly within one rhythm

n windows of T samples. A record is read and filtered ten minutes at a time, with a margin on both sides in which the
filters settle, so its length does not matter to memory.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.tables import track
from ecm_edge.data.dataset import SAMPLES_PER_SEGMENT, SAMPLING_RATE_HZ, LeftOut, SegmentBlock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

WINDOW_S = SAMPLES_PER_SEGMENT / SAMPLING_RATE_HZ
EPISODE_S = 10.0
BAND_HZ = (0.5, 40.0)
FILTER = "resampled to 250 Hz (polyphase), band-passed 0.5-40 Hz (Butterworth of order 2, zero phase)"
MIN_RATE_HZ = 100.0
"""A lower rate does not hold the band that is passed."""

_PIECE_WINDOWS = 120
_MARGIN_S = 10.0  # 20 time constants of the 0.5 Hz edge: what is left of the edge effect is below 1e-8
_TOLERANCE_S = 1e-6
_ROUNDED_S = 1.0  # a label may end so much after the recording


class Unfit(Exception):  # noqa: N818 - not an error of the tool: a reason for the list of what cannot be used
    """The reason why one recording cannot be used; `read_all` lists it with the recording's name."""


@dataclass(frozen=True)
class Span:
    """One rhythm from `onset_s` to `end_s`, in seconds from the record's start."""

    onset_s: float
    end_s: float
    rhythm: str


@dataclass(frozen=True)
class Recording:
    """One lead of one record. `read(start, stop)` gives (stop - start,) float64 samples; missing ones are NaN."""

    name: str
    subject: str
    length: int  # samples
    sampling_rate_hz: float
    spans: Sequence[Span]
    read: Callable[[int, int], np.ndarray]

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.length / self.sampling_rate_hz


def read_all(names: Sequence[str], load: Callable[[str], Recording]) -> Iterator[SegmentBlock]:
    """The blocks of every recording, in this order; one that is `Unfit` becomes a problem."""
    for name in track(names, "reading recordings", total=len(names)):
        try:
            yield from blocks(load(name))
        except Unfit as problem:
            yield problem_block([LeftOut(name=name, reason=str(problem))])


def blocks(recording: Recording) -> Iterator[SegmentBlock]:
    """The labelled windows of a recording, in blocks of at most ten minutes.

    A window that is flat or holds missing samples is a problem; one without a rhythm, one that spans a change of
    rhythm and the rest at the end are left out, with their number.

    Raises:
        Unfit: the recording as a whole cannot be cut.
    """
    windows = int(recording.duration_s / WINDOW_S + _TOLERANCE_S)
    _check(recording, windows)
    rhythms, left_out = _label(recording, windows)
    for first in range(0, windows, _PIECE_WINDOWS):
        piece = range(first, min(first + _PIECE_WINDOWS, windows))
        yield _cut(recording, [(k, rhythm) for k in piece if (rhythm := rhythms[k]) is not None], left_out)
        left_out = []


def problem_block(problems: Sequence[LeftOut]) -> SegmentBlock:
    """A block without segments, for recordings that could not be read."""
    return SegmentBlock(np.empty((0, SAMPLES_PER_SEGMENT), np.float32), (), (), (), (), (), problems=problems)


def in_order(spans: Sequence[Span]) -> list[Span]:
    """Spans by onset, those of one rhythm that touch made one.

    >>> in_order([Span(5, 9, "N"), Span(0, 5, "N")])
    [Span(onset_s=0, end_s=9, rhythm='N')]
    """
    merged: list[Span] = []
    for span in sorted(spans, key=lambda span: span.onset_s):
        last = merged[-1] if merged else None
        if last and last.rhythm == span.rhythm and span.onset_s - last.end_s <= _TOLERANCE_S:
            merged[-1] = Span(last.onset_s, max(last.end_s, span.end_s), last.rhythm)
        else:
            merged.append(span)
    return merged


def _check(recording: Recording, windows: int) -> None:
    if recording.sampling_rate_hz < MIN_RATE_HZ:
        raise Unfit(f"sampled at {recording.sampling_rate_hz:g} Hz; at least {MIN_RATE_HZ:g} Hz are needed")
    if windows == 0:
        raise Unfit(f"{recording.duration_s:.2f} s long; one window is {WINDOW_S:g} s")
    if not recording.spans:
        raise Unfit("no rhythm is given")
    last_s = max(span.end_s for span in recording.spans)
    if recording.duration_s + _ROUNDED_S < last_s < math.inf:
        raise Unfit(f"truncated: {recording.duration_s:.2f} s long, and a rhythm lasts until {last_s:g} s")
    for before, after in itertools.pairwise(in_order(recording.spans)):
        if after.onset_s < before.end_s - _TOLERANCE_S:
            raise Unfit(f"two rhythms at {after.onset_s:g} s: {before.rhythm!r} and {after.rhythm!r}")


def _label(recording: Recording, windows: int) -> tuple[list[str | None], list[LeftOut]]:
    """The rhythm of each window, None for those left out, and the number left out for each reason."""
    spans = in_order(recording.spans)
    onsets, ends = np.array([span.onset_s for span in spans]), np.array([span.end_s for span in spans])
    starts = np.arange(windows) * WINDOW_S
    inside = np.searchsorted(onsets, starts + _TOLERANCE_S, side="right") - 1
    whole = (inside >= 0) & (ends[inside] >= starts + WINDOW_S - _TOLERANCE_S)
    following = np.searchsorted(onsets, starts + WINDOW_S - _TOLERANCE_S, side="left") - 1
    touched = (following > inside) | ((inside >= 0) & (ends[inside] > starts + _TOLERANCE_S))
    reasons = {
        "windows span a change of rhythm": int(np.sum(~whole & touched)),
        "windows have no rhythm": int(np.sum(~whole & ~touched)),
        "s at the end do not fill a window": round(recording.duration_s - windows * WINDOW_S, 3),
    }
    left_out = [LeftOut(name=recording.name, reason=f"{count} {reason}") for reason, count in reasons.items() if count]
    return [spans[k].rhythm if fits else None for k, fits in zip(inside, whole, strict=True)], left_out


def _cut(recording: Recording, wanted: Sequence[tuple[int, str]], left_out: Sequence[LeftOut]) -> SegmentBlock:
    """The windows `wanted` (number, rhythm) of one piece as a block."""
    if not wanted:
        return SegmentBlock(np.empty((0, SAMPLES_PER_SEGMENT), np.float32), (), (), (), (), (), left_out=left_out)
    first, last = wanted[0][0], wanted[-1][0] + 1
    margin_s = min(_MARGIN_S, first * WINDOW_S)
    start = round((first * WINDOW_S - margin_s) * recording.sampling_rate_hz)
    stop = min(recording.length, round((last * WINDOW_S + _MARGIN_S) * recording.sampling_rate_hz))
    raw = recording.read(start, stop)  # (stop - start,)
    reasons = [_fault(raw, first * WINDOW_S - margin_s, k * WINDOW_S, recording.sampling_rate_hz) for k, _ in wanted]
    good = [window for window, reason in zip(wanted, reasons, strict=True) if not reason]
    clean = _condition(raw, recording.sampling_rate_hz)
    offset = round((margin_s - first * WINDOW_S) * SAMPLING_RATE_HZ)
    places = np.array([k * SAMPLES_PER_SEGMENT + offset for k, _ in good], np.int64)
    return SegmentBlock(
        samples=clean[places[:, None] + np.arange(SAMPLES_PER_SEGMENT)].astype(np.float32),
        names=[_name(recording, k) for k, _ in good],
        subjects=[recording.subject] * len(good),
        rhythms=[rhythm for _, rhythm in good],
        episodes=[f"{recording.name}/{int(k * WINDOW_S // EPISODE_S)}" for k, _ in good],
        splits=[""] * len(good),
        problems=[LeftOut(name=_name(recording, k), reason=r) for (k, _), r in zip(wanted, reasons, strict=True) if r],
        left_out=left_out,
    )


def _name(recording: Recording, window: int) -> str:
    return f"{recording.name}+{window * WINDOW_S:g}s"


def _fault(raw: np.ndarray, raw_start_s: float, start_s: float, rate_hz: float) -> str:
    """The fault of one window before any filter, or ""."""
    first = round((start_s - raw_start_s) * rate_hz)
    window = raw[first : first + round(WINDOW_S * rate_hz)]
    with np.errstate(over="ignore"):  # a value beyond float32 becomes infinite
        missing = int(np.sum(~np.isfinite(window.astype(np.float32))))
    if missing:
        return f"{missing} of {len(window)} samples are missing or not finite"
    return "flat: every sample is the same" if np.ptp(window) == 0 else ""


def _condition(raw: np.ndarray, rate_hz: float) -> np.ndarray:
    """(t,) at `rate_hz` to (t',) at 250 Hz, band-passed; missing samples are bridged, their windows are not used."""
    from scipy import signal

    finite = np.isfinite(raw)
    if not finite.any():
        return np.zeros(int(np.ceil(len(raw) * SAMPLING_RATE_HZ / rate_hz)) + 1)
    places = np.arange(len(raw))
    filled = raw if finite.all() else np.interp(places, places[finite], raw[finite])
    ratio = Fraction(SAMPLING_RATE_HZ / rate_hz).limit_denominator(10_000)
    if ratio != 1:
        filled = signal.resample_poly(filled, ratio.numerator, ratio.denominator, padtype="line")
    sections = signal.butter(2, BAND_HZ, "bandpass", fs=SAMPLING_RATE_HZ, output="sos")
    clean = signal.sosfiltfilt(sections, filled)
    return np.pad(clean, (0, 2), mode="edge")  # a rate that is not whole may leave the last window a sample short
