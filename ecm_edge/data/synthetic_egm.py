"""Synthetic intracardiac electrograms: ventricular tachycardia, flutter and fibrillation, and other rhythms.

Each beat is one deflection, a short oscillation under a Gaussian, as a bipolar lead sees a wave front pass. Beats that
begin in the ventricle are wider and of another shape. Rates and shapes are plausible and fitted to no patient: this is
for tests, demos and benchmarks, and a model that is trained on it shows nothing about patients.

    SR, N             sinus rhythm                     58 to 95 beats a minute, narrow
    SVT, SVTA         supraventricular tachycardia     130 to 190, narrow
    AFb, AFIB         atrial fibrillation              80 to 150, irregular, narrow
    VPD, B            ventricular premature beats      as sinus rhythm, every second to fourth beat early and wide
    VT                ventricular tachycardia          150 to 220, wide
    VFt, VFL          ventricular flutter              240 to 300, wide
    VFb, VFIB, VF     ventricular fibrillation         300 to 450, irregular in time and size, wide
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class _Kind:
    """A rhythm: its range of rates, the standard deviations of interval and size as shares of the mean, its shape."""

    rate_bpm: tuple[float, float]
    irregularity: float = 0.02
    swell: float = 0.05
    wide: bool = False
    premature: bool = False


_SINUS = _Kind((58, 95))
_SVT = _Kind((130, 190), 0.01)
_AF = _Kind((80, 150), 0.2)
_PREMATURE = _Kind((58, 95), premature=True)
_VT = _Kind((150, 220), wide=True)
_FLUTTER = _Kind((240, 300), wide=True)
_VF = _Kind((300, 450), 0.2, 0.5, wide=True)
_KINDS = {
    "SR": _SINUS,
    "N": _SINUS,
    "SVT": _SVT,
    "SVTA": _SVT,
    "AFb": _AF,
    "AFIB": _AF,
    "VPD": _PREMATURE,
    "B": _PREMATURE,
    "VT": _VT,
    "VFt": _FLUTTER,
    "VFL": _FLUTTER,
    "VFb": _VF,
    "VFIB": _VF,
    "VF": _VF,
}
_CONTEST = ("SR", "SVT", "AFb", "VPD")
_PHYSIONET = ("N", "SVTA", "AFIB", "B")

POSITIVE = tuple(code for code, kind in _KINDS.items() if kind.wide)
"""The rhythm codes that a task may have as positive."""


@dataclass(frozen=True)
class Ventricle:
    """The parameters of one subject's electrogram: those of a narrow deflection, and how a wide one differs from it."""

    size_mv: float
    width_s: float
    frequency_hz: float
    phase: float
    wide_by: float
    wide_phase: float
    noise_mv: float


def negative(stated: Sequence[str]) -> tuple[str, ...]:
    """The codes of the other rhythms, sinus rhythm first: the contest's if a task states them, else PhysioNet's."""
    return _CONTEST if set(_CONTEST) <= set(stated) else _PHYSIONET


def rhythms_of(subject: int, positive: Sequence[str], others: Sequence[str]) -> list[str]:
    """The rhythms of a subject: of every five, one has a positive rhythm only and one has none.

    >>> [rhythms_of(subject, ["VT", "VFb"], ["SR", "SVT", "VPD"]) for subject in (1, 2, 4)]
    [['VFb', 'SR', 'VPD'], ['VT'], ['SR', 'SVT']]
    """
    own, extra = positive[subject % len(positive)], others[1 + subject % (len(others) - 1)]
    match subject % 5:
        case 2:
            return [own]
        case 4:
            return [others[0], extra]
        case _:
            return [own, others[0], extra]


def ventricle(rng: np.random.Generator) -> Ventricle:
    """Draw the parameters of a subject."""
    return Ventricle(
        size_mv=rng.uniform(2, 6),
        width_s=rng.uniform(0.007, 0.011),
        frequency_hz=rng.uniform(24, 36),
        phase=rng.uniform(0, 2 * np.pi),
        wide_by=rng.uniform(1.8, 2.6),
        wide_phase=rng.uniform(0, 2 * np.pi),
        noise_mv=rng.uniform(0.02, 0.15),
    )


def stretch(own: Ventricle, rhythm: str, length: int, rate_hz: float, rng: np.random.Generator) -> np.ndarray:
    """(length,) mV at `rate_hz`: one rhythm of one subject."""
    kind = _KINDS[rhythm]
    mean_s = 60 / rng.uniform(*kind.rate_bpm)
    every = int(rng.integers(2, 5)) if kind.premature else 0
    signal = rng.normal(0, own.noise_mv, length)
    time_s, number, pause = -rng.uniform(0, mean_s), 0, 1.0
    while time_s < length / rate_hz + 1:
        early = bool(every) and number % every == every - 1
        shape = kind.irregularity**-2
        time_s += mean_s * rng.gamma(shape, 1 / shape) * (0.65 if early else pause)
        pause = 1.35 if early else 1.0
        size = own.size_mv * float(np.clip(rng.normal(1, kind.swell), 0.1, 2))
        _add(signal, own, time_s, size, rate_hz, wide=kind.wide or early)
        number += 1
    return signal


def _add(signal: np.ndarray, own: Ventricle, time_s: float, size_mv: float, rate_hz: float, *, wide: bool) -> None:
    """Add one deflection at `time_s` to `signal`, within four of its standard deviations."""
    factor, phase = (own.wide_by, own.wide_phase) if wide else (1.0, own.phase)
    width_s = own.width_s * factor
    first = int(np.clip((time_s - 4 * width_s) * rate_hz, 0, len(signal)))
    stop = int(np.clip((time_s + 4 * width_s) * rate_hz + 1, 0, len(signal)))
    offset_s = np.arange(first, stop) / rate_hz - time_s
    turn = 2 * np.pi * own.frequency_hz / np.sqrt(factor) * offset_s + phase
    signal[first:stop] += size_mv * np.exp(-0.5 * (offset_s / width_s) ** 2) * np.cos(turn)
