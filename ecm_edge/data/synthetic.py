"""Synthetic ECG: sinus rhythm, atrial fibrillation, ectopy and bradycardia, each subject with a heart of its own.

A record is a sum of Gaussian waves placed on a sequence of beats (after McSharry et al., "A dynamical model for
generating synthetic electrocardiogram signals", IEEE TBME 2003), plus fibrillatory waves, baseline wander, muscle noise
and hum, in steps of 1 µV. The same seed gives the same bytes. It is for tests, demos and benchmarks: a model that is
trained on it shows nothing about patients.

    N     sinus rhythm                       P wave, RR varying with breathing, now and then an ectopic beat
    SBR   sinus bradycardia                  the same at 40 to 55 beats a minute
    AB    atrial bigeminy                    every second to fourth beat early, with another P wave
    B     ventricular bigeminy               every second to fourth beat early, wide, without P wave, then a pause
    AFIB  atrial fibrillation                no P wave, 4 to 9 Hz fibrillatory waves, irregular RR

These are for a task with AFIB among its positive rhythms. One of ventricular arrhythmia gets electrograms of
`synthetic_egm` instead.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ecm_edge import tasks
from ecm_edge.base import files
from ecm_edge.base.errors import RecordingError, TaskError
from ecm_edge.base.progress import track
from ecm_edge.base.records import Record
from ecm_edge.data import synthetic_egm
from ecm_edge.data.dataset import Description, Source
from ecm_edge.data.dataset_writer import write_dataset
from ecm_edge.data.recordings.formats import FORMATS, Format
from ecm_edge.data.recordings.options import STEPS_PER_MV
from ecm_edge.data.recordings.windows import WINDOWS_PER_EPISODE, Recording, Span, blocks
from ecm_edge.data.rhythms import AF_RHYTHM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ecm_edge.tasks import Task

_EXTRAS = ("SBR", "B", "AB")

SynthFormat = Literal["dataset", Format]
Beat = Literal["sinus", "atrial", "ventricular", "fibrillating"]


@dataclass(frozen=True)
class Wave:
    """A Gaussian of `amplitude_mv`, `centre_s` after the R peak, with a standard deviation of `width_s`."""

    amplitude_mv: float
    centre_s: float
    width_s: float


@dataclass(frozen=True)
class Heart:
    """The parameters of one subject's ECG."""

    rate_bpm: float
    breathing: float  # share by which breathing changes the RR interval
    ectopic_share: float  # of the beats of sinus rhythm
    polarity: int  # +1 or -1: the lead's axis
    p: Wave
    qrs: tuple[Wave, Wave, Wave]
    t: Wave
    f_wave_mv: float
    f_wave_hz: float
    af_rate_bpm: float
    af_irregularity: float  # standard deviation of RR over its mean
    wander_mv: float
    muscle_mv: float
    hum_mv: float


def rhythms_of(subject: int) -> list[str]:
    """The rhythms of a subject, the most important first: of every five, one has AF only and one has none.

    >>> [rhythms_of(subject) for subject in range(3)]
    [['AFIB', 'N', 'SBR'], ['AFIB', 'N', 'B'], ['AFIB']]
    """
    extra = _EXTRAS[subject % len(_EXTRAS)]
    match subject % 5:
        case 2:
            return [AF_RHYTHM]
        case 4:
            return ["N", extra]
        case _:
            return [AF_RHYTHM, "N", extra]


def heart(rng: np.random.Generator) -> Heart:
    """Draw a heart; ranges are those of healthy and aged adults in limb leads."""
    r_mv = rng.uniform(0.5, 1.6)
    qrs_width_s = rng.uniform(0.008, 0.014)
    return Heart(
        rate_bpm=rng.uniform(58, 95),
        breathing=rng.uniform(0.01, 0.08),
        ectopic_share=rng.choice([0.0, 0.0, 0.03]),
        polarity=int(rng.choice([1, 1, -1])),
        p=Wave(rng.uniform(0.05, 0.2), rng.uniform(-0.2, -0.14), rng.uniform(0.018, 0.028)),
        qrs=(
            Wave(-r_mv * rng.uniform(0.02, 0.2), -2.6 * qrs_width_s, qrs_width_s),
            Wave(r_mv, 0.0, qrs_width_s),
            Wave(-r_mv * rng.uniform(0.05, 0.4), 2.8 * qrs_width_s, qrs_width_s),
        ),
        t=Wave(rng.choice([1, 1, 1, -0.5]) * rng.uniform(0.1, 0.4), rng.uniform(0.24, 0.32), rng.uniform(0.04, 0.06)),
        f_wave_mv=rng.uniform(0.02, 0.12),
        f_wave_hz=rng.uniform(4, 9),
        af_rate_bpm=rng.uniform(70, 130),
        af_irregularity=rng.uniform(0.12, 0.28),
        wander_mv=rng.uniform(0.02, 0.3),
        muscle_mv=rng.uniform(0.005, 0.05),
        hum_mv=rng.uniform(0, 0.03),
    )


