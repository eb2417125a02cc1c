"""The noise that disturbs an ECG, one function a kind.

Each takes (generator, samples T, sampling rate) and gives (T,) float32 of mean 0 and standard deviation 1. Training
adds them to its segments (`ecm_edge.training.augment`); `robustness` scores a trained network under each of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_WANDER_HZ = (0.05, 0.7)
_MAINS_HZ = (50.0, 60.0)
_MUSCLE_HZ = (20.0, 150.0)
_MUSCLE_REST = 0.1  # what is left between two bursts
_BURST_S = (0.08, 0.4)
_IN_BAND_FROM_HZ = (0.5, 8.0)
_IN_BAND_WIDTH = (2.0, 6.0)  # the upper end of the band, as a multiple of the lower
_SWELLS = 0.4  # of the in-band noises
_SWELL_TO = (0.05, 1.0)
_SWELL_POINTS = 7  # of a swelling, over the segment
_MOTION_S = 0.24  # the width over which noise is smoothed, so below some 8 Hz


def white(rng: np.random.Generator, samples: int, sampling_rate_hz: float) -> Floats:  # noqa: ARG001 - has no rate
    """Noise of an amplifier, alike at every frequency."""
    return _unit(rng.standard_normal(samples))


def wander(rng: np.random.Generator, samples: int, sampling_rate_hz: float) -> Floats:
    """The baseline as it moves with breath: three slow sines."""
    seconds = np.arange(samples) / sampling_rate_hz
    waves = (
        rng.uniform(0.2, 1) * np.sin(2 * np.pi * (rng.uniform(*_WANDER_HZ) * seconds + rng.uniform())) for _ in range(3)
    )
    return _unit(np.sum(list(waves), axis=0))


def hum(rng: np.random.Generator, samples: int, sampling_rate_hz: float) -> Floats:
    """The mains, of 50 or 60 Hz."""
    phase = rng.uniform(0.05, 0.45)  # of a cycle: at half the sampling rate a sine of phase 0 would be no signal
    return _unit(np.sin(2 * np.pi * (rng.choice(_MAINS_HZ) * np.arange(samples) / sampling_rate_hz + phase)))


def muscle(rng: np.random.Generator, samples: int, sampling_rate_hz: float) -> Floats:
    """Bursts of noise between 20 and 150 Hz, or half the sampling rate: a muscle that tenses."""
    frequencies = np.fft.rfftfreq(samples, 1 / sampling_rate_hz)
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    low = min(_MUSCLE_HZ[0], frequencies[-1])
    spectrum[(frequencies < low) | (frequencies > _MUSCLE_HZ[1])] = 0
    spans = np.maximum(1, rng.uniform(*_BURST_S, size=_spans(samples, sampling_rate_hz)) * sampling_rate_hz)
    tense = (np.arange(len(spans)) + rng.integers(2)) % 2
    envelope = np.repeat(np.maximum(tense, _MUSCLE_REST), spans.astype(int))[:samples]
    return _unit(np.fft.irfft(spectrum, samples) * envelope)


def _spans(samples: int, sampling_rate_hz: float) -> int:
    """A number of bursts and rests that is enough to fill the segment."""
    return int(samples / max(1, int(_BURST_S[0] * sampling_rate_hz))) + 1


def motion(rng: np.random.Generator, samples: int, sampling_rate_hz: float) -> Floats:
    """An electrode that is moved: smooth and irregular, below some 8 Hz."""
    window = np.hanning(max(3, round(_MOTION_S * sampling_rate_hz)))
    return _unit(np.convolve(rng.standard_normal(samples + len(window) - 1), window, "valid"))


def in_band(rng: np.random.Generator, samples: int, sampling_rate_hz: float) -> Floats:
    """Noise of electrodes and muscles in the band of the ECG, where no filter removes it; steady or swelling."""
    frequencies = np.fft.rfftfreq(samples, 1 / sampling_rate_hz)
    low = rng.uniform(*_IN_BAND_FROM_HZ)
    high = low * rng.uniform(*_IN_BAND_WIDTH)
    shape = np.minimum(frequencies / low, 1) ** 2 / (1 + (frequencies / high) ** 2)
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(samples)) * shape, samples)
    if rng.random() < _SWELLS:
        points = rng.uniform(*_SWELL_TO, size=_SWELL_POINTS)
        noise *= np.interp(np.arange(samples), np.linspace(0, samples, _SWELL_POINTS), points)
    return _unit(noise)


def steps(rng: np.random.Generator, samples: int, sampling_rate_hz: float) -> Floats:
    """Jumps of the baseline, of any height: at least one, and less than about one a second."""
    count = rng.integers(1, max(2, round(samples / sampling_rate_hz)))
    jumps = np.zeros(samples)
    np.add.at(jumps, rng.integers(1, samples, count), rng.standard_normal(count))
    return _unit(jumps.cumsum())


KINDS: dict[str, Callable[[np.random.Generator, int, float], Floats]] = {
    "white": white,
    "wander": wander,
    "hum": hum,
    "muscle": muscle,
    "motion": motion,
    "steps": steps,
}
"""The kinds that leave the ECG visible: they lie outside its band, or in few places."""


def pool(
    rng: np.random.Generator, count: int, samples: int, sampling_rate_hz: float, *, in_band_share: float
) -> Floats:
    """(count, T) disturbances to draw from, where making new ones would take too long.

    Each of `KINDS` in turn, and `in_band_share` of them of the kind `in_band`.
    """
    kinds, others = list(KINDS.values()), round(in_band_share * count)
    drawn = [kinds[index % len(kinds)] for index in range(count - others)] + [in_band] * others
    return np.stack([kind(rng, samples, sampling_rate_hz) for kind in drawn])


def _unit(values: NDArray[np.float64]) -> Floats:
    """Mean 0 and standard deviation 1."""
    centred = values - values.mean()
    return np.asarray(centred / centred.std(), np.float32)
