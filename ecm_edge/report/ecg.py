"""A segment as a strip of ECG paper: 25 mm/s and 10 mm/mV, fine lines every 1 mm, bold ones every 5 mm.

Every length is in millimetres, and so are the units of the drawing: printed at full size, a ruler measures it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MM_PER_S = 25.0
MM_PER_MV = 10.0
FINE_MM, BOLD_MM = 1, 5
MARK_MM = 10.0
"""The height of the mark beside a strip."""

TALLEST_MM = 60.0
"""A higher strip is drawn at half the gain, as on paper, again and again until it fits."""

_MV_PER_UNIT = {"mV": 1.0, "V": 1e3, "uV": 1e-3, "µV": 1e-3, "μV": 1e-3}
_FREE_HEIGHT_MM = 50.0  # at most, for a trace whose unit is not known
_AXIS_MM = 5.0  # below the paper, for the seconds
_ROUNDING = 1e-9
_MARGIN = 0.2  # of a bold square, left free above and below the trace


@dataclass(frozen=True)
class Strip:
    """A drawing in millimetres; the paths are SVG path data.

    `gain_mm` is the height of one mV, or of one of whatever the data are in where `is_millivolts` is false. `trace_mm`
    is the length of the trace: the paper ends on a bold line behind it.
    """

    width_mm: int
    trace_mm: float
    paper_mm: int
    height_mm: float
    fine: str
    bold: str
    trace: str
    seconds: list[tuple[float, str]]
    gain_mm: float
    is_millivolts: bool

    @property
    def mark(self) -> str:
        """What a height of `MARK_MM` stands for."""
        return f"{MARK_MM / self.gain_mm:g} {'mV' if self.is_millivolts else 'units'}"


def draw_strip(samples: NDArray[np.float32], sampling_rate_hz: float, unit: str) -> Strip:
    """One segment, samples (T,) finite in `unit`, as a strip; of an unknown unit, at a round gain that suits it."""
    x = np.arange(len(samples)) / sampling_rate_hz * MM_PER_S  # (T,)
    width = math.ceil(len(samples) / sampling_rate_hz * MM_PER_S / BOLD_MM) * BOLD_MM
    values = np.asarray(samples, np.float64) * _MV_PER_UNIT.get(unit, 1.0)  # (T,)
    gain = _paper_gain(values) if unit in _MV_PER_UNIT else _free_gain(values)
    top, height = _paper(values * gain)
    return Strip(
        width_mm=width,
        trace_mm=len(samples) / sampling_rate_hz * MM_PER_S,
        paper_mm=height,
        height_mm=height + _AXIS_MM,
        fine=_grid(width, height, FINE_MM),
        bold=_grid(width, height, BOLD_MM),
        trace="M" + "L".join(f"{a:.2f} {b:.2f}" for a, b in zip(x, top - values * gain, strict=True)),
        seconds=[(s * MM_PER_S, f"{s} s") for s in range(int(width / MM_PER_S) + 1)],
        gain_mm=gain,
        is_millivolts=unit in _MV_PER_UNIT,
    )


def _paper_gain(millivolts: NDArray[np.float64]) -> float:
    """10 mm/mV, halved until the strip is not too tall."""
    gain = MM_PER_MV
    while _paper(millivolts * gain)[1] > TALLEST_MM:
        gain /= 2
    return gain


def _free_gain(values: NDArray[np.float64]) -> float:
    """The largest of 1, 2 or 5 times a power of ten, in mm per unit, at which the trace is not too tall; 10 if flat."""
    most = _FREE_HEIGHT_MM / (float(np.ptp(values)) or _FREE_HEIGHT_MM / MM_PER_MV)
    power = 10.0 ** math.floor(math.log10(most))
    return max(step * power for step in (1, 2, 5) if step * power <= most * (1 + _ROUNDING))


def _paper(heights: NDArray[np.float64]) -> tuple[int, int]:
    """How far the zero line is below the top of the paper, and how high the paper is: whole bold squares."""
    top = math.ceil(heights.max() / BOLD_MM + _MARGIN) * BOLD_MM
    bottom = math.floor(heights.min() / BOLD_MM - _MARGIN) * BOLD_MM
    return top, top - bottom


def _grid(width: int, height: int, step: int) -> str:
    """A line every `step` millimetres, both ways.

    >>> _grid(5, 5, 5)
    'M0 0V5M5 0V5M0 0H5M0 5H5'
    """
    columns = "".join(f"M{x} 0V{height}" for x in range(0, width + 1, step))
    return columns + "".join(f"M0 {y}H{width}" for y in range(0, height + 1, step))
