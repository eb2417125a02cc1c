"""Broadened beats: segments whose QRS complexes last longer, alike in all of them, while each stays where it is.

T samples a segment, B beats, K knots of a map of time.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples = NDArray[np.floating]
    Times = NDArray[np.float64]

_PACE = 0.25  # between two beats time runs at least so fast as it did
_FROM, _TO = 0.45, 0.8  # of the interval between two QRS: what lies between T and P
_STEPS = 32  # of the map between two beats


def broaden(segment: Samples, beats: Times, extent: tuple[float, float], factor: float) -> Samples | None:
    """The segment (T,) with every QRS `factor` times as wide; None where there is no room between the beats.

    The QRS is stretched around its middle, which stays. ST segment, T and P move aside as they are, and what lies
    between T and P is compressed; where that is too short, all that lies between two QRS is.

    Args:
        segment: (T,).
        beats: (B,) the middles of the QRS, in samples, at least one.
        extent: how far the QRS extends before and after its middle, in samples, as `beats.qrs_extent` gives it.
        factor: at least 1.
    """
    from scipy.interpolate import CubicSpline

    before, after = extent
    pairs = itertools.pairwise(beats)
    there = [beats[:1] - before, *(_between(*pair, before, after) for pair in pairs), beats[-1:] + after]
    moved = [_moved(times, extent, factor) for times in there[1:-1]]
    here = [beats[:1] - factor * before, *moved, beats[-1:] + factor * after]
    if any(len(times) > 1 and (np.diff(times) <= 0).any() for times in here):
        return None
    known, made = np.concatenate(there), np.concatenate(here)  # (K,) ascending
    at = np.arange(len(segment), dtype=np.float64)
    inner = np.interp(at, made, known)
    outside = np.minimum(at - made[0], 0) + np.maximum(at - made[-1], 0)  # before the first QRS, and after the last
    broad: Samples = CubicSpline(np.arange(len(segment)), segment)(inner + outside).astype(segment.dtype)
    return broad


def _between(first: float, second: float, before: float, after: float) -> Times:
    """(K,) times from the end of a QRS to the onset of the next; none where the next begins sooner."""
    return np.linspace(first + after, second - before, _STEPS + 1)


def _moved(times: Times, extent: tuple[float, float], factor: float) -> Times:
    """(K,) where times between two QRS lie when the QRS are `factor` times as wide; not ascending without room."""
    before, after = extent
    length, lost = times[-1] - times[0], (factor - 1) * (before + after)
    if lost >= (1 - _PACE) * length:
        return np.zeros_like(times)
    place = (times - times[0]) / length
    edge = np.clip((place - _FROM) / (_TO - _FROM), 0, 1)
    steepest = 1.5 / (_TO - _FROM)  # of the smooth step
    smooth = float(np.clip(((1 - _PACE) * length / max(lost, 1e-9) - 1) / (steepest - 1), 0, 1))
    taken = smooth * edge**2 * (3 - 2 * edge) + (1 - smooth) * place
    moved: Times = times + (factor - 1) * after - lost * taken
    return moved