def recording(subject: int, seed: int, segments: int, task: Task | None = None) -> Recording:
    """The record of subject number `subject`: its rhythms one after the other, `segments` windows in all.

    The same arguments give the same samples, at the rate of the task (AF in 5 s by default). Each rhythm lasts a whole
    number of episodes of two windows.

    Raises:
        TaskError: no synthetic signal has a positive rhythm of the task, or one is among those that it leaves out.
    """
    task = task or tasks.default()
    rng = np.random.default_rng([seed, subject])
    spans = _spans(_rhythms(subject, task), segments, task)
    if AF_RHYTHM in task.positive:
        own = heart(rng)
        pieces = [_stretch(own, span, rng, task) for span in spans]
    else:
        ventricle = synthetic_egm.ventricle(rng)
        lengths = [round((span.end_s - span.onset_s) * task.sampling_rate_hz) for span in spans]
        pieces = [
            synthetic_egm.stretch(ventricle, span.rhythm, length, task.sampling_rate_hz, rng)
            for span, length in zip(spans, lengths, strict=True)
        ]
    signal = np.round(np.concatenate(pieces) * STEPS_PER_MV) / STEPS_PER_MV  # (segments * T,)
    name = f"P{subject}"
    return Recording(
        name, name, len(signal), task.sampling_rate_hz, spans, lambda start, stop: signal[start:stop], unit="mV"
    )


def _rhythms(subject: int, task: Task) -> list[str]:
    """The rhythms of a subject for a task, in the task's codes; raises as `recording`."""
    if AF_RHYTHM in task.positive:
        return rhythms_of(subject)
    positive = [code for code in task.positive if code in synthetic_egm.POSITIVE]
    if not positive:
        raise TaskError(
            f"synthetic signals have the positive rhythm {AF_RHYTHM}, or {', '.join(synthetic_egm.POSITIVE)}",
            f"{', '.join(task.positive)} in {task.name}",
            "Import recordings of your own, or name one of those in a task for trying things out.",
        )
    return synthetic_egm.rhythms_of(subject, positive, synthetic_egm.negative(task.negative))


class SynthRecord(Record):
    """What `synthesise` made. `content_sha256` is that of the data set, and None for recordings."""

    path: str
    format: SynthFormat
    task: str
    subjects: int
    segments: int
    rhythms: list[str]
    seed: int
    content_sha256: str | None
    seconds: float

    KEYS = ("path", "format", "subjects", "segments")


def synthesise(
    path: Path,
    *,
    subjects: int,
    seed: int,
    segments_per_subject: int = 40,
    file_format: SynthFormat = "dataset",
    task: Task | None = None,
) -> SynthRecord:
    """Make the records of `subjects` subjects, `segments_per_subject` (even) segments each, at `path`.

    A data set is marked synthetic. The same arguments give the same bytes. `task` is AF in 5 s by default.

    Raises:
        RecordingError: no subject, or a number of segments that is odd or below 2.
        TaskError: as `recording`.
        OutputError: `path` exists or cannot be written.
    """
    begin_s = time.perf_counter()
    _check_numbers(subjects, segments_per_subject, seed)
    task = task or tasks.default()
    rhythms = _all_rhythms(subjects, segments_per_subject, task)
    drawn = (recording(subject, seed, segments_per_subject, task) for subject in range(subjects))
    records = track(drawn, "make signals", total=subjects)
    if file_format == "dataset":
        options = {"subjects": subjects, "seed": seed, "segments_per_subject": segments_per_subject}
        content_sha256 = write_dataset(
            path, _description(options, task), (block for record in records for block in blocks(record, task))
        ).content_sha256
    else:
        content_sha256 = None
        with files.staged_folder(path) as staged:
            FORMATS[file_format].write(staged, records, task)
    return SynthRecord(
        path=str(path),
        format=file_format,
        task=task.name,
        subjects=subjects,
        segments=subjects * segments_per_subject,
        rhythms=rhythms,
        seed=seed,
        content_sha256=content_sha256,
        seconds=round(time.perf_counter() - begin_s, 3),
    )


