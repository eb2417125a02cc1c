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
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ecm_edge import tasks
from ecm_edge.base import files
from ecm_edge.base.errors import RecordingError
from ecm_edge.base.records import Record
from ecm_edge.base.tables import track
from ecm_edge.data.dataset import Description, Source, write_dataset
from ecm_edge.data.recordings.formats import FORMATS, Format
from ecm_edge.data.recordings.options import STEPS_PER_MV
from ecm_edge.data.recordings.windows import WINDOWS_PER_EPISODE, Recording, Span, blocks
from ecm_edge.data.rhythms import AF_RHYTHM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_SAMPLING_RATE_HZ = 250.0
_WINDOW_S = 5.0
_NOISE_SAMPLES = 1250  # muscle noise comes and goes by the window
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


def recording(subject: int, seed: int, segments: int) -> Recording:
    """The record of subject number `subject`: its rhythms one after the other, `segments` windows in all.

    The same arguments give the same samples. Each rhythm lasts a whole number of 10 s episodes.
    """
    rng = np.random.default_rng([seed, subject])
    own = heart(rng)
    spans = _spans(rhythms_of(subject), segments)
    signal = np.concatenate([_stretch(own, span, rng) for span in spans])  # (segments * T,)
    signal = np.round(signal * STEPS_PER_MV) / STEPS_PER_MV
    name = f"P{subject}"
    return Recording(
        name, name, len(signal), _SAMPLING_RATE_HZ, spans, lambda start, stop: signal[start:stop], unit="mV"
    )


class SynthRecord(Record):
    """What `synthesise` made. `content_sha256` is that of the data set, and None for recordings."""

    path: str
    format: SynthFormat
    subjects: int
    segments: int
    rhythms: list[str]
    seed: int
    content_sha256: str | None
    seconds: float


def synthesise(
    path: Path, *, subjects: int, seed: int, segments_per_subject: int = 40, file_format: SynthFormat = "dataset"
) -> SynthRecord:
    """Make the records of `subjects` subjects, `segments_per_subject` (even) segments each, at `path`.

    A data set is marked synthetic. The same arguments give the same bytes.

    Raises:
        RecordingError: no subject, or a number of segments that is odd or below 2.
        OutputError: `path` exists or cannot be written.
    """
    if (
        subjects < 1
        or segments_per_subject < WINDOWS_PER_EPISODE
        or segments_per_subject % WINDOWS_PER_EPISODE
        or seed < 0
    ):
        raise RecordingError(
            "synthetic data needs a subject, an even number of segments for each and a seed of at least 0",
            f"{subjects} subjects of {segments_per_subject} segments, seed {seed}",
            "Segments come in pairs, as the two halves of a 10 s episode.",
        )
    begin_s = time.perf_counter()
    drawn = (recording(subject, seed, segments_per_subject) for subject in range(subjects))
    records = track(drawn, "making ECG", total=subjects)
    if file_format == "dataset":
        options = {
            "subjects": subjects,
            "seed": seed,
            "segments_per_subject": segments_per_subject,
            "signal": tasks.default().signal,
        }
        content_sha256 = write_dataset(
            path, _description(options), (block for record in records for block in blocks(record, tasks.default()))
        ).content_sha256
    else:
        content_sha256 = None
        with files.staged_folder(path) as staged:
            FORMATS[file_format].write(staged, records, tasks.default())
    rhythms = {span.rhythm for subject in range(subjects) for span in _spans(rhythms_of(subject), segments_per_subject)}
    return SynthRecord(
        path=str(path),
        format=file_format,
        subjects=subjects,
        segments=subjects * segments_per_subject,
        rhythms=sorted(rhythms),
        seed=seed,
        content_sha256=content_sha256,
        seconds=round(time.perf_counter() - begin_s, 3),
    )


def _description(options: Mapping[str, object]) -> Description:
    source = Source(
        format="synthetic",
        options={**{name: str(value) for name, value in options.items()}, "signal": tasks.default().signal},
    )
    return Description(
        sampling_rate_hz=tasks.default().sampling_rate_hz,
        samples_per_segment=tasks.default().samples_per_segment,
        unit="mV",
        synthetic=True,
        source=source,
    )


def _spans(rhythms: Sequence[str], segments: int) -> list[Span]:
    """Share the 10 s episodes out among the rhythms, the first ones getting the rest; in the order of their names."""
    episodes = segments // WINDOWS_PER_EPISODE
    counts = {r: episodes // len(rhythms) + (place < episodes % len(rhythms)) for place, r in enumerate(rhythms)}
    spans, onset_s = [], 0.0
    for rhythm, count in sorted(counts.items()):
        if count:
            end_s = onset_s + count * WINDOWS_PER_EPISODE * _WINDOW_S
            spans.append(Span(onset_s, end_s, rhythm))
            onset_s = end_s
    return spans


def _stretch(own: Heart, span: Span, rng: np.random.Generator) -> np.ndarray:
    """(t,) mV: one rhythm of one heart."""
    duration_s = span.end_s - span.onset_s
    seconds = np.arange(round(duration_s * _SAMPLING_RATE_HZ)) / _SAMPLING_RATE_HZ
    signal = _render(own, _beats(own, span.rhythm, duration_s, rng), len(seconds), rng)
    if span.rhythm == AF_RHYTHM:
        signal += _fibrillation(own, seconds, rng)
    stretch: np.ndarray = own.polarity * signal + _noise(own, seconds, rng)
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
    own: Heart, beats: Sequence[tuple[float, float, Beat]], length: int, rng: np.random.Generator
) -> np.ndarray:
    """(length,) mV: the waves of all beats, each within four of its standard deviations."""
    signal = np.zeros(length)
    for time_s, rr_s, kind in beats:
        gain = rng.normal(1, 0.03)
        for wave in _waves(own, kind, rr_s):
            centre_s = time_s + wave.centre_s
            first = int(np.clip((centre_s - 4 * wave.width_s) * _SAMPLING_RATE_HZ, 0, length))
            stop = int(np.clip((centre_s + 4 * wave.width_s) * _SAMPLING_RATE_HZ + 1, 0, length))
            offset = (np.arange(first, stop) / _SAMPLING_RATE_HZ - centre_s) / wave.width_s
            signal[first:stop] += gain * wave.amplitude_mv * np.exp(-0.5 * offset**2)
    return signal


def _fibrillation(own: Heart, seconds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(t,) mV: a saw-toothed wave whose rate and size drift."""
    drift, swell = rng.uniform(0.1, 0.4, 2)
    phase = 2 * np.pi * own.f_wave_hz * seconds + 1.5 * np.sin(2 * np.pi * drift * seconds) + rng.uniform(0, 2 * np.pi)
    size = own.f_wave_mv * (1 + 0.3 * np.sin(2 * np.pi * swell * seconds))
    wave: np.ndarray = size * sum(np.sin(harmonic * phase) / harmonic for harmonic in (1, 2, 3))
    return wave


def _noise(own: Heart, seconds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(t,) mV: baseline wander, muscle noise that comes and goes by the window, and 50 Hz hum."""
    wander = sum(np.sin(2 * np.pi * (rng.uniform(0.1, 0.4) * seconds + rng.random())) for _ in range(3))
    bursts = np.repeat(rng.lognormal(0, 0.6, len(seconds) // _NOISE_SAMPLES), _NOISE_SAMPLES)
    muscle = own.muscle_mv * bursts * rng.normal(0, 1, len(seconds))
    hum = own.hum_mv * np.sin(2 * np.pi * (50 * seconds + rng.random()))
    noise: np.ndarray = own.wander_mv * wander / 3 + muscle + hum
    return noise
