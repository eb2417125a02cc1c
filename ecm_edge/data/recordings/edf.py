"""EDF and BDF files, with EDF+ annotations as rhythms or a label table `file,subject,rhythm[,onset_s,duration_s]`.

An annotation without a duration lasts until the next one. Those that are ignored are cut out of the rhythms if they
have a duration, and passed over if they have none; a rhythm code, such as NOISE, also then lasts until the next one.
Times are seconds from the first data record, and those that a discontinuous file lacks are missing samples. Without a
table each file is a subject.
"""

from __future__ import annotations

import bisect
import datetime as dt
import itertools
import re
import statistics
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.errors import RecordingError
from ecm_edge.data.dataset import UNSTATED, natural_key
from ecm_edge.data.recordings import edf_file
from ecm_edge.data.recordings.formats import FORMATS
from ecm_edge.data.recordings.options import (
    STEPS_PER_MV,
    check_rate,
    choose_lead,
    foreign,
    read_labels,
    unlisted,
    write_labels,
)
from ecm_edge.data.recordings.units import to_millivolts, voltage
from ecm_edge.data.recordings.windows import ROUNDED_S, Listing, Recording, Span, Unfit
from ecm_edge.data.rhythms import VOCABULARIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from ecm_edge.data.recordings.edf_file import Annotation, Channel, EdfFile
    from ecm_edge.data.recordings.options import Options
    from ecm_edge.tasks import Task

LEAD = "II"
"""The lead that `write` names."""

_CARDIAC = re.compile("ecg|ekg", re.IGNORECASE)
_HIGHEST_MV = 1e9
_ROUNDED_SAMPLES = 1.5
_DIGITAL_LIMIT = 32767
_DATE = dt.datetime(2000, 1, 1)  # noqa: DTZ001 - EDF knows no time zone
_TABLE_HOLDS = "it has annotations; the label table holds in their place"
_CONTRADICTED = "read as continuous, as its header says; the times of its data records say otherwise"
_CODES = {code for vocabulary in VOCABULARIES.values() for code in vocabulary}
_BEATS = 10  # so many annotations without a duration, as close as beats, are no rhythms
_BEAT_S = 1.5


def list_recordings(source: Path, options: Options, task: Task) -> Listing:
    """Every file of the label table, or without a table every file of the folder, by file name.

    Raises:
        RecordingError: a broken or empty label table, or neither a table nor a file.
    """
    suffixes = FORMATS["edf"].suffixes
    paths = [path for path in source.rglob("*") if path.suffix.lower() in suffixes and not path.is_dir()]
    present = [path.relative_to(source).as_posix() for path in paths]
    if options.labels is None:
        if not present:
            raise RecordingError("a folder of EDF files holds *.edf or *.bdf", f"none in {source}", "Check the path.")
        return Listing(sorted(present, key=natural_key), lambda name: _annotated(source / name, name, options, task))
    labels = read_labels(options.labels)

    def load(name: str) -> Recording:
        recording, texts = _open(source / name, name, options, task)
        notes = (*recording.notes, _TABLE_HOLDS) if texts else recording.notes
        return replace(recording, subject=labels[name].subject, spans=labels[name].spans, notes=notes)

    return Listing(sorted(labels, key=natural_key), load, unlisted(present, labels))


def open_one(path: Path, options: Options, task: Task) -> Recording:
    """One file, with its annotations as rhythms where they can be; else `Unfit`."""
    recording, texts = _open(path, path.name, options, task)
    try:
        return _with_rhythms(recording, texts, task)
    except Unfit as problem:
        return replace(recording, notes=(*recording.notes, f"its annotations are not used: {problem}"))


def write(folder: Path, recordings: Iterable[Recording], task: Task) -> None:
    """Write recordings as EDF files of one lead in steps of 1 µV, with their label table; whole seconds only."""
    import pyedflib

    del task
    written = []
    for recording in recordings:
        name = f"{recording.name}.edf"
        digital = np.round(recording.read(0, recording.length) * STEPS_PER_MV).astype(np.int32)  # (t,)
        with pyedflib.EdfWriter(str(folder / name), 1, file_type=pyedflib.FILETYPE_EDF) as writer:
            writer.setStartdatetime(_DATE)
            writer.setSignalHeader(0, _header(recording.sampling_rate_hz))
            writer.writeSamples([digital], digital=True)
        written.append((name, recording))
    write_labels(folder, written)