def _check_numbers(subjects: int, segments: int, seed: int) -> None:
    if subjects < 1 or segments < WINDOWS_PER_EPISODE or segments % WINDOWS_PER_EPISODE or seed < 0:
        raise RecordingError(
            "synthetic data needs a subject, an even number of segments for each and a seed of at least 0",
            f"{subjects} subjects of {segments} segments, seed {seed}",
            "Segments come in pairs, as the two halves of an episode.",
        )


def _all_rhythms(subjects: int, segments: int, task: Task) -> list[str]:
    """The rhythms of so many subjects; raises TaskError where the task leaves one out."""
    rhythms = {span.rhythm for n in range(subjects) for span in _spans(_rhythms(n, task), segments, task)}
    if ignored := sorted(rhythms & {*task.ignored}):
        raise TaskError(
            "a task keeps the rhythms of the synthetic signal",
            f"{', '.join(ignored)} among the ignored ones of {task.name}",
            "Make it for a task without that, and leave them out at the import.",
        )
    return sorted(rhythms)


def _description(options: Mapping[str, object], task: Task) -> Description:
    stated = {**{name: str(value) for name, value in options.items()}, "signal": task.signal}
    return Description(
        sampling_rate_hz=task.sampling_rate_hz,
        samples_per_segment=task.samples_per_segment,
        unit="mV",
        positive_rhythms=task.positive,
        synthetic=True,
        task=task,
        source=Source(format="synthetic", options=stated),
    )


