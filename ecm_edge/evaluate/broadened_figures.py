"""Regular sinus rhythm with broadened beats: how much of it a model calls positive, which none of it is.

A network that judges by the shape of beats takes broad ones for atrial fibrillation, whatever their rhythm. N rows, n
of a block, T samples, B beats.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from ecm_edge.base.progress import track
from ecm_edge.base.records import Interval, Record
from ecm_edge.data.beats import find_beats, qrs_extent, rr_variation
from ecm_edge.data.rhythms import AF_RHYTHM
from ecm_edge.evaluate.broadened import broaden
from ecm_edge.metrics.counts import count_by_subject, ratio
from ecm_edge.metrics.resample import interval, weights_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ecm_edge.data.dataset import Dataset
    from ecm_edge.evaluate.disturbed import Answer

WIDTHS_MS = (120, 150, 180)
"""A QRS is broad from 120 ms on; paced beats and bundle branch blocks have 120 to 180 ms."""

SINUS = ("N", "NSR", "SBR")
REGULAR_BELOW = 0.08
"""The standard deviation of the RR intervals over their mean."""

_NOT_REGULAR = f"RR intervals vary by {REGULAR_BELOW:.0%} or more, or fewer than three beats"
_NOT_MEASURED = "no whole beat to measure the QRS of"
_NOT_FOUND = "segments are shorter than 2 s or sampled at less than 100 Hz: beats are not looked for"
_NOT_OF_AF = "the task is another than atrial fibrillation"
_LEAST_S, _LEAST_HZ = 2.0, 100.0
_BLOCK = 500  # segments at a time
_MS = 1000.0


class BroadenedRow(Record):
    """Regular sinus segments with every QRS made `width_ms` wide, beside the same segments as they are.

    source:     that of the segments; empty where the data set was not merged.
    measured_ms: the median of the width that is measured in the made segments.
    segments:   how many were made; `left_out` ones were as wide before, or had no room between the beats.
    called_positive, as_they_are: the share called positive, made and as they are.
    """

    source: str
    width_ms: int
    measured_ms: float
    subjects: int
    segments: int
    left_out: int
    called_positive: Interval
    as_they_are: Interval


class Broadened(Record):
    """The rows by source and width. Of `sinus` segments `left_out` has, by the reason, those that no row has."""

    rows: list[BroadenedRow] = Field(default_factory=list)
    sinus: int
    left_out: dict[str, int] = Field(default_factory=dict)


@dataclass(frozen=True)
class _Made:
    """A made segment: its row, its width in ms, what is measured in it, and the margins made and as it is."""

    row: int
    width_ms: int
    measured_ms: float
    made: float
    before: float


@dataclass
class _Found:
    """What was made by now, the rows of regular segments, and how many others were left out."""

    made: list[_Made] = field(default_factory=list)
    regular: list[int] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def broadened_figures(answer: Answer, dataset: Dataset, rows: NDArray[np.int64]) -> Broadened:
    """What a model calls the regular sinus segments among these rows (N,) when their beats are broad.

    Raises:
        ModelError: onnxruntime fails.
    """
    header, names = dataset.header, np.array(dataset.header.rhythms)[dataset.table["rhythm"][rows]]
    sinus = rows[np.isin(names, SINUS) & (dataset.labels[rows] == 0)]
    rate = header.sampling_rate_hz
    if AF_RHYTHM not in header.positive_rhythms:
        return Broadened(sinus=len(sinus), left_out={_NOT_OF_AF: len(sinus)})
    if rate < _LEAST_HZ or header.samples_per_segment < _LEAST_S * rate:
        return Broadened(sinus=len(sinus), left_out={_NOT_FOUND: len(sinus)})
    found = _Found()
    for start in track(range(0, len(sinus), _BLOCK), "broaden beats"):
        _add(found, answer, dataset, sinus[start : start + _BLOCK])
    return Broadened(rows=_rows(found, dataset), sinus=len(sinus), left_out=dict(found.left_out))


def _add(found: _Found, answer: Answer, dataset: Dataset, rows: NDArray[np.int64]) -> None:
    """Make what can be made of a block of sinus segments, and let the model answer it."""
    rate, samples = dataset.header.sampling_rate_hz, np.asarray(dataset.samples[rows])  # (n, T)
    before = answer(samples, rows)
    made: list[tuple[int, int, float]] = []
    segments = []
    for place, segment in enumerate(samples):
        beats = find_beats(segment, rate)
        if not rr_variation(beats) < REGULAR_BELOW:
            found.left_out[_NOT_REGULAR] += 1
            continue
        extent = qrs_extent(segment, beats, rate)
        if extent is None:
            found.left_out[_NOT_MEASURED] += 1
            continue
        found.regular.append(int(rows[place]))
        for width_ms in WIDTHS_MS:
            factor = width_ms / _MS * rate / sum(extent)
            broad = broaden(segment, beats, extent, factor) if factor > 1 else None
            if broad is None:
                continue
            measured = qrs_extent(broad, beats, rate) or (0.0, 0.0)
            made.append((place, width_ms, sum(measured) / rate * _MS))
            segments.append(broad)
    if not made:
        return
    places = np.array([place for place, _, _ in made])
    for (place, width_ms, measured_ms), margin in zip(made, answer(np.stack(segments), rows[places]), strict=True):
        found.made.append(_Made(int(rows[place]), width_ms, measured_ms, float(margin), float(before[place])))


def _rows(found: _Found, dataset: Dataset) -> list[BroadenedRow]:
    """The figures by source, in the order of the data set, and by width."""
    sources = dataset.source_names(np.array([made.row for made in found.made], np.int64))
    regular = Counter(dataset.source_names(np.array(found.regular, np.int64)))
    by_place = [source.name for source in dataset.header.sources] or [""]
    return [
        _row(source, width_ms, chosen, regular[source], dataset)
        for source in by_place
        for width_ms in WIDTHS_MS
        if (
            chosen := [
                made
                for made, own in zip(found.made, sources, strict=True)
                if (own, made.width_ms) == (source, width_ms)
            ]
        )
    ]


def _row(source: str, width_ms: int, made: list[_Made], regular: int, dataset: Dataset) -> BroadenedRow:
    subjects = dataset.subject_names(np.array([one.row for one in made], np.int64))
    return BroadenedRow(
        source=source,
        width_ms=width_ms,
        measured_ms=float(np.median([one.measured_ms for one in made])),
        subjects=len(set(subjects)),
        segments=len(made),
        left_out=regular - len(made),
        called_positive=_share([one.made for one in made], subjects),
        as_they_are=_share([one.before for one in made], subjects),
    )


def _share(margins: list[float], subjects: list[str]) -> Interval:
    """The share called positive, with its interval by resampling subjects; a margin that is NaN is not."""
    called = np.where(np.array(margins) >= 0, 1.0, -1.0)
    counts = count_by_subject(np.zeros(len(called), np.int8), called, subjects)
    weights = weights_for(counts)
    share = interval(ratio(weights @ counts.fp, weights @ (counts.fp + counts.tn)))
    assert share  # noqa: S101 - every subject has a segment
    return share
