"""A whole recording on one drawing: rows of equal length below each other, episodes and analysed time as bars.

Lengths are in the units of the drawing. Bars lie on a grid of one unit, so that their number is bounded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ecm_edge.base.numbers import clock
from ecm_edge.metrics.episodes import joined

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ecm_edge.metrics.episodes import Interval

WIDTH, LEFT, TOP = 1000, 64, 18
_MOST_ROWS = 36
_ROW_S = (60, 300, 600, 1800, 3600, 2 * 3600, 4 * 3600, 12 * 3600, 24 * 3600, 7 * 24 * 3600)
_TICKS = 4


@dataclass(frozen=True)
class Timeline:
    """The frame of a drawing: `labels` and `ticks` are (place, text)."""

    duration_s: float
    row_s: int
    pitch: int
    labels: list[tuple[float, str]]
    ticks: list[tuple[float, str]]

    left: int = LEFT
    width: int = LEFT + WIDTH + 1

    @property
    def unit_s(self) -> float:
        """The time of one unit: the width of the shortest bar."""
        return self.row_s / WIDTH

    @property
    def height(self) -> int:
        """Of the whole drawing."""
        return TOP + self.pitch * len(self.labels)

    def path(self, intervals: Sequence[Interval], top: float, height: float) -> str:
        """SVG path data of bars, `top` below the row's upper edge."""
        by_row: dict[int, list[Interval]] = {}
        for row, begin, end in self._pieces(intervals):
            by_row.setdefault(row, []).append((math.floor(begin), max(math.ceil(end), math.floor(begin) + 1)))
        return "".join(
            f"M{LEFT + begin:g} {TOP + row * self.pitch + top:g}h{end - begin:g}v{height:g}h{begin - end:g}z"
            for row, bars in by_row.items()
            for begin, end in joined(bars)
        )

    def _pieces(self, intervals: Sequence[Interval]) -> Iterator[tuple[int, float, float]]:
        """(row, begin, end) of every interval, cut at the ends of rows; begin and end in units from the left."""
        for onset_s, end_s in intervals:
            for row in range(int(onset_s // self.row_s), math.ceil(end_s / self.row_s)):
                first_s = row * self.row_s
                inside = max(onset_s - first_s, 0.0), min(end_s - first_s, float(self.row_s))
                yield row, inside[0] / self.row_s * WIDTH, inside[1] / self.row_s * WIDTH


def timeline(duration_s: float, pitch: int) -> Timeline:
    """The frame for a recording: the shortest rows of which there are not too many; `pitch` from one to the next."""
    row_s = next((each for each in _ROW_S if duration_s <= each * _MOST_ROWS), _ROW_S[-1])
    rows = max(1, math.ceil(duration_s / row_s))
    return Timeline(
        duration_s=duration_s,
        row_s=row_s,
        pitch=pitch,
        labels=[(TOP + pitch * (row + 0.5), clock(row * row_s, decimals=0)) for row in range(rows)],
        ticks=[
            (LEFT + WIDTH * part / _TICKS, f"+{clock(row_s * part / _TICKS, decimals=0)}") for part in range(_TICKS + 1)
        ],
    )
