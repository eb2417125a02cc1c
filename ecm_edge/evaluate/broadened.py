"""Broadened beats: a segment whose QRS complexes last longer, alike in all of them, while each stays where it is.

T samples a segment, B beats, K knots of a map of time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples = NDArray[np.floating]

_MOST_COMPRESSED = 0.75  # between two beats time runs at a quarter of its pace or faster
_TAKEN_FROM, _TAKEN_TO = 0.45, 0.8  # of the interval between two QRS: between T and P
_STEPS = 32  # of the map between two beats


def broaden(segment: Samples, beats: NDArray[np.float64], extent: tuple[float, float], factor: float) -> Samples | None:
    """The segment (T,) with every QRS `factor` times as wide; None where there is no room between the beats.

    The QRS is stretched around its middle, which stays. ST segment, T and P move aside as they are, and what lies
    between T and P is compressed; where that is too short, all that lies between two QRS is.

    Args:
        segment: (T,).
        beats: (B,) the middles of the QRS, in samples.
        extent: how far the QRS extends before and after its middle, in samples.
        factor: at least 1.
    """
    from scipy.interpolate import CubicSpline

    knots = [_between(first, second, extent, factor) for first, second in zip(beats[:-1], beats[1:], strict=True)]
    if any(knot is None for knot in knots):
        return None
    before, after = extent
    there = [knot for knot in knots if knot is not None]
    source = np.concatenate([[beats[0] - before], *(k[0] for k in there), [beats[-1] + after]])  # (K,)
    made = np.concatenate([[beats[0] - factor * before], *(k[1] for k in there), [beats[-1] + factor * after]])
    at = np.arange(len(segment), dtype=np.float64)
    mapped = np.interp(at, made, source)
    mapped = np.where(at < made[0], at - made[0] + source[0], mapped)
    mapped = np.where(at > made[-1], at - made[-1] + source[-1], mapped)
    return CubicSpline(np.arange(len(segment)), segment)(mapped).astype(segment.dtype)


def _between(
    first: float, second: float, extent: tuple[float, float], factor: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """From the end of a QRS to the onset of the next: times there were, and times there are; None without room."""
    before, after = extent
    length = second - first - before - after
    lost = (factor - 1) * (before + after)
    if length <= 0 or lost > _MOST_COMPRESSED * length:
        return None
    place = np.linspace(0, 1, _STEPS + 1)
    edge = np.clip((place - _TAKEN_FROM) / (_TAKEN_TO - _TAKEN_FROM), 0, 1)
    gathered = edge * edge * (3 - 2 * edge)
    steepest = 1.5 / (_TAKEN_TO - _TAKEN_FROM)
    share = 0.0 if lost == 0 else np.clip((_MOST_COMPRESSED * length / lost - 1) / (steepest - 1), 0, 1)
    taken = share * gathered + (1 - share) * place
    return first + after + length * place, first + factor * after + length * place - lost * taken
