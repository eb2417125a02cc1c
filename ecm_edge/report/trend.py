"""A figure over the incumbents of a board, as inline SVG that the page's style sheet colours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from ecm_edge.base.numbers import number

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH, _HEIGHT = 460, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 12, 34
_LABELS = 8
_LONGEST = 9
_TICKS = 3


@dataclass(frozen=True)
class Point:
    """One incumbent: its name, and a figure with its interval; None where it is not known."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None


def trend(points: Sequence[Point], label: str) -> Markup | None:
    """The figure of each incumbent in turn, joined by a line, intervals as bars; None where no figure is known."""
    known = [(index, point) for index, point in enumerate(points) if point.value is not None]
    if not known:
        return None
    ends = [end for _, point in known for end in (point.value, point.low, point.high) if end is not None]
    scale = _Scale(*_padded(min(ends), max(ends)), count=len(points))
    body = Markup("").join([*scale.axis(), *_intervals(known, scale), _line(known, scale), *_names(points, scale)])
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, _HEIGHT, f"{label}: {_told(points)}", body
    )


def _told(points: Sequence[Point]) -> str:
    """The figures in words, for whoever does not see the drawing."""
    return ", ".join(f"{point.name} {number(point.value)}" for point in points)


def _padded(low: float, high: float) -> tuple[float, float]:
    room = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room


def round_values(low: float, high: float) -> list[float]:
    """Some round values from low to high, low < high.

    >>> round_values(0.86, 0.97), round_values(35164.0, 36968.0)
    ([0.86, 0.88, 0.9, 0.92, 0.94, 0.96], [35500.0, 36000.0, 36500.0])
    """
    power = 10 ** math.floor(math.log10((high - low) / _TICKS))
    step = next(power * times for times in (1, 2, 5, 10) if (high - low) / (power * times) <= _TICKS + 3)
    first = math.ceil(low / step)
    return [float(f"{step * number:.6g}") for number in range(first, math.floor(high / step) + 1)]


@dataclass(frozen=True)
class _Scale:
    """From figures to places in the drawing."""

    low: float
    high: float
    count: int

    def x(self, index: int) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (index + 0.5) / self.count

    def y(self, value: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (self.high - value) / (self.high - self.low)

    def axis(self) -> list[Markup]:
        """Lines across, with their values at the left."""
        values = round_values(self.low, self.high)
        tick = Markup('<path class="grid" d="M{0} {2:.1f}H{1}"/><text class="tick" x="{3}" y="{4:.1f}">{5}</text>')
        return [
            tick.format(_LEFT, _WIDTH - _RIGHT, self.y(value), _LEFT - 6, self.y(value) + 4, number(value, 3))
            for value in values
        ]


def _intervals(known: Sequence[tuple[int, Point]], scale: _Scale) -> list[Markup]:
    return [
        Markup('<path class="interval" d="M{:.1f} {:.1f}V{:.1f}"/>').format(
            scale.x(index), scale.y(point.low), scale.y(point.high)
        )
        for index, point in known
        if point.low is not None and point.high is not None
    ]


def _line(known: Sequence[tuple[int, Point]], scale: _Scale) -> Markup:
    places = [(scale.x(index), scale.y(point.value)) for index, point in known if point.value is not None]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    marks = [Markup('<circle class="point" cx="{:.1f}" cy="{:.1f}" r="4"/>').format(x, y) for x, y in places]
    return Markup('<polyline class="line" points="{}"/>').format(path) + Markup("").join(marks)


def _names(points: Sequence[Point], scale: _Scale) -> list[Markup]:
    """The names below, of some where there are many, the last one among them."""
    step = -(-len(points) // _LABELS)
    return [
        Markup('<text class="name" x="{:.1f}" y="{}">{}</text>').format(
            scale.x(index), _HEIGHT - 12, _short(point.name)
        )
        for index, point in enumerate(points)
        if (len(points) - 1 - index) % step == 0
    ]


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
