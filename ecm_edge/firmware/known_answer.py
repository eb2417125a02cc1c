"""The segments of the firmware's self-test, and the header with the scores that it expects.

The twin of firmware_check/include/ecm_known_answer.h: integers only, so that both give the same bits. Change both.
K kinds of segment, T samples, S scores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecm_edge.base.errors import FirmwareError
from ecm_edge.firmware.literals import float_literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

FILE = "ecm_known_answers.h"
"""Lies beside the generated code; programs/serial.c includes it."""

KINDS = ("normal rhythm", "fibrillation", "flat line", "noise")

_NORMAL, _FIBRILLATION, _FLAT, _NOISE = range(len(KINDS))
_WAVES = ((140, -42, 13), (-90, -7, 5), (1200, 0, 6), (-260, 7, 6), (300, 72, 30))
"""Height in 2^-10 mV, centre after R and half width in samples; P is the first."""

_STEPS_PER_MV = 1 << 20


def segments(count: int) -> NDArray[np.float32]:
    """(K, count) in mV: a segment of each kind; the same bits as the board makes. count: at least 1."""
    heights = [_heights(kind, count) for kind in range(len(KINDS))]
    return (np.array(heights, np.int32) / np.float32(_STEPS_PER_MV)).astype(np.float32)


def header_text(scores: NDArray[np.float32]) -> str:
    """The C header with the expected scores (K, S), exact to the bit.

    Raises:
        FirmwareError: another number of segments, or a score that is not finite.
    """
    if scores.ndim != len(("K", "S")) or len(scores) != len(KINDS) or not np.isfinite(scores).all():
        raise FirmwareError(
            f"the self-test needs the finite scores of its {len(KINDS)} segments",
            f"an array of shape {scores.shape}, {int((~np.isfinite(scores)).sum())} not finite",
            "Run the generated C on the host over known_answer.segments.",
        )
    rows = [
        f"    {{{', '.join(float_literal(score) for score in row)}}}, /* {kind} */"
        for kind, row in zip(KINDS, scores.astype(np.float32), strict=True)
    ]
    opening = f"static const float ecm_known_answers[{len(KINDS)}][{scores.shape[1]}] = {{"
    return "\n".join([*_PREAMBLE, opening, *rows, _END])


_PREAMBLE = (
    "/* Generated: the scores of the segments of ecm_known_answer.h, as the same C gave them on the host. */",
    "#ifndef ECM_KNOWN_ANSWERS_H",
    "#define ECM_KNOWN_ANSWERS_H",
    "",
)
_END = "};\n\n#endif\n"


def _heights(kind: int, count: int) -> list[int]:
    """(count,) in 2^-20 mV; the loop of ecm_known_answer, line by line."""
    draw = _generator(2024 + kind)
    first_wave = 1 if kind == _FIBRILLATION else 0
    last, following, heights = -100, 60, []
    for time in range(count):
        height = 0 if kind == _FLAT else _beat(time - last, first_wave) + _beat(time - following, first_wave)
        if kind == _FIBRILLATION:
            height += _triangle(time, 41, 60) * 1024
        elif kind == _NOISE:
            height += (draw() % 512 - 256 + _triangle(time, 700, 400)) * 1024
        heights.append(height)
        if time == following:
            last = following
            following += 110 + draw() % 120 if kind == _FIBRILLATION else 200 + _triangle(time, 1000, 8)
    return heights


def _generator(state: int) -> Callable[[], int]:
    """ecm_random: 0 to 65,535, from a linear congruential generator modulo 2^32."""

    def draw() -> int:
        nonlocal state
        state = (state * 1664525 + 1013904223) % (1 << 32)
        return state >> 16

    return draw


def _beat(after: int, first_wave: int) -> int:
    """ecm_beat: the height of a beat, `after` samples after its R, in 2^-20 mV."""
    height = 0
    for amplitude, centre, width in _WAVES[first_wave:]:
        offset, square = after - centre, width * width
        if offset * offset < square:
            height += amplitude * (((square - offset * offset) << 10) // square)
    return height


def _triangle(time: int, period: int, height: int) -> int:
    """ecm_triangle: between -height and height.

    >>> [_triangle(time, 4, 10) for time in range(5)]
    [-10, 0, 10, 0, -10]
    """
    phase = time % period
    return 4 * height * min(phase, period - phase) // period - height