def _header(sampling_rate_hz: float) -> dict[str, str | int | float | None]:
    return {
        "label": LEAD,
        "dimension": "mV",
        "sample_frequency": sampling_rate_hz,
        "physical_max": _DIGITAL_LIMIT / STEPS_PER_MV,
        "physical_min": -_DIGITAL_LIMIT / STEPS_PER_MV,
        "digital_max": _DIGITAL_LIMIT,
        "digital_min": -_DIGITAL_LIMIT,
        "transducer": "",
        "prefilter": "",
    }


def _annotated(path: Path, name: str, options: Options, task: Task) -> Recording:
    recording, texts = _open(path, name, options, task)
    if not texts:
        raise Unfit("it has no annotation, and no --labels is given")
    return _with_rhythms(recording, texts, task)


def _open(path: Path, name: str, options: Options, task: Task) -> tuple[Recording, list[Annotation]]:
    """One file without rhythms, its signal not yet read, and its annotations in recording time; else `Unfit`."""
    with foreign():
        file = edf_file.open_file(path)
        channel = file.channels[_choose(file, options, task)]
        rate_hz = file.rate_hz(channel)
        check_rate(rate_hz, options.sampling_rate_hz)
        gain, offset = channel.scale()
        factor = to_millivolts(channel.unit) if channel.unit else 1.0
        if max(abs(gain * offset), abs(gain)) * factor > _HIGHEST_MV:
            raise Unfit(f"the range of {channel.label!r} is beyond any ECG")
        onsets, texts = file.annotations()
        places, notes = _places(file, channel, onsets, rate_hz)
    begin_s = 0.0 if np.isnan(onsets[0]) else float(onsets[0])
    recording = Recording(
        name,
        PurePosixPath(name).with_suffix("").as_posix(),
        int(places[-1]) + channel.samples,
        rate_hz,
        (),
        _reader(file, channel, places, lambda numbers: (numbers + offset) * (gain * factor)),
        lead=channel.label,
        unit="mV" if channel.unit else UNSTATED,
        notes=(*file.notes, *notes, *(() if channel.unit else ("its unit is not stated",))),
    )
    return recording, [replace(one, onset_s=one.onset_s - begin_s) for one in texts]


def _choose(file: EdfFile, options: Options, task: Task) -> int:
    """The number of the channel to read. Where none is named, the only one in volts is taken, if no other is an ECG."""
    labels = [channel.label for channel in file.channels]
    preferred = [name for lead in task.leads for name in (lead, f"ECG {lead}")]  # EDF+ puts the kind of signal first
    volts = [number for number, channel in enumerate(file.channels) if voltage(channel.unit)]
    by_name = {number for number, label in enumerate(labels) if label in preferred or _CARDIAC.search(label)}
    if options.lead is None and len(volts) == 1 and by_name <= set(volts):
        return volts[0]
    return choose_lead(labels, options.lead, preferred)


def _places(file: EdfFile, channel: Channel, onsets: np.ndarray, rate_hz: float) -> tuple[np.ndarray, tuple[str, ...]]:
    """The place of each record, (R,) samples, and what is to be told of it."""
    if file.discontinuous:
        return edf_file.starts(file, onsets, rate_hz, channel.samples), ()
    steps = np.diff(onsets)  # NaN where an onset is not stated
    contradicted = (np.abs(steps - file.record_s) * rate_hz > _ROUNDED_SAMPLES).any()
    return np.arange(file.records) * channel.samples, (_CONTRADICTED,) if contradicted else ()


