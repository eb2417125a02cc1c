"""A simple beat finder for segments of surface ECG: where the QRS complexes are, and how wide they are.

The energy of the slope between 5 and 20 Hz, averaged over 0.12 s, has one hump for each QRS (Pan and Tompkins, 1985).
It is for measuring: slower and finer than `training.beats`, which changes whole batches in training. What a training
does to beats is so judged by a finder that had no part in it. T samples a segment, B beats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples = NDArray[np.floating]

_QRS_BAND_HZ = (5.0, 20.0)
_HUMP_S = 0.12  # the energy is averaged over a QRS
_REFRACTORY_S = 0.25  # no beat follows another sooner
_HUMP_SHARE = 0.3  # of the height of a usual hump, which a beat's own exceeds
_AROUND_S = 0.08  # on both sides of the middle of a QRS: where its energy is balanced

_FEWEST_BEATS = 3
_BEAT_S = 0.3  # on both sides of the middle: the part of a mean beat in which the QRS is measured
_SLOPE_BELOW_HZ = 40.0
_SLOPE_SHARE = 0.08  # of the steepest slope, which the QRS exceeds from its onset to its end
_GAP_S = 0.024  # slopes are small at the tip of a wave: a QRS goes on over so long a gap


def find_beats(segment: Samples, sampling_rate_hz: float) -> NDArray[np.float64]:
    """(B,) the middle of each QRS of a segment (T,), in samples, ascending; none where nothing stands out.

    The middle is where the energy of the slope is balanced: it does not jump between R and S as the largest sample may.
    """
    from scipy import signal

    energy = _slope_energy(segment, sampling_rate_hz)
    humps = np.convolve(energy, np.ones(_odd(_HUMP_S * sampling_rate_hz)), "same")
    peaks = signal.find_peaks(humps, distance=max(1, round(_REFRACTORY_S * sampling_rate_hz)))[0]
    if not len(peaks):
        return np.zeros(0)
    highest = np.sort(humps[peaks])[-max(1, round(len(segment) / sampling_rate_hz / 2)) :]  # a beat every 2 s or more
    beats = peaks[humps[peaks] > _HUMP_SHARE * np.median(highest)]
    return np.array([_balanced(energy, int(beat), round(_AROUND_S * sampling_rate_hz)) for beat in beats])


def rr_variation(beats: NDArray[np.float64]) -> float:
    """The standard deviation of the RR intervals over their mean; infinite for fewer than three beats."""
    if len(beats) < _FEWEST_BEATS:
        return float("inf")
    intervals = np.diff(beats)
    return float(intervals.std() / intervals.mean())


def qrs_extent(segment: Samples, beats: NDArray[np.float64], sampling_rate_hz: float) -> tuple[float, float] | None:
    """How many samples the QRS of a segment's median beat begins before its middle, and ends after it.

    Both are at least 0. It lasts as long as the slope exceeds a share of its steepest; None where no beat is whole.
    """
    half = round(_BEAT_S * sampling_rate_hz)
    whole = beats[(beats >= half + 1) & (beats < len(segment) - half - 2)]
    if not len(whole):
        return None
    steep = _steep(_median_beat(segment, whole, half), sampling_rate_hz)
    first = last = int(np.flatnonzero(steep)[np.abs(np.flatnonzero(steep) - half).argmin()])
    gap = max(1, round(_GAP_S * sampling_rate_hz))
    while (earlier := np.flatnonzero(steep[max(0, first - gap) : first])).size:
        first = max(0, first - gap) + int(earlier[0])
    while (later := np.flatnonzero(steep[last + 1 : last + 1 + gap])).size:
        last += 1 + int(later[-1])
    return max(0.0, half - first + 0.5), max(0.0, last - half + 0.5)


def _slope_energy(segment: Samples, rate: float) -> NDArray[np.float64]:
    """(T,) the squared slope of the samples within the band of a QRS."""
    from scipy import signal

    band = signal.butter(2, _QRS_BAND_HZ, "bandpass", fs=rate, output="sos")
    squared: NDArray[np.float64] = np.gradient(signal.sosfiltfilt(band, segment - np.mean(segment))) ** 2
    return squared


def _balanced(energy: NDArray[np.float64], peak: int, around: int) -> float:
    """The mean position of the energy around a hump's peak, looked for twice since the first look may lie aside."""
    centre = float(peak)
    for _ in range(2):
        here = np.arange(max(0, round(centre) - around), min(len(energy), round(centre) + around + 1))
        centre = float(here @ energy[here] / energy[here].sum())
    return centre


def _median_beat(segment: Samples, beats: NDArray[np.float64], half: int) -> NDArray[np.float64]:
    """(2 half + 1,) the median of the samples around each beat's middle."""
    at = beats[:, np.newaxis] + np.arange(-half, half + 1)
    median: NDArray[np.float64] = np.median(np.interp(at, np.arange(len(segment)), segment), axis=0)
    return median


def _steep(beat: NDArray[np.float64], rate: float) -> NDArray[np.bool_]:
    """Where the slope of a mean beat exceeds its share of the steepest."""
    from scipy import signal

    below = signal.butter(2, min(_SLOPE_BELOW_HZ, 0.45 * rate), "lowpass", fs=rate, output="sos")
    slope = np.abs(np.gradient(signal.sosfiltfilt(below, beat)))
    steep: NDArray[np.bool_] = slope >= _SLOPE_SHARE * slope.max()
    return steep


def _odd(samples: float) -> int:
    return 2 * round(samples / 2) + 1
