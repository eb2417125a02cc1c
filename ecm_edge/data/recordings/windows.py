"""Continuous recordings into segments: resample, band-pass, cut into windows, label.

    resample    to the task's rate, polyphase, `scipy.signal.resample_poly`
    band-pass   Butterworth of order 2 run forwards and backwards (zero phase), if the task has a band
    windows     on a grid from the record's first sample; two neighbours make one episode
    label       only where a window lies wholly within one rhythm

n windows of T samples. A record is read and filtered ten minutes at a time (of 5 s windows), with a margin on both
sides in which the filters settle, so its length does not matter to memory.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.progress import track
from ecm_edge.data.dataset import UNSTATED, LeftOut, Origin, SegmentBlock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ecm_edge.tasks import Task

WINDOWS_PER_EPISODE = 2
HIGHEST_RATE_HZ = 50_000.0
LONGEST_S = 366 * 86_400.0
"""A recording beyond either is refused: what its header claims would not fit into memory."""

TOLERANCE_S = 1e-6
"""Times that differ by less are one."""

ROUNDED_S = 1.0
"""A label may end so much after the recording."""

_PIECE_WINDOWS = 120
_MARGIN_PERIODS = 5.0  # of the band's lower edge, 20 time constants: what is left of the edge effect is below 1e-8
_MARGIN_UNFILTERED_S = 1.0
_RATE_PER_BAND = 2.5
_MISSING = "samples are missing or not finite"


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
    """One lead of one record. `read(start, stop)` gives (stop - start,) float64 samples; missing ones are NaN.

    `spans` is empty where there is no label. `unit` is that of what `read` gives, or `UNSTATED`; `notes` are told to
    whoever imports the recording.
    """

    name: str
    subject: str
    length: int  # samples
    sampling_rate_hz: float
    spans: Sequence[Span]
    read: Callable[[int, int], np.ndarray]
    lead: str = ""
    unit: str = UNSTATED
    notes: tuple[str, ...] = ()

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.length / self.sampling_rate_hz

    @property
    def origin(self) -> Origin:
        """What a data set keeps of it."""
        return Origin(self.name, self.lead, self.sampling_rate_hz, self.unit, self.notes)


@dataclass(frozen=True)
class Listing:
    """The recordings of a folder in their order, how each is opened, and the files that cannot be used."""

    names: Sequence[str]
    load: Callable[[str], Recording]
    problems: Sequence[LeftOut] = ()


@dataclass(frozen=True)
class Windows:
    """Windows of one recording, conditioned. `lost` has the reason why another one cannot be used, by its number.

    Window k starts k hops after the recording's first sample.
    """

    numbers: np.ndarray  # (n,) int64, ascending
    samples: np.ndarray  # (n, T) float32
    lost: dict[int, str] = field(default_factory=dict)


def read_all(listing: Listing, task: Task) -> Iterator[SegmentBlock]:
    """The blocks of every recording, in this order; one that is `Unfit` becomes a problem."""
    yield problem_block(task, listing.problems)
    for name in track(listing.names, "read recordings", total=len(listing.names)):
        try:
            yield from blocks(listing.load(name), task)
        except Unfit as problem:
            yield problem_block(task, [LeftOut(name=name, reason=str(problem))])


def blocks(recording: Recording, task: Task) -> Iterator[SegmentBlock]:
    """The labelled windows of a recording, in blocks of at most 120.

    Left out, with their number, are windows that are flat or hold missing samples, those without a rhythm, those that
    span a change of rhythm, and the rest at the end.

    Raises:
        Unfit: the recording as a whole cannot be cut.
    """
    count = count_windows(recording, task)
    check_spans(recording)
    rhythms, lost = _label(recording, task, count)
    wanted = np.array([k for k, rhythm in enumerate(rhythms) if rhythm is not None], np.int64)
    yield SegmentBlock(_empty(task), (), (), (), (), (), left_out=lost, origins=[recording.origin])
    for cut in windows(recording, task, wanted):
        yield SegmentBlock(
            samples=cut.samples,
            names=[f"{recording.name}+{k * task.window_s:g}s" for k in cut.numbers],
            subjects=[recording.subject] * len(cut.numbers),
            rhythms=[rhythms[k] or "" for k in cut.numbers],
            episodes=[f"{recording.name}/{k // WINDOWS_PER_EPISODE}" for k in cut.numbers],
            splits=[""] * len(cut.numbers),
            left_out=[LeftOut(name=recording.name, reason=r, windows=n) for r, n in Counter(cut.lost.values()).items()],
        )


def problem_block(task: Task, problems: Sequence[LeftOut]) -> SegmentBlock:
    """A block without segments, for recordings that could not be read."""
    return SegmentBlock(_empty(task), (), (), (), (), (), problems=problems)


def count_windows(recording: Recording, task: Task, hop_s: float | None = None) -> int:
    """The number of windows that fit into a recording, one every `hop_s` (by default side by side).

    Raises:
        Unfit: none fits, the rate does not hold the band, or it is longer than a year.
    """
    if recording.duration_s > LONGEST_S:
        raise Unfit(f"{recording.duration_s:.4g} s long: more than a year")
    needed_hz = _RATE_PER_BAND * task.band_hz[1] if task.band_hz else 0.0
    if recording.sampling_rate_hz < needed_hz:
        raise Unfit(f"sampled at {recording.sampling_rate_hz:g} Hz; at least {needed_hz:g} Hz are needed")
    rest_s = recording.duration_s - task.window_s + TOLERANCE_S
    if rest_s < 0:
        raise Unfit(f"{recording.duration_s:.2f} s long; one window is {task.window_s:g} s")
    return int(rest_s / (hop_s or task.window_s)) + 1


def windows(recording: Recording, task: Task, wanted: np.ndarray, hop_s: float | None = None) -> Iterator[Windows]:
    """The windows with these numbers, resampled and filtered, a piece of the recording at a time.

    Args:
        recording: cut on a grid of `hop_s` from its first sample.
        task: the length, rate and band of a window.
        wanted: (n,) numbers below `count_windows`, ascending.
        hop_s: by default the length of a window.

    Raises:
        Unfit: the signal cannot be read.
    """
    hop_s = hop_s or task.window_s
    per_piece = max(1, int(_PIECE_WINDOWS * task.window_s / hop_s + TOLERANCE_S))
    for piece in np.split(wanted, np.flatnonzero(np.diff(wanted // per_piece)) + 1):
        if len(piece):
            yield _cut(recording, task, piece, hop_s)


def rest_at_end(recording: Recording, covered_s: float) -> list[LeftOut]:
    """What lies behind the last window, which ends at `covered_s`."""
    if recording.duration_s - covered_s <= TOLERANCE_S:
        return []
    return [LeftOut(name=recording.name, reason="the rest at the end is shorter than a window")]


def conditioned(recording: Recording, task: Task, start_s: float, stop_s: float) -> np.ndarray:
    """(t,) at the task's rate: a stretch of a recording, filtered as a window is; missing samples are bridged.

    Raises:
        Unfit: the signal cannot be read.
    """
    rate_hz, margin_s = recording.sampling_rate_hz, _margin_s(task)
    begin_s = max(0.0, start_s - margin_s)
    raw = recording.read(round(begin_s * rate_hz), min(recording.length, round((stop_s + margin_s) * rate_hz)))
    first = round((start_s - begin_s) * task.sampling_rate_hz)
    return condition(raw, rate_hz, task)[first : first + round((stop_s - start_s) * task.sampling_rate_hz)]


def in_order(spans: Sequence[Span]) -> list[Span]:
    """Spans by onset, those of one rhythm that touch made one.

    >>> in_order([Span(5, 9, "N"), Span(0, 5, "N")])
    [Span(onset_s=0, end_s=9, rhythm='N')]
    """
    merged: list[Span] = []
    for span in sorted(spans, key=lambda span: span.onset_s):
        last = merged[-1] if merged else None
        if last and last.rhythm == span.rhythm and span.onset_s - last.end_s <= TOLERANCE_S:
            merged[-1] = Span(last.onset_s, max(last.end_s, span.end_s), last.rhythm)
        else:
            merged.append(span)
    return merged


def _empty(task: Task) -> np.ndarray:
    return np.empty((0, task.samples_per_segment), np.float32)


def check_spans(recording: Recording) -> None:
    """Refuse a recording without rhythms, with two at once, or one that ends before they do.

    Raises:
        Unfit: which.
    """
    if not recording.spans:
        raise Unfit("no rhythm is given")
    last_s = max(span.end_s for span in recording.spans)
    if recording.duration_s + ROUNDED_S < last_s < math.inf:
        raise Unfit(f"truncated: {recording.duration_s:.2f} s long, and a rhythm lasts until {last_s:g} s")
    for before, after in itertools.pairwise(in_order(recording.spans)):
        if after.onset_s < before.end_s - TOLERANCE_S:
            raise Unfit(f"two rhythms at {after.onset_s:g} s: {before.rhythm!r} and {after.rhythm!r}")


def _label(recording: Recording, task: Task, count: int) -> tuple[list[str | None], list[LeftOut]]:
    """The rhythm of each window, None for those left out, and the number left out for each reason."""
    spans, window_s = in_order(recording.spans), task.window_s
    onsets, ends = np.array([span.onset_s for span in spans]), np.array([span.end_s for span in spans])
    starts = np.arange(count) * window_s
    inside = np.searchsorted(onsets, starts + TOLERANCE_S, side="right") - 1
    whole = (inside >= 0) & (ends[inside] >= starts + window_s - TOLERANCE_S)
    following = np.searchsorted(onsets, starts + window_s - TOLERANCE_S, side="left") - 1
    touched = (following > inside) | ((inside >= 0) & (ends[inside] > starts + TOLERANCE_S))
    reasons = {"spans a change of rhythm": np.sum(~whole & touched), "has no rhythm": np.sum(~whole & ~touched)}
    left_out = [LeftOut(name=recording.name, reason=r, windows=int(n)) for r, n in reasons.items() if n]
    left_out += rest_at_end(recording, count * window_s)
    return [spans[k].rhythm if fits else None for k, fits in zip(inside, whole, strict=True)], left_out


def _cut(recording: Recording, task: Task, wanted: np.ndarray, hop_s: float) -> Windows:
    """The windows `wanted` (n,) of one piece."""
    rate_hz, margin_s = recording.sampling_rate_hz, _margin_s(task)
    first_s, last_s = wanted[0] * hop_s, wanted[-1] * hop_s + task.window_s
    before_s = min(margin_s, first_s)
    start = round((first_s - before_s) * rate_hz)
    stop = min(recording.length, round((last_s + margin_s) * rate_hz))
    raw = recording.read(start, stop)  # (stop - start,)
    if not np.isfinite(raw).any():  # as in the holes of a discontinuous file, which may be long
        return Windows(wanted[:0], _empty(task), dict.fromkeys(wanted.tolist(), _MISSING))
    begin_s = wanted * hop_s - (first_s - before_s)  # (n,) from the first sample of `raw`
    reasons = [_fault(raw, round(s * rate_hz), round(task.window_s * rate_hz)) for s in begin_s]
    usable = np.array([not reason for reason in reasons], bool)
    clean = condition(raw, rate_hz, task)
    places = np.round(begin_s[usable] * task.sampling_rate_hz).astype(np.int64)
    samples = clean[places[:, None] + np.arange(task.samples_per_segment)].astype(np.float32)
    return Windows(wanted[usable], samples, {int(k): r for k, r in zip(wanted, reasons, strict=True) if r})


def _margin_s(task: Task) -> float:
    return _MARGIN_PERIODS / task.band_hz[0] if task.band_hz else _MARGIN_UNFILTERED_S


def _fault(raw: np.ndarray, start: int, length: int) -> str:
    """The fault of one window before any filter, or ""."""
    window = raw[start : start + length]
    with np.errstate(over="ignore"):  # a value beyond float32 becomes infinite
        if not np.isfinite(window.astype(np.float32)).all():
            return _MISSING
    return "flat: every sample is the same" if np.ptp(window) == 0 else ""


def condition(raw: np.ndarray, rate_hz: float, task: Task) -> np.ndarray:
    """(t,) at `rate_hz` to (t',) at the task's rate, band-passed; missing samples are bridged, their windows unused."""
    from scipy import signal

    finite = np.isfinite(raw)
    places = np.arange(len(raw))
    filled = raw if finite.all() else np.interp(places, places[finite], raw[finite])
    ratio = Fraction(task.sampling_rate_hz / rate_hz).limit_denominator(10_000)
    if ratio != 1:
        filled = signal.resample_poly(filled, ratio.numerator, ratio.denominator, padtype="line")
    if task.band_hz:
        filled = signal.sosfiltfilt(_sections(task.band_hz, task.sampling_rate_hz), filled)
    return np.pad(filled, (0, 2), mode="edge")  # a rate that is not whole may leave the last window a sample short


@cache
def _sections(band_hz: tuple[float, float], rate_hz: float) -> np.ndarray:
    from scipy import signal

    sections: np.ndarray = signal.butter(2, band_hz, "bandpass", fs=rate_hz, output="sos")
    return sections