def _reader(
    file: EdfFile, channel: Channel, places: np.ndarray, scaled: Callable[[np.ndarray], np.ndarray]
) -> Callable[[int, int], np.ndarray]:
    """The function that reads samples of the time line, a run of records without a gap at a time."""
    count = channel.samples
    firsts = np.flatnonzero(np.diff(places, prepend=places[0] - count - 1) != count)  # (runs,) records
    begins = places[firsts]
    ends = begins + np.diff(firsts, append=file.records) * count

    def read(start: int, stop: int) -> np.ndarray:
        samples = np.full(stop - start, np.nan)
        runs = range(np.searchsorted(ends, start, side="right"), np.searchsorted(begins, stop, side="left"))
        for first, begin, end in ((int(firsts[k]), int(begins[k]), int(ends[k])) for k in runs):
            low, high = max(start, begin), min(stop, end)
            skipped = (low - begin) // count  # records
            with foreign():
                numbers = file.digital(channel, first + skipped, first - (begin - high) // count)
            place = low - begin - skipped * count
            samples[low - start : high - start] = scaled(numbers[place : place + high - low])
        return samples

    return read


def _with_rhythms(recording: Recording, texts: Sequence[Annotation], task: Task) -> Recording:
    """The recording with its annotations as rhythms; `Unfit` where they cannot be rhythms."""

    def is_ignored(one: Annotation) -> bool:
        return one.text in task.ignored and (one.duration_s > 0 or one.text not in _CODES)

    ignored = [one for one in texts if is_ignored(one)]
    passed_over = sorted({one.text for one in ignored if not one.duration_s})
    rhythms = sorted(itertools.filterfalse(is_ignored, texts), key=lambda one: one.onset_s)
    _check(rhythms, recording.duration_s)
    ends = [one.onset_s for one in rhythms[1:]] + [recording.duration_s]
    spans = [_span(one, end_s) for one, end_s in zip(rhythms, ends, strict=False)]  # no rhythm, no end
    holes = _one_after_another(_span(one, one.onset_s) for one in ignored)
    parts = [part for span in spans for part in _outside(span, holes)]
    notes = [f"the annotation {text!r} is ignored" for text in passed_over]
    if any(a.onset_s == b.onset_s and a.rhythm != b.rhythm for a, b in itertools.pairwise(spans)):
        notes.append("several annotations at one moment: the last one without a duration holds")
    return replace(recording, spans=[*parts, *holes], notes=(*recording.notes, *notes))


def _check(rhythms: Sequence[Annotation], duration_s: float) -> None:
    """`Unfit` if annotations, in order, are beats, or one has no duration and lies within another or after the end."""
    bare = [one.onset_s for one in rhythms if not one.duration_s]
    if len(bare) >= _BEATS and statistics.median(b - a for a, b in itertools.pairwise(bare)) < _BEAT_S:
        raise Unfit("its annotations follow each other as beats do, not rhythms: give the rhythms with --labels")
    if rhythms and rhythms[-1].onset_s > duration_s + ROUNDED_S:
        raise Unfit(
            f"the annotation {rhythms[-1].text!r} begins after the recording's end: "
            "if it is no rhythm, take it out with --ignore"
        )
    last: Annotation | None = None
    for one in rhythms:
        if last and not one.duration_s and one.onset_s < last.onset_s + last.duration_s and one.text != last.text:
            raise Unfit(
                f"the annotation {one.text!r} without a duration lies within {last.text!r}: "
                "if it is no rhythm, take it out with --ignore"
            )
        last = one if one.duration_s else last


def _span(one: Annotation, end_s: float) -> Span:
    """The time of an annotation, which lasts until `end_s` if it states no duration."""
    return Span(max(0.0, one.onset_s), one.onset_s + one.duration_s if one.duration_s else end_s, one.text)


def _one_after_another(spans: Iterable[Span]) -> list[Span]:
    """Spans in order, each beginning at the earliest where the one before ends; empty ones left out."""
    done: list[Span] = []
    for span in sorted(spans, key=lambda span: span.onset_s):
        onset_s = max(span.onset_s, done[-1].end_s) if done else span.onset_s
        if span.end_s > onset_s:
            done.append(Span(onset_s, span.end_s, span.rhythm))
    return done


def _outside(span: Span, holes: Sequence[Span]) -> Iterator[Span]:
    """What of a span lies outside of `holes`, which are in order."""
    onset_s = span.onset_s
    for hole in itertools.islice(holes, bisect.bisect(holes, onset_s, key=lambda hole: hole.end_s), None):
        if hole.onset_s >= span.end_s:
            break
        if hole.onset_s > onset_s:
            yield Span(onset_s, hole.onset_s, span.rhythm)
        onset_s = hole.end_s
    if span.end_s > onset_s:
        yield Span(onset_s, span.end_s, span.rhythm)
