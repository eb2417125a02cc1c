"""A few hand-made features of a segment: rhythm, the window before the beat, spectrum.

They are not a detector: the audit's simple classifier predicts labels from them. N segments, T samples, B beats. None
depends on the unit or on the polarity of the lead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = (
    *("beats", "rr_mean_s", "rr_cv", "rr_rmssd", "rr_min", "rr_max", "rr_turns", "rr_mad"),
    *("p_size", "p_agreement", "p_place", "qrs_agreement"),
    *("share_4_9_hz", "share_9_20_hz", "share_20_40_hz", "entropy", "kurtosis"),
)

SLOWEST_HZ, SHORTEST_S = 20.0, 1.0
"""The lowest rate and the shortest segment in which beats are looked for."""

_REFRACTORY_S = 0.25
_MIN_BEATS = 3
_P_WINDOW_S = (0.26, 0.06)  # before the R peak
_BANDS_HZ = ((4, 9), (9, 20), (20, 40))
_QRS_WINDOW_S = (0.06, 0.08)  # before and after it


def features(samples: np.ndarray, sampling_rate_hz: float) -> np.ndarray:
    """(N, T) to (N, F) float64, F being the length of `NAMES`; NaN where a segment has fewer than three beats."""
    wide = samples.astype(np.float64)
    centred = wide - wide.mean(axis=1, keepdims=True)  # (N, T)
    peaks = [_peaks(envelope, sampling_rate_hz) for envelope in _envelope(centred, sampling_rate_hz)]
    beats = np.array(
        [
            [*_rhythm(p, sampling_rate_hz), *_beat(row, p, sampling_rate_hz)]
            for row, p in zip(centred, peaks, strict=True)
        ]
    )
    return np.hstack([beats, _spectrum(centred, sampling_rate_hz)])


def _envelope(centred: np.ndarray, rate_hz: float) -> np.ndarray:
    """(N, T): the squared slope over 60 ms, where QRS complexes stand out."""
    from scipy.ndimage import uniform_filter1d

    slope = np.gradient(centred, axis=1)
    power = uniform_filter1d(slope**2, round(0.06 * rate_hz), axis=1)
    envelope: np.ndarray = np.sqrt(np.maximum(power, 0))  # its running sum may end below zero after a high peak
    return envelope


def _peaks(envelope: np.ndarray, rate_hz: float) -> np.ndarray:
    """(B,) places of the beats of one segment."""
    from scipy.signal import find_peaks

    high = np.partition(envelope, -len(envelope) // 50)[-len(envelope) // 50]
    places: np.ndarray = find_peaks(envelope, height=0.4 * high, distance=round(_REFRACTORY_S * rate_hz))[0]
    return places


def _rhythm(peaks: np.ndarray, rate_hz: float) -> Sequence[float]:
    """Number of beats, and the variation of RR intervals, as shares of their mean."""
    if len(peaks) < _MIN_BEATS:
        return [len(peaks), *[np.nan] * 7]
    rr_s = np.diff(peaks) / rate_hz  # (B - 1,)
    mean_s, change_s = rr_s.mean(), np.diff(rr_s)
    return [
        len(peaks),
        mean_s,
        rr_s.std() / mean_s,
        np.sqrt(np.mean(change_s**2)) / mean_s,
        rr_s.min() / mean_s,
        rr_s.max() / mean_s,
        np.mean(np.abs(change_s) > 0.1 * mean_s),
        np.median(np.abs(rr_s - np.median(rr_s))) / mean_s,
    ]


def _beat(row: np.ndarray, peaks: np.ndarray, rate_hz: float) -> Sequence[float]:
    """Size, agreement from beat to beat, and place of what lies before the QRS; agreement of the QRS itself."""
    before, after = round(_P_WINDOW_S[0] * rate_hz), round(_QRS_WINDOW_S[1] * rate_hz)
    inside = peaks[(peaks >= before) & (peaks < len(row) - after)]
    if len(inside) < _MIN_BEATS:
        return [np.nan] * 4
    beats = row[inside[:, None] + np.arange(-before, after)]  # (B, before + after)
    atrial = beats[:, : before - round(_P_WINDOW_S[1] * rate_hz)]
    complexes = beats[:, before - round(_QRS_WINDOW_S[0] * rate_hz) :]
    template = atrial.mean(axis=0) - atrial.mean()
    return [
        np.ptp(template) / (np.ptp(complexes.mean(axis=0)) + 1e-12),
        _agreement(atrial),
        np.argmax(np.abs(template)) / len(template),
        _agreement(complexes),
    ]


def _agreement(beats: np.ndarray) -> float:
    """The share of the variance of (B, t) that their mean explains, in 0 to 1."""
    shapes = beats - beats.mean(axis=1, keepdims=True)
    return float(np.var(shapes.mean(axis=0)) / (np.var(shapes) + 1e-12))


def _spectrum(centred: np.ndarray, rate_hz: float) -> np.ndarray:
    """(N, 5): shares of the power by band, spectral entropy, and the peakedness of the samples."""
    from scipy.stats import kurtosis

    power = np.abs(np.fft.rfft(centred * np.hanning(centred.shape[1]), axis=1)) ** 2
    frequency_hz = np.fft.rfftfreq(centred.shape[1], 1 / rate_hz)
    share = power / (power.sum(axis=1, keepdims=True) + 1e-300)
    bands = [share[:, (frequency_hz >= low) & (frequency_hz < high)].sum(axis=1) for low, high in _BANDS_HZ]
    entropy = -np.sum(share * np.log(share + 1e-300), axis=1)
    return np.column_stack([*bands, entropy, kurtosis(centred, axis=1)])