def _spans(rhythms: Sequence[str], segments: int, task: Task) -> list[Span]:
    """Share the episodes out among the rhythms, the first ones getting the rest; in the order of their names."""
    episodes = segments // WINDOWS_PER_EPISODE
    counts = {r: episodes // len(rhythms) + (place < episodes % len(rhythms)) for place, r in enumerate(rhythms)}
    spans, onset_s = [], 0.0
    for rhythm, count in sorted(counts.items()):
        if count:
            end_s = onset_s + count * WINDOWS_PER_EPISODE * task.window_s
            spans.append(Span(onset_s, end_s, rhythm))
            onset_s = end_s
    return spans


def _stretch(own: Heart, span: Span, rng: np.random.Generator, task: Task) -> np.ndarray:
    """(t,) mV: one rhythm of one heart."""
    duration_s, rate_hz = span.end_s - span.onset_s, task.sampling_rate_hz
    seconds = np.arange(round(duration_s * rate_hz)) / rate_hz
    signal = _render(own, _beats(own, span.rhythm, duration_s, rng), len(seconds), rate_hz, rng)
    if span.rhythm == AF_RHYTHM:
        signal += _fibrillation(own, seconds, rng)
    stretch: np.ndarray = own.polarity * signal + _noise(own, seconds, task.samples_per_segment, rng)
    return stretch


def _beats(own: Heart, rhythm: str, duration_s: float, rng: np.random.Generator) -> list[tuple[float, float, Beat]]:
    """(time of R, RR interval before it, kind) of each beat, from before the start to past the end."""
    beats: list[tuple[float, float, Beat]] = []
    time_s, every = -rng.uniform(0.2, 1.0), int(rng.integers(2, 5))
    phase, mean_s = rng.uniform(0, 2 * np.pi), _mean_rr_s(own, rhythm, rng)
    pause = 1.0
    while time_s < duration_s + 1:
        kind = _kind(rhythm, len(beats), every, own.ectopic_share, rng)
        rr_s = mean_s * pause * (1 + own.breathing * np.sin(2 * np.pi * 0.25 * time_s + phase) + rng.normal(0, 0.012))
        if kind == "fibrillating":
            shape = own.af_irregularity**-2
            rr_s = max(0.3, mean_s * rng.gamma(shape, 1 / shape))
        early = kind in {"atrial", "ventricular"}
        rr_s *= rng.uniform(0.58, 0.72) if early else 1.0
        pause = {"atrial": 1.1, "ventricular": 1.35}.get(kind, 1.0)
        time_s += rr_s
        beats.append((time_s, rr_s, kind))
    return beats


def _mean_rr_s(own: Heart, rhythm: str, rng: np.random.Generator) -> float:
    if rhythm == AF_RHYTHM:
        return 60 / own.af_rate_bpm
    rate_bpm: float = rng.uniform(40, 55) if rhythm == "SBR" else own.rate_bpm
    return 60 / rate_bpm


def _kind(rhythm: str, number: int, every: int, ectopic_share: float, rng: np.random.Generator) -> Beat:
    if rhythm == AF_RHYTHM:
        return "fibrillating"
    ectopic = rng.random() < ectopic_share
    if rhythm in {"B", "AB"}:
        ectopic = number % every == every - 1
    if not ectopic:
        return "sinus"
    return "atrial" if rhythm == "AB" else "ventricular"


def _waves(own: Heart, kind: Beat, rr_s: float) -> list[Wave]:
    """The waves of one beat; the T wave comes earlier after a short interval (QT goes with the root of RR)."""
    stretch = float(np.sqrt(np.clip(rr_s, 0.4, 1.4)))
    t = Wave(own.t.amplitude_mv, own.t.centre_s * stretch, own.t.width_s)
    match kind:
        case "ventricular":
            wide = [Wave(1.3 * wave.amplitude_mv, 2.6 * wave.centre_s, 2.6 * wave.width_s) for wave in own.qrs]
            return [*wide, Wave(-1.2 * t.amplitude_mv, t.centre_s + 0.05, 1.2 * t.width_s)]
        case "fibrillating":
            return [*own.qrs, t]
        case "atrial":
            return [Wave(-0.5 * own.p.amplitude_mv, own.p.centre_s + 0.03, own.p.width_s), *own.qrs, t]
        case "sinus":
            return [own.p, *own.qrs, t]


def _render(
    own: Heart, beats: Sequence[tuple[float, float, Beat]], length: int, rate_hz: float, rng: np.random.Generator
) -> np.ndarray:
    """(length,) mV at `rate_hz`: the waves of all beats, each within four of its standard deviations."""
    signal = np.zeros(length)
    for time_s, rr_s, kind in beats:
        gain = rng.normal(1, 0.03)
        for wave in _waves(own, kind, rr_s):
            centre_s = time_s + wave.centre_s
            first = int(np.clip((centre_s - 4 * wave.width_s) * rate_hz, 0, length))
            stop = int(np.clip((centre_s + 4 * wave.width_s) * rate_hz + 1, 0, length))
            offset = (np.arange(first, stop) / rate_hz - centre_s) / wave.width_s
            signal[first:stop] += gain * wave.amplitude_mv * np.exp(-0.5 * offset**2)
    return signal


def _fibrillation(own: Heart, seconds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(t,) mV: a saw-toothed wave whose rate and size drift."""
    drift, swell = rng.uniform(0.1, 0.4, 2)
    phase = 2 * np.pi * own.f_wave_hz * seconds + 1.5 * np.sin(2 * np.pi * drift * seconds) + rng.uniform(0, 2 * np.pi)
    size = own.f_wave_mv * (1 + 0.3 * np.sin(2 * np.pi * swell * seconds))
    wave: np.ndarray = size * sum(np.sin(harmonic * phase) / harmonic for harmonic in (1, 2, 3))
    return wave


def _noise(own: Heart, seconds: np.ndarray, window: int, rng: np.random.Generator) -> np.ndarray:
    """(t,) mV: baseline wander, muscle noise that comes and goes by the window of so many samples, and 50 Hz hum."""
    wander = sum(np.sin(2 * np.pi * (rng.uniform(0.1, 0.4) * seconds + rng.random())) for _ in range(3))
    bursts = np.repeat(rng.lognormal(0, 0.6, len(seconds) // window), window)
    muscle = own.muscle_mv * bursts * rng.normal(0, 1, len(seconds))
    hum = own.hum_mv * np.sin(2 * np.pi * (50 * seconds + rng.random()))
    noise: np.ndarray = own.wander_mv * wander / 3 + muscle + hum
    return noise
